//! Callers that go, one by one or all at once: the last one that withdraws takes the question with it.

use crate::house::{House, PATIENCE, pay};
use holdpoint_core::{Caller, HoldState, Interest, InterestHandle, Tokens};
use holdpoint_testkit::{Fault, Operation, RedeemScript, Verdict};
use std::time::Duration;
use tokio::task::JoinHandle;

const MOMENT: Duration = Duration::from_secs(1);

fn leaving(house: &House) -> (InterestHandle, JoinHandle<String>) {
    let (handle, interest) = Interest::pair();
    (handle, house.spawn_as(pay(1), Caller { interest, ..Caller::staying(PATIENCE) }))
}

/// The approval that comes later is nobody's: the next identical call is asked about anew.
async fn is_withdrawn(house: &House) {
    assert_eq!(house.journal.states(), [HoldState::Cancelled]);
    house.approver.decide("THR-1", Verdict::Approve);
    let next = house.spawn(pay(1));
    house.approver.until_submitted(2).await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!((house.ran().len(), house.approver.redeemed().len()), (0, 0));
    house.approver.decide("THR-2", Verdict::Approve);
    assert_eq!(next.await.unwrap(), "ran pay");
    assert_eq!(house.ran().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_that_wait_withdraw_at_once() {
    for riders_first in [false, true] {
        let house = House::with(Tokens::Off, None);
        let (driver, driving) = leaving(&house);
        house.approver.until_waiting(1).await;
        let riders = [leaving(&house), leaving(&house)];
        tokio::time::sleep(MOMENT).await;
        if !riders_first {
            driver.cancel();
        }
        for (handle, _) in &riders {
            handle.cancel();
        }
        driver.cancel();
        for call in riders.into_iter().map(|(_, call)| call).chain([driving]) {
            assert!(call.await.unwrap().starts_with("cancelled"));
        }
        is_withdrawn(&house).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_one_withdraws_before_it_could_take_over() {
    let house = House::with(Tokens::Off, None);
    let (driver, driving) = leaving(&house);
    house.approver.until_waiting(1).await;
    let (rider, riding) = leaving(&house);
    tokio::time::sleep(MOMENT).await;
    driver.gone();
    assert!(driving.await.unwrap().starts_with("pending"));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(house.journal.states(), [HoldState::Pending]);
    rider.cancel();
    assert!(riding.await.unwrap().starts_with("cancelled"));
    is_withdrawn(&house).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_rides_along_and_withdraws_leaves_the_others_alone() {
    let house = House::new();
    let driving = house.spawn(pay(1));
    house.approver.until_waiting(1).await;
    let (rider, riding) = leaving(&house);
    let stays = house.spawn(pay(1));
    tokio::time::sleep(MOMENT).await;
    rider.cancel();
    assert!(riding.await.unwrap().starts_with("cancelled"));
    assert_eq!(house.journal.states(), [HoldState::Pending]);
    house.approver.decide("THR-1", Verdict::Approve);
    for call in [driving, stays] {
        assert_eq!(call.await.unwrap(), "ran pay");
    }
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
}

/// What a neighbour has claimed is not this caller's to end.
#[tokio::test(start_paused = true)]
async fn one_that_waits_for_a_neighbour_and_leaves_does_not_stop_it() {
    for cancels in [true, false] {
        let house = House::new();
        house.approver.decide_all(Verdict::Approve);
        house.approver.on_redeem(RedeemScript::ValidAfter(Duration::from_secs(5)));
        let neighbour = house.again("two");
        let runs = neighbour.spawn(pay(1));
        tokio::time::sleep(MOMENT).await;
        assert_eq!(house.journal.states(), [HoldState::Approved]);
        let (handle, waits) = leaving(&house);
        tokio::time::sleep(MOMENT).await;
        if cancels {
            handle.cancel();
        } else {
            handle.gone();
        }
        let told = waits.await.unwrap();
        assert!(told.starts_with(if cancels { "cancelled" } else { "pending" }), "{told}");
        assert_eq!(runs.await.unwrap(), "ran pay");
        assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_while_the_same_is_asked_or_its_answer_is_on_its_way() {
    // Behind one that is being asked about.
    let house = House::new();
    let (line, _never_arrives) = crate::house::slow_line(&house);
    let slow = house.neighbour_over(line);
    let asks = slow.spawn(pay(1));
    tokio::time::sleep(MOMENT).await;
    let (handle, follows) = leaving(&slow);
    tokio::time::sleep(MOMENT).await;
    handle.cancel();
    assert!(follows.await.unwrap().starts_with("cancelled"));
    // Nor does it wait for ever.
    let impatient = Caller::staying(Duration::from_secs(5));
    assert!(slow.call_as(pay(1), impatient).await.starts_with("unavailable"));
    asks.abort();

    // Behind an answer that is being delivered.
    house.approver.decide_all(Verdict::Approve);
    let running = house.begin(pay(2)).await.unwrap();
    let on_its_way = running.finish(holdpoint_core::Outcome::succeeded(*b"ran")).await;
    let (handle, interest) = Interest::pair();
    let waits = house.spawn_as(pay(2), Caller { interest, ..Caller::staying(PATIENCE) });
    tokio::time::sleep(MOMENT).await;
    handle.cancel();
    assert!(waits.await.unwrap().starts_with("cancelled"));
    on_its_way.delivered().await;
    assert_eq!(house.ran().len(), 1);
}

/// Lost is not withdrawn, and a withdrawal is not undone by losing the connection after it.
#[tokio::test(start_paused = true)]
async fn what_was_withdrawn_stays_so() {
    let (handle, interest) = Interest::pair();
    handle.cancel();
    handle.gone();
    assert_eq!(interest.stance(), holdpoint_core::Stance::Cancelled);
    let (handle, interest) = Interest::pair();
    handle.gone();
    assert_eq!(interest.stance(), holdpoint_core::Stance::Gone);
    assert_eq!(Interest::always().stance(), holdpoint_core::Stance::Waiting);
    // A handle that is dropped says nothing.
    let house = House::new();
    let (handle, waits) = leaving(&house);
    house.approver.until_waiting(1).await;
    drop(handle);
    tokio::time::sleep(MOMENT).await;
    house.approver.decide_all(Verdict::Approve);
    assert_eq!(waits.await.unwrap(), "ran pay");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_cannot_be_written_down_is_told() {
    let house = House::new();
    let (handle, waits) = leaving(&house);
    house.approver.until_waiting(1).await;
    house.journal.fail(Operation::End, Fault::Refused);
    handle.cancel();
    assert!(waits.await.unwrap().starts_with("unavailable"));
    assert_eq!(house.ran().len(), 0);
}
