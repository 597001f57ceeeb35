//! Clients of the stateless era wait in legs: told to ask again, they do so by themselves, and the call runs once.

use crate::told::{STATELESS, decision, house_at, house_of, ran, refund, refunded, refused, text};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Client, House, Ledger, Sdk};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NONE: [Value; 0] = [];
/// The clients of this era.
const CLIENTS: [Sdk; 3] = [Sdk::TypeScript2, Sdk::Python, Sdk::Fastmcp];

/// Legs as short as they can be, for the test's sake.
fn short_legs(house: &House) -> Result<()> {
    house.tools("ledger", &json!([{ "name": "refund", "action": "gate", "hold": { "leg": "1s" } }]))
}

/// The link comes first and is opened; nobody decides for some legs, longer than the client gives one request; then
/// somebody does.
fn waits_on(client: &mut Client, house: &House, ledger: &Ledger, order: &str) -> Result<()> {
    let before = ledger.runs()?;
    let began = Instant::now();
    client.send(&json!({
        "do": "call", "id": "a", "tool": "refund", "arguments": refund(order, 40), "timeout_ms": 5_000,
    }))?;
    let asked = client.wait_for("the link", |event| event["event"] == "elicitation")?;
    let open = house.inbox_of(1)?;
    let thread = open[0]["thread_id"].as_str().unwrap_or_default().to_owned();
    let url = asked["params"]["url"].as_str().unwrap_or_default();
    ensure!(asked["params"]["mode"] == "url" && url.contains(&thread), "another link: {asked}");
    ensure!(asked["params"].get("elicitationId").is_none(), "removed from the protocol: {asked}");
    std::thread::sleep(Duration::from_millis(7_500).saturating_sub(began.elapsed()));
    assert_eq!(ledger.runs()?, before, "a link that was opened approves nothing");
    house.approve(&thread, "fine")?;
    ran(&client.end_of("a")?, &format!("refunded 40 for {order}"))?;
    assert_eq!(ledger.runs()?, [before, vec![refunded(order, 40)]].concat());
    assert_eq!(house.inbox()?, NONE);

    client.start("b", "refund", &refund(order, 500))?;
    let asked = client.wait_for("the link", |event| event["event"] == "elicitation")?;
    let open = house.inbox_of(1)?;
    let thread = open[0]["thread_id"].as_str().unwrap_or_default().to_owned();
    ensure!(asked["params"]["url"].as_str().is_some_and(|url| url.contains(&thread)), "{asked}");
    house.reject(&thread, "too much")?;
    let end = client.end_of("b")?;
    refused(&end, "rejected")?;
    ensure!(text(&end).contains("too much"), "{end}");
    Ok(())
}

#[test]
fn over_http() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    short_legs(&house)?;
    let up = house.up()?;
    for sdk in CLIENTS {
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": STATELESS }))?;
        waits_on(&mut client, &house, &ledger, &format!("{sdk:?}")).with_context(|| format!("{sdk:?}"))?;
        client.close()?;
    }
    Ok(())
}

#[test]
fn over_stdio() -> Result<()> {
    for sdk in CLIENTS {
        let ledger = Ledger::new()?;
        let mut house = house_of(&ledger)?;
        short_legs(&house)?;
        let _gate = house.serve()?;
        let mut client = Client::connect(sdk, &house.target(&house.proxy("ledger"), STATELESS))?;
        waits_on(&mut client, &house, &ledger, &format!("{sdk:?}")).with_context(|| format!("{sdk:?}"))?;
        client.close()?;
    }
    Ok(())
}

/// Nobody decides through all legs: the agent is told, and its next call joins.
#[test]
fn legs_end_and_the_next_call_joins() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    short_legs(&house)?;
    let up = house.up()?;
    let mut client =
        Client::connect(Sdk::TypeScript2, &json!({ "http": up.mcp_url("ledger")?, "era": STATELESS }))?;
    let end = client.call("a", "refund", &refund("1", 40))?;
    refused(&end, "pending")?;
    let thread = decision(&end)["thread_id"].as_str().unwrap_or_default().to_owned();
    house.approve(&thread, "")?;
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ledger.runs()?, NONE, "nobody waits");
    ran(&client.call("b", "refund", &refund("1", 40))?, "refunded 40 for 1")?;
    assert_eq!(ledger.runs()?, [refunded("1", 40)]);
    client.close()
}

/// What a client carries is good after a restart, also of a proxy that was killed, and its approval runs once.
#[test]
fn a_restart_between_two_legs() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = house_of(&ledger)?;
    short_legs(&house)?;
    let _gate = house.serve()?;
    let message = |id: &str, state: &Value| {
        let mut params = json!({
            "name": "refund", "arguments": refund("1", 40),
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": STATELESS,
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        });
        if !state.is_null() {
            params["requestState"] = state.clone();
        }
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
    };
    let mut state = Value::Null;
    for id in ["first", "second"] {
        let mut proxy = house.pipe(&house.proxy("ledger"))?;
        proxy.say(&message(id, &state))?;
        let answer = proxy.answer_to(&json!(id))?;
        ensure!(answer["result"]["resultType"] == "input_required", "{answer}");
        state = answer["result"]["requestState"].clone();
        proxy.kill_9()?;
    }
    let open = house.inbox_of(1)?;
    house.approve(open[0]["thread_id"].as_str().unwrap_or_default(), "")?;
    assert_eq!(ledger.runs()?, NONE, "nobody waits");
    let mut proxy = house.pipe(&house.proxy("ledger"))?;
    proxy.say(&message("third", &state))?;
    ran(&proxy.answer_to(&json!("third"))?, "refunded 40 for 1")?;
    // Presented again, what it carried is no approval.
    proxy.say(&message("fourth", &state))?;
    let answer = proxy.answer_to(&json!("fourth"))?;
    ensure!(answer["result"]["resultType"] == "input_required", "{answer}");
    assert_eq!(ledger.runs()?, [refunded("1", 40)]);
    proxy.close()?;
    Ok(())
}
