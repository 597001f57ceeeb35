//! Requests that may be sent again, under an `Idempotency-Key`.
//!
//! A key leads to the thread it opened, and to nothing else: what the rules decide alone is decided anew each time. So
//! that a request the rules decide writes its log row only, the way from key to thread is the thread's id, which is
//! taken from the key's hash; the thread keeps the whole hash and the digest of the body, which settle it.

use holdpoint_api::{SecretHash, TaskId, body_digest};
use holdpoint_store::{AgentId, Idempotency, Thread, ThreadId};

use super::ask::FIRST_REVISION;
use super::{GateServer, Refusal};
use crate::rules::{RequestMark, Trace};

/// The key of one request.
#[derive(Debug, Clone)]
pub(super) struct RequestKey {
    text: String,
    digits: String,
    body_digest: [u8; 32],
}

/// What a key was used for.
pub(super) enum Recalled {
    /// It opened no thread.
    Nothing,
    /// The same request opened this thread.
    Thread(ThreadId),
    /// Another body did.
    OtherBody,
}

/// Hex digits of a thread's id, longer where the shorter one was taken.
pub(super) const THREAD_DIGITS: [usize; 3] = [8, 16, 32];

pub(super) const KEY_REUSED: &str = "this `Idempotency-Key` was used for another request";

impl RequestKey {
    pub(super) fn new(agent: AgentId, task: &TaskId, text: String, body: &[u8]) -> Self {
        let hash = SecretHash::of(&format!("holdpoint/request-key/v1\n{}\n{text}", agent.0));
        // The same body under another task is another request.
        let body = hex::encode(body_digest(body));
        let request = SecretHash::of(&format!("holdpoint/request/v1\n{body}\n{task}"));
        Self { digits: hex::encode_upper(hash.as_bytes()), text, body_digest: *request.as_bytes() }
    }

    /// The id of the thread it opens.
    pub(super) fn thread_id(&self, length: usize) -> ThreadId {
        ThreadId::new(format!("THR-{}", self.digits.get(..length).unwrap_or(&self.digits)))
    }

    /// What the thread keeps of it.
    pub(super) fn mark(&self) -> RequestMark {
        RequestMark { key: self.digits.clone(), body: hex::encode(self.body_digest) }
    }

    /// What settles a race of the same request with itself.
    pub(super) fn idempotency(&self, answer: String) -> Idempotency {
        Idempotency { key: self.text.clone(), body_digest: self.body_digest, answer }
    }
}

impl GateServer {
    /// What a key was used for. Reads one row, unless an id was taken by another request.
    pub(super) async fn recall(&self, key: &RequestKey) -> Result<Recalled, Refusal> {
        let mark = key.mark();
        for length in THREAD_DIGITS {
            let id = key.thread_id(length);
            let Some(thread) = self.store().thread(&id).await? else { return Ok(Recalled::Nothing) };
            match self.mark_of(thread).await? {
                Some(known) if known == mark => return Ok(Recalled::Thread(id)),
                Some(known) if known.key == mark.key => return Ok(Recalled::OtherBody),
                Some(_) | None => {}
            }
        }
        Ok(Recalled::Nothing)
    }

    async fn mark_of(&self, thread: Thread) -> Result<Option<RequestMark>, Refusal> {
        let trace = if thread.revision.id.as_str() == FIRST_REVISION {
            Some(thread.revision.rule_trace)
        } else {
            let revisions = self.store().revisions(&thread.id).await?;
            revisions.into_iter().next().map(|first| first.rule_trace)
        };
        match trace {
            Some(trace) => Ok(serde_json::from_str::<Trace<'_>>(&trace)?.request),
            None => Ok(None),
        }
    }
}
