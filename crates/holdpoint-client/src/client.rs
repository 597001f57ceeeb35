use crate::{
    ClientError, ClientSettings, SetupError,
    wire::{Wire, unreadable},
};
use bytes::Bytes;
use holdpoint_api::{
    ApprovalToken, DecisionAnswer, DecisionChanges, DecisionStatus, EventBody, InitialStatus, Limits,
    RefusedReason, RequestAnswer, RequestBody, TaskId, ThreadState, ValidateAnswer, ValidateBody,
    headers::IDEMPOTENCY_KEY, paths,
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// The agent API of one Gate, for one agent. Each call is one attempt; cloning shares the connections.
#[derive(Clone, Debug)]
pub struct GateClient(Arc<Wire>);

/// Whose decision is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionOf<'a> {
    /// One thread's.
    Thread(&'a str),
    /// That of the latest thread of a task.
    Task(&'a TaskId),
}

impl GateClient {
    /// Sets up the connection pool; connects to nothing yet.
    pub fn new(settings: ClientSettings) -> Result<Self, SetupError> {
        Ok(Self(Arc::new(Wire::new(settings)?)))
    }

    /// How long a poll may wait at Gate, once Gate has announced it. Only our own Gate does.
    #[must_use]
    pub fn long_poll(&self) -> Option<Duration> {
        self.0.long_poll()
    }

    /// Whether Gate has announced the feed that [`Self::changes`] reads. Only our own Gate does.
    #[must_use]
    pub fn has_feed(&self) -> bool {
        self.0.has_feed()
    }

    /// Reads which threads of this agent something happened to after the answer with the cursor `after`, waiting for it
    /// at most `wait`. It says nothing of what happened: [`Self::decision`] does.
    pub async fn changes(&self, after: Option<&str>, wait: Duration) -> Result<DecisionChanges, ClientError> {
        let reply = self.0.get(&paths::decision_changes(after, wait.as_secs()), Some(wait)).await?;
        let changes: DecisionChanges = reply.json()?;
        let cursor = changes.cursor.as_bytes();
        let usable =
            (1..=Limits::CURSOR_BYTES).contains(&cursor.len()) && cursor.iter().all(u8::is_ascii_graphic);
        if !usable {
            return Err(ClientError::Contradiction("a feed that cannot be gone on with"));
        }
        tracing::debug!(threads = changes.threads.len(), resync = changes.resync, "feed read");
        Ok(changes)
    }

    /// Adds to a task's timeline, or revises a thread.
    pub async fn post_event(&self, task: &TaskId, event: &EventBody) -> Result<(), ClientError> {
        let body = self.body_of(event)?;
        self.post_event_body(task, body).await
    }

    /// The same with a body that is put together already.
    pub async fn post_event_body(&self, task: &TaskId, body: impl Into<Bytes>) -> Result<(), ClientError> {
        let reply = self.0.post(&paths::events(task), body.into(), None).await?;
        tracing::debug!(task = ?task.as_str(), status = reply.status.as_u16(), "event posted");
        reply.check_success()
    }

    /// Asks for a decision. The answer's status is known, a pending one names its thread, and what the answer says of
    /// task and payload is what was asked.
    pub async fn request(
        &self,
        task: &TaskId,
        request: &RequestBody,
        idempotency_key: Option<&str>,
    ) -> Result<RequestAnswer, ClientError> {
        let key = idempotency_key.map(HeaderValue::try_from).transpose();
        let key = key.map_err(|error| ClientError::Assemble(Box::new(error)))?;
        let body = self.body_of(request)?;
        self.ask(&paths::requests(task), task, body, &request.payload_digest(), key).await
    }

    /// Reads a decision, waiting for one at most `wait` where Gate can. The answer's status is known, and what the
    /// answer says of thread and task is what was asked.
    pub async fn decision(
        &self,
        of: DecisionOf<'_>,
        wait: Option<Duration>,
    ) -> Result<DecisionAnswer, ClientError> {
        let path = match of {
            DecisionOf::Thread(thread) => paths::decision_of_thread(thread, wait.map(|wait| wait.as_secs())),
            DecisionOf::Task(task) => paths::decision_of_task(task),
        };
        let reply = self.0.get(&path, wait).await?;
        tracing::debug!(?of, status = reply.status.as_u16(), "decision read");
        let answer: DecisionAnswer = reply.json()?;
        check_decision(&answer, of)?;
        Ok(answer)
    }

    /// Uses a token up. One attempt, whatever happens: a lost answer and a replay look the same to Gate.
    pub async fn validate(
        &self,
        task: &TaskId,
        token: &ApprovalToken,
    ) -> Result<ValidateAnswer, ClientError> {
        let body = ValidateBody { task_id: task.clone(), signature: token.clone() };
        let reply = self.0.validate(self.body_of(&body)?.into()).await?;
        tracing::debug!(task = ?task.as_str(), status = reply.status.as_u16(), "token redeemed");
        let refused = reply.status == StatusCode::BAD_REQUEST;
        if !refused {
            reply.check_success()?;
        }
        match serde_json::from_slice(&reply.body) {
            Ok(ValidateAnswer::Valid) if !refused => Ok(ValidateAnswer::Valid),
            Ok(ValidateAnswer::Refused(RefusedReason::Unknown(reason))) if refused => {
                Err(ClientError::unknown_status(&reason))
            }
            Ok(answer @ ValidateAnswer::Refused(_)) if refused => Ok(answer),
            Ok(ValidateAnswer::Valid | ValidateAnswer::Refused(_)) => {
                Err(ClientError::Contradiction("the HTTP status and `valid` do not agree"))
            }
            // A 400 in plain text refused the question, not the token.
            Err(_) if refused => Err(reply.failure()),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Asks with a body that is put together already.
    pub(crate) async fn ask(
        &self,
        path: &str,
        task: &TaskId,
        body: impl Into<Bytes>,
        payload_digest: &str,
        idempotency_key: Option<HeaderValue>,
    ) -> Result<RequestAnswer, ClientError> {
        let key = idempotency_key.map(|key| (HeaderName::from_static(IDEMPOTENCY_KEY), key));
        let reply = self.0.post(path, body.into(), key).await?;
        tracing::debug!(task = ?task.as_str(), status = reply.status.as_u16(), "request answered");
        let answer: RequestAnswer = reply.json()?;
        check_request(&answer, task, payload_digest)?;
        Ok(answer)
    }

    pub(crate) fn check_size(&self, body: &[u8]) -> Result<(), ClientError> {
        let bytes_max = self.0.request_bytes_max;
        if body.len() > bytes_max { Err(ClientError::RequestTooLarge(bytes_max)) } else { Ok(()) }
    }

    fn body_of(&self, value: &impl Serialize) -> Result<Vec<u8>, ClientError> {
        let body = serde_json::to_vec(value).map_err(|error| ClientError::Assemble(Box::new(error)))?;
        self.check_size(&body)?;
        Ok(body)
    }
}

fn check_request(answer: &RequestAnswer, task: &TaskId, payload_digest: &str) -> Result<(), ClientError> {
    if answer.task_id.as_deref().is_some_and(|named| named != task.as_str()) {
        return Err(ClientError::Contradiction("another task"));
    }
    if answer.payload_digest.as_deref().is_some_and(|named| named != payload_digest) {
        return Err(ClientError::Contradiction("another payload"));
    }
    match &answer.status {
        InitialStatus::PendingReview if answer.thread_id.as_deref().is_none_or(str::is_empty) => {
            Err(ClientError::Contradiction("a review is pending that has no name"))
        }
        InitialStatus::Allow | InitialStatus::Reject | InitialStatus::PendingReview => Ok(()),
        InitialStatus::Unknown(word) => Err(ClientError::unknown_status(word)),
    }
}

fn check_decision(answer: &DecisionAnswer, of: DecisionOf<'_>) -> Result<(), ClientError> {
    let (named, asked, what) = match of {
        DecisionOf::Thread(thread) => (&answer.thread_id, thread, "another thread"),
        DecisionOf::Task(task) => (&answer.task_id, task.as_str(), "another task"),
    };
    if named.as_deref().is_some_and(|named| named != asked) {
        return Err(ClientError::Contradiction(what));
    }
    match (&answer.status, &answer.thread_state) {
        (DecisionStatus::Unknown(word), _) => Err(ClientError::unknown_status(word)),
        (DecisionStatus::Approved, Some(state)) if *state != ThreadState::Approved => {
            Err(ClientError::Contradiction("approved, and yet not"))
        }
        (DecisionStatus::Approved | DecisionStatus::PendingReview | DecisionStatus::Rejected, _) => Ok(()),
    }
}

/// Whether the reviewer of an open thread wants another proposal. Only of a Gate that names the thread's state is it
/// known that words on an open thread are a reviewer's; elsewhere they may be "please wait".
pub(crate) fn asks_for_changes(answer: &DecisionAnswer) -> bool {
    let open = matches!(answer.thread_state, Some(ThreadState::NeedsReview | ThreadState::Escalated));
    answer.status == DecisionStatus::PendingReview && open && !answer.message.trim().is_empty()
}
