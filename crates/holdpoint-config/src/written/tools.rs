use super::{OwnHold, TokenRule, WrittenEffect};
use crate::load::{Entries, JsonConstant, Located};
use holdpoint_api::declare::HumaneDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// `tools/SERVER.yaml`: what is to be done with the calls to one server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `server` and `tools`")]
pub(crate) struct ToolsFile {
    /// The server, by its name in `holdpoint.yaml`.
    pub(crate) server: Located<String>,
    /// Its tools. The most specific entry wins.
    pub(crate) tools: Vec<Located<ToolEntry>>,
}

/// What is to be done with calls to a tool. In templates: `args`, `tool`, `server`, `task`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `name` and `action`")]
pub(crate) struct ToolEntry {
    /// The exact name, or a glob: `*` is any text, `?` any one character.
    pub(crate) name: Located<String>,
    /// What is to be done.
    pub(crate) action: WrittenAction,
    /// The workflow that reviewers see.
    pub(crate) workflow_name: Option<Located<String>>,
    /// Short label of the task (template).
    pub(crate) task_label: Option<Located<String>>,
    /// The title of the thread, one line (template).
    pub(crate) subject: Option<Located<String>>,
    /// Short text for the list of threads (template).
    pub(crate) preview: Option<Located<String>>,
    /// How much is at stake.
    pub(crate) risk_level: Option<Located<Risk>>,
    /// Points for the reviewer (templates).
    pub(crate) summary: Option<Located<Vec<Located<String>>>>,
    /// What Gate's rules and the reviewer see, by name. Absent: all arguments.
    pub(crate) payload: Option<Located<Entries<Located<PayloadField>>>>,
    /// A JSON Schema file that the payload must fit, relative to this file.
    pub(crate) payload_schema: Option<Located<String>>,
    /// What an approval needs.
    pub(crate) approval: Option<Located<Approval>>,
    /// How a call waits.
    pub(crate) hold: Option<Located<OwnHold>>,
    /// What the call does in the world, by a name made from its arguments (template): calls with the same name run at
    /// most once, over all callers, arguments and restarts, also where nobody is asked.
    pub(crate) effect: Option<Located<WrittenEffect>>,
}

/// What is to be done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WrittenAction {
    /// Gate is asked.
    Gate,
    /// It runs without being asked about.
    Pass,
    /// It never runs.
    Deny,
}

/// How much is at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Risk {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// All.
    Critical,
}

/// One field: a part of the arguments, a constant, or a text made from the arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `at`, `value` or `template`")]
#[schemars(extend("oneOf" = [{"required": ["at"]}, {"required": ["value"]}, {"required": ["template"]}]))]
pub(crate) struct PayloadField {
    /// JSON Pointer into the arguments, such as `/card/number`.
    pub(crate) at: Option<Located<String>>,
    /// Whether the value never leaves: a keyed fingerprint goes out in its place.
    pub(crate) secret: Option<Located<bool>>,
    /// Whether the field is left out where the arguments lack it. Otherwise such a call is refused.
    pub(crate) optional: Option<Located<bool>>,
    /// A constant.
    #[serde(default, deserialize_with = "given")]
    pub(crate) value: Option<JsonConstant>,
    /// A text (template).
    pub(crate) template: Option<Located<String>>,
}

/// What an approval needs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
pub(crate) struct Approval {
    /// What it must come with. Absent: as `gate.tokens` in `holdpoint.yaml` says.
    pub(crate) token: Option<TokenRule>,
    /// How long a call waits before its caller is told to come back.
    pub(crate) patience: Option<HumaneDuration>,
}

/// `value: null` is a constant, not an absence.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<JsonConstant>, D::Error> {
    JsonConstant::deserialize(deserializer).map(Some)
}
