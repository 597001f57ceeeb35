//! Threads: deciding, expiring, asking for changes.

use holdpoint_api::TaskId;
use holdpoint_store::{
    AgentId, AskOutcome, Change, Concerns, DecideOutcome, Decider, Decision, LogEntry, RevisionId, ThreadId,
    ThreadState, VerdictKind,
};
use jiff::Timestamp;

use super::directory::Directory;
use super::log::{self, LogInsert};
use super::rows;
use super::threads::thread_by_id;
use crate::error::WriteError;
use crate::writer::Transaction;

pub(super) async fn decide(
    transaction: &mut Transaction<Directory>,
    decision: Decision,
) -> Result<DecideOutcome, WriteError> {
    let connection = &mut transaction.connection;
    let (id, revision) = (decision.thread_id.as_str(), decision.revision_id.as_str());
    let at = decision.now.as_microsecond();
    let state = match decision.kind {
        VerdictKind::Approve => "approved",
        VerdictKind::Reject => "rejected",
    };
    let won = sqlx::query!(
        "UPDATE threads SET state = $3, closed_at = $4, decider = 'person', decided_by = $5, note = $6,
            decided_revision = $2, feedback = NULL
        WHERE id = $1 AND state IN ('needs_review', 'escalated') AND current_revision = $2
            AND (expires_at IS NULL OR expires_at > $4)",
        id,
        revision,
        state,
        at,
        decision.by,
        decision.note
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if won == 0 {
        expire(transaction, Some(&decision.thread_id), decision.now).await?;
        let thread = thread_by_id(&mut transaction.connection, &decision.thread_id).await?;
        return Ok(match thread {
            None => DecideOutcome::NotFound,
            Some(thread) if matches!(thread.state, ThreadState::Open(_)) => {
                DecideOutcome::Revised(Box::new(thread))
            }
            Some(thread) => DecideOutcome::AlreadyDecided(Box::new(thread)),
        });
    }
    let Some(thread) = thread_by_id(&mut *connection, &decision.thread_id).await? else {
        return Ok(DecideOutcome::NotFound);
    };
    let (by, note, revision_id) = (Decider::Person(decision.by), decision.note, decision.revision_id);
    let entry = match decision.kind {
        VerdictKind::Approve => LogEntry::Approved { by, note, revision_id },
        VerdictKind::Reject => LogEntry::Rejected { by, note, revision_id },
    };
    let line =
        LogInsert::new(decision.now, &entry)?.task(thread.agent_id, &thread.task_id).thread(&thread.id);
    log::insert(connection, line).await?;
    transaction.mirror.ring(news(decision.thread_id, thread.agent_id));
    Ok(DecideOutcome::Won(Box::new(thread)))
}

/// Expires what is due: one thread, or all.
pub(super) async fn expire(
    transaction: &mut Transaction<Directory>,
    only: Option<&ThreadId>,
    now: Timestamp,
) -> Result<Vec<ThreadId>, WriteError> {
    let connection = &mut transaction.connection;
    let at = now.as_microsecond();
    let only = only.map(ThreadId::as_str);
    let expired = sqlx::query!(
        r#"UPDATE threads SET state = 'expired', closed_at = $1, feedback = NULL
        WHERE closed_at IS NULL AND expires_at IS NOT NULL AND expires_at <= $1 AND ($2 IS NULL OR id = $2)
        RETURNING id AS "id!: String", agent_id AS "agent_id!: i64", task_id AS "task_id!: String""#,
        at,
        only
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut ids = Vec::with_capacity(expired.len());
    for row in expired {
        let id = ThreadId::new(row.id);
        let task =
            TaskId::parse(row.task_id).map_err(|_| rows::impossible("threads", &id, "unusable task id"))?;
        let line = LogInsert::new(now, &LogEntry::Expired {})?.task(AgentId(row.agent_id), &task).thread(&id);
        log::insert(&mut *connection, line).await?;
        transaction.mirror.ring(news(id.clone(), AgentId(row.agent_id)));
        ids.push(id);
    }
    Ok(ids)
}

pub(super) async fn ask(
    transaction: &mut Transaction<Directory>,
    id: ThreadId,
    revision_id: RevisionId,
    by: String,
    message: String,
    now: Timestamp,
) -> Result<AskOutcome, WriteError> {
    let (thread, revision, at) = (id.as_str(), revision_id.as_str(), now.as_microsecond());
    let asked = sqlx::query!(
        "UPDATE threads SET feedback = $3
        WHERE id = $1 AND state IN ('needs_review', 'escalated') AND current_revision = $2
            AND (expires_at IS NULL OR expires_at > $4)",
        thread,
        revision,
        message,
        at
    )
    .execute(&mut transaction.connection)
    .await?
    .rows_affected();
    if asked == 0 {
        expire(transaction, Some(&id), now).await?;
    }
    let connection = &mut transaction.connection;
    let Some(thread) = thread_by_id(&mut *connection, &id).await? else { return Ok(AskOutcome::NotFound) };
    if asked == 0 {
        let open = matches!(thread.state, ThreadState::Open(_));
        let thread = Box::new(thread);
        return Ok(if open { AskOutcome::Revised(thread) } else { AskOutcome::AlreadyDecided(thread) });
    }
    let entry = LogEntry::ChangesRequested { by, message, revision_id };
    let line = LogInsert::new(now, &entry)?.task(thread.agent_id, &thread.task_id).thread(&id);
    log::insert(connection, line).await?;
    transaction.mirror.ring(news(id, thread.agent_id));
    Ok(AskOutcome::Asked(Box::new(thread)))
}

/// Something the thread's agent ought to know.
pub(super) fn news(id: ThreadId, agent: AgentId) -> Change {
    Change::Thread { id, agent, concerns: Concerns::Agent }
}
