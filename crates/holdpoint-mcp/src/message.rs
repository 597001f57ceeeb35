//! A shallow look at one message from a client: enough to tell a tool call from everything else, and no more.
//!
//! What a lenient server could read as a tool call must not be forwarded as something else, so whatever two readers
//! could read differently is refused: equal keys, keys that differ only in case (`Method`, `paramſ`: CVE-2026-27896),
//! byte order marks, text that is not UTF-8, a method that is `tools/call` in another spelling. The whole text is
//! validated as JSON on the way, so no comment or single quote can hide a second reading either.

mod call;
mod cancellation;
mod id;
mod object;
mod splice;

pub(crate) use call::{CallFrame, CallMessage, task_id};
pub(crate) use cancellation::{Cancellation, Reason};
pub(crate) use id::IdKey;
pub(crate) use object::{Flaw, Object, bare, place, replaced, text_of};
pub(crate) use splice::Splice;

use serde_json::value::RawValue;
use std::{borrow::Cow, collections::HashSet};

pub(crate) const TOOLS_CALL: &str = "tools/call";

/// Each call of a batch may be held by itself.
const BATCH_MESSAGES_MAX: usize = 256;

pub(crate) const PARSE_ERROR: i32 = -32700;
pub(crate) const INVALID_REQUEST: i32 = -32600;
pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
pub(crate) const INVALID_PARAMS: i32 = -32602;
pub(crate) const INTERNAL_ERROR: i32 = -32603;
pub(crate) const HEADER_MISMATCH: i32 = -32020;

/// One message, or several in one.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    One(Single<'a>),
    Batch(Batch<'a>),
}

/// Several messages that came as one.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) messages: Vec<Single<'a>>,
    /// Their texts.
    raw: Vec<&'a str>,
}

impl<'a> Batch<'a> {
    /// Each message with its text.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&Single<'a>, &'a str)> {
        self.messages.iter().zip(self.raw.iter().copied())
    }

    /// Whether it has to be taken apart.
    pub(crate) fn has_call(&self) -> bool {
        self.messages.iter().any(|message| matches!(message, Single::Call(_)))
    }
}

/// One message.
#[derive(Debug)]
pub(crate) enum Single<'a> {
    Call(Box<CallMessage<'a>>),
    /// A request or notification of another kind. The method is decoded.
    Other {
        method: Cow<'a, str>,
        id: Option<&'a str>,
        params: Option<&'a RawValue>,
    },
    /// No method: an answer to a request of the server.
    Answer,
}

impl<'a> Single<'a> {
    /// What a request is answered by, as it stands there.
    pub(crate) const fn id_raw(&self) -> Option<&'a str> {
        match self {
            Self::Call(call) => Some(call.id_raw),
            Self::Other { id, .. } => *id,
            Self::Answer => None,
        }
    }
}

/// Why a message is not forwarded.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    /// The raw id to answer to, where there is one.
    pub(crate) id: Option<&'a str>,
    pub(crate) code: i32,
    pub(crate) problem: String,
}

impl<'a> Refused<'a> {
    fn new(id: Option<&'a str>, code: i32, problem: impl Into<String>) -> Self {
        Self { id, code, problem: problem.into() }
    }

    /// A batch where there are none.
    pub(crate) fn batches() -> Self {
        Self::new(None, INVALID_REQUEST, "this session's protocol revision has no batches")
    }

    /// Without our own members it is no call any more.
    pub(crate) fn unclear() -> Self {
        Self::new(None, INVALID_PARAMS, "`params` cannot be read")
    }

    /// A request that is wrong as a whole.
    pub(crate) fn invalid(problem: &str) -> Self {
        Self::new(None, INVALID_REQUEST, problem)
    }
}

/// Looks at one message.
pub(crate) fn look(bytes: &[u8]) -> Result<Message<'_>, Refused<'_>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Refused::new(None, PARSE_ERROR, "the message is not UTF-8"))?;
    if text.trim_ascii_start().starts_with('[') {
        look_at_batch(text)
    } else {
        single(text).map(Message::One)
    }
}

fn look_at_batch<'a>(text: &'a str) -> Result<Message<'a>, Refused<'a>> {
    let parts: Vec<&'a RawValue> = serde_json::from_str(text)
        .map_err(|error| Refused::new(None, PARSE_ERROR, format!("the message is not JSON: {error}")))?;
    if parts.is_empty() {
        return Err(Refused::new(None, INVALID_REQUEST, "the batch is empty"));
    }
    if parts.len() > BATCH_MESSAGES_MAX {
        let problem = format!("the batch has more than {BATCH_MESSAGES_MAX} messages");
        return Err(Refused::new(None, INVALID_REQUEST, problem));
    }
    // One that is refused refuses all: nothing of the batch has gone anywhere yet.
    let raw: Vec<&str> = parts.into_iter().map(RawValue::get).collect();
    let messages: Vec<_> = raw.iter().map(|text| single(text)).collect::<Result<_, _>>()?;
    let mut ids = HashSet::new();
    if messages.iter().filter_map(Single::id_raw).filter_map(IdKey::read).any(|id| !ids.insert(id)) {
        // The answer to one would be taken for the other's.
        return Err(Refused::new(None, INVALID_REQUEST, "two requests of the batch have the same `id`"));
    }
    Ok(Message::Batch(Batch { messages, raw }))
}

fn single(text: &str) -> Result<Single<'_>, Refused<'_>> {
    let object = match Object::read(text) {
        Ok(object) => object,
        Err(Flaw::Syntax(problem)) => {
            return Err(Refused::new(None, PARSE_ERROR, format!("the message is not JSON: {problem}")));
        }
        Err(flaw @ (Flaw::NotAnObject | Flaw::Ambiguous(_) | Flaw::TooManyMembers)) => {
            return Err(Refused::new(None, INVALID_REQUEST, format!("the message {flaw}")));
        }
    };
    let id = object.get("id").map(RawValue::get);
    // An id that cannot be one is not echoed.
    let echo = id.filter(|raw| IdKey::read(raw).is_some());
    object
        .refuse_variants_of(&["jsonrpc", "id", "method", "params", "result", "error"])
        .map_err(|flaw| Refused::new(echo, INVALID_REQUEST, format!("the message {flaw}")))?;
    let Some(method) = object.get("method") else {
        return Ok(Single::Answer);
    };
    let Some(method) = text_of(method) else {
        return Err(Refused::new(echo, INVALID_REQUEST, "`method` is not a string"));
    };
    let params = object.get("params");
    if method == TOOLS_CALL {
        return CallMessage::read(text, id, params).map(|call| Single::Call(Box::new(call)));
    }
    if holdpoint_core::same_key(bare(&method), TOOLS_CALL) {
        let problem = "`method` is `tools/call` in another spelling";
        return Err(Refused::new(echo, INVALID_REQUEST, problem));
    }
    Ok(Single::Other { method, id, params })
}

/// The tool call that `bytes` are, if they are one.
pub(crate) fn call_in(bytes: &[u8]) -> Option<Box<CallMessage<'_>>> {
    match look(bytes) {
        Ok(Message::One(Single::Call(call))) => Some(call),
        Ok(Message::One(Single::Other { .. } | Single::Answer) | Message::Batch(_)) | Err(_) => None,
    }
}

/// Whether `message` is the answer to the request `id`.
pub(crate) fn is_answer_to(message: &str, id: &IdKey) -> bool {
    let Ok(object) = Object::read_leniently(message) else {
        return false;
    };
    object.get("method").is_none()
        && object.get("id").and_then(|raw| IdKey::read(raw.get())).is_some_and(|answered| answered == *id)
}

#[cfg(test)]
mod tests;
