use crate::load::{Entries, JsonConstant, Located};
use holdpoint_api::declare::HumaneDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// One HTTP call for platforms that cannot wait. Absent: `holdpoint up` has no bridge, and `holdpoint bridge` one that
/// only answers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
pub(crate) struct Bridge {
    /// How long a request is held whose caller does not say. Absent: 25 seconds.
    pub(crate) wait: Option<Located<HumaneDuration>>,
    /// The longest that a request is held. Absent: 5 minutes.
    pub(crate) wait_max: Option<Located<HumaneDuration>>,
    /// How long a question stays open that nobody decides. Absent: 7 days.
    pub(crate) expires: Option<Located<HumaneDuration>>,
    /// For how long the same question gets the same answer. Absent: 24 hours.
    pub(crate) kept: Option<Located<HumaneDuration>>,
    /// How often a yes is repeated. Absent: 20 times.
    pub(crate) replays_max: Option<Located<u32>>,
    /// How many questions of one caller may be open at once, in one process. Absent: 5000.
    pub(crate) open_max: Option<Located<u32>>,
    /// The HTTP status of a no: 200, which platforms can read, or 403. Absent: 200.
    pub(crate) deny_status: Option<Located<u16>>,
    /// Who may be called back with an answer. Absent: nobody.
    pub(crate) callbacks: Option<Located<Callbacks>>,
    /// Services whose calls the bridge makes itself, by the names used here.
    pub(crate) targets: Entries<Located<Target>>,
}

/// Who may be called back with an answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `hosts` and `secret`")]
pub(crate) struct Callbacks {
    /// Names of hosts, or `*.` and the end of one.
    pub(crate) hosts: Vec<Located<String>>,
    /// What callbacks are signed with: `whsec_` and 24 to 64 bytes in base64; never the secret itself, but `${NAME}` or
    /// `${file:PATH}`.
    pub(crate) secret: Located<String>,
    /// Whether these hosts may have addresses that are not public. Absent: they may not.
    #[serde(default)]
    pub(crate) private_addresses: bool,
}

/// A service whose calls the bridge makes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `url` and `tools`")]
pub(crate) struct Target {
    /// Its address; the paths of its tools go on from there.
    pub(crate) url: Located<String>,
    /// Headers to send with every request.
    #[serde(default)]
    pub(crate) headers: Entries<Located<String>>,
    /// For the whole of a call. Absent: 30 seconds.
    pub(crate) timeout: Option<HumaneDuration>,
    /// A longer response is not passed back. Absent: 1 MiB.
    pub(crate) response_bytes_max: Option<u32>,
    /// Its tools.
    pub(crate) tools: Entries<Located<TargetTool>>,
}

/// One tool of a target: the request that a call of it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `method` and `path`")]
pub(crate) struct TargetTool {
    /// The method.
    pub(crate) method: TargetMethod,
    /// The path, with `{name}` or `{/json/pointer}` for an argument that is a whole segment.
    pub(crate) path: Located<String>,
    /// The query.
    #[serde(default)]
    pub(crate) query: Entries<Located<TargetValue>>,
    /// Headers of its own.
    #[serde(default)]
    pub(crate) headers: Entries<Located<TargetValue>>,
    /// The body. Absent: the arguments, with POST, PUT and PATCH.
    pub(crate) body: Option<Located<WrittenBody>>,
    /// The body: a JSON object of these members.
    pub(crate) json: Option<Located<Entries<Located<TargetValue>>>>,
    /// The body: a form of these fields.
    pub(crate) form: Option<Located<Entries<Located<TargetValue>>>>,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum TargetMethod {
    /// Reads.
    Get,
    /// Whatever the target makes of it.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Deletes.
    Delete,
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WrittenBody {
    /// The arguments as they were approved, as JSON.
    Arguments,
    /// Nothing.
    None,
}

/// A value: a part of the arguments, or a constant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `at` or `value`")]
#[schemars(extend("oneOf" = [{"required": ["at"]}, {"required": ["value"]}]))]
pub(crate) struct TargetValue {
    /// JSON Pointer into the arguments, such as `/order/id`.
    pub(crate) at: Option<Located<String>>,
    /// Whether it is left out where the arguments lack it. Otherwise such a call is refused.
    #[serde(default)]
    pub(crate) optional: bool,
    /// A constant.
    #[serde(default, deserialize_with = "given")]
    pub(crate) value: Option<JsonConstant>,
}

/// `value: null` is a constant, not an absence.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<JsonConstant>, D::Error> {
    JsonConstant::deserialize(deserializer).map(Some)
}
