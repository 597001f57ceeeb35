//! The clients and servers with nothing in between: what the other tests compare with.

use anyhow::Result;
use holdpoint_e2e::{Client, Ledger, Sdk, ToolServer};
use serde_json::{Value, json};

fn writes_a_file(sdk: Sdk) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("note.txt");
    let mut client = Client::stdio(sdk, &ToolServer::Filesystem(folder.path()).command())?;
    let end = client.call("a", "write_file", &json!({ "path": path, "content": "hello" }))?;
    assert_eq!(end["isError"], false, "{end}");
    assert_eq!(std::fs::read_to_string(&path)?, "hello");
    client.close()
}

#[test]
fn typescript_1_writes_a_file() -> Result<()> {
    writes_a_file(Sdk::TypeScript1)
}

#[test]
fn typescript_2_writes_a_file() -> Result<()> {
    writes_a_file(Sdk::TypeScript2)
}

#[test]
fn python_writes_a_file() -> Result<()> {
    writes_a_file(Sdk::Python)
}

#[test]
fn a_cancelled_call_ends_as_cancelled() -> Result<()> {
    for sdk in Sdk::ALL {
        let mut client = Client::stdio(sdk, &ToolServer::Everything.command())?;
        let arguments = json!({ "duration": 600, "steps": 6000 });
        client.send(&json!({
            "do": "call", "id": "a", "tool": "trigger-long-running-operation", "arguments": arguments, "progress": true,
        }))?;
        client.wait_for("progress", |event| event["event"] == "progress")?;
        client.cancel("a")?;
        let end = client.end_of("a")?;
        assert_eq!((&end["event"], &end["kind"]), (&json!("error"), &json!("cancelled")), "{sdk:?}");
        client.close()?;
    }
    Ok(())
}

#[test]
fn memory_has_tools() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut client = Client::connect(
        Sdk::TypeScript2,
        &json!({
            "stdio": ToolServer::Memory.command(),
            "env": { "MEMORY_FILE_PATH": folder.path().join("memory.jsonl") },
        }),
    )?;
    let tools = client.tools()?;
    let names: Vec<&str> =
        tools.as_array().into_iter().flatten().filter_map(|tool: &Value| tool["name"].as_str()).collect();
    assert!(names.contains(&"create_entities"), "{names:?}");
    client.close()
}

/// Every client, era and transport that the other tests use.
#[test]
fn a_call_is_in_the_ledger_once() -> Result<()> {
    for (sdk, era) in [
        (Sdk::TypeScript1, "legacy"),
        (Sdk::TypeScript2, "legacy"),
        (Sdk::TypeScript2, "2026-07-28"),
        (Sdk::Python, "legacy"),
        (Sdk::Python, "2026-07-28"),
    ] {
        let ledger = Ledger::new()?;
        let server = ledger.serve()?;
        for target in
            [json!({ "stdio": ledger.command(), "era": era }), json!({ "http": server.url(), "era": era })]
        {
            let mut client = Client::connect(sdk, &target)?;
            let end = client.call("a", "append", &json!({ "line": "x" }))?;
            assert_eq!(end["text"], "appended x", "{sdk:?} {era} {end}");
            client.close()?;
        }
        let run = json!({ "tool": "append", "arguments": { "line": "x" } });
        assert_eq!(ledger.runs()?, [run.clone(), run], "{sdk:?} {era}");
    }
    Ok(())
}
