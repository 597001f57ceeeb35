//! Answers in which something is changed: what a server says of itself, and of its tools.

use super::{
    Proxy,
    body::{self, ProxyBody},
    checks,
    session::Session,
    sse::{Event, Events},
};
use crate::{
    compat,
    guard::Offer,
    message::{IdKey, Object, Single},
    tasks,
    upstream::UpstreamBody,
};
use bytes::Bytes;
use http::{Response, StatusCode, header, request::Parts};
use std::sync::Arc;

/// What a server says of itself, or one page of its tools.
const TOLD_BYTES_MAX: usize = 16 << 20;

/// What is changed in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rewrite {
    Nothing,
    /// What the server knows, with what we add to it.
    Discovery,
    /// The lists of tools among the answers to one request or one batch.
    Lists(Vec<IdKey>, Answers),
}

/// How many answers are owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    One,
    Several,
}

impl Rewrite {
    /// What a message of the server becomes; `None`: it stays as it is.
    fn of(&self, text: &str) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Discovery => tasks::advertised(text),
            Self::Lists(asked, _) => compat::readable(text, asked),
        }
    }

    /// An event of the server. A list could be read again by its event's id, as the server says it: so it has none.
    fn of_event(&self, event: &Event) -> Bytes {
        let ours = event.data().and_then(|data| self.of(&data));
        match (self, ours) {
            (Self::Nothing | Self::Discovery, None) => event.0.clone(),
            (Self::Nothing | Self::Discovery, Some(ours)) => event.with_data(ours.as_bytes()),
            (Self::Lists(..), None) => event.without_id(),
            (Self::Lists(..), Some(ours)) => Event(event.with_data(ours.as_bytes())).without_id(),
        }
    }

    /// Whether nothing follows an event with this message.
    fn ends_with(&self, data: &str) -> bool {
        match self {
            Self::Nothing | Self::Discovery | Self::Lists(_, Answers::One) => is_an_answer(data),
            Self::Lists(_, Answers::Several) => false,
        }
    }
}

impl Proxy {
    /// What is changed in the answer to `messages`.
    pub(super) fn rewrite_of(&self, messages: &[Single<'_>]) -> Rewrite {
        let guard = &self.options.guard;
        let lists = guard.rewritten_lists(messages);
        if !lists.is_empty() {
            let answers = if messages.len() == 1 { Answers::One } else { Answers::Several };
            return Rewrite::Lists(lists, answers);
        }
        let discovers =
            matches!(messages, [Single::Other { method, id: Some(_), .. }] if method == "server/discover");
        match (discovers, guard.offers_tasks()) {
            (true, Offer::Tasks) => Rewrite::Discovery,
            (true, Offer::Nothing) | (false, _) => Rewrite::Nothing,
        }
    }

    /// The answer of the server, changed.
    pub(super) async fn rewritten(
        &self,
        mut parts: Parts,
        bytes: Bytes,
        session: &Arc<Session>,
        rewrite: Rewrite,
    ) -> Response<ProxyBody> {
        checks::strip_request(&mut parts.headers);
        // What is to be changed has to be read.
        parts.headers.remove(header::ACCEPT_ENCODING);
        let sent = self.upstream.send(session.principal(), parts.method, parts.headers, bytes).await;
        let (head, body) = match sent {
            Ok(response) if response.status().is_success() => response.into_parts(),
            Ok(response) => return body::pass(response, Some(&session.catalog)),
            Err(error) => return self.unreachable(&error),
        };
        if let Ok(Some(id)) = checks::session_id(&head.headers) {
            self.sessions.opened(id, session, None);
        }
        let told = if body::is_stream(&head.headers) {
            in_stream(Events::new(body, TOLD_BYTES_MAX), &rewrite, session).await
        } else {
            let text = body::collect_text(body, &head.headers, TOLD_BYTES_MAX).await;
            text.map(|text| rewrite.of(&text).unwrap_or(text).into())
        };
        match told {
            Some(told) => body::whole(head, told),
            None => body::plain(StatusCode::BAD_GATEWAY, "the tool server's answer cannot be read\n"),
        }
    }
}

/// `None`: the stream broke off, or is too long.
async fn in_stream(mut events: Events<UpstreamBody>, rewrite: &Rewrite, session: &Session) -> Option<Bytes> {
    let mut told = Vec::new();
    while let Some(event) = events.next().await.ok()? {
        told.extend_from_slice(&rewrite.of_event(&event));
        if told.len() > TOLD_BYTES_MAX {
            return None;
        }
        let Some(data) = event.data() else {
            continue;
        };
        if data.contains("list_changed") {
            session.catalog.mark_stale();
        }
        if rewrite.ends_with(&data) {
            break;
        }
    }
    Some(told.into())
}

fn is_an_answer(text: &str) -> bool {
    Object::read_leniently(text)
        .is_ok_and(|object| object.get("method").is_none() && object.get("id").is_some())
}
