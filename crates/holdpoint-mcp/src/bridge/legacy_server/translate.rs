//! A legacy server's answers in the words of a client of 2026-07-28.

use super::exchange::Question;
use crate::{
    bridge::wire::{self, RESOURCE_NOT_FOUND, Request, URL_ELICITATION_REQUIRED},
    message::{Flaw, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Splice, TOOLS_CALL},
    protocol::{
        CAPABILITIES_KEY, CLIENT_KEY, FIRST_STATELESS, LEVEL_KEY, SERVER_KEY, SUBSCRIPTION_KEY, VERSION_KEY,
    },
    reply,
};
use http::StatusCode;

/// Results that say how long they may be kept. Nobody said so of these: not at all.
const CACHEABLE: [&str; 5] =
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"];

/// What the server said of itself in the handshake, raw.
#[derive(Debug)]
pub(super) struct Introduction {
    pub(super) capabilities: String,
    server: Option<String>,
    instructions: Option<String>,
}

impl Introduction {
    pub(super) fn read(result: &str) -> Option<Self> {
        let capabilities = wire::without_tasks(wire::raw_in(result, "capabilities")?).ok()?;
        let server = wire::raw_in(result, "serverInfo").filter(|raw| raw.starts_with('{'));
        let instructions = wire::raw_in(result, "instructions").filter(|raw| raw.starts_with('"'));
        Some(Self {
            capabilities,
            server: server.map(str::to_owned),
            instructions: instructions.map(str::to_owned),
        })
    }
}

/// The result of `server/discover`.
pub(super) fn discovered(introduction: &Introduction) -> String {
    let mut result = Splice::empty();
    result.set("resultType", r#""complete""#);
    result.set("supportedVersions", format!("[{}]", wire::quoted(FIRST_STATELESS)));
    result.set("capabilities", &*introduction.capabilities);
    if let Some(instructions) = &introduction.instructions {
        result.set("instructions", &**instructions);
    }
    result.set("ttlMs", "0");
    result.set("cacheScope", r#""private""#);
    if let Some(server) = &introduction.server {
        result.set("_meta", format!("{{{}:{server}}}", wire::quoted(SERVER_KEY)));
    }
    result.to_string()
}

/// `request` as the server gets it: under our id, since several clients may share its session; without what its era does
/// not know. `name` and `arguments` keep their bytes.
pub(super) fn outgoing(request: &Request<'_>, number: u64) -> Result<String, Flaw> {
    let mut message = Splice::read(request.text)?;
    let mut params = request.params()?;
    let meta_raw = params.get("_meta").unwrap_or("{}").to_owned();
    let mut meta = Splice::read(&meta_raw)?;
    meta.remove(&[VERSION_KEY, CLIENT_KEY, CAPABILITIES_KEY, LEVEL_KEY]);
    if meta.get("progressToken").is_some() {
        meta.set("progressToken", number.to_string());
    }
    params.set_unless_empty("_meta", &meta);
    message.set_unless_empty("params", &params);
    message.set("id", number.to_string());
    Ok(message.to_string())
}

/// What of a request stays the same when its client comes back with answers.
pub(super) fn identity(request: &Request<'_>) -> Option<String> {
    let mut params = request.params().ok()?;
    params.remove(&["_meta", "inputResponses", "requestState"]);
    Some(format!("{} {params}", request.method))
}

/// The answer to the client's request `id_raw`, with its HTTP status.
pub(super) fn answer(text: &str, id_raw: &str, method: &str) -> (StatusCode, String) {
    let unreadable =
        || (StatusCode::OK, wire::failed(id_raw, method, true, "The tool server's answer cannot be read."));
    let Ok(mut message) = Splice::read_leniently(text) else {
        return unreadable();
    };
    message.set("id", id_raw.to_owned());
    let error = message.get("error").filter(|error| *error != "null").map(str::to_owned);
    if let Some(error) = error {
        return failure(message, &error, id_raw, method);
    }
    let Some(result_raw) = message.get("result").map(str::to_owned) else {
        return unreadable();
    };
    let Ok(mut result) = Splice::read_leniently(&result_raw) else {
        return unreadable();
    };
    result.set("resultType", r#""complete""#);
    if CACHEABLE.contains(&method) {
        result.set("ttlMs", "0");
        result.set("cacheScope", r#""private""#);
    }
    message.set("result", result.to_string());
    (StatusCode::OK, message.to_string())
}

fn failure(mut message: Splice<'_>, error: &str, id_raw: &str, method: &str) -> (StatusCode, String) {
    let code = wire::raw_in(error, "code").and_then(|raw| raw.parse::<i32>().ok());
    let mapped = match code {
        Some(URL_ELICITATION_REQUIRED) if method == TOOLS_CALL => {
            let told = wire::failed(id_raw, method, true, &links(error));
            return (StatusCode::OK, told);
        }
        Some(URL_ELICITATION_REQUIRED) => Some(INTERNAL_ERROR),
        Some(RESOURCE_NOT_FOUND) => Some(INVALID_PARAMS),
        Some(_) | None => None,
    };
    if let (Some(mapped), Ok(mut error)) = (mapped, Splice::read_leniently(error)) {
        error.set("code", mapped.to_string());
        message.set("error", error.to_string());
    }
    let status = if code == Some(METHOD_NOT_FOUND) { StatusCode::NOT_FOUND } else { StatusCode::OK };
    (status, message.to_string())
}

/// A call that is refused until somebody has followed a link. Sending it again is up to the client: it would be another call.
fn links(error: &str) -> String {
    let mut text = wire::text_in(error, "message")
        .unwrap_or_else(|| "The tool server wants a link to be opened first.".into());
    let elicitations = wire::raw_in(error, "data").and_then(|data| wire::raw_in(data, "elicitations"));
    let elicitations: Vec<serde_json::Value> =
        elicitations.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
    for url in elicitations.iter().filter_map(|link| link.get("url")?.as_str()) {
        text.push_str(" Open: ");
        text.push_str(url);
    }
    text.push_str(" The call did not succeed; it may be sent again after that.");
    text
}

/// The answer that asks the client, and the handle that it has to bring back.
pub(super) fn input_required(id_raw: &str, questions: &[Question], handle: &str) -> String {
    let requests = questions.iter().map(|question| {
        let params = question.params.as_deref().map(without_legacy_members);
        let params = params.map_or_else(String::new, |params| format!(r#","params":{params}"#));
        format!("{}:{{\"method\":{}{params}}}", wire::quoted(&question.key), wire::quoted(&question.method))
    });
    let requests = requests.collect::<Vec<_>>().join(",");
    let result = format!(
        r#""result":{{"resultType":"input_required","inputRequests":{{{requests}}},"requestState":"{handle}"}}"#
    );
    String::from_utf8(reply::answer(id_raw, result.as_bytes())).unwrap_or_default()
}

/// Links have no id of their own any more, and questions are no tasks.
fn without_legacy_members(params: &str) -> String {
    let Ok(mut splice) = Splice::read_leniently(params) else {
        return params.to_owned();
    };
    splice.remove(&["elicitationId", "task"]);
    splice.to_string()
}

/// Progress, under the token that the client chose.
pub(super) fn progress(text: &str, token: &str) -> Option<String> {
    let mut message = Splice::read_leniently(text).ok()?;
    let params_raw = message.get("params")?.to_owned();
    let mut params = Splice::read_leniently(&params_raw).ok()?;
    params.set("progressToken", token.to_owned());
    message.set("params", params.to_string());
    Some(message.to_string())
}

/// A change, under the id of the request that listens.
pub(super) fn subscribed(text: &str, id_raw: &str) -> Option<String> {
    let mut message = Splice::read_leniently(text).ok()?;
    let params_raw = message.get("params").unwrap_or("{}").to_owned();
    let mut params = Splice::read_leniently(&params_raw).ok()?;
    let meta_raw = params.get("_meta").unwrap_or("{}").to_owned();
    let mut meta = Splice::read_leniently(&meta_raw).ok()?;
    meta.set(SUBSCRIPTION_KEY, id_raw.to_owned());
    params.set("_meta", meta.to_string());
    message.set("params", params.to_string());
    Some(message.to_string())
}
