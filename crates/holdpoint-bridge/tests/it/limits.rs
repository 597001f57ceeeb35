//! How much one caller may have.

use crate::house::{House, Said, With as _, ask, json_request, request, secret};
use holdpoint_bridge::{BridgeOptions, CallbackOptions};
use holdpoint_testkit::{SubmitScript, Verdict};
use http::Method;
use serde_json::{Value, json};

fn refund() -> Value {
    json!({ "tool_name": "refund", "subject": "x" })
}

/// With places for two.
fn house() -> House {
    let callbacks = CallbackOptions {
        hosts: vec!["hooks.example.com".into()],
        secret: Some(secret()),
        ..CallbackOptions::default()
    };
    House::with(BridgeOptions { open_max: 2, callbacks, ..BridgeOptions::default() })
}

#[track_caller]
fn is_full(said: &Said) {
    assert_eq!((said.status.as_u16(), said.header("retry-after")), (429, "30"), "{}", said.text);
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_as_many_questions_open_as_it_may() {
    let house = house();
    let first = house.ask("k1", "wait=0", refund()).await;
    let second = house.ask("k2", "wait=0", refund()).await;
    assert_eq!((first.words().0, second.words().0), (202, 202));

    let full = house.ask("k3", "wait=0", refund()).await;
    is_full(&full);
    assert_eq!(
        (full.header("holdpoint-decision"), full.header("content-type")),
        ("deny", "application/problem+json")
    );
    assert!(full.body["detail"].as_str().unwrap().contains("2 questions of yours are open"), "{}", full.text);
    let called_back =
        json!({ "tool_name": "refund", "subject": "x", "callback_url": "https://hooks.example.com/a" });
    is_full(&house.ask("k4", "", called_back).await);
    let subscribed = json!({ "notificationUrl": "https://hooks.example.com/b", "request": refund() });
    is_full(&house.send(json_request("/v1/subscriptions", &subscribed)).await);
    let recipe = json!({ "workflow_name": "w", "task_label": "l", "tool_name": "refund", "subject": "x" });
    is_full(&house.send(json_request("/api/agent/tasks/t/requests", &recipe)).await);
    assert_eq!((house.approver.opened().len(), house.journal.operations().len()), (2, 2), "nobody was asked");

    let again = house.ask("k1", "wait=0", refund()).await;
    assert_eq!((again.words().0, again.location()), (202, first.location()), "its own are told as before");
    assert_eq!(house.get(&second.location()).await.words().0, 202);
    let bobs = house.send_as("bob", ask("k3", "wait=0", &refund())).await;
    assert_eq!(bobs.words().0, 202, "another caller has places of its own");

    house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(house.get(&format!("{}?wait=30", first.location())).await.words().1, "allow");
    assert_eq!(house.ask("k3", "wait=0", refund()).await.words().0, 202, "a decision makes place");
    is_full(&house.ask("k5", "wait=0", refund()).await);
    assert_eq!(house.ask("k1", "wait=0", refund()).await.words().1, "allow", "an answer needs no place");
    house.send(request(Method::DELETE, &second.location())).await;
    assert_eq!(house.ask("k5", "wait=0", refund()).await.words().0, 202, "so does a withdrawal");
}

/// Who comes while the others are still being asked about finds their places taken. They leave, and there is place again.
#[tokio::test(start_paused = true)]
async fn questions_that_are_being_asked_are_counted() {
    let house = house();
    for _ in 0..2 {
        house.approver.on_submit(SubmitScript::Hang);
    }
    tokio::select! {
        biased;
        said = house.ask("a", "wait=0", refund()) => panic!("{}", said.text),
        said = house.ask("b", "wait=0", refund()) => panic!("{}", said.text),
        said = house.ask("c", "wait=0", refund()) => is_full(&said),
    }
    assert_eq!(house.ask("c", "wait=0", refund()).await.words().0, 202);
}

/// A caller that leaves before it was told gives its place back; it cannot have more gone on with by coming back for all at once.
#[tokio::test(start_paused = true)]
async fn who_left_has_no_place() {
    let house = house();
    for key in ["a", "b", "c"] {
        let asking = house.ask(key, "wait=300", refund());
        let leaving = async {
            house.approver.until_waiting(1).await;
        };
        tokio::select! {
            said = asking => panic!("{}", said.text),
            () = leaving => {}
        }
        house.approver.until_waiting(0).await;
    }
    assert_eq!(house.ask("a", "wait=0", refund()).await.words().0, 202);
    assert_eq!(house.ask("b", "wait=0", refund()).await.words().0, 202);
    is_full(&house.ask("c", "wait=0", refund()).await);
    let place = format!("/v1/decisions/{}", house.journal.operations()[2].id);
    is_full(&house.get(&place).await);
}

/// What rules decide has a place for as long as they take.
#[tokio::test(start_paused = true)]
async fn what_is_decided_at_once_keeps_no_place() {
    let house = house();
    for key in ["a", "b", "c", "d"] {
        let passed = house.ask(key, "", json!({ "tool_name": "open" })).await;
        assert_eq!(passed.words(), (200, "allow", "passed"));
    }
    let header =
        house.send(ask("e", "", &json!({ "tool_name": "closed" })).header_of("prefer", "wait=1")).await;
    assert_eq!(header.words(), (200, "deny", "denied_by_config"));
}
