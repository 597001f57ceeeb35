use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::decision::{null_is_empty, poll_hint};
use crate::fields::{self, BodyError, ExtraField, Fields, Out};
use crate::{Limits, payload_digest};

/// What an agent proposes: the body of `POST /api/agent/tasks/{taskID}/requests`.
#[derive(Debug, Clone)]
pub struct RequestBody {
    /// Name of the workflow running the task.
    pub workflow_name: String,
    /// Short label shown to reviewers.
    pub task_label: String,
    /// Exact name of the registered tool.
    pub tool_name: String,
    /// The thread's title.
    pub subject: String,
    /// Short text for the list of threads.
    pub preview: Option<String>,
    /// How risky the agent says it is.
    pub risk_level: Option<RiskLevel>,
    /// Bullets shown before the logs.
    pub summary: Vec<String>,
    /// The tool's parameters, as they were sent. `null` is no payload.
    pub payload: Option<Box<RawValue>>,
    /// Base64 images, bare or as data URIs, not yet decoded.
    pub images: Vec<String>,
    /// Fields the contract does not name.
    pub extra: Vec<ExtraField>,
}

impl RequestBody {
    /// Reads a body as it came from an agent.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, BodyError> {
        let request: Self = fields::parse(body, limits)?;
        fields::check_required("workflow_name", &request.workflow_name, limits)?;
        fields::check_required("task_label", &request.task_label, limits)?;
        fields::check_required("tool_name", &request.tool_name, limits)?;
        fields::check_required("subject", &request.subject, limits)?;
        if let Some(preview) = &request.preview {
            fields::check_line("preview", preview, limits)?;
        }
        fields::check_summary(&request.summary, limits)?;
        fields::check_images(&request.images, limits)?;
        Ok(request)
    }

    /// The payload's JSON text; `null` when there is none.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        self.payload.as_deref().map_or("null", RawValue::get)
    }

    /// What an approval of this request is bound to.
    #[must_use]
    pub fn payload_digest(&self) -> String {
        payload_digest(self.payload_text())
    }
}

impl<'de> Deserialize<'de> for RequestBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        Ok(Self {
            workflow_name: fields.required("workflow_name")?,
            task_label: fields.required("task_label")?,
            tool_name: fields.required("tool_name")?,
            subject: fields.required("subject")?,
            preview: fields.optional("preview")?,
            risk_level: fields.optional("risk_level")?,
            summary: fields.optional("summary")?.unwrap_or_default(),
            payload: fields.raw("payload"),
            images: fields.optional("images")?.unwrap_or_default(),
            extra: fields.rest(),
        })
    }
}

impl Serialize for RequestBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Out(serializer.serialize_map(None)?);
        out.field("workflow_name", &self.workflow_name)?;
        out.field("task_label", &self.task_label)?;
        out.field("tool_name", &self.tool_name)?;
        out.field("subject", &self.subject)?;
        out.some("preview", self.preview.as_ref())?;
        out.some("risk_level", self.risk_level.as_ref())?;
        out.list("summary", &self.summary)?;
        out.some("payload", self.payload.as_ref())?;
        out.list("images", &self.images)?;
        out.finish(&self.extra)
    }
}

/// How risky the agent says its action is. Any other word is refused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `critical`
    Critical,
}

impl RiskLevel {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Gate's first answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestAnswer {
    /// Only [`InitialStatus::Allow`] may run a tool.
    pub status: InitialStatus,
    /// Present when a thread was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// The agent's task id, when Gate repeats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Why, in words.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub message: String,
    /// When to ask again.
    #[serde(default, deserialize_with = "poll_hint", skip_serializing_if = "Option::is_none")]
    pub recommended_poll_after_seconds: Option<u64>,
    /// Ours: what the answer is bound to; see [`payload_digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_digest: Option<String>,
    /// Ours: the revision that waits for a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_id: Option<String>,
    /// Ours: where a person can look at the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_url: Option<String>,
}

crate::decision::wire_status! {
    /// The status of a [`RequestAnswer`].
    pub enum InitialStatus {
        /// Run it; no token, no thread.
        Allow = "allow",
        /// Do not run it.
        Reject = "reject",
        /// A person has to decide.
        PendingReview = "pending_review",
    }
}
