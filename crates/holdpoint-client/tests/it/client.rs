//! The four endpoints as they are.

use crate::setup::{TASK, client, said, settings};
use holdpoint_api::{ApprovalToken, DecisionStatus, EventBody, Limits, RequestBody, TaskId, ValidateAnswer};
use holdpoint_client::{ClientError, DecisionOf, GateClient};
use holdpoint_testkit::{Decision, Endpoint, Script, ScriptedGate};
use serde_json::json;

fn event() -> EventBody {
    let body = br#"{"event_type":"task.started","event_summary":"begun","payload":{"n":1.0}}"#;
    EventBody::parse(body, &Limits::DEFAULT).expect("an event")
}

fn request() -> RequestBody {
    let body = br#"{"workflow_name":"w","task_label":"l","tool_name":"t","subject":"s","payload":{"n":1.0}}"#;
    RequestBody::parse(body, &Limits::DEFAULT).expect("a request")
}

fn task(text: &str) -> TaskId {
    TaskId::parse(text).expect(text)
}

#[tokio::test]
async fn one_review_through_all_four() {
    let gate = ScriptedGate::start().await;
    let (client, task) = (client(&gate), task(TASK));
    client.post_event(&task, &event()).await.expect("201");
    let asked = client.request(&task, &request(), None).await.expect("an answer");
    let thread = asked.thread_id.expect("a thread");
    let pending = client.decision(DecisionOf::Task(&task), None).await.expect("an answer");
    assert_eq!(pending.status, DecisionStatus::PendingReview);
    gate.decide(&thread, Decision::Approve);
    let approved = client.decision(DecisionOf::Thread(&thread), None).await.expect("an answer");
    let token = approved.approval_token.expect("a token");
    assert_eq!(client.validate(&task, &token).await.expect("an answer"), ValidateAnswer::Valid);
    let validated = gate.recorded_at(Endpoint::Validate).pop().expect("one");
    assert_eq!(validated.json(), json!({ "task_id": TASK, "signature": token.expose() }));
    assert_eq!(gate.recorded_at(Endpoint::Requests).pop().expect("one").header("idempotency-key"), None);
}

#[tokio::test]
async fn ids_cannot_leave_their_segment() {
    let gate = ScriptedGate::start().await;
    let client = client(&gate);
    let ids = [
        "a.b.c",
        "../../admin",
        "a/b",
        "a?x=1&y#z",
        "%2e%2e",
        "100% + 1",
        "straße 🙂",
        "...",
        "a\\b",
        ";,:@!$'()*",
    ];
    for id in ids {
        client.post_event(&task(id), &event()).await.expect(id);
        let asked = client.request(&task(id), &request(), None).await.expect(id);
        assert_eq!(asked.task_id.as_deref(), Some(id));
        client.decision(DecisionOf::Task(&task(id)), None).await.expect(id);
    }
    for request in gate.recorded() {
        assert!(request.endpoint.is_some(), "{}", request.target);
        assert_eq!(
            request.target.matches('/').count(),
            if request.method == "GET" { 3 } else { 5 },
            "{}",
            request.target
        );
    }
    let odd = "THR-1&task_id=other#/../";
    let answer = client.decision(DecisionOf::Thread(odd), None).await;
    assert!(matches!(answer, Err(ClientError::Status { status: 404, .. })), "{answer:?}");
    let target = gate.recorded().pop().expect("one").target;
    assert_eq!(target, "/api/agent/decisions?thread_id=THR-1%26task_id%3Dother%23%2F..%2F");
}

#[tokio::test]
async fn a_gate_below_a_path_is_reached_there() {
    let gate = ScriptedGate::start().await;
    let client = GateClient::new(settings(&format!("{}/tenants/a/", gate.url()))).expect("a client");
    client.post_event(&task("t"), &event()).await.expect_err("nothing is there");
    assert_eq!(gate.recorded().pop().expect("one").target, "/tenants/a/api/agent/tasks/t/events");
}

#[tokio::test]
async fn decisions_that_contradict_the_question_are_errors() {
    let gate = ScriptedGate::start().await;
    let (client, task) = (client(&gate), task(TASK));
    let thread =
        client.request(&task, &request(), None).await.expect("an answer").thread_id.expect("a thread");
    gate.decide(&thread, Decision::Approve);
    let edits: [(&str, serde_json::Value); 7] = [
        ("thread_id", json!("THR-OTHER")),
        ("status", json!("allow")),
        ("status", json!("Approved")),
        ("status", json!(null)),
        ("thread_state", json!("expired")),
        ("thread_state", json!("rejected")),
        ("token_expires_at", json!("soon")),
    ];
    for (field, value) in edits {
        let shown = format!("{field}: {value}");
        gate.script(Endpoint::Decisions, Script::edited(move |answer| answer[field] = value.clone()));
        let answer = client.decision(DecisionOf::Thread(&thread), None).await;
        assert!(answer.is_err(), "{shown}: {answer:?}");
    }
    gate.script(Endpoint::Decisions, Script::edited(|answer| answer["task_id"] = json!("other")));
    client.decision(DecisionOf::Task(&task), None).await.expect_err("another task");
    client.decision(DecisionOf::Thread(&thread), None).await.expect("nothing wrong with the thread itself");
}

/// Bodies hold what people wrote and what agents masked; errors are logged.
#[tokio::test]
async fn errors_tell_no_bodies_and_no_secrets() {
    let gate = ScriptedGate::start().await;
    let (client, task) = (client(&gate), task(TASK));
    let secret = "hunter2-0123456789";
    let token = ApprovalToken::foreign(secret).expect("a token");
    for body in [
        format!(r#"{{"status":["{secret}"]}}"#),
        format!("{{\"{secret}"),
        format!(r#"{{"status":"approved","token_expires_at":"{secret}"}}"#),
        format!(r#"{{"valid":"{secret}"}}"#),
    ] {
        gate.script_all(Endpoint::Requests, Some(Script::ok(&body)));
        gate.script_all(Endpoint::Decisions, Some(Script::ok(&body)));
        gate.script_all(Endpoint::Validate, Some(Script::ok(&body)));
        gate.script_all(Endpoint::Events, Some(Script::status(400, &body)));
        let errors = [
            client.request(&task, &request(), None).await.expect_err("unreadable"),
            client.decision(DecisionOf::Thread("T"), None).await.expect_err("unreadable"),
            client.validate(&task, &token).await.expect_err("unreadable"),
            client.post_event(&task, &event()).await.expect_err("400"),
        ];
        for error in errors {
            let said = said(&error);
            assert!(!said.contains("hunter2") && !said.contains("sg_scripted"), "{said}");
        }
    }
    gate.script_all(Endpoint::Validate, Some(Script::close()));
    let said = said(&client.validate(&task, &token).await.expect_err("closed"));
    assert!(!said.contains("hunter2") && !said.contains("sg_scripted"), "{said}");
}

#[tokio::test]
async fn a_body_of_unannounced_length_is_bounded_too() {
    let gate = ScriptedGate::start().await;
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned() + "400\r\n";
    let chunked = endless + &"x".repeat(0x400) + "\r\n" + &format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    gate.script(Endpoint::Decisions, Script::bytes(chunked));
    let answer = client(&gate).decision(DecisionOf::Thread("T"), None).await;
    assert!(matches!(answer, Err(ClientError::AnswerTooLarge(4096))), "{answer:?}");
}
