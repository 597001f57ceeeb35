//! What is read of a message on its way to a child, and how its ids are exchanged.
//!
//! A child of many clients must not be told anything by one of them that it takes for something of another: what two
//! readers could read differently is refused there.

use crate::{
    message::{INVALID_PARAMS, INVALID_REQUEST, IdKey, Object, PARSE_ERROR, place, text_of},
    protocol::{CAPABILITIES_KEY, VERSION_KEY},
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One message of a client.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) text: &'a str,
    pub(super) kind: Kind<'a>,
    pub(super) params: Option<&'a RawValue>,
    pub(super) meta: Meta<'a>,
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    Request {
        id: &'a str,
        key: IdKey,
        method: Cow<'a, str>,
    },
    Notification {
        method: Cow<'a, str>,
    },
    /// To a request of the server's.
    Answer,
}

/// What we read of `params._meta`.
#[derive(Debug, Default)]
pub(super) struct Meta<'a> {
    pub(super) token: Option<&'a str>,
    /// The raw value.
    pub(super) version: Option<&'a RawValue>,
    capable: bool,
    /// It has two readings.
    flaw: Option<String>,
}

/// A message that goes no further, as a JSON-RPC error.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) id: Option<String>,
    pub(super) code: i32,
    pub(super) problem: String,
}

impl<'a> Reading<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, Malformed> {
        let malformed = |code, problem: String| Malformed { id: None, code, problem };
        let object =
            Object::read(text).map_err(|flaw| malformed(PARSE_ERROR, format!("the message {flaw}")))?;
        let id = object.get("id").map(RawValue::get);
        let kind = match (object.get("method"), id) {
            (None, _) => Kind::Answer,
            (Some(method), id) => {
                let method = text_of(method)
                    .ok_or_else(|| malformed(INVALID_REQUEST, "`method` is not a string".into()))?;
                match id.map(|id| (id, IdKey::read(id))) {
                    None => Kind::Notification { method },
                    Some((id, Some(key))) => Kind::Request { id, key, method },
                    Some((_, None)) => {
                        let problem = "the `id` is neither a string nor a number".into();
                        return Err(malformed(INVALID_REQUEST, problem));
                    }
                }
            }
        };
        let params = object.get("params");
        let meta = params.map(Meta::of).unwrap_or_default();
        Ok(Self { text, kind, params, meta })
    }

    pub(super) fn id(&self) -> Option<&'a str> {
        match &self.kind {
            Kind::Request { id, .. } => Some(id),
            Kind::Notification { .. } | Kind::Answer => None,
        }
    }

    pub(super) fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method } => Some(method),
            Kind::Answer => None,
        }
    }

    /// Refuses what has two readings, before it goes to a child of many clients.
    pub(super) fn unambiguous(&self) -> Result<(), Malformed> {
        match &self.meta.flaw {
            None => Ok(()),
            Some(problem) => Err(self.malformed(INVALID_PARAMS, problem.clone())),
        }
    }

    pub(super) fn malformed(&self, code: i32, problem: impl Into<String>) -> Malformed {
        Malformed { id: self.id().map(str::to_owned), code, problem: problem.into() }
    }

    /// The request that a cancellation is about.
    pub(super) fn cancelled(&self) -> Option<IdKey> {
        match &self.kind {
            Kind::Notification { method } if method == "notifications/cancelled" => {
                let params = Object::read_leniently(self.params?.get()).ok()?;
                IdKey::read(params.get("requestId")?.get())
            }
            Kind::Request { .. } | Kind::Notification { .. } | Kind::Answer => None,
        }
    }
}

impl<'a> Meta<'a> {
    fn of(params: &'a RawValue) -> Self {
        let (params, flaw) = members("params", params);
        let Some(meta) = params.and_then(|params| params.get("_meta")) else {
            return Self { flaw, ..Self::default() };
        };
        let (meta, meta_flaw) = members("params._meta", meta);
        let flaw = flaw.or(meta_flaw);
        let Some(meta) = meta else {
            return Self { flaw, ..Self::default() };
        };
        let capable = meta.get(CAPABILITIES_KEY).is_some_and(|value| value.get().starts_with('{'));
        let (token, version) = (meta.get("progressToken").map(RawValue::get), meta.get(VERSION_KEY));
        Self { token, version, capable, flaw }
    }

    /// It says all that a stateless request has to say.
    pub(super) fn is_complete(&self) -> bool {
        self.capable && self.version.is_some_and(|version| text_of(version).is_some())
    }
}

/// The members of an object, and why they have two readings. What is no object is the server's to judge.
fn members<'a>(what: &str, raw: &'a RawValue) -> (Option<Object<'a>>, Option<String>) {
    let flaw = match Object::read(raw.get()) {
        Ok(object) => return (Some(object), None),
        Err(flaw) => flaw,
    };
    let object = Object::read_leniently(raw.get()).ok();
    let flaw = object.is_some().then(|| format!("`{what}` {flaw}"));
    (object, flaw)
}

/// `text` on one line, with other texts in the place of some of its parts, which were borrowed from it. A line end inside is
/// one between two tokens: in strings JSON has none.
pub(super) fn spliced(text: &str, changes: &mut [(&str, &str)]) -> Vec<u8> {
    changes.sort_by_key(|(part, _)| part.as_ptr());
    let longer: usize = changes.iter().map(|(_, new)| new.len()).sum();
    let mut line = Vec::with_capacity(text.len().saturating_add(longer).saturating_add(1));
    let mut rest = 0;
    for (part, new) in changes {
        let place = place(text, part);
        on_one_line(&mut line, text.get(rest..place.start).unwrap_or_default());
        line.extend_from_slice(new.as_bytes());
        rest = place.end;
    }
    on_one_line(&mut line, text.get(rest..).unwrap_or_default());
    line
}

fn on_one_line(line: &mut Vec<u8>, text: &str) {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        line.extend_from_slice(text.as_bytes());
    } else {
        line.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    }
}
