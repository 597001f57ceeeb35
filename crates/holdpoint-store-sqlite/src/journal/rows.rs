//! Rows of holds, and the holds they stand for.

use std::sync::Arc;

use holdpoint_core::{
    CallDigest, DefinitionDigest, EffectKey, Found, HeldCall, Hold, HoldId, HoldState, Identity, Owner,
    PolicyRevision, Principal, QuestionDigest, ServerName, StoredResult, TaskId, ThreadId, ToolName,
};
use holdpoint_store::StoreError;
use jiff::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

use crate::error::WriteError;
use crate::writer::reading;

const TABLE: &str = "holds";

pub(super) struct HoldRow {
    pub(super) id: i64,
    pub(super) version: i64,
    pub(super) state: String,
    pub(super) principal: String,
    pub(super) server: String,
    pub(super) tool: String,
    pub(super) digest: Vec<u8>,
    pub(super) task_id: String,
    pub(super) thread_id: String,
    pub(super) revision: i64,
    pub(super) binding: String,
    pub(super) review_url: Option<String>,
    pub(super) arguments: Option<String>,
    pub(super) definition: Option<Vec<u8>>,
    pub(super) policy: String,
    pub(super) question: Option<Vec<u8>>,
    pub(super) effect: Option<String>,
    pub(super) opened_at: i64,
    pub(super) claim_owner: Option<String>,
    pub(super) claimed_at: Option<i64>,
    pub(super) result: Option<Vec<u8>>,
    pub(super) delivered: i64,
    pub(super) words: Option<String>,
    pub(super) taken_up_by: Option<Vec<u8>>,
}

/// The text of a query over holds; the condition follows.
macro_rules! query_holds {
    ($condition:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::journal::rows::HoldRow,
            "SELECT id, version, state, principal, server, tool, digest, task_id, thread_id, revision, binding,
                review_url, arguments, definition, policy, question, effect, opened_at, claim_owner, claimed_at, result,
                delivered, words, taken_up_by
            FROM holds " + $condition,
            $($argument),*
        )
    };
}
pub(super) use query_holds;

impl TryFrom<HoldRow> for HeldCall {
    type Error = StoreError;

    fn try_from(row: HoldRow) -> Result<Self, StoreError> {
        let wrong = |reason| impossible(row.id, reason);
        let state = HoldState::ALL
            .into_iter()
            .find(|state| state.as_str() == row.state)
            .ok_or_else(|| wrong("unknown state"))?;
        let claim = match (row.claim_owner, row.claimed_at) {
            (Some(owner), Some(claimed_at)) => {
                Some((Owner(owner.into()), instant(TABLE, row.id, claimed_at)?))
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(wrong("a claim without owner or time")),
        };
        let revision = u32::try_from(row.revision).map_err(|_| wrong("a revision is out of range"))?;
        let digest =
            |bytes: Option<Vec<u8>>| bytes.map(|bytes| digest_bytes(TABLE, row.id, bytes)).transpose();
        Ok(Self {
            id: HoldId(row.id),
            state,
            hold: Hold {
                task: TaskId::new(row.task_id),
                thread: ThreadId::new(row.thread_id),
                binding: row.binding,
                review_url: row.review_url,
                revision,
            },
            arguments: row.arguments.map(Arc::from),
            definition: digest(row.definition)?.map(DefinitionDigest::from_bytes),
            policy: PolicyRevision::new(row.policy),
            question: digest(row.question)?.map(QuestionDigest::from_bytes),
            effect: row.effect.map(EffectKey::new),
            opened_at: instant(TABLE, row.id, row.opened_at)?,
            claim,
            result: row.result.map(StoredResult::new),
            delivered: row.delivered != 0,
            words: row.words.map(Arc::from),
            taken_up_by: digest(row.taken_up_by)?.map(CallDigest::from_bytes),
            identity: identity(TABLE, row.id, row.principal, row.server, row.tool, row.digest)?,
        })
    }
}

pub(super) fn impossible(row: i64, reason: &'static str) -> StoreError {
    impossible_in(TABLE, row, reason)
}

pub(super) fn impossible_in(table: &'static str, row: i64, reason: &'static str) -> StoreError {
    StoreError::ImpossibleRow { table, row: row.to_string(), reason }
}

pub(super) fn instant(table: &'static str, row: i64, micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| impossible_in(table, row, "an instant is out of range"))
}

fn digest_bytes(table: &'static str, row: i64, bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| impossible_in(table, row, "a digest is not 32 bytes long"))
}

pub(super) fn identity(
    table: &'static str,
    row: i64,
    principal: String,
    server: String,
    tool: String,
    digest: Vec<u8>,
) -> Result<Identity, StoreError> {
    Ok(Identity {
        principal: Principal::new(principal),
        server: ServerName::new(server),
        tool: ToolName::new(tool),
        digest: CallDigest::from_bytes(digest_bytes(table, row, digest)?),
    })
}

/// Whether calls of the hold's identity join or collect it.
pub(super) fn is_live(state: HoldState, delivered: bool) -> bool {
    match state {
        HoldState::Pending | HoldState::Approved | HoldState::Dispatched | HoldState::Unknown => true,
        HoldState::Done => !delivered,
        HoldState::Rejected
        | HoldState::Expired
        | HoldState::Cancelled
        | HoldState::ChangesRequested
        | HoldState::Void => false,
    }
}

/// Whose calls may revise a thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proposer {
    principal: Principal,
    server: ServerName,
    tool: ToolName,
    pub(super) task: TaskId,
}

impl Proposer {
    pub(super) fn new(identity: &Identity, task: &TaskId) -> Self {
        Self {
            principal: identity.principal.clone(),
            server: identity.server.clone(),
            tool: identity.tool.clone(),
            task: task.clone(),
        }
    }

    pub(super) fn of(hold: &HeldCall) -> Self {
        Self::new(&hold.identity, &hold.hold.task)
    }
}

/// Whether a call may revise the thread of a hold that waits for another proposal.
pub(super) fn may_revise(hold: &HeldCall, digest: CallDigest) -> bool {
    hold.taken_up_by.is_none_or(|taken_up_by| taken_up_by == digest)
}

/// The latest of the proposer's holds that ended `changes_requested`, if its thread has no later one.
pub(super) async fn to_revise(
    connection: &mut SqliteConnection,
    proposer: &Proposer,
) -> Result<Option<HeldCall>, WriteError> {
    let (task, principal) = (proposer.task.as_str(), proposer.principal.as_str());
    let (server, tool) = (proposer.server.as_str(), proposer.tool.as_str());
    let row = query_holds!(
        "WHERE id = (SELECT max(id) FROM holds WHERE state = 'changes_requested'
                AND task_id = $1 AND principal = $2 AND server = $3 AND tool = $4)
            AND NOT EXISTS (SELECT 1 FROM holds AS later WHERE later.task_id = holds.task_id
                AND later.thread_id = holds.thread_id AND later.revision > holds.revision)",
        task,
        principal,
        server,
        tool
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(HeldCall::try_from).transpose()?)
}

/// The live hold of an identity.
pub(super) async fn live_of(
    connection: &mut SqliteConnection,
    identity: &Identity,
) -> Result<Option<HeldCall>, WriteError> {
    let (principal, server, tool) =
        (identity.principal.as_str(), identity.server.as_str(), identity.tool.as_str());
    let digest = identity.digest.as_bytes().as_slice();
    let row = query_holds!(
        "WHERE principal = $1 AND server = $2 AND tool = $3 AND digest = $4
            AND (state IN ('pending', 'approved', 'dispatched', 'unknown') OR (state = 'done' AND delivered = 0))",
        principal,
        server,
        tool,
        digest
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(HeldCall::try_from).transpose()?)
}

/// How many holds of an identity have ended.
pub(super) async fn ended_of(
    connection: &mut SqliteConnection,
    identity: &Identity,
) -> Result<u64, WriteError> {
    let (principal, server, tool) =
        (identity.principal.as_str(), identity.server.as_str(), identity.tool.as_str());
    let digest = identity.digest.as_bytes().as_slice();
    let ended = sqlx::query_scalar!(
        r#"SELECT count(*) AS "ended!: i64" FROM holds
        WHERE digest = $4 AND principal = $1 AND server = $2 AND tool = $3
            AND (state IN ('rejected', 'expired', 'cancelled', 'changes_requested', 'void') OR delivered = 1)"#,
        principal,
        server,
        tool,
        digest
    )
    .fetch_one(connection)
    .await?;
    Ok(u64::try_from(ended).unwrap_or_default())
}

/// What the database itself says of an identity. `connection` is in a transaction: it is one state that all of it is
/// true of.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    identity: &Identity,
    task: &TaskId,
) -> Result<Found, WriteError> {
    let proposer = Proposer::new(identity, task);
    Ok(Found {
        live: live_of(connection, identity).await?.map(Box::new),
        ended: ended_of(connection, identity).await?,
        revises: to_revise(connection, &proposer)
            .await?
            .filter(|hold| may_revise(hold, identity.digest))
            .map(Box::new),
    })
}

pub(super) async fn get(readers: &SqlitePool, id: HoldId) -> Result<Option<HeldCall>, StoreError> {
    let row = query_holds!("WHERE id = $1", id.0).fetch_optional(readers).await.map_err(reading)?;
    row.map(HeldCall::try_from).transpose()
}

pub(super) async fn live(readers: &SqlitePool, limit: usize) -> Result<Vec<HeldCall>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = query_holds!(
        "WHERE state IN ('pending', 'approved', 'dispatched', 'unknown') OR (state = 'done' AND delivered = 0)
        ORDER BY opened_at, id LIMIT $1",
        limit
    )
    .fetch_all(readers)
    .await
    .map_err(reading)?;
    rows.into_iter().map(HeldCall::try_from).collect()
}

pub(super) async fn withdrawn(
    readers: &SqlitePool,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<HeldCall>, StoreError> {
    let (since, limit) = (since.as_microsecond(), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = query_holds!(
        "WHERE state = 'cancelled' AND changed_at >= $1 ORDER BY changed_at, id LIMIT $2",
        since,
        limit
    )
    .fetch_all(readers)
    .await
    .map_err(reading)?;
    rows.into_iter().map(HeldCall::try_from).collect()
}
