//! The steps of a hold: one conditional statement each, and what it means for the hold's effect.

use holdpoint_core::{
    CallDigest, EffectKey, Ending, HeldCall, HoldId, HoldState, Moved, NewHold, Opened, Owner, Ran,
    Resolution, Settled, Step, StoredResult,
};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::effects;
use super::rows::{self, live_of};
use crate::error::WriteError;

pub(super) async fn open(connection: &mut SqliteConnection, new: NewHold) -> Result<Opened, WriteError> {
    let NewHold { identity, hold, arguments, definition, policy, question, effect, at } = new;
    let (principal, server, tool) =
        (identity.principal.as_str(), identity.server.as_str(), identity.tool.as_str());
    let digest = identity.digest.as_bytes().as_slice();
    let (task, thread) = (hold.task.as_str(), hold.thread.as_str());
    let arguments_text = arguments.as_deref();
    let definition_bytes = definition.as_ref().map(|definition| definition.as_bytes().as_slice());
    let question_bytes = question.as_bytes().as_slice();
    let effect_text = effect.as_ref().map(EffectKey::as_str);
    let (policy_text, micros) = (policy.as_str(), at.as_microsecond());
    let opened = sqlx::query!(
        "INSERT INTO holds (version, state, principal, server, tool, digest, task_id, thread_id, revision, binding,
            review_url, arguments, definition, policy, question, effect, opened_at, changed_at)
        VALUES ((SELECT coalesce(max(version), 0) + 1 FROM holds), 'pending', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
            $11, $12, $13, $14, $15, $15)
        ON CONFLICT DO NOTHING",
        principal,
        server,
        tool,
        digest,
        task,
        thread,
        hold.revision,
        hold.binding,
        hold.review_url,
        arguments_text,
        definition_bytes,
        policy_text,
        question_bytes,
        effect_text,
        micros
    )
    .execute(&mut *connection)
    .await?;
    if opened.rows_affected() == 0 {
        let live = live_of(connection, &identity).await?;
        // No live hold of this call stands in the way, so one of this thread does.
        return Ok(live.map_or(Opened::Spent, Opened::Joined));
    }
    let id = opened.last_insert_rowid();
    let opened_at = Timestamp::from_microsecond(micros)
        .map_err(|_| rows::impossible(id, "an instant is out of range"))?;
    Ok(Opened::Mine(HeldCall {
        id: HoldId(id),
        state: HoldState::Pending,
        identity,
        hold,
        arguments,
        definition,
        policy,
        question: Some(question),
        effect,
        opened_at,
        claim: None,
        result: None,
        delivered: false,
        words: None,
        taken_up_by: None,
    }))
}

pub(super) async fn advance(
    connection: &mut SqliteConnection,
    id: HoldId,
    step: Step,
    at: Timestamp,
) -> Result<Moved, WriteError> {
    let at = at.as_microsecond();
    let settled = what_it_means_for_the_effect(&step);
    let takes_effect = matches!(step, Step::Dispatch { .. });
    let rows = match step {
        Step::Claim { owner, stale_before } => claim(connection, id, owner, stale_before, at).await?,
        Step::Dispatch { owner } => dispatch(connection, id, owner, at).await?,
        Step::Finish { result, .. } => finish(connection, id, result, at).await?,
        Step::Lose => lose(connection, id, at).await?,
        Step::End { ending, words } => end(connection, id, ending, words.as_deref(), at).await?,
        Step::Deliver => deliver(connection, id, at).await?,
        Step::TakeUp { digest } => take_up(connection, id, digest, at).await?,
        Step::Resolve(resolution) => resolve(connection, id, resolution, at).await?,
    };
    if rows == 0 {
        return Ok(Moved::No);
    }
    if takes_effect {
        effects::take_with_hold(connection, id, at).await?;
    }
    if let Some(settled) = settled {
        effects::settle_with_hold(connection, id, settled, at).await?;
    }
    Ok(Moved::Yes)
}

const fn what_it_means_for_the_effect(step: &Step) -> Option<Settled> {
    match step {
        Step::Finish { ran: Ran::Succeeded, .. } | Step::Resolve(Resolution::Ran) => Some(Settled::Done),
        Step::Finish { ran: Ran::Failed, .. } | Step::Lose => Some(Settled::Unknown),
        Step::Resolve(Resolution::DidNotRun) => Some(Settled::Void),
        Step::Claim { .. }
        | Step::Dispatch { .. }
        | Step::End { .. }
        | Step::Deliver
        | Step::TakeUp { .. } => None,
    }
}

async fn claim(
    connection: &mut SqliteConnection,
    id: HoldId,
    owner: Owner,
    stale_before: Timestamp,
    at: i64,
) -> Result<u64, WriteError> {
    let (owner, stale_before) = (&*owner.0, stale_before.as_microsecond());
    let done = sqlx::query!(
        "UPDATE holds SET state = 'approved', claim_owner = $2, claimed_at = $4, changed_at = $4,
            version = (SELECT max(version) + 1 FROM holds)
        WHERE id = $1 AND (state = 'pending' OR (state = 'approved' AND claimed_at < $3))",
        id.0,
        owner,
        stale_before,
        at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn dispatch(
    connection: &mut SqliteConnection,
    id: HoldId,
    owner: Owner,
    at: i64,
) -> Result<u64, WriteError> {
    let owner = &*owner.0;
    let done = sqlx::query!(
        "UPDATE holds SET state = 'dispatched', changed_at = $3, version = (SELECT max(version) + 1 FROM holds)
        WHERE id = $1 AND state = 'approved' AND claim_owner = $2
            AND NOT EXISTS (SELECT 1 FROM effects
                WHERE effects.server = holds.server AND effects.name = holds.effect AND effects.state <> 'void')",
        id.0,
        owner,
        at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn finish(
    connection: &mut SqliteConnection,
    id: HoldId,
    result: Option<StoredResult>,
    at: i64,
) -> Result<u64, WriteError> {
    let result = result.as_ref().map(StoredResult::as_bytes);
    let done = sqlx::query!(
        "UPDATE holds SET state = 'done', result = $2, changed_at = $3, version = (SELECT max(version) + 1 FROM holds)
        WHERE id = $1 AND state = 'dispatched'",
        id.0,
        result,
        at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn lose(connection: &mut SqliteConnection, id: HoldId, at: i64) -> Result<u64, WriteError> {
    let done = sqlx::query!(
        "UPDATE holds SET state = 'unknown', changed_at = $2, version = (SELECT max(version) + 1 FROM holds)
        WHERE id = $1 AND state = 'dispatched'",
        id.0,
        at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn end(
    connection: &mut SqliteConnection,
    id: HoldId,
    ending: Ending,
    words: Option<&str>,
    at: i64,
) -> Result<u64, WriteError> {
    let state = Step::End { ending, words: None }.to().as_str();
    let done = sqlx::query!(
        "UPDATE holds SET state = $2, words = $3, changed_at = $4, version = (SELECT max(version) + 1 FROM holds)
        WHERE id = $1 AND state IN ('pending', 'approved')",
        id.0,
        state,
        words,
        at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn take_up(
    connection: &mut SqliteConnection,
    id: HoldId,
    digest: CallDigest,
    at: i64,
) -> Result<u64, WriteError> {
    let digest = digest.as_bytes().as_slice();
    let done = sqlx::query!(
        "UPDATE holds SET taken_up_by = $2, changed_at = $3, version = (SELECT max(version) + 1 FROM holds)
        WHERE id = $1 AND state = 'changes_requested' AND coalesce(taken_up_by, $2) = $2",
        id.0,
        digest,
        at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn deliver(connection: &mut SqliteConnection, id: HoldId, at: i64) -> Result<u64, WriteError> {
    let done = sqlx::query!(
        "UPDATE holds SET delivered = 1, result = NULL, changed_at = $2, version = (SELECT max(version) + 1 FROM holds)
        WHERE id = $1 AND state = 'done' AND delivered = 0",
        id.0,
        at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn resolve(
    connection: &mut SqliteConnection,
    id: HoldId,
    resolution: Resolution,
    at: i64,
) -> Result<u64, WriteError> {
    let state = Step::Resolve(resolution).to().as_str();
    let done = sqlx::query!(
        "UPDATE holds SET state = $2, changed_at = $3, version = (SELECT max(version) + 1 FROM holds)
        WHERE id = $1 AND state IN ('dispatched', 'unknown')",
        id.0,
        state,
        at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
