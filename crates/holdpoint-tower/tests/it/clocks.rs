//! Wall clocks that jump, and stand at their ends: nothing runs twice, nothing waits for ever, nothing panics.

use crate::house::{House, ScriptedProbe, asking, mark, pay, refund};
use holdpoint_core::{Caller, HoldState, Outcome};
use holdpoint_testkit::{RedeemScript, Verdict};
use jiff::SignedDuration;
use std::time::Duration;

const JUMPS: [SignedDuration; 4] = [
    SignedDuration::from_hours(-10_000),
    SignedDuration::from_hours(-1),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(10_000),
];

/// The claim seems old, or not made yet; whoever has it is at it all the same, and only one of them runs it.
#[tokio::test(start_paused = true)]
async fn a_claim_that_a_jump_makes_old_runs_once() {
    for jump in JUMPS {
        let house = House::new();
        house.approver.decide_all(Verdict::Approve);
        house.approver.on_redeem(RedeemScript::ValidAfter(Duration::from_secs(20)));
        let slow = house.spawn(pay(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(house.journal.states(), [HoldState::Approved]);
        house.clock.shift(jump);
        let started = tokio::time::Instant::now();
        let told = [house.again("two").call(pay(1)).await, slow.await.unwrap()];
        assert!(started.elapsed() < Duration::from_mins(1), "{jump}");
        assert_eq!(told[0], "ran pay", "{jump}");
        assert!(!told[1].starts_with("token_invalid"), "{jump}: {told:?}");
        assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1), "{jump}");
    }
}

/// A claim of this very moment, or of half a minute ago, is somebody's; a little older, or as much in the future, nobody's.
#[tokio::test(start_paused = true)]
async fn a_claim_has_half_a_minute() {
    for (jump, waits) in [(-28, true), (28, true), (-33, false), (33, false)] {
        let house = House::new();
        house.approver.decide_all(Verdict::Approve);
        house.approver.on_redeem(RedeemScript::Hang);
        let stuck = house.spawn(pay(1));
        tokio::time::sleep(Duration::from_millis(100)).await;
        stuck.abort();
        house.clock.shift(SignedDuration::from_secs(jump));
        let started = tokio::time::Instant::now();
        assert_eq!(house.again("two").call(pay(1)).await, "ran pay", "{jump}");
        assert_eq!(started.elapsed() > Duration::from_secs(1), waits, "{jump}");
        assert_eq!(house.ran().len(), 1, "{jump}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_jump_while_it_waits_or_runs_changes_nothing_for_the_run() {
    for jump in JUMPS {
        let house = House::new();
        let held = house.spawn(pay(1));
        house.approver.until_waiting(1).await;
        house.clock.shift(jump);
        house.approver.decide_all(Verdict::Approve);
        assert_eq!(held.await.unwrap(), "ran pay", "{jump}");

        let running = house.begin(refund("o1", 1)).await.unwrap();
        house.clock.shift(jump);
        running.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
        assert!(house.call(refund("o1", 1)).await.starts_with("already_done"), "{jump}");
        assert_eq!(house.ran().len(), 2, "{jump}");
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_at_their_ends() {
    for end in [SignedDuration::MIN, SignedDuration::MAX] {
        let house = House::new();
        house.clock.shift(end);
        if end.is_positive() {
            // There must be some time left to wait in.
            house.clock.shift(SignedDuration::from_hours(-1));
        }
        house.policy.edit(|terms| terms.settles_within = Some(Duration::MAX));
        house.approver.decide_all(Verdict::Approve);
        house.approver.on_redeem(RedeemScript::Hang);
        let stuck = house.spawn(pay(1));
        tokio::time::sleep(Duration::from_millis(100)).await;
        stuck.abort();
        house.journal.bury("one");
        let after = house.again("two");
        assert_eq!(after.call(pay(1)).await, "ran pay");
        assert_eq!(after.call(mark("o1")).await, "ran mark");
        after.begin(refund("o2", 1)).await.unwrap().lose().await;
        let probe = ScriptedProbe::saying(Some("did not happen"));
        assert!(after.call_as(refund("o2", 1), asking(&probe)).await.starts_with("outcome_unknown"));
        assert_eq!((probe.asked(), house.ran().len()), (0, 3), "it never settles");
    }
}

#[tokio::test(start_paused = true)]
async fn patience_without_end() {
    for of_the_entry in [true, false] {
        let house = House::new();
        house.policy.edit(|terms| terms.patience = of_the_entry.then_some(Duration::MAX));
        let held = house.spawn_as(pay(1), Caller::staying(Duration::MAX));
        tokio::time::sleep(Duration::from_hours(1000)).await;
        assert!(!held.is_finished());
        house.approver.decide_all(Verdict::Approve);
        assert_eq!(held.await.unwrap(), "ran pay");
    }
}
