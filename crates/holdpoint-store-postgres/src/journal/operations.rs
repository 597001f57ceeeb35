//! Questions that are answered over several requests: each change is one conditional statement.

use async_trait::async_trait;
use holdpoint_core::{
    JournalError, Moved, NewOperation, OpenedOperation, Operation, OperationBook, OperationChange,
    OperationContent, OperationId, OperationOf, OperationState, Owner, Principal, TaskId, ThreadId,
};
use jiff::Timestamp;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use super::PostgresJournal;
use super::rows::{impossible_in, instant};
use crate::error::Failure;
use crate::server::ANSWER_WITHIN;

const TABLE: &str = "operations";

struct OperationRow {
    number: i64,
    id: String,
    principal: String,
    task: String,
    state: String,
    round: i64,
    thread: Option<String>,
    content: Vec<u8>,
    owner: Option<String>,
    opened_at: i64,
    changed_at: i64,
    expires_at: i64,
}

impl TryFrom<OperationRow> for Operation {
    type Error = Failure;

    fn try_from(row: OperationRow) -> Result<Self, Failure> {
        let wrong = |reason| impossible_in(TABLE, row.number, reason);
        let state = OperationState::ALL
            .into_iter()
            .find(|state| state.as_str() == row.state)
            .ok_or_else(|| wrong("unknown state"))?;
        let now = OperationChange {
            state,
            thread: row.thread.map(ThreadId::new),
            content: OperationContent::new(row.content),
            owner: row.owner.map(|owner| Owner(owner.into())),
            expires_at: instant(TABLE, row.number, row.expires_at)?,
        };
        now.check().map_err(|_| wrong("nobody owns what waits or runs"))?;
        Ok(Self {
            now,
            round: u32::try_from(row.round).map_err(|_| wrong("a round is out of range"))?,
            opened_at: instant(TABLE, row.number, row.opened_at)?,
            changed_at: instant(TABLE, row.number, row.changed_at)?,
            id: OperationId::new(row.id),
            principal: Principal::new(row.principal),
            task: TaskId::new(row.task),
        })
    }
}

#[async_trait]
impl OperationBook for PostgresJournal {
    async fn open_operation(&self, new: NewOperation) -> Result<OpenedOperation, JournalError> {
        new.now.check()?;
        let mut session = self.server.session().await?;
        let done = timeout(ANSWER_WITHIN, open(session.connection(), new)).await;
        Ok(session.heard(done)?)
    }

    async fn operation(&self, id: &OperationId) -> Result<Option<Operation>, JournalError> {
        let mut session = self.server.session().await?;
        let done = timeout(ANSWER_WITHIN, find(session.connection(), id)).await;
        Ok(session.heard(done)?)
    }

    async fn latest_operation(
        &self,
        principal: &Principal,
        of: OperationOf<'_>,
    ) -> Result<Option<Operation>, JournalError> {
        let mut session = self.server.session().await?;
        let done = timeout(ANSWER_WITHIN, latest(session.connection(), principal, of)).await;
        Ok(session.heard(done)?)
    }

    async fn advance_operation(
        &self,
        id: &OperationId,
        round: u32,
        change: OperationChange,
        at: Timestamp,
    ) -> Result<Moved, JournalError> {
        change.check()?;
        let mut session = self.server.session().await?;
        let done = timeout(ANSWER_WITHIN, advance(session.connection(), id, round, change, at)).await;
        Ok(session.heard(done)?)
    }

    async fn operation_owners(&self) -> Result<Vec<Owner>, JournalError> {
        let mut session = self.server.session().await?;
        let done = timeout(ANSWER_WITHIN, owners(session.connection())).await;
        Ok(session.heard(done)?)
    }

    async fn operations_of(&self, owner: &Owner, limit: usize) -> Result<Vec<OperationId>, JournalError> {
        let mut session = self.server.session().await?;
        let done = timeout(ANSWER_WITHIN, of_owner(session.connection(), owner, limit)).await;
        Ok(session.heard(done)?)
    }

    async fn forget_operations(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError> {
        let mut session = self.server.session().await?;
        let done = timeout(ANSWER_WITHIN, forget(session.connection(), now, limit)).await;
        Ok(session.heard(done)?)
    }
}

async fn open(session: &mut PgConnection, new: NewOperation) -> Result<OpenedOperation, Failure> {
    let (id, principal, task) = (new.id.as_str(), new.principal.as_str(), new.task.as_str());
    let (state, content) = (new.now.state.as_str(), new.now.content.as_bytes());
    let thread = new.now.thread.as_ref().map(ThreadId::as_str);
    let owner = new.now.owner.as_ref().map(|owner| &*owner.0);
    let (at, expires_at) = (new.at.as_microsecond(), new.now.expires_at.as_microsecond());
    let opened = sqlx::query!(
        "INSERT INTO holdpoint.operations (id, principal, task, state, thread, content, owner, opened_at, changed_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)
        ON CONFLICT (id) DO NOTHING",
        id,
        principal,
        task,
        state,
        thread,
        content,
        owner,
        at,
        expires_at
    )
    .execute(&mut *session)
    .await?;
    if opened.rows_affected() > 0 {
        return Ok(OpenedOperation::Mine(new.opened()));
    }
    let there = find(session, &new.id).await?;
    there
        .map(OpenedOperation::There)
        .ok_or_else(|| impossible_in(TABLE, 0, "it is there, and cannot be found"))
}

async fn find(session: &mut PgConnection, id: &OperationId) -> Result<Option<Operation>, Failure> {
    // No text in the database holds this character, and no number of ours does.
    if id.as_str().contains('\0') {
        return Ok(None);
    }
    let id = id.as_str();
    let row = sqlx::query_as!(
        OperationRow,
        "SELECT number, id, principal, task, state, round, thread, content, owner, opened_at, changed_at,
            expires_at
        FROM holdpoint.operations WHERE id = $1",
        id
    )
    .fetch_optional(session)
    .await?;
    row.map(Operation::try_from).transpose()
}

async fn latest(
    session: &mut PgConnection,
    principal: &Principal,
    of: OperationOf<'_>,
) -> Result<Option<Operation>, Failure> {
    let (principal, text) = match of {
        OperationOf::Thread(thread) => (principal.as_str(), thread.as_str()),
        OperationOf::Task(task) => (principal.as_str(), task.as_str()),
    };
    if principal.contains('\0') || text.contains('\0') {
        return Ok(None);
    }
    let row = match of {
        OperationOf::Thread(_) => {
            sqlx::query_as!(
            OperationRow,
            "SELECT number, id, principal, task, state, round, thread, content, owner, opened_at, changed_at,
                    expires_at
                FROM holdpoint.operations WHERE thread = $1 AND principal = $2 ORDER BY number DESC LIMIT 1",
            text,
            principal
        )
            .fetch_optional(session)
            .await
        }
        OperationOf::Task(_) => {
            sqlx::query_as!(
            OperationRow,
            "SELECT number, id, principal, task, state, round, thread, content, owner, opened_at, changed_at,
                    expires_at
                FROM holdpoint.operations WHERE task = $1 AND principal = $2 ORDER BY number DESC LIMIT 1",
            text,
            principal
        )
            .fetch_optional(session)
            .await
        }
    };
    row?.map(Operation::try_from).transpose()
}

async fn advance(
    session: &mut PgConnection,
    id: &OperationId,
    round: u32,
    change: OperationChange,
    at: Timestamp,
) -> Result<Moved, Failure> {
    let (id, round, at) = (id.as_str(), i64::from(round), at.as_microsecond());
    let (state, content) = (change.state.as_str(), change.content.as_bytes());
    let thread = change.thread.as_ref().map(ThreadId::as_str);
    let owner = change.owner.as_ref().map(|owner| &*owner.0);
    let expires_at = change.expires_at.as_microsecond();
    let done = sqlx::query!(
        "UPDATE holdpoint.operations SET round = round + 1, state = $3, thread = $4, content = $5, owner = $6, changed_at = $7,
            expires_at = $8
        WHERE id = $1 AND round = $2",
        id,
        round,
        state,
        thread,
        content,
        owner,
        at,
        expires_at
    )
    .execute(session)
    .await?;
    Ok(if done.rows_affected() == 0 { Moved::No } else { Moved::Yes })
}

async fn owners(session: &mut PgConnection) -> Result<Vec<Owner>, Failure> {
    let owners = sqlx::query_scalar!(
        "SELECT DISTINCT owner AS \"owner!\" FROM holdpoint.operations WHERE owner IS NOT NULL"
    )
    .fetch_all(session)
    .await?;
    Ok(owners.into_iter().map(|owner| Owner(owner.into())).collect())
}

async fn of_owner(
    session: &mut PgConnection,
    owner: &Owner,
    limit: usize,
) -> Result<Vec<OperationId>, Failure> {
    let (owner, limit) = (&*owner.0, i64::try_from(limit).unwrap_or(i64::MAX));
    let ids = sqlx::query_scalar!(
        "SELECT id FROM holdpoint.operations WHERE owner = $1 ORDER BY changed_at, number LIMIT $2",
        owner,
        limit
    )
    .fetch_all(session)
    .await?;
    Ok(ids.into_iter().map(OperationId::new).collect())
}

async fn forget(session: &mut PgConnection, now: Timestamp, limit: usize) -> Result<u64, Failure> {
    let (now, limit) = (now.as_microsecond(), i64::try_from(limit).unwrap_or(i64::MAX));
    let forgotten = sqlx::query!(
        "DELETE FROM holdpoint.operations WHERE number IN
            (SELECT number FROM holdpoint.operations WHERE expires_at <= $1 ORDER BY expires_at, number LIMIT $2)",
        now,
        limit
    )
    .execute(session)
    .await?;
    Ok(forgotten.rows_affected())
}
