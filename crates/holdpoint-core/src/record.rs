//! The port to the evidence: every step of a call that is asked about, from proposal to outcome.
//!
//! # Rules
//! 1. Before a tool sees a byte, [`What::Dispatching`] is recorded, or [`What::GoingOn`], or the call is refused.
//! 2. A step that is told to a person or an agent is recorded before it is told, or the call is refused; from
//!    `dispatched` on there is nothing left to refuse, and a failing recorder changes nothing.
//! 3. Secrets are no part of it: texts of a tool are redacted before they get here.

use crate::{
    CallDigest, DefinitionDigest, EffectKey, Grounds, Hold, HoldId, PolicyRevision, Principal, Redemption,
    Rejection, Resolution, ServerName, StoredResult, TaskId, ThreadId, ToolCall, ToolName,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{fmt, sync::Arc, time::Duration};

/// Secret values of one call's arguments, so that they can be taken out of what others are shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Arc<[String]>);

/// What stands where a secret stood.
const REDACTED: &str = "[redacted]";
/// Shorter values are in too many words to be told apart from them.
const SECRET_CHARS_MIN: usize = 4;

impl Secrets {
    /// Takes the values as text.
    pub fn new(values: impl Into<Arc<[String]>>) -> Self {
        Self(values.into())
    }

    /// `text` without the values. Values that were quoted, escaped or spelt in another way are not found.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut longest_first: Vec<&str> = self.0.iter().map(String::as_str).collect();
        longest_first.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
        longest_first
            .into_iter()
            .filter(|value| value.chars().count() >= SECRET_CHARS_MIN)
            .fold(text.to_owned(), |text, value| text.replace(value, REDACTED))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// What every step of one call has in common.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who calls.
    pub principal: Principal,
    /// Whose tool.
    pub server: ServerName,
    /// Which tool.
    pub tool: ToolName,
    /// For which job.
    pub task: TaskId,
    /// With what.
    pub digest: CallDigest,
    /// The tool's definition.
    pub definition: Option<DefinitionDigest>,
    /// Under which configuration.
    pub policy: PolicyRevision,
    /// What it does in the world.
    pub effect: Option<EffectKey>,
    /// What must not be shown.
    pub secrets: Secrets,
}

impl Facts {
    pub(crate) fn of(
        call: &ToolCall,
        digest: CallDigest,
        policy: PolicyRevision,
        effect: Option<EffectKey>,
        secrets: Secrets,
    ) -> Self {
        Self {
            principal: call.principal.clone(),
            server: call.server.clone(),
            tool: call.tool.clone(),
            task: call.task.clone(),
            digest,
            definition: call.definition,
            policy,
            effect,
            secrets,
        }
    }
}

/// One step of one call.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When.
    pub at: Timestamp,
    /// Of which call.
    pub facts: &'a Facts,
    /// Which step.
    pub what: What<'a>,
}

/// The steps.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// Gate is about to be asked.
    Proposed,
    /// Gate wants a person to decide, and the hold is in the journal.
    Held {
        /// The journal's number.
        id: HoldId,
        /// Gate's side of it.
        hold: &'a Hold,
    },
    /// The call joined a hold that is there already.
    Joined {
        /// The journal's number.
        id: HoldId,
        /// Gate's side of it.
        hold: &'a Hold,
    },
    /// Gate's rules allowed it; it runs now.
    Allowed,
    /// A decision was read.
    Decided {
        /// Gate's side of it.
        hold: &'a Hold,
        /// Which way.
        decision: Decision,
        /// The reviewer's words.
        message: Option<&'a str>,
    },
    /// A token was redeemed.
    Redeemed {
        /// Gate's side of it.
        hold: &'a Hold,
        /// The token's SHA-256.
        token: [u8; 32],
        /// Gate's answer; `None`: it is lost.
        answer: Option<Redemption>,
    },
    /// The call runs next, if the journal agrees.
    Dispatching {
        /// The hold; `None`: nobody was asked.
        id: Option<HoldId>,
        /// Why it may.
        grounds: &'a Grounds,
    },
    /// The tool asked for more in the middle of an approved run, and hears next what the caller said.
    GoingOn {
        /// The hold.
        id: HoldId,
        /// Why it may: as before.
        grounds: &'a Grounds,
    },
    /// The tool answered.
    Completed {
        /// The review; `None`: nobody was asked.
        thread: Option<&'a ThreadId>,
        /// What it said of itself.
        ran: Ran,
        /// How long it took.
        took: Duration,
        /// What it answered, in the adapter's encoding.
        result: &'a StoredResult,
        /// A short piece of it for people, redacted.
        excerpt: Option<&'a str>,
    },
    /// The tool's answer is lost.
    OutcomeUnknown {
        /// The review; `None`: nobody was asked.
        thread: Option<&'a ThreadId>,
        /// How long after the dispatch.
        took: Duration,
    },
    /// The call was refused.
    Refused(&'a Rejection),
    /// The caller withdrew a call that a reviewer may still decide about.
    Withdrawn {
        /// Gate's side of it.
        hold: &'a Hold,
    },
    /// An approval came for a call that had been withdrawn. Nothing ran.
    TooLate {
        /// Gate's side of it.
        hold: &'a Hold,
    },
    /// Somebody said what came of a run.
    Resolved {
        /// The review; `None`: nobody was asked.
        thread: Option<&'a ThreadId>,
        /// What.
        resolution: Resolution,
        /// Who says so.
        by: Resolver<'a>,
    },
}

/// Which way a decision went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Approved,
    /// No.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Another proposal is wanted.
    ChangesRequested,
    /// It was about something else.
    OtherPayload,
}

impl Decision {
    /// One word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::ChangesRequested => "changes_requested",
            Self::OtherPayload => "other_payload",
        }
    }
}

/// What a tool said of its own run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It did what it was asked.
    Succeeded,
    /// It says that it failed. It may have had an effect all the same.
    Failed,
}

/// Who said what came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver<'a> {
    /// Somebody, by the name that the operating system gives them.
    Person(&'a str),
    /// A read-only tool of the same server.
    Tool(&'a ToolName),
    /// The adapter: nothing was sent.
    Adapter,
}

/// A step could not be recorded.
#[derive(Debug, thiserror::Error)]
#[error("the step cannot be recorded")]
pub struct RecordError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Writes down what happens.
#[async_trait]
pub trait Recorder: fmt::Debug + Send + Sync {
    /// Returns when the step is recorded as durably as it has to be: [`What::Dispatching`] and [`What::GoingOn`] are on the disk by then.
    ///
    /// # Errors
    /// The step is not recorded; calls that have not run yet are refused.
    async fn record(&self, event: Event<'_>) -> Result<(), RecordError>;
}

/// Writes nothing down.
#[derive(Clone, Copy, Debug)]
pub struct NoRecord;

#[async_trait]
impl Recorder for NoRecord {
    async fn record(&self, _: Event<'_>) -> Result<(), RecordError> {
        Ok(())
    }
}
