//! What the latest answer of the server means for a task.

use crate::message::{Object, text_of};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The latest answer, as it is kept.
#[derive(Debug)]
pub(crate) enum Latest<'a> {
    /// The last one: the raw result.
    Result(&'a str),
    /// The last one: the raw error.
    Error(&'a str),
    /// The server made a task of its own.
    AtServer(Cow<'a, str>),
    /// The server asks for input.
    Asks {
        /// The raw `inputRequests`.
        requests: &'a str,
        /// The raw `requestState`; `None`: the server keeps none.
        state: Option<&'a str>,
    },
}

impl<'a> Latest<'a> {
    /// From a `result` or `error` member.
    pub(crate) fn read(fragment: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(fragment).ok()?;
        if let Some(error) = text.strip_prefix(r#""error":"#) {
            return Some(Self::Error(error));
        }
        let raw = text.strip_prefix(r#""result":"#)?;
        let Ok(result) = Object::read_leniently(raw) else {
            return Some(Self::Result(raw));
        };
        let member = |name| result.get(name);
        Some(match member("resultType").and_then(text_of).as_deref() {
            Some("task") => match member("taskId").and_then(text_of) {
                Some(task) => Self::AtServer(task),
                None => Self::Result(raw),
            },
            Some("input_required") => Self::Asks {
                requests: member("inputRequests").map_or("{}", RawValue::get),
                state: member("requestState").map(RawValue::get),
            },
            Some(_) | None => Self::Result(raw),
        })
    }
}
