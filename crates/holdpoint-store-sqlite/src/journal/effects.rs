//! Runs with an effect.

use holdpoint_core::{
    EffectId, EffectKey, EffectRun, EffectState, HoldId, Moved, NewEffect, Owner, ServerName, Settled, Taken,
    TaskId, ThreadId,
};
use holdpoint_store::StoreError;
use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

use super::rows::{identity, impossible_in, instant};
use crate::error::WriteError;
use crate::writer::reading;

const TABLE: &str = "effects";

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
            FROM effects " + $condition,
            $($argument),*
        )
    };
}

impl TryFrom<EffectRow> for EffectRun {
    type Error = StoreError;

    fn try_from(row: EffectRow) -> Result<Self, StoreError> {
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
    connection: &mut SqliteConnection,
    server: &ServerName,
    key: &EffectKey,
) -> Result<Option<EffectRun>, WriteError> {
    let (server, name) = (server.as_str(), key.as_str());
    let row = query_effects!("WHERE server = $1 AND name = $2 AND state <> 'void'", server, name)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(EffectRun::try_from).transpose()?)
}

pub(super) async fn all(readers: &SqlitePool, limit: usize) -> Result<Vec<EffectRun>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = query_effects!(
        "WHERE state <> 'void'
        ORDER BY CASE state WHEN 'unknown' THEN 0 WHEN 'taken' THEN 1 ELSE 2 END, changed_at DESC, id DESC LIMIT $1",
        limit
    )
    .fetch_all(readers)
    .await
    .map_err(reading)?;
    rows.into_iter().map(EffectRun::try_from).collect()
}

/// For a call that nobody was asked about.
pub(super) async fn take(connection: &mut SqliteConnection, new: NewEffect) -> Result<Taken, WriteError> {
    let NewEffect { key, identity, task, owner, at } = new;
    if let Some(run) = had_by(connection, &identity.server, &key).await? {
        return Ok(Taken::Theirs(run));
    }
    let (principal, server, tool) =
        (identity.principal.as_str(), identity.server.as_str(), identity.tool.as_str());
    let digest = identity.digest.as_bytes().as_slice();
    let (name, task, owner, at) = (key.as_str(), task.as_str(), &*owner.0, at.as_microsecond());
    let taken = sqlx::query!(
        "INSERT INTO effects (state, name, principal, server, tool, digest, task_id, owner, taken_at, changed_at)
        VALUES ('taken', $1, $2, $3, $4, $5, $6, $7, $8, $8)",
        name,
        principal,
        server,
        tool,
        digest,
        task,
        owner,
        at
    )
    .execute(connection)
    .await?;
    Ok(Taken::Mine(EffectId(taken.last_insert_rowid())))
}

/// For a hold that was just dispatched; it has an effect or it has none.
pub(super) async fn take_with_hold(
    connection: &mut SqliteConnection,
    hold: HoldId,
    at: i64,
) -> Result<(), WriteError> {
    sqlx::query!(
        "INSERT INTO effects (state, name, principal, server, tool, digest, task_id, thread_id, hold_id, owner,
            taken_at, changed_at)
        SELECT 'taken', effect, principal, server, tool, digest, task_id, thread_id, id, claim_owner, $2, $2
        FROM holds WHERE id = $1 AND effect IS NOT NULL",
        hold.0,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// For a hold whose run came to something.
pub(super) async fn settle_with_hold(
    connection: &mut SqliteConnection,
    hold: HoldId,
    settled: Settled,
    at: i64,
) -> Result<(), WriteError> {
    let to = settled.to().as_str();
    sqlx::query!(
        "UPDATE effects SET state = $2, changed_at = $3
        WHERE hold_id = $1 AND (state = 'taken' OR (state = 'unknown' AND $2 <> 'unknown'))",
        hold.0,
        to,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// See [`holdpoint_core::Journal::settle`].
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    id: EffectId,
    settled: Settled,
    at: Timestamp,
) -> Result<Moved, WriteError> {
    let (to, at) = (settled.to().as_str(), at.as_microsecond());
    let done = sqlx::query!(
        "UPDATE effects SET state = $2, changed_at = $3
        WHERE id = $1 AND (state = 'taken' OR (state = 'unknown' AND $2 <> 'unknown'))",
        id.0,
        to,
        at
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(Moved::No);
    }
    let hold_goes_to = match settled {
        Settled::Done => "done",
        Settled::Void => "void",
        Settled::Unknown => return Ok(Moved::Yes),
    };
    sqlx::query!(
        "UPDATE holds SET state = $2, changed_at = $3, version = (SELECT max(version) + 1 FROM holds)
        WHERE id = (SELECT hold_id FROM effects WHERE id = $1) AND state IN ('dispatched', 'unknown')",
        id.0,
        hold_goes_to,
        at
    )
    .execute(connection)
    .await?;
    Ok(Moved::Yes)
}
