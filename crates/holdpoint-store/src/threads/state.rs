use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::RevisionId;

/// Whether and how a thread was decided. The closed states are final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ThreadState {
    /// It waits.
    Open(OpenState),
    /// A reviewer said yes, on a certain revision.
    Approved(Verdict),
    /// A reviewer or the rules said no, on a certain revision.
    Rejected(Verdict),
    /// Nobody answered in time.
    Expired {
        /// When.
        at: Timestamp,
    },
}

impl ThreadState {
    /// The word in the database and the interface.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open(OpenState::NeedsReview) => "needs_review",
            Self::Open(OpenState::Escalated) => "escalated",
            Self::Approved(_) => "approved",
            Self::Rejected(_) => "rejected",
            Self::Expired { .. } => "expired",
        }
    }
}

/// How a thread waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenState {
    /// Among the others.
    NeedsReview,
    /// On top of them.
    Escalated,
}

/// A decision that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Who decided.
    pub by: Decider,
    /// When.
    pub at: Timestamp,
    /// What they said.
    pub note: Option<String>,
    /// What was decided on.
    pub revision_id: RevisionId,
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decider {
    /// A person, by name.
    Person(String),
    /// A rule, when a revision came in. Rules only ever reject.
    Rules,
}

/// Which way a decision goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Yes.
    Approve,
    /// No.
    Reject,
}
