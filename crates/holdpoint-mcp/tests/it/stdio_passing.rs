//! Everything else over stdio: unchanged, in order, and never a tool call in disguise.

use crate::{
    house::{code, write_call},
    pipe::Pipes,
};
use holdpoint_mcp::{Action, stdio::ExitReason};

/// Each of these is a tool call to some reader, and not the gated one to another.
#[tokio::test(start_paused = true)]
async fn nothing_passes_that_somebody_reads_as_a_tool_call() {
    let smuggled: &[&[u8]] = &[
        br#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"ping","method ":"tools/call","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","params":{"name":"write"}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"param\u{17f}\":{\"name\":\"write\"}}".as_bytes(),
        br#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":" tools/call","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000/x","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"\u0001\ufefftools/call\u001f","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method\u0000":"tools/call","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"ping","\ufeffmethod":"tools/call","params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name\u0000x":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":["tools/call"],"params":{"name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":null,"params":{"name":"write"}}"#,
        b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"write\"}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"meth\xffod\":\"tools/call\",\"params\":{\"name\":\"write\"}}",
        br#"{"jsonrpc":"2.0","id":1,"method":"ping"/*"*/,"method":"tools/call"/*"*/}"#,
        b"{'jsonrpc':'2.0','id':1,'method':'tools/call','params':{'name':'write'}}",
        br#"{"jsonrpc":"2.0","id":1,"method":"ping"} {"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"write"}}"#,
        b"{\"method\":\"x\",\"params\":[\r{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"write\"}}\r]}",
        br#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"write","arguments":{"path":"a"}}}"#,
        br#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"write","arguments":{"path":"a"}}}"#,
        br#"{"jsonrpc":"2.0","id":[1],"method":"tools/call","params":{"name":"write","arguments":{"path":"a"}}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["write"]}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"write"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Arguments":{}}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{},"arguments":{}}}"#,
        br#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"path":"a"}}},{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        br#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"path":"a"}}},{"method":"ping","method":"tools/call"}]"#,
        br#"[[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write"}}]]"#,
        b"[]",
        br#""tools/call""#,
        b"not json",
    ];
    for version in ["2025-03-26", "2025-11-25"] {
        let mut pipes = Pipes::new();
        pipes.house.set("read", Action::Pass);
        pipes.initialize(version).await;
        for line in smuggled {
            pipes.say_raw(line).await;
            pipes.say_raw(b"\n").await;
            let shown = String::from_utf8_lossy(line);
            let answer: serde_json::Value = serde_json::from_str(&pipes.heard().await).unwrap();
            let error = if answer.is_array() { &answer[0]["error"] } else { &answer["error"] };
            assert!(matches!(error["code"].as_i64(), Some(-32700 | -32600 | -32602)), "{shown}: {answer}");
            pipes.server_saw_nothing().await;
        }
        assert!(pipes.house.approver.submitted().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn batches_pass_only_where_they_exist() {
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}, {"jsonrpc":"2.0","method":"notifications/x"}]"#;
    let mut pipes = Pipes::new();
    pipes.say(batch).await;
    assert_eq!(code(&pipes.heard().await), -32600);
    pipes.initialize("2025-06-18").await;
    pipes.say(batch).await;
    assert_eq!(code(&pipes.heard().await), -32600);
    pipes.server_saw_nothing().await;
    let mut pipes = Pipes::new();
    pipes.initialize("2025-03-26").await;
    pipes.say(batch).await;
    assert_eq!(pipes.seen().await, batch);
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_messages_keep_their_order_around_a_held_call() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("\"held\"", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    for round in 0..10 {
        let lines: Vec<_> = (0..100)
            .map(|n| {
                format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":{}}}}}"#,
                    round * 100 + n
                )
            })
            .collect();
        pipes.say_raw(format!("{}\n", lines.join("\n")).as_bytes()).await;
        pipes.answer_raw(format!("{}\n", lines.join("\n")).as_bytes()).await;
        for line in &lines {
            assert_eq!(pipes.seen().await, *line);
            assert_eq!(pipes.heard().await, *line);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lines_come_in_any_pieces() {
    let mut pipes = Pipes::new();
    for byte in "{\"jsonrpc\":\"2.0\",\"id\":1,\r\n".bytes().filter(|byte| *byte != b'\r' && *byte != b'\n') {
        pipes.say_raw(&[byte]).await;
        tokio::task::yield_now().await;
    }
    pipes.say_raw(b"\"method\":\"ping\"}\r\n\n \n").await;
    assert_eq!(pipes.seen().await, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r");
    assert_eq!(pipes.seen().await, "");
    assert_eq!(pipes.seen().await, " ");
}

#[tokio::test(start_paused = true)]
async fn a_line_too_long_is_an_error_with_its_id_and_never_a_hang() {
    let mut pipes = Pipes::new();
    let padding = "x".repeat(20 << 20);
    for line in [
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"write","arguments":{{"id":8,"path":"{padding}"}}}}}}"#
        ),
        format!(r#"{{"params":{{"id":8,"path":"{padding}"}},"method":"ping","id":7}}"#),
    ] {
        pipes.say(&line).await;
        let answer: serde_json::Value = serde_json::from_str(&pipes.heard().await).unwrap();
        assert_eq!(answer["id"], 7);
        assert_eq!(answer["error"]["code"], -32600);
        pipes.server_saw_nothing().await;
    }
    // From the server as well: the client is told under the id it waits for.
    pipes.answer(&format!(r#"{{"jsonrpc":"2.0","id":"a","result":{{"text":"{padding}"}}}}"#)).await;
    let answer: serde_json::Value = serde_json::from_str(&pipes.heard().await).unwrap();
    assert_eq!(answer["id"], "a");
    assert_eq!(answer["error"]["code"], -32603);
    // Just below the limit it passes.
    let line = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":"{}"}}}}"#,
        "y".repeat((16 << 20) - 200)
    );
    pipes.say(&line).await;
    assert!(pipes.seen().await == line);
}

/// A server may ask its client before it says anything of its tools.
#[tokio::test(start_paused = true)]
async fn requests_of_the_server_pass_while_calls_wait() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#;
    pipes.answer(ask).await;
    assert_eq!(pipes.heard().await, ask);
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}"#;
    pipes.say(answer).await;
    assert_eq!(pipes.seen().await, answer);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_the_end_is_still_answered() {
    let mut pipes = Pipes::new();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    // No line end: the stream's end is one.
    pipes.say_raw(ping.as_bytes()).await;
    pipes.close_client();
    assert_eq!(pipes.seen().await, ping);
    pipes.answer(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
    assert_eq!(pipes.heard().await, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    pipes.close_server().await;
    assert_eq!(pipes.relay.await.unwrap(), ExitReason::ClientClosed);
}

#[tokio::test(start_paused = true)]
async fn garbage_of_the_server_is_the_clients_to_judge() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    for line in
        ["Server started!", r#"{"id":1,"id":2}"#, r#"{"jsonrpc":"2.0","id":99,"result":{}}"#, "list_changed"]
    {
        pipes.answer(line).await;
        assert_eq!(pipes.heard().await, line);
    }
}
