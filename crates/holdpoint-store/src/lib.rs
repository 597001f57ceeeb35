//! Gate's state, as a trait.
//!
//! [`Store`] is what the server needs of a database, in the words of the domain. Rules every back end keeps, and
//! [`conformance`] tests:
//!
//! 1. A state change is one conditional write; how many rows it changed is the answer. Of any number of reviewers
//!    deciding at once one wins, of any number of redemptions of a token one is valid.
//! 2. The log row of a change is written in the change's transaction. The log is append-only.
//! 3. Answers come after the commit. The [`Bell`] rings after the commit, and only then.
//! 4. What is read back is a type that cannot be wrong; a row that does not fit is an error that names table and row.
//! 5. Instants are kept to the microsecond. The store has no clock: `now` is always the caller's.
//!
//! Not promised: that a change made by another process rings the bell at once. A back end may take a moment.

mod agents;
mod bell;
pub mod conformance;
mod error;
mod ids;
mod log;
mod people;
mod threads;
mod tokens;

use std::fmt::Debug;

pub use crate::agents::{
    Agent, AgentChange, AgentSettings, AgentState, Agents, AppliedDeclaration, ApplyOutcome, CreateAgent,
    NewAgent,
};
pub use crate::bell::{Bell, Change, Concerns, Ear, Listener};
pub use crate::error::StoreError;
pub use crate::ids::{AgentId, ImageId, LogSeq, RevisionId, ThreadId};
pub use crate::log::{
    AutomaticDecision, AutomaticOutcome, Decisions, LogEntry, LogRow, NewEvent, RecordOutcome,
};
pub use crate::people::{CreateUser, LinkOutcome, NewUser, People, User, UserId};
pub use crate::threads::{
    AddRevision, AskOutcome, DecideOutcome, Decider, Decision, Folder, FolderCounts, Idempotency, Image,
    ImageInfo, ImageType, NewImage, NewRevision, NewThread, News, OpenOutcome, OpenState, Revision,
    RevisionEffect, RevisionOutcome, Thread, ThreadQuery, ThreadState, Threads, Verdict, VerdictKind,
};
pub use crate::tokens::{MintOutcome, RedeemOutcome, Tokens};

/// Everything Gate keeps.
pub trait Store: Agents + Decisions + Threads + Tokens + People + Debug {
    /// Where changes are announced.
    fn bell(&self) -> &Bell;
}
