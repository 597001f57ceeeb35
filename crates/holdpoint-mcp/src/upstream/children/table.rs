//! Who waits for what of one child, and to whom what it says belongs.
//!
//! # Rules
//! 1. An answer goes to whoever sent the request, progress to whoever sent its token, and what names a subscription to whoever
//!    opened it.
//! 2. A child of one client may say anything to that client: the rest goes to the stream for it, or to the stream of a
//!    call, or waits until there is one.
//! 3. A child of many clients says the rest to nobody.

use super::{
    ChildLimits,
    mailbox::{End, Mailbox, Parcel, Put},
    reading::spliced,
};
use crate::{
    message::{IdKey, Object, text_of},
    protocol::SUBSCRIPTION_KEY,
};
use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;
use std::{collections::HashMap, sync::Arc};
use tokio::time::Instant;

/// Errors for which a response of its own has another status than 200, in the stateless era.
const HEADER_MISMATCH: &str = "-32020";
const MISSING_CAPABILITY: &str = "-32021";
const UNSUPPORTED_VERSION: &str = "-32022";
const METHOD_NOT_FOUND: &str = "-32601";
const INVALID_PARAMS: &str = "-32602";

/// Whose child it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// Of one session.
    Handshake,
    /// Of everybody who speaks the stateless revision.
    Stateless,
}

#[derive(Debug)]
pub(super) struct Table {
    era: Era,
    bytes_max: usize,
    calls: HashMap<IdKey, Call>,
    /// By the token that the child knows, the request that it came with.
    tokens: HashMap<IdKey, IdKey>,
    /// What goes to no request.
    pub(super) general: General,
    pub(super) is_over: bool,
    /// When a client was last heard of.
    pub(super) used: Instant,
    /// How many calls wait elsewhere before they are sent here.
    pub(super) kept: usize,
    next: u64,
}

/// The stream for what belongs to no request.
#[derive(Debug, Default)]
pub(super) struct General {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) is_taken: bool,
}

/// A request that the child has not answered.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) mailbox: Arc<Mailbox>,
    /// What the client calls it, where that is not what the child calls it.
    pub(super) id: Option<Box<str>>,
    pub(super) token: Option<Token>,
    /// Its response may hold more than the answer.
    pub(super) streams: bool,
    /// It said all that a stateless request has to say.
    pub(super) complete: bool,
    /// Its client has withdrawn it.
    pub(super) withdrawn: bool,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) at_child: IdKey,
    /// What the client calls it, where that is not what the child calls it.
    pub(super) raw: Option<Box<str>>,
}

/// What is to be done after a message of the child was looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Routed {
    Delivered,
    /// It belongs to nobody.
    Nobody,
    /// A request that nobody can answer.
    Unanswerable(String),
    /// The client of a request did not take what it was sent; the request is to be withdrawn.
    Overrun(IdKey),
}

impl Table {
    pub(super) fn new(era: Era, limits: &ChildLimits) -> Self {
        Self {
            era,
            bytes_max: limits.waiting_bytes_max,
            calls: HashMap::new(),
            tokens: HashMap::new(),
            general: General::default(),
            is_over: false,
            used: Instant::now(),
            kept: 0,
            next: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn is_in_use(&self) -> bool {
        !self.calls.is_empty() || self.general.is_taken || self.kept > 0
    }

    /// Where the answer to the request goes.
    pub(super) fn mailbox(&self, key: &IdKey) -> Option<Arc<Mailbox>> {
        self.calls.get(key).map(|call| Arc::clone(&call.mailbox))
    }

    /// Notes that its client withdrew the request. `None`: it has before, or there is none.
    pub(super) fn withdrawn(&mut self, key: &IdKey) -> Option<Arc<Mailbox>> {
        let call = self.calls.get_mut(key)?;
        let before = std::mem::replace(&mut call.withdrawn, true);
        (!before).then(|| Arc::clone(&call.mailbox))
    }

    /// Forgets the request, if it is still this one.
    pub(super) fn remove_of(&mut self, key: &IdKey, mailbox: &Arc<Mailbox>) -> bool {
        let is_this = self.calls.get(key).is_some_and(|call| Arc::ptr_eq(&call.mailbox, mailbox));
        is_this && self.remove(key).is_some()
    }

    /// A number that no other request of this child has.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn has(&self, key: &IdKey) -> bool {
        self.calls.contains_key(key)
    }

    pub(super) fn insert(&mut self, key: IdKey, call: Call) {
        if let Some(token) = &call.token {
            self.tokens.insert(token.at_child.clone(), key.clone());
        }
        self.calls.insert(key, call);
    }

    pub(super) fn remove(&mut self, key: &IdKey) -> Option<Call> {
        let call = self.calls.remove(key)?;
        if let Some(token) = &call.token
            && self.tokens.get(&token.at_child) == Some(key)
        {
            self.tokens.remove(&token.at_child);
        }
        Some(call)
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, end: End) {
        self.is_over = true;
        self.tokens.clear();
        for (_, call) in self.calls.drain() {
            call.mailbox.end(end);
        }
        self.general.mailbox.end(end);
    }

    /// One message of the child.
    pub(super) fn route(&mut self, text: &str, object: &Object<'_>) -> Routed {
        match (object.get("method").and_then(text_of), object.get("id")) {
            (None, Some(id)) => self.answer(text, object, id),
            (Some(method), id) => self.other(text, object, &method, id),
            (None, None) => Routed::Nobody,
        }
    }

    fn answer(&mut self, text: &str, object: &Object<'_>, id: &RawValue) -> Routed {
        let Some(key) = IdKey::read(id.get()) else {
            return Routed::Nobody;
        };
        let Some(call) = self.remove(&key) else {
            return Routed::Nobody;
        };
        self.used = Instant::now();
        let (message, status) = match &call.id {
            None => (Bytes::copy_from_slice(text.as_bytes()), StatusCode::OK),
            Some(raw) => {
                let mut changes = vec![(id.get(), &**raw)];
                let result = object.get("result").and_then(|result| subscription_in(result, &key));
                changes.extend(result.map(|subscription| (subscription, &**raw)));
                (spliced(text, &mut changes).into(), status_of(object, call.complete))
            }
        };
        // An answer has room: it is what was asked for.
        call.mailbox.put(Parcel::Answer(message, status), usize::MAX);
        Routed::Delivered
    }

    fn other(&self, text: &str, object: &Object<'_>, method: &str, id: Option<&RawValue>) -> Routed {
        let params = object.get("params");
        let named = params.and_then(|params| self.named_by(method, params));
        match self.era {
            Era::Handshake => self.give_client(text, named),
            Era::Stateless => match (named, id) {
                (Some((key, part)), _) => self.give_stream(&key, text, Some(part)),
                (None, Some(id)) => Routed::Unanswerable(id.get().to_owned()),
                (None, None) => Routed::Nobody,
            },
        }
    }

    /// The request that a message names, and by what.
    fn named_by<'a>(&self, method: &str, params: &'a RawValue) -> Option<(IdKey, &'a str)> {
        if method == "notifications/progress" {
            let token = Object::read_leniently(params.get()).ok()?.get("progressToken")?.get();
            return self.tokens.get(&IdKey::read(token)?).map(|key| (key.clone(), token));
        }
        let subscription = subscription_of(params)?;
        let key = IdKey::read(subscription)?;
        self.calls.contains_key(&key).then_some((key, subscription))
    }

    /// To the stream of the request `key`, which calls `part` by another name.
    fn give_stream(&self, key: &IdKey, text: &str, part: Option<&str>) -> Routed {
        let Some(call) = self.calls.get(key).filter(|call| call.streams) else {
            return Routed::Nobody;
        };
        let message = match (part, &call.id) {
            (Some(part), Some(id)) => {
                let is_token =
                    call.token.as_ref().filter(|token| IdKey::read(part).as_ref() == Some(&token.at_child));
                let new = is_token.and_then(|token| token.raw.as_deref()).unwrap_or(id);
                spliced(text, &mut [(part, new)]).into()
            }
            (_, _) => Bytes::copy_from_slice(text.as_bytes()),
        };
        match call.mailbox.put(Parcel::Other(message), self.bytes_max) {
            Put::Taken => Routed::Delivered,
            Put::Left => Routed::Nobody,
            Put::Full => Routed::Overrun(key.clone()),
        }
    }

    /// To the one client there is.
    fn give_client(&self, text: &str, named: Option<(IdKey, &str)>) -> Routed {
        if let Some((key, _)) = named {
            let routed = self.give_stream(&key, text, None);
            if routed != Routed::Nobody {
                return routed;
            }
        } else if !self.general.is_taken {
            // Any stream of the client's will do.
            let open = self.calls.iter().find(|(_, call)| call.streams && !call.mailbox.is_left());
            if let Some(key) = open.map(|(key, _)| key.clone()) {
                return self.give_stream(&key, text, None);
            }
        }
        let message = Bytes::copy_from_slice(text.as_bytes());
        loop {
            match self.general.mailbox.put(Parcel::Other(message.clone()), self.bytes_max) {
                Put::Taken => return Routed::Delivered,
                Put::Full if self.general.mailbox.drop_oldest() => {}
                Put::Left | Put::Full => return Routed::Nobody,
            }
        }
    }
}

/// The subscription that a message says it belongs to.
fn subscription_of(params: &RawValue) -> Option<&str> {
    memchr::memmem::find(params.get().as_bytes(), SUBSCRIPTION_KEY.as_bytes())?;
    let meta = Object::read_leniently(params.get()).ok()?.get("_meta")?;
    Object::read_leniently(meta.get()).ok()?.get(SUBSCRIPTION_KEY).map(RawValue::get)
}

fn subscription_in<'a>(result: &'a RawValue, key: &IdKey) -> Option<&'a str> {
    subscription_of(result).filter(|subscription| IdKey::read(subscription).as_ref() == Some(key))
}

/// The status of a response with this answer alone.
fn status_of(answer: &Object<'_>, complete: bool) -> StatusCode {
    let error = answer.get("error").and_then(|error| Object::read_leniently(error.get()).ok());
    match error.and_then(|error| error.get("code").map(RawValue::get)) {
        Some(HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION) => StatusCode::BAD_REQUEST,
        Some(INVALID_PARAMS) if !complete => StatusCode::BAD_REQUEST,
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(_) | None => StatusCode::OK,
    }
}
