use async_trait::async_trait;
use holdpoint_api::TaskId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{AgentId, Decider, Idempotency, LogSeq, NewImage, OpenState, RevisionId, StoreError, ThreadId};

/// One line of the log. The log is append-only: nothing in it is ever changed or taken out.
#[derive(Debug, Clone)]
pub struct LogRow {
    /// Where it stands.
    pub seq: LogSeq,
    /// When it happened.
    pub at: Timestamp,
    /// Whose doing, or whose matter.
    pub agent_id: Option<AgentId>,
    /// In which task.
    pub task_id: Option<TaskId>,
    /// On which thread.
    pub thread_id: Option<ThreadId>,
    /// What happened.
    pub entry: LogEntry,
}

/// What happened. Written as JSON with the variant's name outside; fields are only ever added.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEntry {
    /// An agent told something.
    Event {
        /// As sent.
        event_type: String,
        /// As sent.
        event_summary: String,
        /// As sent.
        payload: Option<Box<RawValue>>,
    },
    /// The rules decided alone.
    DecidedByRules {
        /// Which way.
        outcome: AutomaticOutcome,
        /// As sent.
        tool_name: String,
        /// As sent.
        subject: String,
        /// As sent.
        payload: Option<Box<RawValue>>,
        /// What the answer is bound to.
        payload_digest: String,
        /// Which rules, and why.
        rule_trace: Box<RawValue>,
    },
    /// A thread was opened.
    ThreadOpened {
        /// As sent.
        tool_name: String,
        /// As sent.
        subject: String,
        /// The first revision.
        revision_id: RevisionId,
        /// What a decision will be bound to.
        payload_digest: String,
        /// How it waits.
        state: OpenState,
    },
    /// A revision came.
    Revised {
        /// Which.
        revision_id: RevisionId,
        /// As sent.
        event_summary: String,
        /// What a decision will be bound to.
        payload_digest: String,
    },
    /// A reviewer asked for changes.
    ChangesRequested {
        /// Who.
        by: String,
        /// What they said.
        message: String,
        /// On which revision.
        revision_id: RevisionId,
    },
    /// A reviewer said yes.
    Approved {
        /// Who.
        by: Decider,
        /// What they said.
        note: Option<String>,
        /// On which revision.
        revision_id: RevisionId,
    },
    /// A reviewer or a rule said no.
    Rejected {
        /// Who.
        by: Decider,
        /// What they said.
        note: Option<String>,
        /// On which revision.
        revision_id: RevisionId,
    },
    /// Nobody answered in time.
    Expired {},
    /// A token was handed out.
    TokenMinted {
        /// Until when it works.
        expires_at: Timestamp,
    },
    /// A token was used: what was approved may run now.
    TokenRedeemed {
        /// On which revision.
        revision_id: RevisionId,
    },
    /// A token came that was no good any more.
    TokenRefused {
        /// `used` or `expired`.
        reason: String,
    },
    /// An agent was made.
    AgentCreated {
        /// Its name.
        name: String,
        /// By whom.
        by: String,
    },
    /// An agent got another key.
    AgentKeyRegenerated {
        /// Its name.
        name: String,
        /// By whom.
        by: String,
    },
    /// An agent was paused, resumed, revoked or set otherwise.
    AgentChanged {
        /// Its name.
        name: String,
        /// What is so now.
        change: String,
        /// By whom.
        by: String,
    },
    /// A declaration was put in force.
    DeclarationApplied {
        /// As which revision.
        revision: i64,
        /// By whom.
        by: String,
    },
    /// Something about users and sign-in.
    Access {
        /// Who.
        user: String,
        /// What happened.
        what: String,
    },
}

impl LogEntry {
    /// The variant's name, as the log keeps it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Event { .. } => "event",
            Self::DecidedByRules { .. } => "decided_by_rules",
            Self::ThreadOpened { .. } => "thread_opened",
            Self::Revised { .. } => "revised",
            Self::ChangesRequested { .. } => "changes_requested",
            Self::Approved { .. } => "approved",
            Self::Rejected { .. } => "rejected",
            Self::Expired {} => "expired",
            Self::TokenMinted { .. } => "token_minted",
            Self::TokenRedeemed { .. } => "token_redeemed",
            Self::TokenRefused { .. } => "token_refused",
            Self::AgentCreated { .. } => "agent_created",
            Self::AgentKeyRegenerated { .. } => "agent_key_regenerated",
            Self::AgentChanged { .. } => "agent_changed",
            Self::DeclarationApplied { .. } => "declaration_applied",
            Self::Access { .. } => "access",
        }
    }
}

/// Which way the rules decided alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutomaticOutcome {
    /// Run it.
    Allow,
    /// Do not.
    Reject,
}

/// A decision of the rules, to be recorded before it is answered.
#[derive(Debug, Clone)]
pub struct AutomaticDecision {
    /// Who asked.
    pub agent_id: AgentId,
    /// In which task.
    pub task_id: TaskId,
    /// Which way.
    pub outcome: AutomaticOutcome,
    /// As sent.
    pub tool_name: String,
    /// As sent.
    pub subject: String,
    /// As sent.
    pub payload: Option<Box<RawValue>>,
    /// What the answer is bound to.
    pub payload_digest: String,
    /// Which rules, and why.
    pub rule_trace: Box<RawValue>,
    /// When the agent wants to be able to repeat itself.
    pub idempotency: Option<Idempotency>,
    /// When.
    pub now: Timestamp,
}

/// How recording went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It is on record; answer.
    Recorded,
    /// The same request was answered before, with this; answer that.
    Replayed(String),
    /// The key was used for another body; nothing was changed.
    KeyConflict,
}

/// Something an agent tells.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Who tells it.
    pub agent_id: AgentId,
    /// Of which task.
    pub task_id: TaskId,
    /// As sent.
    pub event_type: String,
    /// As sent.
    pub event_summary: String,
    /// As sent.
    pub payload: Option<Box<RawValue>>,
    /// Attached to it.
    pub images: Vec<NewImage>,
    /// When.
    pub now: Timestamp,
}

/// What goes on record without a thread.
#[async_trait]
pub trait Decisions: Send + Sync {
    /// Records what the rules decided. Without an idempotency key this is one insert.
    async fn record_decision(&self, decision: AutomaticDecision) -> Result<RecordOutcome, StoreError>;

    /// Records an event.
    async fn add_event(&self, event: NewEvent) -> Result<LogSeq, StoreError>;

    /// The images of an event, in the order they were sent.
    async fn images_of_event(&self, event: LogSeq) -> Result<Vec<crate::ImageInfo>, StoreError>;

    /// Records something that happened to users: a sign-in, a refused one.
    async fn record_access(&self, user: &str, what: &str, now: Timestamp) -> Result<(), StoreError>;

    /// The log from `after` on, the oldest first.
    async fn log_after(&self, after: LogSeq, limit: u32) -> Result<Vec<LogRow>, StoreError>;
}
