use crate::secret::{FingerprintKey, Secret};
use holdpoint_api::webhook::WebhookSecret;
use holdpoint_core::ServerName;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use url::Url;

/// One HTTP call for platforms that cannot wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSettings {
    /// How long a request is held whose caller does not say.
    pub wait: Duration,
    /// The longest that one is held.
    pub wait_max: Duration,
    /// How long a question stays open that nobody decides.
    pub expires: Duration,
    /// For how long an answer is repeated.
    pub kept: Duration,
    /// How often a yes is repeated.
    pub replays_max: u32,
    /// How many questions of one caller a process has open at once.
    pub open_max: u32,
    /// Whether a no is told with the status 403 instead of 200.
    pub denies_with_403: bool,
    /// Who may be called back; `None`: nobody.
    pub callbacks: Option<CallbackSettings>,
    /// What the bridge runs itself.
    pub targets: BTreeMap<ServerName, TargetSettings>,
}

impl Default for BridgeSettings {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(25),
            wait_max: Duration::from_mins(5),
            expires: Duration::from_hours(7 * 24),
            kept: Duration::from_hours(24),
            replays_max: 20,
            open_max: 5_000,
            denies_with_403: false,
            callbacks: None,
            targets: BTreeMap::new(),
        }
    }
}

/// Who may be called back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackSettings {
    /// Names of hosts, or `*.` and the end of one.
    pub hosts: Vec<String>,
    /// What callbacks are signed with; `None`: it stands in for one, in a configuration that is only checked.
    pub secret: Option<WebhookSecret>,
    /// Whether hosts may have addresses that are not public.
    pub private_addresses: bool,
}

/// A service whose calls the bridge makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSettings {
    /// Its address.
    pub url: Url,
    /// Headers to send, by valid lower-case names.
    pub headers: Vec<(String, Secret)>,
    /// For the whole of a call.
    pub timeout: Duration,
    /// A longer response is not passed back.
    pub response_bytes_max: u32,
    /// Its tools.
    pub tools: BTreeMap<String, TargetToolSettings>,
}

/// The request that a call of a tool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetToolSettings {
    /// The method, in upper case.
    pub method: &'static str,
    /// The path, piece by piece.
    pub path: Vec<TargetPath>,
    /// The query.
    pub query: Vec<(String, TargetSource)>,
    /// Headers of its own, by valid lower-case names.
    pub headers: Vec<(String, TargetSource)>,
    /// The body.
    pub body: TargetContent,
}

/// A piece of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPath {
    /// As it is written.
    Text(String),
    /// One segment: an argument, by JSON Pointer.
    Argument(String),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetSource {
    /// An argument.
    At {
        /// Where, as a JSON Pointer.
        pointer: String,
        /// Whether it may be missing.
        optional: bool,
    },
    /// A constant.
    Value(Value),
}

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetContent {
    /// Nothing.
    None,
    /// The arguments as they were approved.
    Arguments,
    /// A JSON object of these members.
    Json(Vec<(String, TargetSource)>),
    /// A form of these fields.
    Form(Vec<(String, TargetSource)>),
}

impl TargetSettings {
    /// What tells a tool of this target from what it was before the configuration was edited. An approval for the one is none for
    /// the other. Not the headers of the target: what they prove may expire daily.
    #[must_use]
    pub fn place(&self, tool: &TargetToolSettings) -> String {
        let TargetToolSettings { method, path, query, headers, body } = tool;
        let path: Vec<_> = path
            .iter()
            .map(|part| match part {
                TargetPath::Text(text) => json!({ "text": text }),
                TargetPath::Argument(pointer) => json!({ "at": pointer }),
            })
            .collect();
        let body = match body {
            TargetContent::None => json!("none"),
            TargetContent::Arguments => json!("arguments"),
            TargetContent::Json(members) => json!({ "json": sources(members) }),
            TargetContent::Form(fields) => json!({ "form": sources(fields) }),
        };
        FingerprintKey::for_checks().place(&json!({
            "url": self.url.as_str(),
            "method": method,
            "path": path,
            "query": sources(query),
            "headers": sources(headers),
            "body": body,
        }))
    }
}

fn sources(named: &[(String, TargetSource)]) -> Value {
    let text = |source: &TargetSource| match source {
        TargetSource::At { pointer, optional } => json!({ "at": pointer, "optional": optional }),
        TargetSource::Value(value) => json!({ "value": value }),
    };
    named.iter().map(|(name, source)| json!([name, text(source)])).collect()
}
