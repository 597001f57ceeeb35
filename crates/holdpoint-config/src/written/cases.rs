use super::Risk;
use crate::load::{JsonConstant, Located};
use schemars::JsonSchema;
use serde::Deserialize;

/// `tools/SERVER.cases.yaml`: calls, and what the tools file beside it makes of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `server` and `cases`")]
pub(crate) struct CasesFile {
    /// The server, by its name in `holdpoint.yaml`.
    pub(crate) server: Located<String>,
    /// The calls.
    pub(crate) cases: Vec<Located<Case>>,
}

/// One call and what is expected of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `name`, `tool` and `plan`")]
pub(crate) struct Case {
    /// What the case shows.
    pub(crate) name: String,
    /// The tool that is called.
    pub(crate) tool: String,
    /// With what. Absent: the call has no arguments.
    pub(crate) arguments: Option<Located<JsonConstant>>,
    /// The task it belongs to.
    pub(crate) task: Option<String>,
    /// What is to be done with it.
    pub(crate) plan: Located<ExpectedPlan>,
    /// What Gate is asked; fields that are not named may be anything.
    pub(crate) request: Option<Located<ExpectedRequest>>,
    /// What the call does in the world, at most once.
    pub(crate) effect: Option<Located<String>>,
    /// A part of the reason why the call is refused.
    pub(crate) error: Option<Located<String>>,
}

/// What is to be done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExpectedPlan {
    /// Gate is asked.
    Gate,
    /// It runs without being asked about.
    Pass,
    /// It never runs.
    Deny,
    /// The entry does not fit the call, so it is refused.
    Error,
}

/// What Gate is asked. In `payload`, `"••••"` stands for any masked secret, and keys that are not named may be anything.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct ExpectedRequest {
    /// Name of the workflow.
    pub(crate) workflow_name: Option<Located<String>>,
    /// Label of the task.
    pub(crate) task_label: Option<Located<String>>,
    /// The tool's name as Gate knows it.
    pub(crate) tool_name: Option<Located<String>>,
    /// Title of the thread.
    pub(crate) subject: Option<Located<String>>,
    /// Text for the list of threads.
    pub(crate) preview: Option<Located<String>>,
    /// How much is at stake.
    pub(crate) risk_level: Option<Located<Risk>>,
    /// Points for the reviewer, all of them.
    pub(crate) summary: Option<Located<Vec<String>>>,
    /// What Gate's rules and the reviewer see.
    pub(crate) payload: Option<Located<JsonConstant>>,
}
