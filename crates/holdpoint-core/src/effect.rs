//! What a call does in the world, by a name that the operator chose: at most once per name.
//!
//! ```text
//!           the tool answered        ┌─────────────► done
//! taken ──► it said it failed, or    │ happened
//!           its answer is lost ──► unknown ──► void (it did not happen: the name is free again)
//! ```

use crate::{
    CallDigest, EffectKey, HoldId, Identity, Owner, Principal, Resolution, ServerName, TaskId, ThreadId,
    ToolName,
};
use jiff::Timestamp;
use serde_json::{Value, value::RawValue};
use std::{fmt, sync::Arc, time::Duration};

/// What a call does in the world.
#[derive(Clone, Debug)]
pub struct Effect {
    /// Its name, made from the arguments; one name is one effect over all callers, tools and replicas of a server.
    pub key: EffectKey,
    /// How to find out whether it happened; `None`: only a person can.
    pub reconcile: Option<Arc<dyn Reconcile>>,
}

/// How to find out, by a read-only tool of the same server, whether an effect happened.
pub trait Reconcile: fmt::Debug + Send + Sync {
    /// What to ask.
    fn question(&self) -> Question;

    /// How long after a run was lost the tool's answer is final: a run may still be under way when its answer is lost.
    fn settles_within(&self) -> Duration;

    /// What the `result` of that call means.
    fn verdict(&self, result: &Value) -> Verdict;
}

/// A call of a read-only tool.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which tool.
    pub tool: ToolName,
    /// With what, a JSON object.
    pub arguments: Box<RawValue>,
}

/// What a read-only tool's answer says of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It happened.
    Happened,
    /// It did not.
    DidNotHappen,
    /// The answer does not tell.
    CannotTell,
}

/// The journal's own number of a run with an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EffectId(pub i64);

/// Where a run with an effect stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EffectState {
    /// The tool may have seen the call from here on.
    Taken,
    /// It happened.
    Done,
    /// It may have happened.
    Unknown,
    /// It did not happen; the name is free.
    Void,
}

impl EffectState {
    /// Every state, in the order of the diagram.
    pub const ALL: [Self; 4] = [Self::Taken, Self::Done, Self::Unknown, Self::Void];

    /// The word in the journal and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Done => "done",
            Self::Unknown => "unknown",
            Self::Void => "void",
        }
    }
}

/// One run with an effect, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectRun {
    /// The journal's number.
    pub id: EffectId,
    /// The effect's name.
    pub key: EffectKey,
    /// Where it stands.
    pub state: EffectState,
    /// Who called.
    pub principal: Principal,
    /// Whose tool.
    pub server: ServerName,
    /// Which tool.
    pub tool: ToolName,
    /// With what.
    pub digest: CallDigest,
    /// For which job.
    pub task: TaskId,
    /// The review; `None`: nobody was asked.
    pub thread: Option<ThreadId>,
    /// The hold it belongs to; `None`: nobody was asked.
    pub hold: Option<HoldId>,
    /// Which process ran it.
    pub owner: Owner,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
}

/// An effect that a call without a hold is about to have.
#[derive(Clone, Debug)]
pub struct NewEffect {
    /// The effect's name.
    pub key: EffectKey,
    /// Which call.
    pub identity: Identity,
    /// For which job.
    pub task: TaskId,
    /// Which process runs it.
    pub owner: Owner,
    /// When.
    pub at: Timestamp,
}

/// The answer to [`crate::Journal::take_effect`].
#[derive(Clone, Debug)]
#[must_use]
pub enum Taken {
    /// The call may run.
    Mine(EffectId),
    /// Another one ran, runs, or may have run.
    Theirs(EffectRun),
}

/// What came of a run with an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// `taken` or `unknown` → `done`.
    Done,
    /// `taken` → `unknown`.
    Unknown,
    /// `taken` or `unknown` → `void`.
    Void,
}

impl Settled {
    /// The states this may start from.
    #[must_use]
    pub const fn from(self) -> &'static [EffectState] {
        match self {
            Self::Done | Self::Void => &[EffectState::Taken, EffectState::Unknown],
            Self::Unknown => &[EffectState::Taken],
        }
    }

    /// The state it leads to.
    #[must_use]
    pub const fn to(self) -> EffectState {
        match self {
            Self::Done => EffectState::Done,
            Self::Unknown => EffectState::Unknown,
            Self::Void => EffectState::Void,
        }
    }
}

impl From<Resolution> for Settled {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Ran => Self::Done,
            Resolution::DidNotRun => Self::Void,
        }
    }
}
