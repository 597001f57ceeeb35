//! Hundreds of messages of five protocol revisions, ordinary and odd, through the real command, byte for byte in both directions.

use anyhow::{Context as _, Result};
use holdpoint_e2e::{House, here, node};
use serde_json::{Value, json};

const CLIENT: &str = include_str!("../../../crates/holdpoint-mcp/tests/it/corpus/client.tsv");
const SERVER: &str = include_str!("../../../crates/holdpoint-mcp/tests/it/corpus/server.tsv");

/// Whose tool nobody can tell; the proxy answers it.
const REFUSED: &str = "call: name number (invalid)";

fn samples(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines().filter_map(|line| line.split_once('\t'))
}

#[test]
fn all_messages_cross_byte_for_byte() -> Result<()> {
    assert!(samples(CLIENT).count() + samples(SERVER).count() >= 400);
    let mut house = House::new()?;
    let (log, script) = (house.path().join("seen"), house.path().join("script"));
    // The session is of the one revision that has batches, of which one is in the corpus.
    let hello = r#"{"jsonrpc":"2.0","id":"initialize","result":{"protocolVersion":"2025-03-26","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}}"#;
    // Every line of the client is answered by the next of the script: `initialize` by `hello`, the call that warms up by
    // its result, and from then on sample by sample.
    let warm = r#"{"jsonrpc":"2.0","id":"warm","result":{"content":[]}}"#;
    let samples_of_server: Vec<&str> = samples(SERVER).map(|(_, sample)| sample).collect();
    let quiet =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"quiet"}}"#;
    std::fs::write(&script, [&[hello, quiet, warm], &samples_of_server[..]].concat().join("\n"))?;
    let server = [node(), here().join("node/script.mjs"), log.clone(), script];
    let server: Vec<String> = server.iter().map(|part| part.display().to_string()).collect();
    house.configure(&json!({ "servers": { "s": { "command": server } } }))?;
    house.tools("s", &json!([{ "name": "t", "action": "pass" }]))?;
    let _gate = house.serve()?;

    let mut pipe = house.pipe(&house.proxy("s"))?;
    pipe.initialize("2025-03-26")?;
    assert_eq!(pipe.message()?["params"]["data"], "quiet");
    // From the second call on the tool is known, and nothing of ours goes in between.
    pipe.call("warm", "t", &json!({}))?;
    let before = std::fs::read(&log)?.len();

    let mut expected = Vec::new();
    let mut answers = samples(SERVER);
    for (name, sample) in samples(CLIENT) {
        pipe.write(sample.as_bytes())?;
        pipe.write(b"\n")?;
        if name == REFUSED {
            assert_eq!(pipe.message()?["error"]["code"], -32602, "{name}");
            continue;
        }
        expected.extend([sample.as_bytes(), b"\n"].concat());
        let (name, answer) = answers.next().context("fewer messages of the server than of the client")?;
        assert_eq!(String::from_utf8(pipe.line()?)?, format!("{answer}\n"), "{name}");
    }
    // What is left of the server's side is fetched by messages that mean nothing.
    let mut number = 0;
    for (name, answer) in answers {
        number += 1;
        let ping =
            json!({ "jsonrpc": "2.0", "method": "notifications/more", "params": { "number": number } });
        pipe.say(&ping)?;
        expected.extend(format!("{ping}\n").into_bytes());
        assert_eq!(String::from_utf8(pipe.line()?)?, format!("{answer}\n"), "{name}");
    }
    assert!(pipe.close()?.success());
    let seen = std::fs::read(&log)?;
    let seen = seen.get(before..).context("the log became shorter")?;
    assert_eq!(String::from_utf8_lossy(seen), String::from_utf8_lossy(&expected));
    assert_eq!(house.inbox()?, [] as [Value; 0]);
    Ok(())
}
