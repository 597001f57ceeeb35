//! Another proposal, put into a thread whose reviewer asked for one.

use crate::{
    ClientError, LocalKey,
    binding::Binding,
    question::{body_of, words},
};
use bytes::Bytes;
use holdpoint_api::{DecisionAnswer, DecisionStatus, EventBody, TaskId, ThreadState, payload_digest};
use holdpoint_core::{Ask, Hold, Repeat, Revised};
use serde::Serialize;
use serde_json::value::RawValue;

const KEY_DOMAIN: &[u8] = b"holdpoint/revision/v1";
const SUMMARY: &str = "The agent changed the request after the reviewer's feedback.";
/// Reviewers see the id, so it is short; the payload's digest binds as well.
const ID_DIGITS: usize = 16;

/// One revision, put together once and sent as it is.
pub(crate) struct Revision<'a> {
    pub(crate) task: TaskId,
    /// Shared, so that a second attempt sends the same bytes.
    pub(crate) body: Bytes,
    before: &'a Hold,
    id: String,
    payload_digest: String,
}

#[derive(Serialize)]
struct EventFields<'a> {
    event_type: &'a str,
    event_summary: &'static str,
    payload: PayloadFields<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    images: &'a [String],
}

#[derive(Serialize)]
struct PayloadFields<'a> {
    revision: RevisionFields<'a>,
}

/// All fields of the ask, also those that are empty: what a revision leaves out stays as the proposal before had it,
/// and would be said of the wrong one.
#[derive(Serialize)]
struct RevisionFields<'a> {
    revision_id: &'a str,
    workflow_name: &'a str,
    task_label: &'a str,
    tool_name: &'a str,
    subject: &'a str,
    preview: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk_level: Option<&'static str>,
    summary: &'a [String],
    /// Its own bytes, unread.
    request_payload: &'a RawValue,
}

/// Which proposal of the thread an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Ours, by name.
    Ours,
    /// Another one.
    Another,
    /// The answer does not say.
    Unsaid,
}

impl<'a> Revision<'a> {
    pub(crate) fn new(
        ask: &Ask,
        before: &'a Hold,
        repeat: Repeat,
        key: &LocalKey,
    ) -> Result<Self, ClientError> {
        let task = TaskId::parse(before.task.as_str())?;
        let number = before.revision.saturating_add(1);
        // The same for the same proposal, also after a restart, so that it may be sent again.
        let keyed = key.digest(&[
            KEY_DOMAIN,
            before.thread.as_str().as_bytes(),
            &number.to_be_bytes(),
            repeat.digest.as_bytes(),
            &repeat.ended.to_be_bytes(),
            &body_of(ask)?,
        ]);
        let keyed: String = hex::encode(keyed).chars().take(ID_DIGITS).collect();
        let id = format!("rev-{}-{keyed}", number.saturating_add(1));
        let body = event_of(ask, &EventBody::revision_type(&task, before.thread.as_str()), &id)?;
        let payload_digest = payload_digest(ask.payload.get());
        Ok(Self { task, body: body.into(), before, id, payload_digest })
    }

    /// What the first reading after the revision means. The answer's status is known, and it is about this thread.
    pub(crate) fn read(&self, answer: DecisionAnswer) -> Result<Revised, ClientError> {
        let about = self.about(&answer);
        match (answer.status, about) {
            // Nobody said no: ask anew.
            _ if answer.thread_state == Some(ThreadState::Expired) => Ok(Revised::Closed),
            // An approval of ours can only be ours; the wait will read it again, and its binding with it.
            (DecisionStatus::PendingReview | DecisionStatus::Approved, About::Ours) => {
                Ok(Revised::Held(self.hold(&Binding::new(&self.payload_digest, Some(&self.id)))))
            }
            // The revision was taken before this was asked, so whatever is decided later is decided on it. The words
            // may be those that asked for it.
            (DecisionStatus::PendingReview, About::Unsaid) => {
                let binding = Binding::new(&self.payload_digest, None).after_words(&answer.message);
                Ok(Revised::Held(self.hold(&binding)))
            }
            (DecisionStatus::Rejected, About::Ours | About::Unsaid) => {
                Ok(Revised::Rejected { message: words(answer.message) })
            }
            // Said of another proposal than this; or an approval of which that cannot be ruled out: it may have come a
            // moment before the revision did.
            (DecisionStatus::Approved, About::Unsaid)
            | (
                DecisionStatus::Approved | DecisionStatus::Rejected | DecisionStatus::PendingReview,
                About::Another,
            ) => Ok(Revised::Closed),
            (DecisionStatus::Unknown(word), _) => Err(ClientError::unknown_status(&word)),
        }
    }

    fn about(&self, answer: &DecisionAnswer) -> About {
        let other_payload =
            answer.payload_digest.as_deref().is_some_and(|named| named != self.payload_digest);
        match answer.revision_id.as_deref() {
            _ if other_payload => About::Another,
            Some(named) if named == self.id => About::Ours,
            Some(_) => About::Another,
            None => About::Unsaid,
        }
    }

    fn hold(&self, binding: &Binding<'_>) -> Hold {
        Hold {
            binding: binding.render(),
            revision: self.before.revision.saturating_add(1),
            ..self.before.clone()
        }
    }
}

fn event_of(ask: &Ask, event_type: &str, revision_id: &str) -> Result<Vec<u8>, ClientError> {
    let revision = RevisionFields {
        revision_id,
        workflow_name: &ask.workflow_name,
        task_label: &ask.task_label,
        tool_name: &ask.tool_name,
        subject: &ask.subject,
        preview: ask.preview.as_deref().unwrap_or_default(),
        risk_level: ask.risk_level.map(holdpoint_core::RiskLevel::as_str),
        summary: &ask.summary,
        request_payload: &ask.payload,
    };
    let event = EventFields {
        event_type,
        event_summary: SUMMARY,
        payload: PayloadFields { revision },
        images: &ask.images,
    };
    serde_json::to_vec(&event).map_err(|error| ClientError::Assemble(Box::new(error)))
}
