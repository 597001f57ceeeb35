use crate::{
    ClientError, DecisionOf, Doorbell, GateClient, LocalKey, Pace,
    binding::Binding,
    client::asks_for_changes,
    pace::luck,
    poller::Poller,
    question::{Question, words},
    revision::Revision,
};
use async_trait::async_trait;
use holdpoint_api::{
    DecisionAnswer, DecisionStatus, RefusedReason, RequestAnswer, ThreadState, ValidateAnswer,
};
use holdpoint_core::{
    Answer, Approval, ApprovalToken, Approver, ApproverError, Ask, Hold, Redemption, Refusal, Repeat,
    Revised, Submission, TaskId,
};
use std::time::Duration;
use tokio::{sync::Semaphore, time::Instant};

/// Pauses before a connection is tried again. Short in all: a Gate that refuses connections is down, and the agent
/// should hear so at once.
const CONNECT_PAUSES: [Duration; 2] = [Duration::from_millis(40), Duration::from_millis(120)];
/// Connecting that took this long is not tried again.
const CONNECT_RETRY_MAX: Duration = Duration::from_secs(2);
/// Before finding out what became of a request: a Gate that just broke off may need a moment.
const RESEND_PAUSE: Duration = Duration::from_millis(100);

/// Questions that are under way at once. Thousands of calls that arrive in one moment wait here, and not in Gate's queue
/// until it is full.
const ASKED_AT_ONCE_MAX: usize = 128;
/// For a place among them. A Gate that hangs must not be waited for in line.
const PLACE_WITHIN: Duration = Duration::from_secs(30);

/// The kernel's port to a Gate.
#[derive(Debug)]
pub struct GateApprover {
    client: GateClient,
    key: LocalKey,
    poller: Poller,
    pace: Pace,
    places: Semaphore,
}

impl GateApprover {
    /// Puts a client behind the kernel's port.
    #[must_use]
    pub fn new(client: GateClient, key: LocalKey) -> Self {
        Self::with_pace(client, key, Pace::default())
    }

    /// The same, at another pace.
    #[must_use]
    pub fn with_pace(client: GateClient, key: LocalKey, pace: Pace) -> Self {
        let places = Semaphore::new(ASKED_AT_ONCE_MAX);
        Self { poller: Poller::new(client.clone(), pace), client, key, pace, places }
    }

    /// The client below, for events.
    #[must_use]
    pub const fn client(&self) -> &GateClient {
        &self.client
    }

    pub(crate) const fn key(&self) -> &LocalKey {
        &self.key
    }

    /// A handle by which a webhook ends a sleep early.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.poller.doorbell()
    }

    /// Asks, and finds out what became of the question when the answer is lost. The question travels twice at most.
    async fn ask(&self, question: &Question) -> Result<RequestAnswer, ClientError> {
        self.client.check_size(&question.body)?;
        let _place = match self.places.try_acquire() {
            Ok(place) => Ok(place),
            // All are taken; they are never closed.
            Err(_) => tokio::time::timeout(PLACE_WITHIN, self.places.acquire())
                .await
                .map_err(|_elapsed| ClientError::TimedOut)?,
        };
        match self.ask_connecting(question).await {
            Err(error) if error.leaves_outcome_open() => Box::pin(self.ask_again(question, error)).await,
            settled => settled,
        }
    }

    /// After the answer was `lost`.
    async fn ask_again(&self, question: &Question, lost: ClientError) -> Result<RequestAnswer, ClientError> {
        tracing::warn!(task = ?question.task.as_str(), error = %lost, "the answer to a request is lost");
        tokio::time::sleep(RESEND_PAUSE).await;
        if self.client.long_poll().is_none() {
            let found = self.client.decision(DecisionOf::Task(&question.task), None).await;
            let never_arrived = matches!(found, Err(ClientError::Status { status: 404, .. }));
            // A thread of this task may be an older one, so it is not taken for ours. But the answer may have been
            // the first to say that this is a Gate that knows idempotency keys.
            if !never_arrived && self.client.long_poll().is_none() {
                return Err(ClientError::OutcomeUnknown(Box::new(lost)));
            }
        }
        self.ask_connecting(question).await.map_err(|error| ClientError::OutcomeUnknown(Box::new(error)))
    }

    async fn ask_connecting(&self, question: &Question) -> Result<RequestAnswer, ClientError> {
        let Question { task, path, body, payload_digest, idempotency_key } = question;
        connecting(|| {
            let key = Some(idempotency_key.clone());
            self.client.ask(path, task, body.clone(), payload_digest, key)
        })
        .await
    }

    /// Puts a revision into its thread. When the answer is lost it travels once more, but only to a Gate that is known to
    /// take a revision it has already for nothing new. Elsewhere a first copy that was only late could take the place of a
    /// later revision, unseen by us; there the thread is given up, and whatever becomes of it runs nothing.
    async fn propose(&self, revision: &Revision<'_>, before: &Binding<'_>) -> Result<Proposed, ClientError> {
        let Revision { task, body, .. } = revision;
        self.client.check_size(body)?;
        let send = || self.client.post_event_body(task, body.clone());
        let lost = match connecting(send).await {
            Err(error) if error.leaves_outcome_open() => error,
            settled => return proposed(settled),
        };
        tracing::warn!(task = ?task.as_str(), error = %lost, "the answer to a revision is lost");
        if self.client.long_poll().is_none() && !before.names_revision() {
            return Ok(Proposed::GivenUp);
        }
        tokio::time::sleep(RESEND_PAUSE).await;
        proposed(connecting(send).await)
    }
}

/// What came of a revision on its way.
enum Proposed {
    /// Gate has it.
    Taken,
    /// The thread is decided, or unknown, or may no longer be relied on.
    GivenUp,
}

fn proposed(posted: Result<(), ClientError>) -> Result<Proposed, ClientError> {
    match posted {
        Ok(()) => Ok(Proposed::Taken),
        Err(ClientError::Status { status: 400 | 404, .. }) => Ok(Proposed::GivenUp),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Approver for GateApprover {
    async fn submit(&self, ask: &Ask, task: &TaskId, repeat: Repeat) -> Result<Submission, ApproverError> {
        let question = Question::new(ask, task.as_str(), repeat, &self.key).map_err(unusable)?;
        let answer = self.ask(&question).await.map_err(unusable)?;
        question.read(answer).map_err(unusable)
    }

    async fn revise(&self, ask: &Ask, before: &Hold, repeat: Repeat) -> Result<Revised, ApproverError> {
        let binding = Binding::parse(&before.binding).map_err(unusable)?;
        let revision = Revision::new(ask, before, repeat, &self.key).map_err(unusable)?;
        match self.propose(&revision, &binding).await.map_err(unusable)? {
            Proposed::Taken => {}
            Proposed::GivenUp => return Ok(Revised::Closed),
        }
        let thread = DecisionOf::Thread(before.thread.as_str());
        let answer = self.client.decision(thread, None).await.map_err(unusable)?;
        revision.read(answer).map_err(unusable)
    }

    async fn wait(&self, hold: &Hold, patience: Duration) -> Result<Answer, ApproverError> {
        let binding = Binding::parse(&hold.binding).map_err(unusable)?;
        let started = Instant::now();
        loop {
            let left = patience.saturating_sub(started.elapsed());
            let mut waiter = self.poller.register(hold.thread.as_str());
            let answer = match tokio::time::timeout(left, waiter.decided()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => return Err(ApproverError(Box::new(error))),
                Err(_elapsed) => {
                    return match waiter.last_failure() {
                        Some(error) => Err(ApproverError(Box::new(error))),
                        None => Ok(Answer::StillHeld),
                    };
                }
            };
            if !binding.has_heard(&answer) {
                return read(hold, &binding, answer).map_err(unusable);
            }
            let pause = self.pace.next(answer.recommended_poll_after_seconds, luck());
            tokio::time::sleep(pause.min(left)).await;
        }
    }

    async fn redeem(&self, task: &TaskId, token: &ApprovalToken) -> Result<Redemption, ApproverError> {
        let task = holdpoint_api::TaskId::parse(task.as_str()).map_err(|error| unusable(error.into()))?;
        let token = holdpoint_api::ApprovalToken::foreign(token.expose());
        let token = token.map_err(|_| unusable(ClientError::Token))?;
        match self.client.validate(&task, &token).await.map_err(unusable)? {
            ValidateAnswer::Valid => Ok(Redemption::Valid),
            ValidateAnswer::Refused(RefusedReason::Invalid) => Ok(Redemption::Refused(Refusal::Invalid)),
            ValidateAnswer::Refused(RefusedReason::Expired) => Ok(Redemption::Refused(Refusal::Expired)),
            ValidateAnswer::Refused(RefusedReason::Used) => Ok(Redemption::Refused(Refusal::Used)),
            ValidateAnswer::Refused(RefusedReason::Unknown(reason)) => {
                Err(unusable(ClientError::unknown_status(&reason)))
            }
        }
    }
}

/// Sends once; only the connection is tried more than once, before anything was sent.
async fn connecting<T, F>(send: impl Fn() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let started = Instant::now();
    let mut pauses = CONNECT_PAUSES.into_iter();
    loop {
        match (send().await, pauses.next()) {
            (Err(ClientError::Unreachable(_)), Some(pause)) if started.elapsed() < CONNECT_RETRY_MAX => {
                tokio::time::sleep(pause).await;
            }
            (settled, _) => return settled,
        }
    }
}

/// What a decision means for a hold. The answer's status was checked before; its thread is the hold's.
fn read(hold: &Hold, binding: &Binding<'_>, answer: DecisionAnswer) -> Result<Answer, ClientError> {
    if answer.task_id.as_deref().is_some_and(|named| named != hold.task.as_str()) {
        return Err(ClientError::Contradiction("another task"));
    }
    let about_this = binding.covers(&answer);
    let asks_for_changes = asks_for_changes(&answer);
    let message = words(answer.message);
    match answer.status {
        _ if answer.thread_state == Some(ThreadState::Expired) => Ok(Answer::Expired { message }),
        DecisionStatus::Approved | DecisionStatus::Rejected if !about_this => Ok(Answer::OtherPayload),
        DecisionStatus::Approved => Ok(Answer::Approved(Approval {
            hold: hold.clone(),
            token: answer.approval_token.map(|token| ApprovalToken::new(token.expose())),
            expires_at: answer.token_expires_at,
            message,
        })),
        DecisionStatus::Rejected => Ok(Answer::Rejected { message }),
        DecisionStatus::PendingReview if asks_for_changes => Ok(Answer::ChangesRequested { message }),
        // The poller waits on for these.
        DecisionStatus::PendingReview => Ok(Answer::StillHeld),
        DecisionStatus::Unknown(word) => Err(ClientError::unknown_status(&word)),
    }
}

fn unusable(error: ClientError) -> ApproverError {
    ApproverError(Box::new(error))
}
