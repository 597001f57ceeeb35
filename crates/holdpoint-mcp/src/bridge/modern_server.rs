//! Clients that open with a handshake, in front of a server of 2026-07-28.
//!
//! The handshake and the session are ours; of the server each request is its own. What the client cannot know of, it never
//! sees: `resultType` and its kin, extensions, subscriptions' ids. What the server asks for in the middle of a request goes
//! to the client as the request that its revision has for it, on the stream of that very request.

mod call;
mod listen;
mod params;
mod session;
mod translate;

use super::{
    Inner, Sent,
    answer::Whole,
    wire::{self, HANDSHAKES, Request, Said},
};
use crate::{
    http::single,
    message::{Flaw, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, IdKey, METHOD_NOT_FOUND, Splice},
    protocol::{
        CAPABILITIES_KEY, CLIENT_KEY, FIRST_STATELESS, LAST_WITH_SESSIONS, LEVEL_KEY, METHOD, NAME,
        PROTOCOL_VERSION, SERVER_KEY, SESSION_ID, VERSION_KEY,
    },
    random,
    upstream::SendError,
};
use bytes::Bytes;
use holdpoint_core::Principal;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use session::{Session, Sessions};
use std::sync::Arc;

/// What a client says that names neither itself nor what it can do.
const NOBODY: &str = r#"{"name":"unknown","version":"0"}"#;

/// The server, and whom it has been introduced to.
#[derive(Debug)]
pub(crate) struct ModernServer {
    inner: Inner,
    sessions: Sessions,
}

impl ModernServer {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner, sessions: Sessions::default() }
    }

    pub(super) async fn send(
        self: Arc<Self>,
        principal: Principal,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Sent {
        let named = match single(&headers, &SESSION_ID) {
            Ok(named) => named.map(str::to_owned),
            Err(()) => return Ok(wire::empty(StatusCode::BAD_REQUEST)),
        };
        if method == Method::POST {
            return self.post(&principal, named.as_deref(), headers, body).await;
        }
        let Some(named) = named else {
            return self.inner.send(&principal, method, headers, body).await;
        };
        let Some(session) = self.sessions.of(&named, &principal) else {
            return Ok(wire::empty(StatusCode::NOT_FOUND));
        };
        match method {
            Method::GET => Ok(self.listen(session, wire::outbound(headers))),
            Method::DELETE => {
                self.sessions.end(&session);
                Ok(wire::empty(StatusCode::NO_CONTENT))
            }
            _ => Ok(wire::empty(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    async fn post(
        self: Arc<Self>,
        principal: &Principal,
        named: Option<&str>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Sent {
        let refuse = |problem: &str| Ok(wire::error(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, problem));
        let Ok(text) = std::str::from_utf8(&body) else {
            return refuse("the message is not UTF-8");
        };
        let said = match Said::read(text) {
            Ok(said) => said,
            Err(flaw) => return refuse(&format!("the message {flaw}; batches are not translated")),
        };
        if let Said::Request(request) = &said
            && request.method == "initialize"
        {
            return self.introduce(principal, request, headers).await;
        }
        let Some(named) = named else {
            if is_modern(&headers, &said) {
                return self.inner.send(principal, Method::POST, headers, body).await;
            }
            return refuse("the Mcp-Session-Id header is missing: send `initialize` first");
        };
        let Some(session) = self.sessions.of(named, principal) else {
            // An answer, and not only a status: of a call that waited it is certain then that it did not run.
            let id = if let Said::Request(request) = &said { Some(request.id_raw) } else { None };
            let problem = "there is no such session, or not any more";
            return Ok(wire::error(StatusCode::NOT_FOUND, id, INVALID_REQUEST, problem));
        };
        match said {
            Said::Request(request) => self.request(session, &request, headers).await,
            Said::Answer(id) => {
                session.answered(id.as_ref(), text);
                Ok(wire::empty(StatusCode::ACCEPTED))
            }
            Said::Notification { method, params } => {
                if method == "notifications/cancelled" {
                    session.cancel(params);
                }
                // The others have no counterpart: the server keeps no session that they could be about.
                Ok(wire::empty(StatusCode::ACCEPTED))
            }
        }
    }

    /// Answers a handshake with what the server says of itself.
    async fn introduce(&self, principal: &Principal, request: &Request<'_>, headers: HeaderMap) -> Sent {
        let refuse =
            |problem: &str| Ok(wire::error(StatusCode::OK, Some(request.id_raw), INVALID_PARAMS, problem));
        let params = match request.params() {
            Ok(params) => params,
            Err(flaw) => return refuse(&format!("`params` {flaw}")),
        };
        let capabilities = match wire::without_tasks(params.get("capabilities").unwrap_or("{}")) {
            Ok(capabilities) => capabilities,
            Err(flaw) => return refuse(&format!("`params.capabilities` {flaw}")),
        };
        let asked = request.param("protocolVersion");
        let asked = asked.and_then(|asked| HANDSHAKES.into_iter().find(|known| *known == asked));
        let session = Session::new(
            principal.clone(),
            params.get("clientInfo").unwrap_or(NOBODY).into(),
            capabilities.into(),
        );
        let Some(mut session) = session else {
            return refuse("no session could be opened");
        };
        let found = match self.discover(&session, headers).await? {
            Ok(found) => found,
            Err(problem) => {
                let id = Some(request.id_raw);
                return Ok(wire::error(StatusCode::OK, id, INTERNAL_ERROR, &problem));
            }
        };
        let result = found.initialized(asked.unwrap_or(LAST_WITH_SESSIONS));
        session.offered = found.capabilities.into();
        let session = Arc::new(session);
        let Ok(id) = HeaderValue::from_str(&session.id) else {
            return refuse("no session could be opened");
        };
        if !self.sessions.insert(session) {
            return Ok(wire::empty(StatusCode::SERVICE_UNAVAILABLE));
        }
        let message = crate::reply::answer(request.id_raw, format!(r#""result":{result}"#).as_bytes());
        let mut response = wire::json(StatusCode::OK, message);
        response.headers_mut().insert(SESSION_ID, id);
        Ok(response)
    }

    /// Asks the server what it is. The inner error is why there will be no session.
    async fn discover(
        &self,
        session: &Session,
        headers: HeaderMap,
    ) -> Result<Result<Found, String>, SendError> {
        let id = format!("holdpoint-{}", random::token());
        let message = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"server/discover"}}"#);
        let Ok(Said::Request(request)) = Said::read(&message) else {
            return Ok(Err("the request could not be written".into()));
        };
        let Ok(outgoing) = session.outgoing(&request, request.id_raw, &[]) else {
            return Ok(Err("the client's introduction cannot be passed on".into()));
        };
        let headers = stamped(wire::outbound(headers), &request);
        let id = IdKey::Text(id.into());
        let told = wire::ask(&self.inner, &session.principal, headers, &id, outgoing).await?;
        Ok(Found::read(&told).ok_or_else(|| {
            format!("the tool server does not speak MCP {FIRST_STATELESS}: it answered `server/discover` with HTTP status {}", told.status.as_u16())
        }))
    }

    async fn request(
        self: Arc<Self>,
        session: Arc<Session>,
        request: &Request<'_>,
        headers: HeaderMap,
    ) -> Sent {
        let answer = |fragment: &str| {
            Ok(wire::json(StatusCode::OK, crate::reply::answer(request.id_raw, fragment.as_bytes())))
        };
        let refuse =
            |code: i32, problem: &str| Ok(wire::error(StatusCode::OK, Some(request.id_raw), code, problem));
        match &*request.method {
            "ping" => answer(r#""result":{}"#),
            "logging/setLevel" => match request.param("level") {
                Some(level) => {
                    session.set_level(&level);
                    answer(r#""result":{}"#)
                }
                None => refuse(INVALID_PARAMS, "`params.level` is not a string"),
            },
            "resources/subscribe" | "resources/unsubscribe"
                if !wire::is_capable(&session.offered, &["resources", "subscribe"]) =>
            {
                refuse(METHOD_NOT_FOUND, "this server has no subscriptions to resources")
            }
            "resources/subscribe" | "resources/unsubscribe" => match request.param("uri") {
                Some(uri) => {
                    session.subscribe(uri, request.method == "resources/subscribe").await;
                    answer(r#""result":{}"#)
                }
                None => refuse(INVALID_PARAMS, "`params.uri` is not a string"),
            },
            method if method.starts_with("tasks/") => refuse(METHOD_NOT_FOUND, "tasks are not translated"),
            "server/discover" | "subscriptions/listen" => {
                refuse(METHOD_NOT_FOUND, "this session was opened with a handshake")
            }
            _ => self.call(session, request, headers).await,
        }
    }
}

/// Whether a message without a session is of a client that needs no translation.
fn is_modern(headers: &HeaderMap, said: &Said<'_>) -> bool {
    let by_header =
        matches!(single(headers, &PROTOCOL_VERSION), Ok(Some(version)) if version >= FIRST_STATELESS);
    by_header
        || matches!(said, Said::Request(request) if request.meta(VERSION_KEY).is_some() || request.method == "server/discover")
}

/// The headers that the stateless era repeats the body in.
fn stamped(mut headers: HeaderMap, request: &Request<'_>) -> HeaderMap {
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(FIRST_STATELESS));
    let named = [(METHOD, Some(request.method.clone().into_owned())), (NAME, request.name())];
    for (name, value) in named {
        if let Some(value) = value.and_then(|value| wire::header_value(&value)) {
            headers.insert(name, value);
        }
    }
    headers
}

impl Session {
    /// `request` as the server gets it: under another id, where it is another leg of a call; with what each request of its
    /// era says of the client; and with the members that continue a call. `name` and `arguments` keep their bytes.
    fn outgoing(
        &self,
        request: &Request<'_>,
        id_raw: &str,
        continued: &[(&'static str, String)],
    ) -> Result<String, Flaw> {
        let mut message = Splice::read(request.text)?;
        let mut params = request.params()?;
        let meta_raw = params.get("_meta").unwrap_or("{}").to_owned();
        let mut meta = Splice::read(&meta_raw)?;
        meta.set(VERSION_KEY, wire::quoted(FIRST_STATELESS));
        meta.set(CLIENT_KEY, &*self.client);
        meta.set(CAPABILITIES_KEY, &*self.capabilities);
        let level = self.level();
        match &level {
            Some(level) => meta.set(LEVEL_KEY, wire::quoted(level)),
            None => meta.remove(&[LEVEL_KEY]),
        }
        params.set("_meta", meta.to_string());
        if !continued.is_empty() {
            params.remove(&["inputResponses", "requestState"]);
        }
        for (key, value) in continued {
            params.set(key, value.as_str().to_owned());
        }
        message.set("id", id_raw.to_owned());
        message.set("params", params.to_string());
        Ok(message.to_string())
    }
}

/// What the server says of itself.
struct Found {
    capabilities: String,
    server: String,
    instructions: Option<String>,
}

impl Found {
    fn read(told: &Whole) -> Option<Self> {
        let result = told.result()?;
        let versions: Vec<String> = serde_json::from_str(wire::raw_in(result, "supportedVersions")?).ok()?;
        if !versions.iter().any(|version| version == FIRST_STATELESS) {
            return None;
        }
        let mut capabilities = wire::without_tasks(wire::raw_in(result, "capabilities")?).ok()?;
        if let Ok(mut splice) = Splice::read_leniently(&capabilities.clone()) {
            // The handshake has no place for them.
            splice.remove(&["extensions"]);
            capabilities = splice.to_string();
        }
        let server = wire::raw_in(result, "_meta").and_then(|meta| wire::raw_in(meta, SERVER_KEY));
        let instructions = wire::raw_in(result, "instructions").filter(|raw| raw.starts_with('"'));
        Some(Self {
            capabilities,
            server: server.unwrap_or(NOBODY).to_owned(),
            instructions: instructions.map(str::to_owned),
        })
    }

    /// The answer to `initialize`.
    fn initialized(&self, version: &str) -> String {
        let mut result = Splice::empty();
        result.set("protocolVersion", wire::quoted(version));
        result.set("capabilities", &*self.capabilities);
        result.set("serverInfo", &*self.server);
        if let Some(instructions) = &self.instructions {
            result.set("instructions", &**instructions);
        }
        result.to_string()
    }
}
