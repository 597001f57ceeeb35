use async_trait::async_trait;
use holdpoint_api::TaskId;
use jiff::Timestamp;

use super::{Image, ImageInfo, ImageType, OpenState, Revision, Thread, ThreadState, VerdictKind};
use crate::{AgentId, ImageId, LogRow, LogSeq, RevisionId, StoreError, ThreadId};

/// Makes a request repeatable: the same key and body get the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The agent's key.
    pub key: String,
    /// The digest of the whole body.
    pub body_digest: [u8; 32],
    /// What is answered now, and again later: JSON the server wrote.
    pub answer: String,
}

/// An image to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    /// What it is.
    pub image_type: ImageType,
    /// The file.
    pub bytes: Vec<u8>,
}

/// What an agent proposes, first or again. `number` and `made_at` are the store's, whatever is in them.
pub type NewRevision = Revision;

/// A thread to be opened.
#[derive(Debug, Clone)]
pub struct NewThread {
    /// Minted by the server.
    pub id: ThreadId,
    /// Whose it is.
    pub agent_id: AgentId,
    /// The agent's task.
    pub task_id: TaskId,
    /// How it waits.
    pub state: OpenState,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// What is proposed.
    pub revision: NewRevision,
    /// Attached to the first revision.
    pub images: Vec<NewImage>,
    /// When the agent wants to be able to repeat itself.
    pub idempotency: Option<Idempotency>,
    /// When.
    pub now: Timestamp,
}

/// How opening a thread went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenOutcome {
    /// It is open.
    Opened,
    /// The same request was answered before, with this; no thread was opened.
    Replayed(String),
    /// The key was used for another body; nothing was changed.
    KeyConflict,
    /// The id is taken; mint a longer one.
    IdTaken,
}

/// A revision for a thread.
#[derive(Debug, Clone)]
pub struct AddRevision {
    /// Whose thread.
    pub agent_id: AgentId,
    /// Of which task.
    pub task_id: TaskId,
    /// Which thread.
    pub thread_id: ThreadId,
    /// What is proposed now.
    pub revision: NewRevision,
    /// The digest of the whole event, which tells a repetition from a conflict.
    pub body_digest: [u8; 32],
    /// The event's own words.
    pub event_summary: String,
    /// Attached to the revision.
    pub images: Vec<NewImage>,
    /// What the rules make of it.
    pub effect: RevisionEffect,
    /// When.
    pub now: Timestamp,
}

/// What the rules make of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevisionEffect {
    /// It stays as it waits.
    Keep,
    /// It goes on top, or stays there.
    Escalate,
    /// It is closed.
    Reject {
        /// Why.
        note: String,
    },
}

/// How adding a revision went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevisionOutcome {
    /// It supersedes the one before.
    Added,
    /// The very same was added before.
    Repeated,
    /// The id was used for something else; nothing was changed.
    Conflict,
    /// The thread is closed; nothing was changed.
    Closed(ThreadState),
    /// No such thread of that agent and task.
    NotFound,
}

/// A decision to be made.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Which thread.
    pub thread_id: ThreadId,
    /// The revision the reviewer saw.
    pub revision_id: RevisionId,
    /// Yes or no.
    pub kind: VerdictKind,
    /// Who decides.
    pub by: String,
    /// What they say.
    pub note: Option<String>,
    /// When.
    pub now: Timestamp,
}

/// How a decision went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecideOutcome {
    /// It counts. The thread as it is now.
    Won(Box<Thread>),
    /// The thread was closed before, as its state says.
    AlreadyDecided(Box<Thread>),
    /// A newer revision is up than the reviewer saw; nothing was changed.
    Revised(Box<Thread>),
    /// No such thread.
    NotFound,
}

/// How asking for changes went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskOutcome {
    /// The agent will read it with its next poll.
    Asked(Box<Thread>),
    /// The thread was closed before.
    AlreadyDecided(Box<Thread>),
    /// A newer revision is up than the reviewer saw; nothing was changed.
    Revised(Box<Thread>),
    /// No such thread.
    NotFound,
}

/// Which threads to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// All that wait, escalated on top.
    Open,
    /// Approved ones.
    Approved,
    /// Rejected ones, by people or rules.
    Rejected,
    /// Those nobody answered.
    Expired,
    /// All.
    All,
}

/// What to list. Escalated on top, then the newest first.
#[derive(Debug, Clone)]
pub struct ThreadQuery {
    /// From where.
    pub folder: Folder,
    /// Found in subject, label, tool, task, thread id or agent, in whatever case (ASCII); empty: all.
    pub search: String,
    /// At most so many.
    pub limit: u32,
}

/// How many threads each folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FolderCounts {
    /// Waiting, escalated ones included.
    pub open: i64,
    /// Escalated ones among them.
    pub escalated: i64,
    /// Approved.
    pub approved: i64,
    /// Rejected.
    pub rejected: i64,
    /// Expired.
    pub expired: i64,
}

/// What happened to threads of one agent after a line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Threads, each once, in the order in which the first of it happened.
    pub threads: Vec<ThreadId>,
    /// The last line that was looked at: what comes after it is not in here.
    pub up_to: LogSeq,
}

/// Reviews.
#[async_trait]
pub trait Threads: Send + Sync {
    /// Opens a thread with its first revision, images and idempotency key, all or nothing.
    async fn open_thread(&self, thread: NewThread) -> Result<OpenOutcome, StoreError>;

    /// A thread, whoever's it is. For reviewers.
    async fn thread(&self, id: &ThreadId) -> Result<Option<Thread>, StoreError>;

    /// A thread of this agent. Another agent's is not there.
    async fn thread_of(&self, agent: AgentId, id: &ThreadId) -> Result<Option<Thread>, StoreError>;

    /// The thread this agent opened last for a task.
    async fn latest_thread(&self, agent: AgentId, task: &TaskId) -> Result<Option<Thread>, StoreError>;

    /// Adds a revision; see [`RevisionOutcome`].
    async fn add_revision(&self, revision: AddRevision) -> Result<RevisionOutcome, StoreError>;

    /// Decides; the first wins. A thread past its `expires_at` is expired instead.
    async fn decide(&self, decision: Decision) -> Result<DecideOutcome, StoreError>;

    /// Leaves the agent a message on an open thread.
    async fn ask_for_changes(
        &self,
        thread: &ThreadId,
        revision: &RevisionId,
        by: &str,
        message: &str,
        now: Timestamp,
    ) -> Result<AskOutcome, StoreError>;

    /// Expires every open thread whose time is up, and says which.
    async fn expire_due(&self, now: Timestamp) -> Result<Vec<ThreadId>, StoreError>;

    /// What concerns `agent` ([`Concerns::Agent`](crate::Concerns::Agent)) and was committed after the line `after`, at
    /// most `limit` lines of it. Asking again after [`News::up_to`] misses nothing: lines are numbered in the order in
    /// which they can be read.
    async fn news(&self, agent: AgentId, after: LogSeq, limit: u32) -> Result<News, StoreError>;

    /// The last line of the log; 0 when there is none.
    async fn log_end(&self) -> Result<LogSeq, StoreError>;

    /// Lists threads.
    async fn list_threads(&self, query: &ThreadQuery) -> Result<Vec<Thread>, StoreError>;

    /// How full the folders are.
    async fn folder_counts(&self) -> Result<FolderCounts, StoreError>;

    /// All revisions of a thread, the oldest first.
    async fn revisions(&self, thread: &ThreadId) -> Result<Vec<Revision>, StoreError>;

    /// The images of a revision, in the order they were sent.
    async fn images_of(&self, thread: &ThreadId, revision: &RevisionId)
    -> Result<Vec<ImageInfo>, StoreError>;

    /// One image.
    async fn image(&self, id: ImageId) -> Result<Option<Image>, StoreError>;

    /// What happened in the thread's task, the oldest first, at most the `limit` newest.
    async fn timeline(&self, agent: AgentId, task: &TaskId, limit: u32) -> Result<Vec<LogRow>, StoreError>;
}
