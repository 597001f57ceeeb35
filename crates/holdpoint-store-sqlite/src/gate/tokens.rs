//! One-time tokens: one row per approved thread, replaced by each new token, final once spent.

use std::time::Duration;

use async_trait::async_trait;
use holdpoint_api::{SecretHash, TaskId};
use holdpoint_store::{
    AgentId, Change, Concerns, LogEntry, MintOutcome, RedeemOutcome, RevisionId, StoreError, ThreadId,
    ThreadState, Tokens,
};
use jiff::Timestamp;

use super::SqliteStore;
use super::directory::Directory;
use super::log::{self, LogInsert};
use super::rows;
use super::threads::thread_by_id;
use crate::error::WriteError;
use crate::writer::Transaction;

async fn mint(
    transaction: &mut Transaction<Directory>,
    agent: AgentId,
    id: ThreadId,
    hash: SecretHash,
    ttl: Duration,
    now: Timestamp,
) -> Result<MintOutcome, WriteError> {
    let connection = &mut transaction.connection;
    let (thread, hash, at) = (id.as_str(), hash.as_bytes().as_slice(), now.as_microsecond());
    let expires_at = at.saturating_add(rows::micros(ttl).max(1));
    let minted = sqlx::query!(
        r#"INSERT INTO tokens (thread_id, hash, first_minted_at, expires_at)
        SELECT id, $2, $3, $4 FROM threads WHERE id = $1 AND agent_id = $5 AND state = 'approved'
        ON CONFLICT (thread_id) DO UPDATE SET hash = excluded.hash WHERE spent_at IS NULL AND tokens.expires_at > $3
        RETURNING expires_at AS "expires_at!: i64""#,
        thread,
        hash,
        at,
        expires_at,
        agent.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = minted {
        let expires_at = rows::instant("tokens", &id, row.expires_at)?;
        let task = thread_by_id(&mut *connection, &id).await?;
        if let Some(thread) = task {
            let entry = LogEntry::TokenMinted { expires_at };
            let line = LogInsert::new(now, &entry)?.task(agent, &thread.task_id).thread(&id);
            log::insert(connection, line).await?;
        }
        return Ok(MintOutcome::Minted { expires_at });
    }
    let approved = thread_by_id(&mut *connection, &id)
        .await?
        .is_some_and(|thread| thread.agent_id == agent && matches!(thread.state, ThreadState::Approved(_)));
    if !approved {
        return Ok(MintOutcome::NotApproved);
    }
    let spent = sqlx::query!("SELECT spent_at FROM tokens WHERE thread_id = $1", thread)
        .fetch_optional(connection)
        .await?
        .and_then(|row| row.spent_at);
    Ok(if spent.is_some() { MintOutcome::Spent } else { MintOutcome::Lapsed })
}

async fn redeem(
    transaction: &mut Transaction<Directory>,
    agent: AgentId,
    task: TaskId,
    hash: SecretHash,
    now: Timestamp,
) -> Result<RedeemOutcome, WriteError> {
    let connection = &mut transaction.connection;
    let (hash, at, task_text) = (hash.as_bytes().as_slice(), now.as_microsecond(), task.as_str());
    let spent = sqlx::query!(
        r#"UPDATE tokens SET spent_at = $4
        WHERE hash = $1 AND spent_at IS NULL AND expires_at > $4 AND thread_id IN
            (SELECT id FROM threads WHERE agent_id = $2 AND task_id = $3 AND state = 'approved')
        RETURNING thread_id AS "thread_id!: String""#,
        hash,
        agent.0,
        task_text,
        at
    )
    .fetch_optional(&mut *connection)
    .await?;
    let token = sqlx::query!(
        "SELECT k.thread_id, k.spent_at, t.decided_revision FROM tokens k JOIN threads t ON t.id = k.thread_id
        WHERE k.hash = $1 AND t.agent_id = $2 AND t.task_id = $3",
        hash,
        agent.0,
        task_text
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(token) = token else { return Ok(RedeemOutcome::Invalid) };
    let thread_id = ThreadId::new(token.thread_id);
    let (entry, outcome) = if spent.is_some() {
        let revision = token
            .decided_revision
            .ok_or_else(|| rows::impossible("threads", &thread_id, "decided, yet on no revision"))?;
        let revision_id = RevisionId::new(revision);
        let entry = LogEntry::TokenRedeemed { revision_id: revision_id.clone() };
        (entry, RedeemOutcome::Valid { thread_id: thread_id.clone(), revision_id })
    } else if token.spent_at.is_some() {
        let entry = LogEntry::TokenRefused { reason: "used".to_owned() };
        (entry, RedeemOutcome::Used { thread_id: thread_id.clone() })
    } else {
        let entry = LogEntry::TokenRefused { reason: "expired".to_owned() };
        (entry, RedeemOutcome::Expired { thread_id: thread_id.clone() })
    };
    log::insert(connection, LogInsert::new(now, &entry)?.task(agent, &task).thread(&thread_id)).await?;
    transaction.mirror.ring(Change::Thread { id: thread_id, agent, concerns: Concerns::Onlookers });
    Ok(outcome)
}

#[async_trait]
impl Tokens for SqliteStore {
    async fn mint_token(
        &self,
        agent: AgentId,
        thread: &ThreadId,
        hash: SecretHash,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<MintOutcome, StoreError> {
        let thread = thread.clone();
        self.writer.many(move |transaction| Box::pin(mint(transaction, agent, thread, hash, ttl, now))).await
    }

    async fn redeem_token(
        &self,
        agent: AgentId,
        task: &TaskId,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<RedeemOutcome, StoreError> {
        let task = task.clone();
        self.writer.many(move |transaction| Box::pin(redeem(transaction, agent, task, hash, now))).await
    }
}
