//! Batches with tool calls in them, of the one revision that has batches.

use crate::{
    house::{House, result_of, status, write_call},
    pipe::Pipes,
    web::{Stream, Web, text},
};
use holdpoint_mcp::Action;
use holdpoint_testkit::Verdict;
use http::{Method, StatusCode};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

const PING: &str = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
const NOTED: &str = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
const PONG: &str = r#"{"jsonrpc":"2.0","id":"p","result":{}}"#;

fn named(id: &str, tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

/// One call passes, one is approved, one is denied, and two messages are no calls.
fn mixed(house: &House) -> String {
    house.set("read", Action::Pass);
    house.set("t", Action::Deny);
    house.approver.decide_all(Verdict::Approve);
    let calls = [named("3", "t"), write_call("1", "a"), named("2", "read")];
    format!("[ {PING},{}, {NOTED} , {},\n{}]", calls[0], calls[1], calls[2]).replace('\n', " ")
}

fn by_id(messages: impl IntoIterator<Item = String>) -> BTreeMap<String, String> {
    let id = |message: &String| serde_json::from_str::<Value>(message).unwrap()["id"].to_string();
    messages.into_iter().map(|message| (id(&message), message)).collect()
}

fn check_mixed(answers: &BTreeMap<String, String>) {
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert_eq!(answers[r#""p""#], PONG);
    assert_eq!(answers["1"], result_of("1", "written"));
    assert_eq!(answers["2"], result_of("2", "read"));
    assert_eq!(status(&answers["3"]), "denied_by_config");
}

/// Answers the three requests that a mixed batch becomes, in whichever order they come.
async fn serve_mixed(web: &Web) {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let asked = web.asked().await;
        let body = asked.text().to_owned();
        if body.starts_with('[') {
            asked.json(format!("[{PONG}]"));
        } else if body.contains("write") {
            asked.json(result_of("1", "written"));
        } else {
            asked.json(result_of("2", "read"));
        }
        seen.push(body);
    }
    seen.sort();
    let mut expected = [write_call("1", "a"), named("2", "read"), format!("[{PING},{NOTED}]")];
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn over_http_each_call_of_a_batch_is_a_call() {
    let web = Web::new().await;
    let batch = mixed(&web.house);
    let (answer, ()) = tokio::join!(web.post(batch), serve_mixed(&web));
    assert_eq!(answer.status(), StatusCode::OK);
    let mut stream = Stream::new(answer);
    let mut messages = Vec::new();
    for _ in 0..4 {
        messages.push(stream.message().await);
    }
    check_mixed(&by_id(messages));
    assert_eq!(stream.next().await, None);
    assert_eq!(web.house.approver.submitted().len(), 1);
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn who_takes_no_stream_gets_one_array() {
    let web = Web::new().await;
    let batch = mixed(&web.house);
    let headers = [("content-type", "application/json"), ("accept", "application/json")];
    let (answer, ()) = tokio::join!(web.send(Method::POST, &headers, batch), serve_mixed(&web));
    assert_eq!(answer.headers()["content-type"], "application/json");
    let array: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&text(answer).await).unwrap();
    check_mixed(&by_id(array.iter().map(|message| message.get().to_owned())));
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn over_http_one_call_of_a_batch_is_withdrawn() {
    let web = Web::with(|options| options.early = Duration::from_millis(20)).await;
    let answer = web.post(format!("[{},{}]", write_call("1", "a"), write_call("2", "b"))).await;
    let mut stream = Stream::new(answer);
    while web.house.approver.opened().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(web.post(cancel).await.status(), StatusCode::ACCEPTED);
    assert_eq!(status(&stream.message().await), "cancelled");
    web.house.approver.decide_all(Verdict::Approve);
    let (answered, ()) = tokio::join!(stream.message(), async {
        let asked = web.asked().await;
        assert_eq!(asked.text(), write_call("2", "b"));
        asked.json(result_of("2", "written"));
    });
    assert_eq!(answered, result_of("2", "written"));
    web.server_saw_nothing().await;
}

/// Its messages are acted on side by side, in no order: none of them may come too early to count.
#[tokio::test]
async fn over_http_a_call_that_its_own_batch_withdraws_goes_nowhere() {
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1.0}}"#;
    let call = write_call("1", "a");
    for batch in [format!("[{call},{cancel}]"), format!("[{cancel},{call}]")] {
        let web = Web::new().await;
        web.house.approver.decide_all(Verdict::Approve);
        let headers = [("content-type", "application/json"), ("accept", "application/json")];
        let (answer, ()) = tokio::join!(web.send(Method::POST, &headers, batch), async {
            let asked = web.asked().await;
            assert_eq!(asked.text(), cancel);
            asked.answer(202, &[], "");
        });
        let array: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&text(answer).await).unwrap();
        assert_eq!(status(array[0].get()), "cancelled");
        assert_eq!((array.len(), web.house.approver.submitted().len()), (1, 0));
        web.server_saw_nothing().await;
    }
}

#[tokio::test]
async fn only_one_revision_has_batches() {
    let web = Web::new().await;
    let batch = format!("[{}]", write_call("1", "a"));
    for version in ["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let answer = web.post_with(&[("mcp-protocol-version", version)], batch.clone()).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{version}");
    }
    let many = vec![PING; 257].join(",");
    assert_eq!(web.post(format!("[{many}]")).await.status(), StatusCode::BAD_REQUEST);
    assert!(web.house.approver.submitted().is_empty());
    web.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn over_pipes_each_call_of_a_batch_is_a_call() {
    let mut pipes = Pipes::new();
    pipes.initialize("2025-03-26").await;
    let batch = mixed(&pipes.house);
    pipes.say(&batch).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let line = pipes.seen().await;
        if line == PING {
            pipes.answer(PONG).await;
        } else if line.contains("write") {
            pipes.answer(&result_of("1", "written")).await;
        } else if line.contains("read") {
            pipes.answer(&result_of("2", "read")).await;
        }
        seen.push(line);
    }
    seen.sort();
    let mut expected = [write_call("1", "a"), named("2", "read"), PING.to_owned(), NOTED.to_owned()];
    expected.sort();
    assert_eq!(seen, expected);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(pipes.heard().await);
    }
    check_mixed(&by_id(answers));
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn over_pipes_one_call_of_a_batch_is_withdrawn() {
    let mut pipes = Pipes::new();
    pipes.initialize("2025-03-26").await;
    pipes.say(&format!("[{},{}]", write_call("1", "a"), write_call("2", "b"))).await;
    while pipes.house.approver.opened().len() < 2 {
        tokio::task::yield_now().await;
    }
    pipes.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    pipes.server_saw_nothing().await;
    pipes.house.approver.decide_all(Verdict::Approve);
    assert_eq!(pipes.seen().await, write_call("2", "b"));
    pipes.answer(&result_of("2", "written")).await;
    assert_eq!(pipes.heard().await, result_of("2", "written"));
    pipes.server_saw_nothing().await;
}
