use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::fields::{self, BodyError, ExtraField, Fields, Out};
use crate::{Limits, RiskLevel, TaskId, payload_digest};

/// Something that happened in a task: the body of `POST /api/agent/tasks/{taskID}/events`.
#[derive(Debug, Clone)]
pub struct EventBody {
    /// Dot-separated type, such as `task.started`.
    pub event_type: String,
    /// What happened, for reviewers.
    pub event_summary: String,
    /// Any JSON, as it was sent.
    pub payload: Option<Box<RawValue>>,
    /// Base64 images, bare or as data URIs, not yet decoded.
    pub images: Vec<String>,
    /// Fields the contract does not name.
    pub extra: Vec<ExtraField>,
}

/// What an event is addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventTarget<'event> {
    /// The timeline of the task.
    Timeline,
    /// A new revision of a thread.
    Revision {
        /// Which thread.
        thread_id: &'event str,
    },
    /// A revision that names another task than the path does, or no thread. Taking it for a remark would leave the
    /// old request standing while the agent believes it was replaced.
    Misdirected,
}

impl EventBody {
    /// Reads a body as it came from an agent.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, BodyError> {
        let event: Self = fields::parse(body, limits)?;
        fields::check_required("event_type", &event.event_type, limits)?;
        fields::check_required("event_summary", &event.event_summary, limits)?;
        fields::check_images(&event.images, limits)?;
        Ok(event)
    }

    /// What the event is addressed to, given the task of the path. Task ids may hold dots, so the path's is stripped.
    #[must_use]
    pub fn target(&self, task: &TaskId) -> EventTarget<'_> {
        let Some(address) = self.event_type.strip_prefix("revision.") else {
            return EventTarget::Timeline;
        };
        match address.strip_prefix(task.as_str()).and_then(|rest| rest.strip_prefix('.')) {
            Some(thread_id) if !thread_id.is_empty() => EventTarget::Revision { thread_id },
            Some(_) | None => EventTarget::Misdirected,
        }
    }

    /// The type of the event that revises `thread_id`.
    #[must_use]
    pub fn revision_type(task: &TaskId, thread_id: &str) -> String {
        format!("revision.{task}.{thread_id}")
    }
}

impl<'de> Deserialize<'de> for EventBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        Ok(Self {
            event_type: fields.required("event_type")?,
            event_summary: fields.required("event_summary")?,
            payload: fields.raw("payload"),
            images: fields.optional("images")?.unwrap_or_default(),
            extra: fields.rest(),
        })
    }
}

impl Serialize for EventBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Out(serializer.serialize_map(None)?);
        out.field("event_type", &self.event_type)?;
        out.field("event_summary", &self.event_summary)?;
        out.some("payload", self.payload.as_ref())?;
        out.list("images", &self.images)?;
        out.finish(&self.extra)
    }
}

/// The payload of a revision event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevisionPayload {
    /// The revision itself.
    pub revision: Revision,
}

impl RevisionPayload {
    /// Reads the payload of a revision event. The event was parsed, so size, depth and keys are checked already.
    pub fn parse(payload: &RawValue, limits: &Limits) -> Result<Self, BodyError> {
        let payload: Self = serde_json::from_str(payload.get())?;
        let revision = &payload.revision;
        fields::check_required("revision_id", &revision.revision_id, limits)?;
        for (field, text) in [
            ("workflow_name", &revision.workflow_name),
            ("task_label", &revision.task_label),
            ("tool_name", &revision.tool_name),
            ("subject", &revision.subject),
        ] {
            if let Some(text) = text {
                fields::check_required(field, text, limits)?;
            }
        }
        if let Some(preview) = &revision.preview {
            fields::check_line("preview", preview, limits)?;
        }
        fields::check_summary(revision.summary.as_deref().unwrap_or_default(), limits)?;
        Ok(payload)
    }
}

/// A changed request. What is absent stays as the revision before had it, except the payload: that is always given.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Chosen by the agent; the same id with another body is refused.
    pub revision_id: String,
    /// As in a request.
    pub workflow_name: Option<String>,
    /// As in a request.
    pub task_label: Option<String>,
    /// As in a request.
    pub tool_name: Option<String>,
    /// As in a request.
    pub subject: Option<String>,
    /// As in a request.
    pub preview: Option<String>,
    /// As in a request.
    pub risk_level: Option<RiskLevel>,
    /// As in a request.
    pub summary: Option<Vec<String>>,
    /// The tool's parameters, as they were sent. The field must be there; `null` is no payload.
    pub request_payload: Option<Box<RawValue>>,
    /// Fields the contract does not name.
    pub extra: Vec<ExtraField>,
}

impl Revision {
    /// The payload's JSON text; `null` when there is none.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        self.request_payload.as_deref().map_or("null", RawValue::get)
    }

    /// What an approval of this revision is bound to.
    #[must_use]
    pub fn payload_digest(&self) -> String {
        payload_digest(self.payload_text())
    }
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        if !fields.contains("request_payload") {
            return Err(de::Error::missing_field("request_payload"));
        }
        Ok(Self {
            revision_id: fields.required("revision_id")?,
            workflow_name: fields.optional("workflow_name")?,
            task_label: fields.optional("task_label")?,
            tool_name: fields.optional("tool_name")?,
            subject: fields.optional("subject")?,
            preview: fields.optional("preview")?,
            risk_level: fields.optional("risk_level")?,
            summary: fields.optional("summary")?,
            request_payload: fields.raw("request_payload"),
            extra: fields.rest(),
        })
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Out(serializer.serialize_map(None)?);
        out.field("revision_id", &self.revision_id)?;
        out.some("workflow_name", self.workflow_name.as_ref())?;
        out.some("task_label", self.task_label.as_ref())?;
        out.some("tool_name", self.tool_name.as_ref())?;
        out.some("subject", self.subject.as_ref())?;
        out.some("preview", self.preview.as_ref())?;
        out.some("risk_level", self.risk_level.as_ref())?;
        out.some("summary", self.summary.as_ref())?;
        out.field("request_payload", &self.request_payload)?;
        out.finish(&self.extra)
    }
}
