//! The steps of a hold, each one statement; what it means for the hold's effect is in the same one.

use holdpoint_core::{
    CallDigest, EffectKey, Ending, HeldCall, HoldId, HoldState, Moved, NewHold, Opened, Owner, Ran,
    Resolution, Settled, Step, StoredResult,
};
use jiff::Timestamp;
use sqlx::postgres::PgConnection;

use super::rows::{instant, live_of};
use crate::error::Failure;

/// What stands in a hold's way may end between two looks; so often it does not.
const TRIES: usize = 5;

/// What two runs with one effect collide on.
const HAD_ONCE: &str = "effects_had_once";

pub(super) async fn open(session: &mut PgConnection, new: NewHold) -> Result<Opened, Failure> {
    for _ in 0..TRIES {
        if let Some(id) = try_to_open(session, &new).await? {
            return Ok(Opened::Mine(pending(id, new)?));
        }
        if let Some(live) = live_of(session, &new.identity).await? {
            return Ok(Opened::Joined(live));
        }
        if is_spent(session, &new).await? {
            return Ok(Opened::Spent);
        }
    }
    Err(Failure::Overtaken)
}

async fn try_to_open(session: &mut PgConnection, new: &NewHold) -> Result<Option<HoldId>, Failure> {
    let id = sqlx::query_scalar!(
        "INSERT INTO holdpoint.holds (state, principal, server, tool, digest, task_id, thread_id, revision, binding,
            review_url, arguments, definition, policy, question, effect, opened_at, changed_at)
        VALUES ('pending', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)
        ON CONFLICT DO NOTHING RETURNING id",
        new.identity.principal.as_str(),
        new.identity.server.as_str(),
        new.identity.tool.as_str(),
        new.identity.digest.as_bytes().as_slice(),
        new.hold.task.as_str(),
        new.hold.thread.as_str(),
        i64::from(new.hold.revision),
        new.hold.binding,
        new.hold.review_url.as_deref(),
        new.arguments.as_deref(),
        new.definition.as_ref().map(|definition| definition.as_bytes().as_slice()),
        new.policy.as_str(),
        new.question.as_bytes().as_slice(),
        new.effect.as_ref().map(EffectKey::as_str),
        new.at.as_microsecond()
    )
    .fetch_optional(session)
    .await?;
    Ok(id.map(HoldId))
}

async fn is_spent(session: &mut PgConnection, new: &NewHold) -> Result<bool, Failure> {
    let spent = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM holdpoint.holds WHERE task_id = $1 AND thread_id = $2
            AND (revision = $3 OR holdpoint.is_live(state, delivered))) AS "spent!""#,
        new.hold.task.as_str(),
        new.hold.thread.as_str(),
        i64::from(new.hold.revision)
    )
    .fetch_one(session)
    .await?;
    Ok(spent)
}

fn pending(id: HoldId, new: NewHold) -> Result<HeldCall, Failure> {
    Ok(HeldCall {
        id,
        state: HoldState::Pending,
        identity: new.identity,
        hold: new.hold,
        arguments: new.arguments,
        definition: new.definition,
        policy: new.policy,
        question: Some(new.question),
        effect: new.effect,
        opened_at: instant("holds", id.0, new.at.as_microsecond())?,
        claim: None,
        result: None,
        delivered: false,
        words: None,
        taken_up_by: None,
    })
}

pub(super) async fn advance(
    session: &mut PgConnection,
    id: HoldId,
    step: Step,
    at: Timestamp,
) -> Result<Moved, Failure> {
    let at = at.as_microsecond();
    let rows = match step {
        Step::Claim { owner, stale_before } => claim(session, id, owner, stale_before, at).await?,
        Step::Dispatch { owner } => dispatch(session, id, owner, at).await?,
        Step::Finish { result, ran: Ran::Succeeded } => {
            finish(session, id, result, Settled::Done, at).await?
        }
        Step::Finish { result, ran: Ran::Failed } => {
            finish(session, id, result, Settled::Unknown, at).await?
        }
        Step::Lose => lose(session, id, at).await?,
        Step::End { ending, words } => end(session, id, ending, words.as_deref(), at).await?,
        Step::Deliver => deliver(session, id, at).await?,
        Step::TakeUp { digest } => take_up(session, id, digest, at).await?,
        Step::Resolve(resolution) => resolve(session, id, resolution, at).await?,
    };
    Ok(if rows == 0 { Moved::No } else { Moved::Yes })
}

async fn claim(
    session: &mut PgConnection,
    id: HoldId,
    owner: Owner,
    stale_before: Timestamp,
    at: i64,
) -> Result<u64, Failure> {
    let done = sqlx::query!(
        "UPDATE holdpoint.holds SET state = 'approved', claim_owner = $2, claimed_at = $4, changed_at = $4
        WHERE id = $1 AND (state = 'pending' OR (state = 'approved' AND claimed_at < $3))",
        id.0,
        &*owner.0,
        stale_before.as_microsecond(),
        at
    )
    .execute(session)
    .await?;
    Ok(done.rows_affected())
}

async fn dispatch(session: &mut PgConnection, id: HoldId, owner: Owner, at: i64) -> Result<u64, Failure> {
    let dispatched = sqlx::query_scalar!(
        r#"WITH moved AS (
            UPDATE holdpoint.holds SET state = 'dispatched', changed_at = $3
            WHERE id = $1 AND state = 'approved' AND claim_owner = $2
            RETURNING *
        ), taken AS (
            INSERT INTO holdpoint.effects (state, name, principal, server, tool, digest, task_id, thread_id, hold_id,
                owner, taken_at, changed_at)
            SELECT 'taken', effect, principal, server, tool, digest, task_id, thread_id, id, claim_owner, $3, $3
            FROM moved WHERE effect IS NOT NULL
        )
        SELECT count(*) AS "moved!" FROM moved"#,
        id.0,
        &*owner.0,
        at
    )
    .fetch_one(session)
    .await;
    match dispatched {
        Ok(moved) => Ok(u64::try_from(moved).unwrap_or_default()),
        // Another run has the effect; nothing of the statement stands.
        Err(sqlx::Error::Database(error)) if error.constraint() == Some(HAD_ONCE) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

async fn finish(
    session: &mut PgConnection,
    id: HoldId,
    result: Option<StoredResult>,
    settled: Settled,
    at: i64,
) -> Result<u64, Failure> {
    let moved = sqlx::query_scalar!(
        r#"WITH moved AS (
            UPDATE holdpoint.holds SET state = 'done', result = $2, changed_at = $4
            WHERE id = $1 AND state = 'dispatched'
            RETURNING id
        ), settled AS (
            UPDATE holdpoint.effects SET state = $3, changed_at = $4
            WHERE hold_id = (SELECT id FROM moved) AND (state = 'taken' OR (state = 'unknown' AND $3 <> 'unknown'))
        )
        SELECT count(*) AS "moved!" FROM moved"#,
        id.0,
        result.as_ref().map(StoredResult::as_bytes),
        settled.to().as_str(),
        at
    )
    .fetch_one(session)
    .await?;
    Ok(u64::try_from(moved).unwrap_or_default())
}

async fn lose(session: &mut PgConnection, id: HoldId, at: i64) -> Result<u64, Failure> {
    let moved = sqlx::query_scalar!(
        r#"WITH moved AS (
            UPDATE holdpoint.holds SET state = 'unknown', changed_at = $2
            WHERE id = $1 AND state = 'dispatched'
            RETURNING id
        ), settled AS (
            UPDATE holdpoint.effects SET state = 'unknown', changed_at = $2
            WHERE hold_id = (SELECT id FROM moved) AND state = 'taken'
        )
        SELECT count(*) AS "moved!" FROM moved"#,
        id.0,
        at
    )
    .fetch_one(session)
    .await?;
    Ok(u64::try_from(moved).unwrap_or_default())
}

async fn resolve(
    session: &mut PgConnection,
    id: HoldId,
    resolution: Resolution,
    at: i64,
) -> Result<u64, Failure> {
    let settled: Settled = resolution.into();
    let moved = sqlx::query_scalar!(
        r#"WITH moved AS (
            UPDATE holdpoint.holds SET state = $2, changed_at = $4
            WHERE id = $1 AND state IN ('dispatched', 'unknown')
            RETURNING id
        ), settled AS (
            UPDATE holdpoint.effects SET state = $3, changed_at = $4
            WHERE hold_id = (SELECT id FROM moved) AND state IN ('taken', 'unknown')
        )
        SELECT count(*) AS "moved!" FROM moved"#,
        id.0,
        Step::Resolve(resolution).to().as_str(),
        settled.to().as_str(),
        at
    )
    .fetch_one(session)
    .await?;
    Ok(u64::try_from(moved).unwrap_or_default())
}

async fn end(
    session: &mut PgConnection,
    id: HoldId,
    ending: Ending,
    words: Option<&str>,
    at: i64,
) -> Result<u64, Failure> {
    // The one character that text here cannot hold; a reviewer's words must not keep a hold from ending.
    let words = words.map(|words| words.replace('\0', "\u{fffd}"));
    let done = sqlx::query!(
        "UPDATE holdpoint.holds SET state = $2, words = $3, changed_at = $4
        WHERE id = $1 AND state IN ('pending', 'approved')",
        id.0,
        Step::End { ending, words: None }.to().as_str(),
        words,
        at
    )
    .execute(session)
    .await?;
    Ok(done.rows_affected())
}

async fn deliver(session: &mut PgConnection, id: HoldId, at: i64) -> Result<u64, Failure> {
    let done = sqlx::query!(
        "UPDATE holdpoint.holds SET delivered = true, result = NULL, changed_at = $2
        WHERE id = $1 AND state = 'done' AND NOT delivered",
        id.0,
        at
    )
    .execute(session)
    .await?;
    Ok(done.rows_affected())
}

async fn take_up(
    session: &mut PgConnection,
    id: HoldId,
    digest: CallDigest,
    at: i64,
) -> Result<u64, Failure> {
    let done = sqlx::query!(
        "UPDATE holdpoint.holds SET taken_up_by = $2, changed_at = $3
        WHERE id = $1 AND state = 'changes_requested' AND coalesce(taken_up_by, $2) = $2",
        id.0,
        digest.as_bytes().as_slice(),
        at
    )
    .execute(session)
    .await?;
    Ok(done.rows_affected())
}
