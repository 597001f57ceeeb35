//! Rows of holds, and the holds they stand for.

use std::sync::Arc;

use holdpoint_core::{
    CallDigest, DefinitionDigest, EffectKey, Found, HeldCall, Hold, HoldId, HoldState, Identity, Owner,
    PolicyRevision, Principal, QuestionDigest, ServerName, StoredResult, TaskId, ThreadId, ToolName,
};
use jiff::Timestamp;
use sqlx::postgres::PgConnection;

use crate::error::Failure;

const TABLE: &str = "holds";

pub(super) struct HoldRow {
    pub(super) id: i64,
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
    pub(super) delivered: bool,
    pub(super) words: Option<String>,
    pub(super) taken_up_by: Option<Vec<u8>>,
}

/// The text of a query over holds; the condition follows.
macro_rules! query_holds {
    ($condition:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::journal::rows::HoldRow,
            "SELECT id, state, principal, server, tool, digest, task_id, thread_id, revision, binding,
                review_url, arguments, definition, policy, question, effect, opened_at, claim_owner, claimed_at, result,
                delivered, words, taken_up_by
            FROM holdpoint.holds " + $condition,
            $($argument),*
        )
    };
}

impl TryFrom<HoldRow> for HeldCall {
    type Error = Failure;

    fn try_from(row: HoldRow) -> Result<Self, Failure> {
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
            delivered: row.delivered,
            words: row.words.map(Arc::from),
            taken_up_by: digest(row.taken_up_by)?.map(CallDigest::from_bytes),
            identity: identity(TABLE, row.id, row.principal, row.server, row.tool, row.digest)?,
        })
    }
}

pub(super) fn impossible(row: i64, reason: &'static str) -> Failure {
    impossible_in(TABLE, row, reason)
}

pub(super) fn impossible_in(table: &'static str, row: i64, reason: &'static str) -> Failure {
    Failure::ImpossibleRow { table, row, reason }
}

pub(super) fn instant(table: &'static str, row: i64, micros: i64) -> Result<Timestamp, Failure> {
    Timestamp::from_microsecond(micros).map_err(|_| impossible_in(table, row, "an instant is out of range"))
}

fn digest_bytes(table: &'static str, row: i64, bytes: Vec<u8>) -> Result<[u8; 32], Failure> {
    bytes.try_into().map_err(|_| impossible_in(table, row, "a digest is not 32 bytes long"))
}

pub(super) fn identity(
    table: &'static str,
    row: i64,
    principal: String,
    server: String,
    tool: String,
    digest: Vec<u8>,
) -> Result<Identity, Failure> {
    Ok(Identity {
        principal: Principal::new(principal),
        server: ServerName::new(server),
        tool: ToolName::new(tool),
        digest: CallDigest::from_bytes(digest_bytes(table, row, digest)?),
    })
}

pub(super) async fn live_of(
    session: &mut PgConnection,
    identity: &Identity,
) -> Result<Option<HeldCall>, Failure> {
    let row = query_holds!(
        "WHERE digest = $1 AND principal = $2 AND server = $3 AND tool = $4 AND holdpoint.is_live(state, delivered)",
        identity.digest.as_bytes().as_slice(),
        identity.principal.as_str(),
        identity.server.as_str(),
        identity.tool.as_str()
    )
    .fetch_optional(session)
    .await?;
    row.map(HeldCall::try_from).transpose()
}

/// Two looks, one after the other; what they say together was true at one moment. While a hold lives it is the latest of
/// its identity, so the others had ended when it was seen; and where none was seen, what has ended since counts.
pub(super) async fn find(
    session: &mut PgConnection,
    identity: &Identity,
    task: &TaskId,
) -> Result<Found, Failure> {
    let rows = query_holds!(
        "WHERE (digest = $1 AND principal = $2 AND server = $3 AND tool = $4 AND holdpoint.is_live(state, delivered))
            OR (id = (SELECT max(id) FROM holdpoint.holds WHERE state = 'changes_requested'
                    AND task_id = $5 AND principal = $2 AND server = $3 AND tool = $4)
                AND coalesce(taken_up_by, $1) = $1
                AND NOT EXISTS (SELECT 1 FROM holdpoint.holds AS later WHERE later.task_id = holds.task_id
                    AND later.thread_id = holds.thread_id AND later.revision > holds.revision))",
        identity.digest.as_bytes().as_slice(),
        identity.principal.as_str(),
        identity.server.as_str(),
        identity.tool.as_str(),
        task.as_str()
    )
    .fetch_all(&mut *session)
    .await?;
    let (mut live, mut revises) = (None, None);
    for row in rows {
        let hold = HeldCall::try_from(row)?;
        if hold.state == HoldState::ChangesRequested {
            revises = Some(hold);
        } else {
            live = Some(hold);
        }
    }
    let before = live.as_ref().map_or(i64::MAX, |hold| hold.id.0);
    let ended = sqlx::query_scalar!(
        r#"SELECT count(*) AS "ended!" FROM holdpoint.holds
        WHERE digest = $1 AND principal = $2 AND server = $3 AND tool = $4
            AND NOT holdpoint.is_live(state, delivered) AND id < $5"#,
        identity.digest.as_bytes().as_slice(),
        identity.principal.as_str(),
        identity.server.as_str(),
        identity.tool.as_str(),
        before
    )
    .fetch_one(session)
    .await?;
    Ok(Found {
        live: live.map(Box::new),
        ended: u64::try_from(ended).unwrap_or_default(),
        revises: revises.map(Box::new),
    })
}

pub(super) async fn get(session: &mut PgConnection, id: HoldId) -> Result<Option<HeldCall>, Failure> {
    let row = query_holds!("WHERE id = $1", id.0).fetch_optional(session).await?;
    row.map(HeldCall::try_from).transpose()
}

pub(super) async fn live(session: &mut PgConnection, limit: usize) -> Result<Vec<HeldCall>, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows =
        query_holds!("WHERE holdpoint.is_live(state, delivered) ORDER BY opened_at, id LIMIT $1", limit)
            .fetch_all(session)
            .await?;
    rows.into_iter().map(HeldCall::try_from).collect()
}

pub(super) async fn withdrawn(
    session: &mut PgConnection,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<HeldCall>, Failure> {
    let rows = query_holds!(
        "WHERE state = 'cancelled' AND changed_at >= $1 ORDER BY changed_at, id LIMIT $2",
        since.as_microsecond(),
        i64::try_from(limit).unwrap_or(i64::MAX)
    )
    .fetch_all(session)
    .await?;
    rows.into_iter().map(HeldCall::try_from).collect()
}
