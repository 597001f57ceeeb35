//! One name, at most one run: whoever calls, with whatever arguments, through whatever door.

use crate::house::{House, PATIENCE, ScriptedProbe, asking, mark, refund};
use holdpoint_core::{
    Caller, EffectState, HoldState, Interest, Outcome, Principal, Settled, Tokens, ToolCall,
};
use holdpoint_testkit::{Fault, Operation, SubmitScript, Verdict};
use std::time::Duration;

const RACERS: u32 = 64;

fn said_once(told: &[String]) {
    let ran = told.iter().filter(|told| told.starts_with("ran")).count();
    assert_eq!(ran, 1, "{told:?}");
    for told in told.iter().filter(|told| !told.starts_with("ran")) {
        let known = told.starts_with("already_done") || told.starts_with("outcome_unknown");
        assert!(known && told.contains("refund:o1"), "{told}");
    }
}

/// Another caller, another tool, other arguments, another process; some that a person decides, some that Gate allows,
/// some that pass.
#[tokio::test(start_paused = true)]
async fn one_name_runs_once_over_all_callers_tools_arguments_and_processes() {
    let house = House::new();
    let neighbour = house.again("two");
    house.approver.decide_all(Verdict::Approve);
    for _ in 0..RACERS / 4 {
        house.approver.on_submit(SubmitScript::Allow);
        house.approver.on_submit(SubmitScript::Hold);
    }
    let calls: Vec<_> = (0..RACERS)
        .map(|racer| {
            let at = if racer % 2 == 0 { &house } else { &neighbour };
            let call = if racer % 4 < 2 { mark("o1") } else { refund("o1", racer) };
            at.spawn(ToolCall { principal: Principal::new(format!("caller-{}", racer % 8)), ..call })
        })
        .collect();
    let mut told = Vec::new();
    for call in calls {
        told.push(call.await.unwrap());
    }
    // Of those that a person decides, more may wait than there are places.
    told.retain(|told| !told.starts_with("busy"));
    said_once(&told);
    assert_eq!(house.ran().len(), 1);
    assert!(house.call(mark("o1")).await.starts_with("already_done"));
    assert!(house.call(refund("o1", 7)).await.starts_with("already_done"));
    assert_eq!(house.call(mark("o2")).await, "ran mark");
    assert_eq!(house.ran().len(), 2);
}

/// The loser of a race is told what came of the winner, not that something may be amiss.
#[tokio::test(start_paused = true)]
async fn who_comes_second_waits_a_moment_for_the_answer_of_the_first() {
    for (first, second) in
        [(mark("o1"), mark("o1")), (mark("o1"), refund("o1", 1)), (refund("o1", 1), mark("o1"))]
    {
        let house = House::new();
        house.approver.decide_all(Verdict::Approve);
        let running = house.begin(first).await.unwrap();
        let waits = house.spawn(second.clone());
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!waits.is_finished());
        running.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
        assert!(waits.await.unwrap().starts_with("already_done"));
        assert_eq!((house.approver.opened().len(), house.ran().len()), (house.journal.states().len(), 1));

        // But no longer than a moment.
        let house = House::new();
        house.approver.decide_all(Verdict::Approve);
        let running = house.begin(mark("o1")).await.unwrap();
        let started = tokio::time::Instant::now();
        let told = house.call(second).await;
        assert!(told.starts_with("outcome_unknown") && told.contains("refund:o1"), "{told}");
        assert!((Duration::from_millis(1900)..Duration::from_secs(3)).contains(&started.elapsed()));
        assert_eq!((house.approver.submitted().len(), house.ran().len()), (0, 1), "no reviewer is asked");
        running.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
    }
}

/// The time is counted, not read off a wall clock that somebody sets back.
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_does_not_make_the_moment_longer() {
    let house = House::new();
    let running = house.begin(mark("o1")).await.unwrap();
    let waits = house.spawn(mark("o1"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    house.clock.shift(jiff::SignedDuration::from_hours(-5));
    let told = tokio::time::timeout(Duration::from_secs(3), waits).await.unwrap().unwrap();
    assert!(told.starts_with("outcome_unknown"), "{told}");
    running.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
}

#[tokio::test(start_paused = true)]
async fn two_approved_calls_with_one_effect_run_once_and_both_holds_end() {
    for tokens in [Tokens::Required, Tokens::Off] {
        let house = House::with(tokens, None);
        let (first, second) = (house.spawn(refund("o1", 1)), house.spawn(refund("o1", 2)));
        house.approver.until_waiting(2).await;
        house.approver.decide_all(Verdict::Approve);
        let mut told = [first.await.unwrap(), second.await.unwrap()];
        told.sort();
        assert!(told[0].starts_with("already_done") && told[0].contains("refund:o1"), "{told:?}");
        assert_eq!((&*told[1], house.ran().len()), ("ran refund", 1));
        let states = house.journal.states();
        assert!(states.contains(&HoldState::Done) && states.contains(&HoldState::Void), "{states:?}");
        assert!(house.call(refund("o1", 2)).await.starts_with("already_done"));
        assert_eq!((house.approver.submitted().len(), house.ran().len()), (2, 1));
    }
}

/// The second is approved while the first runs, which says in the end that nothing was sent: the second may be asked
/// about again, and is not told that something happened.
#[tokio::test(start_paused = true)]
async fn an_effect_given_back_while_another_approved_call_wants_it() {
    let house = House::new();
    let second = house.spawn(refund("o1", 2));
    house.approver.until_waiting(1).await;
    house.approver.decide("THR-2", Verdict::Approve);
    let first = house.begin(refund("o1", 1)).await;
    assert!(first.is_ok());
    house.approver.decide("THR-1", Verdict::Approve);
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.unwrap().unsent(holdpoint_core::StoredResult::new(*b"nothing was sent")).await;
    let told = second.await.unwrap();
    assert!(told.starts_with("token_invalid"), "{told}");
    house.approver.decide_all(Verdict::Approve);
    assert_eq!(house.call(refund("o1", 2)).await, "ran refund");
    let states: Vec<_> = house.journal.runs().iter().map(|run| run.state).collect();
    assert_eq!(states, [EffectState::Void, EffectState::Done]);
}

#[tokio::test(start_paused = true)]
async fn what_the_tool_says_decides_what_the_name_is_good_for() {
    for call in [mark("o1"), refund("o1", 1)] {
        let house = House::new();
        house.approver.decide_all(Verdict::Approve);
        // Nothing was sent: free again.
        let sent = house.begin(call.clone()).await.unwrap();
        sent.unsent(holdpoint_core::StoredResult::new(*b"nothing was sent")).await;
        assert_eq!(house.journal.runs()[0].state, EffectState::Void);
        // It failed: it may have happened all the same.
        let sent = house.begin(call.clone()).await.unwrap();
        sent.finish(Outcome::failed(*b"no")).await.delivered().await;
        assert_eq!(house.journal.runs()[1].state, EffectState::Unknown);
        let told = house.call(call.clone()).await;
        assert!(told.starts_with("outcome_unknown") && told.contains("refund:o1"), "{told}");
        // A person says that it did not: free again.
        settle(&house, Settled::Void).await;
        let sent = house.begin(call.clone()).await.unwrap();
        sent.lose().await;
        assert_eq!(house.journal.runs()[2].state, EffectState::Unknown);
        assert!(house.call(call.clone()).await.starts_with("outcome_unknown"));
        // A person says that it did: never again.
        settle(&house, Settled::Done).await;
        for _ in 0..2 {
            let told = house.call(call.clone()).await;
            assert!(told.starts_with("already_done") && told.contains("refund:o1"), "{told}");
        }
        assert_eq!(house.ran().len(), 3);
    }
}

async fn settle(house: &House, settled: Settled) {
    use holdpoint_core::{Clock as _, Journal as _, Moved};
    let run = house.journal.runs().pop().unwrap();
    let moved = house.journal.settle(run.id, settled, house.clock.now()).await.unwrap();
    assert_eq!(moved, Moved::Yes);
}

/// Killed after it was taken and before anybody knows what came of it.
#[tokio::test(start_paused = true)]
async fn a_process_that_dies_with_an_effect_leaves_it_in_doubt() {
    for call in [mark("o1"), refund("o1", 1)] {
        let house = House::new();
        house.approver.decide_all(Verdict::Approve);
        drop(house.begin(call.clone()).await.unwrap());
        house.journal.bury("one");
        let after = house.again("two");
        for _ in 0..3 {
            assert!(after.call(call.clone()).await.starts_with("outcome_unknown"));
            assert!(after.call(mark("o1")).await.starts_with("outcome_unknown"));
            assert!(after.call(refund("o1", 9)).await.starts_with("outcome_unknown"));
        }
        assert_eq!(house.ran().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_lets_nothing_with_an_effect_run() {
    for fault in [Fault::Refused, Fault::ReplyLost] {
        for (operation, call) in [
            (Operation::Effect, mark("o1")),
            (Operation::TakeEffect, mark("o1")),
            (Operation::Effect, refund("o1", 1)),
            (Operation::Dispatch, refund("o1", 1)),
        ] {
            let house = House::new();
            house.approver.decide_all(Verdict::Approve);
            house.journal.fail(operation, fault);
            let told = house.call(call.clone()).await;
            assert!(told.starts_with("unavailable"), "{operation:?} {fault:?}: {told}");
            assert_eq!(house.ran().len(), 0);
            house.journal.repair();
            let told = house.call(call).await;
            // Taken, as far as anybody can tell, by a process that lives.
            let in_doubt =
                fault == Fault::ReplyLost && matches!(operation, Operation::TakeEffect | Operation::Dispatch);
            assert_eq!(told.starts_with("outcome_unknown"), in_doubt, "{operation:?} {fault:?}: {told}");
            assert_eq!(house.ran().len(), usize::from(!in_doubt));
        }
        // Who runs it cannot be told.
        let house = House::new();
        let running = house.begin(mark("o1")).await.unwrap();
        house.journal.fail(Operation::Liveness, fault);
        assert!(house.call(mark("o1")).await.starts_with("unavailable"));
        house.journal.repair();
        // The answer is recorded too late for the journal: nobody runs it again.
        house.journal.fail(Operation::Settle, Fault::Refused);
        running.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
        house.journal.repair();
        assert!(house.call(mark("o1")).await.starts_with("outcome_unknown"));
        assert_eq!(house.ran().len(), 1);
    }
}

/// Withdrawn while it waited for somebody else's run, which then turns out to have come to nothing.
#[tokio::test(start_paused = true)]
async fn a_call_that_passes_and_was_cancelled_while_it_waited_never_runs() {
    let house = House::new();
    let first = house.begin(mark("o1")).await.unwrap();
    let (handle, interest) = Interest::pair();
    let second = house.spawn_as(mark("o1"), Caller { interest, ..Caller::staying(PATIENCE) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    handle.cancel();
    first.unsent(holdpoint_core::StoredResult::new(*b"nothing was sent")).await;
    assert!(second.await.unwrap().starts_with("cancelled"));
    assert_eq!(house.journal.runs().len(), 1);
    assert_eq!(house.call(mark("o1")).await, "ran mark");
}

/// Nor does one whose arguments nobody read: the digest would not cover them.
#[tokio::test]
async fn a_call_whose_effect_cannot_be_named_does_not_pass() {
    let house = House::new();
    assert!(house.call(crate::house::call("mark", "{}")).await.starts_with("denied_by_config"));
    let arguments = || holdpoint_core::Arguments::unread(r#"{"order":"o1"}"#);
    for call in [mark("o1"), refund("o1", 1), crate::house::pay(1)] {
        let told = house.call(ToolCall { arguments: arguments(), ..call }).await;
        assert!(told.starts_with("denied_by_config") && told.contains("were not read"), "{told}");
    }
    assert_eq!((house.ran().len(), house.journal.runs().len()), (0, 0));
    assert!(house.approver.submitted().is_empty());
    let passes = ToolCall { arguments: arguments(), ..crate::house::call("balance", "{}") };
    assert_eq!(house.call(passes).await, "ran balance");
}

/// Other servers have effects of their own.
#[tokio::test(start_paused = true)]
async fn one_name_at_two_servers_is_two_effects() {
    let house = House::new();
    assert_eq!(house.call(mark("o1")).await, "ran mark");
    let elsewhere = ToolCall { server: holdpoint_core::ServerName::new("shop"), ..mark("o1") };
    assert_eq!(house.call(elsewhere.clone()).await, "ran mark");
    assert!(house.call(elsewhere).await.starts_with("already_done"));
    assert_eq!(house.ran().len(), 2);
}

/// A reviewer never sees a call that could not run, and hears of it when it can.
#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_a_call_whose_effect_was_had() {
    let house = House::new();
    assert_eq!(house.call(mark("o1")).await, "ran mark");
    let probe = ScriptedProbe::saying(Some("did not happen"));
    assert!(house.call_as(refund("o1", 1), asking(&probe)).await.starts_with("already_done"));
    assert_eq!((house.approver.submitted().len(), probe.asked()), (0, 0));
}

/// The result of a run that succeeded is still collected; the name is never free again.
#[tokio::test(start_paused = true)]
async fn a_result_that_nobody_got_is_handed_out_before_the_name_is_refused() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    let running = house.begin(refund("o1", 1)).await.unwrap();
    drop(running.finish(Outcome::succeeded(*b"refunded")).await);
    assert_eq!(house.begin(refund("o1", 1)).await.unwrap_err(), "refunded");
    // Too large to keep: then it is at least known that it happened.
    let running = house.begin(refund("o2", 1)).await.unwrap();
    drop(running.finish(Outcome::succeeded(vec![b'x'; crate::house::RESULT_MAX + 1])).await);
    let told = house.call(refund("o2", 1)).await;
    assert!(told.starts_with("already_done") && told.contains("refund:o2"), "{told}");
    assert_eq!(house.ran().len(), 2);
}
