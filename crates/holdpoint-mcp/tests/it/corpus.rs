//! Ordinary messages of five protocol revisions, of which a typed model changes or refuses more than half.

use crate::{house::code, pipe::Pipes};
use holdpoint_mcp::Action;

const CLIENT: &str = include_str!("corpus/client.tsv");
const SERVER: &str = include_str!("corpus/server.tsv");

fn samples(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines().map(|line| line.split_once('\t').unwrap())
}

#[test]
fn there_are_75() {
    assert_eq!(samples(CLIENT).count() + samples(SERVER).count(), 75);
}

#[tokio::test(start_paused = true)]
async fn all_cross_byte_for_byte() {
    let mut pipes = Pipes::new();
    pipes.house.set("t", Action::Pass);
    pipes.initialize("2025-03-26").await;
    for (name, sample) in samples(CLIENT) {
        pipes.say(sample).await;
        if name == "call: name number (invalid)" {
            // Nobody can say which tool this is, so nobody can say whether it may run.
            assert_eq!(code(&pipes.heard().await), -32602);
            continue;
        }
        assert_eq!(pipes.seen().await, sample, "{name}");
        if name.starts_with("initialize") {
            pipes.answer(r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-03-26"}}"#).await;
            pipes.heard().await;
        }
    }
    for (name, sample) in samples(SERVER) {
        pipes.answer(sample).await;
        assert_eq!(pipes.heard().await, sample, "{name}");
    }
}

/// The same with a call held and its progress watched: then every message of the server is looked at.
#[tokio::test(start_paused = true)]
async fn all_cross_while_a_call_is_held() {
    let mut pipes = Pipes::new();
    pipes
        .say(r#"{"jsonrpc":"2.0","id":"held","method":"tools/call","params":{"name":"t","_meta":{"progressToken":"mine"}}}"#)
        .await;
    assert!(pipes.heard().await.contains("notifications/progress"));
    for (name, sample) in samples(SERVER) {
        pipes.answer(sample).await;
        assert_eq!(pipes.heard().await, sample, "{name}");
    }
}
