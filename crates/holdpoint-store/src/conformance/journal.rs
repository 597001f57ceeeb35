//! What every journal has to do, as tests any journal's own tests call.
//!
//! ```ignore
//! #[tokio::test(flavor = "multi_thread")]
//! async fn conformance() {
//!     holdpoint_store::conformance::journal::run(async || processes_on_an_empty_journal().await).await;
//! }
//! ```
//!
//! Each case gets an empty journal of its own and panics where the journal does not do what the port says.

mod effects;
mod holds;
mod operations;
mod races;
mod steps;
mod threads;
mod tickets;

use std::sync::Arc;

use async_trait::async_trait;
use holdpoint_core::{
    CallDigest, DefinitionDigest, EffectKey, Ending, HeldCall, Hold, HoldId, HoldState, Identity, Journal,
    Moved, NewEffect, NewHold, Opened, Owner, PolicyRevision, Principal, QuestionDigest, Ran, Resolution,
    ServerName, Step, StoredResult, TaskId, ThreadId, ToolName,
};
use jiff::{SignedDuration, Timestamp};

/// Processes that share one journal.
#[async_trait]
pub trait Processes: Send + Sync {
    /// A process of this name opens the journal.
    async fn start(&self, owner: &Owner) -> Arc<dyn Journal>;

    /// It ends. Its name is not used again.
    async fn end(&self, owner: &Owner);
}

/// Runs every case, each on a journal of its own that `make` makes.
pub async fn run<P: Processes>(make: impl AsyncFn() -> P) {
    macro_rules! cases {
        ($($case:path),* $(,)?) => {
            $(
                let processes = make().await;
                $case(&processes).await;
            )*
        };
    }
    cases![
        holds::a_hold_is_read_back_as_it_was_written,
        holds::what_may_be_missing_is_missing,
        holds::a_restart_forgets_nothing,
        holds::a_result_waits_for_its_caller_and_is_then_forgotten,
        holds::a_dead_owners_claim_is_taken_over_and_a_live_ones_is_not,
        holds::the_reviewers_words_are_kept,
        holds::withdrawn_holds_are_listed,
        holds::who_has_ended_is_gone,
        steps::only_the_steps_of_the_diagram_are_made,
        threads::a_revision_has_one_hold,
        threads::a_thread_has_one_live_hold,
        threads::another_proposal_is_found,
        threads::a_thread_is_taken_up_by_one_call,
        threads::the_latest_request_for_changes_counts,
        effects::an_effect_is_had_once,
        effects::a_hold_takes_its_effect_with_its_dispatch,
        effects::what_a_run_comes_to_settles_its_effect,
        effects::settling_an_effect_resolves_its_hold,
        effects::what_came_of_an_effect_stays,
        effects::effects_are_listed_by_what_a_person_has_to_do,
        tickets::a_ticket_is_read_back_by_its_principal_alone,
        tickets::a_ticket_needs_a_number_of_its_own_and_a_hold,
        tickets::only_the_steps_of_a_tickets_diagram_are_made,
        tickets::expired_tickets_are_forgotten,
        tickets::of_many_that_go_on_with_a_ticket_one_does,
        operations::an_operation_is_opened_once,
        operations::an_operation_changes_from_its_own_round_only,
        operations::only_what_has_an_owner_waits_or_runs,
        operations::an_operation_that_was_changed_is_there_as_it_is,
        operations::the_latest_operation_of_a_thread_or_task_is_found,
        operations::what_an_owner_left_is_found,
        operations::expired_operations_are_forgotten,
        operations::of_many_that_open_an_operation_one_does,
        operations::of_many_that_change_an_operation_one_does,
        races::of_many_that_open_claim_and_run_one_does,
        races::of_many_calls_for_one_thread_one_gets_it,
        races::of_many_that_take_an_effect_one_has_it,
        races::of_many_that_take_up_a_thread_one_revises,
        races::of_many_that_settle_and_resolve_one_does,
        races::what_another_process_wrote_is_found_at_once,
    ];
}

fn at(seconds: i64) -> Timestamp {
    super::start().checked_add(SignedDuration::from_secs(seconds)).expect("a valid instant")
}

fn owner(name: &str) -> Owner {
    Owner(Arc::from(name))
}

fn identity(which: u8) -> Identity {
    Identity {
        principal: Principal::new("ann"),
        server: ServerName::new("payments"),
        tool: ToolName::new("issue_refund"),
        digest: CallDigest::from_bytes([which; 32]),
    }
}

fn task() -> TaskId {
    TaskId::new("task-1")
}

fn key(name: &str) -> EffectKey {
    EffectKey::new(name)
}

/// For a call and a thread of their own.
fn new_hold(which: u8, seconds: i64) -> NewHold {
    NewHold {
        identity: identity(which),
        hold: Hold {
            task: task(),
            thread: ThreadId::new(format!("THR-{which}-{seconds}")),
            binding: "sha256:00 r1".to_owned(),
            review_url: Some("http://127.0.0.1/threads/1".to_owned()),
            revision: 0,
        },
        arguments: Some(Arc::from(r#"{"amount": 1.0, "note": "naïve \u0000 \"🦀\""}"#)),
        definition: Some(DefinitionDigest::from_bytes([9; 32])),
        policy: PolicyRevision::new("p1"),
        question: QuestionDigest::from_bytes([8; 32]),
        effect: None,
        at: at(seconds),
    }
}

/// Another call in a thread.
fn proposal(which: u8, thread: &str, revision: u32, seconds: i64) -> NewHold {
    let mut new = new_hold(which, seconds);
    (new.hold.thread, new.hold.revision) = (ThreadId::new(thread), revision);
    new
}

fn with_effect(which: u8, name: &str, seconds: i64) -> NewHold {
    NewHold { effect: Some(key(name)), ..new_hold(which, seconds) }
}

fn new_effect(which: u8, name: &str, seconds: i64) -> NewEffect {
    NewEffect {
        key: key(name),
        identity: identity(which),
        task: task(),
        owner: owner("one"),
        at: at(seconds),
    }
}

fn claim(name: &str) -> Step {
    Step::Claim { owner: owner(name), stale_before: at(-1000) }
}

fn dispatch(name: &str) -> Step {
    Step::Dispatch { owner: owner(name) }
}

fn finish(ran: Ran) -> Step {
    Step::Finish { result: Some(StoredResult::new(&b"42"[..])), ran }
}

fn end(ending: Ending) -> Step {
    Step::End { ending, words: None }
}

fn take_up(which: u8) -> Step {
    Step::TakeUp { digest: CallDigest::from_bytes([which; 32]) }
}

async fn opened(journal: &dyn Journal, new: NewHold) -> HeldCall {
    match journal.open(new).await.unwrap() {
        Opened::Mine(hold) => hold,
        Opened::Joined(hold) => panic!("joined {hold:?}"),
        Opened::Spent => panic!("the thread had a hold before"),
    }
}

/// Makes a step that has to be possible.
async fn step(journal: &dyn Journal, id: HoldId, step: Step, seconds: i64) {
    assert_eq!(journal.advance(id, step.clone(), at(seconds)).await.unwrap(), Moved::Yes, "{step:?}");
}

/// Tries a step that has to be refused.
async fn refused(journal: &dyn Journal, id: HoldId, step: Step, seconds: i64) {
    assert_eq!(journal.advance(id, step.clone(), at(seconds)).await.unwrap(), Moved::No, "{step:?}");
}

async fn got(journal: &dyn Journal, id: HoldId) -> HeldCall {
    journal.get(id).await.unwrap().expect("a hold")
}

#[track_caller]
fn same(one: &HeldCall, two: &HeldCall) {
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
}

/// The steps that lead from `pending` to `state`, the last of them.
fn way_to(state: HoldState) -> Vec<Step> {
    let (claimed, ran) = (claim("one"), dispatch("one"));
    match state {
        HoldState::Pending => vec![],
        HoldState::Approved => vec![claimed],
        HoldState::Dispatched => vec![claimed, ran],
        HoldState::Done => vec![claimed, ran, finish(Ran::Succeeded)],
        HoldState::Unknown => vec![claimed, ran, Step::Lose],
        HoldState::Rejected => vec![end(Ending::Rejected)],
        HoldState::Expired => vec![end(Ending::Expired)],
        HoldState::Cancelled => vec![end(Ending::Cancelled)],
        HoldState::ChangesRequested => vec![end(Ending::ChangesRequested)],
        HoldState::Void => vec![claimed, ran, Step::Lose, Step::Resolve(Resolution::DidNotRun)],
    }
}
