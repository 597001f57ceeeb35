//! Clients of 2026-07-28, in front of a server that opens with a handshake.
//!
//! The server's sessions are ours: one for each principal and client, opened by the first request. What the server asks its
//! client in the middle of a request becomes the `input_required` result of that request; the request itself waits here, and
//! the client's retry goes on with it. The server gets one request, however often the client was asked.

mod exchange;
mod listen;
mod parked;
mod session;
mod sessions;
mod translate;

use super::{
    Inner, Sent,
    wire::{self, Request, Said, UNSUPPORTED_VERSION},
};
use crate::{
    http::{accepts_stream, decoded, single},
    message::{
        HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, TOOLS_CALL,
    },
    protocol::{
        CAPABILITIES_KEY, CLIENT_KEY, FIRST_STATELESS, LEVEL_KEY, METHOD, NAME, PROTOCOL_VERSION, SESSION_ID,
        VERSION_KEY,
    },
    reply,
    upstream::{Reached, SendError, UpstreamBody},
};
use bytes::Bytes;
use exchange::{Exchange, Outcome};
use holdpoint_core::Principal;
use http::{HeaderMap, Method, Response, StatusCode};
use parked::{Continuing, Parked};
use session::Session;
use sessions::{Client, Sessions};
use std::sync::Arc;

/// What a stateless client has no business with: the handshake's own methods, and tasks, which are not translated.
const NOT_MODERN: [&str; 5] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// The server, with the sessions that it has of ours.
#[derive(Debug)]
pub(crate) struct LegacyServer {
    inner: Inner,
    sessions: Sessions,
    parked: Parked,
}

/// A request that keeps to the rules of its era.
struct Checked<'a> {
    request: Request<'a>,
    principal: Principal,
    client: Client,
    headers: HeaderMap,
    /// Whether the client reads streams.
    streams: bool,
}

impl LegacyServer {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner, sessions: Sessions::default(), parked: Parked::default() }
    }

    pub(super) async fn send(
        self: Arc<Self>,
        principal: Principal,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Sent {
        let text = std::str::from_utf8(&body).ok().filter(|_| method == Method::POST);
        let said = text.and_then(|text| Said::read(text).ok());
        let Some(said) = said.filter(|said| is_modern(&headers, said)) else {
            return self.inner.send(&principal, method, headers, body).await;
        };
        match said {
            Said::Request(request) => match checked(request, principal, headers) {
                Ok(checked) => self.request(checked).await,
                Err(refused) => Ok(*refused),
            },
            // Over HTTP a stateless client has nothing to say but requests; a stream that it closes is a cancellation.
            Said::Notification { .. } | Said::Answer(_) => Ok(wire::empty(StatusCode::ACCEPTED)),
        }
    }

    async fn request(self: Arc<Self>, asked: Checked<'_>) -> Sent {
        let request = &asked.request;
        let method = &*request.method;
        if NOT_MODERN.contains(&method) || method.starts_with("tasks/") {
            let problem = format!("`{method}` is not translated for this server");
            let id = Some(request.id_raw);
            return Ok(wire::error(StatusCode::NOT_FOUND, id, METHOD_NOT_FOUND, &problem));
        }
        match parked::continuing(request) {
            Ok(Continuing::No) => {}
            Ok(Continuing::Yes { handle, answers }) => {
                return self.go_on(&asked, &handle, answers).await;
            }
            Err(problem) => return Ok(refused(request, problem)),
        }
        let mut session = match self.session(&asked).await? {
            Ok(session) => session,
            Err(problem) => {
                return Ok(wire::error(StatusCode::OK, Some(request.id_raw), INTERNAL_ERROR, &problem));
            }
        };
        match method {
            "server/discover" => {
                let result = translate::discovered(&session.introduction);
                let message = reply::answer(request.id_raw, format!(r#""result":{result}"#).as_bytes());
                return Ok(wire::json(StatusCode::OK, message));
            }
            "subscriptions/listen" => return Ok(session.listen(request)),
            _ => {}
        }
        for attempt in 0..2 {
            set_level(&session, request).await;
            let exchange = match Exchange::begin(&self, &session, &asked) {
                Ok(exchange) => exchange,
                Err(problem) => return Ok(refused(request, problem)),
            };
            match exchange.first(request.id_raw).await? {
                Outcome::Response(response) => return Ok(response),
                // By the protocol it has not looked at the call. A session that was lost in the middle of one is answered
                // in the same way, so nobody knows.
                Outcome::SessionEnded if method == TOOLS_CALL => {
                    let problem = "the tool server answered that the session has ended";
                    return Err(SendError::new(Reached::Maybe, problem));
                }
                Outcome::SessionEnded if attempt == 0 => {
                    session = match self.session(&asked).await? {
                        Ok(session) => session,
                        Err(_) => break,
                    };
                }
                Outcome::SessionEnded => break,
            }
        }
        let problem = "The tool server has ended its session. This request was not carried out there.";
        Ok(wire::json(StatusCode::OK, wire::failed(request.id_raw, method, true, problem)))
    }

    /// The upstream session of whoever asks. The inner error is why there is none.
    async fn session(
        self: &Arc<Self>,
        asked: &Checked<'_>,
    ) -> Result<Result<Arc<Session>, String>, SendError> {
        let Some(slot) = self.sessions.slot(&asked.principal, &asked.client) else {
            return Ok(Err("too many clients have a session with this server".into()));
        };
        let mut kept = slot.lock().await;
        if let Some(session) = &*kept
            && session.is_alive().await
        {
            return Ok(Ok(Arc::clone(session)));
        }
        *kept = None;
        let opened = Session::open(self, &asked.principal, &asked.client, &asked.headers).await;
        // Nothing of the request itself was sent.
        match opened.map_err(|error| SendError::new(Reached::Nobody, error))? {
            Ok(session) => {
                *kept = Some(Arc::clone(&session));
                Ok(Ok(session))
            }
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// Goes on with a request that waits for its client's answers.
    async fn go_on(&self, asked: &Checked<'_>, handle: &str, answers: Option<String>) -> Sent {
        let request = &asked.request;
        let Some(parked) = self.parked.take(handle, &asked.principal, request) else {
            return Ok(refused(request, "`params.requestState` is not known here, or no longer"));
        };
        parked.exchange.go_on(request.id_raw, parked.questions, answers.as_deref()).await
    }
}

/// The level that a request names is the session's from now on.
async fn set_level(session: &Session, request: &Request<'_>) {
    if let Some(level) = request.meta(LEVEL_KEY)
        && wire::is_capable(&session.introduction.capabilities, &["logging"])
    {
        session.set_level(level).await;
    }
}

fn refused(request: &Request<'_>, problem: &str) -> Response<UpstreamBody> {
    wire::error(StatusCode::OK, Some(request.id_raw), INVALID_PARAMS, problem)
}

/// Whether a message is of a client without a handshake.
fn is_modern(headers: &HeaderMap, said: &Said<'_>) -> bool {
    if headers.contains_key(SESSION_ID) {
        return false;
    }
    let by_header =
        headers.get(PROTOCOL_VERSION).is_some_and(|version| version.as_bytes() >= FIRST_STATELESS.as_bytes());
    by_header || matches!(said, Said::Request(request) if request.meta(VERSION_KEY).is_some())
}

/// What a server of that era must refuse, it refuses here.
fn checked(
    request: Request<'_>,
    principal: Principal,
    headers: HeaderMap,
) -> Result<Checked<'_>, Box<Response<UpstreamBody>>> {
    let id = Some(request.id_raw);
    let bad =
        |code: i32, problem: &str| Err(Box::new(wire::error(StatusCode::BAD_REQUEST, id, code, problem)));
    if request.params().is_err() {
        return bad(INVALID_REQUEST, "`params` has no single reading");
    }
    let named = request.name();
    let name_agrees = match single(&headers, &NAME).map(|name| name.map(decoded)) {
        Ok(None) => named.is_none(),
        Ok(Some(name)) => named.is_none() || name.as_deref() == named.as_deref(),
        Err(()) => false,
    };
    let version = request.meta(VERSION_KEY).and_then(|raw| serde_json::from_str::<String>(raw).ok());
    let version_agrees = match (single(&headers, &PROTOCOL_VERSION), &version) {
        (Ok(Some(header)), Some(version)) => header == version,
        (Ok(Some(_)), None) => true,
        (Ok(None) | Err(()), _) => false,
    };
    let method_agrees = single(&headers, &METHOD) == Ok(Some(&*request.method));
    let disagreeing =
        [(method_agrees, "Mcp-Method"), (name_agrees, "Mcp-Name"), (version_agrees, "MCP-Protocol-Version")];
    if let Some((_, header)) = disagreeing.iter().find(|(agrees, _)| !agrees) {
        return bad(HEADER_MISMATCH, &format!("the {header} header does not agree with the body"));
    }
    let capabilities = request.meta(CAPABILITIES_KEY).filter(|raw| raw.starts_with('{'));
    let (Some(version), Some(capabilities)) = (version, capabilities) else {
        let problem = "`params._meta` must state the protocol version and the client's capabilities";
        return bad(INVALID_PARAMS, problem);
    };
    if version != FIRST_STATELESS {
        let data = serde_json::json!({ "supported": [FIRST_STATELESS], "requested": version });
        let error = serde_json::json!({ "code": UNSUPPORTED_VERSION, "message": "this protocol version is not supported", "data": data });
        let message = reply::answer(request.id_raw, format!(r#""error":{error}"#).as_bytes());
        return Err(Box::new(wire::json(StatusCode::BAD_REQUEST, message)));
    }
    let Some(client) = Client::new(request.meta(CLIENT_KEY), capabilities) else {
        return bad(INVALID_PARAMS, "`params._meta` cannot be read");
    };
    let streams = accepts_stream(&headers);
    Ok(Checked { request, principal, client, headers: wire::outbound(headers), streams })
}
