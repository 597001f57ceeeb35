//! Webhooks: whoever rings, only Gate's decision counts.

use crate::setup::{held, pace, paced};
use bytes::Bytes;
use futures_util::stream;
use holdpoint_api::{Limits, webhook::WebhookSecret};
use holdpoint_client::{Pace, WebhookReceiver};
use holdpoint_core::{Answer, Approver, Clock, Hold};
use holdpoint_testkit::{Decision, Endpoint, ManualClock, Script, ScriptedGate};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(10);

fn secret() -> WebhookSecret {
    WebhookSecret::generate(&[7; 32])
}

fn body(thread: &str) -> Value {
    json!({
        "thread_id": thread,
        "task_id": "task-abc-123",
        "decision": "approved",
        "message": "Approved.",
        "tenant_id": "tenant",
        "workflow_name": "Customer Support",
        "task_label": "Refund request",
    })
}

fn delivery(body: &Value) -> Request<Full<Bytes>> {
    let request = Request::post("/anywhere").header("content-type", "application/json; charset=utf-8");
    request.body(Full::from(body.to_string())).expect("a request")
}

fn signed(id: &str, at: i64, body: &Value) -> Request<Full<Bytes>> {
    let mut request = delivery(body);
    let signature = secret().sign(id, at, body.to_string().as_bytes());
    for (name, value) in
        [("webhook-id", id), ("webhook-timestamp", &at.to_string()), ("webhook-signature", &signature)]
    {
        request.headers_mut().insert(name, value.parse().expect("a header"));
    }
    request
}

async fn status(receiver: &WebhookReceiver, request: Request<Full<Bytes>>) -> StatusCode {
    let response = receiver.receive(request).await;
    assert!(response.body().is_empty(), "whoever rings learns nothing");
    response.status()
}

/// A pace at which nothing but a bell brings a second poll.
fn asleep() -> Pace {
    let hour = Duration::from_hours(1);
    Pace { interval: hour, interval_min: hour, interval_max: hour, ..Pace::default() }
}

struct House {
    gate: ScriptedGate,
    approver: holdpoint_client::GateApprover,
    clock: Arc<ManualClock>,
    hold: Hold,
}

impl House {
    async fn new(pace: Pace) -> Self {
        let gate = ScriptedGate::start().await;
        let approver = paced(&gate, pace);
        let hold = held(&approver).await;
        Self { gate, approver, clock: Arc::default(), hold }
    }

    fn receiver(&self, secret: Option<WebhookSecret>) -> WebhookReceiver {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        self.approver.webhook_receiver(secret, clock)
    }

    fn thread(&self) -> &str {
        self.hold.thread.as_str()
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    fn reads(&self) -> usize {
        self.gate.count(Endpoint::Decisions)
    }

    /// Waits for the hold while `story` happens, which begins after the first read and must not decide anything.
    async fn still_held(&self, story: impl Future<Output = ()>) {
        let story = async {
            self.gate.until_count(Endpoint::Decisions, 1).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            story.await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        tokio::select! {
            answer = self.approver.wait(&self.hold, Duration::from_hours(1)) => panic!("{answer:?}"),
            () = story => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_brings_the_decision_at_once() {
    for secret_is_set in [false, true] {
        let house = House::new(asleep()).await;
        let receiver = house.receiver(secret_is_set.then(secret));
        let story = async {
            house.gate.until_count(Endpoint::Decisions, 1).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            house.gate.decide(house.thread(), Decision::Approve);
            let request = signed("msg_1", house.now(), &body(house.thread()));
            assert_eq!(status(&receiver, request).await, StatusCode::NO_CONTENT);
            Instant::now()
        };
        let (answer, rung_at) = tokio::join!(house.approver.wait(&house.hold, PATIENCE), story);
        assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
        assert!(rung_at.elapsed() < Duration::from_millis(100), "{:?}", rung_at.elapsed());
    }
}

/// Says approved, and Gate says otherwise: the waiter reads Gate, and nothing changes.
#[tokio::test(start_paused = true)]
async fn what_a_webhook_claims_changes_nothing() {
    let house = House::new(asleep()).await;
    let receiver = house.receiver(Some(secret()));
    house
        .still_held(async {
            let mut lie = body(house.thread());
            lie["status"] = json!("approved");
            lie["approval_token"] = json!("sgt_forged");
            assert_eq!(status(&receiver, signed("msg_1", house.now(), &lie)).await, StatusCode::NO_CONTENT);
        })
        .await;
    assert_eq!(house.reads(), 2, "it was read once more, and is pending");
    house.gate.decide(house.thread(), Decision::Reject("no".to_owned()));
    let answer = house.approver.wait(&house.hold, PATIENCE).await;
    assert!(matches!(answer, Ok(Answer::Rejected { .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn forged_old_and_replayed_webhooks_ring_nothing() {
    let house = House::new(asleep()).await;
    let receiver = house.receiver(Some(secret()));
    let body = body(house.thread());
    house
        .still_held(async {
            let now = house.now();
            let mut others = signed("msg_1", now, &body);
            let forged = WebhookSecret::generate(&[8; 32]).sign("msg_1", now, body.to_string().as_bytes());
            others.headers_mut().insert("webhook-signature", forged.parse().expect("a header"));
            let mut twice = signed("msg_1", now, &body);
            twice.headers_mut().append("webhook-id", "msg_2".parse().expect("a header"));
            let mut renamed = signed("msg_1", now, &body);
            renamed.headers_mut().insert("webhook-id", "msg_2".parse().expect("a header"));
            let old = signed("msg_1", now - 301, &body);
            let early = signed("msg_1", now + 301, &body);
            for refused in [delivery(&body), others, twice, renamed, old, early] {
                assert_eq!(status(&receiver, refused).await, StatusCode::UNAUTHORIZED);
            }
            let mut unsigned = delivery(&json!({ "not": "a webhook" }));
            *unsigned.body_mut() = Full::from("not even JSON");
            assert_eq!(
                status(&receiver, unsigned).await,
                StatusCode::UNAUTHORIZED,
                "the signature comes first"
            );
        })
        .await;
    assert_eq!(house.reads(), 1);
    house
        .still_held(async {
            for _ in 0..5 {
                let again = signed("msg_1", house.now(), &body);
                assert_eq!(status(&receiver, again).await, StatusCode::NO_CONTENT);
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        })
        .await;
    assert_eq!(house.reads(), 3, "one for the new wait, one for the first of five");
}

/// Late, early, in another order, and for somebody else: each rings for its own thread only.
#[tokio::test(start_paused = true)]
async fn webhooks_in_any_order_ring_for_their_own_thread() {
    let house = House::new(asleep()).await;
    let receiver = house.receiver(Some(secret()));
    house
        .still_held(async {
            for thread in ["THR-unknown", "", "THR-00000002"] {
                let request = signed(&format!("msg_{thread}"), house.now(), &body(thread));
                assert_eq!(status(&receiver, request).await, StatusCode::NO_CONTENT, "nobody can probe");
            }
        })
        .await;
    assert_eq!(house.reads(), 1);
    house
        .still_held(async {
            for (id, at) in [("msg_9", 60), ("msg_8", -60), ("msg_7", 0)] {
                let request = signed(id, house.now() + at, &body(house.thread()));
                assert_eq!(status(&receiver, request).await, StatusCode::NO_CONTENT);
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        })
        .await;
    assert_eq!(house.reads(), 2 + 3);
    let polls = house.gate.recorded_at(Endpoint::Decisions);
    assert!(polls.iter().all(|poll| poll.target.ends_with(house.thread())), "{polls:?}");
}

/// Without a secret anybody may ring: a storm of it costs a read per second and no more.
#[tokio::test(start_paused = true)]
async fn a_storm_of_forged_webhooks_does_not_become_a_storm_on_gate() {
    let house = House::new(asleep()).await;
    let receiver = house.receiver(None);
    house
        .still_held(async {
            for _ in 0..500 {
                assert_eq!(status(&receiver, delivery(&body(house.thread()))).await, StatusCode::NO_CONTENT);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    assert!((10..=13).contains(&house.reads()), "{} reads in ten seconds", house.reads());
    // Somebody who takes a delivery's id for another thread does not silence it.
    let squatted = signed("msg_1", house.now(), &body("THR-other"));
    assert_eq!(status(&receiver, squatted).await, StatusCode::NO_CONTENT);
    let reads = house.reads();
    house
        .still_held(async {
            status(&receiver, signed("msg_1", house.now(), &body(house.thread()))).await;
        })
        .await;
    assert_eq!(house.reads(), reads + 2);
}

/// Ids are remembered up to a number; what was forgotten rings again, which costs one read.
#[tokio::test(start_paused = true)]
async fn replays_are_remembered_for_a_thousand_deliveries() {
    let house = House::new(asleep()).await;
    let receiver = house.receiver(Some(secret()));
    house
        .still_held(async {
            for number in 0..=1024 {
                let thread = if number == 0 { house.thread() } else { "THR-other" };
                status(&receiver, signed(&format!("msg_{number}"), house.now(), &body(thread))).await;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(house.reads(), 2);
            status(&receiver, signed("msg_0", house.now(), &body(house.thread()))).await;
        })
        .await;
    assert_eq!(house.reads(), 3);
}

#[tokio::test(start_paused = true)]
async fn with_every_webhook_lost_polling_gets_there() {
    let house = House::new(Pace::default()).await;
    house.gate.recommend_poll_after(Some(7));
    let story = async {
        house.gate.until_count(Endpoint::Decisions, 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        house.gate.decide(house.thread(), Decision::Approve);
        Instant::now()
    };
    let wait = house.approver.wait(&house.hold, Duration::from_mins(1));
    let (answer, decided_at) = tokio::join!(wait, story);
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
    assert!(decided_at.elapsed() < Duration::from_millis(7_800), "{:?}", decided_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_webhook_is_told_so_and_rings_nothing() {
    let house = House::new(asleep()).await;
    let receiver = house.receiver(None);
    let thread = house.thread().to_owned();
    house
        .still_held(async {
            for method in [Method::GET, Method::PUT, Method::HEAD, Method::DELETE] {
                let mut request = delivery(&body(&thread));
                *request.method_mut() = method;
                let response = receiver.receive(request).await;
                assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
                assert_eq!(response.headers()["allow"], "POST");
            }
            for text in ["", "null", "[]", "{}", r#"{"thread_id":7}"#, "{\"thread_id\":\"", "\u{0}"] {
                let mut request = delivery(&json!(null));
                *request.body_mut() = Full::from(text);
                assert_eq!(status(&receiver, request).await, StatusCode::BAD_REQUEST, "{text}");
            }
            for kind in [None, Some("text/plain"), Some("application/jsonx"), Some("")] {
                let mut request = delivery(&body(&thread));
                request.headers_mut().remove("content-type");
                request
                    .headers_mut()
                    .extend(kind.map(|kind| (http::header::CONTENT_TYPE, kind.parse().expect("a header"))));
                assert_eq!(status(&receiver, request).await, StatusCode::BAD_REQUEST, "{kind:?}");
            }
        })
        .await;
    assert_eq!(house.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_in_size_and_time() {
    let house = House::new(pace()).await;
    let receiver = house.receiver(None);
    let mut large = body(house.thread());
    let fixed = large.to_string().len() - "Approved.".len();
    for (bytes, expected) in [
        (Limits::WEBHOOK_BYTES, StatusCode::NO_CONTENT),
        (Limits::WEBHOOK_BYTES + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        large["message"] = json!("x".repeat(bytes - fixed));
        assert_eq!(status(&receiver, delivery(&large)).await, expected, "{bytes}");
        // The same in pieces, with no length announced.
        let text = large.to_string();
        let pieces = text
            .as_bytes()
            .chunks(1000)
            .map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::copy_from_slice(piece))));
        let streamed = StreamBody::new(stream::iter(pieces.collect::<Vec<_>>()));
        let response = receiver.receive(delivery(&large).map(|_| streamed)).await;
        assert_eq!(response.status(), expected, "{bytes} in pieces");
    }
    let broken = stream::iter([Err::<http_body::Frame<Bytes>, _>(std::io::Error::other("broken"))]);
    let response = receiver.receive(delivery(&large).map(|_| StreamBody::new(broken))).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let never = stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
    let started = Instant::now();
    let response = receiver.receive(delivery(&large).map(|_| StreamBody::new(never))).await;
    assert_eq!((response.status(), started.elapsed().as_secs()), (StatusCode::REQUEST_TIMEOUT, 10));
    let none = receiver.receive(delivery(&large).map(|_| Empty::<Bytes>::new().boxed())).await;
    assert_eq!(none.status(), StatusCode::BAD_REQUEST);
}

/// A webhook that comes while the decision is being read: that read may have come before the decision.
#[tokio::test(start_paused = true)]
async fn a_webhook_during_a_read_brings_another() {
    let house = House::new(asleep()).await;
    let receiver = house.receiver(None);
    house.gate.script(Endpoint::Decisions, Script::hang());
    let story = async {
        house.gate.until_kept_waiting(1).await;
        house.gate.decide(house.thread(), Decision::Approve);
        status(&receiver, delivery(&body(house.thread()))).await;
    };
    let (answer, ()) = tokio::join!(house.approver.wait(&house.hold, PATIENCE), story);
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
    assert_eq!(house.reads(), 2);
}
