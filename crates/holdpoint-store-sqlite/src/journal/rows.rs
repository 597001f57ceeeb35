//! Rows of the journal, and the holds they stand for.

use std::sync::Arc;

use holdpoint_core::{
    CallDigest, DefinitionDigest, Found, HeldCall, Hold, HoldId, HoldState, Identity, Owner, PolicyRevision,
    Principal, ServerName, StoredResult, TaskId, ThreadId, ToolName,
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
    pub(super) binding: String,
    pub(super) review_url: Option<String>,
    pub(super) arguments: Option<String>,
    pub(super) definition: Option<Vec<u8>>,
    pub(super) policy: String,
    pub(super) opened_at: i64,
    pub(super) claim_owner: Option<String>,
    pub(super) claimed_at: Option<i64>,
    pub(super) result: Option<Vec<u8>>,
    pub(super) delivered: i64,
}

/// The text of a query over holds; the condition follows.
macro_rules! query_holds {
    ($condition:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::journal::rows::HoldRow,
            "SELECT id, version, state, principal, server, tool, digest, task_id, thread_id, binding, review_url,
                arguments, definition, policy, opened_at, claim_owner, claimed_at, result, delivered
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
        let at =
            |micros| Timestamp::from_microsecond(micros).map_err(|_| wrong("an instant is out of range"));
        let state = HoldState::ALL
            .into_iter()
            .find(|state| state.as_str() == row.state)
            .ok_or_else(|| wrong("unknown state"))?;
        let claim = match (row.claim_owner, row.claimed_at) {
            (Some(owner), Some(claimed_at)) => Some((Owner(owner.into()), at(claimed_at)?)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(wrong("a claim without owner or time")),
        };
        let opened_at = at(row.opened_at)?;
        let definition = row
            .definition
            .map(|bytes| digest_bytes(row.id, bytes).map(DefinitionDigest::from_bytes))
            .transpose()?;
        Ok(Self {
            id: HoldId(row.id),
            state,
            identity: identity(row.id, row.principal, row.server, row.tool, row.digest)?,
            hold: Hold {
                task: TaskId::new(row.task_id),
                thread: ThreadId::new(row.thread_id),
                binding: row.binding,
                review_url: row.review_url,
            },
            arguments: row.arguments.map(Arc::from),
            definition,
            policy: PolicyRevision::new(row.policy),
            opened_at,
            claim,
            result: row.result.map(StoredResult::new),
            delivered: row.delivered != 0,
        })
    }
}

pub(super) fn impossible(row: i64, reason: &'static str) -> StoreError {
    StoreError::ImpossibleRow { table: TABLE, row: row.to_string(), reason }
}

fn digest_bytes(row: i64, bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| impossible(row, "a digest is not 32 bytes long"))
}

pub(super) fn identity(
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
        digest: CallDigest::from_bytes(digest_bytes(row, digest)?),
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

/// What the database itself says of an identity, in one reading.
pub(super) async fn find(readers: &SqlitePool, identity: &Identity) -> Result<Found, StoreError> {
    let (principal, server, tool) =
        (identity.principal.as_str(), identity.server.as_str(), identity.tool.as_str());
    let digest = identity.digest.as_bytes().as_slice();
    let rows = query_holds!(
        "WHERE digest = $4 AND principal = $1 AND server = $2 AND tool = $3",
        principal,
        server,
        tool,
        digest
    )
    .fetch_all(readers)
    .await
    .map_err(reading)?;
    let mut found = Found { live: None, ended: 0 };
    for row in rows {
        let hold = HeldCall::try_from(row)?;
        if is_live(hold.state, hold.delivered) {
            found.live = Some(hold);
        } else {
            found.ended += 1;
        }
    }
    Ok(found)
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
