//! Effects that have a name: free, had, or in doubt.

use crate::{
    Admission, Caller, Completion, Effect, EffectId, EffectRun, EffectState, EntryName, Event, Facts, Gate,
    Grounds, Identity, Journal, Liveness, Moved, NewEffect, Rejection, Resolution, Resolver, Secrets,
    Settled, Stance, Step, Taken, ToolCall, Unavailable, Verdict, What,
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How often to look at a run that is under way: its answer says whether there is anything left to do. Counted, so that
/// a wall clock that is set back does not make it longer.
const LOOKS_MAX: u32 = 40;
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);
/// How often to try to take an effect that others take and give back.
const TAKES_MAX: u32 = 3;

/// A call that nobody is asked about, with an effect.
pub(crate) async fn admit(
    gate: &Gate,
    call: ToolCall,
    entry: EntryName,
    effect: &Effect,
    caller: Caller,
) -> Result<Admission, Rejection> {
    let identity = Identity::from(&call);
    let policy = gate.parts.policy.revision();
    let facts = Facts::of(&call, identity.digest, policy, Some(effect.key.clone()), Secrets::default());
    let once = Once { gate, facts: &facts, effect, caller: &caller };
    once.free().await?;
    let grounds = Grounds::Passed(entry);
    let completion = once.take(identity.clone(), &grounds).await?;
    Ok(Admission::Run(gate.permit(call, Some(identity.digest), grounds, completion)))
}

/// One call's effect.
#[derive(Clone, Copy)]
pub(crate) struct Once<'a> {
    pub(crate) gate: &'a Gate,
    pub(crate) facts: &'a Facts,
    pub(crate) effect: &'a Effect,
    pub(crate) caller: &'a Caller,
}

impl Once<'_> {
    /// Whether the effect may be had. Before anybody is asked: a reviewer never sees a call that could not run.
    pub(crate) async fn free(&self) -> Result<(), Rejection> {
        for look in 1..=LOOKS_MAX {
            let Some(run) = self.look().await? else {
                return Ok(());
            };
            match run.state {
                EffectState::Void => return Ok(()),
                EffectState::Done => return Err(already_done(run)),
                EffectState::Taken if look < LOOKS_MAX && self.is_under_way(&run).await? => {
                    self.gate.parts.clock.sleep(PAUSE).await;
                }
                EffectState::Taken | EffectState::Unknown => self.reconcile(run).await?,
            }
        }
        Err(unrecordable())
    }

    /// Takes the effect for a call without a hold; whoever wins runs.
    pub(crate) async fn take(&self, identity: Identity, grounds: &Grounds) -> Result<Completion, Rejection> {
        let parts = &self.gate.parts;
        for _ in 0..TAKES_MAX {
            if self.caller.interest.stance() == Stance::Cancelled {
                return Err(Rejection::Cancelled { thread: None });
            }
            let new = NewEffect {
                key: self.effect.key.clone(),
                identity: identity.clone(),
                task: self.facts.task.clone(),
                owner: parts.owner.clone(),
                at: parts.clock.now(),
            };
            match parts.journal.take_effect(new).await.map_err(|_| unrecordable())? {
                Taken::Mine(id) => return self.taken(id, grounds).await,
                Taken::Theirs(_) => self.free().await?,
            }
        }
        Err(unrecordable())
    }

    async fn taken(&self, id: EffectId, grounds: &Grounds) -> Result<Completion, Rejection> {
        let parts = &self.gate.parts;
        let what = What::Dispatching { id: None, grounds };
        let recorded = parts.recorder.record(Event { at: parts.clock.now(), facts: self.facts, what }).await;
        if recorded.is_err() {
            // A write that fails leaves it taken: refused until somebody says that nothing ran.
            let _unchanged = parts.journal.settle(id, Settled::Void, parts.clock.now()).await;
            return Err(Rejection::Unavailable { what: Unavailable::Record, thread: None });
        }
        Ok(Completion::of_effect(self.gate, self.facts.clone(), id))
    }

    /// The run that stands in the way.
    pub(crate) async fn look(&self) -> Result<Option<EffectRun>, Rejection> {
        let journal: &dyn Journal = &*self.gate.parts.journal;
        journal.effect(&self.facts.server, &self.effect.key).await.map_err(|_| unrecordable())
    }

    /// Finds out by a read-only tool whether it happened. `Ok`: the run stands elsewhere now, look again.
    pub(crate) async fn reconcile(&self, run: EffectRun) -> Result<(), Rejection> {
        let (Some(reconcile), Some(probe)) = (&self.effect.reconcile, &self.caller.probe) else {
            return Err(in_doubt(run));
        };
        if self.is_under_way(&run).await? {
            return Err(in_doubt(run));
        }
        if run.state == EffectState::Taken {
            return self.lose(&run).await;
        }
        let settles = SignedDuration::try_from(reconcile.settles_within()).unwrap_or(SignedDuration::MAX);
        if self.now().duration_since(run.changed_at) < settles {
            return Err(in_doubt(run));
        }
        let question = reconcile.question();
        let tool = question.tool.clone();
        let Some(answer) = probe.ask(&self.facts.server, question).await else {
            return Err(in_doubt(run));
        };
        let (settled, resolution) = match reconcile.verdict(&answer) {
            Verdict::Happened => (Settled::Done, Resolution::Ran),
            Verdict::DidNotHappen => (Settled::Void, Resolution::DidNotRun),
            Verdict::CannotTell => return Err(in_doubt(run)),
        };
        self.told_by(&tool, &run, resolution).await?;
        match self.gate.parts.journal.settle(run.id, settled, self.now()).await {
            // `No`: somebody else settled it; the next look tells how.
            Ok(Moved::Yes | Moved::No) => Ok(()),
            Err(_) => Err(unrecordable()),
        }
    }

    async fn told_by(
        &self,
        tool: &crate::ToolName,
        run: &EffectRun,
        resolution: Resolution,
    ) -> Result<(), Rejection> {
        let what = What::Resolved { thread: run.thread.as_ref(), resolution, by: Resolver::Tool(tool) };
        let event = Event { at: self.now(), facts: self.facts, what };
        let recorded = self.gate.parts.recorder.record(event).await;
        recorded.map_err(|_| Rejection::Unavailable { what: Unavailable::Record, thread: run.thread.clone() })
    }

    /// Whoever ran it is gone, and nobody knows since when: the tool may still be at it. How long its answer takes to be
    /// final counts from now, not from when it began.
    async fn lose(&self, run: &EffectRun) -> Result<(), Rejection> {
        let journal = &self.gate.parts.journal;
        let lost = match run.hold {
            Some(hold) => journal.advance(hold, Step::Lose, self.now()).await,
            None => journal.settle(run.id, Settled::Unknown, self.now()).await,
        };
        match lost {
            // `No`: it came to something after all.
            Ok(Moved::Yes | Moved::No) => Ok(()),
            Err(_) => Err(unrecordable()),
        }
    }

    async fn is_under_way(&self, run: &EffectRun) -> Result<bool, Rejection> {
        let parts = &self.gate.parts;
        match (run.state, run.hold) {
            (EffectState::Done | EffectState::Unknown | EffectState::Void, _) => Ok(false),
            (EffectState::Taken, Some(hold)) if run.owner == parts.owner => {
                Ok(self.gate.flights.passenger(hold).is_some())
            }
            (EffectState::Taken, _) => {
                let liveness = parts.journal.liveness(&run.owner).await;
                Ok(liveness.map_err(|_| unrecordable())? == Liveness::Alive)
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.gate.parts.clock.now()
    }
}

fn already_done(run: EffectRun) -> Rejection {
    Rejection::AlreadyDone { effect: Some(run.key), thread: run.thread }
}

/// What to say of a call whose effect another one has, or may have.
pub(crate) fn in_doubt(run: EffectRun) -> Rejection {
    match run.state {
        EffectState::Done => already_done(run),
        EffectState::Taken | EffectState::Unknown | EffectState::Void => {
            Rejection::OutcomeUnknown { thread: run.thread, effect: Some(run.key) }
        }
    }
}

fn unrecordable() -> Rejection {
    Rejection::Unavailable { what: Unavailable::Journal, thread: None }
}
