//! HTTP to HTTP: a streaming reverse proxy that opens POST bodies and nothing else.
//!
//! # Rules
//! 1. Requests and responses cross with their own bodies, byte for byte. Hop-by-hop headers stay on their hop.
//! 2. The client's `Authorization` and `Cookie` never reach the server; the configured headers do.
//! 3. `Host` and `Origin` must name us (DNS rebinding: CVE-2025-66414 and kin), else 403.
//! 4. A body that we would read differently than the server is refused: encoded, in another character set, or with
//!    headers that name another method or tool.
//! 5. Everything that owes a 4xx is answered before a stream is opened. If the decision takes longer than a second, the
//!    stream is opened, with a comment every 15 seconds, since clients and proxies give up on silence.
//! 6. A closed stream cancels a call of the stateless era, in each of its legs; a leg that has ended is no stream any more. In the handshake era it does not: the hold stays open, and
//!    the same call sent again joins it.
//! 7. A request is sent once. Only one of which no byte went out, on a connection that had been closed, is sent on
//!    another. Redirects are not followed.
//! 8. Who wants to stop closes the [`holdpoint_core::Gate`], waits for [`HttpProxy::drain`], and then for the connections.
//! 9. A batch with tool calls in it is taken apart, where the revision has batches (2025-03-26): each call is one by itself.
//! 10. There is no request without an [`Authenticated`] caller, and none is made up here. A session, a hold and a kept result
//!     are for the caller that they came from. A stream that answers no call ends when what it was opened with is worth
//!     nothing any more.
//!
//! # Not guaranteed
//! That "delivered" means that the client has it: the last bytes were given to its connection.
//!
//! That headers of the client's own are what was approved: they pass, but for names with `_`, and neither the digest nor the reviewer sees them. A
//! server must not let them change what a tool does. Only those in which a tool wants to see its parameters (`x-mcp-header`)
//! are compared with the arguments.

mod agreement;
mod authenticated;
mod batch;
mod body;
mod call;
mod checks;
mod early;
mod leash;
mod own;
mod rewrite;
mod run;
mod session;
mod sse;
mod tasks;

pub(crate) use agreement::is_stateless;
pub use authenticated::Authenticated;
pub use body::ProxyBody;
pub(crate) use body::{Cut, collect_answer, collect_text, is_stream, json_headers, stream_headers};
pub(crate) use checks::{Refusal, accepts_stream, decoded, encoded, session_id, single};
pub(crate) use own::answer_in;
pub(crate) use sse::{Event, Events, StreamError, message as event};

use self::rewrite::Rewrite;
use crate::{
    Era, Guard,
    catalog::Schemas,
    message::{self, CallMessage, Cancellation, INVALID_REQUEST, Message, Refused, Single},
    reply,
    tasks::{Tasks, without_our_tasks},
    upstream::{SendError, ServerAddress, ServerAddressError, Upstream},
    waiting::{Client, Comeback},
};
use agreement::Disagreement;
use bytes::Bytes;
use checks::Names;
use holdpoint_core::{Principal, Standing, TaskId};
use http::{Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use leash::Leash;
use session::{Session, Sessions};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// One server over HTTP.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Who decides.
    pub guard: Guard,
    /// Where the server is.
    pub server: ServerAddress,
    /// Which era of MCP it speaks, where clients of the other one are to be translated.
    pub era: Era,
    /// The task of calls that name none, outside sessions.
    pub task: TaskId,
    /// Names beside the loopback ones by which clients may call us.
    pub hosts: Vec<String>,
    /// Origins beside loopback ones from which pages may call us, as `https://name`.
    pub origins: Vec<String>,
    /// The largest body that is taken.
    pub body_bytes_max: usize,
    /// The largest answer that is carried for a held call.
    pub answer_bytes_max: usize,
    /// How many tool calls may be under way that do not pass at once.
    pub calls_max: usize,
    /// After this a call that waits gets its stream.
    pub early: Duration,
    /// Says whether a caller may still call; `None`: that cannot change.
    pub standing: Option<Arc<dyn Standing>>,
}

impl HttpOptions {
    /// The usual limits, loopback only.
    #[must_use]
    pub fn new(guard: Guard, server: impl Into<ServerAddress>, task: TaskId) -> Self {
        Self {
            guard,
            server: server.into(),
            era: Era::Auto,
            task,
            hosts: Vec::new(),
            origins: Vec::new(),
            body_bytes_max: 4 << 20,
            answer_bytes_max: 16 << 20,
            calls_max: 1_024,
            early: Duration::from_secs(1),
            standing: None,
        }
    }
}

/// A server over HTTP behind the kernel. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpProxy(Arc<Proxy>);

#[derive(Debug)]
struct Proxy {
    options: HttpOptions,
    names: Names,
    /// What is asked.
    upstream: Upstream,
    /// What runs: the same, without what translates for it.
    server: Upstream,
    sessions: Sessions,
    slots: Arc<tokio::sync::Semaphore>,
    /// Calls under way, until their answers were taken.
    calls: TaskTracker,
    /// Calls whose clients do not wait.
    tasks: Arc<Tasks>,
}

/// Tells requests that a page of a stranger may be behind. For what is served beside the proxies.
#[derive(Clone, Debug)]
pub struct StrangerCheck(Arc<Names>);

impl StrangerCheck {
    /// `hosts`: the names beside the loopback ones that we answer to.
    #[must_use]
    pub fn new(hosts: &[String]) -> Self {
        Self(Arc::new(Names::new(hosts, &[])))
    }

    /// What a request is told that names a host or origin that is not ours.
    pub fn refuse<B>(&self, request: &Request<B>) -> Option<Response<ProxyBody>> {
        self.0.check(request).err().map(Into::into)
    }
}

impl HttpProxy {
    /// A proxy for one server; nothing is connected yet.
    ///
    /// # Errors
    /// The server's address cannot be worked with.
    pub fn new(options: HttpOptions) -> Result<Self, ServerAddressError> {
        let server = Upstream::new(options.server.clone(), &options.guard.server)?;
        let upstream = server.clone().bridged(options.era);
        let names = Names::new(&options.hosts, &options.origins);
        let sessions = Sessions::new(options.guard.clone(), Arc::new(Schemas::default()));
        let slots = Arc::new(tokio::sync::Semaphore::new(options.calls_max));
        let calls = TaskTracker::new();
        let tasks = Arc::new(Tasks::new(options.guard.clone(), calls.clone()));
        Ok(Self(Arc::new(Proxy { options, names, upstream, server, sessions, slots, calls, tasks })))
    }

    /// Resolves when no call is under way: what ran has been answered and recorded, and what was held has been told to come
    /// back later. For the time after [`holdpoint_core::Gate::close`]: before that, calls that are held are under way. A
    /// client may be slow to take its answer, so the caller decides how long to wait.
    pub async fn drain(&self) {
        let calls = &self.0.calls;
        calls.close();
        calls.wait().await;
    }

    /// Ends the server's processes in order, where they are ours, and resolves when none is left. For the time after
    /// [`Self::drain`]: what they have not answered by now is lost. Whoever drops the last clone without this ends them as
    /// well, but does not see it.
    pub async fn stop(&self) {
        self.0.server.stop().await;
    }

    /// What a request is told that names a host or origin that is not ours. [`HttpProxy::serve`] looks by itself: this is for
    /// what is served beside it.
    pub fn refuse_stranger<B>(&self, request: &Request<B>) -> Option<Response<ProxyBody>> {
        self.0.names.check(request).err().map(Into::into)
    }

    /// Answers one request of `caller` to the server's endpoint, whatever its path.
    pub async fn serve<B>(&self, mut request: Request<B>, caller: Authenticated) -> Response<ProxyBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let proxy = &self.0;
        if let Err(refused) = proxy.names.check(&request) {
            return refused.into();
        }
        let until = caller.until();
        let principal = caller.admit(request.extensions_mut());
        let session = match checks::session_id(request.headers()).map(|id| proxy.sessions.of(id, &principal))
        {
            Ok(Some(session)) => session,
            Ok(None) => return body::plain(StatusCode::NOT_FOUND, "this session belongs to somebody else\n"),
            Err(refused) => return refused.into(),
        };
        session.note_epoch(proxy.server.epoch());
        match *request.method() {
            Method::POST => proxy.post(request, session, until).await,
            Method::GET | Method::DELETE => {
                let (parts, _) = request.into_parts();
                if parts.method == Method::DELETE {
                    proxy.sessions.forget(&session);
                }
                let response = proxy.pass(parts, Bytes::new(), &session, None).await;
                proxy.leashed(response, &principal, until)
            }
            _ => {
                let mut refused = body::plain(StatusCode::METHOD_NOT_ALLOWED, "POST, GET or DELETE\n");
                let allowed = header::HeaderValue::from_static("POST, GET, DELETE");
                refused.headers_mut().insert(header::ALLOW, allowed);
                refused
            }
        }
    }
}

impl Proxy {
    async fn post<B>(
        self: &Arc<Self>,
        request: Request<B>,
        session: Arc<Session>,
        until: Option<Instant>,
    ) -> Response<ProxyBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        if let Err(refused) = checks::content(&parts.headers) {
            return refused.into();
        }
        let bytes = match body::collect_or_drain(body, &parts.headers, self.options.body_bytes_max).await {
            Ok(bytes) => bytes,
            Err(refused) => return refused.into(),
        };
        match message::look(&bytes) {
            Err(refused) => body::json(StatusCode::BAD_REQUEST, reply::refused(&refused)),
            Ok(Message::One(Single::Call(call))) => {
                let Some((bytes, comeback)) = Comeback::take_off(&call, &bytes) else {
                    return self.post_call(parts, &bytes, &call, session).await;
                };
                match message::call_in(&bytes) {
                    Some(mut call) => {
                        call.comeback = Some(comeback);
                        Box::pin(self.post_call(parts, &bytes, &call, session)).await
                    }
                    None => refusal(&Refused::unclear()),
                }
            }
            Ok(Message::One(single)) => {
                let principal = session.principal().clone();
                let response = Box::pin(self.post_other(parts, &bytes, &[single], session)).await;
                self.leashed(response, &principal, until)
            }
            Ok(Message::Batch(_)) if !checks::has_batches(&parts.headers) => refusal(&Refused::batches()),
            Ok(Message::Batch(batch)) => {
                if batch.has_call() {
                    return Box::pin(self.post_batch(&parts, &batch, &session)).await;
                }
                Box::pin(self.post_other(parts, &bytes, &batch.messages, session)).await
            }
        }
    }

    async fn post_other(
        self: &Arc<Self>,
        parts: Parts,
        bytes: &Bytes,
        messages: &[Single<'_>],
        session: Arc<Session>,
    ) -> Response<ProxyBody> {
        let mut for_server = messages.len() != 1;
        let mut client = None;
        for message in messages {
            let Single::Other { method, params, id } = message else {
                for_server = true;
                continue;
            };
            if let Err(found) = agreement::of_other(&parts.headers, method, id.is_some(), *params) {
                return disagreement(*id, &found);
            }
            let cancelled = (&**method == "notifications/cancelled").then_some(*params).flatten();
            for_server |= !cancelled.is_some_and(|params| withdraws(&session, params.get()));
            if method == "tools/list" {
                session.catalog.mark_stale();
            }
            if method == "initialize" {
                client = params.map(Client::of_initialize);
            }
        }
        if !for_server {
            return body::empty(StatusCode::ACCEPTED);
        }
        if let Some(denied) = self.options.guard.denied(messages) {
            // MCP 2026-07-28, transports: a method that there is not is 404.
            let stateless = is_stateless(&parts.headers);
            let status = if stateless { StatusCode::NOT_FOUND } else { StatusCode::OK };
            return match denied.answer() {
                Some(answer) => body::json(status, answer),
                None => body::empty(StatusCode::ACCEPTED),
            };
        }
        if let Some(answered) = self.about_our_task(&parts, messages, &session).await {
            return answered;
        }
        let bytes = &for_the_server(messages, bytes);
        match self.rewrite_of(messages) {
            Rewrite::Nothing => self.pass(parts, bytes.clone(), &session, client).await,
            rewrite @ (Rewrite::Discovery | Rewrite::Lists(..)) => {
                Box::pin(self.rewritten(parts, bytes.clone(), &session, rewrite)).await
            }
        }
    }

    /// A stream that answers no call ends with what it was opened with. The answer to a call that was let in is its caller's.
    fn leashed(
        &self,
        response: Response<ProxyBody>,
        principal: &Principal,
        until: Option<Instant>,
    ) -> Response<ProxyBody> {
        if !body::is_stream(response.headers()) {
            return response;
        }
        let leash = Leash::new(principal, until, self.options.standing.as_ref());
        response.map(|body| body.on(leash))
    }

    /// Only for what is not a tool call: a call needs a permit.
    async fn pass(
        &self,
        mut parts: Parts,
        bytes: Bytes,
        session: &Arc<Session>,
        client: Option<Client>,
    ) -> Response<ProxyBody> {
        checks::strip_request(&mut parts.headers);
        match self.upstream.send(session.principal(), parts.method, parts.headers, bytes).await {
            Ok(response) => {
                if let Ok(Some(id)) = checks::session_id(response.headers()) {
                    self.sessions.opened(id, session, client);
                }
                body::pass(response, Some(&session.catalog))
            }
            Err(error) => self.unreachable(&error),
        }
    }

    /// Nothing came back from the server.
    fn unreachable(&self, error: &SendError) -> Response<ProxyBody> {
        let server = &self.options.guard.server;
        tracing::warn!(%server, error = %error.chain(), "the tool server gave no answer");
        body::plain(StatusCode::BAD_GATEWAY, "the tool server gave no answer\n")
    }

    async fn post_call(
        self: &Arc<Self>,
        parts: Parts,
        bytes: &Bytes,
        call: &CallMessage<'_>,
        session: Arc<Session>,
    ) -> Response<ProxyBody> {
        if let Err(found) = agreement::of_call(&parts.headers, call) {
            return disagreement(Some(call.id_raw), &found);
        }
        let named = match checks::task(&parts.headers) {
            Ok(named) => named,
            Err(problem) => {
                let refused = reply::error(Some(call.id_raw), INVALID_REQUEST, problem);
                return body::json(StatusCode::BAD_REQUEST, refused);
            }
        };
        let task = call.meta.task.clone().or(named).or_else(|| call.meta.trace_id.clone());
        let task = task.or_else(|| session.task.clone()).unwrap_or_else(|| self.options.task.clone());
        let under_way = self.calls.token();
        self.call(parts, bytes, call, session, task).await.map(|body| body.under_way(under_way))
    }
}

/// The message, without what it says of our tasks.
fn for_the_server(messages: &[Single<'_>], bytes: &Bytes) -> Bytes {
    let listens = matches!(messages, [Single::Other { method, .. }] if method == "subscriptions/listen");
    let text = std::str::from_utf8(bytes).ok().filter(|_| listens);
    text.and_then(without_our_tasks).map_or_else(|| bytes.clone(), Bytes::from)
}

/// A cancellation of a call that the server never saw.
fn withdraws(session: &Session, params: &str) -> bool {
    Cancellation::read(params).is_some_and(|cancellation| session.cancel(&cancellation))
}

fn disagreement(id_raw: Option<&str>, found: &Disagreement) -> Response<ProxyBody> {
    body::json(StatusCode::BAD_REQUEST, reply::error(id_raw, found.code, &found.problem))
}

fn refusal(refused: &Refused<'_>) -> Response<ProxyBody> {
    body::json(StatusCode::BAD_REQUEST, reply::refused(refused))
}
