//! Tasks on a pipe: how their calls reach the server, and the messages about them that are not the server's.
//!
//! A call runs for its task under an id of our own: the client takes its own for answered, and whatever the server says
//! under ours is not for the client.

use super::{
    call::{self, Outcome},
    own::Own,
    session::{Session, lock},
};
use crate::{
    catalog::AtServer,
    guard::{self, Offer},
    message::{self, CallFrame, IdKey, Message, Object, Single, text_of},
    more::Questions,
    reply::{self, Ended},
    tasks::{self, Line, Opened, OwnRequest, Ran, Stored, TaskRequest, is_of_a_run, run_id},
};
use async_trait::async_trait;
use bytes::Bytes;
use holdpoint_core::{Admission, Caller, Definitions, PermittedCall, Probe, Standing, ToolCall};
use http::HeaderMap;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The way to the server on this pipe.
#[derive(Debug)]
struct PipeLine {
    session: Arc<Session>,
    own: Arc<Own>,
    server: Arc<AtServer>,
}

#[async_trait]
impl Line for PipeLine {
    async fn run(&self, permitted: PermittedCall, frame: Arc<CallFrame>) -> Ran {
        let ran = match call::dispatched(&self.session, &frame, Questions::Pass, permitted).await {
            Outcome::Answer(line, delivery) => Ran::read(&line, Some(delivery)),
            Outcome::Ours(message) => Ran::read(&message, None),
            // Not for calls whose outcome is recorded, as that of a held one is, and that nobody on the pipe can cancel.
            Outcome::Sent | Outcome::Silence => None,
        };
        ran.unwrap_or_else(|| Ran { fragment: reply::lost_fragment(&frame), delivery: None })
    }

    async fn ask(&self, request: OwnRequest) -> Option<Vec<u8>> {
        let OwnRequest { verb, params, .. } = request;
        let message = |id: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"{}","params":{params}}}"#, verb.method())
                .into_bytes()
        };
        reply::fragment_from(&self.own.ask(message).await.ok()?)
    }

    fn definitions(&self) -> Arc<dyn Definitions> {
        Arc::clone(&self.server) as _
    }

    fn probe(&self) -> Arc<dyn Probe> {
        Arc::clone(&self.server) as _
    }

    fn standing(&self) -> Option<Arc<dyn Standing>> {
        self.session.options.standing.clone()
    }
}

impl Session {
    fn line(self: &Arc<Self>, protocol: String) -> Arc<dyn Line> {
        let own = Arc::new(Own { session: Arc::clone(self), protocol });
        let source = Arc::clone(&own) as _;
        let server = Arc::new(AtServer { catalog: Arc::clone(&self.catalog), source });
        Arc::new(PipeLine { session: Arc::clone(self), own, server })
    }

    /// Asks about a call that becomes a task where it has to wait.
    pub(super) async fn ask_for_task(
        self: &Arc<Self>,
        frame: &Arc<CallFrame>,
        call: ToolCall,
        caller: Caller,
        protocol: String,
    ) -> Outcome {
        let Some(stored) = Stored::new(frame, &run_id(), &HeaderMap::new()) else {
            return Outcome::Ours(reply::ended(frame, &Ended::NotSent));
        };
        match self.deferred.propose(call, caller, frame, stored, self.line(protocol)).await {
            Opened::Task(message) => Outcome::Ours(message),
            Opened::Refused(rejection) => call::told(frame, &rejection),
            Opened::Admitted(Admission::Replay(result, delivery)) => call::replayed(frame, &result, delivery),
            Opened::Admitted(Admission::Run(permitted)) => {
                let questions = Questions::of_first(frame);
                call::dispatched(self, frame, questions, permitted).await
            }
        }
    }

    /// Whether a message is about a task of ours; it is answered beside the traffic.
    pub(super) fn is_about_our_task(self: &Arc<Self>, message: &Single<'_>, line: &[u8]) -> About {
        let Some(request) = TaskRequest::read(message) else {
            return About::Others;
        };
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            let problem = "too many requests are under way; ask again later";
            let refused = reply::error(Some(request.id_raw), message::INTERNAL_ERROR, problem);
            self.to_client.push_message(&refused);
            return About::OurTask;
        };
        let (session, line) = (Arc::clone(self), Bytes::copy_from_slice(line));
        self.tasks.spawn(async move {
            if let Ok(Message::One(single)) = message::look(&line)
                && let Some(request) = TaskRequest::read(&single)
            {
                let principal = &session.options.principal;
                let line = |stored: &Stored| {
                    session.line(stored.call().map(|call| guard::protocol(&call)).unwrap_or_default())
                };
                let answer = session.deferred.serve(&request, principal, line).await;
                session.to_client.push_message(&answer);
                let _client_may_be_gone = session.to_client.flush().await;
            }
            drop(slot);
        });
        About::OurTask
    }

    /// A line for the server, without what it says of our tasks. `None`: it says nothing of them.
    pub(super) fn without_our_tasks(message: &Single<'_>, line: &[u8]) -> Option<String> {
        match message {
            Single::Other { method, .. } if method == "subscriptions/listen" => {
                tasks::without_our_tasks(std::str::from_utf8(line).ok()?)
            }
            Single::Other { .. } | Single::Call(_) | Single::Answer => None,
        }
    }

    /// Expects the answer in which the server says what it knows, where there is something to add to it.
    pub(super) fn expect_discovery(&self, id: Option<&str>) {
        if let (Some(id), Offer::Tasks) = (id.and_then(IdKey::read), self.options.guard.offers_tasks()) {
            lock(&self.expected).answers.insert(id, super::session::Expect::Discovery);
        }
    }

    /// What the server says of itself, with what we add to it; `None`: nothing.
    pub(super) fn discovered(line: &[u8]) -> Option<String> {
        tasks::advertised(std::str::from_utf8(line).ok()?)
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    OurTask,
    Others,
}

/// Whether the server speaks of a call that runs, or ran, for a task: its client is told when it asks.
pub(super) fn speaks_of_a_run(id: Option<&RawValue>, object: &Object<'_>) -> bool {
    if let Some(id) = id {
        return is_of_a_run(id);
    }
    let params = object.get("params").and_then(|params| Object::read_leniently(params.get()).ok());
    let method = object.get("method").and_then(text_of);
    method.is_some_and(|method| method == "notifications/progress")
        && params.and_then(|params| params.get("progressToken")).is_some_and(is_of_a_run)
}
