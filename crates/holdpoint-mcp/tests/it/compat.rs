//! Lists of tools for a client that reads a part of JSON Schema: on each way to a server, and nothing else.

use crate::{
    house::{House, result_of, status},
    pipe::Pipes,
    web::{Stream, Web, text},
};
use holdpoint_mcp::{Action, Compat};
use holdpoint_testkit::Verdict;
use http::StatusCode;

/// What a server says of its tools, in an answer with this id.
fn stated(id: &str) -> String {
    page(
        id,
        r##"{"type":"object","properties":{"path":{"$ref":"#/$defs/Path"},"n":{"type":["integer","null"],"exclusiveMinimum":0}},"required":["path"],"$defs":{"Path":{"type":"string"}}}"##,
    )
}

/// The same as a client gets it.
fn readable(id: &str) -> String {
    page(
        id,
        r#"{"type":"object","properties":{"path":{"type":"string"},"n":{"type":"integer","minimum":1}},"required":["path"]}"#,
    )
}

fn page(id: &str, schema: &str) -> String {
    format!(
        r#"{{"result" : {{"tools":[{{"x":1.0,"name":"write","inputSchema":{schema}}},{{"name":"read","inputSchema":{{ }}}}],"nextCursor":"p2"}},"id":{id},"jsonrpc":"2.0"}}"#
    )
}

fn list(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{"cursor":"p1"}}}}"#)
}

fn house(compat: Compat) -> House {
    let house = House::new();
    *house.actions.compat.lock().unwrap() = compat;
    house
}

/// The test answers for the server, lists of tools included.
async fn web(compat: Compat) -> Web {
    let web = Web::in_house(house(compat), |_| {}).await;
    web.tools.lock().unwrap().clear();
    web
}

#[tokio::test]
async fn a_page_over_http_is_changed_behind_the_switch_only() {
    for (compat, expected) in [(Compat::CopilotStudio, readable("7")), (Compat::AsStated, stated("7"))] {
        let web = web(compat).await;
        let (answer, ()) = tokio::join!(web.post(list("7")), async {
            let asked = web.asked().await;
            assert_eq!(asked.text(), list("7"));
            asked.answer(200, &[("content-type", "application/json"), ("mcp-session-id", "s")], stated("7"));
        });
        assert_eq!(answer.headers()["mcp-session-id"], "s");
        assert_eq!(text(answer).await, expected);
    }
}

#[tokio::test]
async fn a_page_in_a_stream_is_changed_and_cannot_be_read_again() {
    let web = web(Compat::CopilotStudio).await;
    let (answer, ()) = tokio::join!(web.post(list("7")), async {
        let server = web.asked().await.stream();
        let note = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
        for event in
            [format!("id: 1\ndata: {note}\n\n"), format!("event: message\nid: 2\ndata: {}\n\n", stated("7"))]
        {
            server.send(event.into()).await.unwrap();
        }
    });
    let mut stream = Stream::new(answer);
    let note = stream.next().await.unwrap();
    assert!(note.starts_with("data: ") && note.contains("notifications/message"), "{note}");
    assert_eq!(stream.next().await.unwrap(), format!("event: message\ndata: {}", readable("7")));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn lists_in_a_batch_are_changed() {
    let web = web(Compat::CopilotStudio).await;
    let ping = r#"{"jsonrpc":"2.0","id":8,"method":"ping"}"#;
    let answered = r#"{"jsonrpc":"2.0","id":8,"result":{ }}"#;
    let asks = format!("[{},{ping}]", list("7"));
    let versions = [("mcp-protocol-version", "2025-03-26")];
    let (answer, ()) = tokio::join!(web.post_with(&versions, asks.clone()), async {
        let asked = web.asked().await;
        assert_eq!(asked.text(), asks);
        asked.json(format!("[{answered}, {}]", stated("7")));
    });
    assert_eq!(text(answer).await, format!("[{answered}, {}]", readable("7")));
    let (answer, ()) = tokio::join!(web.post_with(&versions, asks.clone()), async {
        let server = web.asked().await.stream();
        for message in [stated("7"), answered.to_owned()] {
            server.send(format!("data: {message}\n\n").into()).await.unwrap();
        }
    });
    let mut stream = Stream::new(answer);
    assert_eq!(stream.next().await.unwrap(), format!("data: {}", readable("7")));
    assert_eq!(stream.next().await.unwrap(), format!("data: {answered}"));
}

#[tokio::test]
async fn refusals_of_a_list_pass_and_what_cannot_be_read_is_an_error() {
    let web = web(Compat::CopilotStudio).await;
    let refusal = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no"} }"#;
    for (status, body, expected) in [
        (200, refusal.as_bytes(), 200),
        (404, b"gone", 404),
        (200, b"\xff", StatusCode::BAD_GATEWAY.as_u16()),
    ] {
        let (answer, ()) = tokio::join!(web.post(list("7")), async {
            web.asked().await.answer(status, &[("content-type", "application/json")], body);
        });
        assert_eq!(answer.status().as_u16(), expected);
        let told = text(answer).await;
        assert!(expected == 502 || told.as_bytes() == body, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_on_a_pipe_is_changed_behind_the_switch_only() {
    for (compat, expected) in [(Compat::CopilotStudio, readable("7.0")), (Compat::AsStated, stated("7.0"))] {
        let mut pipes = Pipes::with(house(compat), |_| {});
        pipes.say(&list("7")).await;
        assert_eq!(pipes.seen().await, list("7"));
        let note = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"tools":[]}}"#;
        pipes.answer(note).await;
        pipes.answer(&stated("7.0")).await;
        assert_eq!(pipes.heard().await, note);
        assert_eq!(pipes.heard().await, expected);
        // Nobody asked for this one.
        pipes.answer(&stated("7.0")).await;
        assert_eq!(pipes.heard().await, stated("7.0"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_in_a_batch_on_a_pipe_is_changed() {
    let mut pipes = Pipes::with(house(Compat::CopilotStudio), |_| {});
    pipes.initialize("2025-03-26").await;
    let asks = format!(r#"[{},{{"jsonrpc":"2.0","id":8,"method":"ping"}}]"#, list("7"));
    pipes.say(&asks).await;
    assert_eq!(pipes.seen().await, asks);
    let pong = r#"{"jsonrpc":"2.0","id":8,"result":{ }}"#;
    pipes.answer(&format!("[{pong},{}]", stated("7"))).await;
    assert_eq!(pipes.heard().await, format!("[{pong},{}]", readable("7")));
}

/// What is told to a client is no permission: arguments are held against what the server says, and that is pinned.
#[tokio::test(start_paused = true)]
async fn what_is_pinned_and_held_against_is_what_the_server_says() {
    let strict = r#"[{"name":"write","inputSchema":{"type":"object","properties":{"path":{"type":["string","integer"]}}}}]"#;
    let call = |id: &str, path: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"write","arguments":{{"path":{path}}}}}}}"#
        )
    };
    let mut pipes = Pipes::with(house(Compat::CopilotStudio), |_| {});
    pipes.house.set("write", Action::Gate);
    pipes.house.approver.decide_all(Verdict::Approve);
    *pipes.tools.lock().unwrap() = strict.to_owned();
    // Fits what becomes of it, which takes anything, and not what it is.
    pipes.say(&call("1", "true")).await;
    assert_eq!(status(&pipes.heard().await), "invalid_arguments");
    pipes.server_saw_nothing().await;
    pipes.say(&call("2", "5")).await;
    assert_eq!(pipes.seen().await, call("2", "5"));
    pipes.answer(&result_of("2", "x")).await;
    assert_eq!(pipes.heard().await, result_of("2", "x"));
    // Another definition with the same readable form is another definition.
    *pipes.tools.lock().unwrap() =
        strict.replace(r#"["string","integer"]"#, r#"["string","integer","boolean"]"#);
    pipes.answer(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).await;
    pipes.heard().await;
    pipes.say(&call("3", "true")).await;
    assert_eq!(status(&pipes.heard().await), "mismatch");
    pipes.server_saw_nothing().await;
}
