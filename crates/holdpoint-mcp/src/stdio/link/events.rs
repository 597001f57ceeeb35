//! Streams of events: answers to a message, or what the server says unasked.

use super::{super::session::Session, Departure, Era, Link, failure::Failure};
use crate::{
    http::{Event, Events, StreamError, is_stream},
    upstream::UpstreamBody,
};
use bytes::Bytes;
use http::Method;
use std::time::Duration;

/// A server has this long to end a stream on which all is answered; after that its connection is dropped.
const AFTER_ANSWER: Duration = Duration::from_secs(5);
/// A stream that brought nothing is asked for again so often.
const FRUITLESS_MAX: u32 = 30;
const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(30);

/// How far a stream was read, over all the connections on which it came.
#[derive(Debug, Default)]
struct Cursor {
    /// Of the last event that had one.
    last: Option<Box<str>>,
    /// How long the server wants us to wait.
    retry: Option<Duration>,
    /// Connections since the last event.
    fruitless: u32,
}

/// Why a stream is not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It ended, or broke off.
    Ended,
    TooLarge,
}

/// What a request for a stream came to.
enum Got {
    Stream(Events<UpstreamBody>),
    Refused,
    Unreachable,
}

impl Cursor {
    fn take(&mut self, event: &Event) {
        self.fruitless = 0;
        if let Some(id) = event.field("id").filter(|id| !id.contains('\0')) {
            self.last = (!id.is_empty()).then(|| id.into());
        }
        if let Some(retry) = event.field("retry").and_then(|retry| retry.parse().ok()) {
            self.retry = Some(Duration::from_millis(retry));
        }
    }

    /// Before the next connection; `None`: there were enough.
    async fn pause(&mut self) -> Option<()> {
        self.fruitless = self.fruitless.saturating_add(1);
        if self.fruitless > FRUITLESS_MAX {
            return None;
        }
        let first = self.retry.unwrap_or(DELAY_MIN);
        let doubled = first.saturating_mul(1 << self.fruitless.saturating_sub(1).min(16));
        tokio::time::sleep(doubled.min(DELAY_MAX)).await;
        Some(())
    }
}

impl Session {
    /// Reads the stream that answers a message to its end, over as many connections as it takes.
    pub(super) async fn follow(&self, departure: &Departure<'_>, era: Era, body: UpstreamBody) -> Failure {
        let mut cursor = Cursor::default();
        let mut events = self.events(body);
        loop {
            match self.read(departure.link, &mut events, &mut cursor, Some(departure)).await {
                End::TooLarge => return Failure::TooLong,
                End::Ended => {}
            }
            let can_resume = departure.waits() && era == Era::Handshake && cursor.last.is_some();
            if !can_resume {
                return Failure::Lost;
            }
            match self.resume(departure.link, &mut cursor).await {
                Some(resumed) => events = resumed,
                None => return Failure::Lost,
            }
        }
    }

    /// Hears what the server says unasked, as long as it wants to.
    pub(super) async fn listen(&self, link: &Link) {
        let mut cursor = Cursor::default();
        loop {
            match self.ask_for_stream(link, &cursor).await {
                Got::Stream(mut events) => {
                    if self.read(link, &mut events, &mut cursor, None).await == End::TooLarge {
                        let bytes_max = self.options.line_bytes_max;
                        self.too_long_from_server(None, bytes_max);
                    }
                }
                Got::Refused => return,
                Got::Unreachable => {}
            }
            if cursor.pause().await.is_none() {
                let server = &self.options.guard.server;
                tracing::warn!(%server, "the tool server's own stream cannot be had any more");
                return;
            }
        }
    }

    fn events(&self, body: UpstreamBody) -> Events<UpstreamBody> {
        Events::new(body, self.options.line_bytes_max)
    }

    /// Passes on each message of a stream, in order.
    async fn read(
        &self,
        link: &Link,
        events: &mut Events<UpstreamBody>,
        cursor: &mut Cursor,
        waits_for: Option<&Departure<'_>>,
    ) -> End {
        // A server may begin again with the event that we had last.
        let before = cursor.last.clone();
        loop {
            let all_said =
                waits_for.is_some_and(|departure| !departure.asked.is_empty() && !departure.waits());
            let next = if all_said {
                match tokio::time::timeout(AFTER_ANSWER, events.next()).await {
                    Ok(next) => next,
                    Err(_) => return End::Ended,
                }
            } else {
                events.next().await
            };
            let event = match next {
                Ok(Some(event)) => event,
                Ok(None) | Err(StreamError::Broken) => return End::Ended,
                Err(StreamError::TooLarge) => return End::TooLarge,
            };
            let again = before.is_some() && event.field("id") == before.as_deref();
            cursor.take(&event);
            // An event that came in one piece was not looked at before.
            if event.len() > self.options.line_bytes_max {
                return End::TooLarge;
            }
            let data = event.data().filter(|data| !again && !data.trim_ascii().is_empty());
            if let Some(data) = data
                && !self.deliver(link, data.trim_ascii())
            {
                tracing::debug!(server = %self.options.guard.server, "an event of the tool server is no message");
            }
            if self.to_client.is_full() && self.to_client.settle().await.is_err() {
                return End::Ended;
            }
        }
    }

    async fn resume(&self, link: &Link, cursor: &mut Cursor) -> Option<Events<UpstreamBody>> {
        loop {
            cursor.pause().await?;
            match self.ask_for_stream(link, cursor).await {
                Got::Stream(events) => return Some(events),
                Got::Refused => return None,
                Got::Unreachable => {}
            }
        }
    }

    async fn ask_for_stream(&self, link: &Link, cursor: &Cursor) -> Got {
        let headers = link.stream_headers(self.revision_spoken().as_deref(), cursor.last.as_deref());
        match link.upstream.send(&self.options.principal, Method::GET, headers, Bytes::new()).await {
            Ok(response) if response.status().is_success() && is_stream(response.headers()) => {
                Got::Stream(self.events(response.into_body()))
            }
            Ok(response) if response.status().is_server_error() => Got::Unreachable,
            Ok(_) => Got::Refused,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "the tool server's stream cannot be had now");
                Got::Unreachable
            }
        }
    }
}
