//! Threads: opening and reading.

use std::collections::HashSet;

use async_trait::async_trait;
use holdpoint_api::TaskId;
use holdpoint_store::{
    AddRevision, AgentId, AskOutcome, Change, Concerns, DecideOutcome, Decision, Folder, FolderCounts, Image,
    ImageId, ImageInfo, LogEntry, LogRow, LogSeq, NewRevision, NewThread, News, OpenOutcome, OpenState,
    Revision, RevisionId, RevisionOutcome, StoreError, Thread, ThreadId, ThreadQuery, Threads,
};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::decide::{ask, decide, expire};
use super::directory::Directory;
use super::log::{self, Claim, ImageOwner, LogInsert};
use super::revise;
use super::rows::{self, RawLog, RevisionRow, query_threads};
use crate::error::WriteError;
use crate::writer::{Transaction, reading};

pub(super) fn open_word(state: OpenState) -> &'static str {
    match state {
        OpenState::NeedsReview => "needs_review",
        OpenState::Escalated => "escalated",
    }
}

pub(super) async fn thread_by_id(
    connection: &mut SqliteConnection,
    id: &ThreadId,
) -> Result<Option<Thread>, WriteError> {
    let id = id.as_str();
    let row = query_threads!("WHERE t.id = $1", id).fetch_optional(connection).await?;
    Ok(row.map(Thread::try_from).transpose()?)
}

pub(super) async fn insert_revision(
    connection: &mut SqliteConnection,
    thread: &ThreadId,
    revision: &NewRevision,
    number: i64,
    body_digest: Option<&[u8]>,
    now: Timestamp,
) -> Result<(), WriteError> {
    let thread = thread.as_str();
    let id = revision.id.as_str();
    let risk = revision.risk_level.map(holdpoint_api::RiskLevel::as_str);
    let summary = serde_json::to_string(&revision.summary)
        .map_err(|_| rows::impossible("revisions", id, "the summary cannot be written as JSON"))?;
    let at = now.as_microsecond();
    sqlx::query!(
        "INSERT INTO revisions (thread_id, id, number, body_digest, workflow_name, task_label, tool_name, subject,
            preview, risk_level, summary, payload, payload_digest, rule_trace, made_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        thread,
        id,
        number,
        body_digest,
        revision.workflow_name,
        revision.task_label,
        revision.tool_name,
        revision.subject,
        revision.preview,
        risk,
        summary,
        revision.payload,
        revision.payload_digest,
        revision.rule_trace,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn open(transaction: &mut Transaction<Directory>, new: NewThread) -> Result<OpenOutcome, WriteError> {
    let connection = &mut transaction.connection;
    if let Some(idempotency) = &new.idempotency {
        match log::claim(&mut *connection, new.agent_id, idempotency, new.now).await? {
            Claim::New => {}
            Claim::Answered(answer) => return Ok(OpenOutcome::Replayed(answer)),
            Claim::Conflict => return Ok(OpenOutcome::KeyConflict),
        }
    }
    let (id, task, revision) = (new.id.as_str(), new.task_id.as_str(), new.revision.id.as_str());
    let state = open_word(new.state);
    let (at, expires_at) = (new.now.as_microsecond(), new.expires_at.map(Timestamp::as_microsecond));
    let opened = sqlx::query!(
        "INSERT INTO threads (id, agent_id, task_id, state, opened_at, expires_at, current_revision)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
        id,
        new.agent_id.0,
        task,
        state,
        at,
        expires_at,
        revision
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if opened == 0 {
        release(connection, &new).await?;
        return Ok(OpenOutcome::IdTaken);
    }
    insert_revision(&mut *connection, &new.id, &new.revision, 1, None, new.now).await?;
    log::insert_images(&mut *connection, ImageOwner::Revision(id, revision), new.images).await?;
    let entry = LogEntry::ThreadOpened {
        tool_name: new.revision.tool_name,
        subject: new.revision.subject,
        revision_id: new.revision.id,
        payload_digest: new.revision.payload_digest,
        state: new.state,
    };
    let line = LogInsert::new(new.now, &entry)?.task(new.agent_id, &new.task_id).thread(&new.id);
    log::insert(connection, line).await?;
    let concerns = Concerns::Onlookers;
    transaction.mirror.ring(Change::Thread { id: new.id, agent: new.agent_id, concerns });
    Ok(OpenOutcome::Opened)
}

/// Gives back the key that was claimed for a thread whose id turned out to be taken.
async fn release(connection: &mut SqliteConnection, new: &NewThread) -> Result<(), WriteError> {
    if let Some(idempotency) = &new.idempotency {
        sqlx::query!(
            "DELETE FROM idempotency WHERE agent_id = $1 AND key = $2",
            new.agent_id.0,
            idempotency.key
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// A search text as a pattern: what is special in patterns stands for itself.
fn pattern(search: &str) -> String {
    let mut pattern = String::with_capacity(search.len() + 2);
    pattern.push('%');
    for letter in search.trim().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

fn folder_word(folder: Folder) -> &'static str {
    match folder {
        Folder::Open => "open",
        Folder::Approved => "approved",
        Folder::Rejected => "rejected",
        Folder::Expired => "expired",
        Folder::All => "all",
    }
}

#[async_trait]
impl Threads for SqliteStore {
    async fn open_thread(&self, thread: NewThread) -> Result<OpenOutcome, StoreError> {
        self.writer.many(move |transaction| Box::pin(open(transaction, thread))).await
    }

    async fn thread(&self, id: &ThreadId) -> Result<Option<Thread>, StoreError> {
        let id = id.as_str();
        let row =
            query_threads!("WHERE t.id = $1", id).fetch_optional(&self.readers).await.map_err(reading)?;
        row.map(Thread::try_from).transpose()
    }

    async fn thread_of(&self, agent: AgentId, id: &ThreadId) -> Result<Option<Thread>, StoreError> {
        let id = id.as_str();
        let row = query_threads!("WHERE t.id = $1 AND t.agent_id = $2", id, agent.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(reading)?;
        row.map(Thread::try_from).transpose()
    }

    async fn latest_thread(&self, agent: AgentId, task: &TaskId) -> Result<Option<Thread>, StoreError> {
        let task = task.as_str();
        let row = query_threads!(
            "WHERE t.agent_id = $1 AND t.task_id = $2 ORDER BY t.seq DESC LIMIT 1",
            agent.0,
            task
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(reading)?;
        row.map(Thread::try_from).transpose()
    }

    async fn add_revision(&self, revision: AddRevision) -> Result<RevisionOutcome, StoreError> {
        self.writer.many(move |transaction| Box::pin(revise::add(transaction, revision))).await
    }

    async fn decide(&self, decision: Decision) -> Result<DecideOutcome, StoreError> {
        self.writer.many(move |transaction| Box::pin(decide(transaction, decision))).await
    }

    async fn ask_for_changes(
        &self,
        thread: &ThreadId,
        revision: &RevisionId,
        by: &str,
        message: &str,
        now: Timestamp,
    ) -> Result<AskOutcome, StoreError> {
        let (thread, revision, by, message) =
            (thread.clone(), revision.clone(), by.to_owned(), message.to_owned());
        self.writer
            .many(move |transaction| Box::pin(ask(transaction, thread, revision, by, message, now)))
            .await
    }

    async fn expire_due(&self, now: Timestamp) -> Result<Vec<ThreadId>, StoreError> {
        self.writer.many(move |transaction| Box::pin(expire(transaction, None, now))).await
    }

    async fn news(&self, agent: AgentId, after: LogSeq, limit: u32) -> Result<News, StoreError> {
        // The condition on `kind` is that of the index, word for word.
        let rows = sqlx::query!(
            r#"SELECT seq, thread_id AS "thread_id!: String" FROM log
            WHERE agent_id = $1 AND seq > $2 AND thread_id IS NOT NULL
                AND kind IN ('approved', 'rejected', 'expired', 'changes_requested', 'revised')
            ORDER BY seq LIMIT $3"#,
            agent.0,
            after.0,
            limit
        )
        .fetch_all(&self.readers)
        .await
        .map_err(reading)?;
        let mut news = News { threads: Vec::with_capacity(rows.len()), up_to: after };
        let mut seen = HashSet::with_capacity(rows.len());
        for row in rows {
            news.up_to = LogSeq(row.seq);
            let thread = ThreadId::new(row.thread_id);
            if seen.insert(thread.clone()) {
                news.threads.push(thread);
            }
        }
        Ok(news)
    }

    async fn log_end(&self) -> Result<LogSeq, StoreError> {
        let row = sqlx::query!(r#"SELECT max(seq) AS "seq: i64" FROM log"#)
            .fetch_one(&self.readers)
            .await
            .map_err(reading)?;
        Ok(LogSeq(row.seq.unwrap_or(0)))
    }

    async fn list_threads(&self, query: &ThreadQuery) -> Result<Vec<Thread>, StoreError> {
        let (folder, pattern) = (folder_word(query.folder), pattern(&query.search));
        let rows = query_threads!(
            r"WHERE ($1 = 'all' OR t.state = $1 OR ($1 = 'open' AND t.state IN ('needs_review', 'escalated')))
                AND (r.subject LIKE $2 ESCAPE '\' OR r.task_label LIKE $2 ESCAPE '\' OR r.tool_name LIKE $2 ESCAPE '\'
                    OR t.task_id LIKE $2 ESCAPE '\' OR t.id LIKE $2 ESCAPE '\' OR a.name LIKE $2 ESCAPE '\')
            ORDER BY t.state = 'escalated' DESC, t.seq DESC LIMIT $3",
            folder,
            pattern,
            query.limit
        )
        .fetch_all(&self.readers)
        .await
        .map_err(reading)?;
        rows.into_iter().map(Thread::try_from).collect()
    }

    async fn folder_counts(&self) -> Result<FolderCounts, StoreError> {
        let rows = sqlx::query!(r#"SELECT state, count(*) AS "threads!: i64" FROM threads GROUP BY state"#)
            .fetch_all(&self.readers)
            .await
            .map_err(reading)?;
        let mut counts = FolderCounts::default();
        for row in rows {
            match row.state.as_str() {
                "needs_review" => counts.open += row.threads,
                "escalated" => {
                    counts.open += row.threads;
                    counts.escalated = row.threads;
                }
                "approved" => counts.approved = row.threads,
                "rejected" => counts.rejected = row.threads,
                "expired" => counts.expired = row.threads,
                _ => return Err(rows::impossible("threads", &row.state, "unknown state")),
            }
        }
        Ok(counts)
    }

    async fn revisions(&self, thread: &ThreadId) -> Result<Vec<Revision>, StoreError> {
        let id = thread.as_str();
        let rows = sqlx::query_as!(
            RevisionRow,
            "SELECT id, number, workflow_name, task_label, tool_name, subject, preview, risk_level, summary, payload,
                payload_digest, rule_trace, made_at
            FROM revisions WHERE thread_id = $1 ORDER BY number",
            id
        )
        .fetch_all(&self.readers)
        .await
        .map_err(reading)?;
        rows.into_iter().map(|row| row.read(id)).collect()
    }

    async fn images_of(
        &self,
        thread: &ThreadId,
        revision: &RevisionId,
    ) -> Result<Vec<ImageInfo>, StoreError> {
        let (thread, revision) = (thread.as_str(), revision.as_str());
        let rows = sqlx::query!(
            "SELECT id, media_type FROM images WHERE thread_id = $1 AND revision_id = $2 ORDER BY id",
            thread,
            revision
        )
        .fetch_all(&self.readers)
        .await
        .map_err(reading)?;
        rows.into_iter()
            .map(|row| {
                Ok(ImageInfo { id: ImageId(row.id), image_type: rows::image_type(row.id, &row.media_type)? })
            })
            .collect()
    }

    async fn image(&self, id: ImageId) -> Result<Option<Image>, StoreError> {
        let row = sqlx::query!("SELECT media_type, bytes FROM images WHERE id = $1", id.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(reading)?;
        row.map(|row| Ok(Image { image_type: rows::image_type(id.0, &row.media_type)?, bytes: row.bytes }))
            .transpose()
    }

    async fn timeline(&self, agent: AgentId, task: &TaskId, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        let task = task.as_str();
        let rows = sqlx::query_as!(
            RawLog,
            "SELECT seq, at, agent_id, task_id, thread_id, kind, entry FROM log
            WHERE task_id = $1 AND agent_id = $2 ORDER BY seq DESC LIMIT $3",
            task,
            agent.0,
            limit
        )
        .fetch_all(&self.readers)
        .await
        .map_err(reading)?;
        rows.into_iter().rev().map(LogRow::try_from).collect()
    }
}
