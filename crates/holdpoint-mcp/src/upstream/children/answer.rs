//! What a child says to one request, as a response.

use super::{
    link::Link,
    mailbox::{End, Mailbox, Parcel},
};
use crate::{
    http::{event as event_of, json_headers, stream_headers},
    message::IdKey,
    stdio::{Place, Sent},
    upstream::{Reached, SendError, UpstreamBody, UpstreamBodyError},
};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use std::{
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// Some give up on a stream that is silent.
const COMMENT: &[u8] = b": still here\n\n";

/// What forms of response the client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Stream,
    Either,
}

impl Form {
    /// `None`: none that there is.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let (mut json, mut stream, mut named) = (false, false, false);
        for value in headers.get_all(header::ACCEPT) {
            named = true;
            let value = value.to_str().unwrap_or_default();
            json |= ["application/json", "application/*", "*/*"].iter().any(|form| value.contains(form));
            stream |= ["text/event-stream", "text/*", "*/*"].iter().any(|form| value.contains(form));
        }
        match (json, stream) {
            (true, true) => Some(Self::Either),
            (false, true) => Some(Self::Stream),
            (true, false) => Some(Self::Json),
            (false, false) => (!named).then_some(Self::Json),
        }
    }

    pub(super) const fn streams(self) -> bool {
        match self {
            Self::Json => false,
            Self::Stream | Self::Either => true,
        }
    }
}

/// Requests of one message that were sent, until all are answered. Dropped before that, their client is gone.
#[derive(Debug)]
pub(super) struct Exchange {
    link: Arc<Link>,
    mailbox: Arc<Mailbox>,
    keys: Vec<IdKey>,
    /// How many are not answered.
    owed: usize,
    place: Place,
}

impl Exchange {
    pub(super) fn new(link: Arc<Link>, mailbox: Arc<Mailbox>, keys: Vec<IdKey>, place: Place) -> Self {
        let owed = keys.len();
        Self { link, mailbox, keys, owed, place }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Parcel, End>> {
        let taken = ready!(self.mailbox.poll_take(context));
        if let Ok(Parcel::Answer(..)) = &taken {
            self.owed = self.owed.saturating_sub(1);
        }
        Poll::Ready(taken)
    }

    async fn next(&mut self) -> Result<Parcel, SendError> {
        match std::future::poll_fn(|context| self.poll_next(context)).await {
            Ok(parcel) => Ok(parcel),
            Err(end) => Err(self.broken(end)),
        }
    }

    /// Whether the line got through is found out when its child is gone.
    fn broken(&self, end: End) -> SendError {
        let reached = match end {
            End::Gone => match self.link.abandon(self.place) {
                Sent::Never => Reached::Nobody,
                Sent::Maybe => Reached::Maybe,
            },
            End::GivenUp | End::Overrun => Reached::Maybe,
        };
        SendError::new(reached, end)
    }

    pub(super) async fn respond(mut self, form: Form) -> Result<Response<UpstreamBody>, SendError> {
        let first = match form {
            Form::Json => return self.collect().await,
            Form::Either => {
                let quiet = self.link.limits.quiet;
                tokio::time::timeout(quiet, self.next()).await.ok().transpose()?
            }
            // What owes another status than 200 is told before a stream is opened.
            Form::Stream => match tokio::time::timeout(self.link.limits.quiet, self.next()).await {
                Ok(first) => Some(first?),
                Err(_) => None,
            },
        };
        match first {
            Some(Parcel::Answer(message, status))
                if self.keys.len() == 1 && (form == Form::Either || status != StatusCode::OK) =>
            {
                Ok(whole(status, message))
            }
            first => Ok(self.stream(first)),
        }
    }

    /// All the answers in one body.
    async fn collect(mut self) -> Result<Response<UpstreamBody>, SendError> {
        let mut answers = Vec::with_capacity(self.owed);
        let mut status = StatusCode::OK;
        while self.owed > 0 {
            match self.next().await? {
                Parcel::Answer(message, told) => {
                    answers.push(message);
                    status = told;
                }
                Parcel::Other(_) => {}
            }
        }
        Ok(match <[Bytes; 1]>::try_from(answers) {
            Ok([answer]) => whole(status, answer),
            Err(answers) => whole(StatusCode::OK, [&b"["[..], &answers.join(&b','), b"]"].concat().into()),
        })
    }

    fn stream(self, first: Option<Parcel>) -> Response<UpstreamBody> {
        let heartbeat = Heartbeat::new(self.link.limits.heartbeat);
        stream(ChildBody(Kind::Stream(Box::new(Streamed { exchange: self, first, heartbeat }))))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.owed > 0 {
            self.mailbox.leave();
            self.link.left(&self.keys);
        }
    }
}

fn whole(status: StatusCode, message: Bytes) -> Response<UpstreamBody> {
    let mut response = Response::new(UpstreamBody::Child(ChildBody(Kind::Whole(Some(message)))));
    *response.status_mut() = status;
    *response.headers_mut() = json_headers();
    response
}

fn stream(body: ChildBody) -> Response<UpstreamBody> {
    let mut response = Response::new(UpstreamBody::Child(body));
    *response.headers_mut() = stream_headers();
    response
}

/// A response of our own.
pub(super) fn told(status: StatusCode, message: Vec<u8>) -> Response<UpstreamBody> {
    whole(status, message.into())
}

pub(super) fn empty(status: StatusCode) -> Response<UpstreamBody> {
    let mut response = Response::new(UpstreamBody::Child(ChildBody(Kind::Whole(None))));
    *response.status_mut() = status;
    response
}

/// The stream for what belongs to no request.
pub(super) fn general(link: Arc<Link>, mailbox: Arc<Mailbox>) -> Response<UpstreamBody> {
    let heartbeat = Heartbeat::new(link.limits.heartbeat);
    stream(ChildBody(Kind::General(Box::new(Listening { link, mailbox, heartbeat }))))
}

/// The body of a response that a child gave.
#[derive(Debug)]
pub(crate) struct ChildBody(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Option<Bytes>),
    Stream(Box<Streamed>),
    General(Box<Listening>),
}

#[derive(Debug)]
struct Streamed {
    exchange: Exchange,
    first: Option<Parcel>,
    heartbeat: Heartbeat,
}

#[derive(Debug)]
struct Listening {
    link: Arc<Link>,
    mailbox: Arc<Mailbox>,
    heartbeat: Heartbeat,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.link.listened();
    }
}

/// A comment after each time of silence.
#[derive(Debug)]
struct Heartbeat {
    every: Duration,
    next: Pin<Box<Sleep>>,
}

impl Heartbeat {
    fn new(every: Duration) -> Self {
        Self { every, next: Box::pin(tokio::time::sleep(every)) }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        ready!(self.next.as_mut().poll(context));
        self.restart();
        // Asked again at once by whoever got a frame, so that the time after is watched as well.
        Poll::Ready(Bytes::from_static(COMMENT))
    }

    fn restart(&mut self) {
        self.next.as_mut().reset(Instant::now() + self.every);
    }
}

fn event(parcel: Parcel) -> Bytes {
    let (Parcel::Answer(message, _) | Parcel::Other(message)) = parcel;
    event_of(&message)
}

impl Body for ChildBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let (taken, heartbeat) = match &mut self.0 {
            Kind::Whole(message) => {
                return Poll::Ready(message.take().map(|message| Ok(Frame::data(message))));
            }
            Kind::Stream(streamed) => {
                let Streamed { exchange, first, heartbeat } = &mut **streamed;
                if let Some(first) = first.take() {
                    return Poll::Ready(Some(Ok(Frame::data(event(first)))));
                }
                if exchange.owed == 0 {
                    return Poll::Ready(None);
                }
                let taken = exchange.poll_next(context);
                (taken.map_err(|end| UpstreamBodyError(Box::new(end))).map_ok(Some), heartbeat)
            }
            Kind::General(listening) => {
                let taken = listening.mailbox.poll_take(context).map(|taken| Ok(taken.ok()));
                (taken, &mut listening.heartbeat)
            }
        };
        match taken {
            Poll::Ready(taken) => {
                heartbeat.restart();
                Poll::Ready(taken_frame(taken))
            }
            Poll::Pending => heartbeat.poll(context).map(|comment| Some(Ok(Frame::data(comment)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(message) => message.is_none(),
            Kind::Stream(_) | Kind::General(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(message) => {
                SizeHint::with_exact(message.as_ref().map_or(0, |message| message.len() as u64))
            }
            Kind::Stream(_) | Kind::General(_) => SizeHint::default(),
        }
    }
}

fn taken_frame(
    taken: Result<Option<Parcel>, UpstreamBodyError>,
) -> Option<Result<Frame<Bytes>, UpstreamBodyError>> {
    match taken {
        Ok(parcel) => parcel.map(|parcel| Ok(Frame::data(event(parcel)))),
        Err(error) => Some(Err(error)),
    }
}
