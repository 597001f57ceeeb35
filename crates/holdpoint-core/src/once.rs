//! Effects that have a name: free, had, or in doubt.

use crate::{
    Admission, Caller, Completion, Effect, EffectRun, EffectState, EntryName, Event, Facts, Gate, Grounds,
    Identity, Journal, Liveness, Moved, NewEffect, Rejection, Resolution, Resolver, Secrets, Settled, Taken,
    ToolCall, Unavailable, Verdict, What,
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How long to wait for a run that is under way: its answer says whether there is anything left to do.
const UNDER_WAY_MAX: SignedDuration = SignedDuration::from_secs(2);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);

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
        let until = self.now().saturating_add(UNDER_WAY_MAX).unwrap_or(Timestamp::MAX);
        while let Some(run) = self.look().await? {
            match run.state {
                EffectState::Void => return Ok(()),
                EffectState::Done => return Err(already_done(run)),
                EffectState::Taken if self.now() < until && self.is_under_way(&run).await? => {
                    self.gate.parts.clock.sleep(PAUSE).await;
                }
                EffectState::Taken | EffectState::Unknown => self.reconcile(run).await?,
            }
        }
        Ok(())
    }

    /// Takes the effect for a call without a hold; whoever wins runs.
    pub(crate) async fn take(&self, identity: Identity, grounds: &Grounds) -> Result<Completion, Rejection> {
        let parts = &self.gate.parts;
        let new = NewEffect {
            key: self.effect.key.clone(),
            identity,
            task: self.facts.task.clone(),
            owner: parts.owner.clone(),
            at: parts.clock.now(),
        };
        let id = match parts.journal.take_effect(new).await.map_err(|_| unrecordable())? {
            Taken::Mine(id) => id,
            Taken::Theirs(run) => return Err(in_doubt(run)),
        };
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

    /// Finds out by a read-only tool whether it happened. `Ok`: that is settled now, one way or the other.
    pub(crate) async fn reconcile(&self, run: EffectRun) -> Result<(), Rejection> {
        let (Some(reconcile), Some(probe)) = (&self.effect.reconcile, &self.caller.probe) else {
            return Err(in_doubt(run));
        };
        let settles = SignedDuration::try_from(reconcile.settles_within()).unwrap_or(SignedDuration::MAX);
        if self.now().duration_since(run.changed_at) < settles || self.is_under_way(&run).await? {
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

    async fn is_under_way(&self, run: &EffectRun) -> Result<bool, Rejection> {
        let alive = || async { self.gate.parts.journal.liveness(&run.owner).await };
        Ok(run.state == EffectState::Taken && alive().await.map_err(|_| unrecordable())? == Liveness::Alive)
    }

    fn now(&self) -> Timestamp {
        self.gate.parts.clock.now()
    }
}

fn already_done(run: EffectRun) -> Rejection {
    Rejection::AlreadyDone { effect: run.key, thread: run.thread }
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
