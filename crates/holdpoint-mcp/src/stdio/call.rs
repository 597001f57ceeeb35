//! One tool call on its way from the client, through the kernel, to the server and back.

use super::{
    own::Own,
    session::{CallState, Session, lock},
};
use crate::{
    catalog::AtServer,
    guard::{Reading, Terms},
    message::{CallFrame, CallMessage, IdKey},
    more::{Leg, Questions},
    progress::{OnHold, Sight, TICK, waits},
    reply::{self, Ended},
    waiting::{Client, Comeback, Later, Waiting},
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use holdpoint_core::{Caller, Delivery, Interest, PermittedCall, Rejection, StoredResult, TaskId};
use holdpoint_tower::{Adapter, Attended, GateLayer};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::watch;
use tower::ServiceExt as _;
use tower_layer::Layer as _;
use tower_service::Service;

type Answering = Pin<Box<dyn Future<Output = Result<Outcome, Infallible>> + Send>>;

/// What came of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is on its way to the server, whose answer passes like everything else.
    Sent,
    /// The message to answer with.
    Ours(Vec<u8>),
    /// The server's answer, a line; and whom to tell when it is out.
    Answer(Bytes, Delivery),
    /// Withdrawn: no answer is owed.
    Silence,
}

/// The only door to the server for a tool call.
#[derive(Clone, Debug)]
struct Dispatch {
    session: Arc<Session>,
    frame: Arc<CallFrame>,
    questions: Questions,
}

#[derive(Clone, Debug)]
struct Told {
    frame: Arc<CallFrame>,
    later: Option<Arc<Later>>,
}

impl Adapter<Outcome> for Told {
    fn reject(&self, rejection: &Rejection) -> Outcome {
        if let Some(later) = self.later.as_ref().and_then(|later| later.answer(&self.frame, rejection)) {
            return Outcome::Ours(later);
        }
        match rejection {
            Rejection::Cancelled { .. } => Outcome::Silence,
            Rejection::DeniedByConfig { .. }
            | Rejection::Rejected { .. }
            | Rejection::Expired { .. }
            | Rejection::Pending { .. }
            | Rejection::ChangesRequested { .. }
            | Rejection::Unavailable { .. }
            | Rejection::TokenInvalid { .. }
            | Rejection::Mismatch { .. }
            | Rejection::Busy { .. }
            | Rejection::OutcomeUnknown { .. }
            | Rejection::AlreadyDone { .. } => Outcome::Ours(reply::rejected(&self.frame, rejection)),
        }
    }

    fn replay(&self, result: StoredResult, delivery: Delivery) -> Outcome {
        let mut line = reply::replayed(&self.frame, &result);
        line.push(b'\n');
        Outcome::Answer(line.into(), delivery)
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
        let Self { session, frame, questions } = self.clone();
        let (call, _receipt, completion) = permitted.into_parts();
        Box::pin(async move {
            Ok(if completion.is_recorded() {
                session.run_recorded(&frame, &call, completion, &questions).await
            } else {
                session.run(&frame, &call)
            })
        })
    }
}

/// Sends a call that runs.
pub(super) async fn dispatched(
    session: &Arc<Session>,
    frame: &Arc<CallFrame>,
    questions: Questions,
    permitted: PermittedCall,
) -> Outcome {
    let dispatch = Dispatch { session: Arc::clone(session), frame: Arc::clone(frame), questions };
    match dispatch.oneshot(permitted).await {
        Ok(outcome) => outcome,
        Err(never) => match never {},
    }
}

/// What the kernel refused.
pub(super) fn told(frame: &Arc<CallFrame>, rejection: &Rejection) -> Outcome {
    Told { frame: Arc::clone(frame), later: None }.reject(rejection)
}

/// What the kernel kept.
pub(super) fn replayed(frame: &Arc<CallFrame>, result: &StoredResult, delivery: Delivery) -> Outcome {
    Told { frame: Arc::clone(frame), later: None }.replay(result.clone(), delivery)
}

impl Session {
    fn ask(
        self: &Arc<Self>,
        frame: &Arc<CallFrame>,
        later: Option<Arc<Later>>,
        attended: Attended,
    ) -> Answering {
        let questions = Questions::of_first(frame);
        let dispatch = Dispatch { session: Arc::clone(self), frame: Arc::clone(frame), questions };
        let gate = Arc::clone(&self.options.guard.gate);
        Box::pin(
            GateLayer::new(gate, Told { frame: Arc::clone(frame), later }).layer(dispatch).oneshot(attended),
        )
    }

    fn task_of(&self, message: &CallMessage<'_>) -> TaskId {
        let named = message.meta.task.clone().or_else(|| message.meta.trace_id.clone());
        named.unwrap_or_else(|| self.options.task.clone())
    }

    /// A call that nobody is asked about is done with before the next line. `false`: this is not such a call.
    pub(super) fn call_at_once(self: &Arc<Self>, message: &CallMessage<'_>, line: &[u8]) -> bool {
        let task = self.task_of(message);
        let principal = &self.options.principal;
        let Some((call, _tool)) = self.options.guard.at_once(message, &self.catalog, principal, &task) else {
            return false;
        };
        let frame = Arc::new(message.frame(Bytes::copy_from_slice(line)));
        let mut answering = self.ask(&frame, None, call.into());
        match (&mut answering).now_or_never() {
            Some(Ok(Outcome::Sent | Outcome::Silence)) => {}
            Some(Ok(Outcome::Ours(message))) => self.to_client.push_message(&message),
            Some(Ok(outcome @ Outcome::Answer(..))) => {
                self.spawn_registered(&frame, |session, _| async move { session.answer(outcome).await });
            }
            // The configuration changed this moment, and now somebody is asked.
            None => self.spawn_registered(&frame, |session, _| async move {
                match answering.await {
                    Ok(outcome) => session.answer(outcome).await,
                    Err(never) => match never {},
                }
            }),
            Some(Err(never)) => match never {},
        }
        true
    }

    /// A call that has to wait for something.
    pub(super) fn call_later(self: &Arc<Self>, message: &CallMessage<'_>, line: &[u8]) {
        let task = self.task_of(message);
        let client = Client::of_call(message, lock(&self.client).as_ref());
        let bytes = Bytes::copy_from_slice(line);
        let reading = match Reading::of(&self.options.guard, message, bytes, task, client) {
            Ok(reading) => reading,
            Err(answer) => return self.to_client.push_message(&answer),
        };
        let frame = Arc::clone(&reading.frame);
        self.spawn_registered(&Arc::clone(&frame), |session, interest| async move {
            let outcome = session.decide(reading, &frame, interest).await;
            session.answer(outcome).await;
        });
    }

    /// Runs `work` beside the traffic, known under the call's id.
    fn spawn_registered<W>(
        self: &Arc<Self>,
        frame: &Arc<CallFrame>,
        work: impl FnOnce(Arc<Self>, Interest) -> W,
    ) where
        W: Future<Output = ()> + Send + 'static,
    {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return self.to_client.push_message(&reply::ended(frame, &Ended::Busy));
        };
        let (handle, interest) = Interest::pair();
        lock(&self.calls).insert(frame.id.clone(), CallState::Waiting { handle, modern: frame.modern });
        let registered = Registered { session: Arc::clone(self), id: frame.id.clone() };
        let work = work(Arc::clone(self), interest);
        self.tasks.spawn(async move {
            work.await;
            drop((registered, slot));
        });
    }

    async fn decide(
        self: &Arc<Self>,
        mut reading: Reading,
        frame: &Arc<CallFrame>,
        interest: Interest,
    ) -> Outcome {
        let (protocol, client) = (std::mem::take(&mut reading.protocol), reading.client.clone());
        let comeback = reading.comeback.clone();
        let source = Arc::new(Own { session: Arc::clone(self), protocol: protocol.clone() });
        let (guard, principal) = (&self.options.guard, &self.options.principal);
        let call = match reading.into_call(guard, &self.catalog, &*source, principal).await {
            Ok((call, _tool)) => call,
            Err(answer) => return self.unless_cancelled(frame, Outcome::Ours(answer.message)),
        };
        let (waited, goes_on) = Comeback::sorted(comeback);
        let terms = match guard.terms(&call, &client, waited.as_ref(), frame).await {
            Ok(terms) => terms,
            Err(answer) => return self.unless_cancelled(frame, Outcome::Ours(answer)),
        };
        let Terms { waiting, patience, at_most, later } = terms;
        let (sight, mut seen) = Sight::pair(self.end_early(later.clone(), frame));
        let server = Arc::new(AtServer { catalog: Arc::clone(&self.catalog), source });
        let caller = Caller {
            patience,
            at_most,
            interest,
            definitions: Some(Arc::clone(&server) as _),
            onlooker: Some(Arc::new(sight)),
            standing: self.options.standing.clone(),
            probe: Some(server),
        };
        if let Some(comeback) = goes_on {
            return match Box::pin(guard.go_on(call, caller, &comeback, frame)).await {
                Ok(Leg { permitted, frame, questions }) => {
                    Box::pin(dispatched(self, &frame, questions, permitted)).await
                }
                Err(answer) => self.unless_cancelled(frame, Outcome::Ours(answer)),
            };
        }
        match waiting {
            Waiting::Task => return Box::pin(self.ask_for_task(frame, call, caller, protocol)).await,
            Waiting::Hold { .. } | Waiting::Bounded { .. } | Waiting::Legs { .. } => {}
        }
        let mut answering = self.ask(frame, later, Attended { call, caller: Some(caller) });
        let outcome = tokio::select! {
            outcome = &mut answering => outcome,
            never = self.tell_progress(frame, &mut seen) => match never {},
        };
        if let Some(token) = &frame.progress_token {
            lock(&self.expected).progress.forget(token);
        }
        match outcome {
            Ok(outcome) => self.unless_cancelled(frame, outcome),
            Err(never) => match never {},
        }
    }

    /// A client that is to be shown a link hears of it as soon as its call is held; nobody waits then, and the hold stays.
    fn end_early(self: &Arc<Self>, later: Option<Arc<Later>>, frame: &Arc<CallFrame>) -> OnHold {
        let (session, id) = (Arc::clone(self), frame.id.clone());
        Box::new(move |hold| {
            if later.as_ref().is_some_and(|later| later.shows(hold.review_url.as_deref()))
                && let Some(CallState::Waiting { handle, .. }) = lock(&session.calls).get(&id)
            {
                handle.gone();
            }
        })
    }

    fn unless_cancelled(&self, frame: &CallFrame, outcome: Outcome) -> Outcome {
        let calls = lock(&self.calls);
        if matches!(calls.get(&frame.id), Some(CallState::Cancelled)) { Outcome::Silence } else { outcome }
    }

    /// Tells a client that wants to know that its call waits; while the tool runs, the tool does.
    async fn tell_progress(
        &self,
        frame: &CallFrame,
        seen: &mut watch::Receiver<Option<String>>,
    ) -> Infallible {
        let Some(token) = &frame.progress_token else {
            return std::future::pending().await;
        };
        let mut text = waits(seen).await;
        loop {
            if self.is_waiting(&frame.id) {
                if let Some(step) = lock(&self.expected).progress.step(token, &text) {
                    self.to_client.push_message(&step);
                }
                let _client_may_be_gone = self.to_client.flush().await;
            }
            tokio::select! {
                later = waits(seen) => text = later,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    fn is_waiting(&self, id: &IdKey) -> bool {
        matches!(lock(&self.calls).get(id), Some(CallState::Waiting { .. }))
    }

    async fn answer(&self, outcome: Outcome) {
        match outcome {
            Outcome::Sent => {
                // Calls that were allowed in the same moment leave in one write.
                tokio::task::yield_now().await;
                let _server_may_be_gone = self.server.flush().await;
            }
            Outcome::Silence => {}
            Outcome::Ours(message) => {
                self.to_client.push_message(&message);
                let _client_may_be_gone = self.to_client.flush().await;
            }
            Outcome::Answer(line, delivery) => {
                self.to_client.push(&line);
                if self.to_client.settle().await.is_ok() {
                    delivery.delivered().await;
                }
            }
        }
    }
}

/// Forgets a call when its task ends, however it ends.
struct Registered {
    session: Arc<Session>,
    id: IdKey,
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.session.calls).remove(&self.id);
    }
}
