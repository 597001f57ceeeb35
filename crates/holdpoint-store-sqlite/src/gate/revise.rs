//! Revisions: an agent changes what it proposed while nobody decided.

use holdpoint_store::{
    AddRevision, Decider, LogEntry, RevisionEffect, RevisionId, RevisionOutcome, Thread, ThreadState,
};
use sqlx::SqliteConnection;

use super::decide::{expire, news};
use super::directory::Directory;
use super::log::{self, ImageOwner, LogInsert};
use super::threads::{insert_revision, thread_by_id};
use crate::error::WriteError;
use crate::writer::Transaction;

pub(super) async fn add(
    transaction: &mut Transaction<Directory>,
    add: AddRevision,
) -> Result<RevisionOutcome, WriteError> {
    expire(transaction, Some(&add.thread_id), add.now).await?;
    let connection = &mut transaction.connection;
    let thread = match thread_by_id(&mut *connection, &add.thread_id).await? {
        Some(thread) if thread.agent_id == add.agent_id && thread.task_id == add.task_id => thread,
        Some(_) | None => return Ok(RevisionOutcome::NotFound),
    };
    match earlier(&mut *connection, &add).await? {
        Earlier::None => {}
        Earlier::Same => return Ok(RevisionOutcome::Repeated),
        Earlier::Other => return Ok(RevisionOutcome::Conflict),
    }
    if !matches!(thread.state, ThreadState::Open(_)) {
        return Ok(RevisionOutcome::Closed(thread.state));
    }
    let number = thread.revision.number + 1;
    insert_revision(&mut *connection, &add.thread_id, &add.revision, number, Some(&add.body_digest), add.now)
        .await?;
    supersede(&mut *connection, &add).await?;
    let owner = ImageOwner::Revision(add.thread_id.as_str(), add.revision.id.as_str());
    log::insert_images(&mut *connection, owner, add.images.clone()).await?;
    record(connection, &add, &thread).await?;
    transaction.mirror.ring(news(add.thread_id, add.agent_id));
    Ok(RevisionOutcome::Added)
}

/// Whether the revision's id was used before in its thread.
enum Earlier {
    None,
    Same,
    Other,
}

async fn earlier(connection: &mut SqliteConnection, add: &AddRevision) -> Result<Earlier, WriteError> {
    let (thread, revision) = (add.thread_id.as_str(), add.revision.id.as_str());
    let row =
        sqlx::query!("SELECT body_digest FROM revisions WHERE thread_id = $1 AND id = $2", thread, revision)
            .fetch_optional(connection)
            .await?;
    Ok(match row {
        None => Earlier::None,
        Some(row) if row.body_digest.as_deref() == Some(add.body_digest.as_slice()) => Earlier::Same,
        Some(_) => Earlier::Other,
    })
}

/// Puts the new revision in the place of the one before, and does what the rules make of it. One statement on an open
/// thread: the transaction holds the write lock since it read that the thread is open.
async fn supersede(connection: &mut SqliteConnection, add: &AddRevision) -> Result<(), WriteError> {
    let (thread, revision, at) = (add.thread_id.as_str(), add.revision.id.as_str(), add.now.as_microsecond());
    let (effect, note) = match &add.effect {
        RevisionEffect::Keep => ("keep", None),
        RevisionEffect::Escalate => ("escalate", None),
        RevisionEffect::Reject { note } => ("reject", Some(note.as_str())),
    };
    sqlx::query!(
        "UPDATE threads SET current_revision = $2, feedback = NULL,
            state = CASE $3 WHEN 'escalate' THEN 'escalated' WHEN 'reject' THEN 'rejected' ELSE state END,
            closed_at = CASE $3 WHEN 'reject' THEN $4 END,
            decider = CASE $3 WHEN 'reject' THEN 'rules' END,
            decided_revision = CASE $3 WHEN 'reject' THEN $2 END,
            note = $5
        WHERE id = $1 AND state IN ('needs_review', 'escalated')",
        thread,
        revision,
        effect,
        at,
        note
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn record(
    connection: &mut SqliteConnection,
    add: &AddRevision,
    thread: &Thread,
) -> Result<(), WriteError> {
    let revision_id: RevisionId = add.revision.id.clone();
    let line = |entry: &LogEntry| -> Result<LogInsert, WriteError> {
        Ok(LogInsert::new(add.now, entry)?.task(thread.agent_id, &thread.task_id).thread(&thread.id))
    };
    let revised = LogEntry::Revised {
        revision_id: revision_id.clone(),
        event_summary: add.event_summary.clone(),
        payload_digest: add.revision.payload_digest.clone(),
    };
    log::insert(&mut *connection, line(&revised)?).await?;
    if let RevisionEffect::Reject { note } = &add.effect {
        let rejected = LogEntry::Rejected { by: Decider::Rules, note: Some(note.clone()), revision_id };
        log::insert(connection, line(&rejected)?).await?;
    }
    Ok(())
}
