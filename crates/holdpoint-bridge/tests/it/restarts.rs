//! Processes that end, and those that go on.

use crate::house::House;
use holdpoint_core::{
    Clock as _, Moved, OperationBook as _, OperationChange, OperationContent, OperationState, Owner,
};
use holdpoint_testkit::Verdict;
use serde_json::{Value, json};
use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
    time::Duration,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::Field,
    span::{Attributes, Id, Record},
};

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

/// Another version, or something else, wrote it. Nothing is guessed and nothing is run; the log names it, and what can be read
/// is gone on with.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_left_alone_and_told_of() {
    let house = House::new();
    for key in ["damaged", "sound"] {
        house.ask(key, "wait=0", refund()).await;
    }
    house.dies("one");
    let damaged = house.journal.operations()[0].clone();
    let content = OperationContent::new(&b"{"[..]);
    let change = OperationChange { content, ..damaged.now };
    let done = house.journal.advance_operation(&damaged.id, damaged.round, change, damaged.changed_at).await;
    assert_eq!(done.unwrap(), Moved::Yes);
    let stands = house.journal.operations()[0].clone();

    let log = Log::default();
    let _logged = tracing::subscriber::set_default(log.clone());
    let after = house.again("two");
    house.approver.until_waiting(0).await;
    let running = after.bridge.clone();
    tokio::spawn(async move { running.run().await });
    house.approver.until_waiting(1).await;
    for _ in 0..3 {
        after.clock.sleep(Duration::from_secs(15)).await;
    }
    let told = log.lines("what a process left");
    assert_eq!(told.len(), 1, "once, not at each look: {told:?}");
    let names = format!("the content of `{}` cannot be read", stands.id);
    assert!(told[0].contains(&names) && told[0].contains("owner=\"one\""), "{told:?}");

    let opened = house.approver.opened().len();
    let place = format!("/v1/decisions/{}", stands.id);
    for said in [after.get(&place).await, after.ask("damaged", "wait=0", refund()).await] {
        assert_eq!((said.status.as_u16(), said.header("holdpoint-decision")), (503, "deny"), "{}", said.text);
        assert!(!said.header("retry-after").is_empty());
    }
    assert_eq!(house.approver.opened().len(), opened, "nobody is asked again");
    assert_eq!(house.journal.operations()[0], stands);
    assert!(!log.lines(&names).is_empty());
}

/// What the log says.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self, with: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(with)).cloned().collect()
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| {
            write!(line, "{field}={value:?} ").unwrap();
        });
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
