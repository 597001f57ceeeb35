//! One message there, and what comes back of it.

use super::{
    super::session::{Session, lock},
    Asked, Cargo, Departure, Era, Full, Link, Serial,
    failure::Failure,
};
use crate::{
    http::{Cut, collect_answer, is_stream},
    message::{IdKey, Object},
    outcome,
    protocol::SESSION_ID,
    reply,
    upstream::{Reached, UpstreamBody},
};
use bytes::Bytes;
use futures_util::{
    future::Abortable,
    stream::{FuturesUnordered, Stream},
};
use http::{HeaderMap, Method, Response, StatusCode};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

impl Session {
    /// Gives a message to the link. Where there is no room, its asker is told so.
    pub(in super::super) fn post(&self, link: &Link, body: Bytes, cargo: Cargo) -> Serial {
        match link.push(body, cargo) {
            Ok(serial) => serial,
            Err(Full(serial, cargo)) => {
                for asked in &cargo.asked() {
                    self.no_answer(asked, cargo.frame(), Failure::Busy);
                }
                serial
            }
        }
    }

    /// Sends what waits and takes what comes back, until the client cannot be written to, or all was said and answered.
    /// Everything is in this one task: a message costs no task of its own.
    pub(in super::super) async fn pump_link(&self) {
        let super::super::server::ServerSide::Link(link) = &self.server else {
            return;
        };
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some((departure, registration)) = link.depart() {
                under_way.push(Abortable::new(self.exchange(departure), registration));
            }
            if link.is_over() {
                return;
            }
            std::future::poll_fn(|context| self.poll_link(link, Pin::new(&mut under_way), context)).await;
            if self.to_client.flush().await.is_err() {
                return;
            }
        }
    }

    /// Ready when there is something to do that is no exchange's own business.
    fn poll_link(
        &self,
        link: &Link,
        mut under_way: Pin<&mut impl Stream>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        link.register(context.waker());
        while let Poll::Ready(Some(_)) = under_way.as_mut().poll_next(context) {}
        if link.can_depart() || link.is_over() || !self.to_client.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    async fn exchange(&self, mut departure: Departure<'_>) {
        let link = departure.link;
        if matches!(departure.cargo, Cargo::Listen) {
            return self.listen(link).await;
        }
        if let Cargo::Cancel(request) = &departure.cargo {
            link.until_sent(request).await;
        }
        let revision = self.revision_spoken();
        let body = std::mem::take(&mut departure.body);
        let (headers, era) = link.headers(&body, &departure.cargo, revision.as_deref(), &self.catalog);
        departure.is_in(era);
        let failure = match link.upstream.send(&self.options.principal, Method::POST, headers, body).await {
            Ok(response) => {
                departure.note_session(&response);
                self.take(&departure, era, response).await
            }
            Err(error) => {
                let server = &self.options.guard.server;
                tracing::warn!(%server, error = %error.chain(), "the tool server gave no answer");
                match error.reached {
                    Reached::Nobody => Failure::Unsent,
                    Reached::Maybe => Failure::Lost,
                }
            }
        };
        let frame = departure.cargo.frame();
        for asked in departure.unanswered() {
            self.no_answer(asked, frame, failure);
        }
    }

    pub(super) fn revision_spoken(&self) -> Option<String> {
        lock(&self.revision).clone()
    }

    /// Passes on what came back. Says what to tell those who have no answer after that.
    async fn take(&self, departure: &Departure<'_>, era: Era, response: Response<UpstreamBody>) -> Failure {
        let (parts, body) = response.into_parts();
        let status = parts.status;
        if status.is_success() && is_stream(&parts.headers) {
            return self.follow(departure, era, body).await;
        }
        let bytes = match collect_answer(body, &parts.headers, self.options.line_bytes_max).await {
            Ok(bytes) => bytes,
            Err(Cut::TooLarge) => return Failure::TooLong,
            Err(Cut::BrokenOff) => return Failure::Lost,
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_ascii();
        if departure.asked.is_empty() && !status.is_success() {
            let server = &self.options.guard.server;
            tracing::warn!(%server, %status, "the tool server did not take a message");
        }
        if self.pass_body(departure, status, text) {
            return Failure::Lost;
        }
        match status {
            StatusCode::NOT_FOUND if era == Era::Handshake && departure.link.session_id().is_some() => {
                Failure::SessionEnded
            }
            status if status.is_success() => Failure::Unreadable(status),
            status => Failure::Status(status),
        }
    }

    /// `false`: there was no message in the body that the client could make anything of.
    fn pass_body(&self, departure: &Departure<'_>, status: StatusCode, text: &str) -> bool {
        if status.is_success() {
            return self.deliver(departure.link, text);
        }
        let Ok(object) = Object::read_leniently(text) else {
            return false;
        };
        let asked = match (object.get("method"), object.get("id").and_then(|id| IdKey::read(id.get()))) {
            (None, Some(key)) => departure.asked.iter().any(|asked| asked.key == key),
            _ => false,
        };
        if asked {
            return self.deliver(departure.link, text);
        }
        // A server that refuses a request need not have read its id.
        let without_id = object.get("id").is_none_or(|id| id.get() == "null");
        let is_error = object.get("error").is_some_and(|error| error.get().starts_with('{'));
        match (&*departure.asked, outcome::fragment_of(&object)) {
            ([Asked { raw, .. }], Some(error)) if status.is_client_error() && without_id && is_error => {
                let answer = reply::answer(raw, &error);
                self.deliver(departure.link, &String::from_utf8_lossy(&answer))
            }
            (_, _) => false,
        }
    }

    /// Gives one message of the server to whom it concerns, as one line. `false`: it is none.
    pub(super) fn deliver(&self, link: &Link, text: &str) -> bool {
        let Some(answers) = answers_in(text) else {
            return false;
        };
        let mut out = Vec::with_capacity(text.len().saturating_add(1));
        // JSON has line ends only between tokens.
        out.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        out.push(b'\n');
        self.on_server_line(&out);
        for key in &answers {
            link.answered(key);
        }
        true
    }

    /// Takes leave of a server that keeps a session for us.
    pub(in super::super) async fn end_link(&self, grace: Duration) {
        let super::super::server::ServerSide::Link(link) = &self.server else {
            return;
        };
        if link.session_id().is_none() {
            return;
        }
        let mut headers = HeaderMap::with_capacity(2);
        link.name_session(self.revision_spoken().as_deref(), &mut headers);
        debug_assert!(headers.contains_key(SESSION_ID));
        let left = link.upstream.send(&self.options.principal, Method::DELETE, headers, Bytes::new());
        let _server_may_be_gone = tokio::time::timeout(grace, left).await;
    }
}

impl Departure<'_> {
    /// What an answer means to what is sent after it.
    fn note_session(&self, response: &Response<UpstreamBody>) {
        match &self.cargo {
            Cargo::Initialize(_) => self.link.opened(response.headers()),
            Cargo::Initialized if response.status().is_success() => {
                let _no_request = self.link.push(Bytes::new(), Cargo::Listen);
            }
            Cargo::Initialized
            | Cargo::Request(_)
            | Cargo::Subscribe(_)
            | Cargo::Call(_)
            | Cargo::Batch(_)
            | Cargo::Cancel(_)
            | Cargo::Word
            | Cargo::Listen => {}
        }
    }
}

/// The ids that a message, or a batch of them, answers; `None`: it is neither.
fn answers_in(text: &str) -> Option<Vec<IdKey>> {
    if text.starts_with('[') {
        let parts: Vec<Object<'_>> = serde_json::from_str(text).ok()?;
        return Some(parts.iter().filter_map(answer_of).collect());
    }
    let object = Object::read_leniently(text).ok()?;
    let is_message =
        object.get("method").is_some() || object.get("result").is_some() || object.get("error").is_some();
    is_message.then(|| answer_of(&object).into_iter().collect())
}

fn answer_of(object: &Object<'_>) -> Option<IdKey> {
    if object.get("method").is_some() {
        return None;
    }
    IdKey::read(object.get("id")?.get())
}
