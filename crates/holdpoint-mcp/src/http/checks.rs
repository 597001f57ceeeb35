//! What a request must be like before anything else is done with it.

use super::body::{self, ProxyBody};
use crate::{
    message::task_id,
    protocol::{PROTOCOL_VERSION, REVISION_WITH_BATCHES, SESSION_ID},
};
use base64::Engine as _;
use holdpoint_core::TaskId;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header, uri::Authority};
use std::borrow::Cow;

const TASK_ID: HeaderName = HeaderName::from_static("holdpoint-task-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What is the client's or ours, not the server's: names of this hop, and credentials, which are never passed on.
const OURS: [HeaderName; 7] = [
    header::HOST,
    header::ORIGIN,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::AUTHORIZATION,
    header::COOKIE,
    TASK_ID,
];

/// A request that gets no further.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) &'static str);

impl From<Refusal> for Response<ProxyBody> {
    fn from(Refusal(status, text): Refusal) -> Self {
        body::plain(status, text)
    }
}

/// The names that we answer to.
#[derive(Debug)]
pub(super) struct Names {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Names {
    pub(super) fn new(hosts: &[String], origins: &[String]) -> Self {
        let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { hosts: lower(hosts), origins: lower(origins) }
    }

    /// A page of a stranger that had its name pointed at us has the wrong `Host`; any other page the wrong `Origin`.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let named = request.uri().host();
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let in_header = hosts.next();
        let is_ours = |host: &str| self.is_host(host);
        let agreed = match (named, in_header.map(host_of)) {
            (Some(named), None) => is_ours(named),
            (None, Some(Some(host))) => is_ours(host.host()),
            (Some(named), Some(Some(host))) => is_ours(named) && is_ours(host.host()),
            (None, None) | (_, Some(None)) => false,
        };
        if !agreed || hosts.next().is_some() {
            return Err(Refusal(StatusCode::FORBIDDEN, "this host name is not served here\n"));
        }
        let origins_agree =
            request.headers().get_all(header::ORIGIN).iter().all(|origin| self.is_origin(origin));
        if origins_agree {
            Ok(())
        } else {
            Err(Refusal(StatusCode::FORBIDDEN, "this origin is not allowed here\n"))
        }
    }

    fn is_host(&self, host: &str) -> bool {
        let is = |name: &str| name.eq_ignore_ascii_case(host);
        ["localhost", "127.0.0.1", "[::1]", "::1"].into_iter().any(is)
            || self.hosts.iter().any(|name| is(name))
    }

    fn is_origin(&self, origin: &HeaderValue) -> bool {
        let Some(origin) = origin.to_str().ok().map(str::to_ascii_lowercase) else {
            return false;
        };
        let uri: Option<Uri> = origin.parse().ok();
        let web = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        self.origins.contains(&origin)
            || web.is_some_and(|uri| uri.host().is_some_and(|host| self.is_host(host)))
    }
}

fn host_of(value: &HeaderValue) -> Option<Authority> {
    let authority: Authority = value.to_str().ok()?.parse().ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

/// The session that a request or response names.
pub(crate) fn session_id(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(SESSION_ID).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(id)), None) if !id.is_empty() => Ok(Some(id)),
        (Some(_), _) => Err(Refusal(StatusCode::BAD_REQUEST, "the Mcp-Session-Id header cannot be read\n")),
    }
}

/// A body that the server would decode before it reads it is not what we would read: UTF-7 and gzip hide a tool call
/// from a reader of the plain bytes.
pub(super) fn content(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |text| Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    if headers.contains_key(header::CONTENT_ENCODING) {
        return refuse("send the body without a content encoding\n");
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(Ok(kind)), None) = (types.next().map(HeaderValue::to_str), types.next()) else {
        return refuse("the content type is application/json\n");
    };
    let mut kind = kind.split(';').map(str::trim);
    let is_json = kind.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let is_utf8 = kind.all(|parameter| {
        let parameter = parameter.to_ascii_lowercase();
        match parameter.split_once('=').filter(|(name, _)| name.trim_end() == "charset") {
            Some((_, value)) => value.trim().trim_matches('"') == "utf-8",
            // RFC 2231 has parameters in pieces (`charset*0`), and RFC 822 has comments: not every reader sees the same.
            None => !parameter.contains("charset") && !parameter.contains(['*', '(', '\\']),
        }
    });
    if is_json && is_utf8 { Ok(()) } else { refuse("the content type is application/json, in UTF-8\n") }
}

pub(super) fn has_batches(headers: &HeaderMap) -> bool {
    headers.get(PROTOCOL_VERSION).is_none_or(|version| version == REVISION_WITH_BATCHES)
}

/// The task that the caller names in a header.
pub(super) fn task(headers: &HeaderMap) -> Result<Option<TaskId>, &'static str> {
    let named = match single(headers, &TASK_ID) {
        Ok(None) => return Ok(None),
        Ok(Some(text)) => task_id(text),
        Err(()) => None,
    };
    named.map(Some).ok_or("the `Holdpoint-Task-Id` header is not a task id")
}

pub(crate) fn accepts_stream(headers: &HeaderMap) -> bool {
    let accepts = |value: &str| value.contains("text/event-stream") || value.contains("*/*");
    headers.get_all(header::ACCEPT).iter().any(|value| value.to_str().is_ok_and(accepts))
}

/// The one value of a header; an error where there are several, or none that can be read.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(drop),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Names that do not fit in a header travel as `=?base64?…?=`.
pub(crate) fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix("=?base64?").and_then(|inner| inner.strip_suffix("?=")) else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(inner).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The same the other way round.
pub(crate) fn encoded(name: &str) -> Option<HeaderValue> {
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) && !name.starts_with("=?");
    if plain {
        return HeaderValue::from_str(name).ok();
    }
    let inner = base64::engine::general_purpose::STANDARD.encode(name);
    HeaderValue::from_str(&format!("=?base64?{inner}?=")).ok()
}

/// Takes off what belongs to the hop between client and us.
pub(super) fn strip_request(headers: &mut HeaderMap) {
    // Readers of CGI's kind take `_` for `-`: to them it is a header that we looked at, with another value.
    strip(headers, |name| OURS.contains(name) || name.as_str().contains('_'));
}

/// The same headers in memory of their own. What comes from a connection is a part of its buffer, which would be kept for
/// as long as a call is held.
pub(super) fn owned(headers: &HeaderMap) -> HeaderMap {
    let mut own = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        let name_own = HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone());
        own.append(name_own, own_value(value));
    }
    own
}

/// The same of one value.
pub(super) fn own_value(value: &HeaderValue) -> HeaderValue {
    let mut own = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    own.set_sensitive(value.is_sensitive());
    own
}

/// Takes off what belongs to one hop.
pub(super) fn strip_hop(headers: &mut HeaderMap) {
    strip(headers, |_| false);
}

/// Takes off what belongs to one hop, and what is `unwanted`. Few headers are there, and fewer go: looking at each of them
/// costs less than looking for each that could be there.
fn strip(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    let goes = |name: &&HeaderName| HOP_BY_HOP.contains(name) || unwanted(name);
    let going: Vec<HeaderName> = headers.keys().filter(goes).cloned().collect();
    for name in going {
        headers.remove(name);
    }
}
