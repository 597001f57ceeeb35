//! A client starts `holdpoint proxy` where it used to start the tool server.

use crate::told::{CLIENTS, LEGACY, decision, house_of, ran, refund, refunded, refused, text};
use anyhow::Result;
use holdpoint_e2e::{Client, House, Ledger, Recorded, Sdk, ToolServer};
use serde_json::{Value, json};

/// One call of a reference server's tool, and what it says when it ran.
struct Example {
    tool: &'static str,
    arguments: Value,
    says: &'static str,
}

/// Approves one call and rejects another, with every client; without a configuration file.
fn approved_and_rejected(
    server: ToolServer<'_>,
    environment: &[String],
    record: &Recorded,
    example: impl Fn(&str) -> Example,
) -> Result<()> {
    let mut house = House::new()?;
    let _gate = house.serve()?;
    let tool_server = [environment, &record.command(server)].concat();
    let proxy = house.proxy_of("tools", &tool_server);
    let mut expected = Vec::new();
    for sdk in Sdk::ALL {
        let mut client = Client::connect(sdk, &house.target(&proxy, LEGACY))?;

        let no = example(&format!("{sdk:?}-no"));
        let thread = client.hold("no", no.tool, &no.arguments)?;
        house.reject(&thread, "not on a Friday")?;
        let end = client.end_of("no")?;
        refused(&end, "rejected")?;
        assert!(text(&end).contains("not on a Friday"), "{end}");
        assert_eq!(decision(&end)["message"], "not on a Friday", "{end}");
        assert_eq!(decision(&end)["thread_id"], thread, "{end}");
        assert_eq!(decision(&end)["retry"], "other_call", "{end}");
        assert_eq!(record.runs()?, expected, "{sdk:?}");

        let yes = example(&format!("{sdk:?}-yes"));
        let thread = client.hold("yes", yes.tool, &yes.arguments)?;
        assert_eq!(record.runs()?, expected, "{sdk:?}");
        house.approve(&thread, "")?;
        ran(&client.end_of("yes")?, yes.says)?;
        expected.push(json!({ "tool": yes.tool, "arguments": yes.arguments }));
        assert_eq!(record.runs()?, expected, "{sdk:?}");
        client.close()?;
    }
    Ok(())
}

#[test]
fn filesystem() -> Result<()> {
    let record = Recorded::new()?;
    // The server looks where the folder really is.
    let folder = record.folder().canonicalize()?;
    approved_and_rejected(ToolServer::Filesystem(&folder), &[], &record, |name| Example {
        tool: "write_file",
        arguments: json!({ "path": folder.join(name), "content": "hello" }),
        says: "Successfully wrote",
    })?;
    for sdk in Sdk::ALL {
        assert_eq!(std::fs::read_to_string(folder.join(format!("{sdk:?}-yes")))?, "hello");
        assert!(!folder.join(format!("{sdk:?}-no")).exists());
    }
    Ok(())
}

#[test]
fn memory() -> Result<()> {
    let record = Recorded::new()?;
    let memory = record.folder().join("memory.jsonl");
    // A child of the proxy inherits nothing that could be a secret; this is how one passes a setting without a file.
    let environment = ["env".to_owned(), format!("MEMORY_FILE_PATH={}", memory.display())];
    approved_and_rejected(ToolServer::Memory, &environment, &record, |name| Example {
        tool: "create_entities",
        arguments: json!({ "entities": [{ "name": name, "entityType": "test", "observations": ["seen"] }] }),
        says: "entityType",
    })?;
    let kept = std::fs::read_to_string(memory)?;
    for sdk in Sdk::ALL {
        assert_eq!(kept.matches(&format!("{sdk:?}-yes")).count(), 1, "{kept}");
        assert!(!kept.contains(&format!("{sdk:?}-no")), "{kept}");
    }
    Ok(())
}

#[test]
fn everything() -> Result<()> {
    let record = Recorded::new()?;
    approved_and_rejected(ToolServer::Everything, &[], &record, |name| Example {
        tool: "echo",
        arguments: json!({ "message": name }),
        says: "-yes",
    })
}

/// With a configuration, every client and both eras.
#[test]
fn ledger() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let mut house = house_of(&ledger)?;
        let gate = house.serve()?;
        let mut client = Client::connect(sdk, &house.target(&house.proxy("ledger"), era))?;

        let thread = client.hold("no", "refund", &refund("1", 500))?;
        house.reject(&thread, "ask finance first")?;
        let end = client.end_of("no")?;
        refused(&end, "rejected")?;
        assert!(text(&end).contains("ask finance first"), "{sdk:?} {era}: {end}");
        assert_eq!(ledger.runs()?, [] as [Value; 0], "{sdk:?} {era}");

        let thread = client.hold("yes", "refund", &refund("2", 40))?;
        assert_eq!(house.inbox()?[0]["payload"], refund("2", 40), "{sdk:?} {era}");
        house.approve(&thread, "fine")?;
        ran(&client.end_of("yes")?, "refunded 40 for 2")?;
        client.close()?;
        assert_eq!(ledger.runs()?, [refunded("2", 40)], "{sdk:?} {era}");
        assert_eq!(house.inbox()?, [] as [Value; 0]);
        drop(gate);
    }
    Ok(())
}

/// A tool that fails has run, and its own words reach the model.
#[test]
fn a_tool_that_fails_fails_in_its_own_words() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = house_of(&ledger)?;
    let _gate = house.serve()?;
    let mut client = Client::connect(Sdk::Python, &house.target(&house.proxy("ledger"), LEGACY))?;
    let thread = client.hold("a", "fail", &json!({ "reason": "no funds" }))?;
    house.approve(&thread, "")?;
    let end = client.end_of("a")?;
    assert_eq!(end["isError"], true, "{end}");
    assert!(decision(&end).is_null(), "{end}");
    assert!(text(&end).contains("no funds"), "{end}");
    assert_eq!(ledger.runs()?, [json!({ "tool": "fail", "arguments": { "reason": "no funds" } })]);
    client.close()
}
