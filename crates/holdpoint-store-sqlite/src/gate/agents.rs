//! Agents and the declaration in force.

use std::sync::Arc;

use async_trait::async_trait;
use holdpoint_api::SecretHash;
use holdpoint_api::declare::GateDeclaration;
use holdpoint_store::{
    Agent, AgentChange, AgentId, AgentSettings, AgentState, Agents, AppliedDeclaration, ApplyOutcome,
    CreateAgent, LogEntry, NewAgent, StoreError,
};
use jiff::Timestamp;

use super::SqliteStore;
use super::directory::Directory;
use super::log::{self, LogInsert};
use super::rows;
use crate::error::{WriteError, database};
use crate::writer::Transaction;

fn state_word(state: AgentState) -> &'static str {
    match state {
        AgentState::Active => "active",
        AgentState::Paused => "paused",
        AgentState::Revoked => "revoked",
    }
}

async fn agent_named(
    transaction: &mut Transaction<Directory>,
    name: &str,
) -> Result<Option<Agent>, WriteError> {
    let agents = rows::agents(&mut transaction.connection).await?;
    Ok(agents.into_iter().map(|row| row.agent).find(|agent| agent.name == name))
}

/// The answer to a conditional update of an agent, and its line in the log.
async fn after_update(
    transaction: &mut Transaction<Directory>,
    name: &str,
    rows_changed: u64,
    entry: LogEntry,
    now: Timestamp,
) -> Result<AgentChange, WriteError> {
    let Some(agent) = agent_named(transaction, name).await? else { return Ok(AgentChange::NotFound) };
    if rows_changed == 0 {
        return Ok(AgentChange::Unchanged(agent));
    }
    log::insert(&mut transaction.connection, LogInsert::new(now, &entry)?.agent(agent.id)).await?;
    transaction.mirror.setup_changed();
    Ok(AgentChange::Changed(agent))
}

#[async_trait]
impl Agents for SqliteStore {
    async fn create_agent(&self, new: NewAgent) -> Result<CreateAgent, StoreError> {
        self.writer.many(move |transaction| Box::pin(create(transaction, new))).await
    }

    async fn agents(&self) -> Result<Vec<Agent>, StoreError> {
        let rows = rows::agents(&self.readers).await.map_err(unwrap_read)?;
        Ok(rows.into_iter().map(|row| row.agent).collect())
    }

    async fn agent_by_key(&self, key_hash: SecretHash) -> Result<Option<Arc<Agent>>, StoreError> {
        if let Some(snapshot) = self.shared.current() {
            return Ok(snapshot.agent(&key_hash));
        }
        // Somebody committed. The next call finds the directory up to date.
        self.writer.nudge();
        let row = rows::agent_by_hash(&self.readers, &key_hash).await.map_err(unwrap_read)?;
        Ok(row.map(|row| Arc::new(row.agent)))
    }

    async fn regenerate_key(
        &self,
        name: &str,
        key_hash: SecretHash,
        key_hint: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<AgentChange, StoreError> {
        let (name, key_hint, by) = (name.to_owned(), key_hint.to_owned(), by.to_owned());
        self.writer
            .many(move |transaction| {
                Box::pin(async move {
                    let hash = key_hash.as_bytes().as_slice();
                    let done = sqlx::query!(
                        "UPDATE agents SET key_hash = $2, key_hint = $3 WHERE name = $1 AND state <> 'revoked'",
                        name,
                        hash,
                        key_hint
                    )
                    .execute(&mut transaction.connection)
                    .await?;
                    let entry = LogEntry::AgentKeyRegenerated { name: name.clone(), by };
                    after_update(transaction, &name, done.rows_affected(), entry, now).await
                })
            })
            .await
    }

    async fn set_agent_state(
        &self,
        name: &str,
        state: AgentState,
        by: &str,
        now: Timestamp,
    ) -> Result<AgentChange, StoreError> {
        let (name, by) = (name.to_owned(), by.to_owned());
        self.writer
            .many(move |transaction| {
                Box::pin(async move {
                    let word = state_word(state);
                    let done = sqlx::query!(
                        "UPDATE agents SET state = $2 WHERE name = $1 AND state <> 'revoked' AND state <> $2",
                        name,
                        word
                    )
                    .execute(&mut transaction.connection)
                    .await?;
                    let entry = LogEntry::AgentChanged { name: name.clone(), change: word.to_owned(), by };
                    after_update(transaction, &name, done.rows_affected(), entry, now).await
                })
            })
            .await
    }

    async fn set_agent_settings(
        &self,
        name: &str,
        settings: AgentSettings,
        by: &str,
        now: Timestamp,
    ) -> Result<AgentChange, StoreError> {
        let (name, by) = (name.to_owned(), by.to_owned());
        self.writer
            .many(move |transaction| {
                Box::pin(async move {
                    let ttl = settings.token_ttl.map(rows::micros);
                    let done = sqlx::query!(
                        "UPDATE agents SET signed_tokens = $2, token_ttl = $3 WHERE name = $1 AND state <> 'revoked'
                        AND (signed_tokens <> $2 OR token_ttl IS NOT $3)",
                        name,
                        settings.signed_tokens,
                        ttl
                    )
                    .execute(&mut transaction.connection)
                    .await?;
                    let change = if settings.signed_tokens { "signed tokens on" } else { "signed tokens off" };
                    let entry = LogEntry::AgentChanged { name: name.clone(), change: change.to_owned(), by };
                    after_update(transaction, &name, done.rows_affected(), entry, now).await
                })
            })
            .await
    }

    async fn apply_declaration(
        &self,
        declaration: &GateDeclaration,
        by: &str,
        now: Timestamp,
    ) -> Result<ApplyOutcome, StoreError> {
        let text = serde_json::to_string(declaration)
            .map_err(|_| rows::impossible("declarations", "new", "it cannot be written as JSON"))?;
        let by = by.to_owned();
        self.writer.many(move |transaction| Box::pin(apply(transaction, text, by, now))).await
    }

    async fn declaration(&self) -> Result<Option<Arc<AppliedDeclaration>>, StoreError> {
        if let Some(snapshot) = self.shared.current() {
            return Ok(snapshot.declaration());
        }
        self.writer.nudge();
        let row = rows::latest_declaration(&self.readers).await.map_err(unwrap_read)?;
        Ok(row.map(AppliedDeclaration::try_from).transpose()?.map(Arc::new))
    }
}

async fn create(transaction: &mut Transaction<Directory>, new: NewAgent) -> Result<CreateAgent, WriteError> {
    let NewAgent { name, key_hash, key_hint, settings, by, now } = new;
    let hash = key_hash.as_bytes().as_slice();
    let ttl = settings.token_ttl.map(rows::micros);
    let at = now.as_microsecond();
    let done = sqlx::query!(
        "INSERT INTO agents (name, key_hash, key_hint, state, signed_tokens, token_ttl, created_at)
        VALUES ($1, $2, $3, 'active', $4, $5, $6) ON CONFLICT (name) DO NOTHING",
        name,
        hash,
        key_hint,
        settings.signed_tokens,
        ttl,
        at
    )
    .execute(&mut transaction.connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(CreateAgent::NameTaken);
    }
    let id = AgentId(done.last_insert_rowid());
    let entry = LogEntry::AgentCreated { name: name.clone(), by };
    log::insert(&mut transaction.connection, LogInsert::new(now, &entry)?.agent(id)).await?;
    transaction.mirror.setup_changed();
    let created_at = rows::instant("agents", &id.0, at)?;
    Ok(CreateAgent::Created(Agent { id, name, key_hint, state: AgentState::Active, settings, created_at }))
}

async fn apply(
    transaction: &mut Transaction<Directory>,
    text: String,
    by: String,
    now: Timestamp,
) -> Result<ApplyOutcome, WriteError> {
    let connection = &mut transaction.connection;
    let latest = rows::latest_declaration(&mut *connection).await?;
    let revision = match latest {
        Some(row) if row.declaration == text => return Ok(ApplyOutcome::Unchanged(row.revision)),
        Some(row) => row.revision + 1,
        None => 1,
    };
    let at = now.as_microsecond();
    sqlx::query!(
        "INSERT INTO declarations (revision, declaration, applied_by, applied_at) VALUES ($1, $2, $3, $4)",
        revision,
        text,
        by,
        at
    )
    .execute(&mut *connection)
    .await?;
    log::insert(connection, LogInsert::new(now, &LogEntry::DeclarationApplied { revision, by })?).await?;
    transaction.mirror.setup_changed();
    Ok(ApplyOutcome::Applied(revision))
}

/// Reading rows of agents fails in two ways that are one here.
pub(super) fn unwrap_read(error: WriteError) -> StoreError {
    match error {
        WriteError::Refused(error) => error,
        WriteError::Fatal(error) => database("read", error),
    }
}
