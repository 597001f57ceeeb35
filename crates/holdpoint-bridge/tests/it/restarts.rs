//! Processes that end, and those that go on.

use crate::house::House;
use holdpoint_core::{Moved, OperationBook as _, OperationChange, OperationContent, OperationState, Owner};
use holdpoint_testkit::Verdict;
use serde_json::{Value, json};

fn refund() -> Value {
    json!({ "tool_name": "refund", "subject": "x" })
}

#[tokio::test(start_paused = true)]
async fn a_question_outlives_the_process_that_asked() {
    let house = House::new();
    let place = house.ask("k", "wait=0", refund()).await.location();
    house.dies("one");
    let after = house.again("two");
    assert_eq!(
        after.ask("k", "wait=0", refund()).await.location(),
        place,
        "the same question, the same review"
    );
    house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(after.get(&format!("{place}?wait=30")).await.words(), (200, "allow", "approved"));
    assert_eq!((house.approver.opened().len(), house.approver.redeemed().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_was_told_to_come_back_for_is_gone_on_with_by_itself() {
    let house = House::new();
    let place = house.ask("k", "wait=0", refund()).await.location();
    house.dies("one");
    house.approver.until_waiting(0).await;
    let after = house.again("two");
    let running = after.bridge.clone();
    tokio::spawn(async move { running.run().await });
    house.approver.until_waiting(1).await;
    house.approver.decide("THR-1", Verdict::Approve);
    house.approver.until_waiting(0).await;
    assert_eq!(after.get(&place).await.words(), (200, "allow", "approved"));
    assert_eq!(house.approver.redeemed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_processes_hand_one_yes_to_callers_of_one_name() {
    let house = House::new();
    let neighbour = house.again("two");
    let here = house.ask("k", "wait=0", refund()).await;
    let there = neighbour.ask("k", "wait=0", refund()).await;
    assert_eq!(here.location(), there.location());
    house.approver.decide("THR-1", Verdict::Approve);
    let place = format!("{}?wait=30", here.location());
    let (one, two) = tokio::join!(house.get(&place), neighbour.get(&place));
    assert_eq!((one.words().1, two.words().1), ("allow", "allow"));
    assert_eq!((house.approver.opened().len(), house.approver.redeemed().len()), (1, 1));
}

/// The process died between saying that it begins and hearing what came of it, and no person was asked.
#[tokio::test(start_paused = true)]
async fn what_was_begun_by_a_process_that_is_gone_is_unknown_and_not_begun_again() {
    let house = House::new();
    house.ask("k", "wait=0", refund()).await;
    house.dies("one");
    let row = house.journal.operations()[0].clone();
    let mut content: Value = serde_json::from_slice(row.now.content.as_bytes()).unwrap();
    content.as_object_mut().unwrap().shift_remove("hold");
    let change = OperationChange {
        state: OperationState::Running,
        owner: Some(Owner("one".into())),
        content: OperationContent::new(content.to_string().into_bytes()),
        ..row.now.clone()
    };
    let begun = house.journal.advance_operation(&row.id, row.round, change, row.changed_at).await;
    assert_eq!(begun.unwrap(), Moved::Yes);
    let after = house.again("two");
    let unknown = after.get(&format!("/v1/decisions/{}?wait=5", row.id)).await;
    assert_eq!(unknown.words(), (200, "deny", "outcome_unknown"));
}

#[tokio::test(start_paused = true)]
async fn a_bridge_that_stops_tells_those_that_wait_to_come_back() {
    let house = House::new();
    let asking = house.ask("k", "wait=300", refund());
    let stopping = async {
        house.approver.until_waiting(1).await;
        house.gate.close();
    };
    let (told, ()) = tokio::join!(asking, stopping);
    assert_eq!(told.words(), (202, "pending", "pending"));
    house.bridge.stop();
    house.bridge.drain().await;
}
