//! What the bridge takes and says, for machines.

use serde_json::{Value, json};

const OPENAPI: &str = include_str!("documents/openapi.json");
const OPENAPI_TOOLS: &str = include_str!("documents/openapi-tools.json");
/// Where nobody said how callers reach the bridge.
const HERE: &str = "http://127.0.0.1:7879";

/// OpenAPI 3.1: everything under `/v1`.
pub(crate) fn openapi(base: Option<&str>) -> String {
    at(OPENAPI, base)
}

/// OpenAPI 3.0, flat: for importers of tools that read neither nested objects nor references.
pub(crate) fn openapi_tools(base: Option<&str>) -> String {
    at(OPENAPI_TOOLS, base)
}

fn at(document: &str, base: Option<&str>) -> String {
    let servers = json!([{ "url": base.unwrap_or(HERE) }]);
    match serde_json::from_str(document) {
        Ok(Value::Object(mut document)) => {
            document.insert("servers".to_owned(), servers);
            Value::Object(document).to_string()
        }
        // They are constants, read by a test.
        Ok(_) | Err(_) => String::new(),
    }
}
