use super::{Line, Lines};

async fn all(text: &[u8], bytes_max: usize) -> Vec<Result<Vec<u8>, Option<String>>> {
    let mut lines = Lines::new(text, bytes_max);
    let mut all = Vec::new();
    loop {
        let more = lines.fill().await.unwrap();
        while let Some(line) = lines.next() {
            all.push(match line {
                Line::Whole(line) => Ok(line.to_vec()),
                Line::TooLong(id) => Err(id),
            });
        }
        if !more {
            return all;
        }
    }
}

fn whole(lines: &[&str]) -> Vec<Result<Vec<u8>, Option<String>>> {
    lines.iter().map(|line| Ok(line.as_bytes().to_vec())).collect()
}

#[tokio::test]
async fn lines_keep_their_ends() {
    assert_eq!(all(b"a\n\nb\r\nc", 10).await, whole(&["a\n", "\n", "b\r\n", "c"]));
    assert_eq!(all(b"", 10).await, whole(&[]));
}

#[tokio::test]
async fn long_lines_are_named_and_skipped() {
    let padding = "\\\"}]{[,".repeat(40_000);
    for (line, id) in [
        (format!(r#"{{"id":"a","p":"{padding}"}}"#), Some(r#""a""#)),
        (format!(r#"{{"p":"{padding}","q":{{"id":1}},"id": 12 }}"#), Some("12")),
        (format!(r#"{{"p":"{padding}","q":[{{"id":1}}]}}"#), None),
        (format!(r#"{{"id":null,"p":"{padding}"}}"#), None),
        (padding.clone(), None),
    ] {
        let text = format!("x\n{line}\ny\n");
        let found = all(text.as_bytes(), 1_000).await;
        assert_eq!(found, [Ok(b"x\n".to_vec()), Err(id.map(str::to_owned)), Ok(b"y\n".to_vec())]);
        // Without an end as well.
        assert_eq!(all(line.as_bytes(), 1_000).await, [Err(id.map(str::to_owned))]);
    }
}
