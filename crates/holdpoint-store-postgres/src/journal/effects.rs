//! Runs with an effect.

use holdpoint_core::{
    EffectId, EffectKey, EffectRun, EffectState, HoldId, Moved, NewEffect, Owner, ServerName, Settled, Taken,
    TaskId, ThreadId,
};
use jiff::Timestamp;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::rows::{identity, impossible_in, instant};
use crate::error::Failure;

const TABLE: &str = "effects";

/// An effect may become free between two looks; so often it does not.
const TRIES: usize = 5;

struct EffectRow {
    id: i64,
    state: String,
    name: String,
    principal: String,
    server: String,
    tool: String,
    digest: Vec<u8>,
    task_id: String,
    thread_id: Option<String>,
    hold_id: Option<i64>,
    owner: String,
    taken_at: i64,
    changed_at: i64,
}

/// The text of a query over effects; the condition follows.
macro_rules! query_effects {
    ($condition:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            EffectRow,
            "SELECT id, state, name, principal, server, tool, digest, task_id, thread_id, hold_id, owner, taken_at,
                changed_at
            FROM holdpoint.effects " + $condition,
            $($argument),*
        )
    };
}

impl TryFrom<EffectRow> for EffectRun {
    type Error = Failure;

    fn try_from(row: EffectRow) -> Result<Self, Failure> {
        let state = EffectState::ALL
            .into_iter()
            .find(|state| state.as_str() == row.state)
            .ok_or_else(|| impossible_in(TABLE, row.id, "unknown state"))?;
        let identity = identity(TABLE, row.id, row.principal, row.server, row.tool, row.digest)?;
        Ok(Self {
            id: EffectId(row.id),
            key: EffectKey::new(row.name),
            state,
            principal: identity.principal,
            server: identity.server,
            tool: identity.tool,
            digest: identity.digest,
            task: TaskId::new(row.task_id),
            thread: row.thread_id.map(ThreadId::new),
            hold: row.hold_id.map(HoldId),
            owner: Owner(row.owner.into()),
            taken_at: instant(TABLE, row.id, row.taken_at)?,
            changed_at: instant(TABLE, row.id, row.changed_at)?,
        })
    }
}

/// Who has the effect.
pub(super) async fn had_by(
    session: &mut PgConnection,
    server: &ServerName,
    key: &EffectKey,
) -> Result<Option<EffectRun>, Failure> {
    let row =
        query_effects!("WHERE server = $1 AND name = $2 AND state <> 'void'", server.as_str(), key.as_str())
            .fetch_optional(session)
            .await?;
    row.map(EffectRun::try_from).transpose()
}

pub(super) async fn all(session: &mut PgConnection, limit: usize) -> Result<Vec<EffectRun>, Failure> {
    let rows = query_effects!(
        "WHERE state <> 'void'
        ORDER BY CASE state WHEN 'unknown' THEN 0 WHEN 'taken' THEN 1 ELSE 2 END, changed_at DESC, id DESC LIMIT $1",
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(session)
    .await?;
    rows.into_iter().map(EffectRun::try_from).collect()
}

/// For a call that nobody was asked about.
pub(super) async fn take(session: &mut PgConnection, new: NewEffect) -> Result<Taken, Failure> {
    for _ in 0..TRIES {
        if let Some(id) = try_to_take(session, &new).await? {
            return Ok(Taken::Mine(id));
        }
        if let Some(run) = had_by(session, &new.identity.server, &new.key).await? {
            return Ok(Taken::Theirs(run));
        }
    }
    Err(Failure::Overtaken)
}

async fn try_to_take(session: &mut PgConnection, new: &NewEffect) -> Result<Option<EffectId>, Failure> {
    let id = sqlx::query_scalar!(
        "INSERT INTO holdpoint.effects (state, name, principal, server, tool, digest, task_id, owner, taken_at,
            changed_at)
        VALUES ('taken', $1, $2, $3, $4, $5, $6, $7, $8, $8)
        ON CONFLICT DO NOTHING RETURNING id",
        new.key.as_str(),
        new.identity.principal.as_str(),
        new.identity.server.as_str(),
        new.identity.tool.as_str(),
        new.identity.digest.as_bytes().as_slice(),
        new.task.as_str(),
        &*new.owner.0,
        new.at.as_microsecond()
    )
    .fetch_optional(session)
    .await?;
    Ok(id.map(EffectId))
}

/// See [`holdpoint_core::Journal::settle`]. First the hold, then the effect, as in each step of a hold: in another order two
/// would wait for each other.
pub(super) async fn settle(
    session: &mut PgConnection,
    id: EffectId,
    settled: Settled,
    at: Timestamp,
) -> Result<Moved, Failure> {
    let (to, at) = (settled.to().as_str(), at.as_microsecond());
    let mut transaction = session.begin().await?;
    sqlx::query!(
        "SELECT id FROM holdpoint.holds WHERE id = (SELECT hold_id FROM holdpoint.effects WHERE id = $1) FOR UPDATE",
        id.0
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let done = sqlx::query!(
        "UPDATE holdpoint.effects SET state = $2, changed_at = $3
        WHERE id = $1 AND (state = 'taken' OR (state = 'unknown' AND $2 <> 'unknown'))",
        id.0,
        to,
        at
    )
    .execute(&mut *transaction)
    .await?;
    if done.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(Moved::No);
    }
    let hold_goes_to = match settled {
        Settled::Done => Some("done"),
        Settled::Void => Some("void"),
        Settled::Unknown => None,
    };
    if let Some(hold_goes_to) = hold_goes_to {
        sqlx::query!(
            "UPDATE holdpoint.holds SET state = $2, changed_at = $3
            WHERE id = (SELECT hold_id FROM holdpoint.effects WHERE id = $1) AND state IN ('dispatched', 'unknown')",
            id.0,
            hold_goes_to,
            at
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(Moved::Yes)
}
