//! A client talks to `holdpoint up` where it used to talk to the tool server.

use crate::told::{CLIENTS, LEGACY, house_at, ran, refunds, refused};
use anyhow::{Context as _, Result};
use holdpoint_e2e::{Client, House, Ledger, Recorded, Sdk};
use serde_json::{Value, json};

#[test]
fn ledger() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    let up = house.up()?;
    for (number, (sdk, era)) in CLIENTS.into_iter().enumerate() {
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;
        refunds(&mut client, &house, &ledger, number).with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    assert_eq!(house.inbox()?, [] as [Value; 0]);
    Ok(())
}

#[test]
fn everything() -> Result<()> {
    let record = Recorded::new()?;
    let tool_server = record.serve_everything()?;
    let house = House::new()?;
    house.configure(&json!({ "servers": { "everything": { "url": tool_server.url() } } }))?;
    let up = house.up()?;
    let mut expected = Vec::new();
    for sdk in Sdk::ALL {
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("everything")?, "era": LEGACY }))?;

        let thread = client.hold("no", "echo", &json!({ "message": format!("{sdk:?} no") }))?;
        house.reject(&thread, "not today")?;
        refused(&client.end_of("no")?, "rejected")?;
        assert_eq!(record.runs()?, expected, "{sdk:?}");

        let arguments = json!({ "message": format!("{sdk:?} yes") });
        let thread = client.hold("yes", "echo", &arguments)?;
        house.approve(&thread, "")?;
        ran(&client.end_of("yes")?, &format!("{sdk:?} yes"))?;
        expected.push(json!({ "tool": "echo", "arguments": arguments }));
        assert_eq!(record.runs()?, expected, "{sdk:?}");
        client.close()?;
    }
    Ok(())
}

/// What the tool says of its own progress comes through after the wait, and never goes backwards.
#[test]
fn progress_only_rises() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    let up = house.up()?;
    for (sdk, era) in CLIENTS {
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;
        crate::told::progress_only_rises(&mut client, &house).with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    Ok(())
}
