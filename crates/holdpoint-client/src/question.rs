use crate::{ClientError, binding::Binding};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use holdpoint_api::{InitialStatus, RequestAnswer, TaskId, paths, payload_digest};
use holdpoint_core::{Ask, Hold, Repeat, Submission, ThreadId};
use http::HeaderValue;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::fmt;
use url::Url;

/// A secret of this installation that outlives restarts.
///
/// Idempotency keys are made with it, since the digest they stand for covers masked secrets: without a key, whoever
/// sees an idempotency key could try out guesses.
#[derive(Clone)]
pub struct LocalKey(Hmac<Sha256>);

impl LocalKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        // 32 bytes are less than a block of SHA-256, so they are padded and not hashed: no key is refused.
        let mut block = [0; 64];
        for (place, byte) in block.iter_mut().zip(bytes) {
            *place = *byte;
        }
        Self(Hmac::new(&block.into()))
    }

    /// A digest of `parts` that only this installation can make.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey(…)")
    }
}

/// One question to Gate, put together once and sent as it is.
pub(crate) struct Question {
    pub(crate) task: TaskId,
    pub(crate) path: String,
    /// Shared, so that a second attempt sends the same bytes.
    pub(crate) body: Bytes,
    pub(crate) payload_digest: String,
    pub(crate) idempotency_key: HeaderValue,
}

#[derive(Serialize)]
struct AskBody<'a> {
    workflow_name: &'a str,
    task_label: &'a str,
    tool_name: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk_level: Option<&'static str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    summary: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    images: &'a [String],
    /// Its own bytes, unread.
    payload: &'a RawValue,
}

impl Question {
    pub(crate) fn new(ask: &Ask, task: &str, repeat: Repeat, key: &LocalKey) -> Result<Self, ClientError> {
        let task = TaskId::parse(task)?;
        let body = body_of(ask)?;
        Ok(Self {
            path: paths::requests(&task),
            payload_digest: payload_digest(ask.payload.get()),
            idempotency_key: idempotency_key(key, &task, repeat, &body)?,
            body: body.into(),
            task,
        })
    }

    /// What Gate's answer means. The answer was checked against this question before.
    pub(crate) fn read(&self, answer: RequestAnswer) -> Result<Submission, ClientError> {
        match &answer.status {
            InitialStatus::Allow => Ok(Submission::Allowed),
            InitialStatus::Reject => Ok(Submission::Rejected { message: words(answer.message) }),
            InitialStatus::PendingReview => {
                let binding = Binding::of_answer(&self.payload_digest, &answer).render();
                let thread = answer.thread_id.ok_or(ClientError::Contradiction("a review without a name"))?;
                Ok(Submission::Held(Hold {
                    task: holdpoint_core::TaskId::new(self.task.as_str()),
                    thread: ThreadId::new(thread),
                    binding,
                    review_url: answer.review_url.filter(|url| is_web_page(url)),
                    revision: 0,
                }))
            }
            InitialStatus::Unknown(word) => Err(ClientError::unknown_status(word)),
        }
    }
}

/// Words that are none are none.
pub(crate) fn words(message: String) -> Option<String> {
    (!message.trim().is_empty()).then_some(message)
}

pub(crate) fn body_of(ask: &Ask) -> Result<Vec<u8>, ClientError> {
    /// What the names and quotes around the fields take, roughly.
    const FRAME_BYTES: usize = 256;
    let summary: usize = ask.summary.iter().map(|bullet| bullet.len() + 3).sum();
    let texts = ask.workflow_name.len() + ask.task_label.len() + ask.tool_name.len() + ask.subject.len();
    let preview = ask.preview.as_ref().map_or(0, String::len);
    let images: usize = ask.images.iter().map(|image| image.len() + 3).sum();
    let lists = summary + images;
    let mut body = Vec::with_capacity(FRAME_BYTES + texts + preview + lists + ask.payload.get().len());
    let fields = AskBody {
        workflow_name: &ask.workflow_name,
        task_label: &ask.task_label,
        tool_name: &ask.tool_name,
        subject: &ask.subject,
        preview: ask.preview.as_deref(),
        risk_level: ask.risk_level.map(holdpoint_core::RiskLevel::as_str),
        summary: &ask.summary,
        images: &ask.images,
        payload: &ask.payload,
    };
    serde_json::to_writer(&mut body, &fields).map_err(|error| ClientError::Assemble(Box::new(error)))?;
    Ok(body)
}

/// The same for the same question about the same call, also after a restart; another once a hold of the call has
/// ended. The task is in it because Gate answers for one task only.
fn idempotency_key(
    key: &LocalKey,
    task: &TaskId,
    repeat: Repeat,
    body: &[u8],
) -> Result<HeaderValue, ClientError> {
    let mut mac = key.0.clone();
    mac.update(repeat.digest.as_bytes());
    mac.update(&repeat.ended.to_be_bytes());
    mac.update(&Sha256::digest(body));
    mac.update(task.as_str().as_bytes());
    let mut digits = [0; 64];
    // Two digits a byte: there is room.
    let _fits = hex::encode_to_slice(mac.finalize().into_bytes(), &mut digits);
    HeaderValue::from_bytes(&digits).map_err(|error| ClientError::Assemble(Box::new(error)))
}

/// It is shown to agents and people as a link: nothing but a web page may stand there.
fn is_web_page(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
}
