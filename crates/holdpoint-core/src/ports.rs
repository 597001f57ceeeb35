//! What the kernel needs from outside: Gate, the tools' definitions, the time.

use crate::{Ask, CallDigest, DefinitionDigest, Principal, Question, ServerName, TaskId, ThreadId, ToolName};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{fmt, time::Duration};

/// A one-time token. Opaque: only Gate can judge it.
pub struct ApprovalToken(String);

impl ApprovalToken {
    /// Takes the token as Gate sent it.
    pub fn new(raw: impl Into<String>) -> Self {
        Self(raw.into())
    }

    /// The secret itself, for redeeming it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApprovalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApprovalToken(redacted)")
    }
}

/// What makes a repeated request the same request: a retry after a crash has the same one, a new request about the
/// same call does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Which call.
    pub digest: CallDigest,
    /// How many holds of it have ended.
    pub ended: u64,
}

/// What Gate said at once.
#[derive(Clone, Debug)]
pub enum Submission {
    /// `allow`: no person is needed.
    Allowed,
    /// `reject`.
    Rejected {
        /// Gate's words.
        message: Option<String>,
    },
    /// `pending_review`.
    Held(Hold),
}

/// A question that a person has to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The job it belongs to.
    pub task: TaskId,
    /// The review.
    pub thread: ThreadId,
    /// What the approval must be about: the digest of the payload that was sent, and the revision where Gate names one.
    /// Kept in the journal so that it still binds after a restart. Opaque to the kernel.
    pub binding: String,
    /// Where a person can decide, if Gate said so.
    pub review_url: Option<String>,
    /// Which proposal of the thread this is: 0 for the one that opened it.
    pub revision: u32,
}

/// What putting another proposal into a thread came to.
#[derive(Clone, Debug)]
pub enum Revised {
    /// A person has to decide about it.
    Held(Hold),
    /// The rules rejected it, or the thread was rejected in the meantime.
    Rejected {
        /// Gate's words.
        message: Option<String>,
    },
    /// The thread is closed, or it cannot be told which proposal its decision is about: ask anew.
    Closed,
}

/// What waiting came to.
#[derive(Debug)]
pub enum Answer {
    /// Somebody approved.
    Approved(Approval),
    /// Somebody said no.
    Rejected {
        /// The reviewer's words.
        message: Option<String>,
    },
    /// Nobody decided in time, and Gate closed the thread.
    Expired {
        /// Gate's words.
        message: Option<String>,
    },
    /// The reviewer wants another proposal.
    ChangesRequested {
        /// The reviewer's words.
        message: Option<String>,
    },
    /// The decision is about something else than what was sent.
    OtherPayload,
    /// No decision within the time given.
    StillHeld,
}

/// A reviewer's yes, as read from Gate.
#[derive(Debug)]
pub struct Approval {
    /// Which question was answered.
    pub hold: Hold,
    /// The proof to redeem.
    pub token: Option<ApprovalToken>,
    /// After this the token is worthless.
    pub expires_at: Option<Timestamp>,
    /// The reviewer's words.
    pub message: Option<String>,
}

/// The answer to a redemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redemption {
    /// Gate vouches for the token, for this task, now; and it is used up.
    Valid,
    /// Gate does not.
    Refused(Refusal),
}

/// Why Gate refused a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown, or for another task.
    Invalid,
    /// Too late.
    Expired,
    /// Used before.
    Used,
}

/// No usable answer from Gate: unreachable, too slow, refused, or a status we do not know.
#[derive(Debug, thiserror::Error)]
#[error("gate gave no usable answer")]
pub struct ApproverError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Puts the question to Gate and waits for the answer.
#[async_trait]
pub trait Approver: fmt::Debug + Send + Sync {
    /// Asks. A repeated `repeat` finds the thread that an earlier, lost attempt opened, where Gate can tell.
    async fn submit(&self, ask: &Ask, task: &TaskId, repeat: Repeat) -> Result<Submission, ApproverError>;

    /// Puts another proposal into the thread of `before`, whose reviewer asked for changes. Safe to repeat with the same
    /// `repeat`.
    async fn revise(&self, ask: &Ask, before: &Hold, repeat: Repeat) -> Result<Revised, ApproverError>;

    /// Waits no longer than `patience`. Rides out passing failures; an error means that the last thing known is a
    /// failure, or that waiting on is pointless.
    async fn wait(&self, hold: &Hold, patience: Duration) -> Result<Answer, ApproverError>;

    /// Uses the token up. Never retried: a lost reply and a replay look the same.
    async fn redeem(&self, task: &TaskId, token: &ApprovalToken) -> Result<Redemption, ApproverError>;
}

/// What the servers say of their tools now.
#[async_trait]
pub trait Definitions: fmt::Debug + Send + Sync {
    /// The definition of `tool` as its server states it at this moment, freshly read; `None`: there is none (any
    /// more), or it cannot be told. A held call whose definition is not what it was when Gate was asked does not run.
    async fn current(&self, server: &ServerName, tool: &ToolName) -> Option<DefinitionDigest>;
}

/// Whether a caller is still who it was.
#[async_trait]
pub trait Standing: fmt::Debug + Send + Sync {
    /// Asked again before a held call runs: a key may have been revoked while it waited.
    async fn is_still(&self, principal: &Principal) -> StillThere;
}

/// What became of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StillThere {
    /// Nothing.
    Yes,
    /// It may not call any more.
    No,
}

/// Calls read-only tools for us.
#[async_trait]
pub trait Probe: fmt::Debug + Send + Sync {
    /// The `result` of the call; `None`: there is none to be had.
    async fn ask(&self, server: &ServerName, question: Question) -> Option<serde_json::Value>;
}

/// Tells a caller that waits what it waits for.
pub trait Onlooker: fmt::Debug + Send + Sync {
    /// The call waits for a person to answer `hold`. Said again when it joins another question; must not block.
    fn waits_for(&self, hold: &Hold);
}

/// The time.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall-clock time.
    fn now(&self) -> Timestamp;

    /// Resolves after `duration`.
    async fn sleep(&self, duration: Duration);
}
