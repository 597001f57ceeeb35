//! What a caller itself says of its call, for the reviewer.

use crate::{RiskLevel, ToolCall};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Members of [`ToolCall::extra`] that begin like this are ours: no caller may send one.
pub const OWN_PREFIX: &str = "dev.holdpoint/";
/// The member of [`ToolCall::extra`] that holds them: they are part of what is approved.
const WORDS_KEY: &str = "dev.holdpoint/words";

/// What a caller says of its call where the configuration says nothing, in the fields of the agent API's decision request.
/// Only adapters whose callers are to be heard put them into a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallerWords {
    /// Name of the workflow that runs the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_name: Option<String>,
    /// Short label of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_label: Option<String>,
    /// One line: the title of the thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Short text for the list of threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// How much is at stake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_level: Option<RiskLevel>,
    /// Points for the reviewer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub summary: Vec<String>,
    /// Pictures for the reviewer, as data URIs or bare base64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

impl CallerWords {
    /// Puts them into a call that is being made.
    pub fn add_to(self, extra: &mut Map<String, Value>) {
        // Texts, lists of texts and a unit enum: nothing that JSON could not say. As one text: it is kept for as long as the call is
        // held, and a tree of values is several times as large.
        if let Ok(words) = serde_json::to_string(&self) {
            extra.insert(WORDS_KEY.to_owned(), Value::from(words));
        }
    }

    /// Those of `call`; `None`: its caller said nothing, or was not to be heard.
    #[must_use]
    pub fn of(call: &ToolCall) -> Option<Self> {
        serde_json::from_str(call.extra.get(WORDS_KEY)?.as_str()?).ok()
    }
}
