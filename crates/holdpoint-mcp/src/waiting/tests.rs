use super::*;
use crate::message::{CallMessage, Message, Single, look};

const CODE: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"claude-code","version":"2"}}"#;
const CODEX: &str = r#"{"capabilities":{"elicitation":{"url":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}},"clientInfo":{"name":"codex-mcp-client"}}"#;

fn by_handshake(params: &str) -> Client {
    Client::of_initialize(&serde_json::value::RawValue::from_string(params.to_owned()).unwrap())
}

fn by_request(capabilities: &str) -> Client {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"pay","_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{capabilities}}}}}}}"#
    );
    Client::of_call(&call(&text), Some(&by_handshake(CODEX)))
}

fn call(text: &str) -> Box<CallMessage<'_>> {
    match look(text.as_bytes()).unwrap() {
        Message::One(Single::Call(call)) => call,
        other => panic!("{other:?}"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn an_older_client_is_held_where_progress_keeps_it() {
    let waits = Waits::default();
    assert_eq!(choose(&waits, &Client::unknown(), true), Waiting::Hold { patience: seconds(900) });
    assert_eq!(choose(&waits, &Client::unknown(), false), Waiting::Bounded { patience: seconds(50) });
    assert_eq!(choose(&waits, &by_handshake(CODE), true), Waiting::Hold { patience: seconds(3600) });
    // Declared in a session, the extension is another one, and links are not for legs.
    assert_eq!(choose(&waits, &by_handshake(CODEX), true), Waiting::Bounded { patience: seconds(50) });
}

#[test]
fn a_stateless_client_is_answered_as_it_declares_in_the_request() {
    let waits = Waits::default();
    let legs = |link| Waiting::Legs { leg: seconds(45), most: 9, link };
    assert_eq!(choose(&waits, &by_request("{}"), true), legs(LinkFirst::No));
    assert_eq!(choose(&waits, &by_request(r#"{"elicitation":{"form":{}}}"#), false), legs(LinkFirst::No));
    assert_eq!(choose(&waits, &by_request(r#"{"elicitation":{"url":{}}}"#), false), legs(LinkFirst::Yes));
    let tasks = r#"{"elicitation":{"url":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
    assert_eq!(choose(&waits, &by_request(tasks), false), Waiting::Task);
}

#[test]
fn the_configuration_says_otherwise_as_far_as_the_client_can_follow() {
    let modern = by_request(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#);
    let mode = |mode| Waits { mode, ..Waits::default() };
    assert_eq!(choose(&mode(WaitMode::Hold), &modern, false), Waiting::Hold { patience: seconds(900) });
    assert_eq!(choose(&mode(WaitMode::Bounded), &modern, false), Waiting::Bounded { patience: seconds(50) });
    assert!(matches!(choose(&mode(WaitMode::Legs), &modern, false), Waiting::Legs { .. }));
    assert!(matches!(choose(&mode(WaitMode::Task), &by_request("{}"), false), Waiting::Legs { .. }));
    for asked in [WaitMode::Legs, WaitMode::Task] {
        let held = choose(&mode(asked), &Client::unknown(), false);
        assert_eq!(held, Waiting::Bounded { patience: seconds(50) });
    }
}

#[test]
fn patience_bounds_the_whole_and_a_leg_is_never_longer() {
    let waits = |patience, leg| Waits { patience: Some(seconds(patience)), leg, ..Waits::default() };
    let legs = |waits| match choose(&waits, &by_request("{}"), false) {
        Waiting::Legs { leg, most, .. } => (leg.as_secs(), most),
        other => panic!("{other:?}"),
    };
    assert_eq!(legs(waits(100, None)), (45, 3));
    assert_eq!(legs(waits(10, None)), (10, 1));
    assert_eq!(legs(waits(9_000, Some(seconds(3)))), (3, 9));
    assert_eq!(legs(waits(2, Some(Duration::ZERO))), (1, 2));
    let held = |progress| choose(&waits(120, None), &Client::unknown(), progress);
    assert_eq!(held(true), Waiting::Hold { patience: seconds(120) });
    assert_eq!(held(false), Waiting::Bounded { patience: seconds(50) });
}
