//! Answers that are there already: whose they are, how long, and what becomes of those that nobody heard.

use crate::house::{House, RESULT_KEPT, RESULT_MAX, pay};
use holdpoint_core::{Admission, HoldState, Outcome, StoredResult};
use holdpoint_testkit::{Fault, Operation, Verdict};
use std::time::Duration;

fn approving() -> House {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    house
}

#[tokio::test(start_paused = true)]
async fn a_result_is_kept_for_its_time_and_no_longer() {
    for (age, collects) in [(RESULT_KEPT, true), (RESULT_KEPT + Duration::from_secs(1), false)] {
        let house = approving();
        drop(house.begin(pay(1)).await.unwrap().finish(Outcome::succeeded(*b"kept")).await);
        tokio::time::sleep(age).await;
        assert_eq!(house.begin(pay(1)).await.err().as_deref() == Some("kept"), collects);
        assert_eq!(house.ran().len(), if collects { 1 } else { 2 });
        assert_eq!(house.approver.opened().len(), house.ran().len(), "one approval each");
    }
}

/// Handing it out and forgetting it are two things: a journal that cannot do the second does not keep a call for ever.
#[tokio::test(start_paused = true)]
async fn a_result_that_is_too_old_and_cannot_be_forgotten_refuses() {
    let house = approving();
    drop(house.begin(pay(1)).await.unwrap().finish(Outcome::succeeded(*b"kept")).await);
    tokio::time::sleep(RESULT_KEPT + Duration::from_secs(1)).await;
    house.journal.fail(Operation::Deliver, Fault::Refused);
    assert!(house.call(pay(1)).await.starts_with("unavailable"));
    assert!(house.journal.calls(Operation::Deliver) <= 2);
    house.journal.repair();
    assert_eq!(house.call(pay(1)).await, "ran pay");
    assert_eq!((house.approver.opened().len(), house.ran().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn results_are_kept_up_to_their_size() {
    for (size, kept) in [(RESULT_MAX, true), (RESULT_MAX + 1, false)] {
        let house = approving();
        let result = "x".repeat(size);
        drop(
            house.begin(pay(1)).await.unwrap().finish(Outcome::succeeded(result.clone().into_bytes())).await,
        );
        let told = house.begin(pay(1)).await.unwrap_err();
        assert_eq!(told == result, kept, "{told}");
        assert_eq!(told.starts_with("outcome_unknown"), !kept);
        assert_eq!(house.ran().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_tool_said_of_its_failure_is_collected_too() {
    let house = approving();
    let running = house.begin(pay(1)).await.unwrap();
    let rides = house.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(running.finish(Outcome::failed(*b"no such account")).await);
    assert_eq!(rides.await.unwrap(), "no such account");
    assert_eq!(house.again("two").call(pay(1)).await, "no such account");
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
}

/// Until it is known to be delivered, and then never again.
#[tokio::test(start_paused = true)]
async fn a_result_is_collected_until_it_is_delivered() {
    let house = approving();
    drop(house.begin(pay(1)).await.unwrap().finish(Outcome::succeeded(*b"kept")).await);
    for _ in 0..2 {
        assert_eq!(house.call(pay(1)).await, "kept");
    }
    let Ok(Admission::Replay(result, delivery)) = house.gate.admit(pay(1)).await else {
        panic!("nothing to collect");
    };
    assert_eq!((result.as_bytes(), house.ran().len()), (&b"kept"[..], 1));
    delivery.delivered().await;
    assert_eq!(house.call(pay(1)).await, "ran pay");
    assert_eq!((house.approver.opened().len(), house.ran().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_not_sent_is_asked_about_anew_and_its_riders_hear_what_it_heard() {
    let house = approving();
    let sent = house.begin(pay(1)).await.unwrap();
    let rides = house.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    sent.unsent(StoredResult::new(*b"the tool cannot be reached")).await;
    assert_eq!(rides.await.unwrap(), "the tool cannot be reached");
    assert_eq!(house.journal.states(), [HoldState::Void]);
    assert_eq!(house.call(pay(1)).await, "ran pay");
    assert_eq!(house.approver.opened().len(), 2);
    // If that cannot be written down, nobody knows it.
    let sent = house.begin(pay(2)).await.unwrap();
    house.journal.fail(Operation::Resolve, Fault::Refused);
    sent.unsent(StoredResult::new(*b"the tool cannot be reached")).await;
    house.journal.repair();
    assert!(house.call(pay(2)).await.starts_with("outcome_unknown"));
    assert_eq!((house.approver.opened().len(), house.ran().len()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_unknown_until_a_person_says() {
    use holdpoint_core::{Clock as _, Journal as _, Moved, Resolution, Step};
    for (resolution, told, opened) in
        [(Resolution::Ran, "outcome_unknown", 1), (Resolution::DidNotRun, "ran pay", 2)]
    {
        let house = approving();
        let running = house.begin(pay(1)).await.unwrap();
        let rides = house.spawn(pay(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        running.lose().await;
        assert!(rides.await.unwrap().starts_with("outcome_unknown"));
        assert_eq!(house.journal.states(), [HoldState::Unknown]);
        assert!(house.call(pay(1)).await.starts_with("outcome_unknown"));
        let id = house.journal.holds().remove(0).id;
        let moved = house.journal.advance(id, Step::Resolve(resolution), house.clock.now()).await.unwrap();
        assert_eq!(moved, Moved::Yes);
        assert!(house.call(pay(1)).await.starts_with(told));
        assert_eq!((house.approver.opened().len(), house.ran().len()), (opened, opened));
    }
}
