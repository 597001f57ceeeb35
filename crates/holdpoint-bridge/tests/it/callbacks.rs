//! Callers that are called back: only where the operator says, signed, and until they have heard.

use crate::house::{Answer, House, Stub, ask, json_request, request, secret};
use holdpoint_api::webhook::Signed;
use holdpoint_bridge::{BridgeOptions, CallbackOptions, PrivateAddresses};
use holdpoint_core::OperationState;
use holdpoint_testkit::{SubmitScript, Verdict};
use http::Method;
use serde_json::{Value, json};

fn options(hosts: &[&str]) -> BridgeOptions {
    let callbacks = CallbackOptions {
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        secret: Some(secret()),
        private_addresses: PrivateAddresses::Allowed,
    };
    BridgeOptions { callbacks, ..BridgeOptions::default() }
}

fn refund(url: &str) -> Value {
    json!({ "tool_name": "refund", "subject": "x", "callback_url": url })
}

#[tokio::test]
async fn the_answer_goes_to_the_address_that_was_given_signed_and_nowhere_else() {
    let stub = Stub::new().await;
    let house = House::with(options(&["127.0.0.1"]));
    let hook = format!("{}/hook?x=1", stub.address);
    house.approver.on_submit(SubmitScript::Allow);
    let told = house.ask("k1", "wait=30", refund(&hook)).await;
    assert_eq!(told.words().0, 202, "who is called back is told nothing else, so that it acts once");
    let held = house.ask("k2", "wait=30", refund(&hook)).await;
    assert_eq!(held.words(), (202, "pending", "pending"));
    stub.until_heard(1).await;
    house.approver.decide("THR-1", Verdict::Reject(Some("no".into())));
    let heard = stub.until_heard(2).await;
    for (delivery, words) in heard.iter().zip([("allow", "allowed"), ("deny", "rejected")]) {
        assert_eq!((&delivery.method, delivery.uri.as_str()), (&Method::POST, "/hook?x=1"));
        let header = |name: &str| delivery.headers[name].to_str().unwrap();
        let signed = Signed {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signatures: header("webhook-signature"),
            body: delivery.body.as_bytes(),
        };
        let now = jiff::Timestamp::from_second(header("webhook-timestamp").parse().unwrap()).unwrap();
        secret().verify(&signed, now).unwrap();
        let decision: Value = serde_json::from_str(&delivery.body).unwrap();
        assert_eq!(
            (decision["decision"].as_str(), decision["status"].as_str()),
            (Some(words.0), Some(words.1))
        );
    }
    assert_eq!(house.ask("k2", "wait=30", refund(&hook)).await.words().0, 202, "the same again is the same");
    assert_eq!(house.get(&held.location()).await.words(), (200, "deny", "rejected"));
    assert_eq!(stub.heard().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_called_whom_the_operator_did_not_name() {
    let strict = CallbackOptions {
        private_addresses: PrivateAddresses::Refused,
        ..options(&["*.example.com", "127.0.0.1"]).callbacks
    };
    let house = House::with(BridgeOptions { callbacks: strict, ..BridgeOptions::default() });
    for url in [
        "https://example.com/x",
        "https://evil.com/?.example.com",
        "https://evil-example.com/",
        "https://a.example.com.evil.com/",
        "https://.example.com/",
        "http://a.example.com/x",
        "http://127.0.0.1/x",
        "ftp://a.example.com/x",
        "https://a.example.com@evil.com/",
        "https://user:pw@a.example.com/",
        "https://a.example.com\\@evil.com/",
        "https://2130706433/",
        "//a.example.com/",
        "a.example.com",
        "",
    ] {
        let refused = house.send(ask("k", "", &refund(url))).await;
        assert_eq!(refused.status, 400, "{url}");
    }
    assert!(house.approver.submitted().is_empty());
    assert_eq!(house.send(ask("k", "", &refund("https://a.B.example.com/x"))).await.status, 202);
}

/// The name is allowed; where it leads is not.
#[tokio::test]
async fn a_name_that_leads_inside_is_not_called() {
    let stub = Stub::new().await;
    let port = stub.address.rsplit(':').next().unwrap();
    let callbacks = CallbackOptions {
        private_addresses: PrivateAddresses::Refused,
        ..options(&["localhost", "127.0.0.1"]).callbacks
    };
    let house = House::with(BridgeOptions { callbacks, ..BridgeOptions::default() });
    for (key, host) in [("k1", "localhost"), ("k2", "127.0.0.1")] {
        house.approver.on_submit(SubmitScript::Allow);
        let told = house.ask(key, "", refund(&format!("https://{host}:{port}/"))).await;
        assert_eq!(told.status, 202, "{}", told.text);
    }
    while house.journal.operations().iter().filter(|row| row.round >= 2).count() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(stub.heard().is_empty());
}

#[tokio::test]
async fn a_receiver_that_fails_is_called_again_and_one_that_is_gone_is_not() {
    let stub = Stub::new().await;
    let house = House::with(options(&["127.0.0.1"]));
    for answer in
        [Answer::Status(500, "text/plain", String::new()), Answer::Redirect("/else".into()), Answer::Nothing]
    {
        stub.then(answer);
    }
    house.approver.on_submit(SubmitScript::Allow);
    house.ask("k", "", refund(&format!("{}/hook", stub.address))).await;
    stub.until_heard(1).await;
    tokio::time::pause();
    let heard = stub.until_heard(4).await;
    assert!(heard.iter().all(|delivery| delivery.uri == "/hook" && delivery.body == heard[0].body));
    let ids: Vec<_> = heard.iter().map(|delivery| delivery.headers["webhook-id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "the same delivery has the same id");
    while house.journal.operations().iter().any(|row| row.now.owner.is_some()) {
        tokio::task::yield_now().await;
    }
    stub.then(Answer::Status(410, "text/plain", String::new()));
    house.approver.on_submit(SubmitScript::Allow);
    house.ask("k2", "", refund(&format!("{}/hook", stub.address))).await;
    stub.until_heard(5).await;
    while house.journal.operations().iter().any(|row| row.now.owner.is_some()) {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(std::time::Duration::from_hours(48)).await;
    assert_eq!(stub.heard().len(), 5);
}

#[tokio::test]
async fn what_a_process_owed_when_it_died_another_one_delivers() {
    let stub = Stub::new().await;
    let house = House::with(options(&["127.0.0.1"]));
    house.ask("k", "", refund(&format!("{}/hook", stub.address))).await;
    house.approver.until_waiting(1).await;
    house.dies("one");
    house.approver.until_waiting(0).await;
    house.approver.decide("THR-1", Verdict::Approve);
    let after = house.again("two");
    let running = after.bridge.clone();
    tokio::spawn(async move { running.run().await });
    let heard = stub.until_heard(1).await;
    assert!(heard[0].body.contains(r#""decision":"allow""#));
    assert_eq!(house.approver.redeemed().len(), 1);
}

#[tokio::test]
async fn a_webhook_action_is_answered_by_its_notification() {
    let stub = Stub::new().await;
    let house = House::with(BridgeOptions {
        public_url: Some("https://bridge.example".into()),
        ..options(&["127.0.0.1"])
    });
    let body = json!({
        "notificationUrl": format!("{}/run/1", stub.address),
        "request": { "tool_name": "refund", "subject": "x", "payload_json": "{\"amount\":1}" },
    });
    let subscribed = house.send(json_request("/v1/subscriptions", &body)).await;
    assert_eq!(subscribed.status, 201);
    let place = subscribed.location();
    assert!(place.starts_with("https://bridge.example/v1/subscriptions/op_"), "{place}");
    let again = house.send(json_request("/v1/subscriptions", &body)).await;
    assert_eq!(again.location(), place, "the platform tries again: the same question");
    house.approver.until_waiting(1).await;
    house.approver.decide("THR-1", Verdict::Approve);
    let heard = stub.until_heard(1).await;
    assert_eq!(heard[0].uri, "/run/1");
    assert!(heard[0].body.contains(r#""decision":"allow""#));

    let other =
        json!({ "notificationUrl": format!("{}/run/2", stub.address), "request": { "tool_name": "refund" } });
    let place = house.send(json_request("/v1/subscriptions", &other)).await.location();
    house.approver.until_waiting(1).await;
    let path = place.strip_prefix("https://bridge.example").unwrap();
    assert_eq!(house.send(request(Method::DELETE, path)).await.words(), (200, "deny", "cancelled"));
    let foreign = json!({ "notificationUrl": "https://evil.example/", "request": { "tool_name": "refund" } });
    assert_eq!(house.send(json_request("/v1/subscriptions", &foreign)).await.status, 400);
    assert_eq!(house.approver.redeemed().len(), 1);
}

/// Gate was away when it was asked, and the caller is no caller any more when Gate is back.
#[tokio::test(start_paused = true)]
async fn a_question_of_a_caller_that_was_revoked_is_not_asked_any_more() {
    let house = House::with(options(&["hooks.example.com"]));
    house.approver.on_submit(SubmitScript::Fail);
    let told = house.ask("k", "", refund("https://hooks.example.com/x")).await;
    assert_eq!(told.words().1, "pending");
    house.approver.until_submitted(1).await;
    house.callers.revoke("ann");
    house.approver.on_submit(SubmitScript::Allow);
    let no = house.get(&format!("{}?wait=60", told.location())).await;
    assert_eq!(no.words(), (200, "deny", "mismatch"), "{}", no.text);
    assert_eq!(house.approver.submitted().len(), 1);
}

/// Answers that nobody takes stay on their way for a day: so many of them at once, and no more.
#[tokio::test(start_paused = true)]
async fn receivers_that_are_away_take_no_more_than_their_room() {
    let options = BridgeOptions { driven_max: 2, ..options(&["127.0.0.1"]) };
    let house = House::with(options);
    let away = refund("http://127.0.0.1:9/x");
    for key in ["1", "2"] {
        house.approver.on_submit(SubmitScript::Allow);
        assert_eq!(house.ask(key, "", away.clone()).await.status, 202);
        while !house.journal.operations().iter().all(|row| row.now.state == OperationState::Answered) {
            tokio::task::yield_now().await;
        }
    }
    let full = house.ask("3", "", away).await;
    assert_eq!((full.status.as_u16(), full.header("holdpoint-decision")), (503, "deny"), "{}", full.text);
    // Who waits for its answer itself is in nobody's way, up to the same bound.
    let asked = json!({ "tool_name": "refund", "subject": "x" });
    for key in ["4", "5"] {
        assert_eq!(house.ask(key, "wait=0", asked.clone()).await.words().1, "pending");
    }
    assert_eq!(house.ask("6", "wait=0", asked).await.status, 503);
}
