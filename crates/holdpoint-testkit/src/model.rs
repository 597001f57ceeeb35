//! A journal against a model of it: whatever two processes do on it, both find what the model says.

mod rows;
mod system;
mod tickets;

use std::marker::PhantomData;
use std::sync::Arc;

use holdpoint_core::{CallDigest, Ending, Owner, Ran, Resolution, Settled, Step, StoredResult};
use holdpoint_store::conformance::journal::Processes;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest as _};

use rows::{Outcome, Rows};
use system::JournalTest;
use tickets::TicketAction;

/// Small numbers of everything, so that things meet.
const CALLS: u8 = 3;
const THREADS: u8 = 3;
const REVISIONS: u32 = 3;
const EFFECTS: u8 = 2;
const LATEST: usize = 4;
const TRANSITIONS_MAX: usize = 50;

/// Plays `cases` random histories, each on an empty journal that `P` makes, and shrinks what fails.
///
/// # Panics
/// Where a journal does what the model does not.
#[expect(clippy::panic, reason = "a history that differs fails the test")]
pub fn check_journal<P: Processes + Default + 'static>(cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let histories = Model::<P>::sequential_strategy(1..TRANSITIONS_MAX);
    let played = TestRunner::new(config.clone()).run(&histories, |(initial, transitions, seen)| {
        JournalTest::<P>::test_sequential(config.clone(), initial, transitions, seen);
        Ok(())
    });
    if let Err(failure) = played {
        panic!("{failure}");
    }
}

#[derive(Clone, Debug)]
struct Transition {
    /// Which of the two.
    process: usize,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Open {
        call: u8,
        thread: u8,
        revision: u32,
        effect: Option<u8>,
    },
    /// Of the hold that is so many before the latest.
    Advance {
        back: usize,
        step: Step,
    },
    TakeEffect {
        call: u8,
        effect: u8,
    },
    /// Of the effect that is so many before the latest.
    Settle {
        back: usize,
        settled: Settled,
    },
    Ticket(TicketAction),
    /// The process ends, and another one takes its place.
    Restart,
}

#[derive(Clone, Debug, Default)]
struct State {
    rows: Rows,
    /// As they were before the latest transition.
    before: Rows,
    /// What the latest transition was answered.
    outcome: Outcome,
}

#[derive(Debug)]
struct Model<P>(PhantomData<P>);

impl<P: Processes + 'static> ReferenceStateMachine for Model<P> {
    type State = State;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<State> {
        Just(State::default()).boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Transition> {
        let action = match promising(&state.rows) {
            none if none.is_empty() => action().boxed(),
            some => prop_oneof![3 => prop::sample::select(some), 2 => action()].boxed(),
        };
        (0_usize..2, action).prop_map(|(process, action)| Transition { process, action }).boxed()
    }

    fn apply(mut state: State, transition: &Transition) -> State {
        state.before = state.rows.clone();
        state.outcome = state.rows.apply(&transition.action);
        state
    }
}

/// What may well be possible; left to chance alone, histories hardly get anywhere.
fn promising(rows: &Rows) -> Vec<Action> {
    let owner = || Owner("a".into());
    let end = |ending| Step::End { ending, words: None };
    let finish = |ran| Step::Finish { result: Some(StoredResult::new(&b"1"[..])), ran };
    let steps = [
        Step::Claim { owner: owner(), stale_before: at(0) },
        Step::Dispatch { owner: owner() },
        Step::Dispatch { owner: owner() },
        finish(Ran::Succeeded),
        finish(Ran::Failed),
        Step::Lose,
        end(Ending::Cancelled),
        end(Ending::ChangesRequested),
        Step::Deliver,
        Step::TakeUp { digest: digest(0) },
        Step::Resolve(Resolution::Ran),
        Step::Resolve(Resolution::DidNotRun),
    ];
    let mut promising = Vec::new();
    for (back, hold) in rows.holds.iter().rev().take(LATEST).enumerate() {
        let fits = steps.iter().filter(|step| step.from().contains(&hold.state));
        promising.extend(fits.map(|step| Action::Advance { back, step: step.clone() }));
    }
    for (back, effect) in rows.effects.iter().rev().take(LATEST).enumerate() {
        let fits = [Settled::Done, Settled::Unknown, Settled::Void]
            .into_iter()
            .filter(|settled| settled.from().contains(&effect.state));
        promising.extend(fits.map(|settled| Action::Settle { back, settled }));
    }
    promising.extend(rows.promising_for_tickets().into_iter().map(Action::Ticket));
    promising
}

fn action() -> impl Strategy<Value = Action> {
    let effect = prop::option::of(0..EFFECTS);
    let settled = prop::sample::select(vec![Settled::Done, Settled::Unknown, Settled::Void]);
    prop_oneof![
        10 => (0..CALLS, 0..THREADS, 0..REVISIONS, effect)
            .prop_map(|(call, thread, revision, effect)| Action::Open { call, thread, revision, effect }),
        12 => (0..LATEST, step()).prop_map(|(back, step)| Action::Advance { back, step }),
        1 => (0..CALLS, 0..EFFECTS).prop_map(|(call, effect)| Action::TakeEffect { call, effect }),
        2 => (0..LATEST, settled).prop_map(|(back, settled)| Action::Settle { back, settled }),
        4 => tickets::actions().prop_map(Action::Ticket),
        1 => Just(Action::Restart),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let owners = || prop::sample::select(vec!["a", "b"]).prop_map(|name| Owner(name.into()));
    let result = prop::option::of(Just(StoredResult::new(&b"1"[..])));
    let ran = prop::sample::select(vec![Ran::Succeeded, Ran::Failed]);
    let ending = prop_oneof![
        4 => Just(Ending::ChangesRequested),
        1 => Just(Ending::Cancelled),
        1 => prop::sample::select(vec![Ending::Rejected, Ending::Expired, Ending::Void]),
    ];
    let words = prop::option::of(Just(Arc::<str>::from("no")));
    prop_oneof![
        5 => (owners(), 0_i64..40).prop_map(|(owner, stale)| Step::Claim { owner, stale_before: at(stale) }),
        5 => owners().prop_map(|owner| Step::Dispatch { owner }),
        3 => (result, ran).prop_map(|(result, ran)| Step::Finish { result, ran }),
        1 => Just(Step::Lose),
        2 => (ending, words).prop_map(|(ending, words)| Step::End { ending, words }),
        2 => Just(Step::Deliver),
        2 => (0..CALLS).prop_map(|call| Step::TakeUp { digest: digest(call) }),
        1 => prop::sample::select(vec![Resolution::Ran, Resolution::DidNotRun]).prop_map(Step::Resolve),
    ]
}

fn at(seconds: i64) -> Timestamp {
    let start = Timestamp::from_second(1_800_000_000).expect("an instant");
    start.checked_add(SignedDuration::from_secs(seconds)).expect("an instant")
}

fn digest(call: u8) -> CallDigest {
    CallDigest::from_bytes([call; 32])
}
