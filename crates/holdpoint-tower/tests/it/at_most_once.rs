//! One approval, at most one run: identical calls, restarts, neighbours, results that nobody got.

use crate::house::{House, PATIENCE, RESULT_MAX, call, layered, pay, slow_line};
use holdpoint_core::{
    Admission, Caller, DefinitionDigest, Definitions, HoldState, Interest, InterestHandle, Outcome, Refusal,
    ServerName, TaskId, Tokens, ToolCall, ToolName,
};
use holdpoint_testkit::{Fault, Operation, RedeemScript, SubmitScript, Verdict};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tower::{ServiceExt as _, service_fn, util::BoxCloneService};

#[tokio::test(start_paused = true)]
async fn identical_calls_at_once_share_one_hold_one_run_and_its_result() {
    let house = House::new();
    let calls: Vec<_> = (0..20).map(|_| house.spawn(pay(1))).collect();
    house.approver.until_submitted(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.approver.decide_all(Verdict::Approve);
    for call in calls {
        assert_eq!(call.await.unwrap(), "ran pay");
    }
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
}

/// Gate finds a repeated question again within one task only.
#[tokio::test(start_paused = true)]
async fn identical_calls_of_several_tasks_at_once_are_asked_about_once() {
    let house = House::new();
    let of = |task: u32| ToolCall { task: TaskId::new(format!("task-{task}")), ..pay(1) };
    let calls: Vec<_> = (0..20).map(|task| house.spawn(of(task))).collect();
    house.approver.until_waiting(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.approver.decide_all(Verdict::Approve);
    for call in calls {
        assert_eq!(call.await.unwrap(), "ran pay");
    }
    assert_eq!((house.approver.submitted().len(), house.ran().len()), (1, 1));
}

/// Every time anew: that one was asked about before must not open the door for all that follow.
#[tokio::test(start_paused = true)]
async fn identical_calls_are_asked_about_once_each_time_they_come() {
    let house = House::new();
    let (line, arrives) = slow_line(&house);
    let slow = house.neighbour_over(line);
    let of = |task: u32| ToolCall { task: TaskId::new(format!("task-{task}")), ..pay(1) };
    for round in 1..=3 {
        let calls: Vec<_> = (0..20).map(|task| slow.spawn(of(task))).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        arrives.notify_waiters();
        house.approver.until_waiting(1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(house.approver.submitted().len(), round, "one of them asked, the others followed");
        house.approver.decide(format!("THR-{round}"), Verdict::Reject(None));
        for call in calls {
            assert!(call.await.unwrap().starts_with("rejected"));
        }
        assert_eq!((house.approver.submitted().len(), house.ran().len()), (round, 0));
    }
}

/// What no person decides is asked about each time, also at once, and does not queue behind each other.
#[tokio::test(start_paused = true)]
async fn identical_calls_at_once_that_gate_allows_run_each() {
    let house = House::new();
    (0..20).for_each(|_| house.approver.on_submit(SubmitScript::Allow));
    let calls: Vec<_> = (0..20).map(|_| house.spawn(pay(1))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "ran pay");
    }
    assert_eq!((house.approver.submitted().len(), house.ran().len()), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_is_told_to_all_who_ride_along() {
    let house = House::new();
    let calls = [house.spawn(pay(1)), house.spawn(pay(1)), house.spawn(pay(1))];
    house.approver.until_waiting(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.approver.decide("THR-1", Verdict::Reject(None));
    for call in calls {
        assert!(call.await.unwrap().starts_with("rejected"));
    }
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn one_of_two_callers_that_cancels_does_not_take_the_other_down() {
    let house = House::new();
    let (handle, interest) = Interest::pair();
    let first = house.spawn_as(pay(1), Caller { interest, ..Caller::staying(PATIENCE) });
    house.approver.until_waiting(1).await;
    let second = house.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    handle.cancel();
    assert!(first.await.unwrap().starts_with("cancelled"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(second.await.unwrap(), "ran pay");
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn after_delivery_the_same_call_is_a_new_question() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    for run in 1..=3 {
        assert_eq!(house.call(pay(1)).await, "ran pay");
        assert_eq!((house.approver.opened().len(), house.ran().len()), (run, run));
    }
}

/// A client that has its answer may send the same call again before that is recorded. It means a new call.
#[tokio::test(start_paused = true)]
async fn a_call_that_comes_while_an_answer_is_on_its_way_is_a_new_question() {
    let house = House::new();
    let house = &house;
    let deliver = async |amount| {
        let Admission::Run(permitted) = house.gate.admit(pay(amount)).await.unwrap() else {
            panic!("nothing to collect");
        };
        let (_, _, completion) = permitted.into_parts();
        completion.finish(Outcome::succeeded(*b"ran pay")).await
    };
    house.approver.decide("THR-1", Verdict::Approve);
    let delivery = deliver(1).await;
    let second = house.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.approver.opened().len(), 1, "whether the answer gets there is open");
    delivery.delivered().await;
    house.approver.until_waiting(1).await;
    house.approver.decide("THR-2", Verdict::Reject(None));
    assert!(second.await.unwrap().starts_with("rejected"));

    // Lost on its way, or on its way for ever: then it is handed out, and nothing runs.
    house.approver.decide_all(Verdict::Approve);
    let lost = deliver(2).await;
    let collects = house.spawn(pay(2));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(lost);
    assert_eq!(collects.await.unwrap(), "ran pay");
    let stuck = deliver(3).await;
    assert_eq!(house.call(pay(3)).await, "ran pay");
    drop(stuck);
    assert_eq!((house.approver.opened().len(), house.ran().len()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_was_not_delivered_is_handed_out_and_nothing_runs_again() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    house.journal.fail(Operation::Deliver, Fault::Refused);
    assert_eq!(house.call(pay(1)).await, "ran pay");
    house.journal.repair();
    let after = house.again("two");
    assert_eq!(after.call(pay(1)).await, "ran pay");
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_nobody_came_back_for_is_not_handed_out_for_ever() {
    let house = House::new();
    house.approver.decide("THR-1", Verdict::Approve);
    house.journal.fail(Operation::Deliver, Fault::Refused);
    assert_eq!(house.call(pay(1)).await, "ran pay");
    house.journal.repair();
    house.clock.shift(jiff::SignedDuration::from_hours(25));
    let asked_anew = house.spawn(pay(1));
    house.approver.until_waiting(1).await;
    assert_eq!(house.ran().len(), 1, "a person decides about it anew");
    house.approver.decide("THR-2", Verdict::Approve);
    assert_eq!(asked_anew.await.unwrap(), "ran pay");
    assert_eq!((house.approver.opened().len(), house.ran().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_result_too_large_to_keep_is_said_to_be_lost_once_and_nothing_runs_again() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    house.journal.fail(Operation::Deliver, Fault::Refused);
    let large = || call("pay", &format!(r#"{{"size":{}}}"#, RESULT_MAX + 1));
    assert_eq!(house.call(large()).await.len(), RESULT_MAX + 1);
    house.journal.repair();
    assert!(house.call(large()).await.starts_with("outcome_unknown"));
    assert_eq!(house.ran().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_answer_is_lost_is_never_repeated_by_itself() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    let failing = BoxCloneService::new(service_fn(|_: holdpoint_core::ToolCall| {
        std::future::pending::<Result<String, Infallible>>()
    }));
    let lost = tokio::spawn(layered(&house.gate, failing, &house.runs).oneshot(pay(1).into()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    lost.abort();
    assert!(lost.await.unwrap_err().is_cancelled());
    assert!(house.call(pay(1)).await.starts_with("outcome_unknown"));
    house.journal.bury("one");
    assert!(house.again("two").call(pay(1)).await.starts_with("outcome_unknown"));
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 0));
    assert_eq!(house.journal.states(), [HoldState::Dispatched]);
}

/// The process that claimed the approval dies before the run: its successor waits until the claim is stale, redeems
/// anew, and runs once.
#[tokio::test(start_paused = true)]
async fn a_claim_whose_owner_died_is_taken_over() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    house.approver.on_redeem(RedeemScript::Hang);
    let dead = house.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    dead.abort();
    assert_eq!(house.journal.states(), [HoldState::Approved]);
    let after = house.again("two");
    let started = tokio::time::Instant::now();
    assert_eq!(after.call(pay(1)).await, "ran pay");
    assert!(started.elapsed() >= Duration::from_secs(28), "a live owner must get its time");
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
}

/// One that is known to be dead need not be waited for.
#[tokio::test(start_paused = true)]
async fn the_claim_of_a_process_that_is_gone_is_taken_over_at_once() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    house.approver.on_redeem(RedeemScript::Hang);
    let dead = house.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    dead.abort();
    house.journal.bury("one");
    let started = tokio::time::Instant::now();
    assert_eq!(house.again("two").call(pay(1)).await, "ran pay");
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
}

/// Another process is running it: its answer is worth waiting for, and nobody is told that the outcome is unknown.
#[tokio::test(start_paused = true)]
async fn a_run_of_a_neighbour_is_waited_for() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    let Admission::Run(permitted) = house.gate.admit(pay(1)).await.unwrap() else {
        panic!("nothing to collect");
    };
    let neighbour = house.again("two");
    let second = neighbour.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!second.is_finished());
    let (_, _, completion) = permitted.into_parts();
    let delivery = completion.finish(Outcome::succeeded(*b"ran by one")).await;
    assert_eq!(second.await.unwrap(), "ran by one");
    delivery.delivered().await;
    assert_eq!(house.journal.states(), [HoldState::Done]);
}

/// Two processes read the same approval, and the later reading revoked the token of the earlier one.
#[tokio::test(start_paused = true)]
async fn a_token_that_a_neighbour_revoked_is_replaced_once() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    house.approver.on_redeem(RedeemScript::Refuse(Refusal::Invalid));
    assert_eq!(house.call(pay(1)).await, "ran pay");
    assert_eq!((house.approver.redeemed().len(), house.ran().len()), (2, 1));
    (0..2).for_each(|_| house.approver.on_redeem(RedeemScript::Refuse(Refusal::Invalid)));
    assert!(house.call(pay(2)).await.starts_with("token_invalid"));
    assert_eq!((house.approver.redeemed().len(), house.ran().len()), (4, 1));
    // Used up or too old is no misunderstanding between neighbours.
    house.approver.on_redeem(RedeemScript::Refuse(Refusal::Used));
    assert!(house.call(pay(3)).await.starts_with("token_invalid"));
    assert_eq!((house.approver.redeemed().len(), house.ran().len()), (5, 1));
}

/// Reading the decision while the neighbour redeems would revoke the token in its hands.
#[tokio::test(start_paused = true)]
async fn nobody_reads_an_approval_that_a_neighbour_has_claimed() {
    let house = House::new();
    house.approver.decide_all(Verdict::Approve);
    house.approver.on_redeem(RedeemScript::Hang);
    let redeeming = house.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.journal.states(), [HoldState::Approved]);
    let waits = house.approver.waits();
    let neighbour = house.again("two");
    let waiting = neighbour.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(house.approver.waits(), waits);
    redeeming.abort();
    waiting.abort();
    assert_eq!(house.ran().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_processes_on_one_journal_run_it_once() {
    let house = House::new();
    let neighbour = house.again("two");
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(house.spawn(pay(1)));
        calls.push(neighbour.spawn(pay(1)));
    }
    house.approver.until_waiting(2).await;
    house.approver.decide_all(Verdict::Approve);
    for call in calls {
        let told = call.await.unwrap();
        // Who comes to look a moment later finds that it ran, and that the answer went to the other.
        assert!(told == "ran pay" || told.starts_with("already_done"), "{told}");
    }
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
}

/// Cancels when the definition is read again: after the approval, before the token is redeemed.
#[derive(Debug)]
struct CancelsAtTheLastMoment(InterestHandle, DefinitionDigest);

#[async_trait::async_trait]
impl Definitions for CancelsAtTheLastMoment {
    async fn current(&self, _: &ServerName, _: &ToolName) -> Option<DefinitionDigest> {
        self.0.cancel();
        Some(self.1)
    }
}

/// The token is used up by then, so the others ask anew. They did not cancel, and are not told that they did.
#[tokio::test(start_paused = true)]
async fn one_of_two_callers_that_cancels_at_the_last_moment_does_not_take_the_other_down() {
    let house = House::new();
    let definition = DefinitionDigest::from_bytes([1; 32]);
    let defined = || ToolCall { definition: Some(definition), ..pay(1) };
    let (handle, interest) = Interest::pair();
    let definitions = Arc::new(CancelsAtTheLastMoment(handle, definition));
    let caller = Caller { interest, definitions: Some(definitions), ..Caller::staying(PATIENCE) };
    let first = house.spawn_as(defined(), caller);
    house.approver.until_waiting(1).await;
    let second = house.spawn(defined());
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.approver.decide("THR-1", Verdict::Approve);
    assert!(first.await.unwrap().starts_with("cancelled"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.ran().len(), 0);
    house.approver.decide("THR-2", Verdict::Approve);
    assert_eq!(second.await.unwrap(), "ran pay");
    assert_eq!((house.approver.opened().len(), house.ran().len()), (2, 1));
}

/// While one process asks, another asks the same, runs it, and delivers: Gate answers the late question with the thread
/// that was approved for that run. Without tokens nothing at Gate says that the approval is spent.
#[tokio::test(start_paused = true)]
async fn a_thread_that_has_let_a_call_run_does_not_let_it_run_again() {
    let house = House::with(Tokens::Off, None);
    let (line, arrives) = slow_line(&house);
    let neighbour = house.neighbour_over(line);
    let late = neighbour.spawn(pay(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(house.call(pay(1)).await, "ran pay");
    arrives.notify_one();
    assert!(late.await.unwrap().starts_with("unavailable"));
    assert_eq!((house.approver.opened().len(), house.ran().len()), (1, 1));
    // Sent again it is a new question.
    house.approver.decide("THR-2", Verdict::Approve);
    assert_eq!(house.call(pay(1)).await, "ran pay");
    assert_eq!((house.approver.opened().len(), house.ran().len()), (2, 2));
}
