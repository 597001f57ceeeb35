//! Clients of one era on a server that only knows the other.

use crate::told::{LEGACY, STATELESS, decision, ran, refused};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Client, House, Recorded, Sdk, ToolServer};
use serde_json::{Value, json};

const CLIENTS: [Sdk; 2] = [Sdk::TypeScript2, Sdk::Python];

fn house_of(server: &[String], era: &str) -> Result<House> {
    let house = House::new()?;
    house.configure(&json!({ "servers": { "everything": { "command": server, "era": era } } }))?;
    house.tools("everything", &json!([{ "name": "echo", "action": "gate", "hold": { "mode": "hold" } }]))?;
    Ok(house)
}

/// Rejected: not at all. Approved: once, with what was approved.
fn approved_and_rejected(client: &mut Client, house: &House, record: &Recorded, name: &str) -> Result<()> {
    let before = record.runs()?;
    client.start("no", "echo", &json!({ "message": format!("{name} no") }))?;
    let thread = house.inbox_of(1)?[0]["thread_id"].as_str().context("no thread")?.to_owned();
    house.reject(&thread, "not today")?;
    let end = client.end_of("no")?;
    refused(&end, "rejected")?;
    ensure!(decision(&end)["message"] == "not today", "{end}");
    ensure!(record.runs()? == before, "a rejected call ran");

    let message = format!("{name} yes");
    client.start("yes", "echo", &json!({ "message": message }))?;
    let thread = house.inbox_of(1)?[0]["thread_id"].as_str().context("no thread")?.to_owned();
    ensure!(record.runs()? == before, "ran before anybody decided");
    house.approve(&thread, "")?;
    ran(&client.end_of("yes")?, &message)?;
    let after = [before, vec![json!({ "tool": "echo", "arguments": { "message": message } })]].concat();
    ensure!(record.runs()? == after, "{:?}", record.runs()?);
    Ok(())
}

#[test]
fn over_http() -> Result<()> {
    let record = Recorded::new()?;
    let house = house_of(&record.command(ToolServer::Everything), "legacy")?;
    let up = house.up()?;
    for (sdk, era) in [(CLIENTS[0], STATELESS), (CLIENTS[1], STATELESS), (Sdk::TypeScript1, LEGACY)] {
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("everything")?, "era": era }))?;
        let tools = client.tools()?;
        ensure!(tools.to_string().contains("\"echo\""), "{tools}");
        approved_and_rejected(&mut client, &house, &record, &format!("{sdk:?} {era}"))
            .with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    Ok(())
}

#[test]
fn over_stdio() -> Result<()> {
    for sdk in CLIENTS {
        let record = Recorded::new()?;
        let mut house = house_of(&record.command(ToolServer::Everything), "legacy")?;
        let _gate = house.serve()?;
        let mut client = Client::connect(sdk, &house.target(&house.proxy("everything"), STATELESS))?;
        approved_and_rejected(&mut client, &house, &record, &format!("{sdk:?}"))
            .with_context(|| format!("{sdk:?}"))?;
        client.close()?;
    }
    Ok(())
}

/// The server asks in the middle of an approved call, by requests of its own era: the client answers on a leg of its own,
/// and the server sees one call.
#[test]
fn a_server_that_asks_a_client_of_2026_07_28() -> Result<()> {
    let record = Recorded::new()?;
    let house = house_of(&record.command(ToolServer::Everything), "legacy")?;
    house.tools("everything", &json!([{ "name": "trigger-*", "action": "gate" }]))?;
    let up = house.up()?;
    for sdk in CLIENTS {
        let target = json!({ "http": up.mcp_url("everything")?, "era": STATELESS, "answers": answers() });
        let mut client = Client::connect(sdk, &target)?;
        for (tool, arguments, event, words) in [
            ("trigger-sampling-request", json!({ "prompt": format!("{sdk:?}") }), "sampling", "fine"),
            ("trigger-elicitation-request", json!({}), "elicitation", "sure"),
        ] {
            let before = record.runs()?;
            client.start(tool, tool, &arguments)?;
            let thread = house.inbox_of(1)?[0]["thread_id"].as_str().context("no thread")?.to_owned();
            ensure!(record.runs()? == before, "{sdk:?}: ran before anybody decided");
            house.approve(&thread, "")?;
            // The review's own link may come first.
            let is_the_servers = |asked: &Value| asked["event"] == event && asked["params"]["mode"] != "url";
            client.wait_for("the server's question", is_the_servers)?;
            ran(&client.end_of(tool)?, words).with_context(|| format!("{sdk:?} {tool}"))?;
            let after = [before, vec![json!({ "tool": tool, "arguments": arguments })]].concat();
            ensure!(record.runs()? == after, "{sdk:?}: {:?}", record.runs()?);
            ensure!(house.inbox()? == [] as [Value; 0], "a leg was reviewed");
        }
        client.close()?;
    }
    Ok(())
}

/// Nobody asked for a translation: the pair fails as it does without us, and nothing ran.
#[test]
fn without_being_told_nothing_is_translated() -> Result<()> {
    let record = Recorded::new()?;
    let house = house_of(&record.command(ToolServer::Everything), "auto")?;
    let up = house.up()?;
    let refused =
        Client::connect(Sdk::TypeScript2, &json!({ "http": up.mcp_url("everything")?, "era": STATELESS }))
            .and_then(|mut client| client.tools());
    ensure!(refused.is_err(), "{refused:?}");
    ensure!(record.runs()? == [] as [Value; 0], "{:?}", record.runs()?);
    Ok(())
}

/// What the client says to a server that asks.
fn answers() -> Value {
    json!({ "elicitation": { "sure": true }, "sampling": "fine", "root": "file:///work" })
}

/// The server asks for a person, a model and the roots, each on a leg of its own: one review is for all of them.
fn asks_on_the_way(client: &mut Client, house: &House, record: &Recorded) -> Result<()> {
    let before = record.runs()?;
    client.start("ask", "ask", &json!({ "order": "order 7" }))?;
    let thread = house.inbox_of(1)?[0]["thread_id"].as_str().context("no thread")?.to_owned();
    ensure!(record.runs()? == before, "ran before anybody decided");
    house.approve(&thread, "")?;
    let asked = client.wait_for("a question", |event| event["event"] == "elicitation")?;
    ensure!(asked["params"]["message"] == "Really order 7?", "{asked}");
    let asked = client.wait_for("a prompt", |event| event["event"] == "sampling")?;
    ensure!(asked.to_string().contains("A word for order 7"), "{asked}");
    ran(&client.end_of("ask")?, "order 7: true fine file:///work")?;
    let leg = json!({ "tool": "ask", "arguments": { "order": "order 7" } });
    let after = [before, vec![leg; 4]].concat();
    ensure!(record.runs()? == after, "{:?}", record.runs()?);
    ensure!(house.inbox()? == [] as [Value; 0], "a leg was reviewed");
    Ok(())
}

fn modern_house(record: &Recorded) -> Result<House> {
    let house = house_of(&record.command(ToolServer::Modern), "modern")?;
    house.tools(
        "everything",
        &json!([
            { "name": "echo", "action": "gate", "hold": { "mode": "hold" } },
            { "name": "ask", "action": "gate" },
        ]),
    )?;
    Ok(house)
}

const HANDSHAKE_CLIENTS: [Sdk; 3] = [Sdk::TypeScript1, Sdk::TypeScript2, Sdk::Python];

#[test]
fn clients_with_a_handshake_over_http() -> Result<()> {
    let record = Recorded::new()?;
    let house = modern_house(&record)?;
    let up = house.up()?;
    for sdk in HANDSHAKE_CLIENTS {
        let target = json!({ "http": up.mcp_url("everything")?, "era": LEGACY, "answers": answers() });
        let mut client = Client::connect(sdk, &target)?;
        let tools = client.tools()?;
        ensure!(tools.to_string().contains("\"ask\""), "{tools}");
        approved_and_rejected(&mut client, &house, &record, &format!("{sdk:?}"))
            .and_then(|()| asks_on_the_way(&mut client, &house, &record))
            .with_context(|| format!("{sdk:?}"))?;
        client.close()?;
    }
    Ok(())
}

#[test]
fn clients_with_a_handshake_over_stdio() -> Result<()> {
    for sdk in HANDSHAKE_CLIENTS {
        let record = Recorded::new()?;
        let mut house = modern_house(&record)?;
        let _gate = house.serve()?;
        let mut target = house.target(&house.proxy("everything"), LEGACY);
        target["answers"] = answers();
        let mut client = Client::connect(sdk, &target)?;
        approved_and_rejected(&mut client, &house, &record, &format!("{sdk:?}"))
            .and_then(|()| asks_on_the_way(&mut client, &house, &record))
            .with_context(|| format!("{sdk:?}"))?;
        client.close()?;
    }
    Ok(())
}

/// It is what it is said to be: without a translation, a handshake gets nowhere.
#[test]
fn a_server_of_2026_07_28_refuses_a_handshake() -> Result<()> {
    let record = Recorded::new()?;
    let house = house_of(&record.command(ToolServer::Modern), "auto")?;
    let up = house.up()?;
    let refused = Client::connect(Sdk::TypeScript1, &json!({ "http": up.mcp_url("everything")? }));
    ensure!(refused.is_err(), "{refused:?}");
    Ok(())
}
