//! What a server answers with: one message, a stream of them, or something else.

use super::wire::MESSAGE_BYTES_MAX;
use crate::{
    http::{Events, collect_text, is_stream},
    message::{IdKey, Object, is_answer_to},
    protocol::SESSION_ID,
    upstream::{Reached, SendError, UpstreamBody},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// A response, looked at.
#[derive(Debug)]
pub(super) enum Told {
    Message(StatusCode, String),
    Stream(Events<UpstreamBody>),
    /// Nothing that a bridge could translate, with its body as it was.
    Foreign(StatusCode, HeaderMap, String),
}

pub(super) async fn told(response: Response<UpstreamBody>) -> Result<Told, SendError> {
    let (parts, body) = response.into_parts();
    if parts.status.is_success() && is_stream(&parts.headers) {
        return Ok(Told::Stream(Events::new(body, MESSAGE_BYTES_MAX)));
    }
    let text = collect_text(body, &parts.headers, MESSAGE_BYTES_MAX).await;
    let text = text.ok_or_else(|| SendError::new(Reached::Maybe, "its answer cannot be read"))?;
    let is_answer = Object::read_leniently(&text)
        .is_ok_and(|object| object.get("result").is_some() || object.get("error").is_some());
    Ok(if is_answer {
        Told::Message(parts.status, text)
    } else {
        Told::Foreign(parts.status, parts.headers, text)
    })
}

/// The whole answer to a request of the bridge's own.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) status: StatusCode,
    /// The session that the server opened with it.
    pub(super) session: Option<HeaderValue>,
    /// `None`: it has no JSON-RPC answer in it.
    pub(super) message: Option<String>,
}

pub(super) async fn whole(response: Response<UpstreamBody>, id: &IdKey) -> Result<Whole, SendError> {
    let (status, session) = (response.status(), response.headers().get(&SESSION_ID).cloned());
    let message = match told(response).await? {
        Told::Message(_, text) => Some(text),
        Told::Foreign(..) => None,
        Told::Stream(mut events) => loop {
            let next = events.next().await;
            let Some(event) = next.map_err(|error| SendError::new(Reached::Maybe, error))? else {
                break None;
            };
            if let Some(data) = event.data().filter(|data| is_answer_to(data, id)) {
                break Some(data);
            }
        },
    };
    Ok(Whole { status, session, message })
}

impl Whole {
    /// The raw `result`.
    pub(super) fn result(&self) -> Option<&str> {
        super::wire::raw_in(self.message.as_deref()?, "result")
    }
}
