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

use crate::{CallDigest, DefinitionDigest, Hold, PolicyRevision, Principal, ServerName, ToolCall, ToolName};
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
    /// `approved` → `dispatched`, only by the owner of the claim. Durable before the tool sees a byte.
    Dispatch {
        /// Who claimed.
        owner: Owner,
    },
    /// `dispatched` → `done`, with the result unless it was too large to keep.
    Finish {
        /// For the caller that comes back.
        result: Option<StoredResult>,
    },
    /// `dispatched` → `unknown`.
    Lose,
    /// `pending` or `approved` → the ending.
    End(Ending),
    /// `done`, undelivered → delivered; the kept result may be forgotten.
    Deliver,
    /// `dispatched` or `unknown` → what a person says.
    Resolve(Resolution),
}

impl Step {
    /// The states this step may start from.
    #[must_use]
    pub const fn from(&self) -> &'static [HoldState] {
        match self {
            Self::Claim { .. } | Self::End(_) => &[HoldState::Pending, HoldState::Approved],
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
            Self::End(Ending::Rejected) => HoldState::Rejected,
            Self::End(Ending::Expired) => HoldState::Expired,
            Self::End(Ending::Cancelled) => HoldState::Cancelled,
            Self::End(Ending::ChangesRequested) => HoldState::ChangesRequested,
            Self::End(Ending::Void) | Self::Resolve(Resolution::DidNotRun) => HoldState::Void,
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
    /// When Gate was asked.
    pub opened_at: Timestamp,
    /// Who claimed it, and when.
    pub claim: Option<(Owner, Timestamp)>,
    /// What the tool answered, once `done`, while it is kept.
    pub result: Option<StoredResult>,
    /// Whether the caller has the answer.
    pub delivered: bool,
}

/// What the journal knows of an identity.
#[derive(Clone, Debug)]
pub struct Found {
    /// The hold that a call of this identity joins or collects: `pending`, `approved`, `dispatched`, `unknown`, or
    /// `done` and not delivered. At most one exists.
    pub live: Option<HeldCall>,
    /// How many holds of this identity have ended. Part of what makes a new request new.
    pub ended: u64,
}

/// The answer to [`Journal::open`].
#[derive(Clone, Debug)]
pub enum Opened {
    /// This call opened the hold.
    Mine(HeldCall),
    /// An identical call was first; this is its hold.
    Joined(HeldCall),
    /// A hold of this thread has ended, and with it whatever the thread's decision was good for.
    Spent,
}

/// The journal cannot be read or written. Gated calls are refused.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be used")]
pub struct JournalError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The durable record of holds. Every write is durable when it returns.
///
/// Several processes may share one journal; nothing here may rely on being the only one.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync {
    /// What is known of `identity`. On the way of every gated call: must not touch the disk when nothing changed.
    async fn find(&self, identity: &Identity) -> Result<Found, JournalError>;

    /// Records a hold as `pending`, unless the identity has a live one already, or the thread had a hold before.
    async fn open(&self, new: NewHold) -> Result<Opened, JournalError>;

    /// Makes one step, if the hold is where the step starts ([`Step::from`]; for `Claim`, `Dispatch` and `Deliver` also
    /// what their docs say).
    async fn advance(&self, id: HoldId, step: Step, at: Timestamp) -> Result<Moved, JournalError>;

    /// One hold, live or ended; `None`: never opened, or forgotten.
    async fn get(&self, id: HoldId) -> Result<Option<HeldCall>, JournalError>;

    /// All live holds, oldest first; at most `limit`.
    async fn live(&self, limit: usize) -> Result<Vec<HeldCall>, JournalError>;
}
