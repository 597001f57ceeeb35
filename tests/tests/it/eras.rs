//! Clients of the stateless era on a server that only knows the handshake.

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
