//! One message, read as far as a bridge needs it; headers; and the responses that a bridge writes itself.

use super::Inner;
use crate::{
    http::{event, stream_headers},
    message::{Flaw, IdKey, Object, Splice, text_of},
    protocol::{
        ACCEPT_EITHER, JSON, LAST_EVENT_ID, LAST_WITH_SESSIONS, METHOD, NAME, PARAM_PREFIX, PROTOCOL_VERSION,
        REVISION_WITH_BATCHES, SESSION_ID, TASKS_EXTENSION, name_key,
    },
    reply,
    upstream::{SendError, UpstreamBody},
};
use base64::Engine as _;
use bytes::Bytes;
use holdpoint_core::Principal;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::value::RawValue;
use std::{borrow::Cow, time::Duration};
use tokio::sync::mpsc;

/// The revisions with a handshake.
pub(super) const HANDSHAKES: [&str; 4] =
    ["2024-11-05", REVISION_WITH_BATCHES, "2025-06-18", LAST_WITH_SESSIONS];

pub(super) const RESOURCE_NOT_FOUND: i32 = -32002;
pub(super) const URL_ELICITATION_REQUIRED: i32 = -32042;
pub(super) const UNSUPPORTED_VERSION: i32 = -32022;

/// The largest message of a server that is translated.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// So many events wait for a slow client before the server has to.
pub(super) const EVENTS_MAX: usize = 64;
/// How long a server has for a request of the bridge's own.
pub(super) const OWN_TIMEOUT: Duration = Duration::from_secs(30);

/// What one side says.
#[derive(Debug)]
pub(super) enum Said<'a> {
    Request(Request<'a>),
    Notification {
        method: Cow<'a, str>,
        params: Option<&'a str>,
    },
    /// An answer with this id.
    Answer(Option<IdKey>),
}

/// One request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) text: &'a str,
    pub(super) id_raw: &'a str,
    pub(super) id: IdKey,
    pub(super) method: Cow<'a, str>,
    pub(super) params: Option<&'a str>,
}

impl<'a> Said<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Flaw> {
        let object = Object::read_leniently(text)?;
        let raw = |key| object.get(key).map(RawValue::get);
        let (id_raw, params) = (raw("id"), raw("params"));
        let id = id_raw.and_then(IdKey::read);
        let Some(method) = object.get("method").and_then(text_of) else {
            return Ok(Self::Answer(id));
        };
        Ok(match (id_raw, id) {
            (Some(id_raw), Some(id)) => Self::Request(Request { text, id_raw, id, method, params }),
            (_, _) => Self::Notification { method, params },
        })
    }
}

impl<'a> Request<'a> {
    /// The members of `params`.
    pub(super) fn params(&self) -> Result<Splice<'a>, Flaw> {
        self.params.map_or_else(|| Ok(Splice::empty()), Splice::read)
    }

    /// The text of a member of `params`.
    pub(super) fn param(&self, key: &str) -> Option<String> {
        text_in(self.params?, key)
    }

    /// A member of `params._meta`, raw.
    pub(super) fn meta(&self, key: &str) -> Option<&'a str> {
        let meta = Object::read_leniently(self.params?).ok()?.get("_meta")?;
        Object::read_leniently(meta.get()).ok()?.get(key).map(RawValue::get)
    }

    /// What the `Mcp-Name` header of such a request says.
    pub(super) fn name(&self) -> Option<String> {
        self.param(name_key(&self.method)?)
    }
}

/// The text of a member of a raw object.
pub(super) fn text_in(object: &str, key: &str) -> Option<String> {
    Object::read_leniently(object).ok()?.get(key).and_then(text_of).map(Cow::into_owned)
}

/// A member of a raw object, raw.
pub(super) fn raw_in<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    Object::read_leniently(object).ok()?.get(key).map(RawValue::get)
}

/// JSON text of a string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Capabilities without what cannot be translated: tasks of either kind.
pub(super) fn without_tasks(capabilities: &str) -> Result<String, Flaw> {
    let mut splice = Splice::read_leniently(capabilities)?;
    splice.remove(&["tasks"]);
    let extensions = splice.get("extensions").map(str::to_owned);
    if let Some(extensions) = extensions
        && let Ok(mut extensions) = Splice::read_leniently(&extensions)
    {
        extensions.remove(&[TASKS_EXTENSION]);
        splice.set_unless_empty("extensions", &extensions);
    }
    Ok(splice.to_string())
}

/// Whether capabilities have `member.of.them`.
pub(super) fn is_capable(capabilities: &str, path: &[&str]) -> bool {
    let mut at = capabilities;
    for key in path {
        match raw_in(at, key) {
            None | Some("null" | "false") => return false,
            Some(inner) => at = inner,
        }
    }
    true
}

/// The client's headers without those of its era, for a request whose answer has to be read here.
pub(super) fn outbound(mut headers: HeaderMap) -> HeaderMap {
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX)).cloned().collect();
    for name in own.iter().chain(&[
        SESSION_ID,
        LAST_EVENT_ID,
        PROTOCOL_VERSION,
        METHOD,
        NAME,
        header::ACCEPT_ENCODING,
        header::CONTENT_LENGTH,
    ]) {
        headers.remove(name);
    }
    headers.insert(header::ACCEPT, ACCEPT_EITHER);
    headers.insert(header::CONTENT_TYPE, JSON);
    headers
}

/// A name or parameter as a header has it: what does not fit travels as `=?base64?…?=`.
pub(super) fn header_value(text: &str) -> Option<HeaderValue> {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim_matches([' ', '\t']) == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    if plain {
        return HeaderValue::from_str(text).ok();
    }
    let inner = base64::engine::general_purpose::STANDARD.encode(text);
    HeaderValue::from_str(&format!("=?base64?{inner}?=")).ok()
}

/// One JSON message.
pub(super) fn json(status: StatusCode, message: impl Into<Bytes>) -> Response<UpstreamBody> {
    let mut response = Response::new(UpstreamBody::Whole(Some(message.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

pub(super) fn empty(status: StatusCode) -> Response<UpstreamBody> {
    let mut response = Response::new(UpstreamBody::Whole(None));
    *response.status_mut() = status;
    response
}

/// A JSON-RPC error.
pub(super) fn error(
    status: StatusCode,
    id_raw: Option<&str>,
    code: i32,
    problem: &str,
) -> Response<UpstreamBody> {
    json(status, reply::error(id_raw, code, problem))
}

/// A stream, and where to write its events.
pub(super) fn stream() -> (mpsc::Sender<Bytes>, Response<UpstreamBody>) {
    let (out, events) = mpsc::channel(EVENTS_MAX);
    let mut response = Response::new(UpstreamBody::Pieces(events));
    *response.headers_mut() = stream_headers();
    (out, response)
}

/// Keeps a silent stream open.
pub(super) const ALIVE: &[u8] = b":\n\n";

pub(super) fn event_of(message: &str) -> Bytes {
    event(message.as_bytes())
}

/// A tool result that the model can act on, for calls; an error for everything else.
pub(super) fn failed(id_raw: &str, method: &str, modern: bool, problem: &str) -> String {
    let message = if method == crate::message::TOOLS_CALL {
        let mut result =
            serde_json::json!({ "content": [{ "type": "text", "text": problem }], "isError": true });
        if modern && let Some(members) = result.as_object_mut() {
            members.insert("resultType".into(), "complete".into());
        }
        reply::answer(id_raw, format!(r#""result":{result}"#).as_bytes())
    } else {
        reply::error(Some(id_raw), crate::message::INTERNAL_ERROR, problem)
    };
    String::from_utf8(message).unwrap_or_default()
}

/// A request of the bridge's own, and the whole answer to it.
pub(super) async fn ask(
    inner: &Inner,
    principal: &Principal,
    headers: HeaderMap,
    id: &IdKey,
    request: String,
) -> Result<super::answer::Whole, SendError> {
    let asking = async {
        let response = inner.send(principal, Method::POST, headers, request.into()).await?;
        super::answer::whole(response, id).await
    };
    let told = tokio::time::timeout(OWN_TIMEOUT, asking).await;
    told.unwrap_or_else(|_| Err(SendError::new(crate::upstream::Reached::Maybe, "it took too long")))
}
