mod ops;
mod state;

use holdpoint_api::{RiskLevel, TaskId};
use jiff::Timestamp;

pub use self::ops::{
    AddRevision, AskOutcome, DecideOutcome, Decision, Folder, FolderCounts, Idempotency, NewImage,
    NewRevision, NewThread, News, OpenOutcome, RevisionEffect, RevisionOutcome, ThreadQuery, Threads,
};
pub use self::state::{Decider, OpenState, ThreadState, Verdict, VerdictKind};
use crate::{AgentId, ImageId, RevisionId, ThreadId};

/// Gate's record of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Minted by the server.
    pub id: ThreadId,
    /// Whose it is.
    pub agent_id: AgentId,
    /// The agent's name.
    pub agent_name: String,
    /// The agent's task.
    pub task_id: TaskId,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it expires, if it still waits then.
    pub expires_at: Option<Timestamp>,
    /// Whether and how it was decided.
    pub state: ThreadState,
    /// What a reviewer asked to be changed, until the next revision comes.
    pub feedback: Option<String>,
    /// What is, or was, up for decision.
    pub revision: Revision,
}

/// One version of what an agent proposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Unique within the thread.
    pub id: RevisionId,
    /// Counts from 1 within the thread.
    pub number: i64,
    /// As the agent sent it.
    pub workflow_name: String,
    /// As the agent sent it.
    pub task_label: String,
    /// As the agent sent it.
    pub tool_name: String,
    /// As the agent sent it.
    pub subject: String,
    /// As the agent sent it.
    pub preview: Option<String>,
    /// As the agent sent it.
    pub risk_level: Option<RiskLevel>,
    /// As the agent sent it.
    pub summary: Vec<String>,
    /// The payload's JSON text, byte for byte; `null` when there is none.
    pub payload: String,
    /// What a decision on it is bound to.
    pub payload_digest: String,
    /// Why the rules sent it here: JSON the server wrote.
    pub rule_trace: String,
    /// When it came.
    pub made_at: Timestamp,
}

/// What kind of image it is, by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageType {
    /// PNG
    Png,
    /// JPEG
    Jpeg,
    /// GIF
    Gif,
    /// WebP
    Webp,
}

impl ImageType {
    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }
}

/// An image without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageInfo {
    /// By which to fetch it.
    pub id: ImageId,
    /// What it is.
    pub image_type: ImageType,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it is.
    pub image_type: ImageType,
    /// The file.
    pub bytes: Vec<u8>,
}
