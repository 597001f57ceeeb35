//! Rows as the database has them, and the types that cannot be wrong.

use std::time::Duration;

use holdpoint_api::declare::Role;
use holdpoint_api::{RiskLevel, SecretHash, TaskId};
use holdpoint_store::{
    Agent, AgentId, AgentSettings, AgentState, Decider, ImageType, LogEntry, LogRow, LogSeq, OpenState,
    Revision, RevisionId, StoreError, Thread, ThreadId, ThreadState, User, UserId, Verdict,
};
use jiff::Timestamp;
use sqlx::{Executor, Sqlite};

use crate::error::WriteError;

pub(super) fn impossible(
    table: &'static str,
    row: &(impl ToString + ?Sized),
    reason: &'static str,
) -> StoreError {
    StoreError::ImpossibleRow { table, row: row.to_string(), reason }
}

pub(super) fn instant(
    table: &'static str,
    row: &impl ToString,
    micros: i64,
) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| impossible(table, row, "an instant is out of range"))
}

fn hash(table: &'static str, row: i64, bytes: Vec<u8>) -> Result<SecretHash, StoreError> {
    let bytes: [u8; 32] =
        bytes.try_into().map_err(|_| impossible(table, &row, "a hash is not 32 bytes long"))?;
    Ok(SecretHash::from_bytes(bytes))
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// An agent with what finds it.
pub(super) struct AgentRow {
    pub(super) key_hash: SecretHash,
    pub(super) agent: Agent,
}

struct RawAgent {
    id: i64,
    name: String,
    key_hash: Vec<u8>,
    key_hint: String,
    state: String,
    signed_tokens: i64,
    token_ttl: Option<i64>,
    created_at: i64,
}

impl TryFrom<RawAgent> for AgentRow {
    type Error = StoreError;

    fn try_from(raw: RawAgent) -> Result<Self, StoreError> {
        const TABLE: &str = "agents";
        let state = match raw.state.as_str() {
            "active" => AgentState::Active,
            "paused" => AgentState::Paused,
            "revoked" => AgentState::Revoked,
            _ => return Err(impossible(TABLE, &raw.id, "unknown state")),
        };
        let token_ttl = match raw.token_ttl.map(u64::try_from) {
            None => None,
            Some(Ok(micros)) => Some(Duration::from_micros(micros)),
            Some(Err(_)) => return Err(impossible(TABLE, &raw.id, "a negative length of time")),
        };
        Ok(Self {
            key_hash: hash(TABLE, raw.id, raw.key_hash)?,
            agent: Agent {
                id: AgentId(raw.id),
                name: raw.name,
                key_hint: raw.key_hint,
                state,
                settings: AgentSettings { signed_tokens: raw.signed_tokens != 0, token_ttl },
                created_at: instant(TABLE, &raw.id, raw.created_at)?,
            },
        })
    }
}

pub(super) async fn agents(on: impl Executor<'_, Database = Sqlite>) -> Result<Vec<AgentRow>, WriteError> {
    let rows = sqlx::query_as!(
        RawAgent,
        "SELECT id, name, key_hash, key_hint, state, signed_tokens, token_ttl, created_at FROM agents ORDER BY name"
    )
    .fetch_all(on)
    .await?;
    Ok(rows.into_iter().map(AgentRow::try_from).collect::<Result<_, _>>()?)
}

pub(super) async fn agent_by_hash(
    on: impl Executor<'_, Database = Sqlite>,
    key_hash: &SecretHash,
) -> Result<Option<AgentRow>, WriteError> {
    let hash = key_hash.as_bytes().as_slice();
    let row = sqlx::query_as!(
        RawAgent,
        "SELECT id, name, key_hash, key_hint, state, signed_tokens, token_ttl, created_at FROM agents
        WHERE key_hash = $1",
        hash
    )
    .fetch_optional(on)
    .await?;
    Ok(row.map(AgentRow::try_from).transpose()?)
}

pub(super) struct DeclarationRow {
    pub(super) revision: i64,
    pub(super) declaration: String,
    pub(super) applied_by: String,
    pub(super) applied_at: i64,
}

pub(super) async fn latest_declaration(
    on: impl Executor<'_, Database = Sqlite>,
) -> Result<Option<DeclarationRow>, WriteError> {
    Ok(sqlx::query_as!(
        DeclarationRow,
        "SELECT revision, declaration, applied_by, applied_at FROM declarations ORDER BY revision DESC LIMIT 1"
    )
    .fetch_optional(on)
    .await?)
}

/// A thread with its current revision and its agent's name.
pub(super) struct ThreadRow {
    pub(super) id: String,
    pub(super) agent_id: i64,
    pub(super) agent_name: String,
    pub(super) task_id: String,
    pub(super) state: String,
    pub(super) opened_at: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) feedback: Option<String>,
    pub(super) closed_at: Option<i64>,
    pub(super) decider: Option<String>,
    pub(super) decided_by: Option<String>,
    pub(super) note: Option<String>,
    pub(super) decided_revision: Option<String>,
    pub(super) revision_id: String,
    pub(super) number: i64,
    pub(super) workflow_name: String,
    pub(super) task_label: String,
    pub(super) tool_name: String,
    pub(super) subject: String,
    pub(super) preview: Option<String>,
    pub(super) risk_level: Option<String>,
    pub(super) summary: String,
    pub(super) payload: String,
    pub(super) payload_digest: String,
    pub(super) rule_trace: String,
    pub(super) made_at: i64,
}

/// The text of a query over threads; the condition follows.
macro_rules! query_threads {
    ($condition:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::gate::rows::ThreadRow,
            r#"SELECT t.id, t.agent_id, a.name AS agent_name, t.task_id, t.state, t.opened_at, t.expires_at, t.feedback,
                t.closed_at, t.decider, t.decided_by, t.note, t.decided_revision,
                r.id AS revision_id, r.number, r.workflow_name, r.task_label, r.tool_name, r.subject, r.preview,
                r.risk_level, r.summary, r.payload, r.payload_digest, r.rule_trace, r.made_at
            FROM threads t
            JOIN agents a ON a.id = t.agent_id
            JOIN revisions r ON r.thread_id = t.id AND r.id = t.current_revision "# + $condition,
            $($argument),*
        )
    };
}
pub(super) use query_threads;

impl TryFrom<ThreadRow> for Thread {
    type Error = StoreError;

    fn try_from(row: ThreadRow) -> Result<Self, StoreError> {
        const TABLE: &str = "threads";
        let wrong = |reason| impossible(TABLE, &row.id, reason);
        let at = |micros| instant(TABLE, &row.id, micros);
        let verdict = |decider: Decider| -> Result<Verdict, StoreError> {
            let closed_at = row.closed_at.ok_or_else(|| wrong("decided, yet at no time"))?;
            let revision =
                row.decided_revision.clone().ok_or_else(|| wrong("decided, yet on no revision"))?;
            Ok(Verdict {
                by: decider,
                at: at(closed_at)?,
                note: row.note.clone(),
                revision_id: RevisionId::new(revision),
            })
        };
        let person = || {
            row.decided_by
                .clone()
                .map(Decider::Person)
                .ok_or_else(|| wrong("decided by a person without a name"))
        };
        let state = match (row.state.as_str(), row.decider.as_deref(), row.closed_at) {
            ("needs_review", None, None) => ThreadState::Open(OpenState::NeedsReview),
            ("escalated", None, None) => ThreadState::Open(OpenState::Escalated),
            ("approved", Some("person"), _) => ThreadState::Approved(verdict(person()?)?),
            ("rejected", Some("person"), _) => ThreadState::Rejected(verdict(person()?)?),
            ("rejected", Some("rules"), _) => ThreadState::Rejected(verdict(Decider::Rules)?),
            ("expired", None, Some(closed_at)) => ThreadState::Expired { at: at(closed_at)? },
            (_, _, _) => return Err(wrong("state and decider do not fit")),
        };
        Ok(Self {
            state,
            agent_id: AgentId(row.agent_id),
            task_id: TaskId::parse(row.task_id.clone()).map_err(|_| wrong("unusable task id"))?,
            opened_at: at(row.opened_at)?,
            expires_at: row.expires_at.map(at).transpose()?,
            revision: RevisionRow {
                id: row.revision_id.clone(),
                number: row.number,
                workflow_name: row.workflow_name.clone(),
                task_label: row.task_label.clone(),
                tool_name: row.tool_name.clone(),
                subject: row.subject.clone(),
                preview: row.preview.clone(),
                risk_level: row.risk_level.clone(),
                summary: row.summary.clone(),
                payload: row.payload.clone(),
                payload_digest: row.payload_digest.clone(),
                rule_trace: row.rule_trace.clone(),
                made_at: row.made_at,
            }
            .read(&row.id)?,
            id: ThreadId::new(row.id),
            agent_name: row.agent_name,
            feedback: row.feedback,
        })
    }
}

pub(super) struct RevisionRow {
    pub(super) id: String,
    pub(super) number: i64,
    pub(super) workflow_name: String,
    pub(super) task_label: String,
    pub(super) tool_name: String,
    pub(super) subject: String,
    pub(super) preview: Option<String>,
    pub(super) risk_level: Option<String>,
    pub(super) summary: String,
    pub(super) payload: String,
    pub(super) payload_digest: String,
    pub(super) rule_trace: String,
    pub(super) made_at: i64,
}

impl RevisionRow {
    pub(super) fn read(self, thread: &str) -> Result<Revision, StoreError> {
        const TABLE: &str = "revisions";
        let row = || format!("{thread}, {}", self.number);
        let risk_level = match self.risk_level.as_deref() {
            None => None,
            Some("low") => Some(RiskLevel::Low),
            Some("medium") => Some(RiskLevel::Medium),
            Some("high") => Some(RiskLevel::High),
            Some("critical") => Some(RiskLevel::Critical),
            Some(_) => return Err(impossible(TABLE, &row(), "unknown risk level")),
        };
        let summary = serde_json::from_str(&self.summary)
            .map_err(|_| impossible(TABLE, &row(), "the summary is no list of texts"))?;
        let made_at = instant(TABLE, &row(), self.made_at)?;
        Ok(Revision {
            id: RevisionId::new(self.id),
            number: self.number,
            workflow_name: self.workflow_name,
            task_label: self.task_label,
            tool_name: self.tool_name,
            subject: self.subject,
            preview: self.preview,
            risk_level,
            summary,
            payload: self.payload,
            payload_digest: self.payload_digest,
            rule_trace: self.rule_trace,
            made_at,
        })
    }
}

pub(super) struct RawLog {
    pub(super) seq: i64,
    pub(super) at: i64,
    pub(super) agent_id: Option<i64>,
    pub(super) task_id: Option<String>,
    pub(super) thread_id: Option<String>,
    pub(super) kind: String,
    pub(super) entry: String,
}

impl TryFrom<RawLog> for LogRow {
    type Error = StoreError;

    fn try_from(raw: RawLog) -> Result<Self, StoreError> {
        const TABLE: &str = "log";
        let entry: LogEntry = serde_json::from_str(&raw.entry)
            .map_err(|_| impossible(TABLE, &raw.seq, "the entry cannot be read"))?;
        if entry.kind() != raw.kind {
            return Err(impossible(TABLE, &raw.seq, "kind and entry do not fit"));
        }
        let task_id = raw
            .task_id
            .map(TaskId::parse)
            .transpose()
            .map_err(|_| impossible(TABLE, &raw.seq, "unusable task id"))?;
        Ok(Self {
            seq: LogSeq(raw.seq),
            at: instant(TABLE, &raw.seq, raw.at)?,
            agent_id: raw.agent_id.map(AgentId),
            task_id,
            thread_id: raw.thread_id.map(ThreadId::new),
            entry,
        })
    }
}

pub(super) struct RawUser {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) password_hash: Option<String>,
    pub(super) role: String,
    pub(super) created_at: i64,
}

impl TryFrom<RawUser> for User {
    type Error = StoreError;

    fn try_from(raw: RawUser) -> Result<Self, StoreError> {
        const TABLE: &str = "users";
        let role = match raw.role.as_str() {
            "admin" => Role::Admin,
            "reviewer" => Role::Reviewer,
            _ => return Err(impossible(TABLE, &raw.id, "unknown role")),
        };
        Ok(Self {
            id: UserId(raw.id),
            name: raw.name,
            password_hash: raw.password_hash,
            role,
            created_at: instant(TABLE, &raw.id, raw.created_at)?,
        })
    }
}

pub(super) fn image_type(row: i64, media_type: &str) -> Result<ImageType, StoreError> {
    match media_type {
        "image/png" => Ok(ImageType::Png),
        "image/jpeg" => Ok(ImageType::Jpeg),
        "image/gif" => Ok(ImageType::Gif),
        "image/webp" => Ok(ImageType::Webp),
        _ => Err(impossible("images", &row, "unknown media type")),
    }
}
