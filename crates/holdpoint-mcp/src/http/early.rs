//! The stream that is opened for a call that waits.

use super::{
    body::{self, Piece, ProxyBody},
    call::{Deciding, Outcome, Seen},
    run::Running,
    sse::{self, COMMENT, Events},
};
use crate::{
    message::{CallFrame, INTERNAL_ERROR, Object},
    progress::{Rising, TICK, waits},
    reply::{self, Ended},
    upstream::{Reached, UpstreamBody},
};
use bytes::Bytes;
use holdpoint_core::Delivery;
use http::{Response, StatusCode};
use std::{future::Future, sync::Arc};
use tokio::sync::mpsc;

const PIECES_MAX: usize = 16;

struct Stream {
    out: mpsc::Sender<Piece>,
    frame: Arc<CallFrame>,
    rising: Rising,
    bytes_max: usize,
}

/// The client left.
struct Left;

/// Opens the stream; the call goes on in a task of its own.
pub(super) fn open(
    deciding: Deciding,
    frame: Arc<CallFrame>,
    seen: Seen,
    bytes_max: usize,
) -> Response<ProxyBody> {
    let (out, pieces) = mpsc::channel(PIECES_MAX);
    let stream = Stream { out, frame, rising: Rising::default(), bytes_max };
    deciding.calls.clone().spawn(stream.run(deciding, seen));
    body::pieces(StatusCode::OK, body::stream_headers(), pieces)
}

impl Stream {
    async fn run(mut self, mut deciding: Deciding, seen: Seen) {
        if let Ok(outcome) = self.wait(&mut deciding, seen).await {
            let _client_may_be_gone = self.pass(outcome).await;
        } else {
            deciding.abandon();
            // The kernel notes it; a run that began in this moment records itself.
            drop(deciding.await);
        }
    }

    /// Keeps the client company until there is an outcome.
    async fn wait(&mut self, deciding: &mut Deciding, mut seen: Seen) -> Result<Outcome, Left> {
        self.part(Bytes::from_static(COMMENT)).await?;
        let mut text = None;
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
        loop {
            tokio::select! {
                biased;
                outcome = &mut *deciding => return Ok(outcome),
                () = self.out.closed() => return Err(Left),
                waiting = waits(&mut seen) => text = Some(waiting),
                _ = tick.tick() => self.part(Bytes::from_static(COMMENT)).await?,
            }
            if let (Some(text), Some(token)) = (&text, &self.frame.progress_token)
                && deciding.held.is_waiting()
                && let Some(step) = self.rising.step(token, text)
            {
                self.part(sse::message(&step)).await?;
            }
        }
    }

    async fn pass(&mut self, outcome: Outcome) -> Result<(), Left> {
        match outcome {
            Outcome::Ours(message) => self.answer(&message, None).await,
            Outcome::Kept(message, delivery) => self.answer(&message, Some(delivery)).await,
            Outcome::Upstream(response) => self.pass_response(response).await,
            Outcome::Running(running) => self.pass_run(running).await,
            Outcome::NoAnswer(error) => {
                let told = if error.reached == Reached::Nobody {
                    reply::ended(&self.frame, &Ended::NotSent)
                } else {
                    reply::lost(&self.frame)
                };
                self.answer(&told, None).await
            }
        }
    }

    async fn pass_run(&mut self, mut running: Running) -> Result<(), Left> {
        let head = self.while_waiting(&mut running.head).await?;
        let streams = head.is_ok_and(|head| body::is_stream(&head.headers));
        while let Some(piece) = self.while_waiting(running.pieces.recv()).await? {
            match piece {
                Piece::Part(event) => self.event(&sse::Event(event)).await?,
                answer @ Piece::Answer(..) if streams => self.send(answer).await?,
                Piece::Answer(message, delivery) => self.wrapped(&message, StatusCode::OK, delivery).await?,
            }
        }
        Ok(())
    }

    async fn pass_response(&mut self, response: Response<UpstreamBody>) -> Result<(), Left> {
        let (parts, body) = response.into_parts();
        if parts.status.is_success() && body::is_stream(&parts.headers) {
            let mut events = Events::new(body, self.bytes_max);
            while let Ok(Some(event)) = self.while_waiting(events.next()).await? {
                self.event(&event).await?;
            }
            return Ok(());
        }
        let collected = self.while_waiting(body::collect(body, &parts.headers, self.bytes_max)).await?;
        match collected {
            Ok(message) => self.wrapped(&message, parts.status, None).await,
            Err(_) => self.answer(&reply::lost(&self.frame), None).await,
        }
    }

    /// A JSON answer, which came without a stream, as an event of ours.
    async fn wrapped(
        &self,
        message: &[u8],
        status: StatusCode,
        delivery: Option<Delivery>,
    ) -> Result<(), Left> {
        let text = std::str::from_utf8(message).ok();
        let object = text.and_then(|text| Object::read_leniently(text).ok());
        if object.is_some_and(|object| object.get("result").or(object.get("error")).is_some()) {
            return self.answer(message, delivery).await;
        }
        let problem = format!("the tool server answered with HTTP status {}", status.as_u16());
        self.answer(&reply::error(Some(&self.frame.id_raw), INTERNAL_ERROR, &problem), delivery).await
    }

    /// An event of the server; its progress goes on where ours ended.
    async fn event(&mut self, event: &sse::Event) -> Result<(), Left> {
        let rebased = if self.rising.is_empty() {
            None
        } else {
            event.data().and_then(|data| self.rising.rebase(&data)).map(|message| event.with_data(&message))
        };
        self.part(rebased.unwrap_or_else(|| event.0.clone())).await
    }

    /// Waits for the server, with a comment now and then.
    async fn while_waiting<T>(&self, work: impl Future<Output = T>) -> Result<T, Left> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = self.out.closed() => return Err(Left),
                () = tokio::time::sleep(TICK) => self.part(Bytes::from_static(COMMENT)).await?,
            }
        }
    }

    async fn answer(&self, message: &[u8], delivery: Option<Delivery>) -> Result<(), Left> {
        self.send(Piece::Answer(sse::message(message), delivery)).await
    }

    async fn part(&self, bytes: Bytes) -> Result<(), Left> {
        self.send(Piece::Part(bytes)).await
    }

    async fn send(&self, piece: Piece) -> Result<(), Left> {
        self.out.send(piece).await.map_err(|_| Left)
    }
}
