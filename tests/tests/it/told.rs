//! What the model reads of a call, in words that tests share.

use anyhow::{Result, ensure};
use holdpoint_e2e::{Client, House, Ledger, Sdk};
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

/// Two refunds, of orders of this number. The rejected one does not run, and the approved one once.
pub(crate) fn refunds(client: &mut Client, house: &House, ledger: &Ledger, number: usize) -> Result<()> {
    let before = ledger.runs()?;
    let thread = client.hold("no", "refund", &refund(&format!("no-{number}"), 500))?;
    house.reject(&thread, "ask finance first")?;
    let end = client.end_of("no")?;
    refused(&end, "rejected")?;
    ensure!(text(&end).contains("ask finance first"), "{end}");
    ensure!(decision(&end)["message"] == "ask finance first", "{end}");
    ensure!(decision(&end)["thread_id"] == thread.as_str(), "{end}");
    ensure!(ledger.runs()? == before, "a rejected call ran: {:?}", ledger.runs()?);

    let order = format!("yes-{number}");
    let thread = client.hold("yes", "refund", &refund(&order, 40))?;
    let open = house.inbox()?;
    ensure!(open[0]["payload"] == refund(&order, 40), "{open:?}");
    house.approve(&thread, "fine")?;
    ran(&client.end_of("yes")?, &format!("refunded 40 for {order}"))?;
    let after = [before, vec![refunded(&order, 40)]].concat();
    ensure!(ledger.runs()? == after, "{:?}", ledger.runs()?);
    Ok(())
}

/// An approved call of a tool that says how far it is: that comes through after the wait, and never goes backwards.
pub(crate) fn progress_only_rises(client: &mut Client, house: &House) -> Result<()> {
    let thread = client.hold("slow", "slow", &json!({ "seconds": 0.05 }))?;
    house.approve(&thread, "")?;
    let mut last = 0.0;
    loop {
        let event = client.wait_for("the next event", |event| event["id"] == "slow")?;
        if event["event"] != "progress" {
            ran(&event, "done")?;
            break;
        }
        let progress = event["progress"].as_f64().unwrap_or_default();
        ensure!(progress > last, "{progress} after {last}");
        last = progress;
    }
    ensure!(last > 9.0, "the tool's own progress ended at {last}");
    Ok(())
}
