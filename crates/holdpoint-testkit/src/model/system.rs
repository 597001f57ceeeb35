//! The journal under test, and how it is compared with the model.

use std::marker::PhantomData;
use std::sync::Arc;

use holdpoint_core::{
    EffectId, EffectKey, EffectRun, HeldCall, Hold, HoldId, Identity, Journal, Moved, NewEffect, NewHold,
    Opened, Owner, PolicyRevision, Principal, QuestionDigest, ServerName, Taken, TaskId, ThreadId, ToolName,
};
use holdpoint_store::conformance::journal::Processes;
use proptest_state_machine::StateMachineTest;
use tokio::runtime::{Builder, Runtime};

use super::rows::{ModelEffect, ModelHold, Outcome, Rows};
use super::{Action, CALLS, EFFECTS, Model, State, Transition, at, digest, tickets};

/// More than any history has.
const ALL: usize = 1000;

pub(super) struct JournalTest<P>(PhantomData<P>);

pub(super) struct System<P> {
    runtime: Runtime,
    inner: Inner<P>,
}

struct Inner<P> {
    processes: P,
    running: Vec<(Owner, Arc<dyn Journal>)>,
    started: usize,
    /// The journal's numbers, in the model's order.
    holds: Vec<HoldId>,
    effects: Vec<EffectId>,
}

impl<P: Processes + Default + 'static> StateMachineTest for JournalTest<P> {
    type SystemUnderTest = System<P>;
    type Reference = Model<P>;

    fn init_test(_: &State) -> System<P> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let mut inner =
            Inner { processes: P::default(), running: vec![], started: 0, holds: vec![], effects: vec![] };
        runtime.block_on(async {
            for process in 0..2 {
                inner.start(process).await;
            }
        });
        System { runtime, inner }
    }

    fn apply(mut system: System<P>, state: &State, transition: Transition) -> System<P> {
        let System { runtime, inner } = &mut system;
        runtime.block_on(async {
            let outcome = inner.play(state, &transition).await;
            assert_eq!(outcome, state.outcome, "{transition:?}");
            inner.compare(&state.rows).await;
        });
        system
    }

    fn teardown(system: System<P>, _: State) {
        let System { runtime, inner } = system;
        runtime.block_on(async {
            for (owner, _) in &inner.running {
                inner.processes.end(owner).await;
            }
        });
    }
}

impl<P: Processes> Inner<P> {
    async fn start(&mut self, process: usize) {
        self.started += 1;
        let owner = Owner(format!("process {}", self.started).into());
        let journal = self.processes.start(&owner).await;
        self.running.insert(process, (owner, journal));
    }

    async fn play(&mut self, state: &State, transition: &Transition) -> Outcome {
        let rows = &state.rows;
        let journal = Arc::clone(&self.running[transition.process].1);
        let now = at(rows.now);
        match &transition.action {
            Action::Open { call, thread, revision, effect } => {
                let new = new_hold(*call, *thread, *revision, *effect, rows.now);
                match journal.open(new).await.expect("an answer") {
                    Opened::Mine(hold) => {
                        self.holds.push(hold.id);
                        Outcome::Opened(self.holds.len() - 1)
                    }
                    Opened::Joined(hold) => Outcome::Joined(self.place_of_hold(hold.id)),
                    Opened::Spent => Outcome::Spent,
                }
            }
            Action::Advance { back, step } => {
                let Some(place) = self.holds.len().checked_sub(back + 1) else { return Outcome::Nothing };
                let moved = journal.advance(self.holds[place], step.clone(), now).await.expect("an answer");
                self.learn_effect(&*journal, rows).await;
                outcome(moved)
            }
            Action::TakeEffect { call, effect } => {
                let (owner, identity) = (Owner("a".into()), identity(*call));
                let new = NewEffect { key: key(*effect), identity, task: task(), owner, at: now };
                match journal.take_effect(new).await.expect("an answer") {
                    Taken::Mine(id) => {
                        self.effects.push(id);
                        Outcome::Mine(self.effects.len() - 1)
                    }
                    Taken::Theirs(run) => Outcome::Theirs(self.place_of_effect(run.id)),
                }
            }
            Action::Settle { back, settled } => {
                let Some(place) = self.effects.len().checked_sub(back + 1) else { return Outcome::Nothing };
                outcome(journal.settle(self.effects[place], *settled, now).await.expect("an answer"))
            }
            Action::Ticket(action) => {
                tickets::play(&*journal, rows, &state.before, &self.holds, action).await
            }
            Action::Restart => {
                let (owner, _) = self.running.remove(transition.process);
                self.processes.end(&owner).await;
                self.start(transition.process).await;
                Outcome::Nothing
            }
        }
    }

    /// A dispatch does not tell the number of the effect that it took.
    async fn learn_effect(&mut self, journal: &dyn Journal, rows: &Rows) {
        if let Some(taken) = rows.effects.get(self.effects.len()) {
            let run = journal.effect(&identity(0).server, &key(taken.name)).await.expect("an answer");
            self.effects.push(run.expect("the effect that the model has").id);
        }
    }

    async fn compare(&self, rows: &Rows) {
        for (_, journal) in &self.running {
            self.compare_finds(&**journal, rows).await;
            self.compare_lists(&**journal, rows).await;
            tickets::compare(&**journal, rows, &self.holds).await;
        }
        let (_, journal) = &self.running[0];
        for (id, hold) in self.holds.iter().zip(&rows.holds) {
            let held = journal.get(*id).await.expect("an answer").expect("a hold");
            assert_same_hold(&held, hold);
        }
    }

    async fn compare_finds(&self, journal: &dyn Journal, rows: &Rows) {
        for call in 0..CALLS {
            let found = journal.find(&identity(call), &task()).await.expect("an answer");
            let place = |held: &HeldCall| self.place_of_hold(held.id);
            assert_eq!(found.live.as_deref().map(place), rows.live_of(call), "live of {call}");
            assert_eq!(found.ended, rows.ended_of(call) as u64, "ended of {call}");
            assert_eq!(found.revises.as_deref().map(place), rows.revised_by(call), "revised by {call}");
            for held in found.live.iter().chain(&found.revises) {
                assert_same_hold(held, &rows.holds[place(held)]);
            }
        }
        for name in 0..EFFECTS {
            let run = journal.effect(&identity(0).server, &key(name)).await.expect("an answer");
            let place = run.map(|run| self.place_of_effect(run.id));
            assert_eq!(place, rows.had_by(name), "effect {name}");
        }
    }

    async fn compare_lists(&self, journal: &dyn Journal, rows: &Rows) {
        let places = |holds: Vec<HeldCall>| -> Vec<usize> {
            holds.iter().map(|held| self.place_of_hold(held.id)).collect()
        };
        let live: Vec<_> = (0..rows.holds.len()).filter(|place| rows.holds[*place].is_live()).collect();
        assert_eq!(places(journal.live(ALL).await.expect("an answer")), live, "live");
        let withdrawn = journal.withdrawn(at(0), ALL).await.expect("an answer");
        assert_eq!(places(withdrawn), rows.withdrawn(), "withdrawn");
        let runs = journal.effects(ALL).await.expect("an answer");
        let listed: Vec<_> = runs.iter().map(|run| self.place_of_effect(run.id)).collect();
        assert_eq!(listed, rows.listed_effects(), "effects");
        for (run, place) in runs.iter().zip(listed) {
            self.assert_same_effect(run, &rows.effects[place]);
        }
    }

    fn assert_same_effect(&self, run: &EffectRun, effect: &ModelEffect) {
        assert_eq!((run.state, &run.key), (effect.state, &key(effect.name)));
        assert_eq!(run.hold, effect.hold.map(|place| self.holds[place]));
        assert_eq!(run.changed_at, effect.changed_at, "{run:?}");
    }

    fn place_of_hold(&self, id: HoldId) -> usize {
        self.holds.iter().position(|known| *known == id).expect("a hold that was opened")
    }

    fn place_of_effect(&self, id: EffectId) -> usize {
        self.effects.iter().position(|known| *known == id).expect("an effect that was taken")
    }
}

fn assert_same_hold(held: &HeldCall, model: &ModelHold) {
    let new = new_hold(model.call, model.thread, model.revision, model.effect, 0);
    assert_eq!((&held.identity, &held.hold, &held.effect), (&new.identity, &new.hold, &new.effect));
    assert_eq!((held.state, &held.claim), (model.state, &model.claim), "{held:?}");
    assert_eq!((&held.result, held.delivered), (&model.result, model.delivered), "{held:?}");
    assert_eq!((&held.words, held.taken_up_by), (&model.words, model.taken_up_by), "{held:?}");
}

fn outcome(moved: Moved) -> Outcome {
    match moved {
        Moved::Yes => Outcome::Moved,
        Moved::No => Outcome::NotMoved,
    }
}

fn identity(call: u8) -> Identity {
    Identity {
        principal: Principal::new("ann"),
        server: ServerName::new("payments"),
        tool: ToolName::new("issue_refund"),
        digest: digest(call),
    }
}

fn task() -> TaskId {
    TaskId::new("task-1")
}

fn key(effect: u8) -> EffectKey {
    EffectKey::new(format!("refund {effect}"))
}

fn new_hold(call: u8, thread: u8, revision: u32, effect: Option<u8>, seconds: i64) -> NewHold {
    NewHold {
        identity: identity(call),
        hold: Hold {
            task: task(),
            thread: ThreadId::new(format!("THR-{thread}")),
            binding: "sha256:00 r1".to_owned(),
            review_url: None,
            revision,
        },
        arguments: None,
        definition: None,
        policy: PolicyRevision::new("p1"),
        question: QuestionDigest::from_bytes([8; 32]),
        effect: effect.map(key),
        at: at(seconds),
    }
}
