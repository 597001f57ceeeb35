//! Arguments that a server wants repeated in headers (`x-mcp-header` in a tool's `inputSchema`, SEP-2243).

use super::{ModernServer, Request, Session, stamped};
use crate::{
    bridge::wire::{self, Said},
    message::IdKey,
    protocol::{NAME, PARAM_PREFIX},
    random,
};
use http::{HeaderMap, HeaderName};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

const PAGES_MAX: usize = 100;
const TOOLS_MAX: usize = 20_000;
/// Properties of properties, so deep.
const DEPTH_MAX: usize = 16;

/// Where an argument is, and the header that it is repeated in.
type ParamHeader = (Vec<String>, HeaderName);

/// The headers of each tool that was listed in a session.
#[derive(Debug, Default)]
pub(super) struct ParamHeaders(Mutex<HashMap<Box<str>, Vec<ParamHeader>>>);

impl ParamHeaders {
    /// Takes what one page of `tools/list` says; returns the cursor of the next.
    pub(super) fn learn(&self, result: &str) -> Option<String> {
        let result: Value = serde_json::from_str(result).ok()?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for tool in result.get("tools").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = tool.get("name").and_then(Value::as_str) else {
                continue;
            };
            if known.len() >= TOOLS_MAX {
                known.clear();
            }
            let mut headers = Vec::new();
            if let Some(schema) = tool.get("inputSchema") {
                annotated(schema, &mut Vec::new(), &mut headers);
            }
            known.insert(name.into(), headers);
        }
        result.get("nextCursor")?.as_str().map(str::to_owned)
    }

    /// `None`: the tool was not listed yet.
    fn of(&self, tool: &str) -> Option<Vec<ParamHeader>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(tool).cloned()
    }
}

fn annotated(schema: &Value, path: &mut Vec<String>, found: &mut Vec<ParamHeader>) {
    if path.len() >= DEPTH_MAX {
        return;
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        path.push(name.clone());
        let header = property.get("x-mcp-header").and_then(Value::as_str).filter(|name| !name.is_empty());
        let header = header.and_then(|name| HeaderName::try_from(format!("{PARAM_PREFIX}{name}")).ok());
        found.extend(header.map(|header| (path.clone(), header)));
        annotated(property, path, found);
        path.pop();
    }
}

impl ModernServer {
    /// Adds the headers that the called tool wants. Its definition is read if nobody has listed it in this session.
    pub(super) async fn add_params(
        &self,
        session: &Session,
        request: &Request<'_>,
        mut headers: HeaderMap,
    ) -> HeaderMap {
        let Some(tool) = request.param("name") else {
            return headers;
        };
        if session.params.of(&tool).is_none() {
            self.list_tools(session, &headers).await;
        }
        let wanted = session.params.of(&tool).unwrap_or_default();
        let arguments = request.params.and_then(|params| wire::raw_in(params, "arguments"));
        if wanted.is_empty() {
            return headers;
        }
        let arguments: Value =
            arguments.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or(Value::Null);
        for (path, name) in wanted {
            let value = path.iter().try_fold(&arguments, |value, key| value.get(key));
            let text = match value {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Bool(value)) => value.to_string(),
                Some(Value::Number(number)) => number.to_string(),
                Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => continue,
            };
            if let Some(value) = wire::header_value(&text) {
                headers.insert(name, value);
            }
        }
        headers
    }

    async fn list_tools(&self, session: &Session, headers: &HeaderMap) {
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let id = format!("holdpoint-{}", random::token());
            let params = cursor.take().map_or_else(String::new, |cursor| {
                format!(r#","params":{{"cursor":{}}}"#, wire::quoted(&cursor))
            });
            let message = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"tools/list"{params}}}"#);
            let Ok(Said::Request(request)) = Said::read(&message) else {
                return;
            };
            let Ok(outgoing) = session.outgoing(&request, request.id_raw, &[]) else {
                return;
            };
            let mut headers = headers.clone();
            headers.remove(&NAME);
            let (headers, id) = (stamped(headers, &request), IdKey::Text(id.into()));
            let told = wire::ask(&self.inner, &session.principal, headers, &id, outgoing).await;
            // Without it the call is sent as it is; a server that misses a header refuses it before it runs.
            let Ok(told) = told else {
                return;
            };
            cursor = told.result().and_then(|result| session.params.learn(result));
            if cursor.is_none() {
                return;
            }
        }
    }
}
