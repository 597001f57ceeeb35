//! One tool call on its way from the client, through the kernel, to the server.

use super::{
    Proxy,
    agreement::{self, Disagreement, Need},
    authenticated,
    body::{self, ProxyBody},
    checks, early,
    own::Own,
    run::{self, Running},
    session::{Held, Registered, Session},
};
use crate::{
    catalog::{AtServer, Tool},
    guard::{Answer, Reading, Terms},
    message::{CallFrame, CallMessage, Reason},
    more::{Leg, Questions},
    progress::{OnHold, Sight},
    reply::{self, Ended},
    tasks::{Stored, run_id},
    upstream::{Kept, SendError, UpstreamBody},
    waiting::{Client, Comeback, GoesOn, Later, Waiting},
};
use bytes::Bytes;
use holdpoint_core::{
    Arguments, Caller, Completion, Delivery, PermittedCall, Rejection, StoredResult, TaskId, ToolCall,
};
use holdpoint_tower::{Adapter, Attended, GateLayer};
use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tower_layer::Layer as _;
use tower_service::Service;

pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Outcome, Infallible>> + Send>>;

/// What came of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The server's answer, as it comes.
    Upstream(Response<UpstreamBody>),
    /// The same, for a call whose outcome is recorded.
    Running(Running),
    /// A message of our own.
    Ours(Vec<u8>),
    /// An answer that was kept.
    Kept(Vec<u8>, Delivery),
    /// No answer from the server.
    NoAnswer(SendError),
}

/// The only door to the server for a tool call.
#[derive(Clone, Debug)]
struct Dispatch(Arc<Outbound>);

#[derive(Debug)]
struct Outbound {
    proxy: Arc<Proxy>,
    frame: Arc<CallFrame>,
    headers: ClientHeaders,
    held: Option<Arc<Held>>,
    questions: Questions,
}

/// The client's headers, stripped, until the call runs. A permit is for one request, so they are taken once.
#[derive(Clone, Debug)]
struct ClientHeaders(Arc<Mutex<HeaderMap>>);

impl ClientHeaders {
    fn new(headers: HeaderMap) -> Self {
        Self(Arc::new(Mutex::new(headers)))
    }

    fn take(&self) -> HeaderMap {
        std::mem::take(&mut *self.lock())
    }

    /// For a call that waits: as they came, they are a part of the connection's buffer, which would be kept for as long.
    fn detach(&self) {
        let mut headers = self.lock();
        *headers = checks::owned(&headers);
    }

    fn lock(&self) -> MutexGuard<'_, HeaderMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug)]
struct Told {
    frame: Arc<CallFrame>,
    later: Option<Arc<Later>>,
}

impl Adapter<Outcome> for Told {
    fn reject(&self, rejection: &Rejection) -> Outcome {
        let later = self.later.as_ref().and_then(|later| later.answer(&self.frame, rejection));
        Outcome::Ours(later.unwrap_or_else(|| reply::rejected(&self.frame, rejection)))
    }

    fn replay(&self, result: StoredResult, delivery: Delivery) -> Outcome {
        Outcome::Kept(reply::replayed(&self.frame, &result), delivery)
    }
}

impl Service<PermittedCall> for Dispatch {
    type Response = Outcome;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, permitted: PermittedCall) -> Answering {
        let outbound = Arc::clone(&self.0);
        let (call, _receipt, completion) = permitted.into_parts();
        Box::pin(async move { Ok(outbound.run(&call, completion).await) })
    }
}

impl Outbound {
    async fn run(&self, call: &ToolCall, completion: Completion) -> Outcome {
        let begun = self.held.as_ref().is_none_or(|held| held.begin());
        let arguments = call.arguments.raw().map(|raw| &**raw);
        let bytes = self.frame.with_arguments(arguments).filter(|_| begun);
        let Some(bytes) = bytes else {
            let ended = if begun { Ended::NotSent } else { Ended::Cancelled };
            // Whoever rides along has not cancelled anything.
            let told = reply::fragment_of(&self.frame, &Ended::NotSent);
            completion.unsent(StoredResult::new(told)).await;
            return Outcome::Ours(reply::ended(&self.frame, &ended));
        };
        let mut headers = self.headers.take();
        if completion.is_recorded() {
            // What is recorded has to be read here.
            headers.remove(header::ACCEPT_ENCODING);
            let (upstream, frame) = (self.proxy.upstream.clone(), Arc::clone(&self.frame));
            let calls = &self.proxy.calls;
            let principal = call.principal.clone();
            let sending = async move { upstream.send(&principal, Method::POST, headers, bytes).await };
            let (proxy, questions) = (Arc::clone(&self.proxy), self.questions.clone());
            let reading = run::Reading { proxy, frame, questions, principal: call.principal.clone() };
            return Outcome::Running(Running::start(calls, sending, reading, completion));
        }
        match self.proxy.upstream.send(&call.principal, Method::POST, headers, bytes).await {
            Ok(response) => Outcome::Upstream(response),
            Err(error) => Outcome::NoAnswer(error),
        }
    }
}

impl Proxy {
    pub(super) async fn call(
        self: &Arc<Self>,
        mut parts: Parts,
        bytes: &Bytes,
        message: &CallMessage<'_>,
        session: Arc<Session>,
        task: TaskId,
    ) -> Response<ProxyBody> {
        let principal = session.principal();
        if let Some((call, tool)) = self.options.guard.at_once(message, &session.catalog, principal, &task) {
            let frame = Arc::new(message.frame(bytes.clone()));
            if let Some(tool) = tool
                && let Err(found) = self.params_agree(&parts.headers, &frame, &tool, &call.arguments)
            {
                let refused = reply::error(Some(&frame.id_raw), found.code, &found.problem);
                return body::json(StatusCode::BAD_REQUEST, refused);
            }
            checks::strip_request(&mut parts.headers);
            let answering = self.ask(&frame, ClientHeaders::new(parts.headers), None, None, call.into());
            return match answering.await {
                Ok(outcome) => self.respond(outcome, &session).await,
                Err(never) => match never {},
            };
        }
        // A copy: the bytes are a part of the connection's buffer, which would be kept for as long as the call is held.
        let bytes = Bytes::copy_from_slice(bytes);
        let client = Client::of_call(message, session.client());
        let reading = match Reading::of(&self.options.guard, message, bytes, task, client) {
            Ok(reading) => reading,
            Err(answer) => return body::json(StatusCode::OK, answer),
        };
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return body::json(StatusCode::OK, reply::ended(&reading.frame, &Ended::Busy));
        };
        // In a box, so that calls that pass need not carry the room for this.
        Box::pin(self.call_with_care(parts, reading, session, slot)).await
    }

    /// Whether the headers repeat the arguments that the tool wants repeated.
    fn params_agree(
        &self,
        headers: &HeaderMap,
        frame: &CallFrame,
        tool: &Tool,
        arguments: &Arguments,
    ) -> Result<(), Disagreement> {
        let need = if frame.modern { Need::Must } else { Need::MayBeMissing };
        agreement::of_params(headers, (need, self.upstream.comparer()), tool, arguments)
    }

    /// A call that may have to wait for something.
    async fn call_with_care(
        self: &Arc<Self>,
        mut parts: Parts,
        mut reading: Reading,
        session: Arc<Session>,
        slot: tokio::sync::OwnedSemaphorePermit,
    ) -> Response<ProxyBody> {
        let frame = Arc::clone(&reading.frame);
        let streams = checks::accepts_stream(&parts.headers);
        let kept = self.server.keep(&parts.headers);
        let (registered, interest) = session.register(&frame);
        let protocol = std::mem::take(&mut reading.protocol);
        let source = Arc::new(Own::new(&self.upstream, session.principal(), &parts.headers, protocol));
        let guard = &self.options.guard;
        let (client, comeback) = (reading.client.clone(), reading.comeback.clone());
        let read = reading.into_call(guard, &session.catalog, &*source, session.principal()).await;
        let (call, tool) = match read {
            Ok(read) => read,
            Err(Answer { status, message }) => {
                let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                return body::json(status.unwrap_or(StatusCode::OK), message);
            }
        };
        if let Some(tool) = tool
            && let Err(found) = self.params_agree(&parts.headers, &frame, &tool, &call.arguments)
        {
            let refused = reply::error(Some(&frame.id_raw), found.code, &found.problem);
            return body::json(StatusCode::BAD_REQUEST, refused);
        }
        checks::strip_request(&mut parts.headers);
        // It may have to go on in a stream of ours.
        parts.headers.remove(header::ACCEPT_ENCODING);
        let (waited, goes_on) = Comeback::sorted(comeback);
        let terms = guard.terms(&call, &client, waited.as_ref(), &frame).await;
        let Terms { waiting, patience, at_most, later } = match terms {
            Ok(terms) => terms,
            Err(answer) => return body::json(StatusCode::OK, answer),
        };
        let held = Arc::clone(&registered.held);
        let (sight, seen) = Sight::pair(end_early(later.clone(), Arc::clone(&held)));
        let server = Arc::new(AtServer { catalog: Arc::clone(&session.catalog), source });
        let caller = Caller {
            patience,
            at_most: authenticated::at_most(&parts.extensions, at_most),
            interest,
            definitions: Some(Arc::clone(&server) as _),
            onlooker: Some(Arc::new(sight)),
            standing: self.options.standing.clone(),
            probe: Some(Arc::clone(&server) as _),
        };
        let stored = task_for(waiting, &frame, &parts.headers).filter(|_| goes_on.is_none());
        let headers = ClientHeaders::new(parts.headers);
        let answering = if let Some(comeback) = goes_on {
            self.go_on(&frame, headers.clone(), Arc::clone(&held), call, caller, comeback)
        } else if let Some(stored) = stored {
            let (headers, held) = (checks::owned(&headers.take()), Arc::clone(&held));
            self.ask_for_task(&frame, headers, held, call, caller, &session, server, stored)
        } else {
            let attended = Attended { call, caller: Some(caller) };
            self.ask(&frame, headers.clone(), Some(Arc::clone(&held)), later, attended)
        };
        let mut deciding = Deciding {
            answering: Some(answering),
            held,
            headers,
            modern: frame.modern,
            calls: self.calls.clone(),
            _kept: (registered, slot, kept),
        };
        tokio::select! {
            biased;
            outcome = &mut deciding => return self.respond(outcome, &session).await,
            () = tokio::time::sleep(self.options.early) => {}
        }
        deciding.headers.detach();
        if !streams || !deciding.held.is_waiting() {
            // Decided: what takes its time now is the server, and its answer passes untouched. Or there is no other way.
            let outcome = (&mut deciding).await;
            return self.respond(outcome, &session).await;
        }
        early::open(deciding, frame, seen, self.options.answer_bytes_max)
    }

    fn ask(
        self: &Arc<Self>,
        frame: &Arc<CallFrame>,
        headers: ClientHeaders,
        held: Option<Arc<Held>>,
        later: Option<Arc<Later>>,
        attended: Attended,
    ) -> Answering {
        let (proxy, frame) = (Arc::clone(self), Arc::clone(frame));
        let told = Told { frame: Arc::clone(&frame), later };
        let questions = Questions::of_first(&frame);
        let dispatch = Dispatch(Arc::new(Outbound { proxy, frame, headers, held, questions }));
        let gate = Arc::clone(&self.options.guard.gate);
        Box::pin(GateLayer::new(gate, told).layer(dispatch).oneshot(attended))
    }

    /// Goes on with a run whose server asked for what this request brings.
    fn go_on(
        self: &Arc<Self>,
        frame: &Arc<CallFrame>,
        headers: ClientHeaders,
        held: Arc<Held>,
        call: ToolCall,
        caller: Caller,
        comeback: GoesOn,
    ) -> Answering {
        let (proxy, frame) = (Arc::clone(self), Arc::clone(frame));
        Box::pin(async move {
            let guard = &proxy.options.guard;
            Ok(match guard.go_on(call, caller, &comeback, &frame).await {
                Ok(Leg { permitted, frame, questions }) => {
                    let proxy = Arc::clone(&proxy);
                    let outbound = Outbound { proxy, frame, headers, held: Some(held), questions };
                    dispatch(outbound, permitted).await
                }
                Err(answer) => Outcome::Ours(answer),
            })
        })
    }

    /// The answer where no stream was opened.
    async fn respond(&self, outcome: Outcome, session: &Session) -> Response<ProxyBody> {
        match outcome {
            Outcome::Upstream(response) => body::pass(response, Some(&session.catalog)),
            Outcome::Running(running) => running.respond().await,
            Outcome::Ours(message) => body::json(StatusCode::OK, message),
            Outcome::Kept(message, delivery) => Running::kept(message, delivery).respond().await,
            Outcome::NoAnswer(error) => self.unreachable(&error),
        }
    }
}

/// A client that is to be shown a link hears of it as soon as its call is held; nobody waits then, and the hold stays.
fn end_early(later: Option<Arc<Later>>, held: Arc<Held>) -> OnHold {
    Box::new(move |hold| {
        if later.as_ref().is_some_and(|later| later.shows(hold.review_url.as_deref())) {
            held.gone();
        }
    })
}

/// Sends a call that runs for a task.
pub(super) async fn dispatched(
    proxy: &Arc<Proxy>,
    frame: &Arc<CallFrame>,
    headers: HeaderMap,
    permitted: PermittedCall,
) -> Outcome {
    let (proxy, frame, headers) = (Arc::clone(proxy), Arc::clone(frame), ClientHeaders::new(headers));
    dispatch(Outbound { proxy, frame, headers, held: None, questions: Questions::Pass }, permitted).await
}

/// Sends a call that its client waits for.
pub(super) async fn dispatched_for(
    proxy: &Arc<Proxy>,
    frame: &Arc<CallFrame>,
    headers: HeaderMap,
    held: Arc<Held>,
    permitted: PermittedCall,
) -> Outcome {
    let questions = Questions::of_first(frame);
    let (proxy, frame, headers) = (Arc::clone(proxy), Arc::clone(frame), ClientHeaders::new(headers));
    dispatch(Outbound { proxy, frame, headers, held: Some(held), questions }, permitted).await
}

async fn dispatch(outbound: Outbound, permitted: PermittedCall) -> Outcome {
    match Dispatch(Arc::new(outbound)).oneshot(permitted).await {
        Ok(outcome) => outcome,
        Err(never) => match never {},
    }
}

/// What is kept of a call that waits as a task; `None`: it waits in another way.
fn task_for(waiting: Waiting, frame: &CallFrame, headers: &HeaderMap) -> Option<Stored> {
    match waiting {
        Waiting::Task => Stored::new(frame, &run_id(), headers),
        Waiting::Hold { .. } | Waiting::Bounded { .. } | Waiting::Legs { .. } => None,
    }
}

/// A call that is being decided. Dropped before that, its client has left: in the stateless era that withdraws the
/// call, and in either era the kernel is given the time to note it.
pub(super) struct Deciding {
    answering: Option<Answering>,
    pub(super) held: Arc<Held>,
    headers: ClientHeaders,
    modern: bool,
    pub(super) calls: TaskTracker,
    _kept: (Registered, tokio::sync::OwnedSemaphorePermit, Option<Kept>),
}

impl Deciding {
    /// The client has left.
    pub(super) fn abandon(&self) {
        if self.modern {
            self.held.give_up(Reason::Withdrawn);
        } else {
            self.held.gone();
        }
    }
}

impl Future for Deciding {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Some(answering) = &mut self.answering else {
            return Poll::Pending;
        };
        match answering.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(outcome)) => {
                self.answering = None;
                Poll::Ready(outcome)
            }
            Poll::Ready(Err(never)) => match never {},
        }
    }
}

impl Drop for Deciding {
    fn drop(&mut self) {
        if !self.held.is_waiting() {
            return;
        }
        self.abandon();
        self.headers.detach();
        if let Some(answering) = self.answering.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.calls.spawn_on(answering, &runtime);
        }
    }
}

pub(super) type Seen = watch::Receiver<Option<String>>;
