//! The log: automatic decisions, events, and what every other change leaves in it.

use std::fmt;

use async_trait::async_trait;
use holdpoint_api::TaskId;
use holdpoint_store::{
    AgentId, AutomaticDecision, Change, Decisions, Idempotency, ImageId, ImageInfo, LogEntry, LogRow, LogSeq,
    NewEvent, NewImage, RecordOutcome, StoreError, ThreadId,
};
use jiff::Timestamp;
use sqlx::{QueryBuilder, SqliteConnection};

use super::SqliteStore;
use super::rows::{self, RawLog};
use crate::error::WriteError;
use crate::writer::reading;

/// A line to be written.
pub(super) struct LogInsert {
    at: i64,
    agent_id: Option<i64>,
    task_id: Option<String>,
    thread_id: Option<String>,
    kind: &'static str,
    entry: String,
}

impl fmt::Debug for LogInsert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogInsert").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl LogInsert {
    pub(super) fn new(now: Timestamp, entry: &LogEntry) -> Result<Self, StoreError> {
        let text = serde_json::to_string(entry)
            .map_err(|_| rows::impossible("log", "new", "the entry cannot be written as JSON"))?;
        Ok(Self {
            at: now.as_microsecond(),
            agent_id: None,
            task_id: None,
            thread_id: None,
            kind: entry.kind(),
            entry: text,
        })
    }

    pub(super) fn task(mut self, agent: AgentId, task: &TaskId) -> Self {
        self.agent_id = Some(agent.0);
        self.task_id = Some(task.as_str().to_owned());
        self
    }

    pub(super) fn agent(mut self, agent: AgentId) -> Self {
        self.agent_id = Some(agent.0);
        self
    }

    pub(super) fn thread(mut self, thread: &ThreadId) -> Self {
        self.thread_id = Some(thread.as_str().to_owned());
        self
    }
}

pub(super) async fn insert(connection: &mut SqliteConnection, line: LogInsert) -> Result<LogSeq, WriteError> {
    let LogInsert { at, agent_id, task_id, thread_id, kind, entry } = line;
    let done = sqlx::query!(
        "INSERT INTO log (at, agent_id, task_id, thread_id, kind, entry) VALUES ($1, $2, $3, $4, $5, $6)",
        at,
        agent_id,
        task_id,
        thread_id,
        kind,
        entry
    )
    .execute(connection)
    .await?;
    Ok(LogSeq(done.last_insert_rowid()))
}

/// Lines per statement. Statements are prepared once per number of lines and kept, so there are at most this many.
const LINES_MAX: usize = 64;

/// Writes many lines with as few statements as possible.
pub(super) async fn insert_many(
    connection: &mut SqliteConnection,
    lines: Vec<LogInsert>,
) -> Result<(), WriteError> {
    let mut lines = lines.into_iter().peekable();
    while lines.peek().is_some() {
        let mut query = QueryBuilder::new("INSERT INTO log (at, agent_id, task_id, thread_id, kind, entry) ");
        query.push_values(lines.by_ref().take(LINES_MAX), |mut row, line| {
            row.push_bind(line.at)
                .push_bind(line.agent_id)
                .push_bind(line.task_id)
                .push_bind(line.thread_id)
                .push_bind(line.kind)
                .push_bind(line.entry);
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// What an idempotency key says of a request.
pub(super) enum Claim {
    /// It is new, and kept now.
    New,
    /// It was answered with this.
    Answered(String),
    /// It was used for another body.
    Conflict,
}

/// Keeps a key with its answer, unless it is taken.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    agent: AgentId,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Claim, WriteError> {
    let Idempotency { key, body_digest, answer } = idempotency;
    let digest = body_digest.as_slice();
    let at = now.as_microsecond();
    let claimed = sqlx::query!(
        "INSERT INTO idempotency (agent_id, key, body_digest, answer, at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (agent_id, key) DO NOTHING",
        agent.0,
        key,
        digest,
        answer,
        at
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if claimed == 1 {
        return Ok(Claim::New);
    }
    let earlier = sqlx::query!(
        "SELECT body_digest, answer FROM idempotency WHERE agent_id = $1 AND key = $2",
        agent.0,
        key
    )
    .fetch_one(connection)
    .await?;
    Ok(if earlier.body_digest == digest { Claim::Answered(earlier.answer) } else { Claim::Conflict })
}

/// What an image belongs to.
pub(super) enum ImageOwner<'owner> {
    Event(LogSeq),
    Revision(&'owner str, &'owner str),
}

pub(super) async fn insert_images(
    connection: &mut SqliteConnection,
    owner: ImageOwner<'_>,
    images: Vec<NewImage>,
) -> Result<(), WriteError> {
    let (event, thread, revision) = match owner {
        ImageOwner::Event(seq) => (Some(seq.0), None, None),
        ImageOwner::Revision(thread, revision) => (None, Some(thread), Some(revision)),
    };
    for NewImage { image_type, bytes } in images {
        let media_type = image_type.media_type();
        sqlx::query!(
            "INSERT INTO images (event_seq, thread_id, revision_id, media_type, bytes) VALUES ($1, $2, $3, $4, $5)",
            event,
            thread,
            revision,
            media_type,
            bytes
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn decided_line(decision: &AutomaticDecision) -> Result<LogInsert, StoreError> {
    let entry = LogEntry::DecidedByRules {
        outcome: decision.outcome,
        tool_name: decision.tool_name.clone(),
        subject: decision.subject.clone(),
        payload: decision.payload.clone(),
        payload_digest: decision.payload_digest.clone(),
        rule_trace: decision.rule_trace.clone(),
    };
    Ok(LogInsert::new(decision.now, &entry)?.task(decision.agent_id, &decision.task_id))
}

#[async_trait]
impl Decisions for SqliteStore {
    async fn record_decision(&self, decision: AutomaticDecision) -> Result<RecordOutcome, StoreError> {
        let line = decided_line(&decision)?;
        let Some(idempotency) = decision.idempotency else {
            self.writer.bulk(line).await?;
            return Ok(RecordOutcome::Recorded);
        };
        self.writer
            .many(move |transaction| {
                Box::pin(async move {
                    let connection = &mut transaction.connection;
                    match claim(connection, decision.agent_id, &idempotency, decision.now).await? {
                        Claim::Answered(answer) => Ok(RecordOutcome::Replayed(answer)),
                        Claim::Conflict => Ok(RecordOutcome::KeyConflict),
                        Claim::New => {
                            insert(connection, line).await?;
                            Ok(RecordOutcome::Recorded)
                        }
                    }
                })
            })
            .await
    }

    async fn add_event(&self, event: NewEvent) -> Result<LogSeq, StoreError> {
        let NewEvent { agent_id, task_id, event_type, event_summary, payload, images, now } = event;
        let line = LogInsert::new(now, &LogEntry::Event { event_type, event_summary, payload })?
            .task(agent_id, &task_id);
        self.writer
            .many(move |transaction| {
                Box::pin(async move {
                    let seq = insert(&mut transaction.connection, line).await?;
                    insert_images(&mut transaction.connection, ImageOwner::Event(seq), images).await?;
                    transaction.mirror.ring(Change::Task(agent_id, task_id));
                    Ok(seq)
                })
            })
            .await
    }

    async fn images_of_event(&self, event: LogSeq) -> Result<Vec<ImageInfo>, StoreError> {
        let rows =
            sqlx::query!("SELECT id, media_type FROM images WHERE event_seq = $1 ORDER BY id", event.0)
                .fetch_all(&self.readers)
                .await
                .map_err(reading)?;
        rows.into_iter()
            .map(|row| {
                Ok(ImageInfo { id: ImageId(row.id), image_type: rows::image_type(row.id, &row.media_type)? })
            })
            .collect()
    }

    async fn record_access(&self, user: &str, what: &str, now: Timestamp) -> Result<(), StoreError> {
        let entry = LogEntry::Access { user: user.to_owned(), what: what.to_owned() };
        self.writer.bulk(LogInsert::new(now, &entry)?).await
    }

    async fn log_after(&self, after: LogSeq, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        let rows = sqlx::query_as!(
            RawLog,
            "SELECT seq, at, agent_id, task_id, thread_id, kind, entry FROM log WHERE seq > $1 ORDER BY seq LIMIT $2",
            after.0,
            limit
        )
        .fetch_all(&self.readers)
        .await
        .map_err(reading)?;
        rows.into_iter().map(LogRow::try_from).collect()
    }
}
