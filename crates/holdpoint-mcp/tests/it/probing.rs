//! Finding out by a read-only tool of the same server whether an effect happened. No client hears of it.

use crate::{
    house::{House, decision, failure_of, result_of, status, write_call},
    pipe::Pipes,
    web::{Asked, Web, text},
};
use holdpoint_core::EffectState;
use holdpoint_mcp::Action;
use serde_json::Value;
use std::{sync::atomic::Ordering, time::Duration};

fn doubtful() -> House {
    let house = House::new();
    house.set("write", Action::Once);
    house.rules.reconciles.store(true, Ordering::Relaxed);
    house
}

fn states(house: &House) -> Vec<EffectState> {
    house.journal.runs().iter().map(|run| run.state).collect()
}

/// The question as the server gets it: on one line, under an id of ours. Its id, as raw JSON.
fn probe_id(line: &str) -> String {
    let message: Value = serde_json::from_str(line).expect(line);
    assert!(message["id"].as_str().unwrap().starts_with("holdpoint-"), "{line}");
    assert_eq!(message["method"], "tools/call");
    assert_eq!(message["params"]["name"], "read");
    assert_eq!(message["params"]["arguments"], serde_json::json!({"path": "a"}));
    message["id"].to_string()
}

fn there(id: &str, there: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"structuredContent":{{"there":{there}}}}}}}"#)
}

/// A call whose effect is in doubt.
async fn in_doubt() -> Pipes {
    let mut pipes = Pipes::with(doubtful(), |_| {});
    pipes.say(&write_call("1", "a")).await;
    pipes.seen().await;
    pipes.answer(&failure_of("1", "timed out")).await;
    pipes.heard().await;
    assert_eq!(states(&pipes.house), [EffectState::Unknown]);
    pipes
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_did_not_happen_is_tried_again_over_stdio() {
    let mut pipes = in_doubt().await;
    pipes.say(&write_call("2", "a")).await;
    let id = probe_id(&pipes.seen().await);
    // Other traffic goes on as if nothing were.
    let ping = r#"{"jsonrpc":"2.0","id":"holdpoint-","method":"ping"}"#;
    pipes.say(ping).await;
    assert_eq!(pipes.seen().await, ping);
    let answer = r#"{"jsonrpc":"2.0","id":"holdpoint-","result":{}}"#;
    pipes.answer(answer).await;
    assert_eq!(pipes.heard().await, answer);
    pipes.answer(&there(&id, "false")).await;
    assert_eq!(pipes.seen().await, write_call("2", "a"));
    pipes.answer(&result_of("2", "x")).await;
    assert_eq!(pipes.heard().await, result_of("2", "x"));
    pipes.client_heard_nothing().await;
    assert_eq!(states(&pipes.house), [EffectState::Void, EffectState::Done]);
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_happened_is_not_had_again() {
    let mut pipes = in_doubt().await;
    pipes.say(&write_call("2", "a")).await;
    let id = probe_id(&pipes.seen().await);
    pipes.answer(&there(&id, "true")).await;
    let answer = pipes.heard().await;
    assert_eq!((&*status(&answer), &decision(&answer)["effect"]), ("already_done", &"write:a".into()));
    pipes.server_saw_nothing().await;
    assert_eq!(states(&pipes.house), [EffectState::Done]);
}

/// Anything but a clear answer leaves it in doubt, and nothing runs.
#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_tell_leaves_it_in_doubt() {
    let large = format!(r#"{{"there":false,"x":"{}"}}"#, "x".repeat(1 << 20));
    let answers = [
        r#""result":{"isError":true,"structuredContent":{"there":false}}"#.to_owned(),
        r#""error":{"code":-32602,"message":"no"}"#.into(),
        r#""error":{"code":1},"result":{"structuredContent":{"there":false}}"#.into(),
        r#""result":{"structuredContent":{"there":false,"there":false}}"#.into(),
        r#""result":{"structuredContent":{"there":false}},"Result":{}"#.into(),
        r#""result":{"resultType":"input_required","structuredContent":{"there":false}}"#.into(),
        r#""result":{}"#.into(),
        format!(r#""result":{{"structuredContent":{large}}}"#),
    ];
    for answer in answers {
        let mut pipes = in_doubt().await;
        pipes.say(&write_call("2", "a")).await;
        let id = probe_id(&pipes.seen().await);
        pipes.answer(&format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#)).await;
        let shown = answer.get(..80).unwrap_or(&answer);
        assert_eq!(status(&pipes.heard().await), "outcome_unknown", "{shown}");
        pipes.server_saw_nothing().await;
        pipes.client_heard_nothing().await;
        assert_eq!(states(&pipes.house), [EffectState::Unknown]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_reaches_nobody() {
    let mut pipes = in_doubt().await;
    let start = tokio::time::Instant::now();
    pipes.say(&write_call("2", "a")).await;
    let id = probe_id(&pipes.seen().await);
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    pipes.answer(&there(&id, "false")).await;
    pipes.client_heard_nothing().await;
    assert_eq!(states(&pipes.house), [EffectState::Unknown]);
}

/// A tool that is not there, that came to be another one, or whose arguments these are not, is not asked.
#[tokio::test(start_paused = true)]
async fn a_tool_that_cannot_be_confirmed_is_not_asked() {
    let changes: [(&str, &str); 3] = [
        (r#"{"name":"read","inputSchema":{"type":"object"}},"#, ""),
        (r#""name":"read","#, r#""name":"read","description":"and deletes it","#),
        (
            r#"{"name":"read","inputSchema":{"type":"object"}}"#,
            r#"{"name":"read","inputSchema":{"type":"object","required":["file"]}}"#,
        ),
    ];
    for (before, after) in changes {
        let mut pipes = in_doubt().await;
        // It was seen as it is before it changes.
        pipes.house.set("read", Action::Pass);
        pipes.say(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read"}}"#).await;
        pipes.seen().await;
        let tools = pipes.tools.lock().unwrap().replace(before, after);
        assert_ne!(*pipes.tools.lock().unwrap(), tools);
        *pipes.tools.lock().unwrap() = tools;
        pipes.say(&write_call("2", "a")).await;
        assert_eq!(status(&pipes.heard().await), "outcome_unknown");
        pipes.server_saw_nothing().await;
    }
}

/// With its own headers where the era wants them, and none of the client's beside session and revision.
#[tokio::test]
async fn an_effect_that_did_not_happen_is_tried_again_over_http() {
    let modern = |id: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"write","arguments":{{"path":"a"}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        )
    };
    let stateless: &[(&str, &str)] = &[
        ("mcp-method", "tools/call"),
        ("mcp-name", "write"),
        ("mcp-protocol-version", "2026-07-28"),
        ("x-trace", "7"),
    ];
    let session: &[(&str, &str)] =
        &[("mcp-session-id", "s1"), ("mcp-protocol-version", "2025-11-25"), ("x-trace", "7")];
    for (headers, first, second) in
        [(stateless, modern(1), modern(2)), (session, write_call("1", "a"), write_call("2", "a"))]
    {
        for (says, streams) in [("false", false), ("false", true), ("true", false)] {
            let web = Web::in_house(doubtful(), |_| {}).await;
            let (_, ()) = tokio::join!(web.post_with(headers, first.clone()), async {
                web.asked().await.json(failure_of("1", "timed out"));
            });
            let (answer, ()) = tokio::join!(web.post_with(headers, second.clone()), async {
                let probe = web.asked().await;
                let id = probe_id(probe.text());
                check_headers(&probe, headers);
                if streams {
                    let progress = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
                    let events = format!("data: {progress}\n\ndata: {}\n\n", there(&id, says));
                    probe.stream().send(events.into()).await.unwrap();
                } else {
                    probe.json(there(&id, says));
                }
                if says == "false" {
                    let asked = web.asked().await;
                    assert_eq!(asked.text(), second);
                    asked.json(result_of("2", "x"));
                }
            });
            let answer = text(answer).await;
            if says == "false" {
                assert_eq!(answer, result_of("2", "x"));
                assert_eq!(states(&web.house), [EffectState::Void, EffectState::Done]);
            } else {
                assert_eq!(status(&answer), "already_done");
                web.server_saw_nothing().await;
            }
        }
    }
}

fn check_headers(probe: &Asked, of_the_call: &[(&str, &str)]) {
    let named = |name: &str| of_the_call.iter().find(|(header, _)| *header == name).map(|(_, value)| *value);
    for name in ["mcp-session-id", "mcp-protocol-version"] {
        let sent = probe.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(sent, named(name), "{name}");
    }
    let read = named("mcp-name").map(|_| "read");
    assert_eq!(probe.headers.get("mcp-name").map(|value| value.to_str().unwrap()), read);
    assert_eq!(probe.headers.get("mcp-method").is_some(), read.is_some());
    assert!(!probe.headers.contains_key("x-trace"));
}

/// An answer to something else, or none.
#[tokio::test]
async fn a_server_that_does_not_tell_over_http_leaves_it_in_doubt() {
    let answers: [(u16, &str, String); 4] = [
        (200, "application/json", there("99", "false")),
        (500, "text/plain", "oops".into()),
        (202, "text/plain", String::new()),
        (200, "text/event-stream", ": nothing\n\n".into()),
    ];
    for (code, kind, body) in answers {
        let web = Web::in_house(doubtful(), |_| {}).await;
        let (_, ()) = tokio::join!(web.post(write_call("1", "a")), async {
            web.asked().await.json(failure_of("1", "timed out"));
        });
        let (answer, ()) = tokio::join!(web.post(write_call("2", "a")), async {
            let probe = web.asked().await;
            probe_id(probe.text());
            probe.answer(code, &[("content-type", kind)], body.clone());
        });
        assert_eq!(status(&text(answer).await), "outcome_unknown", "{body}");
        web.server_saw_nothing().await;
        assert_eq!(states(&web.house), [EffectState::Unknown]);
    }
}
