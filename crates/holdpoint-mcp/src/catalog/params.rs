//! Arguments that a tool wants repeated in headers (`x-mcp-header`, MCP 2026-07-28, streamable HTTP, custom headers).

use http::HeaderName;
use serde_json::{Map, Value};

/// An argument and the header that repeats it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParamHeader {
    /// Names of members, from the arguments on.
    pub(crate) path: Box<[Box<str>]>,
    pub(crate) header: HeaderName,
}

/// Those of a tool, by the annotations of its `inputSchema` that are reached through `properties` alone. What is no name
/// of a header is left out; the server then refuses the call.
pub(super) fn of(schema: Option<&Value>) -> Vec<ParamHeader> {
    let mut found = Vec::new();
    collect(schema, &mut Vec::new(), &mut found);
    found
}

fn collect<'a>(schema: Option<&'a Value>, path: &mut Vec<&'a str>, found: &mut Vec<ParamHeader>) {
    let properties: Option<&Map<String, Value>> =
        schema.and_then(|schema| schema.get("properties")?.as_object());
    for (name, schema) in properties.into_iter().flatten() {
        path.push(name);
        let header = schema.get("x-mcp-header").and_then(Value::as_str).filter(|name| !name.is_empty());
        if let Some(header) = header.and_then(|name| format!("mcp-param-{name}").parse().ok()) {
            let path = path.iter().map(|&name| name.into()).collect();
            found.push(ParamHeader { path, header });
        }
        collect(Some(schema), path, found);
        path.pop();
    }
}
