//! Several that act on one question at once: what runs has one last word, and it is true.

use crate::{
    executing::{call, target},
    house::{Answer, House, Stub, ask, request},
};
use holdpoint_bridge::{BridgeOptions, TargetBody};
use holdpoint_core::{HoldState, Moved, OperationBook as _, OperationChange, OperationState, Owner};
use holdpoint_testkit::{Fault, Operation, Verdict};
use http::Method;
use jiff::SignedDuration;
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpListener;

/// Two processes wait for one approval; for the one that does not run it, the time to decide passes.
#[tokio::test]
async fn nobody_says_that_nothing_ran_while_another_process_runs_it() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    let neighbour = house.again("two");
    let place = house.ask("k", "wait=0", call("refund", "1")).await.location();
    stub.then(Answer::Hang);
    let place = format!("{place}?wait=60");
    let waiting = neighbour.get(&place);
    let deciding = async {
        house.approver.until_waiting(2).await;
        house.approver.decide("THR-1", Verdict::Approve);
        stub.until_heard(1).await;
        house.clock.shift(SignedDuration::from_hours(7 * 24 + 1));
    };
    let (there, ()) = tokio::join!(waiting, deciding);
    assert!(
        matches!(there.words(), (202, "pending", "running") | (200, "deny", "outcome_unknown")),
        "{}",
        there.text
    );
    let here = house.get(&place).await;
    assert_eq!(here.words(), (200, "deny", "outcome_unknown"));
    assert!(here.body.get("ran").is_none());
    assert_eq!(neighbour.get(&place).await.words(), (200, "deny", "outcome_unknown"));
    assert_eq!(stub.heard().len(), 1);
}

/// The process died while the target had the call. What the configuration is by now does not undo that.
#[tokio::test]
async fn what_was_begun_is_unknown_whatever_the_configuration_is_by_now() {
    let edited = |address: &str| {
        let mut edited = target(address);
        for tool in edited.tools.values_mut() {
            tool.place = "another".into();
            tool.body = TargetBody::None;
        }
        House::targeting(edited).options()
    };
    let stub = Stub::new().await;
    for after in [BridgeOptions::default(), edited(&stub.address)] {
        let house = House::targeting(target(&stub.address));
        let place = house.ask("k", "wait=0", call("refund", "1")).await.location();
        house.dies("one");
        let row = house.journal.operations()[0].clone();
        let change = OperationChange {
            state: OperationState::Running,
            owner: Some(Owner("one".into())),
            ..row.now.clone()
        };
        let begun = house.journal.advance_operation(&row.id, row.round, change, row.changed_at).await;
        assert_eq!(begun.unwrap(), Moved::Yes);
        let after = house.again_with("two", after);
        let unknown = after.get(&format!("{place}?wait=5")).await;
        assert_eq!(unknown.words(), (200, "deny", "outcome_unknown"), "{}", unknown.text);
        assert!(unknown.body.get("ran").is_none(), "nobody knows");
    }
    assert!(stub.heard().is_empty());
}

/// The journal wrote that it begins, and the process did not hear so.
#[tokio::test]
async fn what_this_process_itself_left_begun_comes_to_an_end() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    let place = house.ask("k", "wait=0", call("refund", "1")).await.location();
    house.journal.fail(Operation::AdvanceOperation, Fault::ReplyLost);
    house.approver.decide("THR-1", Verdict::Approve);
    while house.journal.states() != [HoldState::Void] {
        tokio::task::yield_now().await;
    }
    house.journal.repair();
    tokio::time::pause();
    let over = house.get(&format!("{place}?wait=60")).await;
    assert_eq!((over.status.as_u16(), over.words().1), (200, "deny"), "{}", over.text);
    assert!(stub.heard().is_empty());
}

/// A target ran it, and the journal could not be written for a while.
#[tokio::test]
async fn what_a_target_said_is_not_lost_to_a_journal_that_fails() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    let row = |house: &House| house.journal.operations()[0].clone();
    let place = house.ask("k", "wait=0", call("refund", "1")).await.location();
    // Only the last word: what is before it has to be written.
    let deciding = async {
        house.approver.decide("THR-1", Verdict::Approve);
        while row(&house).now.state != OperationState::Running {
            tokio::task::yield_now().await;
        }
        house.journal.fail(Operation::AdvanceOperation, Fault::Refused);
        while house.journal.states() != [HoldState::Done] {
            tokio::task::yield_now().await;
        }
    };
    deciding.await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(8)).await;
    house.journal.repair();
    let ran = house.get(&format!("{place}?wait=60")).await;
    assert_eq!(ran.words(), (200, "allow", "approved"), "{}", ran.text);
    assert_eq!((&ran.body["ran"], &ran.body["result"]["body"]["done"]), (&json!(true), &json!(true)));
    assert_eq!(stub.heard().len(), 1);
}

/// The same, and its caller waits.
#[tokio::test]
async fn who_waits_for_what_ran_is_not_told_that_it_did_not() {
    let stub = Stub::new().await;
    let house = House::targeting(target(&stub.address));
    let failing = async {
        house.approver.until_waiting(1).await;
        house.approver.decide("THR-1", Verdict::Approve);
        while house.journal.operations()[0].now.state != OperationState::Running {
            tokio::task::yield_now().await;
        }
        house.journal.fail(Operation::AdvanceOperation, Fault::Refused);
        while house.journal.states() != [HoldState::Done] {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
    };
    let (told, ()) = tokio::join!(house.ask("k", "wait=60", call("refund", "1")), failing);
    assert_eq!(told.words(), (202, "pending", "running"), "{}", told.text);
    house.journal.repair();
    // By itself, since nobody may come to this process again.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(house.journal.operations()[0].now.state, OperationState::Answered);
    let ran = house.get(&told.location()).await;
    assert_eq!((ran.words(), &ran.body["ran"]), ((200, "allow", "approved"), &json!(true)));
    assert_eq!(stub.heard().len(), 1);
}

/// Approved, and on its way to a target that lets nobody in.
#[tokio::test]
async fn what_is_withdrawn_before_it_begins_does_not_begin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // It accepts, and never shakes hands.
    let house = House::targeting(target(&format!("https://{}", listener.local_addr().unwrap())));
    let place = house.ask("k", "wait=0", call("refund", "1")).await.location();
    house.approver.decide("THR-1", Verdict::Approve);
    let (stream, _) = listener.accept().await.unwrap();
    let gone = house.send(request(Method::DELETE, &place)).await;
    assert_eq!(gone.words(), (200, "deny", "cancelled"), "{}", gone.text);
    assert_eq!(gone.body["ran"], false);
    assert_eq!(house.send(ask("k", "", &call("refund", "1"))).await.words().2, "cancelled");
    assert_eq!(house.journal.states(), [HoldState::Void]);
    drop(stream);
}

/// Neither withdrawn, as the caller was told, nor forgotten.
#[tokio::test(start_paused = true)]
async fn a_question_that_could_not_be_withdrawn_goes_on_by_itself() {
    let house = House::new();
    let place = house.ask("k", "wait=0", json!({ "tool_name": "refund" })).await.location();
    house.approver.until_waiting(1).await;
    house.journal.fail(Operation::AdvanceOperation, Fault::Refused);
    house.journal.fail(Operation::End, Fault::Refused);
    let failed = house.send(request(Method::DELETE, &place)).await;
    assert_ne!(failed.status, 200, "{}", failed.text);
    house.journal.repair();
    house.approver.decide("THR-1", Verdict::Approve);
    let answered = async {
        while house.journal.operations()[0].now.state != OperationState::Answered {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(5), answered).await.unwrap();
    assert_eq!(house.get(&place).await.words(), (200, "allow", "approved"));
}
