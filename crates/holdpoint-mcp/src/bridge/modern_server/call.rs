//! One request of a session, with every leg that the server makes of it.
//!
//! It goes on in a task of its own: to a client with a handshake a lost connection cancels nothing, and to the server it
//! would. What ends it is the answer, `notifications/cancelled`, the end of the session, or that nobody is there to answer
//! what the server wants to know.

use super::{
    ModernServer, Request, Session, stamped,
    translate::{self, Answer, InputRequired, Question},
};
use crate::{
    bridge::{
        Sent,
        answer::{self, Told},
        wire::{self, Said},
    },
    http::accepts_stream,
    message::{IdKey, TOOLS_CALL},
    random,
    upstream::{Reached, SendError, UpstreamBody},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// A server may ask so often before it answers.
const ROUNDS_MAX: u32 = 10;
/// More questions than this at once are none.
const QUESTIONS_MAX: usize = 32;
/// How long the client has to answer what the server wants to know.
const INPUT_MAX: Duration = Duration::from_mins(30);
/// A server that only says "ask again" is asked after this, a little later each time.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// A request whose client has left goes on so long.
const ORPHAN_MAX: Duration = Duration::from_mins(15);

/// Members that continue a call.
type Continued = Vec<(&'static str, String)>;

/// A request under way.
struct Exchange {
    server: Arc<ModernServer>,
    session: Arc<Session>,
    text: String,
    id_raw: String,
    id: IdKey,
    method: String,
    headers: HeaderMap,
    streams: bool,
    to_client: ToClient,
}

/// Where the client hears of it.
enum ToClient {
    Nothing(oneshot::Sender<Sent>),
    Stream(mpsc::Sender<Bytes>),
    Over,
}

/// How a leg ended.
enum Leg {
    Answered(Answer),
    /// Without an answer, or with something that is none.
    Lost,
}

impl ModernServer {
    pub(super) async fn call(
        self: Arc<Self>,
        session: Arc<Session>,
        request: &Request<'_>,
        headers: HeaderMap,
    ) -> Sent {
        let streams = accepts_stream(&headers);
        let headers = stamped(wire::outbound(headers), request);
        let headers = if request.method == TOOLS_CALL {
            self.add_params(&session, request, headers).await
        } else {
            headers
        };
        let (head, response) = oneshot::channel();
        let exchange = Exchange {
            server: self,
            text: request.text.to_owned(),
            id_raw: request.id_raw.to_owned(),
            id: request.id.clone(),
            method: request.method.clone().into_owned(),
            headers,
            streams,
            to_client: ToClient::Nothing(head),
            session,
        };
        let cancelled = exchange.session.begin(&exchange.id);
        let left = CancellationToken::new();
        let leaving = left.clone().drop_guard();
        tokio::spawn(async move {
            let (session, id) = (Arc::clone(&exchange.session), exchange.id.clone());
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = exchange.run() => {}
                () = orphaned(&left) => {}
            }
            session.finish(&id);
        });
        let sent = response.await;
        leaving.disarm();
        sent.unwrap_or_else(|_| Err(SendError::new(Reached::Maybe, "the request was cancelled")))
    }
}

impl Exchange {
    async fn run(mut self) {
        let mut continued = Continued::new();
        for round in 0..=ROUNDS_MAX {
            let leg = match self.leg(round, &continued).await {
                Ok(leg) => leg,
                Err(error) => return self.fail(error),
            };
            match leg {
                Leg::Lost => return,
                Leg::Answered(Answer::Final(message)) => return self.answer(message).await,
                Leg::Answered(Answer::InputRequired(input)) if round < ROUNDS_MAX => {
                    continued = match self.input(round, input).await {
                        Ok(continued) => continued,
                        Err(problem) => return self.give_up(&problem).await,
                    };
                }
                Leg::Answered(Answer::InputRequired(_)) => {}
            }
        }
        self.give_up("The tool server kept asking for more input. The call was given up.").await;
    }

    /// Sends once. A leg that is no first one continues the call under an id of its own, as the protocol has it.
    async fn leg(&mut self, round: u32, continued: &Continued) -> Result<Leg, SendError> {
        let unreadable = |_| SendError::new(Reached::Nobody, "the request cannot be read");
        let Ok(Said::Request(request)) = Said::read(&self.text) else {
            return Err(SendError::new(Reached::Nobody, "the request cannot be read"));
        };
        let id_raw =
            if round == 0 { self.id_raw.clone() } else { format!("\"holdpoint-{}\"", random::token()) };
        let id = IdKey::read(&id_raw).unwrap_or_else(|| self.id.clone());
        let body = self.session.outgoing(&request, &id_raw, continued).map_err(unreadable)?;
        let (server, session) = (Arc::clone(&self.server), Arc::clone(&self.session));
        let sent =
            server.inner.send(&session.principal, Method::POST, self.headers.clone(), body.into()).await;
        // What the first leg did is not undone by a later one that did not arrive.
        let response = sent.map_err(|error| if round == 0 { error } else { error.maybe_reached() })?;
        match answer::told(response).await? {
            Told::Message(_, text) => Ok(Leg::Answered(self.translated(&text))),
            Told::Stream(events) => Ok(self.follow(events, &id).await),
            Told::Foreign(status, headers, text) => {
                let mut response = wire::json(status, text);
                if let Some(kind) = headers.get(http::header::CONTENT_TYPE) {
                    response.headers_mut().insert(http::header::CONTENT_TYPE, kind.clone());
                }
                // A session is not what the server knows nothing of.
                if status == StatusCode::NOT_FOUND {
                    *response.status_mut() = StatusCode::BAD_GATEWAY;
                }
                self.head(Ok(response));
                Ok(Leg::Lost)
            }
        }
    }

    fn translated(&self, text: &str) -> Answer {
        translate::answer(text, &self.id_raw, &self.method)
    }

    /// Passes on what the server says on its stream, up to the answer.
    async fn follow(&mut self, mut events: crate::http::Events<UpstreamBody>, id: &IdKey) -> Leg {
        self.begin_stream();
        loop {
            let event = tokio::select! {
                biased;
                event = events.next() => event,
                () = self.orphaned() => return Leg::Lost,
            };
            let Ok(Some(event)) = event else {
                return Leg::Lost;
            };
            let Some(data) = event.data() else {
                self.part(Bytes::from_static(wire::ALIVE)).await;
                continue;
            };
            match Said::read(&data) {
                Ok(Said::Answer(Some(answered))) if answered == *id => {
                    return Leg::Answered(self.translated(&data));
                }
                Ok(Said::Notification { method, .. }) => {
                    if let Some(message) = translate::notification(&data, &method) {
                        self.part(wire::event_of(&message)).await;
                    }
                }
                // A stateless server asks nothing in this way, and answers nobody else here.
                Ok(Said::Request(_) | Said::Answer(_)) | Err(_) => {}
            }
        }
    }

    /// The client left, and the server has been silent for long since.
    async fn orphaned(&self) {
        match &self.to_client {
            ToClient::Stream(out) => out.closed().await,
            ToClient::Nothing(_) | ToClient::Over => std::future::pending().await,
        }
        tokio::time::sleep(ORPHAN_MAX).await;
    }

    /// Asks the client what the server wants to know.
    async fn input(&mut self, round: u32, input: InputRequired) -> Result<Continued, String> {
        let mut continued = Continued::new();
        if let Some(state) = input.state {
            continued.push(("requestState", state));
        }
        if input.questions.is_empty() {
            tokio::time::sleep(AGAIN_AFTER.saturating_mul(round.saturating_add(1))).await;
            return Ok(continued);
        }
        if input.questions.len() > QUESTIONS_MAX {
            return Err("The tool server asks too many questions at once. The call was given up.".into());
        }
        for question in &input.questions {
            self.can_be_asked(question)?;
        }
        self.begin_stream();
        let ToClient::Stream(out) = &self.to_client else {
            return Err("Nobody is there to answer what the tool server asks. The call was given up.".into());
        };
        let asking = ask_all(&self.session, out, &input.questions);
        let answers = tokio::select! {
            answers = tokio::time::timeout(INPUT_MAX, asking) => answers.unwrap_or_else(|_| {
                Err("What the tool server asked was not answered in time. The call was given up.".into())
            })?,
            () = out.closed() => return Err("The client left before it answered.".into()),
        };
        continued.push(("inputResponses", answers));
        Ok(continued)
    }

    /// Whether the client said that it answers questions of this kind.
    fn can_be_asked(&self, question: &Question) -> Result<(), String> {
        let capability: &[&str] = match &*question.method {
            "elicitation/create" if question_mode(question).as_deref() == Some("url") => {
                &["elicitation", "url"]
            }
            "elicitation/create" => &["elicitation"],
            "sampling/createMessage" => &["sampling"],
            "roots/list" => &["roots"],
            other => {
                return Err(format!(
                    "The tool server asks for `{other}`, which no client answers. The call was given up."
                ));
            }
        };
        if !wire::is_capable(&self.session.capabilities, capability) {
            return Err(format!(
                "The tool server needs `{}` to go on with this call, and this client does not offer it. The call was given up.",
                capability.join("."),
            ));
        }
        if self.streams {
            Ok(())
        } else {
            Err("The tool server has a question, and this client reads no stream to hear it on. The call was given up.".into())
        }
    }

    fn begin_stream(&mut self) {
        if matches!(self.to_client, ToClient::Nothing(_)) {
            let (out, response) = wire::stream();
            self.head(Ok(response));
            self.to_client = ToClient::Stream(out);
        }
    }

    fn head(&mut self, sent: Sent) {
        if let ToClient::Nothing(head) = std::mem::replace(&mut self.to_client, ToClient::Over) {
            let _client_may_be_gone = head.send(sent);
        }
    }

    async fn part(&self, bytes: Bytes) {
        if let ToClient::Stream(out) = &self.to_client {
            let _client_may_be_gone = out.send(bytes).await;
        }
    }

    /// Errors of the protocol have status 200 in the older revisions; a 404 would end the session.
    async fn answer(mut self, message: String) {
        match &self.to_client {
            ToClient::Nothing(_) => self.head(Ok(wire::json(StatusCode::OK, message))),
            ToClient::Stream(_) => self.part(wire::event_of(&message)).await,
            ToClient::Over => {}
        }
    }

    async fn give_up(self, problem: &str) {
        let message = wire::failed(&self.id_raw, &self.method, false, problem);
        self.answer(message).await;
    }

    fn fail(mut self, error: SendError) {
        self.head(Err(error));
    }
}

/// The client left before there was a response, long ago.
async fn orphaned(left: &CancellationToken) {
    left.cancelled().await;
    tokio::time::sleep(ORPHAN_MAX).await;
}

fn question_mode(question: &Question) -> Option<String> {
    wire::text_in(question.params.as_deref()?, "mode")
}

/// Puts all questions to the client; the raw `inputResponses`.
async fn ask_all(
    session: &Session,
    out: &mpsc::Sender<Bytes>,
    questions: &[Question],
) -> Result<String, String> {
    let mut waiting = Vec::with_capacity(questions.len());
    for question in questions {
        let (id, key, answer) = session.ask();
        let asked = Asked { session, key };
        let params = question.params.as_deref().map(|params| with_elicitation_id(question, params, &id));
        let params = params.map_or_else(String::new, |params| format!(r#","params":{params}"#));
        let method = wire::quoted(&question.method);
        let message = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":{method}{params}}}"#);
        if out.send(wire::event_of(&message)).await.is_err() {
            return Err("The client left before it answered.".into());
        }
        waiting.push((question, answer, asked));
    }
    let mut answers = Vec::with_capacity(waiting.len());
    for (question, answer, _asked) in waiting {
        let told = answer.await.map_err(|_| "The session ended before the client answered.".to_owned())?;
        let result = match (wire::raw_in(&told, "result"), &*question.method) {
            (Some(result), _) => result.to_owned(),
            (None, "elicitation/create") => r#"{"action":"cancel"}"#.to_owned(),
            (None, method) => {
                return Err(format!("The client did not answer `{method}`. The call was given up."));
            }
        };
        answers.push(format!("{}:{result}", wire::quoted(&question.key)));
    }
    Ok(format!("{{{}}}", answers.join(",")))
}

/// Links have an id of their own in the last revision with a handshake, and none any more.
fn with_elicitation_id(question: &Question, params: &str, id: &str) -> String {
    let Ok(mut splice) = crate::message::Splice::read_leniently(params) else {
        return params.to_owned();
    };
    if question_mode(question).as_deref() != Some("url") || splice.get("elicitationId").is_some() {
        return params.to_owned();
    }
    splice.set("elicitationId", wire::quoted(id));
    splice.to_string()
}

/// A question that is put, until it is answered or nobody waits for it any more.
struct Asked<'a> {
    session: &'a Session,
    key: IdKey,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.session.forget_question(&self.key);
    }
}
