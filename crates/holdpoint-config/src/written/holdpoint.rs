use super::Bridge;
use crate::load::{Entries, Located};
use holdpoint_api::declare::HumaneDuration;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;

/// `holdpoint.yaml`: which Gate, which tool servers, how calls are held.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
pub(crate) struct HoldpointFile {
    /// The Gate to ask. Absent: the one that `holdpoint up` brings along.
    pub(crate) gate: Option<Gate>,
    /// The tool servers, by the names used here.
    pub(crate) servers: Entries<Located<Server>>,
    /// Who may call the servers over HTTP.
    pub(crate) callers: Callers,
    /// One HTTP call for platforms that cannot wait.
    pub(crate) bridge: Option<Bridge>,
    /// The folder of tools files, relative to this file. Absent: `tools`, if there is one.
    pub(crate) tools: Option<Located<String>>,
    /// How calls wait.
    pub(crate) hold: Hold,
    /// Where holds are kept. Absent: in the data folder, which one proxy at a time can use.
    pub(crate) journal: Option<Journal>,
    /// The audit log. It is always on.
    pub(crate) audit: Option<Audit>,
    /// What reviewers see of a call after they decided.
    pub(crate) timeline: Timeline,
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
    /// Where Gate says that something was decided. Absent: Gate is asked from time to time.
    pub(crate) webhook: Option<Located<Webhook>>,
}

/// Where Gate's webhooks are received. They only say when to ask Gate: what they report is never believed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(crate) struct Webhook {
    /// An address and port of their own, such as `127.0.0.1:8790`. Absent: where `holdpoint up` listens anyway.
    pub(crate) listen: Option<Located<String>>,
    /// The path of the address that Gate is told. Absent: `/webhooks/gate`.
    pub(crate) path: Option<Located<String>>,
    /// The secret that Gate signs them with; never the secret itself, but `${NAME}` or `${file:PATH}`. Absent: anybody who
    /// reaches the address can make Gate be asked.
    pub(crate) secret: Option<Located<String>>,
}

/// A journal that several proxies share.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `url`")]
pub(crate) struct Journal {
    /// The address of a PostgreSQL database; never the address itself, but `${NAME}` or `${file:PATH}`.
    pub(crate) url: Located<String>,
}

/// The audit log: every step of a call that is asked about, in the data folder.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Audit {
    /// A file of it that has this many bytes is closed, and the next one begun.
    pub(crate) rotate_bytes: Option<Located<u64>>,
}

/// What reviewers see of a call after they decided.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
pub(crate) struct Timeline {
    /// How much of a tool's answer goes to Gate.
    pub(crate) results: ShownResults,
}

/// How much of a tool's answer goes to Gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShownResults {
    /// The beginning of its text, with the call's secrets taken out.
    #[default]
    Excerpt,
    /// Only whether it succeeded.
    None,
}

impl<'de> Deserialize<'de> for Audit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, expecting = "a mapping")]
        struct Settings {
            rotate_bytes: Option<Located<u64>>,
        }

        struct AuditVisitor;

        impl<'de> Visitor<'de> for AuditVisitor {
            type Value = Audit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping; write `audit: { rotate_bytes: … }`, or remove it")
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Audit, E> {
                Err(E::custom(ALWAYS_ON))
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Audit, E> {
                Err(E::custom(ALWAYS_ON))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Audit, A::Error> {
                let Settings { rotate_bytes } = Settings::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Audit { rotate_bytes })
            }
        }

        deserializer.deserialize_any(AuditVisitor)
    }
}

const ALWAYS_ON: &str = "the audit log is always on; remove this, or write `audit: { rotate_bytes: … }`";

/// Who may call the servers over HTTP. A key of `holdpoint callers create` always counts. Absent: whoever reaches the
/// listener may, which then has to be on this machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
pub(crate) struct Callers {
    /// Whether a request without a key or token is refused. Absent: if there is `oauth`.
    pub(crate) required: Option<bool>,
    /// An issuer whose access tokens count as well.
    pub(crate) oauth: Option<OAuth>,
}

/// An issuer of access tokens that are JSON Web Tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `issuer`")]
pub(crate) struct OAuth {
    /// Its identifier, letter for letter as in the tokens' `iss`.
    pub(crate) issuer: Located<String>,
    /// Whom tokens must be for: their `aud`. Absent: the address of the server as callers use it.
    pub(crate) audience: Option<Located<String>>,
    /// Where its keys are. Absent: where its metadata says, on its own host.
    pub(crate) jwks_url: Option<Located<String>>,
    /// What a token must be good for, all of these.
    #[serde(default)]
    pub(crate) scopes: Vec<Located<String>>,
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
    /// Which era of MCP it speaks, where clients of the other one are to be translated. Absent: nothing is translated.
    pub(crate) era: Option<Located<ServerEra>>,
    /// Which clients its list of tools is written for. Absent: it passes as the server says it.
    pub(crate) compat: Option<Located<ServerCompat>>,
    /// Program and arguments.
    pub(crate) command: Option<Located<Vec<Located<String>>>>,
    /// Its environment, on top of a minimal one.
    #[serde(default)]
    pub(crate) env: Entries<Located<String>>,
    /// The folder to start it in, relative to this file. Absent: where holdpoint was started.
    pub(crate) cwd: Option<Located<String>>,
    /// How the calls to it wait.
    pub(crate) hold: Option<OwnHold>,
    /// What clients may ask of it beside calls of tools. Absent: everything.
    #[serde(default)]
    pub(crate) methods: Methods,
}

/// What clients may ask of a server beside calls of tools, which tools files decide about.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping with `deny`")]
pub(crate) struct Methods {
    /// MCP methods that are refused, such as `resources/read` or `prompts/*`.
    pub(crate) deny: Vec<Located<String>>,
}

/// Which era of MCP a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServerEra {
    /// Nothing is translated: client and server negotiate, or fail to.
    Auto,
    /// With a handshake, 2024-11-05 to 2025-11-25. Clients of 2026-07-28 are translated.
    Legacy,
    /// Stateless, 2026-07-28. Clients that open with a handshake are translated.
    Modern,
}

/// Which clients a server's list of tools is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum ServerCompat {
    /// Copilot Studio, which reads a part of JSON Schema: no `$ref`, one type at a time, no exclusive bounds.
    #[serde(rename = "copilot-studio", alias = "copilot_studio")]
    CopilotStudio,
}

/// How calls wait for a decision.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
pub(crate) struct Hold {
    /// In which way a call waits. Absent: as suits its client.
    pub(crate) mode: Option<WaitMode>,
    /// How long a call waits before its caller is told to come back. Absent: as long as its client can.
    pub(crate) patience: Option<HumaneDuration>,
    /// The longest time between two answers to a client that asks again by itself. Absent: 45 seconds.
    pub(crate) leg: Option<HumaneDuration>,
    /// What becomes of a review whose link the user of the client does not want to open. Absent: it is withdrawn.
    pub(crate) declined: Option<Declined>,
    /// How many calls may wait at once.
    pub(crate) held_max: Option<Located<u32>>,
    /// How many bytes of a result are kept for a caller that went away.
    pub(crate) result_bytes_max: Option<u64>,
    /// For how long such a result, and the fact that the call ran, are kept. Absent: 24 hours.
    pub(crate) result_kept: Option<HumaneDuration>,
}

/// How the calls to a server, or to a tool, wait; where it says nothing, what stands above it holds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a mapping")]
pub(crate) struct OwnHold {
    /// In which way a call waits.
    pub(crate) mode: Option<WaitMode>,
    /// How long a call waits before its caller is told to come back.
    pub(crate) patience: Option<Located<HumaneDuration>>,
    /// The longest time between two answers to a client that asks again by itself.
    pub(crate) leg: Option<HumaneDuration>,
    /// What becomes of a review whose link the user of the client does not want to open.
    pub(crate) declined: Option<Declined>,
}

/// In which way a call waits that a person decides. A way that a client does not know is not used with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaitMode {
    /// As suits the client.
    Auto,
    /// The request stays open, with progress where the client asks for it.
    Hold,
    /// In legs: the client is told to ask again, and does so by itself. From revision 2026-07-28 on.
    Legs,
    /// As a task that the client asks about, where it knows tasks.
    Task,
    /// The request stays open for less than the shortest time-out that is known; then the agent is told to call again.
    Bounded,
}

/// What becomes of a review whose link the user of the client does not want to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Declined {
    /// It is withdrawn: what is decided later runs nothing.
    Withdraw,
    /// It stays open: the same call sent again joins it.
    Leave,
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
