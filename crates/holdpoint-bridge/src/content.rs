//! What an operation's row holds beside what the book itself knows.

use crate::{answer::Answer, asked::Asked, options::CHECKS};
use holdpoint_core::{
    Arguments, CallerWords, HoldId, Operation, OperationContent, OperationId, Principal, ServerName, TaskId,
    ToolCall, ToolName, ToolWarning,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The member of [`ToolCall::extra`] that makes the question of one operation another than that of the next: an approval for
/// the one is none for the other.
const OPERATION_KEY: &str = "dev.holdpoint/operation";
/// The member that says how a target is reached: an approval is for the target as it was.
const PLACE_KEY: &str = "dev.holdpoint/place";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Content {
    /// Of a question that nobody named: how often it was asked anew after it had been answered. Each time is an operation of
    /// its own, and the first one counts.
    #[serde(default)]
    pub(crate) asked_anew: u32,
    pub(crate) question: Question,
    /// After this nobody waits for a decision any more.
    pub(crate) decide_by: Timestamp,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) review_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) callback: Option<Callback>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Answer>,
    /// How often a yes was repeated.
    #[serde(default)]
    pub(crate) replays: u32,
    /// Who has taken the yes for itself: a fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claimed_by: Option<String>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    tool: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
    words: CallerWords,
}

/// Where the answer is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Callback {
    pub(crate) url: String,
    pub(crate) attempts: u32,
}

/// Who runs what an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode<'a> {
    /// The caller.
    Check,
    /// The bridge.
    Execute(&'a str),
}

impl Question {
    pub(crate) fn new(asked: &Asked) -> Self {
        Self {
            target: asked.target.as_ref().map(ToString::to_string),
            tool: asked.tool.to_string(),
            arguments: asked.arguments.raw().map(ToString::to_string),
            words: asked.words.clone(),
        }
    }

    pub(crate) fn mode(&self) -> Mode<'_> {
        self.target.as_deref().map_or(Mode::Check, Mode::Execute)
    }

    pub(crate) fn tool(&self) -> &str {
        &self.tool
    }

    /// The call that Gate is asked about; `place` says how the target is reached. `None`: it cannot be read any more.
    pub(crate) fn call(&self, whose: Whose<'_>, place: Option<&str>) -> Option<ToolCall> {
        let arguments =
            self.arguments.as_deref().map_or(Some(Arguments::absent()), |raw| Arguments::parse(raw).ok())?;
        let Whose { principal, task, id } = whose;
        let mut extra = Map::from_iter([(OPERATION_KEY.to_owned(), Value::from(id.as_str()))]);
        if let Some(place) = place {
            extra.insert(PLACE_KEY.to_owned(), Value::from(place));
        }
        self.words.clone().add_to(&mut extra);
        Some(ToolCall {
            principal: principal.clone(),
            server: ServerName::new(self.target.as_deref().unwrap_or(CHECKS)),
            tool: ToolName::new(&*self.tool),
            arguments,
            extra,
            definition: None,
            warning: ToolWarning::None,
            task: task.clone(),
        })
    }
}

/// Whose question it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) task: &'a TaskId,
    pub(crate) id: &'a OperationId,
}

impl Content {
    pub(crate) fn new(question: Question, decide_by: Timestamp) -> Self {
        Self {
            asked_anew: 0,
            question,
            decide_by,
            hold: None,
            review_url: None,
            callback: None,
            answer: None,
            replays: 0,
            claimed_by: None,
        }
    }

    /// The content of `operation`; `None`: a version of this program wrote it that this one does not know.
    pub(crate) fn of(operation: &Operation) -> Option<Self> {
        serde_json::from_slice(operation.now.content.as_bytes()).ok()
    }

    /// As it is kept; `None`: never, since everything in it is a text, a number or a list of them.
    pub(crate) fn packed(&self) -> Option<OperationContent> {
        serde_json::to_vec(self).ok().map(OperationContent::new)
    }

    pub(crate) fn hold(&self) -> Option<HoldId> {
        self.hold.map(HoldId)
    }
}
