//! A process that is about to end: nobody is left without an answer, and nothing is lost.

use crate::house::{House, call, mark, pay};
use holdpoint_core::{HoldState, Outcome};
use holdpoint_testkit::Verdict;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_told_those_who_run_finish_and_the_next_process_goes_on() {
    let house = House::new();
    house.approver.decide("THR-1", Verdict::Approve);
    let running = house.begin(pay(0)).await.unwrap();
    let rides_on_the_run = house.spawn(pay(0));
    let held = [house.spawn(pay(1)), house.spawn(pay(2)), house.spawn(pay(3))];
    house.approver.until_waiting(3).await;
    let rides = house.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = tokio::time::Instant::now();
    house.gate.close();
    for waits in held.into_iter().chain([rides, rides_on_the_run]) {
        let told = waits.await.unwrap();
        assert!(told.starts_with("pending"), "{told}");
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(house.gate.held(), 0);
    for refused in [pay(4), call("balance", "{}"), mark("o1"), call("wipe", "{}")] {
        assert!(house.call(refused).await.starts_with("unavailable: The approval proxy is about to stop"));
    }
    running.finish(Outcome::succeeded(*b"ran zero")).await.delivered().await;
    assert_eq!(house.journal.states()[0], HoldState::Done);
    assert_eq!((house.ran().len(), house.approver.submitted().len()), (1, 4));

    house.journal.bury("one");
    let after = house.again("two");
    house.approver.decide_all(Verdict::Approve);
    for amount in 1..=3 {
        assert_eq!(after.call(pay(amount)).await, "ran pay");
    }
    assert_eq!((house.ran().len(), house.approver.submitted().len()), (4, 4), "joined, and run once");
}

/// What it waits for is moved by a neighbour.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_neighbour_is_told_too() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    let running = house.begin(pay(1)).await.unwrap();
    let neighbour = house.again("two");
    let waits = neighbour.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    neighbour.gate.close();
    assert!(waits.await.unwrap().starts_with("pending"));
    running.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
    assert_eq!(house.ran().len(), 1);
}

/// Closed before the wait began, while Gate was asked.
#[tokio::test(start_paused = true)]
async fn a_call_on_its_way_to_gate_is_written_down_and_told() {
    let house = House::new();
    let (line, arrives) = crate::house::slow_line(&house);
    let slow = house.neighbour_over(line);
    let asks = slow.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    slow.gate.close();
    arrives.notify_one();
    assert!(asks.await.unwrap().starts_with("pending"));
    assert_eq!(house.journal.states(), [HoldState::Pending]);
    house.approver.decide_all(Verdict::Approve);
    assert_eq!(house.call(pay(1)).await, "ran pay");
    assert_eq!((house.approver.submitted().len(), house.ran().len()), (1, 1));
}
