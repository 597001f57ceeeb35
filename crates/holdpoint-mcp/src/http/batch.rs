//! A JSON-RPC batch with tool calls in it, of the one revision that has batches (2025-03-26).
//!
//! # Rules
//! 1. Each call is a call of its own: through the kernel, with its own bytes, and withdrawn by its own id. One that the batch
//!    itself withdraws goes nowhere, wherever in the batch that is said.
//! 2. What is no call goes to the server in one request, as a batch where it is more than one message.
//! 3. The answers come in one response, each when it is there: as events of a stream, or as one array where the client
//!    takes no streams. The revision allows both, in any order ("Sending Messages to the Server").

use super::{
    Proxy,
    body::{self, Piece, ProxyBody},
    checks,
    session::Session,
    sse::{self, Events},
};
use crate::{
    message::{self, Batch, Cancellation, INTERNAL_ERROR, IdKey, Message, Object, Refused, Single},
    reply::{self, Ended},
};
use bytes::Bytes;
use holdpoint_core::Delivery;
use http::{Extensions, Request, Response, StatusCode, request::Parts};
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::mpsc;

/// So many events wait for a slow client before their servers have to.
const PIECES_MAX: usize = 16;

/// One request that a batch becomes.
#[derive(Debug)]
struct Share {
    /// The raw ids of the requests in it.
    ids: Vec<Box<str>>,
    bytes: Bytes,
    stands: Stands,
}

/// Whether the client still wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Yes,
    Withdrawn,
}

/// What the client gets of one share.
type Answers = mpsc::Sender<Piece>;

impl Proxy {
    pub(super) async fn post_batch(
        self: &Arc<Self>,
        parts: &Parts,
        batch: &Batch<'_>,
        session: &Arc<Session>,
    ) -> Response<ProxyBody> {
        if let Err(problem) = checks::task(&parts.headers) {
            return super::refusal(&Refused::invalid(problem));
        }
        let streams = checks::accepts_stream(&parts.headers);
        let shares = shares(batch);
        let (answers, pieces) = mpsc::channel(PIECES_MAX);
        for share in shares {
            let (proxy, session, answers) = (Arc::clone(self), Arc::clone(session), answers.clone());
            let parts = copy(parts);
            let work = async move {
                tokio::select! {
                    () = answers.closed() => {}
                    () = proxy.post_share(parts, &share, session, &answers, streams) => {}
                }
            };
            self.calls.spawn(work);
        }
        drop(answers);
        if streams {
            return body::pieces(StatusCode::OK, body::stream_headers(), pieces);
        }
        gathered(pieces).await
    }

    async fn post_share(
        self: &Arc<Self>,
        parts: Parts,
        share: &Share,
        session: Arc<Session>,
        answers: &Answers,
        streams: bool,
    ) {
        let response = match message::look(&share.bytes) {
            Ok(Message::One(Single::Call(call))) if share.stands == Stands::Withdrawn => {
                let told = reply::ended(&call.frame(share.bytes.clone()), &Ended::Cancelled);
                return tell(answers, &told, streams).await;
            }
            Ok(Message::One(Single::Call(call))) => self.post_call(parts, &share.bytes, &call, session).await,
            Ok(Message::One(single)) => self.post_other(parts, &share.bytes, &[single], session).await,
            // Calls are shares by themselves.
            Ok(Message::Batch(batch)) if !batch.has_call() => {
                self.post_other(parts, &share.bytes, &batch.messages, session).await
            }
            Ok(Message::Batch(_)) => super::refusal(&Refused::batches()),
            Err(refused) => super::refusal(&refused),
        };
        let (head, body) = response.into_parts();
        if head.status.is_success() && body::is_stream(&head.headers) {
            return self.forward(body, answers, streams).await;
        }
        let mut body = body;
        let collected = body::collect(&mut body, &head.headers, self.options.answer_bytes_max).await;
        let delivery = body.take_delivery();
        let message = collected.ok().and_then(|bytes| messages_of(&bytes));
        let told = match message {
            Some(messages) => messages,
            None if share.ids.is_empty() || (head.status == StatusCode::ACCEPTED) => Vec::new(),
            None => {
                let problem = format!("answered with HTTP status {}", head.status.as_u16());
                share.ids.iter().map(|id| reply::error(Some(id), INTERNAL_ERROR, &problem)).collect()
            }
        };
        for message in told {
            tell(answers, &message, streams).await;
        }
        done(answers, delivery).await;
    }

    /// The events of one share among those of the others.
    async fn forward(&self, body: ProxyBody, answers: &Answers, streams: bool) {
        let mut events = Events::new(body, self.options.answer_bytes_max);
        while let Ok(Some(event)) = events.next().await {
            if streams {
                let _client_may_be_gone = answers.send(Piece::Part(event.0)).await;
            } else if let Some(data) = event.data() {
                tell(answers, data.as_bytes(), streams).await;
            }
        }
        done(answers, events.into_body().take_delivery()).await;
    }
}

/// Everything at once, for who takes no stream.
async fn gathered(mut pieces: mpsc::Receiver<Piece>) -> Response<ProxyBody> {
    let (mut array, mut deliveries) = (Vec::new(), Vec::new());
    while let Some(piece) = pieces.recv().await {
        let (message, delivery) = match piece {
            Piece::Part(message) => (message, None),
            Piece::Answer(message, delivery) => (message, delivery),
        };
        if !message.is_empty() {
            array.push(message);
        }
        deliveries.extend(delivery);
    }
    let whole = [&b"["[..], &array.join(&b','), b"]"].concat();
    let (out, pieces) = mpsc::channel(deliveries.len().saturating_add(1));
    let _room = out.try_send(Piece::Part(whole.into()));
    for delivery in deliveries {
        let _room = out.try_send(Piece::Answer(Bytes::new(), Some(delivery)));
    }
    body::pieces(StatusCode::OK, body::json_headers(), pieces)
}

async fn tell(answers: &Answers, message: &[u8], streams: bool) {
    let message = if streams { sse::message(message) } else { Bytes::copy_from_slice(message) };
    let _client_may_be_gone = answers.send(Piece::Part(message)).await;
}

/// All of a share was said; whoever keeps its answer hears of it when the client has it.
async fn done(answers: &Answers, delivery: Option<Delivery>) {
    if delivery.is_some() {
        let _client_may_be_gone = answers.send(Piece::Answer(Bytes::new(), delivery)).await;
    }
}

/// The calls, each by itself, and the rest.
fn shares(batch: &Batch<'_>) -> Vec<Share> {
    let withdrawn: Vec<IdKey> = batch.messages.iter().filter_map(withdraws).collect();
    let (mut shares, mut rest, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for (message, raw) in batch.parts() {
        match message {
            Single::Call(call) => {
                let bytes = Bytes::copy_from_slice(raw.as_bytes());
                let stands = if withdrawn.contains(&call.id) { Stands::Withdrawn } else { Stands::Yes };
                shares.push(Share { ids: vec![call.id_raw.into()], bytes, stands });
            }
            Single::Other { id, .. } => {
                ids.extend(id.map(Box::from));
                rest.push(raw.as_bytes());
            }
            Single::Answer => rest.push(raw.as_bytes()),
        }
    }
    let bytes = match rest.as_slice() {
        [] => return shares,
        [one] => Bytes::copy_from_slice(one),
        several => [&b"["[..], &several.join(&b','), b"]"].concat().into(),
    };
    shares.push(Share { ids, bytes, stands: Stands::Yes });
    shares
}

/// The request that a message withdraws.
fn withdraws(message: &Single<'_>) -> Option<IdKey> {
    match message {
        Single::Other { method, id: None, params: Some(params) } if method == "notifications/cancelled" => {
            Cancellation::read(params.get()).map(|cancellation| cancellation.request)
        }
        Single::Other { .. } | Single::Call(_) | Single::Answer => None,
    }
}

fn copy(parts: &Parts) -> Parts {
    let (mut copy, ()) = Request::new(()).into_parts();
    copy.method.clone_from(&parts.method);
    copy.uri.clone_from(&parts.uri);
    copy.headers = checks::owned(&parts.headers);
    copy.extensions = Extensions::clone(&parts.extensions);
    copy
}

/// One message, or those of a batch; `None`: it is neither.
fn messages_of(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.trim_ascii_start().starts_with('[') {
        let several: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        return Some(several.into_iter().map(|message| message.get().as_bytes().to_vec()).collect());
    }
    let object = Object::read_leniently(text).ok()?;
    let is_message = object.get("result").or(object.get("error")).or(object.get("method")).is_some();
    is_message.then(|| vec![text.trim_ascii().as_bytes().to_vec()])
}
