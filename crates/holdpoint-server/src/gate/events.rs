use std::borrow::Cow;

use holdpoint_api::declare::Action;
use holdpoint_api::{EventBody, EventTarget, RevisionPayload, TaskId, body_digest};
use holdpoint_store::{
    AddRevision, Agent, NewEvent, NewImage, NewRevision, Revision, RevisionEffect, RevisionId,
    RevisionOutcome, ThreadId,
};
use jiff::Timestamp;

use super::ask::FIRST_REVISION;
use super::{GateServer, Refusal};
use crate::images;

impl GateServer {
    /// Takes an event: a remark for the timeline, or a new revision of a thread.
    pub(crate) async fn take_event(&self, agent: &Agent, task: TaskId, bytes: &[u8]) -> Result<(), Refusal> {
        let event = EventBody::parse(bytes, &self.options.limits.body)?;
        let images = images::decode_all(&event.images, &self.options.limits.body)?;
        match event.target(&task) {
            EventTarget::Timeline => self.add_event(agent, task, event, images).await,
            EventTarget::Revision { thread_id } => {
                let thread = ThreadId::new(thread_id);
                self.revise(agent, task, thread, &event, images, body_digest(bytes)).await
            }
            EventTarget::Misdirected => Err(Refusal::BadRequest(
                "a revision's `event_type` is `revision.{taskID}.{threadID}`, with the task of the path"
                    .into(),
            )),
        }
    }

    async fn add_event(
        &self,
        agent: &Agent,
        task_id: TaskId,
        event: EventBody,
        images: Vec<NewImage>,
    ) -> Result<(), Refusal> {
        let EventBody { event_type, event_summary, payload, images: _, extra: _ } = event;
        let now = self.now();
        self.store()
            .add_event(NewEvent {
                agent_id: agent.id,
                task_id,
                event_type,
                event_summary,
                payload,
                images,
                now,
            })
            .await?;
        Ok(())
    }

    async fn revise(
        &self,
        agent: &Agent,
        task: TaskId,
        thread: ThreadId,
        event: &EventBody,
        images: Vec<NewImage>,
        body_digest: [u8; 32],
    ) -> Result<(), Refusal> {
        let payload =
            event.payload.as_deref().ok_or(Refusal::BadRequest("missing field `payload`".into()))?;
        let sent = RevisionPayload::parse(payload, &self.options.limits.body)?.revision;
        if sent.revision_id == FIRST_REVISION {
            return Err(Refusal::BadRequest("this `revision_id` is the original request's".into()));
        }
        let known = self.store().thread_of(agent.id, &thread).await?.filter(|known| known.task_id == task);
        let known = known.ok_or(NO_THREAD)?;
        let now = self.now();
        let setup = self.setup().await?;
        let mut revision = merge(known.revision, sent, now);
        let judgement = setup
            .rules
            .judge(&revision.next.tool_name, &revision.next.payload)
            .map_err(|_| Refusal::BadRequest("`request_payload` cannot be read".into()))?;
        let mut trace = setup.rules.trace(&revision.next.tool_name, &judgement);
        trace.keep_unknown(&revision.extra)?;
        revision.next.rule_trace = serde_json::to_string(&trace)?;
        let effect = match judgement.action {
            // A person has it already: what the rules would allow now is theirs to allow.
            Action::Allow | Action::Review => RevisionEffect::Keep,
            Action::Escalate => RevisionEffect::Escalate,
            Action::Reject => RevisionEffect::Reject {
                note: "The revision was rejected by the rules of this Gate.".to_owned(),
            },
        };
        let outcome = self
            .store()
            .add_revision(AddRevision {
                agent_id: agent.id,
                task_id: task,
                thread_id: thread,
                revision: revision.next,
                body_digest,
                event_summary: event.event_summary.clone(),
                images,
                effect,
                now,
            })
            .await?;
        match outcome {
            RevisionOutcome::Added | RevisionOutcome::Repeated => Ok(()),
            RevisionOutcome::Conflict => {
                Err(Refusal::BadRequest("this `revision_id` was used for another revision".into()))
            }
            RevisionOutcome::Closed(state) => {
                let closed = format!("the thread is {}; its decision is final", state.as_str());
                Err(Refusal::BadRequest(Cow::Owned(closed)))
            }
            RevisionOutcome::NotFound => Err(NO_THREAD),
        }
    }
}

const NO_THREAD: Refusal = Refusal::NotFound("no such thread in this task of this agent");

struct Merged {
    next: NewRevision,
    extra: Vec<holdpoint_api::ExtraField>,
}

/// What is absent stays as it was, except the payload: that is always given. A preview without words takes the one before
/// away.
fn merge(before: Revision, sent: holdpoint_api::Revision, now: Timestamp) -> Merged {
    let payload = sent.payload_text().to_owned();
    let payload_digest = sent.payload_digest();
    let next = NewRevision {
        id: RevisionId::new(sent.revision_id),
        number: before.number,
        workflow_name: sent.workflow_name.unwrap_or(before.workflow_name),
        task_label: sent.task_label.unwrap_or(before.task_label),
        tool_name: sent.tool_name.unwrap_or(before.tool_name),
        subject: sent.subject.unwrap_or(before.subject),
        preview: sent.preview.or(before.preview).filter(|preview| !preview.trim().is_empty()),
        risk_level: sent.risk_level.or(before.risk_level),
        summary: sent.summary.unwrap_or(before.summary),
        payload,
        payload_digest,
        rule_trace: String::new(),
        made_at: now,
    };
    Merged { next, extra: sent.extra }
}
