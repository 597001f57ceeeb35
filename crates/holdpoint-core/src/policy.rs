use crate::{Effect, EntryName, PolicyRevision, QuestionDigest, Secrets, ToolCall, digest::question_digest};
use serde_json::value::RawValue;
use std::{fmt, time::Duration};

/// What our configuration says of calls. Implemented by `holdpoint-config`.
pub trait Policy: fmt::Debug + Send + Sync {
    /// What is to be done with `call`. There is no "allow by default".
    ///
    /// # Errors
    /// The entry that matches does not fit the call; the call is refused.
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError>;

    /// Which configuration is in force.
    fn revision(&self) -> PolicyRevision;
}

/// What is to be done with a call.
#[derive(Debug)]
pub enum Plan {
    /// Runs without being asked about.
    Pass(EntryName),
    /// The same, but at most once for its effect.
    PassOnce(EntryName, Effect),
    /// Never runs.
    Deny(EntryName),
    /// Gate is asked.
    Gate(Box<Ask>),
}

/// What Gate is asked about a call; the fields are those of the agent API's decision request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The entry this came from.
    pub entry: EntryName,
    /// Name of the workflow that runs the task.
    pub workflow_name: String,
    /// Short label of the task.
    pub task_label: String,
    /// The tool's name as Gate knows it.
    pub tool_name: String,
    /// One line: the title of the thread.
    pub subject: String,
    /// Short text for the list of threads.
    pub preview: Option<String>,
    /// How much is at stake.
    pub risk_level: Option<RiskLevel>,
    /// Points for the reviewer.
    pub summary: Vec<String>,
    /// Pictures for the reviewer, as data URIs or bare base64.
    pub images: Vec<String>,
    /// The mapped parameters, a JSON object with secrets masked. These exact bytes are sent and digested.
    pub payload: Box<RawValue>,
    /// What an approval must come with.
    pub tokens: Tokens,
    /// How long one call waits before it is told to come back; `None`: as the adapter thinks fit for its caller.
    pub patience: Option<Duration>,
    /// What the call does in the world, at most once; `None`: nobody named it.
    pub effect: Option<Effect>,
    /// The values that are masked in the payload.
    pub secrets: Secrets,
}

impl Ask {
    /// The digest of what the reviewer is shown, and on what terms.
    #[must_use]
    pub fn digest(&self) -> QuestionDigest {
        question_digest(self)
    }
}

/// How much is at stake, in the words of the agent API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What an approval must come with before the tool may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// A one-time token, validated by Gate. Without one nothing runs.
    Required,
    /// Validated when Gate sends one.
    Optional,
    /// Not looked at; every receipt says so.
    Off,
}

impl Tokens {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Off => "off",
        }
    }
}

/// The matching entry cannot be applied to the call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry `{entry}` does not fit this call: {problem}")]
pub struct PlanError {
    /// The entry that matched.
    pub entry: EntryName,
    /// What is missing or wrong, in words that the caller may see (names of fields, never their values).
    pub problem: String,
}
