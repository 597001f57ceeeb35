//! A call that a person approved: it is sent and recorded in a task of its own, so that no lost connection comes
//! between the two.

use super::{
    Proxy,
    body::{self, Piece, ProxyBody},
    checks,
    sse::{self, Event, Events},
};
use crate::{
    message::{CallFrame, Object, is_answer_to},
    more::Questions,
    outcome::outcome_of,
    reply::{self, Ended},
    upstream::{Reached, SendError, UpstreamBody},
};
use bytes::Bytes;
use holdpoint_core::{Completion, Delivery, Outcome, Principal, StoredResult};
use http::{HeaderMap, Response, StatusCode, header};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// So many events wait for a slow client before the server has to.
const PIECES_MAX: usize = 16;

/// What comes of a run, as it comes.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) head: oneshot::Receiver<Head>,
    pub(super) pieces: mpsc::Receiver<Piece>,
}

/// Status and headers of the answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// How the answer to a call is read.
pub(super) struct Reading {
    pub(super) proxy: Arc<Proxy>,
    pub(super) frame: Arc<CallFrame>,
    pub(super) questions: Questions,
    pub(super) principal: Principal,
}

struct Run {
    reading: Reading,
    head: Option<oneshot::Sender<Head>>,
    pieces: mpsc::Sender<Piece>,
}

impl Running {
    pub(super) fn start(
        calls: &TaskTracker,
        sending: impl Future<Output = Result<Response<UpstreamBody>, SendError>> + Send + 'static,
        reading: Reading,
        completion: Completion,
    ) -> Self {
        let (head_in, head) = oneshot::channel();
        let (pieces_in, pieces) = mpsc::channel(PIECES_MAX);
        let run = Run { reading, head: Some(head_in), pieces: pieces_in };
        calls.spawn(async move {
            match sending.await {
                Ok(response) => run.answered(response, completion).await,
                Err(error) if error.reached == Reached::Nobody => run.unsent(completion).await,
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "an approved call was sent, and its answer is lost");
                    run.lost(completion).await;
                }
            }
        });
        Self { head, pieces }
    }

    /// An answer that is there already.
    pub(super) fn kept(message: Vec<u8>, delivery: Delivery) -> Self {
        let (head_in, head) = oneshot::channel();
        let (pieces_in, pieces) = mpsc::channel(1);
        // Both ends are here, and there is room for one.
        let _room = head_in.send(Head { status: StatusCode::OK, headers: body::json_headers() });
        let _room = pieces_in.try_send(Piece::Answer(message.into(), Some(delivery)));
        Self { head, pieces }
    }

    pub(super) async fn respond(self) -> Response<ProxyBody> {
        match self.head.await {
            Ok(head) => body::pieces(head.status, head.headers, self.pieces),
            Err(_) => {
                body::plain(StatusCode::BAD_GATEWAY, "the call was cut off; its outcome is not known\n")
            }
        }
    }
}

impl Run {
    async fn answered(mut self, response: Response<UpstreamBody>, completion: Completion) {
        let (mut parts, body) = response.into_parts();
        checks::strip_hop(&mut parts.headers);
        if parts.status.is_success() && body::is_stream(&parts.headers) {
            // An event of ours may have to follow.
            parts.headers.remove(header::CONTENT_LENGTH);
            self.begin(Head { status: parts.status, headers: parts.headers });
            return self.stream(body, completion).await;
        }
        let Ok(bytes) = body::collect(body, &parts.headers, self.bytes_max()).await else {
            return self.lost(completion).await;
        };
        let Some((told, outcome)) = self.outcome(&bytes, parts.status, &completion).await else {
            tracing::warn!(status = %parts.status, "an approved call was sent, and what came back is no answer to it");
            return self.lost(completion).await;
        };
        let delivery = completion.finish(outcome).await;
        if told.is_some() {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        self.begin(Head { status: parts.status, headers: parts.headers });
        self.send(Piece::Answer(told.unwrap_or(bytes), Some(delivery))).await;
    }

    /// The answer in a JSON body, and what is told in its place if that is something else. A server that refuses a request
    /// need not have read its id.
    async fn outcome(
        &self,
        bytes: &Bytes,
        status: StatusCode,
        completion: &Completion,
    ) -> Option<(Option<Bytes>, Outcome)> {
        let text = std::str::from_utf8(bytes).ok()?;
        let refused_unread = || {
            let object = Object::read_leniently(text).ok()?;
            let without_id = object.get("id").is_none_or(|id| id.get() == "null");
            (status.is_client_error() && without_id && object.get("error").is_some()).then_some(())
        };
        if !is_answer_to(text, &self.reading.frame.id) && refused_unread().is_none() {
            return None;
        }
        let told = self.told(text, completion).await;
        let outcome = outcome_of(told.as_deref().unwrap_or(text), completion)?;
        Some((told.map(Bytes::from), outcome))
    }

    /// The same in an event of a stream.
    async fn outcome_in(&self, event: &Event, completion: &Completion) -> Option<(Bytes, Outcome)> {
        let answer = event.data().filter(|data| is_answer_to(data, &self.reading.frame.id))?;
        let told = self.told(&answer, completion).await;
        let outcome = outcome_of(told.as_deref().unwrap_or(&answer), completion)?;
        let event = told.map_or_else(|| event.0.clone(), |told| event.with_data(told.as_bytes()));
        Some((event, outcome))
    }

    async fn told(&self, answer: &str, completion: &Completion) -> Option<String> {
        let Reading { proxy, frame, questions, principal } = &self.reading;
        proxy.tasks.note_theirs(principal, answer);
        questions.told(&proxy.options.guard, answer, frame, completion).await
    }

    fn bytes_max(&self) -> usize {
        self.reading.proxy.options.answer_bytes_max
    }

    async fn stream(self, body: UpstreamBody, completion: Completion) {
        let mut events = Events::new(body, self.bytes_max());
        let mut completion = Some(completion);
        while let Ok(Some(event)) = events.next().await {
            let outcome = match &completion {
                Some(completion) => self.outcome_in(&event, completion).await,
                None => None,
            };
            match (outcome, completion.take()) {
                (Some((told, outcome)), Some(completion)) => {
                    let delivery = completion.finish(outcome).await;
                    self.send(Piece::Answer(told, Some(delivery))).await;
                }
                (_, waiting) => {
                    completion = waiting;
                    self.send(Piece::Part(event.0)).await;
                }
            }
        }
        if let Some(completion) = completion {
            tracing::warn!("an approved call was sent, and its stream ended without an answer");
            let told = reply::rejected(&self.reading.frame, &completion.outcome_unknown());
            completion.lose().await;
            self.send(Piece::Part(sse::message(&told))).await;
        }
    }

    async fn unsent(self, completion: Completion) {
        completion.unsent(StoredResult::new(reply::fragment_of(&self.reading.frame, &Ended::NotSent))).await;
        let told = reply::ended(&self.reading.frame, &Ended::NotSent);
        self.tell(told).await;
    }

    async fn lost(self, completion: Completion) {
        let told = reply::rejected(&self.reading.frame, &completion.outcome_unknown());
        completion.lose().await;
        self.tell(told).await;
    }

    async fn tell(mut self, told: Vec<u8>) {
        self.begin(Head { status: StatusCode::OK, headers: body::json_headers() });
        self.send(Piece::Answer(told.into(), None)).await;
    }

    fn begin(&mut self, head: Head) {
        if let Some(sender) = self.head.take() {
            let _client_may_be_gone = sender.send(head);
        }
    }

    async fn send(&self, piece: Piece) {
        let _client_may_be_gone = self.pieces.send(piece).await;
    }
}
