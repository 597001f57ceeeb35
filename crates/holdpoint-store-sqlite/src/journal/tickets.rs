//! What callers got that do not wait: each step is one conditional statement.

use async_trait::async_trait;
use holdpoint_core::{
    HoldId, JournalError, Moved, NewTicket, Owner, Principal, ServerName, StoredResult, Ticket, TicketBook,
    TicketId, TicketRequest, TicketState, TicketStep,
};
use holdpoint_store::StoreError;
use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

use super::rows::{impossible_in, instant};
use super::{SqliteJournal, refused};
use crate::error::WriteError;
use crate::writer::reading;

const TABLE: &str = "tickets";

struct TicketRow {
    id: String,
    state: String,
    round: i64,
    principal: String,
    server: String,
    hold_id: i64,
    request: Vec<u8>,
    answer: Option<Vec<u8>>,
    owner: Option<String>,
    opened_at: i64,
    changed_at: i64,
    expires_at: i64,
}

impl TryFrom<TicketRow> for Ticket {
    type Error = StoreError;

    fn try_from(row: TicketRow) -> Result<Self, StoreError> {
        let wrong = |reason| impossible_in(TABLE, row.hold_id, reason);
        let state = TicketState::ALL
            .into_iter()
            .find(|state| state.as_str() == row.state)
            .ok_or_else(|| wrong("unknown state"))?;
        Ok(Self {
            state,
            round: u32::try_from(row.round).map_err(|_| wrong("a round is out of range"))?,
            hold: HoldId(row.hold_id),
            opened_at: instant(TABLE, row.hold_id, row.opened_at)?,
            changed_at: instant(TABLE, row.hold_id, row.changed_at)?,
            expires_at: instant(TABLE, row.hold_id, row.expires_at)?,
            id: TicketId::new(row.id),
            principal: Principal::new(row.principal),
            server: ServerName::new(row.server),
            request: TicketRequest::new(row.request),
            answer: row.answer.map(StoredResult::new),
            owner: row.owner.map(|owner| Owner(owner.into())),
        })
    }
}

#[async_trait]
impl TicketBook for SqliteJournal {
    async fn open_ticket(&self, new: NewTicket) -> Result<Ticket, JournalError> {
        self.writer
            .one(move |transaction| Box::pin(open(&mut transaction.connection, new)))
            .await
            .map_err(refused)
    }

    async fn ticket(
        &self,
        principal: &Principal,
        server: &ServerName,
        id: &TicketId,
    ) -> Result<Option<Ticket>, JournalError> {
        find(&self.readers, principal, server, id).await.map_err(refused)
    }

    async fn advance_ticket(
        &self,
        id: &TicketId,
        round: u32,
        step: TicketStep,
        at: Timestamp,
    ) -> Result<Moved, JournalError> {
        let id = id.clone();
        self.writer
            .one(move |transaction| {
                Box::pin(async move { advance(&mut transaction.connection, &id, round, step, at).await })
            })
            .await
            .map_err(refused)
    }

    async fn forget_tickets(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError> {
        self.writer
            .one(move |transaction| Box::pin(forget(&mut transaction.connection, now, limit)))
            .await
            .map_err(refused)
    }
}

async fn open(connection: &mut SqliteConnection, new: NewTicket) -> Result<Ticket, WriteError> {
    let (id, principal, server) = (new.id.as_str(), new.principal.as_str(), new.server.as_str());
    let request = new.request.as_bytes();
    let (at, expires_at) = (new.at.as_microsecond(), new.expires_at.as_microsecond());
    let opened = sqlx::query!(
        "INSERT INTO tickets (id, state, principal, server, hold_id, request, opened_at, changed_at, expires_at)
        SELECT $1, 'open', $2, $3, id, $5, $6, $6, $7 FROM holds WHERE id = $4
        ON CONFLICT DO NOTHING",
        id,
        principal,
        server,
        new.hold.0,
        request,
        at,
        expires_at
    )
    .execute(connection)
    .await?;
    if opened.rows_affected() == 0 {
        return Err(impossible_in(TABLE, new.hold.0, "the number is taken, or the hold is not there").into());
    }
    Ok(new.opened())
}

async fn find(
    readers: &SqlitePool,
    principal: &Principal,
    server: &ServerName,
    id: &TicketId,
) -> Result<Option<Ticket>, StoreError> {
    let (id, principal, server) = (id.as_str(), principal.as_str(), server.as_str());
    let row = sqlx::query_as!(
        TicketRow,
        "SELECT id, state, round, principal, server, hold_id, request, answer, owner, opened_at, changed_at, expires_at
        FROM tickets WHERE id = $1 AND principal = $2 AND server = $3",
        id,
        principal,
        server
    )
    .fetch_optional(readers)
    .await
    .map_err(reading)?;
    row.map(Ticket::try_from).transpose()
}

async fn advance(
    connection: &mut SqliteConnection,
    id: &TicketId,
    round: u32,
    step: TicketStep,
    at: Timestamp,
) -> Result<Moved, WriteError> {
    let (id, at) = (id.as_str(), at.as_microsecond());
    let done = match step {
        TicketStep::Answer { answer, expires_at } => {
            let (answer, expires_at) = (answer.as_bytes(), expires_at.as_microsecond());
            sqlx::query!(
                "UPDATE tickets SET state = 'answered', round = round + 1, answer = $3, owner = NULL, expires_at = $4,
                    changed_at = $5
                WHERE id = $1 AND round = $2 AND state IN ('open', 'continuing')",
                id,
                round,
                answer,
                expires_at,
                at
            )
            .execute(connection)
            .await?
        }
        TicketStep::GoOn { owner } => {
            let owner = &*owner.0;
            sqlx::query!(
                "UPDATE tickets SET state = 'continuing', round = round + 1, owner = $3, changed_at = $4
                WHERE id = $1 AND round = $2 AND state = 'answered'",
                id,
                round,
                owner,
                at
            )
            .execute(connection)
            .await?
        }
        TicketStep::Cancel => {
            sqlx::query!(
                "UPDATE tickets SET state = 'cancelled', round = round + 1, changed_at = $3
                WHERE id = $1 AND round = $2 AND state IN ('open', 'answered')",
                id,
                round,
                at
            )
            .execute(connection)
            .await?
        }
    };
    Ok(if done.rows_affected() == 0 { Moved::No } else { Moved::Yes })
}

async fn forget(connection: &mut SqliteConnection, now: Timestamp, limit: usize) -> Result<u64, WriteError> {
    let (now, limit) = (now.as_microsecond(), i64::try_from(limit).unwrap_or(i64::MAX));
    let forgotten = sqlx::query!(
        "DELETE FROM tickets WHERE id IN
            (SELECT id FROM tickets WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2)",
        now,
        limit
    )
    .execute(connection)
    .await?;
    Ok(forgotten.rows_affected())
}
