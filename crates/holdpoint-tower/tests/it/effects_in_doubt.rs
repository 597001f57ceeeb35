//! Whether an effect happened, found out by a read-only tool: when it is asked, and what its answer is good for.

use crate::house::{House, ScriptedProbe, asking, mark, refund};
use holdpoint_core::{Caller, EffectState, HoldState, Outcome, ToolCall};
use holdpoint_testkit::{Fault, Operation, Verdict};
use std::{sync::Arc, time::Duration};

const SETTLES: Duration = Duration::from_mins(5);

fn house() -> House {
    let house = House::new();
    house.policy.edit(|terms| terms.settles_within = Some(SETTLES));
    house.approver.decide_all(Verdict::Approve);
    house
}

/// A run whose answer is lost, and that had time to settle.
async fn lost(call: &ToolCall) -> House {
    let house = house();
    house.begin(call.clone()).await.unwrap().lose().await;
    tokio::time::sleep(SETTLES).await;
    house
}

fn calls() -> [ToolCall; 2] {
    [mark("o1"), refund("o1", 1)]
}

#[tokio::test(start_paused = true)]
async fn it_happened_so_it_is_done() {
    for call in calls() {
        let house = lost(&call).await;
        let probe = ScriptedProbe::saying(Some("happened"));
        for _ in 0..2 {
            let told = house.call_as(call.clone(), asking(&probe)).await;
            assert!(told.starts_with("already_done") && told.contains("refund:o1"), "{told}");
        }
        assert_eq!((probe.asked(), house.ran().len()), (1, 1));
        assert_eq!(house.journal.runs()[0].state, EffectState::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn it_did_not_happen_so_the_call_goes_its_way_anew() {
    for call in calls() {
        let house = lost(&call).await;
        let asked_before = house.approver.submitted().len();
        let probe = ScriptedProbe::saying(Some("did not happen"));
        assert!(house.call_as(call.clone(), asking(&probe)).await.starts_with("ran"));
        assert_eq!((probe.asked(), house.ran().len()), (1, 2));
        assert_eq!(house.approver.submitted().len(), asked_before * 2, "a person decides about it anew");
        let states: Vec<_> = house.journal.runs().iter().map(|run| run.state).collect();
        assert_eq!(states, [EffectState::Void, EffectState::Done]);
    }
}

/// Another call with the same effect finds out as well, and the hold that ran is resolved with it.
#[tokio::test(start_paused = true)]
async fn another_call_finds_out_for_the_one_that_ran() {
    for (answer, state) in [("happened", HoldState::Done), ("did not happen", HoldState::Void)] {
        let house = lost(&refund("o1", 1)).await;
        let probe = ScriptedProbe::saying(Some(answer));
        house.call_as(mark("o1"), asking(&probe)).await;
        assert_eq!((probe.asked(), house.journal.states()), (1, vec![state]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_stays_in_doubt() {
    for call in calls() {
        let house = lost(&call).await;
        for answer in [None, Some("perhaps")] {
            let probe = ScriptedProbe::saying(answer);
            assert!(house.call_as(call.clone(), asking(&probe)).await.starts_with("outcome_unknown"));
            assert_eq!(probe.asked(), 1);
        }
        // Nobody there to ask.
        assert!(house.call(call).await.starts_with("outcome_unknown"));
        assert_eq!((house.ran().len(), house.journal.runs()[0].state), (1, EffectState::Unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_before_a_run_has_settled() {
    for call in calls() {
        for failed in [true, false] {
            let house = house();
            let running = house.begin(call.clone()).await.unwrap();
            // However long it runs: that it is under way is not that it is lost.
            tokio::time::sleep(2 * SETTLES).await;
            if failed {
                running.finish(Outcome::failed(*b"no")).await.delivered().await;
            } else {
                running.lose().await;
            }
            tokio::time::sleep(SETTLES.saturating_sub(Duration::from_secs(10))).await;
            let probe = ScriptedProbe::saying(Some("did not happen"));
            assert!(house.call_as(call.clone(), asking(&probe)).await.starts_with("outcome_unknown"));
            assert_eq!(probe.asked(), 0);
            tokio::time::sleep(Duration::from_secs(11)).await;
            assert!(house.call_as(call.clone(), asking(&probe)).await.starts_with("ran"));
            assert_eq!((probe.asked(), house.ran().len()), (1, 2));
        }
    }
}

/// A clock that was set back makes it later, never earlier.
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_makes_it_later() {
    let house = lost(&mark("o1")).await;
    house.clock.shift(jiff::SignedDuration::from_hours(-1));
    let probe = ScriptedProbe::saying(Some("did not happen"));
    assert!(house.call_as(mark("o1"), asking(&probe)).await.starts_with("outcome_unknown"));
    assert_eq!((probe.asked(), house.ran().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_while_it_is_under_way() {
    for call in calls() {
        let house = house();
        let running = house.begin(call.clone()).await.unwrap();
        tokio::time::sleep(10 * SETTLES).await;
        let neighbour = house.again("two");
        let probe = ScriptedProbe::saying(Some("did not happen"));
        for at in [&house, &neighbour] {
            assert!(at.call_as(mark("o1"), asking(&probe)).await.starts_with("outcome_unknown"));
            assert!(at.call_as(refund("o1", 2), asking(&probe)).await.starts_with("outcome_unknown"));
        }
        assert_eq!((probe.asked(), house.ran().len()), (0, 1));
        running.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
        assert_eq!(house.journal.runs()[0].state, EffectState::Done, "nobody gave it up meanwhile");
    }
}

/// A process that dies leaves the tool at work. What the tool says of it is final only a while after the death, not after
/// the run began: else a slow run is repeated while it goes on.
#[tokio::test(start_paused = true)]
async fn after_a_death_a_run_has_its_time_to_settle() {
    for call in calls() {
        let house = house();
        drop(house.begin(call.clone()).await.unwrap());
        tokio::time::sleep(2 * SETTLES).await;
        house.journal.bury("one");
        let after = house.again("two");
        let probe = ScriptedProbe::saying(Some("did not happen"));
        assert!(after.call_as(call.clone(), asking(&probe)).await.starts_with("outcome_unknown"));
        assert_eq!((probe.asked(), house.ran().len()), (0, 1));
        tokio::time::sleep(SETTLES).await;
        assert!(after.call_as(call.clone(), asking(&probe)).await.starts_with("ran"));
        assert_eq!((probe.asked(), house.ran().len()), (1, 2));
    }
}

/// The same where the process lives on and only the call died: nobody drives its hold any more.
#[tokio::test(start_paused = true)]
async fn a_run_of_ours_that_was_dropped_is_not_under_way() {
    let house = house();
    drop(house.begin(refund("o1", 1)).await.unwrap());
    let probe = ScriptedProbe::saying(Some("did not happen"));
    assert!(house.call_as(refund("o1", 1), asking(&probe)).await.starts_with("outcome_unknown"));
    tokio::time::sleep(SETTLES).await;
    assert_eq!(house.call_as(refund("o1", 1), asking(&probe)).await, "ran refund");
    assert_eq!((probe.asked(), house.ran().len()), (1, 2));
}

/// It answers after all, when others have given it up: its answer reaches its caller, and stays in doubt for the others.
#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_a_wrong_report_of_death() {
    for call in calls() {
        let house = house();
        let running = house.begin(call.clone()).await.unwrap();
        house.journal.bury("one");
        let after = house.again("two");
        let probe = ScriptedProbe::saying(Some("did not happen"));
        assert!(after.call_as(call.clone(), asking(&probe)).await.starts_with("outcome_unknown"));
        running.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
        let told = after.call_as(call.clone(), asking(&probe)).await;
        assert!(!told.starts_with("ran"), "{told}");
        assert_eq!((probe.asked(), house.ran().len()), (0, 1));
    }
}

/// A tool whose answer is final at once.
#[tokio::test(start_paused = true)]
async fn a_tool_may_need_no_time_to_settle() {
    for call in calls() {
        let house = house();
        house.policy.edit(|terms| terms.settles_within = Some(Duration::ZERO));
        drop(house.begin(call.clone()).await.unwrap());
        house.journal.bury("one");
        let probe = ScriptedProbe::saying(Some("did not happen"));
        assert!(house.again("two").call_as(call.clone(), asking(&probe)).await.starts_with("ran"));
        assert_eq!((probe.asked(), house.ran().len()), (1, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_found_out_and_cannot_be_written_down_lets_nothing_run() {
    for call in calls() {
        for answer in ["happened", "did not happen"] {
            let house = lost(&call).await;
            let probe = ScriptedProbe::saying(Some(answer));
            house.journal.fail(Operation::Settle, Fault::Refused);
            assert!(house.call_as(call.clone(), asking(&probe)).await.starts_with("unavailable"));
            house.journal.repair();
            house.recorder.fail("Resolved");
            assert!(house.call_as(call.clone(), asking(&probe)).await.starts_with("unavailable"));
            assert_eq!((house.ran().len(), house.journal.runs()[0].state), (1, EffectState::Unknown));
            // That a run is lost cannot be written down either.
            let house = house_with_a_dead_run(&call).await;
            house.journal.fail(Operation::Settle, Fault::Refused);
            house.journal.fail(Operation::Lose, Fault::Refused);
            let told = house.again("two").call_as(call.clone(), asking(&probe)).await;
            assert!(told.starts_with("unavailable"), "{told}");
            assert_eq!(house.journal.runs()[0].state, EffectState::Taken);
        }
    }
}

async fn house_with_a_dead_run(call: &ToolCall) -> House {
    let house = house();
    drop(house.begin(call.clone()).await.unwrap());
    house.journal.bury("one");
    house
}

/// Two find out at once: one of them settles it, and only one of them runs.
#[tokio::test(start_paused = true)]
async fn many_that_find_out_at_once_run_it_once_more() {
    for call in calls() {
        let house = lost(&call).await;
        let neighbour = house.again("two");
        let probe = ScriptedProbe::saying(Some("did not happen"));
        let calls: Vec<_> = (0..32)
            .map(|racer| {
                let at = if racer % 2 == 0 { &house } else { &neighbour };
                at.spawn_as(call.clone(), Caller { ..asking(&Arc::clone(&probe)) })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(house.ran().len(), 2);
    }
}
