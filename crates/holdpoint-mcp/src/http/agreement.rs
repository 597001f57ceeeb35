//! Whether the headers of a request say what its body says.
//!
//! Gateways go by the headers, servers by the body. From 2026-07-28 on the headers must be there, and whoever reads the body
//! has to compare them (streamable HTTP, "Server validation"); before, they must not disagree.

use super::checks::{decoded, single};
use crate::{
    catalog::Tool,
    message::{CallMessage, HEADER_MISMATCH, INVALID_PARAMS, Object, TOOLS_CALL, text_of},
    protocol::{CAPABILITIES_KEY, FIRST_STATELESS, METHOD, NAME, PROTOCOL_VERSION, VERSION_KEY, name_key},
    upstream::Comparer,
};
use holdpoint_core::Arguments;
use http::{HeaderMap, HeaderName};
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, sync::Arc};

/// Parameters are looked for so deep in a tool's schema.
const DEPTH_MAX: usize = 32;

/// Whether headers have to repeat the arguments. What is there must agree, or a gateway that goes by it is led astray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Must,
    MayBeMissing,
}

/// Two parts of a request that do not agree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disagreement {
    pub(super) code: i32,
    pub(super) problem: String,
}

impl Disagreement {
    fn header(name: &str) -> Self {
        Self { code: HEADER_MISMATCH, problem: format!("the {name} header does not agree with the body") }
    }

    fn body(problem: &str) -> Self {
        Self { code: INVALID_PARAMS, problem: problem.to_owned() }
    }
}

/// What a body says of itself.
struct Stated<'a> {
    method: &'a str,
    /// What the method is about, where it is about one thing.
    name: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
    capabilities: bool,
}

/// A tool call.
pub(super) fn of_call(headers: &HeaderMap, call: &CallMessage<'_>) -> Result<(), Disagreement> {
    let capabilities = call.meta.protocol.iter().any(|(key, _)| key == CAPABILITIES_KEY);
    let (name, version) = (Some(call.name.clone()), call.meta.version.clone());
    Stated { method: TOOLS_CALL, name, version, capabilities }.agrees(headers)
}

/// A request or notification of another kind.
pub(super) fn of_other(
    headers: &HeaderMap,
    method: &str,
    is_request: bool,
    params: Option<&RawValue>,
) -> Result<(), Disagreement> {
    let nothing_to_compare = !headers.contains_key(&NAME)
        && !is_stateless(headers)
        && params.is_none_or(|params| {
            memchr::memmem::find(params.get().as_bytes(), VERSION_KEY.as_bytes()).is_none()
        });
    if nothing_to_compare || !is_request {
        return match single(headers, &METHOD) {
            Ok(None) => Ok(()),
            Ok(Some(named)) if named == method => Ok(()),
            Ok(Some(_)) | Err(()) => Err(Disagreement::header("Mcp-Method")),
        };
    }
    Stated::read(method, params)?.agrees(headers)
}

/// The headers say that the request is of the stateless era.
pub(crate) fn is_stateless(headers: &HeaderMap) -> bool {
    let version = headers.get(PROTOCOL_VERSION).and_then(|version| version.to_str().ok());
    version.is_some_and(|version| version >= FIRST_STATELESS)
}

impl<'a> Stated<'a> {
    fn read(method: &'a str, params: Option<&'a RawValue>) -> Result<Self, Disagreement> {
        let unread = |what: &str| Disagreement::body(&format!("`{what}` has no single reading"));
        let Some(params) = params else {
            return Ok(Self { method, name: None, version: None, capabilities: false });
        };
        let params = Object::read(params.get()).map_err(|_| unread("params"))?;
        let name = name_key(method).and_then(|key| params.get(key)).and_then(text_of);
        let Some(meta) = params.get("_meta") else {
            return Ok(Self { method, name, version: None, capabilities: false });
        };
        let meta = Object::read(meta.get()).map_err(|_| unread("params._meta"))?;
        let capabilities = meta.get(CAPABILITIES_KEY).is_some();
        Ok(Self { method, name, version: meta.get(VERSION_KEY).and_then(text_of), capabilities })
    }

    fn agrees(&self, headers: &HeaderMap) -> Result<(), Disagreement> {
        let must = self.version.is_some();
        match single(headers, &METHOD) {
            Ok(Some(method)) if method == self.method => {}
            Ok(None) if !must => {}
            Ok(_) | Err(()) => return Err(Disagreement::header("Mcp-Method")),
        }
        match (single(headers, &NAME).map(|name| name.map(decoded)), &self.name) {
            // Names of other methods are for whoever knows them.
            (Ok(_), None) => {}
            (Ok(Some(Some(name))), Some(stated)) if name == *stated => {}
            (Ok(None), Some(_)) if !must => {}
            (Ok(_) | Err(()), Some(_)) | (Err(()), None) => return Err(Disagreement::header("Mcp-Name")),
        }
        match (single(headers, &PROTOCOL_VERSION), &self.version) {
            (Ok(Some(version)), Some(stated)) if version == stated => {}
            (Ok(_), None) => {}
            (Ok(_) | Err(()), _) => return Err(Disagreement::header("MCP-Protocol-Version")),
        }
        if (must || is_stateless(headers)) && !(must && self.capabilities) {
            let problem = "`params._meta` must state the protocol version and the client's capabilities";
            return Err(Disagreement::body(problem));
        }
        Ok(())
    }
}

/// The parameters that a tool wants to see in headers as well (`x-mcp-header`). Arguments that nobody has read are read
/// here if nobody after us compares them.
pub(super) fn of_params(
    headers: &HeaderMap,
    (need, comparer): (Need, Comparer),
    tool: &Tool,
    arguments: &Arguments,
) -> Result<(), Disagreement> {
    let Some(schema) = tool.input_schema().filter(|_| tool.repeats_arguments()) else {
        return Ok(());
    };
    let nothing = serde_json::Map::new();
    match (arguments.raw().filter(|_| arguments.is_unread()), comparer) {
        (Some(_), Comparer::Server) => Ok(()),
        (Some(raw), Comparer::Us) => {
            let read = Arguments::parse(Arc::clone(raw))
                .map_err(|error| Disagreement::body(&format!("`params.arguments`: {error}")))?;
            of_properties(headers, need, schema, read.as_map().unwrap_or(&nothing), DEPTH_MAX)
        }
        (None, Comparer::Server | Comparer::Us) => {
            of_properties(headers, need, schema, arguments.as_map().unwrap_or(&nothing), DEPTH_MAX)
        }
    }
}

fn of_properties(
    headers: &HeaderMap,
    need: Need,
    schema: &Value,
    arguments: &serde_json::Map<String, Value>,
    depth: usize,
) -> Result<(), Disagreement> {
    let (Some(properties), Some(deeper)) =
        (schema.get("properties").and_then(Value::as_object), depth.checked_sub(1))
    else {
        return Ok(());
    };
    let nothing = serde_json::Map::new();
    for (name, property) in properties {
        let argument = arguments.get(name);
        if let Some(header) = property.get("x-mcp-header").and_then(Value::as_str) {
            let header = format!("Mcp-Param-{header}");
            if !shows(headers, need, &header, argument) {
                return Err(Disagreement::header(&header));
            }
        }
        let inner = argument.and_then(Value::as_object).unwrap_or(&nothing);
        of_properties(headers, need, property, inner, deeper)?;
    }
    Ok(())
}

/// Whether a header shows an argument, and nothing where there is none.
fn shows(headers: &HeaderMap, need: Need, header: &str, argument: Option<&Value>) -> bool {
    // A name that no header can have: no client can send it.
    let Ok(header) = HeaderName::try_from(header) else {
        return true;
    };
    let shown = match argument {
        Some(Value::String(text)) => Some(Cow::Borrowed(text.as_str())),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(Cow::Owned(value.to_string())),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => None,
    };
    match (single(headers, &header), shown) {
        (Ok(None), None) => true,
        (Ok(None), Some(_)) => need == Need::MayBeMissing,
        (Ok(Some(value)), Some(shown)) => decoded(value).is_some_and(|value| value == shown),
        (Ok(_) | Err(()), _) => false,
    }
}
