//! Names of the protocol, each in one place.

use http::{HeaderName, HeaderValue};

/// The one revision that has batches; clients of that time do not name it over HTTP.
pub(crate) const REVISION_WITH_BATCHES: &str = "2025-03-26";
/// The newest revision with a handshake.
pub(crate) const LAST_WITH_SESSIONS: &str = "2025-11-25";
/// From here on each request says who speaks and which version.
pub(crate) const FIRST_STATELESS: &str = "2026-07-28";

/// Members of `_meta` and of capabilities with this prefix are the protocol's own.
pub(crate) const PREFIX: &str = "io.modelcontextprotocol/";
pub(crate) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const CLIENT_KEY: &str = "io.modelcontextprotocol/clientInfo";
pub(crate) const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";
pub(crate) const SUBSCRIPTION_KEY: &str = "io.modelcontextprotocol/subscriptionId";
pub(crate) const SERVER_KEY: &str = "io.modelcontextprotocol/serverInfo";
pub(crate) const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(crate) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
pub(crate) const NAME: HeaderName = HeaderName::from_static("mcp-name");
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Headers that repeat an argument of a call start with this.
pub(crate) const PARAM_PREFIX: &str = "mcp-param-";

/// What whoever posts a message reads.
pub(crate) const ACCEPT_EITHER: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The member of `params` that an `Mcp-Name` header repeats, for methods that have one.
pub(crate) fn name_key(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}
