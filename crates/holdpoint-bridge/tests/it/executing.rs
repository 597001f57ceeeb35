//! What the bridge runs itself: as it was approved, once, and never without a yes.

use crate::house::{Answer, House, Stub, ask};
use holdpoint_bridge::{BridgeOptions, PathPart, Target, TargetBody, TargetTool, ValueSource};
use holdpoint_core::{HoldState, ServerName, ToolName};
use holdpoint_testkit::{Fault, Operation, SubmitScript, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc, time::Duration};

fn at(pointer: &str) -> ValueSource {
    ValueSource::At { pointer: pointer.into(), optional: false }
}

fn tool(method: Method, body: TargetBody) -> TargetTool {
    TargetTool {
        method,
        path: vec![
            PathPart::Text("/orders/".into()),
            PathPart::Argument("/order/id".into()),
            PathPart::Text("/refunds".into()),
        ],
        query: vec![
            ("notify".into(), ValueSource::Value(json!(true))),
            ("ref".into(), ValueSource::At { pointer: "/ref".into(), optional: true }),
        ],
        headers: vec![(HeaderName::from_static("x-order"), at("/order/id"))],
        body,
        place: "one".into(),
    }
}

pub(crate) fn target(address: &str) -> Target {
    let json = TargetBody::Json(vec![
        ("amount".into(), at("/amount")),
        ("currency".into(), ValueSource::Value(json!("usd"))),
    ]);
    let form = TargetBody::Form(vec![("amount".into(), at("/amount")), ("ref".into(), at("/order/id"))]);
    let tools = [
        ("refund", tool(Method::POST, TargetBody::Arguments)),
        ("mapped", tool(Method::PUT, json)),
        ("form", tool(Method::POST, form)),
        ("open", tool(Method::DELETE, TargetBody::None)),
    ];
    Target {
        url: format!("{address}/v1").parse().unwrap(),
        headers: HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer t"))]),
        timeout: Duration::from_secs(2),
        response_bytes_max: 256,
        tools: tools.into_iter().map(|(name, tool)| (ToolName::new(name), tool)).collect(),
    }
}

pub(crate) fn call(tool: &str, id: &str) -> Value {
    json!({ "target": "crm", "tool_name": tool, "payload": { "amount": 5.10, "order": { "id": id } } })
}

#[tokio::test]
async fn what_was_approved_runs_once_and_its_answer_is_repeated() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    house.approver.decide("THR-1", Verdict::Approve);
    for _ in 0..30 {
        let ran = house.ask("k", "wait=30", call("refund", "a b/c?d#e")).await;
        assert_eq!(ran.words(), (200, "allow", "approved"), "{}", ran.text);
        assert_eq!((&ran.body["ran"], &ran.body["mode"]), (&json!(true), &json!("execute")));
        assert_eq!(ran.body["result"]["status"], 200);
        assert_eq!(ran.body["result"]["body"]["done"], true);
    }
    let heard = stub.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(
        (&heard[0].method, heard[0].uri.as_str()),
        (&Method::POST, "/v1/orders/a%20b%2Fc%3Fd%23e/refunds?notify=true")
    );
    assert_eq!(heard[0].body, r#"{"amount":5.1,"order":{"id":"a b/c?d#e"}}"#);
    assert_eq!(heard[0].headers["authorization"], "Bearer t");
    assert_eq!(heard[0].headers["x-order"], "a b/c?d#e");
    assert!(heard[0].headers["idempotency-key"].to_str().unwrap().starts_with("op_"));
    assert_eq!((house.approver.opened().len(), house.approver.redeemed().len()), (1, 1));
}

#[tokio::test]
async fn what_rules_allow_runs_once_for_its_key() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    for _ in 0..3 {
        house.approver.on_submit(SubmitScript::Allow);
        assert_eq!(house.ask("k", "", call("refund", "1")).await.words(), (200, "allow", "allowed"));
        assert_eq!(house.ask("p", "", call("open", "1")).await.words(), (200, "allow", "passed"));
    }
    assert_eq!(stub.heard().len(), 2);
    let many = (0..20).map(|_| house.ask("many", "wait=20", call("open", "2")));
    for answer in futures(many).await {
        assert_eq!(answer.words(), (200, "allow", "passed"));
    }
    assert_eq!(stub.heard().len(), 3);
}

/// A yes of rules is no person's: nothing but its row keeps it from running again.
#[tokio::test]
async fn what_ran_is_known_for_as_long_as_a_question_may_be_open() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    assert_eq!(house.ask("p", "", call("open", "1")).await.words().1, "allow");
    house.clock.shift(jiff::SignedDuration::from_hours(6 * 24));
    assert_eq!(house.ask("p", "", call("open", "1")).await.words(), (200, "allow", "passed"));
    assert_eq!(stub.heard().len(), 1);
    // Then its name is free, whether or not somebody has swept.
    house.clock.shift(jiff::SignedDuration::from_hours(3 * 24));
    let mut anew = call("open", "1");
    anew["payload"]["order"]["id"] = json!("2");
    assert_eq!(house.ask("p", "", anew).await.words(), (200, "allow", "passed"));
    assert_eq!(stub.heard().len(), 2);
}

/// All of them at once.
async fn futures<F: Future>(many: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut many: Vec<_> = many.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for (one, output) in &mut many {
            if output.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => *output = Some(done),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    many.into_iter().map(|(_, output)| output.unwrap()).collect()
}

#[tokio::test]
async fn a_no_runs_nothing() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    house.approver.decide("THR-1", Verdict::Reject(None));
    house.approver.decide("THR-2", Verdict::Expire);
    house.approver.decide("THR-3", Verdict::ApproveWith { token: None, expires_at: None, thread: None });
    for (key, status) in [("1", "rejected"), ("2", "expired"), ("3", "token_invalid")] {
        let no = house.ask(key, "wait=30", call("refund", "1")).await;
        assert_eq!(no.words(), (200, "deny", status));
        assert_eq!(no.body["ran"], false);
    }
    house.approver.on_submit(SubmitScript::Fail);
    assert_eq!(house.ask("4", "", call("refund", "1")).await.words(), (503, "deny", "unavailable"));
    assert!(stub.heard().is_empty());
}

#[tokio::test]
async fn arguments_go_where_they_belong_and_nowhere_else() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    for (key, id, why) in [
        ("1", json!(".."), "another path"),
        ("2", json!("."), "another path"),
        ("2a", json!("../../admin"), "another path"),
        ("2b", json!("x/.."), "another path"),
        ("2c", json!("..\\admin"), "another path"),
        ("3", json!(""), "empty"),
        ("4", json!({ "x": 1 }), "not a text"),
        ("5", json!(null), "not a text"),
        ("6", json!("a\r\nx-admin: yes"), "header"),
        ("7", json!("a\u{0}"), "header"),
    ] {
        let mut body = call("refund", "");
        body["payload"]["order"]["id"] = id.clone();
        let refused = house.ask(key, "", body).await;
        assert_eq!(refused.status, 400, "{id}: {}", refused.text);
        assert!(refused.text.contains(why) && refused.text.contains("/order/id"), "{id}: {}", refused.text);
    }
    let missing = json!({ "target": "crm", "tool_name": "refund", "payload": { "amount": 1 } });
    assert_eq!(house.ask("8", "", missing).await.status, 400);
    let unknown = json!({ "target": "crm", "tool_name": "wipe" });
    assert_eq!(house.ask("9", "", unknown).await.status, 404);
    assert!(house.approver.submitted().is_empty(), "nobody is asked about what could not run");

    house.approver.decide_all(Verdict::Approve);
    let mut body = call("mapped", "7");
    body["payload"]["ref"] = json!("a&b=c");
    assert_eq!(house.ask("10", "wait=30", body).await.words().1, "allow");
    assert_eq!(house.ask("11", "wait=30", call("form", "x&amount=9")).await.words().1, "allow");
    assert_eq!(house.ask("12", "wait=30", call("open", "%2e%2e")).await.words().1, "allow");
    let heard = stub.heard();
    assert_eq!(heard[0].uri, "/v1/orders/7/refunds?notify=true&ref=a%26b%3Dc");
    assert_eq!(heard[0].body, r#"{"amount":5.10,"currency":"usd"}"#.replace("5.10", "5.1"));
    assert_eq!(heard[1].body, "amount=5.1&ref=x%26amount%3D9");
    assert_eq!(heard[1].headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(heard[2].uri, "/v1/orders/%252e%252e/refunds?notify=true");
    assert_eq!(heard[2].method, Method::DELETE);
}

#[tokio::test]
async fn a_target_that_refuses_connections_ran_nothing() {
    let house = House::targeting(target("http://127.0.0.1:9"));
    house.approver.decide("THR-1", Verdict::Approve);
    let no = house.ask("k", "wait=30", call("refund", "1")).await;
    assert_eq!(no.words(), (200, "deny", "unavailable"));
    assert_eq!((&no.body["ran"], &no.body["retry"]), (&json!(false), &json!("ask_again")));
    assert_eq!(house.journal.states(), [HoldState::Void], "its approval is used up");
}

#[tokio::test]
async fn an_answer_that_is_lost_is_not_asked_for_again() {
    for answer in [Answer::Nothing, Answer::Hang] {
        let stub = Stub::new().await;
        let house = House::targeting(target(&stub.address));
        house.approver.decide("THR-1", Verdict::Approve);
        stub.then(answer.clone());
        for _ in 0..3 {
            let lost = house.ask("k", "wait=30", call("refund", "1")).await;
            assert_eq!(lost.words(), (200, "deny", "outcome_unknown"), "{answer:?}");
            assert!(lost.body.get("ran").is_none(), "nobody knows");
        }
        assert_eq!(stub.heard().len(), 1);
        assert_eq!(house.journal.states(), [HoldState::Unknown]);
        stub.then(answer);
        assert_eq!(
            house.ask("p", "wait=30", call("open", "1")).await.words(),
            (200, "deny", "outcome_unknown")
        );
        assert_eq!(
            house.ask("p", "wait=30", call("open", "1")).await.words(),
            (200, "deny", "outcome_unknown")
        );
        assert_eq!(stub.heard().len(), 2);
    }
}

#[tokio::test]
async fn what_a_target_says_is_passed_back_within_limits() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    stub.then(Answer::Status(500, "text/plain", "no".into()));
    stub.then(Answer::Redirect(format!("{}/elsewhere", stub.address)));
    stub.then(Answer::Status(200, "text/plain", "x".repeat(300)));
    let failed = house.ask("1", "wait=9", call("open", "1")).await;
    assert_eq!((failed.words().1, &failed.body["result"]["status"]), ("allow", &json!(500)));
    assert_eq!(failed.body["result"]["body"], "no");
    let redirected = house.ask("2", "wait=9", call("open", "1")).await;
    assert_eq!(redirected.body["result"]["status"], 307);
    let long = house.ask("3", "wait=9", call("open", "1")).await;
    assert_eq!((&long.body["result"]["truncated"], long.body["result"].get("body")), (&json!(true), None));
    assert_eq!(stub.heard().len(), 3, "redirects are not followed");
}

/// As pages of errors do that show the request.
#[tokio::test]
async fn a_credential_that_a_target_repeats_is_shown_to_nobody() {
    let stub = Stub::new().await;
    let mut target = target(&stub.address);
    let mut credential = HeaderValue::from_static("Bearer s3cr3t-of-the-shop");
    credential.set_sensitive(true);
    target.headers.insert(http::header::AUTHORIZATION, credential);
    target.headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
    let house = House::targeting(target);
    let pages = ["got Authorization: Bearer s3cr3t-of-the-shop", r#"{"token":"s3cr3t-of-the-shop"}"#];
    for (key, page) in pages.into_iter().enumerate() {
        stub.then(Answer::Status(500, "application/json", page.into()));
        for _ in 0..2 {
            let told = house.ask(&key.to_string(), "wait=9", call("open", "1")).await;
            assert_eq!((&told.body["ran"], &told.body["result"]["status"]), (&json!(true), &json!(500)));
            assert_eq!(told.body["result"]["withheld"], true);
            assert!(!told.text.contains("s3cr3t"), "{}", told.text);
        }
    }
    stub.then(Answer::Status(200, "text/plain", "accept: application/json, Bearer of news".into()));
    let told = house.ask("other", "wait=9", call("open", "1")).await;
    assert_eq!(told.body["result"]["body"], "accept: application/json, Bearer of news");
    assert_eq!(stub.heard().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_written_down_before_does_not_run() {
    for fault in [Fault::Refused, Fault::ReplyLost] {
        let stub = Stub::new().await;
        let house = House::targeting(target(&stub.address));
        let opened = house.ask("k", "wait=0", call("refund", "1")).await;
        assert_eq!(opened.words().1, "pending");
        house.journal.fail(Operation::AdvanceOperation, fault);
        house.approver.decide("THR-1", Verdict::Approve);
        house.approver.until_waiting(0).await;
        while house.journal.states() != [HoldState::Void] {
            tokio::task::yield_now().await;
        }
        house.journal.repair();
        assert!(stub.heard().is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_target_that_was_edited_meanwhile_is_not_the_one_that_was_approved() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    let place = house.ask("k", "wait=0", call("refund", "1")).await.location();
    house.dies("one");
    let mut edited = target(&stub.address);
    for tool in edited.tools.values_mut() {
        tool.place = "another".into();
    }
    let targets = HashMap::from([(ServerName::new("crm"), Arc::new(edited))]);
    let after = house.again_with("two", BridgeOptions { targets, ..BridgeOptions::default() });
    house.approver.decide("THR-1", Verdict::Approve);
    let no = after.get(&format!("{place}?wait=20")).await;
    assert_eq!(no.words(), (200, "deny", "mismatch"));
    let gone = house.again_with("three", BridgeOptions::default());
    let second = House::targeting(target(&stub.address));
    let other = second.ask("k", "wait=0", call("refund", "1")).await.location();
    second.dies("one");
    let without = second.again_with("two", BridgeOptions::default());
    assert_eq!(without.get(&format!("{other}?wait=20")).await.words(), (200, "deny", "mismatch"));
    assert_eq!(gone.send(ask("z", "", &call("refund", "1"))).await.status, 404);
    assert!(stub.heard().is_empty());
}
