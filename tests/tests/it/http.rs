//! A client talks to `holdpoint up` where it used to talk to the tool server.

use crate::told::{CLIENTS, LEGACY, decision, house_at, ran, refund, refunded, refused, text};
use anyhow::Result;
use holdpoint_e2e::{Client, House, Ledger, Recorded, Sdk};
use serde_json::{Value, json};

#[test]
fn ledger() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    let up = house.up()?;
    let mut expected = Vec::new();
    for (number, (sdk, era)) in CLIENTS.into_iter().enumerate() {
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;

        let thread = client.hold("no", "refund", &refund(&format!("no-{number}"), 500))?;
        house.reject(&thread, "ask finance first")?;
        let end = client.end_of("no")?;
        refused(&end, "rejected")?;
        assert!(text(&end).contains("ask finance first"), "{sdk:?} {era}: {end}");
        assert_eq!(decision(&end)["message"], "ask finance first", "{sdk:?} {era}: {end}");
        assert_eq!(decision(&end)["thread_id"], thread, "{sdk:?} {era}: {end}");
        assert_eq!(ledger.runs()?, expected, "{sdk:?} {era}");

        let order = format!("yes-{number}");
        let thread = client.hold("yes", "refund", &refund(&order, 40))?;
        assert_eq!(house.inbox()?[0]["payload"], refund(&order, 40), "{sdk:?} {era}");
        house.approve(&thread, "fine")?;
        ran(&client.end_of("yes")?, &format!("refunded 40 for {order}"))?;
        expected.push(refunded(&order, 40));
        assert_eq!(ledger.runs()?, expected, "{sdk:?} {era}");
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
        let seconds = 0.05;
        let thread = client.hold("a", "slow", &json!({ "seconds": seconds }))?;
        house.approve(&thread, "")?;
        let mut last = 0.0;
        loop {
            let event = client.wait_for("the next event", |event| event["id"] == "a")?;
            if event["event"] != "progress" {
                ran(&event, "done")?;
                break;
            }
            let progress = event["progress"].as_f64().unwrap_or_default();
            assert!(progress > last, "{sdk:?} {era}: {progress} after {last}");
            last = progress;
        }
        assert!(last > 9.0, "{sdk:?} {era}: the tool's own progress ended at {last}");
        client.close()?;
    }
    Ok(())
}
