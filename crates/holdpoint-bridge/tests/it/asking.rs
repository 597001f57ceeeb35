//! What rules decide, what a person decides, and how it is told.

use crate::house::{House, With as _, ask, json_request, request};
use bytes::Bytes;
use holdpoint_testkit::{SubmitScript, Verdict};
use http::Method;
use http_body_util::Full;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn what_rules_decide_is_told_at_once_and_leaves_no_trace() {
    let house = House::new();
    house.approver.on_submit(SubmitScript::Allow);
    let yes = house.ask("k1", "", json!({ "tool_name": "refund", "subject": "x" })).await;
    assert_eq!(yes.words(), (200, "allow", "allowed"));
    house.approver.on_submit(SubmitScript::Reject(Some("too much".into())));
    let no = house.ask("k2", "", json!({ "tool_name": "refund", "subject": "x" })).await;
    assert_eq!(no.words(), (200, "deny", "rejected"));
    assert_eq!(no.body["message"], "too much");
    let passed = house.ask("k3", "", json!({ "tool_name": "open" })).await;
    assert_eq!(passed.words(), (200, "allow", "passed"));
    let denied = house.ask("k4", "", json!({ "tool_name": "closed" })).await;
    assert_eq!(denied.words(), (200, "deny", "denied_by_config"));
    assert!(house.journal.operations().is_empty());
    assert!(house.journal.holds().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_no_has_the_status_that_the_caller_can_read() {
    let house = House::new();
    for (query, status) in [("", 200), ("deny_status=200", 200), ("deny_status=403", 403)] {
        let no = house.ask("k", query, json!({ "tool_name": "closed" })).await;
        assert_eq!(no.words(), (status, "deny", "denied_by_config"), "{query}");
    }
    let wrong = house.ask("k", "deny_status=500", json!({ "tool_name": "closed" })).await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_person_decides_while_the_request_is_held() {
    let house = House::new();
    house.approver.decide("THR-1", Verdict::Approve);
    house.approver.decide("THR-2", Verdict::Reject(Some("ask finance".into())));
    let yes = house.ask("k1", "wait=30", json!({ "tool_name": "refund", "subject": "one" })).await;
    assert_eq!(yes.words(), (200, "allow", "approved"));
    assert_eq!(yes.body["thread_id"], "THR-1");
    let no = house.ask("k2", "wait=30", json!({ "tool_name": "refund", "subject": "two" })).await;
    assert_eq!(no.words(), (200, "deny", "rejected"));
    assert_eq!(
        (no.body["message"].as_str(), no.body["retry"].as_str()),
        (Some("ask finance"), Some("other_call"))
    );
    assert_eq!(house.approver.redeemed().len(), 1, "the bridge redeems the token itself, once");
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_says_reaches_the_reviewer() {
    let house = House::new();
    let body = json!({
        "tool_name": "refund", "subject": "Refund 5", "workflow_name": "Support", "task_label": "Order 1",
        "preview": "why", "risk_level": "high", "summary": ["a", "b"], "images": ["aGk="],
        "payload": { "amount": 5.10, "id": 9_007_199_254_740_993_u64 }, "task_id": "job-1",
    });
    let held = house.ask("k", "wait=0", body).await;
    assert_eq!(held.words(), (202, "pending", "pending"));
    let asked = house.approver.submitted();
    let ask = &asked[0].ask;
    assert_eq!((ask.subject.as_str(), ask.workflow_name.as_str()), ("Refund 5", "Support"));
    assert_eq!((ask.preview.as_deref(), ask.summary.len(), ask.images.len()), (Some("why"), 2, 1));
    assert_eq!(ask.payload.get(), r#"{"amount":5.1,"id":9007199254740993}"#);
    assert_eq!(asked[0].task.as_str(), "job-1");
    assert_eq!(held.body["task_id"], "job-1");
}

#[tokio::test(start_paused = true)]
async fn a_form_says_the_same_and_none_of_its_values_is_read_as_anything_else() {
    let house = House::new();
    let subject = "x%22%2C%22tool_name%22%3A%22open%26tool_name%3Dopen";
    let form = format!(
        "tool_name=refund&subject={subject}&summary=a&summary=b&payload.note=%7B%7D&payload.amount:number=5.10&\
         payload.paid:boolean=true&payload.list:json=%5B1%5D"
    );
    let mut asked = request(Method::POST, "/v1/decisions?wait=0").header_of("idempotency-key", "k");
    asked.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    *asked.body_mut() = Full::new(Bytes::from(form));
    let held = house.send(asked).await;
    assert_eq!(held.words().1, "pending", "{}", held.text);
    let asked = house.approver.submitted();
    assert_eq!(asked[0].ask.tool_name, "refund");
    assert_eq!(asked[0].ask.subject, r#"x","tool_name":"open&tool_name=open"#);
    assert_eq!(asked[0].ask.payload.get(), r#"{"note":"{}","amount":5.10,"paid":true,"list":[1]}"#);
    assert_eq!(asked[0].ask.summary, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_and_a_call_name_a_question_as_well_as_a_key() {
    let house = House::new();
    let body = json!({ "tool_name": "refund", "subject": "x", "task_id": "job", "call_id": "7" });
    let first = house.send(json_request("/v1/decisions?wait=0", &body)).await;
    let again = house.send(json_request("/v1/decisions?wait=0", &body)).await;
    assert_eq!(first.words().1, "pending");
    assert_eq!(first.location(), again.location());
    let other = json!({ "tool_name": "refund", "subject": "x", "task_id": "job", "call_id": "8" });
    let other = house.send(json_request("/v1/decisions?wait=0", &other)).await;
    assert_ne!(first.location(), other.location());
    assert_eq!(house.approver.opened().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_approval_is_for_one_key_alone() {
    let house = House::new();
    let body =
        json!({ "tool_name": "refund", "subject": "same", "payload": { "amount": 5 }, "task_id": "job" });
    house.approver.decide("THR-1", Verdict::Approve);
    let first = house.ask("k1", "wait=5", body.clone()).await;
    assert_eq!(first.words(), (200, "allow", "approved"));
    let second = house.ask("k2", "wait=5", body.clone()).await;
    assert_eq!(
        second.words(),
        (202, "pending", "pending"),
        "the same call by another name is asked about anew"
    );
    let theirs = house.send_as("bob", ask("k1", "wait=5", &body)).await;
    assert_eq!(theirs.words().1, "pending", "and so is the same name of somebody else");
    assert_eq!(house.approver.opened().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn gate_that_cannot_be_asked_is_no_yes() {
    let house = House::new();
    house.approver.on_submit(SubmitScript::Fail);
    let no = house.ask("k", "", json!({ "tool_name": "refund", "subject": "x" })).await;
    assert_eq!(no.words(), (503, "deny", "unavailable"));
    assert!(!no.header("retry-after").is_empty());
    house.approver.on_submit(SubmitScript::Allow);
    let yes = house.ask("k", "", json!({ "tool_name": "refund", "subject": "x" })).await;
    assert_eq!(yes.words(), (200, "allow", "allowed"), "the same key asks again");
}
