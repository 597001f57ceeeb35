//! Methods that the configuration denies never reach the server.

use crate::{
    house::{House, code},
    pipe::Pipes,
    web::{Web, text},
};
use http::StatusCode;

const READ: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}"#;
/// The same to a reader that trims names, or does not mind their case.
const SPELT: &str = r#"{"jsonrpc":"2.0","id":7,"method":"Resources/Read\u0000","params":{"uri":"x"}}"#;
const TOLD: &str = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":8,"method":"ping"}"#;

fn house() -> House {
    let house = House::new();
    *house.actions.denied.lock().unwrap() = vec!["resources/read", "notifications/roots/list_changed"];
    house
}

#[tokio::test(start_paused = true)]
async fn over_stdio() {
    let mut pipes = Pipes::with(house(), |_| {});
    for denied in [READ, SPELT] {
        pipes.say(denied).await;
        let answer = pipes.heard().await;
        assert_eq!(code(&answer), -32601, "{answer}");
        assert!(answer.contains("denied by the configuration") && answer.contains(r#""id":7"#), "{answer}");
    }
    pipes.say(TOLD).await;
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn in_a_batch_over_stdio() {
    let mut pipes = Pipes::with(house(), |_| {});
    pipes.initialize("2025-03-26").await;
    pipes.say(&format!("[{PING},{READ}]")).await;
    let answer = pipes.heard().await;
    assert_eq!(code(&answer), -32600, "{answer}");
    assert!(answer.contains("`resources/read`, which is in the batch, is denied"), "{answer}");
    pipes.server_saw_nothing().await;
}

#[tokio::test]
async fn over_http() {
    let web = Web::in_house(house(), |_| {}).await;
    for denied in [READ, SPELT] {
        let answer = web.post(denied).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let answer = text(answer).await;
        assert_eq!(code(&answer), -32601, "{answer}");
    }
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let modern =
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"resources/read","params":{{"uri":"x",{meta}}}}}"#);
    let headers =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "resources/read"), ("mcp-name", "x")];
    assert_eq!(web.post_with(&headers, modern).await.status(), StatusCode::NOT_FOUND);
    let answer = web.post(TOLD).await;
    assert_eq!((answer.status(), &*text(answer).await), (StatusCode::ACCEPTED, ""));
    let answer = web.post(format!("[{PING},{READ}]")).await;
    assert_eq!(code(&text(answer).await), -32600);
    web.server_saw_nothing().await;
}
