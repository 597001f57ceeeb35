//! Tasks over HTTP: how their calls reach the server, and the messages about them that are not the server's.

use super::{
    Proxy,
    body::{self, ProxyBody},
    call::{self, Answering, Outcome},
    checks,
    own::{Own, answer_in},
    session::{Held, Session},
    sse::Event,
};
use crate::{
    catalog::{AtServer, ListError},
    guard,
    message::{CallFrame, Single, is_answer_to},
    protocol::{METHOD, NAME, PARAM_PREFIX},
    random, reply,
    tasks::{Line, Opened, OwnRequest, Ran, Stored, TaskRequest},
};
use async_trait::async_trait;
use holdpoint_core::{Admission, Caller, Definitions, PermittedCall, Probe, Standing, ToolCall};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use std::sync::Arc;

/// What a server says of its task.
const TOLD_BYTES_MAX: usize = 16 << 20;

/// The way of one client to the server.
#[derive(Debug)]
struct HttpLine {
    proxy: Arc<Proxy>,
    session: Arc<Session>,
    /// Of the call, stripped.
    headers: HeaderMap,
    server: Arc<AtServer>,
}

#[async_trait]
impl Line for HttpLine {
    async fn run(&self, permitted: PermittedCall, frame: Arc<CallFrame>) -> Ran {
        let outcome = call::dispatched(&self.proxy, &frame, self.headers.clone(), permitted).await;
        whole(outcome, &frame).await
    }

    async fn ask(&self, request: OwnRequest) -> Option<Vec<u8>> {
        let id = format!("holdpoint-{}", random::token());
        let OwnRequest { verb, task, params } = request;
        let mut headers = self.headers.clone();
        let of_the_call: Vec<_> =
            headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX)).cloned().collect();
        for name in of_the_call {
            headers.remove(name);
        }
        headers.insert(METHOD, HeaderValue::from_static(verb.method()));
        headers.insert(NAME, checks::encoded(&task)?);
        let message =
            format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"{}","params":{params}}}"#, verb.method());
        let principal = self.session.principal();
        let sent = self.proxy.upstream.send(principal, Method::POST, headers, message.into()).await;
        match answer_in(sent.ok()?, &id, TOLD_BYTES_MAX).await {
            Ok(answer) => reply::fragment_from(&answer),
            Err(ListError::Refused { error, .. }) => error,
            Err(ListError::Unreachable | ListError::TooSlow | ListError::Unreadable | ListError::TooMany) => {
                None
            }
        }
    }

    fn definitions(&self) -> Arc<dyn Definitions> {
        Arc::clone(&self.server) as _
    }

    fn probe(&self) -> Arc<dyn Probe> {
        Arc::clone(&self.server) as _
    }

    fn standing(&self) -> Option<Arc<dyn Standing>> {
        self.proxy.options.standing.clone()
    }
}

/// All of what came of a run; what cannot be read is told as unknown, as it was recorded.
async fn whole(outcome: Outcome, frame: &CallFrame) -> Ran {
    let ran = match outcome {
        Outcome::Running(mut running) => {
            let streams = running.head.await.is_ok_and(|head| body::is_stream(&head.headers));
            let mut ran = None;
            while let Some(piece) = running.pieces.recv().await {
                let (bytes, delivery) = piece.into_parts();
                let text = if streams { Event(bytes).data() } else { String::from_utf8(bytes.into()).ok() };
                let answer = text.filter(|text| delivery.is_some() || is_answer_to(text, &frame.id));
                if let Some(fragment) = answer.and_then(|text| reply::fragment_from(&text)) {
                    ran = Some(Ran { fragment, delivery });
                }
            }
            ran
        }
        Outcome::Ours(message) => Ran::read(&message, None),
        Outcome::Kept(message, delivery) => Ran::read(&message, Some(delivery)),
        // Not for calls whose outcome is recorded, as that of a held one is.
        Outcome::Upstream(_) | Outcome::NoAnswer(_) => None,
    };
    ran.unwrap_or_else(|| Ran { fragment: reply::lost_fragment(frame), delivery: None })
}

impl Proxy {
    fn line(self: &Arc<Self>, session: &Arc<Session>, headers: HeaderMap, server: Arc<AtServer>) -> HttpLine {
        HttpLine { proxy: Arc::clone(self), session: Arc::clone(session), headers, server }
    }

    /// Asks about a call that becomes a task where it has to wait. `held` is its request, until that is answered.
    #[expect(clippy::too_many_arguments, reason = "all of one call, once")]
    pub(super) fn ask_for_task(
        self: &Arc<Self>,
        frame: &Arc<CallFrame>,
        headers: HeaderMap,
        held: Arc<Held>,
        call: ToolCall,
        caller: Caller,
        session: &Arc<Session>,
        server: Arc<AtServer>,
        stored: Stored,
    ) -> Answering {
        let line: Arc<dyn Line> = Arc::new(self.line(session, headers.clone(), server));
        let (proxy, frame) = (Arc::clone(self), Arc::clone(frame));
        Box::pin(async move {
            Ok(match proxy.tasks.propose(call, caller, &frame, stored, line).await {
                Opened::Task(message) => Outcome::Ours(message),
                Opened::Refused(rejection) => Outcome::Ours(reply::rejected(&frame, &rejection)),
                Opened::Admitted(Admission::Replay(result, delivery)) => {
                    Outcome::Kept(reply::replayed(&frame, &result), delivery)
                }
                Opened::Admitted(Admission::Run(permitted)) => {
                    call::dispatched_for(&proxy, &frame, headers, held, permitted).await
                }
            })
        })
    }

    /// Answers a request about a task of ours. `None`: it is none.
    pub(super) async fn about_our_task(
        self: &Arc<Self>,
        parts: &Parts,
        messages: &[Single<'_>],
        session: &Arc<Session>,
    ) -> Option<Response<ProxyBody>> {
        if let Some(refused) = self.tasks.of_another(session.principal(), messages) {
            return Some(body::json(StatusCode::OK, refused));
        }
        let [message] = messages else {
            return None;
        };
        let request = TaskRequest::read(message)?;
        let mut headers = checks::owned(&parts.headers);
        checks::strip_request(&mut headers);
        headers.remove(header::ACCEPT_ENCODING);
        let line = |stored: &Stored| -> Arc<dyn Line> {
            let headers = stored.over(headers);
            let protocol = stored.call().map(|call| guard::protocol(&call)).unwrap_or_default();
            let own = Own::new(&self.upstream, session.principal(), &headers, protocol);
            let server = AtServer { catalog: Arc::clone(&session.catalog), source: Arc::new(own) };
            Arc::new(self.line(session, headers, Arc::new(server)))
        };
        let answer = self.tasks.serve(&request, session.principal(), line).await;
        Some(body::json(StatusCode::OK, answer))
    }
}
