//! What an adapter remembers of a question that it answers over several requests: one row, changed one conditional write at a
//! time.
//!
//! # Rules
//! 1. An operation permits nothing. What runs for it runs by a permit, as for any caller.
//! 2. Its number is made from who asks and from the name that the asker gave the question, so that a repeated question finds
//!    it, and nobody else can guess it.
//! 3. Each change names the round that it was decided in: of any number that act on the same state, one does.
//! 4. Who *owns* an operation has something left to do for it. Where the owner is gone, another process takes it over.
//! 5. What waits or runs has an owner ([`OperationChange::check`]): else nobody would ever go on with it.

use crate::{JournalError, Moved, OperationId, Owner, Principal, TaskId, ThreadId};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{fmt, sync::Arc};

/// What the adapter needs to know of an operation, in its own encoding.
#[derive(Clone, PartialEq, Eq)]
pub struct OperationContent(Arc<[u8]>);

impl OperationContent {
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

impl fmt::Debug for OperationContent {
    /// How much, never what: it holds arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationContent({} bytes)", self.0.len())
    }
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationState {
    /// Asked about; its caller was not told its number yet.
    Asked,
    /// Its caller was told its number and comes back, or is called back.
    Waiting,
    /// What it is about may be happening. Durable before it begins.
    Running,
    /// The answer is there.
    Answered,
}

impl OperationState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Asked, Self::Waiting, Self::Running, Self::Answered];

    /// Whether somebody has something left to do.
    const fn needs_owner(self) -> bool {
        match self {
            Self::Waiting | Self::Running => true,
            Self::Asked | Self::Answered => false,
        }
    }

    /// The word in the journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Answered => "answered",
        }
    }
}

/// An operation to be opened. It begins in round 0.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// Its number, which nobody can guess.
    pub id: OperationId,
    /// Whose it is.
    pub principal: Principal,
    /// The job that it belongs to.
    pub task: TaskId,
    /// What it begins as.
    pub now: OperationChange,
    /// When.
    pub at: Timestamp,
}

/// What an operation becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationChange {
    /// Where it stands.
    pub state: OperationState,
    /// The review that it waits for, if there is one.
    pub thread: Option<ThreadId>,
    /// What else there is to know.
    pub content: OperationContent,
    /// Who has something left to do for it.
    pub owner: Option<Owner>,
    /// From then on there is no such operation.
    pub expires_at: Timestamp,
}

impl OperationChange {
    /// What every journal asks before it writes, and again of what it reads.
    pub fn check(&self) -> Result<(), Ownerless> {
        if self.state.needs_owner() && self.owner.is_none() { Err(Ownerless(self.state)) } else { Ok(()) }
    }
}

/// An operation that nobody would go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operation that is `{}` needs an owner", .0.as_str())]
pub struct Ownerless(OperationState);

impl From<Ownerless> for JournalError {
    fn from(error: Ownerless) -> Self {
        Self(Box::new(error))
    }
}

/// An operation as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// Whose it is.
    pub principal: Principal,
    /// The job that it belongs to.
    pub task: TaskId,
    /// How often it was changed.
    pub round: u32,
    /// What it is now.
    pub now: OperationChange,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was changed last.
    pub changed_at: Timestamp,
}

impl NewOperation {
    /// As it is once it is opened.
    #[must_use]
    pub fn opened(self) -> Operation {
        let Self { id, principal, task, now, at } = self;
        Operation { id, principal, task, round: 0, now, opened_at: at, changed_at: at }
    }
}

/// What opening came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenedOperation {
    /// It is new.
    Mine(Operation),
    /// There is one of that number.
    There(Operation),
}

/// By what an operation is looked for.
#[derive(Clone, Copy, Debug)]
pub enum OperationOf<'a> {
    /// The review that it waits for.
    Thread(&'a ThreadId),
    /// The job.
    Task(&'a TaskId),
}

/// The durable record of operations. Every write is durable when it returns, and refuses what [`OperationChange::check`] does.
#[async_trait]
pub trait OperationBook: fmt::Debug + Send + Sync {
    /// Records an operation in round 0, unless there is one of its number.
    async fn open_operation(&self, new: NewOperation) -> Result<OpenedOperation, JournalError>;

    /// The operation of this number.
    async fn operation(&self, id: &OperationId) -> Result<Option<Operation>, JournalError>;

    /// The one that this principal opened last, of a review or a job: the last one put on record, whatever a clock said.
    async fn latest_operation(
        &self,
        principal: &Principal,
        of: OperationOf<'_>,
    ) -> Result<Option<Operation>, JournalError>;

    /// Makes it what `change` says, if it is in that round; its round is the next one then.
    async fn advance_operation(
        &self,
        id: &OperationId,
        round: u32,
        change: OperationChange,
        at: Timestamp,
    ) -> Result<Moved, JournalError>;

    /// Everybody who has something left to do for one, each once.
    async fn operation_owners(&self) -> Result<Vec<Owner>, JournalError>;

    /// The numbers of an owner's operations, those first that were changed the longest ago; at most `limit`. Only the numbers:
    /// each holds a whole request, and one that cannot be read must not hide the others.
    async fn operations_of(&self, owner: &Owner, limit: usize) -> Result<Vec<OperationId>, JournalError>;

    /// Forgets operations that expired at `now` or before, the oldest first; at most `limit`. Says how many.
    async fn forget_operations(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError>;
}
