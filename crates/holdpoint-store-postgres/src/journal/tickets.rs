//! What callers got that do not wait: each step is one conditional statement.

use async_trait::async_trait;
use holdpoint_core::{
    HoldId, JournalError, Moved, NewTicket, Owner, Principal, ServerName, StoredResult, Ticket, TicketBook,
    TicketId, TicketRequest, TicketState, TicketStep,
};
use jiff::Timestamp;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use super::PostgresJournal;
use super::rows::{impossible_in, instant};
use crate::error::Failure;
use crate::server::ANSWER_WITHIN;

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
    type Error = Failure;

    fn try_from(row: TicketRow) -> Result<Self, Failure> {
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
impl TicketBook for PostgresJournal {
    async fn open_ticket(&self, new: NewTicket) -> Result<Ticket, JournalError> {
        let mut session = self.server.session().await?;
        let opened = timeout(ANSWER_WITHIN, open(session.connection(), new)).await;
        Ok(session.heard(opened)?)
    }

    async fn ticket(
        &self,
        principal: &Principal,
        server: &ServerName,
        id: &TicketId,
    ) -> Result<Option<Ticket>, JournalError> {
        let mut session = self.server.session().await?;
        let ticket = timeout(ANSWER_WITHIN, find(session.connection(), principal, server, id)).await;
        Ok(session.heard(ticket)?)
    }

    async fn advance_ticket(
        &self,
        id: &TicketId,
        round: u32,
        step: TicketStep,
        at: Timestamp,
    ) -> Result<Moved, JournalError> {
        let mut session = self.server.session().await?;
        let moved = timeout(ANSWER_WITHIN, advance(session.connection(), id, round, step, at)).await;
        Ok(session.heard(moved)?)
    }

    async fn forget_tickets(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError> {
        let mut session = self.server.session().await?;
        let forgotten = timeout(ANSWER_WITHIN, forget(session.connection(), now, limit)).await;
        Ok(session.heard(forgotten)?)
    }
}

async fn open(session: &mut PgConnection, new: NewTicket) -> Result<Ticket, Failure> {
    let opened = sqlx::query!(
        "INSERT INTO holdpoint.tickets (id, state, principal, server, hold_id, request, opened_at, changed_at,
            expires_at)
        SELECT $1, 'open', $2, $3, id, $5, $6, $6, $7 FROM holdpoint.holds WHERE id = $4
        ON CONFLICT DO NOTHING",
        new.id.as_str(),
        new.principal.as_str(),
        new.server.as_str(),
        new.hold.0,
        new.request.as_bytes(),
        new.at.as_microsecond(),
        new.expires_at.as_microsecond()
    )
    .execute(session)
    .await?;
    if opened.rows_affected() == 0 {
        return Err(impossible_in(TABLE, new.hold.0, "the number is taken, or the hold is not there"));
    }
    Ok(new.opened())
}

async fn find(
    session: &mut PgConnection,
    principal: &Principal,
    server: &ServerName,
    id: &TicketId,
) -> Result<Option<Ticket>, Failure> {
    // No text in the database holds this character, and no number of ours does.
    if id.as_str().contains('\0') {
        return Ok(None);
    }
    let row = sqlx::query_as!(
        TicketRow,
        "SELECT id, state, round, principal, server, hold_id, request, answer, owner, opened_at, changed_at, expires_at
        FROM holdpoint.tickets WHERE id = $1 AND principal = $2 AND server = $3",
        id.as_str(),
        principal.as_str(),
        server.as_str()
    )
    .fetch_optional(session)
    .await?;
    row.map(Ticket::try_from).transpose()
}

async fn advance(
    session: &mut PgConnection,
    id: &TicketId,
    round: u32,
    step: TicketStep,
    at: Timestamp,
) -> Result<Moved, Failure> {
    let (id, round, at) = (id.as_str(), i64::from(round), at.as_microsecond());
    let done = match step {
        TicketStep::Answer { answer, expires_at } => {
            sqlx::query!(
                "UPDATE holdpoint.tickets SET state = 'answered', round = round + 1, answer = $3, owner = NULL,
                    expires_at = $4, changed_at = $5
                WHERE id = $1 AND round = $2 AND state IN ('open', 'continuing')",
                id,
                round,
                answer.as_bytes(),
                expires_at.as_microsecond(),
                at
            )
            .execute(session)
            .await?
        }
        TicketStep::GoOn { owner } => {
            sqlx::query!(
                "UPDATE holdpoint.tickets SET state = 'continuing', round = round + 1, owner = $3, changed_at = $4
                WHERE id = $1 AND round = $2 AND state = 'answered'",
                id,
                round,
                &*owner.0,
                at
            )
            .execute(session)
            .await?
        }
        TicketStep::Cancel => {
            sqlx::query!(
                "UPDATE holdpoint.tickets SET state = 'cancelled', round = round + 1, changed_at = $3
                WHERE id = $1 AND round = $2 AND state IN ('open', 'answered')",
                id,
                round,
                at
            )
            .execute(session)
            .await?
        }
    };
    Ok(if done.rows_affected() == 0 { Moved::No } else { Moved::Yes })
}

async fn forget(session: &mut PgConnection, now: Timestamp, limit: usize) -> Result<u64, Failure> {
    let forgotten = sqlx::query!(
        "DELETE FROM holdpoint.tickets WHERE id IN
            (SELECT id FROM holdpoint.tickets WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2)",
        now.as_microsecond(),
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .execute(session)
    .await?;
    Ok(forgotten.rows_affected())
}
