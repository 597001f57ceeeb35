//! Calls that wait as tasks, on a pipe.

use crate::{house::write_call, pipe::Pipes};
use holdpoint_core::HoldState;
use holdpoint_testkit::Verdict;
use serde_json::{Value, json};
use std::time::Duration;

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "extensions": { "io.modelcontextprotocol/tasks": {} } },
        "progressToken": 1,
    })
}

async fn heard(pipes: &mut Pipes) -> Value {
    serde_json::from_str(&pipes.heard().await).unwrap()
}

async fn task_of(pipes: &mut Pipes) -> String {
    let mut call: Value = serde_json::from_str(&write_call("1", "a")).unwrap();
    call["params"]["_meta"] = meta();
    pipes.say(&call.to_string()).await;
    let answer = heard(pipes).await;
    assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!(1), &json!("task")), "{answer}");
    answer["result"]["taskId"].as_str().unwrap().to_owned()
}

async fn asked(pipes: &mut Pipes, method: &str, task: &str) -> Value {
    let params = json!({ "taskId": task, "_meta": meta() });
    pipes.say(&json!({ "jsonrpc": "2.0", "id": "g", "method": method, "params": params }).to_string()).await;
    heard(pipes).await
}

async fn settled(pipes: &mut Pipes, task: &str) -> Value {
    for _ in 0..100 {
        let answer = asked(pipes, "tasks/get", task).await;
        if answer["result"]["status"] != "working" {
            return answer["result"].clone();
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    panic!("the task is still working");
}

#[tokio::test(start_paused = true)]
async fn an_approved_task_runs_once_under_an_id_of_ours() {
    let mut pipes = Pipes::new();
    let task = task_of(&mut pipes).await;
    assert_eq!(asked(&mut pipes, "tasks/get", &task).await["result"]["status"], "working");
    pipes.server_saw_nothing().await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    let sent: Value = serde_json::from_str(&pipes.seen().await).unwrap();
    assert_ne!(sent["id"], 1);
    assert_eq!(sent["params"]["arguments"], json!({ "path": "a" }));
    let token = &sent["params"]["_meta"]["progressToken"];
    let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": token, "progress": 1 } });
    pipes.answer(&progress.to_string()).await;
    let result = json!({ "resultType": "complete", "content": [] });
    let answer = json!({ "jsonrpc": "2.0", "id": sent["id"], "result": result }).to_string();
    pipes.answer(&answer).await;
    let told = settled(&mut pipes, &task).await;
    assert_eq!((&told["status"], &told["result"]), (&json!("completed"), &result));
    assert_eq!(asked(&mut pipes, "tasks/get", &task).await["result"], told);
    // Whatever the server says late under our id is not for the client.
    pipes.answer(&answer).await;
    pipes.answer(&progress.to_string()).await;
    pipes.client_heard_nothing().await;
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Done]);
}

#[tokio::test(start_paused = true)]
async fn refused_or_cancelled_nothing_runs() {
    let mut pipes = Pipes::new();
    let task = task_of(&mut pipes).await;
    pipes.house.approver.decide("THR-1", Verdict::Reject(None));
    let told = settled(&mut pipes, &task).await;
    assert_eq!((&told["status"], &told["result"]["isError"]), (&json!("completed"), &json!(true)));
    let task = task_of(&mut pipes).await;
    let acknowledged = asked(&mut pipes, "tasks/cancel", &task).await;
    assert_eq!(acknowledged["result"], json!({ "resultType": "complete" }));
    pipes.house.approver.decide("THR-2", Verdict::Approve);
    assert_eq!(settled(&mut pipes, &task).await["status"], "cancelled");
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Rejected, HoldState::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn the_extension_is_advertised() {
    let mut pipes = Pipes::new();
    pipes.say(r#"{"jsonrpc":"2.0","id":5,"method":"server/discover"}"#).await;
    pipes.seen().await;
    pipes.answer(r#"{"jsonrpc":"2.0","id":5,"result":{"capabilities":{"tools":{}}}}"#).await;
    let expected = r#"{"jsonrpc":"2.0","id":5,"result":{"capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}},"tools":{}}}}"#;
    assert_eq!(pipes.heard().await, expected);
}
#[tokio::test(start_paused = true)]
async fn a_task_outlives_its_pipe_and_its_approval_is_used_once() {
    let mut pipes = Pipes::new();
    let task = task_of(&mut pipes).await;
    let again = pipes.house.again("next");
    // The process ends, and only then is the call approved: a driver that still lived would run it.
    pipes.close_client();
    pipes.server_saw_the_end().await;
    pipes.close_server().await;
    (&mut pipes.relay).await.unwrap();
    pipes.house.journal.bury("house");
    again.approver.decide("THR-1", Verdict::Approve);
    let mut pipes = Pipes::with(again, |_| {});
    assert_eq!(asked(&mut pipes, "tasks/get", &task).await["result"]["status"], "working");
    let sent: Value = serde_json::from_str(&pipes.seen().await).unwrap();
    pipes
        .answer(&json!({ "jsonrpc": "2.0", "id": sent["id"], "result": { "content": [] } }).to_string())
        .await;
    assert_eq!(settled(&mut pipes, &task).await["status"], "completed");
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.approver.submitted().len(), 1);
}
