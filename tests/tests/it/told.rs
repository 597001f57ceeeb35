//! What the model reads of a call, in words that tests share.

use anyhow::{Result, ensure};
use holdpoint_e2e::{House, Sdk};
use serde_json::{Value, json};

/// Every public client, in every era it speaks.
pub(crate) const CLIENTS: [(Sdk, &str); 5] = [
    (Sdk::TypeScript1, LEGACY),
    (Sdk::TypeScript2, LEGACY),
    (Sdk::TypeScript2, STATELESS),
    (Sdk::Python, LEGACY),
    (Sdk::Python, STATELESS),
];

/// With a handshake.
pub(crate) const LEGACY: &str = "legacy";
/// Without one.
pub(crate) const STATELESS: &str = "2026-07-28";

/// A refund as the ledger's tool takes it.
pub(crate) fn refund(order: &str, amount: u32) -> Value {
    json!({ "order_id": order, "amount": amount, "reason": "never arrived" })
}

/// What the ledger writes down when it runs that.
pub(crate) fn refunded(order: &str, amount: u32) -> Value {
    json!({ "tool": "refund", "arguments": refund(order, amount) })
}

/// The decision in a call's result, from a client's event or from the message itself.
pub(crate) fn decision(end: &Value) -> &Value {
    let result = if end["result"].is_object() { &end["result"] } else { end };
    &result["_meta"]["dev.holdpoint/decision"]
}

/// The call was refused, the model can tell why, and it did not run.
pub(crate) fn refused(end: &Value, status: &str) -> Result<()> {
    let is_error = if end["result"].is_object() { &end["result"]["isError"] } else { &end["isError"] };
    ensure!(*is_error == json!(true), "not a tool error: {end}");
    ensure!(decision(end)["status"] == status, "not `{status}`: {end}");
    let text = text(end);
    ensure!(text.contains("did not run") || text.contains("has not run"), "not said: {text}");
    Ok(())
}

/// The text that the model reads.
pub(crate) fn text(end: &Value) -> &str {
    let text = [&end["result"]["content"][0]["text"], &end["content"][0]["text"], &end["text"]];
    let text = text.into_iter().find(|text| text.is_string()).unwrap_or(&Value::Null);
    text.as_str().unwrap_or_default()
}

/// The call went through to the tool.
pub(crate) fn ran(end: &Value, expected: &str) -> Result<()> {
    let is_error = if end["result"].is_object() { &end["result"]["isError"] } else { &end["isError"] };
    ensure!(*is_error != json!(true) && decision(end).is_null(), "refused: {end}");
    ensure!(text(end).contains(expected), "not `{expected}`: {end}");
    Ok(())
}

/// A house in front of one ledger, over stdio.
pub(crate) fn house_of(ledger: &holdpoint_e2e::Ledger) -> Result<House> {
    let house = House::new()?;
    house.configure(&json!({ "servers": { "ledger": { "command": ledger.command() } } }))?;
    Ok(house)
}

/// A house in front of one ledger, over HTTP.
pub(crate) fn house_at(url: &str) -> Result<House> {
    let house = House::new()?;
    house.configure(&json!({ "servers": { "ledger": { "url": url } } }))?;
    Ok(house)
}
