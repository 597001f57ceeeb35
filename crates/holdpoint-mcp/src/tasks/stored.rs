//! What is kept with a ticket: the client's message, and what of its headers concerns the protocol.

use crate::message::{CallFrame, CallMessage, Object, call_in, replaced};
use holdpoint_core::TicketRequest;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// Of the client's headers, those that a server needs in order to read the message.
const KEPT: &str = "mcp-";

/// A call as it is run for a task: under an id of our own, since the client takes its own for answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    message: String,
    headers: Vec<(String, String)>,
}

impl Stored {
    /// `id`: what nobody else on the same line uses. `None`: the message has no place for it.
    pub(crate) fn new(frame: &CallFrame, id: &str, headers: &HeaderMap) -> Option<Self> {
        let text = std::str::from_utf8(&frame.bytes).ok()?;
        let headers = headers.iter().filter(|(name, _)| name.as_str().starts_with(KEPT));
        let headers = headers
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        Some(Self { message: renamed(text, id)?, headers: headers.collect() })
    }

    pub(super) fn read(request: &TicketRequest) -> Option<Self> {
        let value: Value = serde_json::from_slice(request.as_bytes()).ok()?;
        let headers = value.get("headers")?.as_array()?.iter().map(|header| {
            let part = |at: usize| header.get(at)?.as_str().map(str::to_owned);
            Some((part(0)?, part(1)?))
        });
        Some(Self {
            message: value.get("message")?.as_str()?.to_owned(),
            headers: headers.collect::<Option<_>>()?,
        })
    }

    pub(super) fn request(&self) -> TicketRequest {
        let text = json!({ "message": self.message, "headers": self.headers }).to_string();
        TicketRequest::new(text.into_bytes())
    }

    pub(super) fn frame(&self) -> Option<CallFrame> {
        Some(call_in(self.message.as_bytes())?.frame(self.message.clone().into()))
    }

    pub(crate) fn call(&self) -> Option<Box<CallMessage<'_>>> {
        call_in(self.message.as_bytes())
    }

    /// The same call with what the client said to the server's questions.
    pub(super) fn with_input(&self, id: &str, members: &[(&str, &str)]) -> Option<Self> {
        let object = Object::read_leniently(&self.message).ok()?;
        let params = super::wire::with_members(object.get("params")?.get(), members)?;
        let message = super::wire::with_value(&self.message, "params", &params)?;
        Some(Self { message: renamed(&message, id)?, headers: self.headers.clone() })
    }

    /// `headers` of a later request of the same client, with those of this call in the place of its own.
    pub(crate) fn over(&self, mut headers: HeaderMap) -> HeaderMap {
        let theirs: Vec<HeaderName> =
            headers.keys().filter(|name| name.as_str().starts_with(KEPT)).cloned().collect();
        for name in theirs {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                headers.append(name, value);
            }
        }
        headers
    }
}

/// The call under another id. Progress, which tasks have none of, would come under another name.
fn renamed(text: &str, id: &str) -> Option<String> {
    let id = Value::from(id).to_string();
    let text = match call_in(text.as_bytes())?.meta.progress_token {
        None => text.to_owned(),
        Some(token) => replaced(text, token, &id)?,
    };
    super::wire::with_value(&text, "id", &id)
}
