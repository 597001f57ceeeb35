//! A tool server that speaks MCP on its standard input and output, as streamable HTTP.
//!
//! # Rules
//! 1. In the handshake era each session has a child of its own. Its messages cross with their own bytes.
//! 2. All requests of the stateless era go to one child. Each gets an id, and where it has one a progress token, that no
//!    other has and nobody can guess; what comes back has the client's own again. What belongs to no request is told to
//!    nobody: two clients with equal ids never see each other's answers (CVE-2026-25536).
//! 3. A request is written once. Whether any byte of it went out is told truly; what was lost with its child is never sent
//!    to another.
//! 4. A child that ended early is started again by a later request, after a time that grows. Until then requests are
//!    refused at once.
//! 5. A stateless request is withdrawn when its client leaves; one of a session goes on.
//! 6. No child outlives us: each is ended in order, or killed with all that it started.
//!
//! # Not guaranteed
//! That children of many clients keep apart what they remember: a server that hands one caller's secrets to the next does
//! so here as well.

mod answer;
mod backoff;
mod errors;
mod launch;
mod link;
mod mailbox;
mod reading;
mod session;
mod table;

pub(crate) use answer::ChildBody;
pub use launch::{ChildLimits, Launch, Launched};
pub(crate) use session::Kept;

use super::{Reached, SendError, UpstreamBody};
use crate::{
    http::{self as http_front, Refusal},
    message::{INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR},
    protocol::SESSION_ID,
    random, reply,
};
use answer::{Form, empty, told};
use backoff::Backoff;
use bytes::Bytes;
use holdpoint_core::{Principal, ServerName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use link::{Link, NoStream, Running, Unasked};
use reading::{Kind, Malformed, Reading};
use serde_json::value::RawValue;
use session::{Opening, Sessions};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use table::Era;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// The children of one server. Cheap to clone; they end when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Children(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: ServerName,
    launch: Arc<dyn Launch>,
    limits: Arc<ChildLimits>,
    sessions: Sessions,
    /// The child of everybody who speaks the stateless revision.
    shared: Mutex<Option<Arc<Link>>>,
    shared_backoff: Arc<Backoff>,
    session_backoff: Arc<Backoff>,
    epoch: Arc<AtomicU64>,
    running: TaskTracker,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

type Answered = Result<Response<UpstreamBody>, SendError>;

impl Children {
    pub(super) fn new(server: &ServerName, launch: Arc<dyn Launch>, limits: ChildLimits) -> Self {
        let stop = CancellationToken::new();
        Self(Arc::new(Inner {
            server: server.clone(),
            launch,
            sessions: Sessions::new(limits.sessions_max),
            limits: Arc::new(limits),
            shared: Mutex::default(),
            shared_backoff: Arc::default(),
            session_backoff: Arc::default(),
            epoch: Arc::default(),
            running: TaskTracker::new(),
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
        }))
    }

    /// Ends all children in order, and resolves when none is left.
    pub(super) async fn stop(&self) {
        self.0.stop.cancel();
        self.0.running.close();
        self.0.running.wait().await;
    }

    /// Another number than before: what was read of the tools does not count any more.
    pub(super) fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }

    /// As long as this lives, the session that the headers name does not end for want of use.
    pub(super) fn keep(&self, headers: &HeaderMap) -> Option<Kept> {
        let id = http_front::session_id(headers).ok()??;
        self.0.sessions.find(id, None).map(Kept::new)
    }

    pub(super) async fn send(
        &self,
        principal: &Principal,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Answered {
        let session = match http_front::session_id(&headers) {
            Ok(session) => session,
            Err(Refusal(status, problem)) => return Ok(refusal(status, None, INVALID_REQUEST, problem)),
        };
        match method {
            Method::POST => self.post(principal, &headers, session, &body).await,
            Method::GET => Ok(self.get(principal, &headers, session)),
            Method::DELETE => Ok(self.delete(principal, session)),
            _ => Ok(not_allowed("POST, GET, DELETE")),
        }
    }

    async fn post(
        &self,
        principal: &Principal,
        headers: &HeaderMap,
        session: Option<&str>,
        body: &Bytes,
    ) -> Answered {
        let Some(form) = Form::accepted(headers) else {
            let problem = "the answer is application/json or text/event-stream";
            return Ok(refusal(StatusCode::NOT_ACCEPTABLE, None, INVALID_REQUEST, problem));
        };
        let Ok(text) = std::str::from_utf8(body) else {
            return Ok(refusal(StatusCode::BAD_REQUEST, None, PARSE_ERROR, "the message is not UTF-8"));
        };
        let parts: Vec<&RawValue> = if text.trim_ascii_start().starts_with('[') {
            serde_json::from_str(text).unwrap_or_default()
        } else {
            Vec::new()
        };
        let readings = if parts.is_empty() {
            Reading::of(text).map(|reading| vec![reading])
        } else {
            parts.iter().map(|part| Reading::of(part.get())).collect()
        };
        let readings = match readings {
            Ok(readings) => readings,
            Err(malformed) => return Ok(bad(&malformed)),
        };
        match readings.as_slice() {
            [reading] if is_stateless(reading, headers) => self.post_stateless(reading, form).await,
            [reading] if session.is_none() && reading.method() == Some("initialize") => {
                self.open(principal, reading, form).await
            }
            readings => self.post_in_session(principal, session, text, readings, form).await,
        }
    }

    async fn post_stateless(&self, reading: &Reading<'_>, form: Form) -> Answered {
        if let Err(malformed) = reading.unambiguous() {
            return Ok(bad(&malformed));
        }
        match &reading.kind {
            Kind::Request { .. } => match self.shared()?.ask(&[reading], reading.text, form.streams()) {
                Ok(exchange) => exchange.respond(form).await,
                Err(unasked) => unsent(reading, unasked),
            },
            // It would have to name a request or token of its sender's, and who that is cannot be told.
            Kind::Notification { .. } | Kind::Answer => Ok(empty(StatusCode::ACCEPTED)),
        }
    }

    async fn post_in_session(
        &self,
        principal: &Principal,
        session: Option<&str>,
        text: &str,
        readings: &[Reading<'_>],
        form: Form,
    ) -> Answered {
        let id = readings.iter().find_map(Reading::id);
        let Some(session) = session else {
            let problem = "open a session with `initialize` first, and name it in the Mcp-Session-Id header";
            return Ok(refusal(StatusCode::BAD_REQUEST, id, INVALID_REQUEST, problem));
        };
        let Some(link) = self.0.sessions.find(session, Some(principal)) else {
            return Ok(no_session(id));
        };
        let requests: Vec<_> = readings.iter().filter(|reading| reading.id().is_some()).collect();
        let sent = if requests.is_empty() {
            link.tell(text).map(|()| None)
        } else {
            link.ask(&requests, text, form.streams()).map(Some)
        };
        for cancelled in readings.iter().filter_map(Reading::cancelled) {
            link.cancelled(cancelled);
        }
        match (sent, readings) {
            (Ok(Some(exchange)), _) => exchange.respond(form).await,
            (Ok(None), _) => Ok(empty(StatusCode::ACCEPTED)),
            (Err(Unasked::Over), _) => Ok(no_session(id)),
            (Err(unasked), [reading, ..]) => unsent(reading, unasked),
            (Err(unasked), []) => Err(SendError::new(Reached::Nobody, unasked)),
        }
    }

    /// Opens a session with a child of its own.
    async fn open(&self, principal: &Principal, reading: &Reading<'_>, form: Form) -> Answered {
        let Some(slot) = self.0.sessions.slot() else {
            let problem = "there are too many sessions; try again later";
            return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, reading.id(), INTERNAL_ERROR, problem));
        };
        let id = random::secret().ok_or_else(|| SendError::new(Reached::Nobody, "there is no randomness"))?;
        let link = self.start(Era::Handshake, &self.0.session_backoff, slot)?;
        let opening = Opening::new(&self.0.sessions, id, principal, &link);
        let exchange = match link.ask(&[reading], reading.text, form.streams()) {
            Ok(exchange) => exchange,
            Err(unasked) => return unsent(reading, unasked),
        };
        let mut response = exchange.respond(form).await?;
        if let Ok(id) = HeaderValue::from_str(&opening.opened()) {
            response.headers_mut().insert(SESSION_ID, id);
        }
        Ok(response)
    }

    fn get(
        &self,
        principal: &Principal,
        headers: &HeaderMap,
        session: Option<&str>,
    ) -> Response<UpstreamBody> {
        let Some(session) = session else {
            return not_allowed("POST");
        };
        if !Form::accepted(headers).is_some_and(Form::streams) {
            let problem = "the answer is text/event-stream";
            return refusal(StatusCode::NOT_ACCEPTABLE, None, INVALID_REQUEST, problem);
        }
        let Some(link) = self.0.sessions.find(session, Some(principal)) else {
            return no_session(None);
        };
        match link.listen() {
            Ok(mailbox) => answer::general(link, mailbox),
            Err(NoStream::Over) => no_session(None),
            Err(NoStream::Taken) => {
                refusal(StatusCode::CONFLICT, None, INVALID_REQUEST, "this session has its stream already")
            }
        }
    }

    fn delete(&self, principal: &Principal, session: Option<&str>) -> Response<UpstreamBody> {
        let Some(session) = session else {
            return not_allowed("POST");
        };
        if self.0.sessions.end(session, principal) { empty(StatusCode::NO_CONTENT) } else { no_session(None) }
    }

    /// The child of the stateless era, started where it does not run.
    fn shared(&self) -> Result<Arc<Link>, SendError> {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = shared.as_ref().filter(|link| !link.is_over()) {
            return Ok(Arc::clone(link));
        }
        let link = self.start(Era::Stateless, &self.0.shared_backoff, ())?;
        *shared = Some(Arc::clone(&link));
        Ok(link)
    }

    /// Starts a child; `slot` is given back when nothing of it is left.
    fn start(
        &self,
        era: Era,
        backoff: &Arc<Backoff>,
        slot: impl Send + 'static,
    ) -> Result<Arc<Link>, SendError> {
        let inner = &self.0;
        if inner.stop.is_cancelled() {
            return Err(SendError::new(Reached::Nobody, Unasked::Over));
        }
        backoff.check().map_err(|down| SendError::new(Reached::Nobody, down))?;
        let launched = inner.launch.launch().map_err(|error| {
            backoff.failed(Duration::ZERO, &inner.limits);
            SendError::new(Reached::Nobody, error)
        })?;
        let Launched { input, output, errors, process } = launched;
        let stop = inner.stop.child_token();
        let link = Link::new(&inner.server, &inner.limits, era, input, stop, &inner.epoch);
        let idle = match era {
            Era::Handshake => Some(inner.limits.idle),
            Era::Stateless => None,
        };
        let driving = Arc::clone(&link).drive(Running { output, errors, process }, idle);
        let (backoff, limits, epoch) =
            (Arc::clone(backoff), Arc::clone(&inner.limits), Arc::clone(&inner.epoch));
        inner.running.spawn(async move {
            let started = tokio::time::Instant::now();
            let ending = driving.await;
            if !ending.told {
                backoff.failed(started.elapsed(), &limits);
            }
            // Whoever asks from now on asks another child, if any, and must not go by what this one said of its tools.
            epoch.fetch_add(1, Ordering::AcqRel);
            ending.complete().await;
            drop(slot);
        });
        Ok(link)
    }
}

/// A request that says of itself, or whose headers say, that it is of the stateless era.
fn is_stateless(reading: &Reading<'_>, headers: &HeaderMap) -> bool {
    reading.meta.version.is_some() || http_front::is_stateless(headers)
}

/// Nothing of the request went out.
fn unsent(reading: &Reading<'_>, unasked: Unasked) -> Answered {
    match unasked {
        Unasked::Over | Unasked::Busy => Err(SendError::new(Reached::Nobody, unasked)),
        Unasked::Taken => {
            Ok(refusal(StatusCode::BAD_REQUEST, reading.id(), INVALID_REQUEST, &unasked.to_string()))
        }
    }
}

fn no_session(id: Option<&str>) -> Response<UpstreamBody> {
    refusal(StatusCode::NOT_FOUND, id, INVALID_REQUEST, "there is no such session, or not any more")
}

fn bad(malformed: &Malformed) -> Response<UpstreamBody> {
    refusal(StatusCode::BAD_REQUEST, malformed.id.as_deref(), malformed.code, &malformed.problem)
}

fn refusal(status: StatusCode, id: Option<&str>, code: i32, problem: &str) -> Response<UpstreamBody> {
    told(status, reply::error(id, code, problem))
}

fn not_allowed(methods: &'static str) -> Response<UpstreamBody> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}
