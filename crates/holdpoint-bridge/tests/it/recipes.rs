//! The agent API, as recipes for Gate speak it.

use crate::house::{House, json_request, request};
use holdpoint_testkit::{SubmitScript, Verdict};
use http::Method;
use serde_json::{Value, json};

fn question() -> Value {
    json!({
        "workflow_name": "Customer Support", "task_label": "Refund #8821", "tool_name": "issue_refund",
        "subject": "Issue refund of $500", "preview": "p", "risk_level": "high", "summary": ["a"],
        "payload": { "amount": 500 }, "images": [], "something_new": true,
    })
}

const REQUESTS: &str = "/api/agent/tasks/task%2Fabc.1/requests";

#[tokio::test(start_paused = true)]
async fn what_rules_decide_is_said_in_their_words() {
    let house = House::new();
    for (script, status) in
        [(SubmitScript::Allow, "allow"), (SubmitScript::Reject(Some("rule".into())), "reject")]
    {
        house.approver.on_submit(script);
        let said = house.send(json_request(REQUESTS, &question())).await;
        assert_eq!((said.status.as_u16(), said.body["status"].as_str()), (200, Some(status)));
        assert_eq!(said.body["task_id"], "task/abc.1");
        assert!(said.body.get("thread_id").is_none());
    }
    let asked = house.approver.submitted();
    assert_eq!(
        (asked[0].ask.subject.as_str(), asked[0].task.as_str()),
        ("Issue refund of $500", "task/abc.1")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_is_held_and_its_yes_needs_no_token() {
    let house = House::new();
    house.approver.decide("THR-1", Verdict::Approve);
    house.approver.decide("THR-2", Verdict::Reject(Some("no".into())));
    let yes = house.send(json_request(REQUESTS, &question())).await;
    assert_eq!((yes.body["status"].as_str(), yes.body["thread_id"].as_str()), (Some("allow"), Some("THR-1")));
    let no = house.send(json_request(REQUESTS, &question())).await;
    assert_eq!((no.body["status"].as_str(), no.body["message"].as_str()), (Some("reject"), Some("no")));
    assert_eq!(
        house.approver.opened().len(),
        2,
        "what was answered may have been acted upon: it is asked anew"
    );
    assert_eq!(house.approver.redeemed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_and_its_yes_has_a_token_that_is_good_once() {
    let house = House::new();
    let held = house.send(json_request(&format!("{REQUESTS}?wait=1"), &question())).await;
    assert_eq!(held.body["status"], "pending_review");
    let again = house.send(json_request(&format!("{REQUESTS}?wait=1"), &question())).await;
    assert_eq!(again.body["thread_id"], held.body["thread_id"], "while it is open, the same request joins");
    let by_thread = "/api/agent/decisions?thread_id=THR-1&wait=2";
    assert_eq!(house.get(by_thread).await.body["status"], "pending_review");
    house.approver.decide("THR-1", Verdict::Approve);
    let yes = house.get(by_thread).await;
    assert_eq!(
        (yes.body["status"].as_str(), yes.body["task_id"].as_str()),
        (Some("approved"), Some("task/abc.1"))
    );
    let by_task = house.get("/api/agent/decisions?task_id=task/abc.1").await;
    assert_eq!(by_task.body["status"], "approved");
    let token = yes.body["approval_token"].as_str().unwrap();
    let validate = |task: &str, token: &str| {
        json_request("/api/agent/approvals/validate", &json!({ "task_id": task, "signature": token }))
    };
    let wrong = format!("{}0", &token[..token.len() - 1]);
    let wrong = if wrong == token { format!("{}1", &token[..token.len() - 1]) } else { wrong };
    for (task, token) in
        [("task-other", token), ("task/abc.1", &*wrong), ("task/abc.1", "hpt_"), ("task/abc.1", "")]
    {
        let refused = house.send(validate(task, token)).await;
        assert_eq!((refused.status.as_u16(), &refused.body["valid"]), (400, &json!(false)), "{task} {token}");
    }
    assert_eq!(house.send_as("bob", validate("task/abc.1", token)).await.body["valid"], false);
    let (one, two) =
        tokio::join!(house.send(validate("task/abc.1", token)), house.send(validate("task/abc.1", token)));
    let valid = [&one, &two].iter().filter(|said| said.body["valid"] == true).count();
    assert_eq!(valid, 1);
    let used = house.send(validate("task/abc.1", token)).await;
    assert_eq!((used.status.as_u16(), used.body["reason"].as_str()), (400, Some("used")));
    let after = house.get(by_thread).await;
    assert_eq!((after.body["status"].as_str(), after.body.get("approval_token")), (Some("approved"), None));
    assert_eq!(house.approver.redeemed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_with_a_key_is_the_same_request() {
    let house = House::new();
    house.approver.decide("THR-1", Verdict::Approve);
    for _ in 0..3 {
        let mut asked = json_request(REQUESTS, &question());
        asked.headers_mut().insert("idempotency-key", "retry".parse().unwrap());
        assert_eq!(house.send(asked).await.body["status"], "allow");
    }
    assert_eq!((house.approver.opened().len(), house.approver.redeemed().len()), (1, 1));
}

/// One approval: one of those who ask the same is told yes, and no token is good beside it.
#[tokio::test(start_paused = true)]
async fn a_yes_that_a_request_was_answered_with_is_nobody_elses() {
    let house = House::new();
    let asked = || json_request(&format!("{REQUESTS}?wait=30"), &question());
    let (one, two, ()) = tokio::join!(house.send(asked()), house.send(asked()), async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        house.approver.decide("THR-1", Verdict::Approve);
    });
    let mut said = [&one, &two].map(|said| said.body["status"].as_str().unwrap_or_default());
    said.sort_unstable();
    assert_eq!((said, house.approver.opened().len()), (["allow", "reject"], 1), "{}\n{}", one.text, two.text);
    let polled = house.get("/api/agent/decisions?thread_id=THR-1").await;
    assert_eq!((polled.body["status"].as_str(), polled.body.get("approval_token")), (Some("approved"), None));
}

#[tokio::test(start_paused = true)]
async fn a_revision_goes_into_its_review_when_it_was_asked_for() {
    let house = House::new();
    house.send(json_request(&format!("{REQUESTS}?wait=1"), &question())).await;
    let events = "/api/agent/tasks/task%2Fabc.1/events";
    let revision = json!({
        "event_type": "revision.task/abc.1.THR-1", "event_summary": "less",
        "payload": { "revision": {
            "revision_id": "rev-002", "workflow_name": "Customer Support", "task_label": "Refund #8821",
            "tool_name": "issue_refund", "subject": "Refund 5", "request_payload": { "amount": 5 },
        } },
    });
    assert_eq!(house.send(json_request(events, &revision)).await.status, 400, "nobody asked for changes");
    house.approver.decide("THR-1", Verdict::RequestChanges(Some("less, please".into())));
    let poll = "/api/agent/decisions?thread_id=THR-1&wait=5";
    let feedback = house.get(poll).await;
    assert_eq!(
        (feedback.body["status"].as_str(), feedback.body["message"].as_str()),
        (Some("pending_review"), Some("less, please"))
    );
    house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 1 });
    assert_eq!(house.send(json_request(events, &revision)).await.status, 201);
    assert_eq!(
        house.send(json_request(events, &revision)).await.status,
        201,
        "the same again is nothing new"
    );
    let revised = house.approver.revised();
    assert_eq!(revised.len(), 1);
    assert_eq!(
        (revised[0].1.ask.subject.as_str(), revised[0].1.ask.payload.get()),
        ("Refund 5", r#"{"amount":5}"#)
    );
    assert_eq!(house.get(poll).await.body["status"], "approved");
    assert_eq!(house.approver.redeemed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_are_passed_on_as_they_are() {
    let house = House::new();
    let events = "/api/agent/tasks/task-1/events";
    let event =
        json!({ "event_type": "task.started", "event_summary": "x", "payload": { "a": 1 }, "images": [] });
    let said = house.send(json_request(events, &event)).await;
    assert_eq!((said.status.as_u16(), said.text.as_str()), (201, ""));
    assert_eq!(*house.heard.0.lock().unwrap(), [("task-1".to_owned(), event.to_string())]);
    let refused = json!({ "event_type": "x", "event_summary": "refuse me" });
    assert_eq!(house.send(json_request(events, &refused)).await.status, 400);
}

/// By a proposal of its own choosing a caller could put words into the review of another one.
#[tokio::test(start_paused = true)]
async fn no_event_is_a_proposal_in_somebody_elses_review() {
    let house = House::new();
    let events = "/api/agent/tasks/task-1/events";
    let payload = json!({ "revision": { "revision_id": "r", "request_payload": {} } });
    for (kind, status) in [
        ("revision.task-1.THR-9", 404),
        ("revision.task-2.THR-9", 400),
        ("Revision.task-1.THR-9", 400),
        (" revision.task-1.THR-9", 400),
        ("revision.", 400),
    ] {
        let event = json!({ "event_type": kind, "event_summary": "x", "payload": payload });
        assert_eq!(house.send(json_request(events, &event)).await.status, status, "{kind}");
    }
    for name in ["Event_Type", "EVENT_TYPE"] {
        let event = json!({ "event_type": "x", name: "revision.task-1.THR-9", "event_summary": "x", "payload": payload });
        assert_eq!(house.send(json_request(events, &event)).await.status, 400, "{name}");
    }
    assert_eq!(house.heard.0.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_said_in_plain_text() {
    let house = House::new();
    let mut incomplete = question();
    incomplete.as_object_mut().unwrap().shift_remove("subject");
    for (asked, status) in [
        (json_request(REQUESTS, &incomplete), 400),
        (json_request("/api/agent/tasks/%2e%2e/requests", &question()), 400),
        (request(Method::GET, "/api/agent/decisions"), 400),
        (request(Method::GET, "/api/agent/decisions?thread_id=THR-9"), 404),
    ] {
        let said = house.send(asked).await;
        assert_eq!(said.status.as_u16(), status);
        assert!(said.header("content-type").starts_with("text/plain"));
    }
    house.approver.on_submit(SubmitScript::Fail);
    let down = house.send(json_request(REQUESTS, &question())).await;
    assert_eq!(down.status, 503);
    assert!(down.body.get("status").is_none(), "no word of it could be taken for a yes");
}

/// Polled by its job, a question that was asked anew is the latest, and not the one that was opened after it.
#[tokio::test(start_paused = true)]
async fn the_yes_to_one_question_of_a_job_is_not_read_as_that_to_another_asked_after_it() {
    let house = House::new();
    let poll = "/api/agent/decisions?task_id=task%2Fabc.1&wait=0";
    let mut other = question();
    other["payload"]["amount"] = json!(9);
    house.approver.decide("THR-1", Verdict::Approve);
    house.approver.decide("THR-2", Verdict::Approve);
    for asked in [&question(), &other] {
        let said = house.send(json_request(&format!("{REQUESTS}?wait=30"), asked)).await;
        assert_eq!(said.body["status"], "allow");
        house.clock.shift(jiff::SignedDuration::from_secs(1));
    }
    let anew = house.send(json_request(&format!("{REQUESTS}?wait=0"), &question())).await;
    assert_eq!((&anew.body["status"], &anew.body["thread_id"]), (&json!("pending_review"), &json!("THR-3")));
    let polled = house.get(poll).await;
    assert_eq!(polled.body["status"], "pending_review", "{}", polled.text);
    assert_eq!((polled.body["thread_id"].as_str(), polled.body.get("approval_token")), (Some("THR-3"), None));
    house.approver.decide("THR-3", Verdict::Reject(None));
    assert_eq!(house.get(&poll.replace("wait=0", "wait=30")).await.body["status"], "rejected");
    assert_eq!(house.get(poll).await.body["status"], "rejected");
}
