//! Callers that come back, callers that do not, and callers that withdraw.

use crate::house::{House, ask, request};
use holdpoint_bridge::BridgeOptions;
use holdpoint_core::HoldState;
use holdpoint_testkit::{Fault, Operation, SubmitScript, Verdict};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

fn refund() -> Value {
    json!({ "tool_name": "refund", "subject": "Refund", "payload": { "amount": 5 } })
}

#[tokio::test(start_paused = true)]
async fn what_is_told_to_come_back_for_is_there_when_it_comes() {
    let house = House::new();
    let held = house.ask("k", "wait=2", refund()).await;
    assert_eq!(held.words(), (202, "pending", "pending"));
    assert!(!held.header("retry-after").is_empty());
    let place = held.location();
    assert!(place.starts_with("/v1/decisions/op_"), "{place}");
    assert_eq!(house.get(&place).await.words(), (202, "pending", "pending"));
    let patient = format!("{place}?wait=60");
    let looking = house.get(&patient);
    let deciding = async {
        house.approver.until_waiting(1).await;
        house.approver.decide("THR-1", Verdict::Approve);
    };
    let (answer, ()) = tokio::join!(looking, deciding);
    assert_eq!(answer.words(), (200, "allow", "approved"));
    assert_eq!(house.approver.redeemed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_as_long_as_it_is_said_and_no_longer_than_it_may_be() {
    for (query, header, seconds) in [
        ("wait=3", None, 3),
        ("", Some("respond-async, wait=7"), 7),
        ("", None, 25),
        ("wait=9999", None, 300),
    ] {
        let house = House::new();
        let mut asked = ask("k", query, &refund());
        if let Some(header) = header {
            asked.headers_mut().insert("prefer", header.parse().unwrap());
        }
        let from = tokio::time::Instant::now();
        assert_eq!(house.send(asked).await.words().1, "pending");
        assert_eq!(from.elapsed().as_secs(), seconds, "{query} {header:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_question_joins_and_another_by_its_name_is_refused() {
    let house = House::new();
    let (first, second) =
        tokio::join!(house.ask("k", "wait=2", refund()), house.ask("k", "wait=1", refund()));
    assert_eq!(first.location(), second.location());
    assert_eq!(house.approver.opened().len(), 1);
    let mut other = refund();
    other["payload"]["amount"] = json!(500);
    let refused = house.ask("k", "wait=1", other).await;
    assert_eq!((refused.status.as_u16(), refused.body["decision"].as_str()), (422, Some("deny")));
    assert_eq!(house.approver.opened().len(), 1, "and nobody is asked about it");
}

#[tokio::test(start_paused = true)]
async fn a_no_is_the_same_no_for_the_same_key() {
    let house = House::new();
    house.approver.decide("THR-1", Verdict::Reject(None));
    for _ in 0..30 {
        assert_eq!(house.ask("k", "wait=5", refund()).await.words(), (200, "deny", "rejected"));
    }
    assert_eq!(house.approver.opened().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_yes_is_repeated_as_often_as_it_may_be_and_as_long() {
    let options = BridgeOptions { replays_max: 3, kept: Duration::from_mins(10), ..BridgeOptions::default() };
    let house = House::with(options);
    house.approver.decide("THR-1", Verdict::Approve);
    for _ in 0..3 {
        assert_eq!(house.ask("k", "wait=5", refund()).await.words(), (200, "allow", "approved"));
    }
    let place = format!("/v1/decisions/{}", house.journal.operations()[0].id);
    assert_eq!(house.ask("k", "wait=5", refund()).await.words(), (200, "deny", "already_done"));
    assert_eq!(house.get(&place).await.words(), (200, "deny", "already_done"));
    tokio::time::sleep(Duration::from_mins(11)).await;
    assert_eq!(house.get(&place).await.status, 404);
    // The journal of holds has it still: it is not asked about anew, and not answered with the old yes.
    assert_eq!(house.ask("k", "wait=5", refund()).await.words(), (200, "deny", "already_done"));
    assert_eq!((house.approver.opened().len(), house.approver.redeemed().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_what_is_somebody_elses() {
    let house = House::new();
    let place = house.ask("k", "wait=0", refund()).await.location();
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(house.send_as("bob", request(method, &place)).await.status, 404);
    }
    assert_eq!(house.get("/v1/decisions/op_0000").await.status, 404);
    assert_eq!(house.get(&place).await.words().1, "pending");
}

#[tokio::test(start_paused = true)]
async fn an_approval_for_a_caller_that_left_untold_is_not_redeemed() {
    let house = House::new();
    {
        let asking = house.ask("k", "wait=60", refund());
        tokio::select! {
            _answer = asking => panic!("nobody has decided"),
            () = house.approver.until_waiting(1) => {}
        }
    }
    house.approver.until_waiting(0).await;
    house.approver.decide("THR-1", Verdict::Approve);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(house.approver.redeemed().is_empty());
    // It comes back by the same name.
    assert_eq!(house.ask("k", "wait=5", refund()).await.words(), (200, "allow", "approved"));
    assert_eq!((house.approver.opened().len(), house.approver.redeemed().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_question_is_over_and_an_approval_that_comes_later_is_nobodys() {
    let house = House::new();
    let place = house.ask("k", "wait=0", refund()).await.location();
    let gone = house.send(request(Method::DELETE, &place)).await;
    assert_eq!(gone.words(), (200, "deny", "cancelled"));
    house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(house.get(&place).await.words(), (200, "deny", "cancelled"));
    assert_eq!(house.ask("k", "wait=5", refund()).await.words(), (200, "deny", "cancelled"));
    assert!(house.approver.redeemed().is_empty());
    assert_eq!(house.journal.states(), [HoldState::Cancelled]);
    assert_eq!(house.send(request(Method::DELETE, &place)).await.words().0, 200, "once more is the same");
}

#[tokio::test(start_paused = true)]
async fn what_is_decided_cannot_be_withdrawn() {
    let house = House::new();
    house.approver.decide("THR-1", Verdict::Approve);
    let yes = house.ask("k", "wait=5", refund()).await;
    let place = format!("/v1/decisions/{}", yes.body["id"].as_str().unwrap());
    let late = house.send(request(Method::DELETE, &place)).await;
    assert_eq!((late.status.as_u16(), late.body["decision"].as_str()), (409, Some("allow")));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_decides_ends() {
    let options = BridgeOptions { expires: Duration::from_mins(30), ..BridgeOptions::default() };
    let house = House::with(options);
    let place = house.ask("k", "wait=0", refund()).await.location();
    tokio::time::sleep(Duration::from_mins(31)).await;
    house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(house.get(&place).await.words(), (200, "deny", "expired"));
    assert!(house.approver.redeemed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_down_is_not_told() {
    for operation in [Operation::OpenOperation, Operation::AdvanceOperation, Operation::Operation] {
        let house = House::new();
        house.journal.fail(operation, Fault::Refused);
        let refused = house.ask("k", "wait=1", refund()).await;
        assert_eq!(
            (refused.status.as_u16(), refused.header("holdpoint-decision")),
            (503, "deny"),
            "{operation:?}"
        );
        house.journal.repair();
        assert_eq!(house.ask("k", "wait=1", refund()).await.words().1, "pending", "{operation:?}");
        assert!(house.approver.redeemed().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn gate_that_goes_away_while_a_told_caller_waits_is_asked_again() {
    let house = House::new();
    let place = house.ask("k", "wait=0", refund()).await.location();
    house.approver.until_waiting(1).await;
    house.approver.decide("THR-1", Verdict::Fail);
    house.approver.until_waiting(0).await;
    house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(house.get(&format!("{place}?wait=60")).await.words(), (200, "allow", "approved"));
}

#[tokio::test(start_paused = true)]
async fn of_many_that_ask_at_once_all_hear_the_same_review() {
    let house = House::new();
    house.approver.on_submit(SubmitScript::Hold);
    let asking = (0..50).map(|_| house.ask("k", "wait=100", refund()));
    let deciding = async {
        house.approver.until_waiting(1).await;
        house.approver.decide("THR-1", Verdict::Approve);
    };
    let all = async {
        let mut answers = Vec::new();
        let mut asking: Vec<_> = asking.map(Box::pin).collect();
        for asked in &mut asking {
            answers.push(asked.await);
        }
        answers
    };
    let (answers, ()) = tokio::join!(all, deciding);
    let yes = answers.iter().filter(|answer| answer.body["decision"] == "allow").count();
    assert_eq!(yes, 20, "as often as a yes is repeated");
    assert_eq!((house.approver.opened().len(), house.approver.redeemed().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_question_is_withdrawn_while_gate_is_away() {
    let house = House::new();
    let place = house.ask("k", "wait=0", refund()).await.location();
    house.approver.until_waiting(1).await;
    house.approver.decide("THR-1", Verdict::Fail);
    house.approver.until_waiting(0).await;
    let gone = house.send(request(Method::DELETE, &place)).await;
    assert_eq!(gone.words(), (200, "deny", "cancelled"));
    house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(house.ask("k", "wait=30", refund()).await.words(), (200, "deny", "cancelled"));
    assert!(house.approver.redeemed().is_empty());
}
