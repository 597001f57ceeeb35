//! What a server that is a command asks of its client over HTTP, and the client's answers: each reaches the other side, and
//! asking back runs no tool a second time.

use crate::told::{LEGACY, STATELESS, ran};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::fixture::{over_stdio, ran as tools_that_ran};
use holdpoint_e2e::{Client, House, Sdk};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A client that has an answer to everything.
fn connect(sdk: Sdk, url: &str, era: &str) -> Result<Client> {
    let answers =
        json!({ "elicitation": { "username": "e2e" }, "sampling": "four", "root": "file:///srv/e2e" });
    Client::connect(sdk, &json!({ "http": url, "era": era, "answers": answers }))
}

/// A house in front of the fixture, and the record of what ran.
fn house(action: &str) -> Result<(House, PathBuf)> {
    let house = House::new()?;
    let runs = house.path().join("runs.jsonl");
    house.configure(&json!({ "servers": { "fixture": { "command": over_stdio(&runs) } } }))?;
    house.tools("fixture", &json!([{ "name": "*", "action": action }]))?;
    Ok((house, runs))
}

/// A tool that asks something, and what it makes of the client's answer, which nobody else knows.
struct Question {
    tool: &'static str,
    arguments: Value,
    says: &'static str,
}

fn with_a_session() -> [Question; 3] {
    [
        Question { tool: "test_elicitation", arguments: json!({ "message": "Who are you?" }), says: "e2e" },
        Question { tool: "test_sampling", arguments: json!({ "prompt": "two and two" }), says: "four" },
        Question { tool: "test_roots", arguments: json!({}), says: "file:///srv/e2e" },
    ]
}

/// After an approval, in the stream of the call.
#[test]
fn within_a_call_that_was_approved() -> Result<()> {
    let (house, runs) = house("gate")?;
    let up = house.up()?;
    let mut expected = Vec::new();
    for sdk in [Sdk::TypeScript1, Sdk::TypeScript2, Sdk::Python, Sdk::Fastmcp] {
        let mut client = connect(sdk, up.mcp_url("fixture")?, LEGACY)?;
        for Question { tool, arguments, says } in with_a_session() {
            let thread = client.hold(tool, tool, &arguments).with_context(|| format!("{sdk:?}"))?;
            ensure!(tools_that_ran(&runs)? == expected, "{sdk:?}: {tool} ran before anybody decided");
            house.approve(&thread, "")?;
            ran(&client.end_of(tool)?, says).with_context(|| format!("{sdk:?} {tool}"))?;
            expected.push(tool.to_owned());
            ensure!(tools_that_ran(&runs)? == expected, "{sdk:?}: {:?}", tools_that_ran(&runs)?);
        }
        client.close()?;
    }
    Ok(())
}

/// Without a session a call ends with the question, and is sent again with the answer: two requests, as the tool counts.
#[test]
fn between_two_requests_of_a_call() -> Result<()> {
    let questions = [
        ("test_input_required_result_sampling", "four"),
        ("test_input_required_result_list_roots", "file:///srv/e2e"),
    ];
    let (house, runs) = house("pass")?;
    let up = house.up()?;
    let mut expected = Vec::new();
    for sdk in [Sdk::TypeScript2, Sdk::Python, Sdk::Fastmcp] {
        let mut client = connect(sdk, up.mcp_url("fixture")?, STATELESS)?;
        for (tool, says) in questions {
            client.start(tool, tool, &json!({}))?;
            ran(&client.end_of(tool)?, says).with_context(|| format!("{sdk:?} {tool}"))?;
            expected.extend([tool.to_owned(), tool.to_owned()]);
            ensure!(tools_that_ran(&runs)? == expected, "{sdk:?}: {:?}", tools_that_ran(&runs)?);
        }
        client.close()?;
    }
    Ok(())
}
