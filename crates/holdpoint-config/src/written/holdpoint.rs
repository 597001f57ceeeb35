use crate::load::{Entries, Located};
use holdpoint_api::declare::HumaneDuration;
use schemars::JsonSchema;
use serde::Deserialize;

/// `holdpoint.yaml`: which Gate, which tool servers, how calls are held.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
pub(crate) struct HoldpointFile {
    /// The Gate to ask. Absent: the one that `holdpoint up` brings along.
    pub(crate) gate: Option<Gate>,
    /// The tool servers, by the names used here.
    pub(crate) servers: Entries<Located<Server>>,
    /// The folder of tools files, relative to this file. Absent: `tools`, if there is one.
    pub(crate) tools: Option<Located<String>>,
    /// How calls wait.
    pub(crate) hold: Hold,
    /// What happens to a call that no entry of a tools file matches.
    pub(crate) unmatched: Unmatched,
    /// The workflow that reviewers see where a tool names none.
    pub(crate) workflow_name: Option<Located<String>>,
}

/// Where Gate is. `${NAME}` stands for an environment variable, `${file:PATH}` for the content of a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `url` and `api_key`")]
pub(crate) struct Gate {
    /// Its address.
    pub(crate) url: Located<String>,
    /// The agent's key; never the key itself, but `${NAME}` or `${file:PATH}`.
    pub(crate) api_key: Located<String>,
    /// What an approval must come with, unless a tool says otherwise.
    #[serde(default)]
    pub(crate) tokens: TokenRule,
}

/// A tool server: one with a `url`, or a `command` that starts one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `url` or `command`")]
#[schemars(extend("oneOf" = [{"required": ["url"]}, {"required": ["command"]}]))]
pub(crate) struct Server {
    /// Its address.
    pub(crate) url: Option<Located<String>>,
    /// Headers to send with every request.
    #[serde(default)]
    pub(crate) headers: Entries<Located<String>>,
    /// Program and arguments.
    pub(crate) command: Option<Located<Vec<Located<String>>>>,
    /// Its environment, on top of a minimal one.
    #[serde(default)]
    pub(crate) env: Entries<Located<String>>,
    /// The folder to start it in, relative to this file. Absent: where holdpoint was started.
    pub(crate) cwd: Option<Located<String>>,
}

/// How calls wait for a decision.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
pub(crate) struct Hold {
    /// How long a call waits before its caller is told to come back.
    pub(crate) patience: Option<HumaneDuration>,
    /// How many calls may wait at once.
    pub(crate) held_max: Option<Located<u32>>,
    /// How many bytes of a result are kept for a caller that went away.
    pub(crate) result_bytes_max: Option<u64>,
}

/// What happens to a call that no entry matches. It never runs without being asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unmatched {
    /// Gate is asked, showing all arguments.
    #[default]
    Gate,
    /// It is refused.
    Deny,
}

/// What an approval must come with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenRule {
    /// A one-time token, validated by Gate.
    #[default]
    Required,
    /// Validated when Gate sends one.
    Optional,
    /// Not looked at.
    Off,
}
