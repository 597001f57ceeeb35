//! The port to the durable record of holds.
//!
//! ```text
//!            claim             dispatch              finish
//! pending ─────────► approved ──────────► dispatched ───────► done
//!    │                  │                     │ lost
//!    │ end              │ end                 ▼       resolve
//!    ▼                  ▼                  unknown ──────────► done | void
//! rejected · expired · cancelled · changes_requested · void
//! ```
//!
//! A row is written only once Gate said that a person must decide, so the first state is `pending`. Each step is one
//! conditional write; its row count is the answer, and losing is an answer too.
//!
//! A hold with an effect takes it in the write that makes it `dispatched`, or is not dispatched; whatever its run then
//! comes to settles the effect in the same write.

use crate::{
    CallDigest, DefinitionDigest, EffectId, EffectKey, EffectRun, Hold, NewEffect, OperationBook,
    PolicyRevision, Principal, QuestionDigest, Ran, ServerName, Settled, Taken, TaskId, TicketBook, ToolCall,
    ToolName,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{fmt, sync::Arc};

/// Which holds are about the same call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Who calls.
    pub principal: Principal,
    /// Whose tool.
    pub server: ServerName,
    /// Which tool.
    pub tool: ToolName,
    /// With what.
    pub digest: CallDigest,
}

impl From<&ToolCall> for Identity {
    fn from(call: &ToolCall) -> Self {
        Self {
            principal: call.principal.clone(),
            server: call.server.clone(),
            tool: call.tool.clone(),
            digest: call.digest(),
        }
    }
}

/// The journal's own number of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldId(pub i64);

/// One run of one process; random, so that a restart is somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(pub Arc<str>);

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldState {
    /// A person has to decide.
    Pending,
    /// Approved, and one process has claimed the right to redeem the token and to run.
    Approved,
    /// The tool may have seen the call from here on.
    Dispatched,
    /// The tool answered.
    Done,
    /// The tool may have run; its answer is lost. Only a person resolves this.
    Unknown,
    /// A reviewer, or Gate, said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// The caller withdrew it.
    Cancelled,
    /// The reviewer wants another proposal.
    ChangesRequested,
    /// Approved, but the approval did not hold up; nothing ran.
    Void,
}

impl HoldState {
    /// Every state, in the order of the diagram.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Approved,
        Self::Dispatched,
        Self::Done,
        Self::Unknown,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::ChangesRequested,
        Self::Void,
    ];

    /// The word in the journal and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Dispatched => "dispatched",
            Self::Done => "done",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::ChangesRequested => "changes_requested",
            Self::Void => "void",
        }
    }
}

/// How a hold ended without a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// See [`HoldState::Rejected`].
    Rejected,
    /// See [`HoldState::Expired`].
    Expired,
    /// See [`HoldState::Cancelled`].
    Cancelled,
    /// See [`HoldState::ChangesRequested`].
    ChangesRequested,
    /// See [`HoldState::Void`].
    Void,
}

/// What a person found out about a run whose outcome was unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The tool ran: the hold is `done`, without a result.
    Ran,
    /// The tool did not run: the hold is `void`; the same call is asked about anew.
    DidNotRun,
}

/// One step of a hold. [`Self::from`] and [`Self::to`] are the whole state machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `pending` → `approved`: takes the right to redeem and run. Also takes over an `approved` hold whose claim is
    /// older than `stale_before`: its owner died between claim and run, and nothing ran.
    Claim {
        /// Who claims.
        owner: Owner,
        /// Claims older than this are dead.
        stale_before: Timestamp,
    },
    /// `approved` → `dispatched`, only by the owner of the claim, and only if the hold's effect, where it has one, is
    /// free; takes the effect. Durable before the tool sees a byte.
    Dispatch {
        /// Who claimed.
        owner: Owner,
    },
    /// `dispatched` → `done`, with the result unless it was too large to keep. The effect is `done` if the tool
    /// succeeded, else `unknown`.
    Finish {
        /// For the caller that comes back.
        result: Option<StoredResult>,
        /// What the tool said of itself.
        ran: Ran,
    },
    /// `dispatched` → `unknown`, and the effect with it.
    Lose,
    /// `pending` or `approved` → the ending.
    End {
        /// Which.
        ending: Ending,
        /// The reviewer's words.
        words: Option<Arc<str>>,
    },
    /// `done`, undelivered → delivered; the kept result may be forgotten.
    Deliver,
    /// `changes_requested` stays so, and is taken up by the call that revises its thread. A second time only by the
    /// same call.
    TakeUp {
        /// Which call.
        digest: CallDigest,
    },
    /// `dispatched` or `unknown` → what a person says. The effect is `done` or `void`.
    Resolve(Resolution),
}

impl Step {
    /// The states this step may start from.
    #[must_use]
    pub const fn from(&self) -> &'static [HoldState] {
        match self {
            Self::Claim { .. } | Self::End { .. } => &[HoldState::Pending, HoldState::Approved],
            Self::TakeUp { .. } => &[HoldState::ChangesRequested],
            Self::Dispatch { .. } => &[HoldState::Approved],
            Self::Finish { .. } | Self::Lose => &[HoldState::Dispatched],
            Self::Deliver => &[HoldState::Done],
            Self::Resolve(_) => &[HoldState::Dispatched, HoldState::Unknown],
        }
    }

    /// The state it leads to.
    #[must_use]
    pub const fn to(&self) -> HoldState {
        match self {
            Self::Claim { .. } => HoldState::Approved,
            Self::Dispatch { .. } => HoldState::Dispatched,
            Self::Finish { .. } | Self::Deliver | Self::Resolve(Resolution::Ran) => HoldState::Done,
            Self::Lose => HoldState::Unknown,
            Self::End { ending: Ending::Rejected, .. } => HoldState::Rejected,
            Self::End { ending: Ending::Expired, .. } => HoldState::Expired,
            Self::End { ending: Ending::Cancelled, .. } => HoldState::Cancelled,
            Self::End { ending: Ending::ChangesRequested, .. } | Self::TakeUp { .. } => {
                HoldState::ChangesRequested
            }
            Self::End { ending: Ending::Void, .. } | Self::Resolve(Resolution::DidNotRun) => HoldState::Void,
        }
    }
}

/// The answer of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Moved {
    /// This call made the step.
    Yes,
    /// The hold was not (or no longer) where the step starts.
    No,
}

/// What a tool answered, in the adapter's own encoding; kept for a caller that left before it came.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResult(Arc<[u8]>);

impl StoredResult {
    /// Takes the adapter's bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The adapter's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for StoredResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredResult({} bytes)", self.0.len())
    }
}

/// A hold to be opened.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// Which call.
    pub identity: Identity,
    /// Gate's side of it.
    pub hold: Hold,
    /// The raw argument bytes that will run; `None` where the call had none.
    pub arguments: Option<Arc<str>>,
    /// The tool's definition when Gate was asked.
    pub definition: Option<DefinitionDigest>,
    /// The configuration when Gate was asked.
    pub policy: PolicyRevision,
    /// What that configuration made of the call.
    pub question: QuestionDigest,
    /// What the call does in the world.
    pub effect: Option<EffectKey>,
    /// When.
    pub at: Timestamp,
}

/// A hold as the journal has it.
#[derive(Clone, Debug)]
pub struct HeldCall {
    /// The journal's number.
    pub id: HoldId,
    /// Where it stands.
    pub state: HoldState,
    /// Which call.
    pub identity: Identity,
    /// Gate's side of it.
    pub hold: Hold,
    /// The raw argument bytes that will run.
    pub arguments: Option<Arc<str>>,
    /// The tool's definition when Gate was asked.
    pub definition: Option<DefinitionDigest>,
    /// The configuration when Gate was asked.
    pub policy: PolicyRevision,
    /// What that configuration made of the call; `None`: the hold is older than this field.
    pub question: Option<QuestionDigest>,
    /// What the call does in the world.
    pub effect: Option<EffectKey>,
    /// When Gate was asked.
    pub opened_at: Timestamp,
    /// Who claimed it, and when.
    pub claim: Option<(Owner, Timestamp)>,
    /// What the tool answered, once `done`, while it is kept.
    pub result: Option<StoredResult>,
    /// Whether the caller has the answer.
    pub delivered: bool,
    /// The reviewer's words, once it has ended.
    pub words: Option<Arc<str>>,
    /// The call that revises its thread, once one does.
    pub taken_up_by: Option<CallDigest>,
}

/// What the journal knows of an identity.
#[derive(Clone, Debug)]
pub struct Found {
    /// The hold that a call of this identity joins or collects: `pending`, `approved`, `dispatched`, `unknown`, or
    /// `done` and not delivered. At most one exists.
    pub live: Option<Box<HeldCall>>,
    /// How many holds of this identity have ended. Part of what makes a new request new.
    pub ended: u64,
    /// The latest hold of the same principal, server, tool and task that ended `changes_requested`, if its thread has no
    /// later hold and no other call has taken it up: the call that is looked for revises its thread.
    pub revises: Option<Box<HeldCall>>,
}

/// The answer to [`Journal::open`].
#[derive(Clone, Debug)]
pub enum Opened {
    /// This call opened the hold.
    Mine(HeldCall),
    /// An identical call was first; this is its hold.
    Joined(HeldCall),
    /// This revision of this thread had a hold before, or the thread has one that lives: whatever its decision is good
    /// for is not this call's.
    Spent,
}

/// Whether a process still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It does, as far as can be told.
    Alive,
    /// It does not.
    Gone,
}

/// The journal cannot be read or written. Gated calls are refused.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be used")]
pub struct JournalError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The durable record of holds. Every write is durable when it returns.
///
/// Several processes may share one journal; nothing here may rely on being the only one.
#[async_trait]
pub trait Journal: TicketBook + OperationBook {
    /// What is known of `identity`, for a call of `task`. On the way of every gated call: where the journal is local, must
    /// not touch the disk when nothing changed.
    async fn find(&self, identity: &Identity, task: &TaskId) -> Result<Found, JournalError>;

    /// Records a hold as `pending`, unless the identity has a live one already, or the thread has one that lives, or this
    /// revision of the thread had one before.
    async fn open(&self, new: NewHold) -> Result<Opened, JournalError>;

    /// Makes one step, if the hold is where the step starts ([`Step::from`]; for `Claim`, `Dispatch`, `Deliver` and
    /// `TakeUp` also what their docs say).
    async fn advance(&self, id: HoldId, step: Step, at: Timestamp) -> Result<Moved, JournalError>;

    /// One hold, live or ended; `None`: never opened, or forgotten.
    async fn get(&self, id: HoldId) -> Result<Option<HeldCall>, JournalError>;

    /// All live holds, oldest first; at most `limit`.
    async fn live(&self, limit: usize) -> Result<Vec<HeldCall>, JournalError>;

    /// Holds that ended `cancelled` since `since`, oldest first; at most `limit`.
    async fn withdrawn(&self, since: Timestamp, limit: usize) -> Result<Vec<HeldCall>, JournalError>;

    /// The run that has the effect, or had it and may have; `None`: it is free.
    async fn effect(&self, server: &ServerName, key: &EffectKey) -> Result<Option<EffectRun>, JournalError>;

    /// Takes an effect for a call without a hold, if it is free. Durable before the tool sees a byte.
    async fn take_effect(&self, new: NewEffect) -> Result<Taken, JournalError>;

    /// Says what came of a run with an effect, if it is where that starts ([`Settled::from`]). With `Done` and `Void`, a hold
    /// that it belongs to and that is `dispatched` or `unknown` is resolved in the same write.
    async fn settle(&self, id: EffectId, settled: Settled, at: Timestamp) -> Result<Moved, JournalError>;

    /// All effects that are not `void`: first the `unknown`, then the `taken`, then the `done`, latest first; at most `limit`.
    async fn effects(&self, limit: usize) -> Result<Vec<EffectRun>, JournalError>;

    /// Whether the process that `owner` names still runs. A wrong `Alive` lets others wait; a wrong `Gone` lets them be told
    /// *unknown*, and lets a read-only tool say, [`crate::Reconcile::settles_within`] after that, that nothing happened.
    async fn liveness(&self, owner: &Owner) -> Result<Liveness, JournalError>;
}
