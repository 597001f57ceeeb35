use std::time::Duration;

use async_trait::async_trait;
use holdpoint_api::{SecretHash, TaskId};
use jiff::Timestamp;

use crate::{AgentId, RevisionId, StoreError, ThreadId};

/// How minting a token went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MintOutcome {
    /// It works until then, and the one before works no more.
    Minted {
        /// Counted from the first token of the thread, not from this one.
        expires_at: Timestamp,
    },
    /// The approval was used.
    Spent,
    /// The time to use the approval is over.
    Lapsed,
    /// No such thread of that agent, or it is not approved.
    NotApproved,
}

/// How redeeming a token went. Whatever it says, nothing is worth a second try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedeemOutcome {
    /// It was good and is used now: run what was approved, once.
    Valid {
        /// Which thread was approved.
        thread_id: ThreadId,
        /// On which revision.
        revision_id: RevisionId,
    },
    /// It was used before: somebody may be replaying it.
    Used {
        /// Whose reviewers should know.
        thread_id: ThreadId,
    },
    /// It was good once.
    Expired {
        /// Of which thread.
        thread_id: ThreadId,
    },
    /// No such token for that agent and task.
    Invalid,
}

/// One-time proofs of approvals.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Keeps the hash of a new token for an approved, unspent thread of this agent.
    async fn mint_token(
        &self,
        agent: AgentId,
        thread: &ThreadId,
        hash: SecretHash,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<MintOutcome, StoreError>;

    /// Uses a token up.
    async fn redeem_token(
        &self,
        agent: AgentId,
        task: &TaskId,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<RedeemOutcome, StoreError>;
}
