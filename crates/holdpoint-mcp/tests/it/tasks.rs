//! Calls that wait as tasks, over HTTP. Sockets are real, so a task is polled as its client would.

use crate::{
    house::{REVIEW_URL, code},
    web::{Asked, Web, text},
};
use holdpoint_core::{HoldState, Principal, TicketState};
use holdpoint_mcp::Action;
use holdpoint_testkit::{Operation, SubmitScript, Verdict};
use serde_json::{Value, json};
use std::time::Duration;

const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const POLLS_MAX: usize = 500;

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "extensions": { EXTENSION: {} } },
        "progressToken": "p",
    })
}

fn call(path: &str) -> String {
    let params = json!({ "name": "write", "arguments": { "path": path }, "_meta": meta() });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
}

async fn said(web: &Web, method: &str, name: &str, body: String) -> Value {
    let headers = [("mcp-method", method), ("mcp-name", name), ("mcp-protocol-version", "2026-07-28")];
    let answer = text(web.post_with(&headers, body).await).await;
    serde_json::from_str(&answer).expect(&answer)
}

async fn called(web: &Web, path: &str) -> Value {
    said(web, "tools/call", "write", call(path)).await
}

/// A call that becomes a task.
async fn task_of(web: &Web, path: &str) -> String {
    let answer = called(web, path).await;
    assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!(1), &json!("task")), "{answer}");
    answer["result"]["taskId"].as_str().unwrap().to_owned()
}

async fn asked_of(web: &Web, method: &str, task: &str, more: Value) -> Value {
    let mut params = json!({ "taskId": task, "_meta": meta() });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({ "jsonrpc": "2.0", "id": "g", "method": method, "params": params });
    said(web, method, task, body.to_string()).await
}

async fn get(web: &Web, task: &str) -> Value {
    asked_of(web, "tasks/get", task, json!({})).await
}

/// The task once it is no longer working.
async fn settled(web: &Web, task: &str) -> Value {
    for _ in 0..POLLS_MAX {
        let answer = get(web, task).await;
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        if answer["result"]["status"] != "working" {
            assert_eq!(answer["result"]["taskId"], task);
            return answer["result"].clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the task is still working");
}

/// Answers a call that runs with this `result`.
fn answered(asked: Asked, result: &Value) {
    let sent: Value = serde_json::from_str(asked.text()).unwrap();
    asked.json(json!({ "jsonrpc": "2.0", "id": sent["id"], "result": result }).to_string());
}

fn done() -> Value {
    json!({ "resultType": "complete", "content": [{ "type": "text", "text": "written" }] })
}

fn is_acknowledged(answer: &Value) {
    assert_eq!(answer["result"], json!({ "resultType": "complete" }), "{answer}");
}

#[tokio::test]
async fn an_approved_task_runs_once_and_tells_its_result_as_often_as_it_is_asked() {
    let web = Web::new().await;
    let answer = called(&web, "a").await;
    let created = &answer["result"];
    assert_eq!(created["status"], "working");
    assert_eq!(created["statusMessage"], format!("Waiting for approval: {REVIEW_URL}"));
    assert!(created["ttlMs"].as_u64() > Some(0) && created["pollIntervalMs"].as_u64() > Some(0), "{created}");
    assert!(created["createdAt"].is_string() && created["lastUpdatedAt"].is_string());
    let task = created["taskId"].as_str().unwrap().to_owned();
    assert_eq!(web.house.journal.tickets().len(), 1, "it is on record before it is told");
    let waiting = get(&web, &task).await;
    assert_eq!(waiting["result"]["statusMessage"], created["statusMessage"]);
    web.server_saw_nothing().await;
    web.house.approver.decide("THR-1", Verdict::Approve);
    let asked = web.asked().await;
    let sent: Value = serde_json::from_str(asked.text()).unwrap();
    let mut expected: Value = serde_json::from_str(&call("a")).unwrap();
    // Its own id is answered, and there is no progress for it.
    expected["id"] = sent["id"].clone();
    expected["params"]["_meta"]["progressToken"] = sent["id"].clone();
    assert_eq!(sent, expected);
    assert_ne!(sent["id"], 1);
    assert_eq!(
        (&asked.headers["mcp-method"], &asked.headers["mcp-name"]),
        (&"tools/call".parse().unwrap(), &"write".parse().unwrap())
    );
    answered(asked, &done());
    let first = settled(&web, &task).await;
    assert_eq!((&first["status"], &first["result"]), (&json!("completed"), &done()));
    assert_eq!(get(&web, &task).await["result"], first, "the second time as the first");
    assert_eq!(web.house.journal.states(), [HoldState::Done]);
    assert!(web.house.journal.holds()[0].delivered, "the same call sent again is a new one");
    web.server_saw_nothing().await;
    // And so it is.
    task_of(&web, "a").await;
    assert_eq!(web.house.journal.states(), [HoldState::Done, HoldState::Pending]);
}

#[tokio::test]
async fn what_is_refused_is_told_as_a_result_and_nothing_runs() {
    for (verdict, status) in [
        (Verdict::Reject(Some("no".into())), "rejected"),
        (Verdict::Expire, "expired"),
        (
            Verdict::ApproveWith { token: Some("forged".into()), expires_at: None, thread: None },
            "token_invalid",
        ),
    ] {
        let web = Web::new().await;
        let task = task_of(&web, "a").await;
        web.house.approver.decide("THR-1", verdict);
        let told = settled(&web, &task).await;
        assert_eq!((&told["status"], &told["result"]["isError"]), (&json!("completed"), &json!(true)));
        assert_eq!(told["result"]["_meta"]["dev.holdpoint/decision"]["status"], status);
        web.server_saw_nothing().await;
    }
}

#[tokio::test]
async fn an_error_of_the_server_fails_the_task() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    web.house.approver.decide("THR-1", Verdict::Approve);
    let asked = web.asked().await;
    let sent: Value = serde_json::from_str(asked.text()).unwrap();
    let error = json!({ "code": -32603, "message": "out of order" });
    asked.json(json!({ "jsonrpc": "2.0", "id": sent["id"], "error": error }).to_string());
    let told = settled(&web, &task).await;
    assert_eq!((&told["status"], &told["error"]), (&json!("failed"), &error));
}

#[tokio::test]
async fn a_call_that_needs_no_person_is_answered_at_once() {
    let web = Web::new().await;
    web.house.approver.on_submit(SubmitScript::Allow);
    let (answer, ()) = tokio::join!(called(&web, "a"), async { answered(web.asked().await, &done()) });
    assert_eq!(answer["result"], done());
    web.house.set("write", Action::Pass);
    let (answer, ()) = tokio::join!(called(&web, "b"), async { answered(web.asked().await, &done()) });
    assert_eq!(answer["result"], done());
    assert!(web.house.journal.tickets().is_empty());
}

#[tokio::test]
async fn a_cancelled_task_does_not_run_whatever_is_decided_later() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    is_acknowledged(&asked_of(&web, "tasks/cancel", &task, json!({})).await);
    assert_eq!(web.house.journal.states(), [HoldState::Cancelled], "before it is acknowledged");
    web.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(settled(&web, &task).await["status"], "cancelled");
    is_acknowledged(&asked_of(&web, "tasks/cancel", &task, json!({})).await);
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn a_task_cancelled_in_the_moment_of_dispatch_does_not_run() {
    let web = Web::new().await;
    web.house.pause.on();
    let task = task_of(&web, "a").await;
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.house.pause.reached().await;
    let (acknowledged, ()) = tokio::join!(asked_of(&web, "tasks/cancel", &task, json!({})), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        web.house.pause.over();
    });
    is_acknowledged(&acknowledged);
    assert_eq!(settled(&web, &task).await["status"], "cancelled");
    assert_eq!(web.house.journal.states(), [HoldState::Void]);
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn a_cancellation_that_is_not_on_record_is_not_acknowledged() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    web.house.guard.gate.close();
    web.proxy.drain().await;
    // No driver is left, and none can be started.
    let answer = asked_of(&web, "tasks/cancel", &task, json!({})).await;
    assert_eq!(code(&answer.to_string()), -32603, "{answer}");
    assert_eq!(web.house.journal.tickets()[0].state, TicketState::Open);
}

#[tokio::test]
async fn a_task_is_its_principals_alone() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    let other = Web::called_by(Principal::new("eve"), web.house.again("other"), |_| {}).await;
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let more = json!({ "inputResponses": {} });
        let theirs = asked_of(&other, method, &task, more.clone()).await;
        let unknown = asked_of(&web, method, "holdpoint-task-0000", more).await;
        assert_eq!(code(&theirs.to_string()), -32602);
        assert_eq!(theirs, unknown, "one answer for both");
    }
    other.server_saw_nothing().await;
    assert_eq!(get(&web, &task).await["result"]["status"], "working");
    assert_eq!(web.house.journal.states(), [HoldState::Pending]);
}

#[tokio::test]
async fn tasks_of_the_server_are_the_servers() {
    let web = Web::new().await;
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let (answer, ()) = tokio::join!(asked_of(&web, method, "its-own", json!({})), async {
            let asked = web.asked().await;
            let sent: Value = serde_json::from_str(asked.text()).unwrap();
            assert_eq!((&sent["method"], &sent["params"]["taskId"]), (&json!(method), &json!("its-own")));
            asked.json(r#"{"jsonrpc":"2.0","id":"g","result":{"x":1}}"#);
        });
        assert_eq!(answer["result"], json!({ "x": 1 }));
    }
}

#[tokio::test]
async fn headers_that_name_another_task_are_refused() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tasks/cancel", "params": { "taskId": task, "_meta": meta() } });
    let answer = said(&web, "tasks/cancel", "holdpoint-task-other", body.to_string()).await;
    assert_eq!(code(&answer.to_string()), -32020);
    assert_eq!(web.house.journal.states(), [HoldState::Pending]);
}

#[tokio::test]
async fn what_was_approved_while_nobody_lived_runs_once() {
    for approved_before in [true, false] {
        let web = Web::new().await;
        let task = task_of(&web, "a").await;
        web.house.guard.gate.close();
        web.proxy.drain().await;
        web.house.journal.bury("house");
        if approved_before {
            web.house.approver.decide("THR-1", Verdict::Approve);
        }
        let next = Web::in_house(web.house.again("next"), |_| {}).await;
        assert_eq!(get(&next, &task).await["result"]["status"], "working");
        next.house.approver.decide("THR-1", Verdict::Approve);
        let asked = next.asked().await;
        assert_eq!(asked.headers["mcp-name"], "write");
        answered(asked, &done());
        assert_eq!(settled(&next, &task).await["result"], done());
        next.server_saw_nothing().await;
        web.server_saw_nothing().await;
        assert_eq!(next.house.approver.submitted().len(), 1, "nothing was asked anew");
        assert_eq!(next.house.journal.states(), [HoldState::Done]);
    }
}

#[tokio::test]
async fn what_ended_while_nobody_lived_is_told_and_not_asked_anew() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    web.house.guard.gate.close();
    web.proxy.drain().await;
    web.house.journal.tamper(|held| held.state = HoldState::Rejected);
    let next = Web::in_house(web.house.again("next"), |_| {}).await;
    let told = settled(&next, &task).await;
    assert_eq!(told["result"]["_meta"]["dev.holdpoint/decision"]["status"], "rejected");
    assert_eq!(next.house.approver.submitted().len(), 1);
    next.server_saw_nothing().await;
}

#[tokio::test]
async fn two_replicas_that_are_asked_run_it_once() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    let replica = Web::in_house(web.house.again("replica"), |_| {}).await;
    assert_eq!(get(&replica, &task).await["result"]["status"], "working");
    assert_eq!(get(&web, &task).await["result"]["status"], "working");
    web.house.approver.decide("THR-1", Verdict::Approve);
    tokio::select! {
        asked = web.asked() => answered(asked, &done()),
        asked = replica.asked() => answered(asked, &done()),
    }
    let (one, two) = (settled(&web, &task).await, settled(&replica, &task).await);
    assert_eq!((&one["result"], &two["result"]), (&done(), &done()));
    web.server_saw_nothing().await;
    replica.server_saw_nothing().await;
}

#[tokio::test]
async fn the_same_call_as_two_tasks_runs_once_for_both() {
    let web = Web::new().await;
    let (one, two) = (task_of(&web, "a").await, task_of(&web, "a").await);
    assert_ne!(one, two);
    is_acknowledged(&asked_of(&web, "tasks/cancel", &one, json!({})).await);
    assert_eq!(web.house.journal.states(), [HoldState::Pending], "the other one waits");
    web.house.approver.decide("THR-1", Verdict::Approve);
    answered(web.asked().await, &done());
    assert_eq!(settled(&web, &two).await["result"], done());
    assert_eq!(settled(&web, &one).await["status"], "cancelled");
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn a_task_that_cannot_be_put_on_record_is_none() {
    let web = Web::new().await;
    web.house.journal.fail(Operation::OpenTicket, holdpoint_testkit::Fault::Refused);
    let answer = called(&web, "a").await;
    assert_eq!(crate::house::status(&answer.to_string()), "unavailable");
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn a_task_of_the_server_is_told_under_our_id() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    web.house.approver.decide("THR-1", Verdict::Approve);
    let theirs = |status: &str| json!({ "taskId": "theirs", "status": status, "createdAt": "x", "lastUpdatedAt": "x", "ttlMs": null });
    let mut created = theirs("working");
    created["resultType"] = json!("task");
    answered(web.asked().await, &created);
    loop {
        // Until the answer is noted, the task is ours.
        if web.house.journal.tickets()[0].state == TicketState::Answered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (method, mut result) in [
        ("tasks/get", theirs("working")),
        ("tasks/update", json!({})),
        ("tasks/cancel", json!({})),
        ("tasks/get", theirs("cancelled")),
    ] {
        result["resultType"] = json!("complete");
        let (answer, ()) =
            tokio::join!(asked_of(&web, method, &task, json!({ "inputResponses": { "k": 1 } })), async {
                let asked = web.asked().await;
                assert_eq!(
                    (
                        asked.headers["mcp-method"].to_str().unwrap(),
                        asked.headers["mcp-name"].to_str().unwrap()
                    ),
                    (method, "theirs")
                );
                let sent: Value = serde_json::from_str(asked.text()).unwrap();
                assert_eq!(
                    (&sent["params"]["taskId"], &sent["params"]["inputResponses"]),
                    (&json!("theirs"), &json!({ "k": 1 }))
                );
                answered(asked, &result);
            });
        if method == "tasks/get" {
            result["taskId"] = json!(task);
        }
        assert_eq!((&answer["id"], &answer["result"]), (&json!("g"), &result));
    }
}

#[tokio::test]
async fn what_the_server_asks_for_continues_the_approved_run_once() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    web.house.approver.decide("THR-1", Verdict::Approve);
    let requests = json!({ "k": { "method": "elicitation/create", "params": { "message": "sure?" } } });
    answered(
        web.asked().await,
        &json!({ "resultType": "input_required", "inputRequests": requests, "requestState": "s1" }),
    );
    let told = settled(&web, &task).await;
    assert_eq!((&told["status"], &told["inputRequests"]), (&json!("input_required"), &requests));
    assert!(told.get("requestState").is_none(), "it stays here");
    let said = json!({ "inputResponses": { "k": { "action": "accept" } } });
    let (one, two) = tokio::join!(
        asked_of(&web, "tasks/update", &task, said.clone()),
        asked_of(&web, "tasks/update", &task, said.clone())
    );
    is_acknowledged(&one);
    is_acknowledged(&two);
    let asked = web.asked().await;
    let sent: Value = serde_json::from_str(asked.text()).unwrap();
    assert_eq!(sent["params"]["inputResponses"], said["inputResponses"]);
    assert_eq!((&sent["params"]["requestState"], &sent["params"]["name"]), (&json!("s1"), &json!("write")));
    assert_eq!(sent["params"]["arguments"], json!({ "path": "a" }));
    answered(asked, &done());
    assert_eq!(settled(&web, &task).await["result"], done());
    is_acknowledged(&asked_of(&web, "tasks/update", &task, said).await);
    web.server_saw_nothing().await;
    assert_eq!(web.house.approver.submitted().len(), 1, "it is one run");
}

#[tokio::test]
async fn a_leg_that_died_is_unknown_and_not_sent_again() {
    let web = Web::new().await;
    let task = task_of(&web, "a").await;
    web.house.approver.decide("THR-1", Verdict::Approve);
    answered(
        web.asked().await,
        &json!({ "resultType": "input_required", "inputRequests": {}, "requestState": "s" }),
    );
    assert_eq!(settled(&web, &task).await["status"], "input_required");
    is_acknowledged(&asked_of(&web, "tasks/update", &task, json!({ "inputResponses": {} })).await);
    let _never_answered = web.asked().await;
    let next = Web::in_house(web.house.again("next"), |_| {}).await;
    assert_eq!(get(&next, &task).await["result"]["status"], "working", "its process lives");
    web.house.journal.bury("house");
    let told = settled(&next, &task).await;
    assert_eq!(told["result"]["_meta"]["dev.holdpoint/decision"]["status"], "outcome_unknown");
    is_acknowledged(&asked_of(&next, "tasks/update", &task, json!({ "inputResponses": {} })).await);
    next.server_saw_nothing().await;
}

#[tokio::test]
async fn the_extension_is_advertised_beside_what_the_server_says() {
    let web = Web::new().await;
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": { "_meta": meta() } });
    let theirs = r#"{"jsonrpc":"2.0","id":1,"result":{"capabilities":{"tools":{}},"n":1.0}}"#;
    let headers = [("mcp-method", "server/discover"), ("mcp-protocol-version", "2026-07-28")];
    let expected =
        theirs.replace(r#"{"tools""#, &format!(r#"{{"extensions":{{"{EXTENSION}":{{}}}},"tools""#));
    for stream in [false, true] {
        let (answer, ()) = tokio::join!(web.post_with(&headers, body.to_string()), async {
            let asked = web.asked().await;
            if stream {
                let event = format!("event: message\ndata: {theirs}\n\n");
                asked.answer(200, &[("content-type", "text/event-stream")], event);
            } else {
                asked.json(theirs);
            }
        });
        let told = text(answer).await;
        assert!(told.contains(&expected), "{told}");
    }
}
