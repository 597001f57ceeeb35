//! The smallest tool server there is: what it answers to a JSON-RPC message.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// As little of a message as an answer needs.
#[derive(Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) method: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

const TOOLS: &str = r#"{"tools":[{"name":"echo","description":"Says it again","inputSchema":{"type":"object","properties":{"message":{"type":"string"},"n":{"type":"integer"}},"required":["message"]}}]}"#;
const INITIALIZE: &str = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}"#;

/// The answer, or `None` for a notification. `received_ns` lets the client tell when the call arrived.
pub(crate) fn answer(message: &[u8], received_ns: u128) -> Option<String> {
    let message: Message<'_> = serde_json::from_slice(message).ok()?;
    let id = message.id?.get();
    let result = match message.method.as_ref() {
        "tools/call" => {
            let arguments = message
                .params
                .and_then(|params| serde_json::from_str::<Params<'_>>(params.get()).ok())
                .and_then(|params| params.arguments)
                .map_or("null", RawValue::get);
            format!(
                r#"{{"content":[{{"type":"text","text":"ok"}}],"structuredContent":{{"echo":{arguments},"received_ns":"{received_ns}"}}}}"#
            )
        }
        "tools/list" => TOOLS.to_owned(),
        "initialize" => INITIALIZE.to_owned(),
        "ping" => "{}".to_owned(),
        // Whoever asks for more has to hear that there is none: some tell the eras of servers apart by it.
        _ => {
            return Some(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no such method"}}}}"#
            ));
        }
    };
    Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}
