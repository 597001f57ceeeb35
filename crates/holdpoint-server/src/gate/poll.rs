use std::time::Duration;

use holdpoint_api::{
    ApprovalToken, DecisionAnswer, DecisionStatus, RefusedReason, TaskId, ThreadState as WireState,
    ValidateAnswer, ValidateBody,
};
use holdpoint_store::{
    Agent, AgentId, Ear, MintOutcome, OpenState, RedeemOutcome, Thread, ThreadId, ThreadState,
};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{GateServer, Refusal};
use crate::random;

/// Which thread an agent asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Thread(ThreadId),
    /// The latest thread of a task.
    Task(TaskId),
}

/// How often a waiting poll reads again without having heard anything.
pub(super) const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);

const NO_THREAD: Refusal = Refusal::NotFound("no such thread or task for this agent");

impl GateServer {
    /// The thread as soon as there is something to say about it, or as it is after `wait`.
    pub(crate) async fn await_thread(
        &self,
        agent: AgentId,
        wanted: &Wanted,
        wait: Duration,
    ) -> Result<Thread, Refusal> {
        if wait.is_zero() {
            return self.find(agent, wanted).await;
        }
        let id = match wanted {
            Wanted::Thread(id) => id.clone(),
            Wanted::Task(_) => self.find(agent, wanted).await?.id,
        };
        // Listen first, then read: a decision in between is heard.
        let mut ear = self.store().bell().listen_to_thread(&id);
        let mut thread = self.find(agent, &Wanted::Thread(id)).await?;
        let Ok(_permit) = self.waiters.try_acquire() else { return Ok(thread) };
        let deadline = Instant::now() + wait;
        while is_undecided(&thread) && Instant::now() < deadline {
            let heard = self.next_look(&mut ear, &thread, deadline).await;
            thread = self.find(agent, &Wanted::Thread(thread.id)).await?;
            if matches!(heard, Heard::Shutdown) {
                break;
            }
        }
        Ok(thread)
    }

    async fn next_look(&self, ear: &mut Ear, thread: &Thread, deadline: Instant) -> Heard {
        let mut pause = READ_AGAIN_AFTER.min(deadline.saturating_duration_since(Instant::now()));
        if let Some(expires_at) = thread.expires_at {
            let left = expires_at.duration_since(self.now());
            pause = pause.min(Duration::try_from(left).unwrap_or_default());
        }
        tokio::select! {
            () = ear.rung() => Heard::Something,
            () = tokio::time::sleep(pause) => Heard::Something,
            () = self.shutdown.cancelled() => Heard::Shutdown,
        }
    }

    async fn find(&self, agent: AgentId, wanted: &Wanted) -> Result<Thread, Refusal> {
        let thread = self.read(agent, wanted).await?;
        let now = self.now();
        if is_over(&thread, now) {
            self.store().expire_due(now).await?;
            return self.read(agent, &Wanted::Thread(thread.id)).await;
        }
        Ok(thread)
    }

    async fn read(&self, agent: AgentId, wanted: &Wanted) -> Result<Thread, Refusal> {
        match wanted {
            Wanted::Thread(id) => self.store().thread_of(agent, id).await?,
            Wanted::Task(task) => self.store().latest_thread(agent, task).await?,
        }
        .ok_or(NO_THREAD)
    }

    /// What an agent is told about a thread. Mints a token where one is due.
    pub(crate) async fn answer(&self, agent: &Agent, thread: Thread) -> Result<DecisionAnswer, Refusal> {
        let setup = self.setup().await?;
        let mut answer = DecisionAnswer {
            status: DecisionStatus::PendingReview,
            thread_id: Some(thread.id.as_str().to_owned()),
            task_id: Some(thread.task_id.as_str().to_owned()),
            message: String::new(),
            recommended_poll_after_seconds: None,
            approval_token: None,
            token_expires_at: None,
            payload_digest: Some(thread.revision.payload_digest.clone()),
            revision_id: Some(thread.revision.id.as_str().to_owned()),
            review_url: None,
            thread_state: Some(WireState::NeedsReview),
        };
        match thread.state {
            ThreadState::Open(open) => {
                answer.message = thread.feedback.unwrap_or_default();
                answer.recommended_poll_after_seconds = Some(setup.poll_after_seconds());
                answer.review_url = Some(self.public.thread(thread.id.as_str()));
                if open == OpenState::Escalated {
                    answer.thread_state = Some(WireState::Escalated);
                }
            }
            ThreadState::Approved(verdict) => {
                if verdict.revision_id != thread.revision.id {
                    tracing::error!(thread = %thread.id, "approved on another revision than the store shows");
                    return Err(Refusal::Internal);
                }
                answer.status = DecisionStatus::Approved;
                answer.thread_state = Some(WireState::Approved);
                answer.message = verdict.note.unwrap_or_else(|| "Approved.".to_owned());
                if agent.settings.signed_tokens {
                    let ttl = agent.settings.token_ttl.unwrap_or(setup.declaration.token_ttl.get());
                    self.add_token(agent.id, &thread.id, ttl, &mut answer).await?;
                }
            }
            ThreadState::Rejected(verdict) => {
                answer.status = DecisionStatus::Rejected;
                answer.thread_state = Some(WireState::Rejected);
                answer.message =
                    verdict.note.unwrap_or_else(|| "Rejected by a reviewer, without a note.".to_owned());
            }
            ThreadState::Expired { .. } => {
                answer.status = DecisionStatus::Rejected;
                answer.thread_state = Some(WireState::Expired);
                answer.message = String::from("Expired: nobody decided in time.");
            }
        }
        Ok(answer)
    }

    async fn add_token(
        &self,
        agent: AgentId,
        thread: &ThreadId,
        ttl: Duration,
        answer: &mut DecisionAnswer,
    ) -> Result<(), Refusal> {
        let token = ApprovalToken::generate(&random::bytes()?);
        match self.store().mint_token(agent, thread, token.hash(), ttl, self.now()).await? {
            MintOutcome::Minted { expires_at } => {
                answer.approval_token = Some(token);
                answer.token_expires_at = Some(expires_at);
                Ok(())
            }
            MintOutcome::Spent => Ok(()),
            MintOutcome::Lapsed => {
                answer.message =
                    String::from("Approved, but the time to use the approval is over; ask again.");
                Ok(())
            }
            MintOutcome::NotApproved => {
                tracing::error!(%thread, "an approved thread turned out not to be");
                Err(Refusal::Internal)
            }
        }
    }

    /// Uses a token up. Of any number of concurrent calls one is told that it is valid.
    pub(crate) async fn validate(&self, agent: AgentId, bytes: &[u8]) -> Result<ValidateAnswer, Refusal> {
        let body = ValidateBody::parse(bytes, &self.options.limits.body)?;
        let redeemed =
            self.store().redeem_token(agent, &body.task_id, body.signature.hash(), self.now()).await?;
        Ok(match redeemed {
            RedeemOutcome::Valid { .. } => ValidateAnswer::Valid,
            RedeemOutcome::Used { thread_id } => {
                tracing::warn!(%thread_id, "a token came a second time: somebody may be replaying it");
                ValidateAnswer::Refused(RefusedReason::Used)
            }
            RedeemOutcome::Expired { .. } => ValidateAnswer::Refused(RefusedReason::Expired),
            RedeemOutcome::Invalid => ValidateAnswer::Refused(RefusedReason::Invalid),
        })
    }
}

pub(super) enum Heard {
    Something,
    Shutdown,
}

/// Whether there is nothing to tell the agent yet. A reviewer's wish for changes is something.
fn is_undecided(thread: &Thread) -> bool {
    matches!(thread.state, ThreadState::Open(_)) && thread.feedback.is_none()
}

pub(super) fn is_over(thread: &Thread, now: Timestamp) -> bool {
    matches!(thread.state, ThreadState::Open(_))
        && thread.expires_at.is_some_and(|expires_at| expires_at <= now)
}
