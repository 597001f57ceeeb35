//! How far the one request to the server has come.

use crate::{
    bridge::{answer::Told, wire},
    http::Events,
    upstream::{SendError, UpstreamBody},
};
use http::{Response, StatusCode, header};
use std::{fmt, future::Future, pin::Pin};

/// The request on its way, or its answer.
pub(super) enum Stage {
    Sending(Pin<Box<dyn Future<Output = Result<Told, SendError>> + Send>>),
    Reading(Events<UpstreamBody>),
    Over,
}

/// One thing that the server said.
pub(super) enum Read {
    /// Its stream begins.
    Begun,
    Message(String),
    Whole(StatusCode, String),
    Foreign(Response<UpstreamBody>),
    Alive,
    End,
}

impl Stage {
    /// What the server says next. Given up half-way, nothing is lost.
    pub(super) async fn read(&mut self) -> Result<Read, SendError> {
        if let Self::Sending(sending) = self {
            let told = sending.await;
            *self = Self::Over;
            match told? {
                Told::Stream(events) => {
                    *self = Self::Reading(events);
                    return Ok(Read::Begun);
                }
                Told::Message(status, text) => return Ok(Read::Whole(status, text)),
                Told::Foreign(status, headers, text) => {
                    let mut response = wire::json(status, text);
                    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
                        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
                    }
                    return Ok(Read::Foreign(response));
                }
            }
        }
        let Self::Reading(events) = self else {
            return Ok(Read::End);
        };
        if let Ok(Some(event)) = events.next().await {
            return Ok(event.data().map_or(Read::Alive, Read::Message));
        }
        *self = Self::Over;
        Ok(Read::End)
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sending(_) => "Sending",
            Self::Reading(_) => "Reading",
            Self::Over => "Over",
        })
    }
}
