//! What the headers of a request say. In the stateless era they repeat parts of the body.

use super::{Cargo, Era, Link};
use crate::{
    catalog::{Catalog, ParamHeader},
    http::encoded,
    message::{Object, TOOLS_CALL, text_of},
    protocol::{
        ACCEPT_EITHER, EVENT_STREAM, JSON, LAST_EVENT_ID, METHOD, NAME, PROTOCOL_VERSION, SESSION_ID,
        VERSION_KEY, name_key,
    },
};
use http::{HeaderMap, HeaderValue, header};
use serde_json::value::RawValue;
use std::borrow::Cow;

impl Link {
    /// The headers of a POST with this body. `revision` is the session's.
    pub(super) fn headers(
        &self,
        body: &[u8],
        cargo: &Cargo,
        revision: Option<&str>,
        catalog: &Catalog,
    ) -> (HeaderMap, Era) {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::ACCEPT, ACCEPT_EITHER);
        headers.insert(header::CONTENT_TYPE, JSON);
        match cargo {
            // It opens a session, and no revision is agreed on.
            Cargo::Initialize(_) => return (headers, Era::Handshake),
            Cargo::Initialized | Cargo::Batch(_) | Cargo::Listen => {}
            Cargo::Request(_) | Cargo::Subscribe(_) | Cargo::Call(_) | Cargo::Cancel(_) | Cargo::Word => {
                let may_be_stateless =
                    revision.is_none() || memchr::memmem::find(body, b"protocolVersion").is_some();
                if may_be_stateless && self.repeat(body, revision, catalog, &mut headers).is_some() {
                    return (headers, Era::Stateless);
                }
            }
        }
        self.name_session(revision, &mut headers);
        (headers, Era::Handshake)
    }

    /// The headers of a request for a stream, from after `last_event` on.
    pub(super) fn stream_headers(&self, revision: Option<&str>, last_event: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::ACCEPT, EVENT_STREAM);
        self.name_session(revision, &mut headers);
        if let Some(id) = last_event.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        headers
    }

    pub(super) fn name_session(&self, revision: Option<&str>, headers: &mut HeaderMap) {
        if let Some(id) = self.session_id() {
            headers.insert(SESSION_ID, id);
        }
        if let Some(revision) = revision.and_then(|revision| HeaderValue::from_str(revision).ok()) {
            headers.insert(PROTOCOL_VERSION, revision);
        }
    }

    /// `None`: the message is not of the stateless era.
    fn repeat(
        &self,
        body: &[u8],
        revision: Option<&str>,
        catalog: &Catalog,
        headers: &mut HeaderMap,
    ) -> Option<()> {
        let message = Object::read_leniently(std::str::from_utf8(body).ok()?).ok()?;
        let params = message.get("params").and_then(|params| Object::read_leniently(params.get()).ok());
        let method = message.get("method").and_then(text_of);
        let stated = params.as_ref().and_then(version_of);
        let version = match stated.map(|version| HeaderValue::from_str(&version)) {
            Some(Ok(version)) => {
                self.lock().stateless = Some(version.clone());
                version
            }
            // A notification need not say so.
            None if revision.is_none() => self.lock().stateless.clone()?,
            Some(Err(_)) | None => return None,
        };
        headers.insert(PROTOCOL_VERSION, version);
        if let Some(method) = &method
            && let Some(value) = encoded(method)
        {
            headers.insert(METHOD, value);
        }
        let name =
            method.as_deref().zip(params.as_ref()).and_then(|(method, params)| name_of(method, params));
        if let Some(value) = name.as_deref().and_then(encoded) {
            headers.insert(NAME, value);
        }
        if method.as_deref() == Some(TOOLS_CALL)
            && let (Some(name), Some(arguments)) =
                (&name, params.as_ref().and_then(|params| params.get("arguments")))
        {
            for ParamHeader { path, header } in &*catalog.param_headers(name) {
                if let Some(value) = value_at(arguments, path).and_then(|value| encoded(&value)) {
                    headers.insert(header.clone(), value);
                }
            }
        }
        Some(())
    }
}

fn version_of<'a>(params: &Object<'a>) -> Option<Cow<'a, str>> {
    let meta = Object::read_leniently(params.get("_meta")?.get()).ok()?;
    meta.get(VERSION_KEY).and_then(text_of)
}

/// What a request is about, for those that have a name.
fn name_of<'a>(method: &str, params: &Object<'a>) -> Option<Cow<'a, str>> {
    let key = match method {
        // Requests of the other era, which need no such header and may have one.
        "resources/subscribe" | "resources/unsubscribe" => Some("uri"),
        _ => name_key(method),
    };
    params.get(key?).and_then(text_of)
}

/// The text of the string, number or truth value at `path`; `None`: there is none.
fn value_at(arguments: &RawValue, path: &[Box<str>]) -> Option<String> {
    let Some((first, rest)) = path.split_first() else {
        return match arguments.get().as_bytes().first()? {
            b'"' => text_of(arguments).map(Cow::into_owned),
            b'{' | b'[' | b'n' => None,
            _ => Some(arguments.get().to_owned()),
        };
    };
    value_at(Object::read_leniently(arguments.get()).ok()?.get(first)?, rest)
}
