//! One request in the server's session, from the client's request to the answer, over all of its client's retries.

mod stage;

use super::{
    Checked, LegacyServer,
    parked::{Parked, ParkedCall},
    session::Session,
    translate,
};
use crate::{
    bridge::{
        Sent, answer,
        wire::{self, Request, Said},
    },
    message::{IdKey, TOOLS_CALL},
    protocol::LEVEL_KEY,
    reply,
    upstream::{Reached, SendError, UpstreamBody},
};
use bytes::Bytes;
use holdpoint_core::Principal;
use http::{Method, Response, StatusCode};
use stage::{Read, Stage};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// A client is asked so often for one request.
const ROUNDS_MAX: u32 = 16;
/// A server that has begun a stream and says nothing on it gets this long before the client gets its own.
const EARLY: Duration = Duration::from_secs(1);
/// Log levels, the least grave first (RFC 5424).
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// A request that the server has, and that has no answer yet. Dropped before that, it is cancelled.
#[derive(Debug)]
pub(super) struct Exchange {
    session: Arc<Session>,
    parked: Parked,
    number: u64,
    method: String,
    identity: String,
    /// The client's progress token, raw.
    token: Option<String>,
    /// The gravest level that is not passed on is below this one; `None`: none is.
    level: Option<usize>,
    capabilities: Box<str>,
    streams: bool,
    stage: Stage,
    heard: mpsc::Receiver<String>,
    rounds: u32,
    finished: bool,
}

/// Something that the server asked its client.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) key: String,
    id_raw: String,
    pub(super) method: String,
    pub(super) params: Option<String>,
}

/// What the client gets.
#[derive(Debug)]
pub(super) enum Outcome {
    Response(Response<UpstreamBody>),
    /// The server does not know the session any more, and says that it has not looked at the request.
    SessionEnded,
}

/// The next thing that the client hears.
enum Next {
    Begun,
    Part(Bytes),
    Final(StatusCode, String),
    Input(Question),
    Foreign(Response<UpstreamBody>),
    SessionEnded,
    Lost,
}

impl Exchange {
    /// Everything is ready; nothing has been sent.
    pub(super) fn begin(
        server: &LegacyServer,
        session: &Arc<Session>,
        asked: &Checked<'_>,
    ) -> Result<Self, &'static str> {
        let request = &asked.request;
        let number = session.number();
        let unreadable = "`params` has no single reading";
        let body = translate::outgoing(request, number).map_err(|_| unreadable)?;
        let identity = translate::identity(request).ok_or(unreadable)?;
        let (inner, principal) = (server.inner.clone(), asked.principal.clone());
        let headers = session.headers(asked.headers.clone());
        let sending = async move {
            answer::told(inner.send(&principal, Method::POST, headers, body.into()).await?).await
        };
        let level = request.meta(LEVEL_KEY).and_then(|raw| serde_json::from_str::<String>(raw).ok());
        let token = request.params.and_then(|params| wire::raw_in(params, "_meta"));
        let token = token.and_then(|meta| wire::raw_in(meta, "progressToken"));
        Ok(Self {
            parked: server.parked.clone(),
            number,
            method: request.method.clone().into_owned(),
            identity,
            token: token.map(str::to_owned),
            level: level.and_then(|level| LEVELS.iter().position(|known| *known == level)),
            capabilities: asked.client.capabilities.clone(),
            streams: asked.streams,
            stage: Stage::Sending(Box::pin(sending)),
            heard: session.call(number),
            rounds: 0,
            finished: false,
            session: Arc::clone(session),
        })
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.session.principal
    }

    /// Whether `request` is the same one, come back.
    pub(super) fn is_for(&self, request: &Request<'_>) -> bool {
        translate::identity(request).is_some_and(|identity| identity == self.identity)
    }

    /// The response to the client's request `id_raw`.
    pub(super) async fn first(mut self, id_raw: &str) -> Result<Outcome, SendError> {
        loop {
            let patience =
                if self.streams && matches!(self.stage, Stage::Reading(_)) { EARLY } else { Duration::MAX };
            let Ok(next) = tokio::time::timeout(patience, self.next(id_raw)).await else {
                return Ok(Outcome::Response(self.stream(id_raw, None)));
            };
            let response = match next? {
                Next::Part(part) if self.streams => self.stream(id_raw, Some(part)),
                // What it says before the answer is lost to who reads no stream.
                Next::Begun | Next::Part(_) => continue,
                Next::Final(status, message) => wire::json(status, message),
                Next::Foreign(response) => response,
                Next::SessionEnded => return Ok(Outcome::SessionEnded),
                Next::Lost => {
                    return Err(SendError::new(Reached::Maybe, "its stream ended without an answer"));
                }
                Next::Input(question) => match self.park(id_raw, vec![question]) {
                    Ok(message) => wire::json(StatusCode::OK, message),
                    Err(exchange) => {
                        self = *exchange;
                        continue;
                    }
                },
            };
            return Ok(Outcome::Response(response));
        }
    }

    /// Gives the server the answers that it waits for, and goes on. Nothing is sent again.
    pub(super) async fn go_on(self, id_raw: &str, questions: Vec<Question>, answers: Option<&str>) -> Sent {
        let found: Option<Vec<(String, String)>> = questions
            .iter()
            .map(|question| {
                let answer = wire::raw_in(answers?, &question.key)?;
                Some((question.id_raw.clone(), answer.to_owned()))
            })
            .collect();
        let Some(found) = found else {
            return Ok(match self.park(id_raw, questions) {
                Ok(message) => wire::json(StatusCode::OK, message),
                Err(exchange) => {
                    let problem = "The tool server's questions were not answered. The call was given up.";
                    wire::json(StatusCode::OK, wire::failed(id_raw, &exchange.method, true, problem))
                }
            });
        };
        for (question, answer) in found {
            let message = reply::answer(&question, format!(r#""result":{answer}"#).as_bytes());
            let posted = self.session.post(String::from_utf8(message).unwrap_or_default()).await;
            posted.map_err(SendError::maybe_reached)?;
        }
        match self.first(id_raw).await.map_err(SendError::maybe_reached)? {
            Outcome::Response(response) => Ok(response),
            Outcome::SessionEnded => Err(SendError::new(Reached::Maybe, "the session ended")),
        }
    }

    /// Goes on in a stream. A client that closes it cancels the request.
    fn stream(self, id_raw: &str, first: Option<Bytes>) -> Response<UpstreamBody> {
        let (out, response) = wire::stream();
        let id_raw = id_raw.to_owned();
        tokio::spawn(async move {
            if let Some(first) = first
                && out.send(first).await.is_err()
            {
                return;
            }
            tokio::select! {
                () = self.pump(&id_raw, &out) => {}
                () = out.closed() => {}
            }
        });
        response
    }

    async fn pump(mut self, id_raw: &str, out: &mpsc::Sender<Bytes>) {
        loop {
            let piece = match self.next(id_raw).await {
                Ok(Next::Begun) => continue,
                Ok(Next::Part(part)) => {
                    if out.send(part).await.is_err() {
                        return;
                    }
                    continue;
                }
                Ok(Next::Final(_, message)) => message,
                Ok(Next::Input(question)) => match self.park(id_raw, vec![question]) {
                    Ok(message) => message,
                    Err(exchange) => {
                        self = *exchange;
                        continue;
                    }
                },
                // No answer will come; an end without one says so.
                Ok(Next::Foreign(_) | Next::SessionEnded | Next::Lost) | Err(_) => return,
            };
            let _client_may_be_gone = out.send(wire::event_of(&piece)).await;
            return;
        }
    }

    /// Lets the request wait for its client; the answer that asks it. The error: it cannot wait, and goes on without.
    fn park(mut self, id_raw: &str, questions: Vec<Question>) -> Result<String, Box<Self>> {
        self.rounds = self.rounds.saturating_add(1);
        let asked: Vec<Question> = questions.iter().map(Question::copy).collect();
        let parked = self.parked.clone();
        let refused = if self.rounds > ROUNDS_MAX {
            Box::new(ParkedCall { exchange: self, questions })
        } else {
            match parked.park(Box::new(ParkedCall { exchange: self, questions })) {
                Ok(handle) => return Ok(translate::input_required(id_raw, &asked, &handle)),
                Err(refused) => refused,
            }
        };
        for question in &refused.questions {
            refused.exchange.session.refuse(&question.id_raw, "the client cannot be asked now");
        }
        Err(Box::new(refused.exchange))
    }

    async fn next(&mut self, id_raw: &str) -> Result<Next, SendError> {
        loop {
            let text = tokio::select! {
                biased;
                read = self.stage.read() => match read {
                    Err(error) => {
                        self.finished |= error.reached == Reached::Nobody;
                        return Err(error);
                    }
                    Ok(Read::Begun) => return Ok(Next::Begun),
                    Ok(Read::Message(text)) => text,
                    Ok(Read::Alive) => return Ok(Next::Part(Bytes::from_static(wire::ALIVE))),
                    Ok(Read::Whole(status, text)) => return Ok(self.whole(status, &text, id_raw)),
                    Ok(Read::Foreign(response)) => return Ok(self.foreign(response)),
                    Ok(Read::End) => {
                        self.finished = true;
                        return Ok(Next::Lost);
                    }
                },
                Some(text) = self.heard.recv() => text,
            };
            if let Some(next) = self.heard(&text, id_raw) {
                return Ok(next);
            }
        }
    }

    fn whole(&mut self, status: StatusCode, text: &str, id_raw: &str) -> Next {
        self.finished = true;
        if self.is_end_of_session(status) {
            return Next::SessionEnded;
        }
        let (status, message) = translate::answer(text, id_raw, &self.method);
        Next::Final(status, message)
    }

    fn foreign(&mut self, response: Response<UpstreamBody>) -> Next {
        self.finished = true;
        if self.is_end_of_session(response.status()) { Next::SessionEnded } else { Next::Foreign(response) }
    }

    fn is_end_of_session(&self, status: StatusCode) -> bool {
        let ended = status == StatusCode::NOT_FOUND && self.session.has_id();
        if ended {
            self.session.over.cancel();
        }
        ended
    }

    /// One message of the server's. `None`: the client hears nothing of it.
    fn heard(&mut self, text: &str, id_raw: &str) -> Option<Next> {
        match Said::read(text).ok()? {
            Said::Answer(Some(IdKey::Number(number))) if *number == *self.number.to_string() => {
                self.finished = true;
                let (status, message) = translate::answer(text, id_raw, &self.method);
                Some(Next::Final(status, message))
            }
            Said::Answer(_) => None,
            Said::Request(request) => self.asked(&request),
            Said::Notification { method, .. } => {
                self.notified(&method, text).map(|message| Next::Part(wire::event_of(&message)))
            }
        }
    }

    fn asked(&self, request: &Request<'_>) -> Option<Next> {
        let capability: &[&str] = match &*request.method {
            "ping" => {
                self.session.answer_soon(reply::answer(request.id_raw, br#""result":{}"#));
                return None;
            }
            "elicitation/create" if request.param("mode").as_deref() == Some("url") => {
                &["elicitation", "url"]
            }
            "elicitation/create" => &["elicitation"],
            "sampling/createMessage" => &["sampling"],
            "roots/list" => &["roots"],
            _ => &[],
        };
        // A client may be asked in the middle of these three, and of nothing else.
        let may_ask = matches!(&*self.method, TOOLS_CALL | "prompts/get" | "resources/read");
        if capability.is_empty() || !may_ask || !wire::is_capable(&self.capabilities, capability) {
            self.session.refuse(request.id_raw, "the client does not answer this");
            return None;
        }
        Some(Next::Input(Question {
            key: format!("input-{}", self.rounds.saturating_add(1)),
            id_raw: request.id_raw.to_owned(),
            method: request.method.clone().into_owned(),
            params: request.params.map(str::to_owned),
        }))
    }

    fn notified(&self, method: &str, text: &str) -> Option<String> {
        match method {
            "notifications/progress" => translate::progress(text, self.token.as_deref()?),
            "notifications/message" => {
                let Ok(Said::Notification { params, .. }) = Said::read(text) else {
                    return None;
                };
                let level = wire::text_in(params?, "level")?;
                let level = LEVELS.iter().position(|known| *known == level)?;
                (level >= self.level?).then(|| text.to_owned())
            }
            "notifications/cancelled"
            | "notifications/elicitation/complete"
            | "notifications/tasks/status" => None,
            _ if method.ends_with("/list_changed") || method == "notifications/resources/updated" => {
                self.session.changed(text);
                None
            }
            _ => Some(text.to_owned()),
        }
    }
}

impl Question {
    fn copy(&self) -> Self {
        let Self { key, id_raw, method, params } = self;
        Self { key: key.clone(), id_raw: id_raw.clone(), method: method.clone(), params: params.clone() }
    }
}

impl Drop for Exchange {
    /// Nobody wants the answer any more.
    fn drop(&mut self) {
        self.session.end_call(self.number);
        if !self.finished {
            let number = self.number;
            self.session.post_soon(format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{number},"reason":"the client left"}}}}"#
            ));
        }
    }
}
