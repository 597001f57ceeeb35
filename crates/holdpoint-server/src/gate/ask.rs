use holdpoint_api::declare::Action;
use holdpoint_api::{InitialStatus, RequestAnswer, RequestBody, TaskId};
use holdpoint_store::{
    Agent, AutomaticDecision, AutomaticOutcome, NewImage, NewRevision, NewThread, OpenOutcome, OpenState,
    RecordOutcome, RevisionId, ThreadId,
};
use jiff::Timestamp;

use super::rate::Admission;
use super::repeat::{KEY_REUSED, Recalled, RequestKey, THREAD_DIGITS};
use super::setup::Setup;
use super::{GateServer, Refusal, later};
use crate::rules::Trace;
use crate::{images, random};

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum Asked {
    Answer(RequestAnswer),
    /// The JSON of the answer that opened a thread before, under the same idempotency key.
    Again(String),
}

/// The first revision of every thread. Agents cannot choose it for one of theirs.
pub(super) const FIRST_REVISION: &str = "initial";

/// A request that was read.
struct Request {
    task: TaskId,
    body: RequestBody,
    images: Vec<NewImage>,
    payload_digest: String,
    key: Option<RequestKey>,
    now: Timestamp,
}

impl GateServer {
    /// Decides on a request by the rules, or puts it before a person.
    pub(crate) async fn ask(
        &self,
        agent: &Agent,
        task: TaskId,
        bytes: &[u8],
        key: Option<String>,
    ) -> Result<Asked, Refusal> {
        let body = RequestBody::parse(bytes, &self.options.limits.body)?;
        let images = images::decode_all(&body.images, &self.options.limits.body)?;
        let payload_digest = body.payload_digest();
        let key = key.map(|key| RequestKey::new(agent.id, &task, key, bytes));
        let request = Request { task, body, images, payload_digest, key, now: self.now() };
        let setup = self.setup().await?;
        let judgement = setup
            .rules
            .judge(&request.body.tool_name, request.body.payload_text())
            .map_err(|_| Refusal::BadRequest("`payload` cannot be read".into()))?;
        let mut trace = setup.rules.trace(&request.body.tool_name, &judgement);
        trace.keep_unknown(&request.body.extra)?;
        match judgement.action {
            Action::Allow => self.automatic(agent, &setup, request, AutomaticOutcome::Allow, &trace).await,
            Action::Reject => self.automatic(agent, &setup, request, AutomaticOutcome::Reject, &trace).await,
            Action::Review => self.open_review(agent, &setup, request, OpenState::NeedsReview, trace).await,
            Action::Escalate => self.open_review(agent, &setup, request, OpenState::Escalated, trace).await,
        }
    }

    /// What the rules decide alone is on record before it is answered, and decided anew each time, so that an old
    /// answer never outlives a changed rule. What went before a person stays there.
    async fn automatic(
        &self,
        agent: &Agent,
        setup: &Setup,
        request: Request,
        outcome: AutomaticOutcome,
        trace: &Trace<'_>,
    ) -> Result<Asked, Refusal> {
        if let Some(key) = &request.key {
            match self.recall(key).await? {
                Recalled::Nothing => {}
                Recalled::Thread(id) => return Ok(Asked::Answer(self.pending(&id, setup, &request))),
                Recalled::OtherBody => return Err(Refusal::BadRequest(KEY_REUSED.into())),
            }
        }
        let Request { task, body, images: _, payload_digest, key: _, now } = request;
        let (status, message) = match outcome {
            AutomaticOutcome::Allow => (InitialStatus::Allow, "Allowed by the rules of this Gate."),
            AutomaticOutcome::Reject => (InitialStatus::Reject, "Rejected by the rules of this Gate."),
        };
        let answer = RequestAnswer {
            status,
            thread_id: None,
            task_id: Some(task.as_str().to_owned()),
            message: message.to_owned(),
            recommended_poll_after_seconds: None,
            payload_digest: Some(payload_digest.clone()),
            revision_id: None,
            review_url: None,
        };
        let decision = AutomaticDecision {
            agent_id: agent.id,
            task_id: task,
            outcome,
            tool_name: body.tool_name,
            subject: body.subject,
            payload: body.payload,
            payload_digest,
            rule_trace: serde_json::value::to_raw_value(trace)?,
            idempotency: None,
            now,
        };
        match self.store().record_decision(decision).await? {
            RecordOutcome::Recorded => Ok(Asked::Answer(answer)),
            RecordOutcome::Replayed(_) | RecordOutcome::KeyConflict => {
                tracing::error!("the store knows a key it was not given");
                Err(Refusal::Internal)
            }
        }
    }

    async fn open_review(
        &self,
        agent: &Agent,
        setup: &Setup,
        request: Request,
        state: OpenState,
        mut trace: Trace<'_>,
    ) -> Result<Asked, Refusal> {
        if let Admission::Later(retry_after) = self.rate.take(agent.id, request.now) {
            return Err(Refusal::TooMany { retry_after });
        }
        trace.request = request.key.as_ref().map(RequestKey::mark);
        let trace = serde_json::to_string(&trace)?;
        for length in THREAD_DIGITS {
            let id = match &request.key {
                Some(key) => key.thread_id(length),
                None => ThreadId::new(format!("THR-{}", random::thread_digits(length)?)),
            };
            let answer = self.pending(&id, setup, &request);
            let idempotency = match &request.key {
                Some(key) => Some(key.idempotency(serde_json::to_string(&answer)?)),
                None => None,
            };
            let thread = NewThread {
                id,
                agent_id: agent.id,
                task_id: request.task.clone(),
                state,
                expires_at: setup.review_ttl().map(|ttl| later(request.now, ttl)),
                revision: request.revision(trace.clone()),
                images: request.images.clone(),
                idempotency,
                now: request.now,
            };
            match self.store().open_thread(thread).await? {
                OpenOutcome::Opened => return Ok(Asked::Answer(answer)),
                OpenOutcome::Replayed(earlier) => return Ok(Asked::Again(earlier)),
                OpenOutcome::KeyConflict => return Err(Refusal::BadRequest(KEY_REUSED.into())),
                OpenOutcome::IdTaken => {}
            }
        }
        tracing::error!("three thread ids in a row were taken, the last one of 128 bits");
        Err(Refusal::Internal)
    }

    fn pending(&self, id: &ThreadId, setup: &Setup, request: &Request) -> RequestAnswer {
        RequestAnswer {
            status: InitialStatus::PendingReview,
            thread_id: Some(id.as_str().to_owned()),
            task_id: Some(request.task.as_str().to_owned()),
            message: "A person has to decide.".to_owned(),
            recommended_poll_after_seconds: Some(setup.poll_after_seconds()),
            payload_digest: Some(request.payload_digest.clone()),
            revision_id: Some(FIRST_REVISION.to_owned()),
            review_url: Some(self.public.thread(id.as_str())),
        }
    }
}

impl Request {
    fn revision(&self, rule_trace: String) -> NewRevision {
        let body = &self.body;
        NewRevision {
            id: RevisionId::new(FIRST_REVISION),
            number: 1,
            workflow_name: body.workflow_name.clone(),
            task_label: body.task_label.clone(),
            tool_name: body.tool_name.clone(),
            subject: body.subject.clone(),
            preview: body.preview.clone(),
            risk_level: body.risk_level,
            summary: body.summary.clone(),
            payload: body.payload_text().to_owned(),
            payload_digest: self.payload_digest.clone(),
            rule_trace,
            made_at: self.now,
        }
    }
}
