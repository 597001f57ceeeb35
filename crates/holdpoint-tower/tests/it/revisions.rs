//! Another proposal, in the thread whose reviewer asked for one: whose it is, and what an approval of it is good for.

use crate::house::{House, PATIENCE, call, pay, slow_line};
use holdpoint_core::{
    Caller, Clock as _, Ending, HoldState, Interest, Journal as _, Moved, Owner, Principal, ServerName, Step,
    TaskId, Tokens, ToolCall, ToolName,
};
use holdpoint_testkit::{Fault, Operation, ReviseScript, Verdict};
use std::time::Duration;

const FEW_SECONDS: Duration = Duration::from_secs(5);

/// The reviewer of `THR-1` wants another proposal than `pay(1)`.
async fn changes_requested() -> House {
    changes_requested_with(Tokens::Required).await
}

async fn changes_requested_with(tokens: Tokens) -> House {
    let house = House::with(tokens, Some(FEW_SECONDS));
    house.approver.decide("THR-1", Verdict::RequestChanges(Some("half of it".into())));
    let told = house.call(pay(1)).await;
    assert!(told.starts_with("changes_requested") && told.contains("half of it"), "{told}");
    assert_eq!(house.journal.states(), [HoldState::ChangesRequested]);
    house
}

#[tokio::test(start_paused = true)]
async fn the_next_call_of_that_tool_in_that_task_revises_the_thread() {
    for next in [pay(2), pay(1)] {
        let house = changes_requested().await;
        let held = house.spawn(next.clone());
        house.approver.until_waiting(1).await;
        let revised = house.approver.revised();
        assert_eq!((revised.len(), revised[0].0.revision), (1, 0));
        assert_eq!(revised[0].1.repeat.digest, next.digest());
        house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 1 });
        assert_eq!(held.await.unwrap(), "ran pay");
        assert_eq!((house.approver.submitted().len(), house.approver.revised().len()), (1, 1));
        assert_eq!(house.ran(), [next.arguments.raw().unwrap().to_string()]);
        let holds = house.journal.holds();
        assert_eq!((holds[1].hold.revision, holds[1].hold.thread.as_str()), (1, "THR-1"));
        assert_eq!(house.journal.states(), [HoldState::ChangesRequested, HoldState::Done]);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_others_and_of_other_jobs_do_not() {
    for other in [
        ToolCall { task: TaskId::new("task-2"), ..pay(2) },
        ToolCall { tool: ToolName::new("transfer"), ..pay(2) },
        ToolCall { principal: Principal::new("somebody else"), ..pay(2) },
        ToolCall { server: ServerName::new("shop"), ..pay(2) },
    ] {
        let house = changes_requested().await;
        assert!(house.call(other).await.contains("THR-2"));
        assert_eq!((house.approver.submitted().len(), house.approver.revised().len()), (2, 0));
        assert!(house.call(pay(3)).await.contains("THR-1"), "the thread is still free");
    }
}

#[tokio::test(start_paused = true)]
async fn an_approval_runs_the_proposal_that_it_is_about_and_no_other() {
    for tokens in [Tokens::Required, Tokens::Off] {
        // Of the old one, read when the new one waits.
        let house = changes_requested_with(tokens).await;
        let held = house.spawn(pay(2));
        house.approver.until_waiting(1).await;
        house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 0 });
        assert!(held.await.unwrap().starts_with("mismatch"));
        assert!(house.call(pay(1)).await.starts_with("pending"), "nor does the old one run on it");
        assert_eq!((house.ran().len(), house.approver.redeemed().len()), (0, 0));

        // Of the new one, and then the old call comes again.
        let house = changes_requested_with(tokens).await;
        assert!(house.call(pay(2)).await.starts_with("pending"));
        house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 1 });
        let told = house.call(pay(1)).await;
        assert!(told.starts_with("pending") && told.contains("THR-2"), "{told}");
        assert_eq!(house.ran().len(), 0);
        assert_eq!(house.call(pay(2)).await, "ran pay");
        assert_eq!(house.ran(), [r#"{"amount":2}"#]);
    }
}

/// An approval that names another proposal of the same thread, by whatever mistake.
#[tokio::test(start_paused = true)]
async fn a_neighbour_that_still_waits_for_the_old_proposal_does_not_run_on_the_new_ones_approval() {
    for tokens in [Tokens::Required, Tokens::Off] {
        let house = House::with(tokens, None);
        let neighbour = house.again("two");
        let old = neighbour.spawn(pay(1));
        house.approver.until_waiting(1).await;
        // Its own process heard the wish first, and the agent has proposed something else by now.
        step_first(&house, Step::End { ending: Ending::ChangesRequested, words: None }).await;
        let new = house.spawn(pay(2));
        house.approver.until_waiting(2).await;
        // A Gate that names no proposals: both hear the same yes.
        house.approver.decide("THR-1", Verdict::Approve);
        assert!(old.await.unwrap().starts_with("changes_requested"));
        let told = new.await.unwrap();
        assert!(told == "ran pay" || told.starts_with("token_invalid"), "{told}");
        assert!(house.ran().iter().all(|ran| ran == r#"{"amount":2}"#));
    }
}

/// What another process does to the first hold.
async fn step_first(house: &House, step: Step) {
    let first = house.journal.holds().remove(0);
    assert_eq!(house.journal.advance(first.id, step, house.clock.now()).await.unwrap(), Moved::Yes);
}

/// One reads the wish, the other one the approval that came right after it, and runs. Nobody is told that the call did
/// not run.
#[tokio::test(start_paused = true)]
async fn a_wish_that_was_overtaken_by_an_approval_is_not_told() {
    for verdict in [Verdict::RequestChanges(None), Verdict::Reject(None), Verdict::OtherPayload] {
        let house = House::with(Tokens::Off, None);
        let held = house.spawn(pay(1));
        house.approver.until_waiting(1).await;
        let owner = Owner("two".into());
        let claim = Step::Claim { owner: owner.clone(), stale_before: house.clock.now() };
        for step in [claim, Step::Dispatch { owner }] {
            step_first(&house, step).await;
        }
        house.approver.decide("THR-1", verdict);
        tokio::time::sleep(FEW_SECONDS).await;
        assert!(!held.is_finished(), "the neighbour's answer is worth waiting for");
        house.journal.bury("two");
        assert!(held.await.unwrap().starts_with("outcome_unknown"));
        assert_eq!(house.ran().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn two_proposals_race_for_one_thread_and_one_revises_it() {
    for neighbours in [false, true] {
        let house = changes_requested().await;
        let neighbour = house.again("two");
        let at = if neighbours { &neighbour } else { &house };
        let calls = [house.spawn(pay(2)), at.spawn(pay(3))];
        house.approver.until_waiting(2).await;
        assert_eq!((house.approver.submitted().len(), house.approver.revised().len()), (2, 1));
        let (revised, _) = house.approver.revised().remove(0);
        assert_eq!(revised.thread.as_str(), "THR-1");
        house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 1 });
        house.approver.decide("THR-2", Verdict::Reject(None));
        let mut told = Vec::new();
        for call in calls {
            told.push(call.await.unwrap());
        }
        told.sort();
        assert!(told[0] == "ran pay" && told[1].starts_with("rejected"), "{told:?}");
        assert_eq!(house.ran().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_gate_says_to_another_proposal() {
    // The rules reject it: nothing is asked anew behind their back.
    let house = changes_requested().await;
    house.approver.on_revise(ReviseScript::Reject(Some("too much still".into())));
    let told = house.call(pay(2)).await;
    assert!(told.starts_with("rejected") && told.contains("too much still"), "{told}");
    assert_eq!((house.approver.submitted().len(), house.ran().len()), (1, 0));
    assert!(house.call(pay(3)).await.contains("THR-2"), "another proposal is asked about anew");

    // The thread is closed: a question of its own, at once.
    let house = changes_requested().await;
    house.approver.on_revise(ReviseScript::Closed);
    let told = house.call(pay(2)).await;
    assert!(told.starts_with("pending") && told.contains("THR-2"), "{told}");

    // No usable answer: the same call again tries again, with what makes it the same.
    for script in [ReviseScript::Fail, ReviseScript::ReplyLost] {
        let house = changes_requested().await;
        house.approver.on_revise(script);
        assert!(house.call(pay(2)).await.starts_with("unavailable"));
        assert!(house.call(pay(3)).await.contains("THR-2"), "the thread is the first one's");
        let told = house.call(pay(2)).await;
        assert!(told.starts_with("pending") && told.contains("THR-1"), "{told}");
        let revised = house.approver.revised();
        assert_eq!(revised.len(), 2);
        assert_eq!(revised[0].1.repeat, revised[1].1.repeat);
        assert_eq!(house.ran().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_can_be_followed_by_another() {
    let house = changes_requested().await;
    for revision in 1..=3_u32 {
        let held = house.spawn(pay(revision + 1));
        house.approver.until_waiting(1).await;
        house.approver.decide("THR-1", Verdict::RequestChanges(Some(format!("wish {revision}"))));
        assert!(held.await.unwrap().contains(&format!("wish {revision}")));
    }
    let last = house.spawn(pay(9));
    house.approver.until_waiting(1).await;
    house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 4 });
    assert_eq!(last.await.unwrap(), "ran pay");
    let revisions: Vec<_> = house.journal.holds().iter().map(|held| held.hold.revision).collect();
    assert_eq!((revisions, house.ran().len()), (vec![0, 1, 2, 3, 4], 1));
}

/// The same arguments, again and again: each of them is a proposal of its own.
#[tokio::test(start_paused = true)]
async fn the_same_proposal_again_runs_once_too() {
    let house = changes_requested().await;
    let again = house.spawn(pay(1));
    house.approver.until_waiting(1).await;
    house.approver.decide("THR-1", Verdict::RequestChanges(None));
    assert!(again.await.unwrap().starts_with("changes_requested"));
    let again = house.spawn(pay(1));
    house.approver.until_waiting(1).await;
    let repeats: Vec<_> = house.approver.revised().iter().map(|(_, asked)| asked.repeat.ended).collect();
    assert_eq!(repeats, [1, 2], "each is a request of its own");
    house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 2 });
    assert_eq!(again.await.unwrap(), "ran pay");
    assert_eq!(house.ran().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_between_changes_nothing() {
    // Between the wish and the next proposal.
    let house = changes_requested().await;
    house.journal.bury("one");
    let after = house.again("two");
    assert!(after.call(pay(2)).await.contains("THR-1"));
    // While it is made: its thread is still its own, and nobody else's.
    let house = changes_requested().await;
    house.approver.on_revise(ReviseScript::Hang);
    let dies = house.spawn(pay(2));
    tokio::time::sleep(FEW_SECONDS).await;
    dies.abort();
    house.journal.bury("one");
    let after = house.again("two");
    assert!(after.call(pay(3)).await.contains("THR-2"));
    assert!(after.call(pay(2)).await.contains("THR-1"));
    // And while it waits.
    after.journal.bury("two");
    house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 1 });
    assert_eq!(house.again("three").call(pay(2)).await, "ran pay");
    assert_eq!(house.ran(), [r#"{"amount":2}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_is_withdrawn_while_it_is_made_runs_for_nobody() {
    for script in [
        ReviseScript::Hold,
        ReviseScript::Reject(None),
        ReviseScript::Closed,
        ReviseScript::Fail,
        ReviseScript::ReplyLost,
    ] {
        let house = changes_requested_with(Tokens::Off).await;
        house.approver.on_revise(script.clone());
        let (handle, interest) = Interest::pair();
        handle.cancel();
        let caller = Caller { interest, ..Caller::staying(PATIENCE) };
        let told = house.call_as(pay(2), caller).await;
        assert!(told.starts_with("cancelled"), "{script:?}: {told}");
        assert_eq!(house.approver.submitted().len(), 1, "{script:?}: nothing more is asked for it");
        if let ReviseScript::Hold = script {
            assert_eq!(house.journal.states(), [HoldState::ChangesRequested, HoldState::Cancelled]);
            house.approver.decide("THR-1", Verdict::Approve);
            assert!(house.call(pay(2)).await.contains("THR-2"), "that approval is nobody's");
        }
        assert_eq!(house.ran().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_or_a_recorder_that_fails_refuses_another_proposal() {
    for operation in [Operation::TakeUp, Operation::Open] {
        for fault in [Fault::Refused, Fault::ReplyLost] {
            let house = changes_requested().await;
            house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 1 });
            house.journal.fail(operation, fault);
            assert!(house.call(pay(2)).await.starts_with("unavailable"), "{operation:?} {fault:?}");
            assert_eq!(house.ran().len(), 0);
            house.journal.repair();
            assert_eq!(house.call(pay(2)).await, "ran pay");
            assert_eq!((house.approver.submitted().len(), house.ran().len()), (1, 1));
        }
    }
    let house = changes_requested().await;
    house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 1 });
    house.recorder.fail("Held");
    assert!(house.call(pay(2)).await.starts_with("unavailable"));
    house.recorder.repair();
    assert_eq!(house.call(pay(2)).await, "ran pay");
    assert_eq!(house.ran().len(), 1);
}

/// Two processes make the same proposal; one of them is through with it before the other one's is in the journal.
#[tokio::test(start_paused = true)]
async fn a_proposal_that_has_run_does_not_run_again() {
    let house = changes_requested_with(Tokens::Off).await;
    let (line, arrives) = slow_line(&house);
    let neighbour = house.neighbour_over(line);
    let late = neighbour.spawn(pay(2));
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.approver.decide("THR-1", Verdict::ApproveProposal { revision: 1 });
    assert_eq!(house.call(pay(2)).await, "ran pay");
    house.approver.on_revise(ReviseScript::Hold);
    arrives.notify_one();
    assert!(late.await.unwrap().starts_with("unavailable"));
    assert_eq!(house.ran().len(), 1);
    let told = house.call(pay(2)).await;
    assert!(told.starts_with("pending") && told.contains("THR-2"), "{told}");
}

/// No proposal at all, and a tool without arguments.
#[tokio::test(start_paused = true)]
async fn a_call_without_arguments_is_bound_as_well() {
    let absent = ToolCall { arguments: holdpoint_core::Arguments::absent(), ..call("pay", "{}") };
    let house = House::with(Tokens::Required, Some(FEW_SECONDS));
    assert!(house.call(absent.clone()).await.contains("THR-1"));
    assert!(house.call(call("pay", "{}")).await.contains("THR-2"), "`{{}}` is another call");
    house.approver.decide_all(Verdict::Approve);
    assert_eq!(house.call(absent).await, "ran pay");
    assert_eq!(house.ran(), ["absent"]);
}
