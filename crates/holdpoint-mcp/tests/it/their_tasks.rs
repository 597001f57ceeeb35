//! Servers that answer an approved call with a task of their own, where it did not wait as a task here.

use crate::{
    house::{code, write_call},
    pipe::Pipes,
    waiting::call,
    web::{Stream, Web, text},
};
use holdpoint_core::HoldState;
use holdpoint_mcp::{WaitMode, Waits};
use holdpoint_testkit::Verdict;
use serde_json::{Value, json};
use std::time::Duration;

const TASKS: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

/// A call of revision 2025-11-25 that wants to be a task of the server's.
fn core_call(id: &str) -> String {
    write_call(id, "a").replace(r#""name""#, r#""task":{"ttl":60000},"name""#)
}

fn core_task(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"task":{{"taskId":"theirs","status":"working","createdAt":"x","lastUpdatedAt":"x","ttl":60000,"pollInterval":1.0}}}}}}"#
    )
}

fn extension_task(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"task","taskId":"theirs","status":"working","createdAt":"x","lastUpdatedAt":"x","ttlMs":null}}}}"#
    )
}

fn about(method: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": 9, "method": method, "params": { "taskId": "theirs" } }).to_string()
}

#[tokio::test(start_paused = true)]
async fn a_core_task_is_approved_before_the_server_hears_of_it_and_is_its_own_then() {
    let mut pipes = Pipes::new();
    pipes.say(&core_call("1")).await;
    pipes.house.approver.until_submitted(1).await;
    pipes.server_saw_nothing().await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, core_call("1"));
    pipes.answer(&core_task("1")).await;
    assert_eq!(pipes.heard().await, core_task("1"));
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        pipes.say(&about(method)).await;
        assert_eq!(pipes.seen().await, about(method));
        let answer = r#"{"jsonrpc":"2.0","id":9,"result":{"n":1.0}}"#;
        pipes.answer(answer).await;
        assert_eq!(pipes.heard().await, answer);
    }
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Done]);
    assert!(pipes.house.journal.tickets().is_empty());
    // With a task or without one are two calls.
    pipes.say(&write_call("2", "a")).await;
    pipes.house.approver.until_submitted(2).await;
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_core_task_that_is_rejected_is_none() {
    let mut pipes = Pipes::new();
    pipes.say(&core_call("1")).await;
    pipes.house.approver.until_submitted(1).await;
    pipes.house.approver.decide("THR-1", Verdict::Reject(None));
    assert_eq!(crate::house::status(&pipes.heard().await), "rejected");
    pipes.server_saw_nothing().await;
}

/// By the extension a server may make a task where the client takes one, whatever the way to wait is.
#[tokio::test]
async fn a_task_of_the_server_is_its_callers_alone() {
    let headers =
        [("mcp-method", "tools/call"), ("mcp-name", "write"), ("mcp-protocol-version", "2026-07-28")];
    for modern in [true, false] {
        let web = Web::with(|options| options.early = Duration::from_millis(20)).await;
        *web.house.actions.waits.lock().unwrap() = Waits { mode: WaitMode::Hold, ..Waits::default() };
        let (response, answer) = if modern {
            (web.post_with(&headers, call("1", TASKS, "")).await, extension_task("1"))
        } else {
            (web.post(core_call("1")).await, core_task("1"))
        };
        let mut stream = Stream::new(response);
        web.house.approver.decide("THR-1", Verdict::Approve);
        web.asked().await.json(answer.clone());
        assert_eq!(stream.message().await, answer);
        let theirs = web.post_with(&[("x-test-principal", "eve")], about("tasks/get")).await;
        assert_eq!(code(&text(theirs).await), -32602);
        web.server_saw_nothing().await;
        let (own, ()) = tokio::join!(web.post(about("tasks/get")), async {
            let asked = web.asked().await;
            assert_eq!(asked.text(), about("tasks/get"));
            asked.json(r#"{"jsonrpc":"2.0","id":9,"result":{"n":1.0}}"#);
        });
        assert_eq!(serde_json::from_str::<Value>(&text(own).await).unwrap()["result"], json!({ "n": 1.0 }));
        assert_eq!(web.house.journal.states(), [HoldState::Done]);
        web.server_saw_nothing().await;
    }
}
