//! A client that speaks HTTP reaches a server that is a command: `holdpoint up` in between.

use crate::told::{CLIENTS, LEGACY, house_of, ran, refunds};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Client, House, Kill, Ledger, Sdk, ToolServer, children, kill, only_child, until_ended};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

/// Every public client, in every era it speaks.
#[test]
fn ledger() -> Result<()> {
    let ledger = Ledger::new()?;
    let house = house_of(&ledger)?;
    let up = house.up()?;
    for (number, (sdk, era)) in CLIENTS.into_iter().enumerate() {
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;
        refunds(&mut client, &house, &ledger, number).with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    Ok(())
}

/// Several servers in one process; each client sees what it would see without us.
#[test]
fn lists() -> Result<()> {
    let house = House::new()?;
    let folder = house.path().join("files");
    std::fs::create_dir(&folder)?;
    let servers = [
        ("everything", ToolServer::Everything),
        ("filesystem", ToolServer::Filesystem(&folder)),
        ("memory", ToolServer::Memory),
    ];
    let settings: serde_json::Map<String, Value> = servers
        .iter()
        .map(|(name, server)| ((*name).to_owned(), json!({ "command": server.command() })))
        .collect();
    house.configure(&json!({ "servers": settings }))?;
    let up = house.up()?;
    for (name, server) in servers {
        for sdk in Sdk::ALL {
            let mut direct = Client::connect(sdk, &json!({ "stdio": server.command(), "era": LEGACY }))?;
            let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url(name)?, "era": LEGACY }))?;
            assert_eq!(client.tools()?.to_string(), direct.tools()?.to_string(), "{sdk:?} {name}");
            client.close()?;
            direct.close()?;
        }
    }
    Ok(())
}

/// What the server asks of its client, and the answer to it.
#[test]
fn elicitation() -> Result<()> {
    let house = House::new()?;
    let server = ToolServer::Everything.command();
    house.configure(&json!({ "servers": { "everything": { "command": server } } }))?;
    house.tools("everything", &json!([{ "name": "*", "action": "pass" }]))?;
    let up = house.up()?;
    let target = json!({ "http": up.mcp_url("everything")?, "era": LEGACY });
    let mut client = Client::connect(Sdk::TypeScript2, &target)?;
    client.start("a", "trigger-elicitation-request", &json!({}))?;
    let asked = client.wait_for("a question", |event| event["event"] == "elicitation")?;
    ensure!(asked["params"]["requestedSchema"].is_object(), "{asked}");
    ran(&client.end_of("a")?, "")?;
    // What takes its time goes on in a stream.
    let long = json!({ "duration": 2, "steps": 2 });
    ran(&client.call("b", "trigger-long-running-operation", &long)?, "")?;
    client.close()
}

/// Two sessions are two children, and each ends with its session; the rest ends with us.
#[test]
fn sessions() -> Result<()> {
    let ledger = Ledger::new()?;
    let house = house_of(&ledger)?;
    let up = house.up()?;
    let pid = up.pid();
    assert_eq!(children(pid)?, [] as [u32; 0]);
    let target = json!({ "http": up.mcp_url("ledger")?, "era": LEGACY });
    let (first, first_child) = (Client::connect(Sdk::Python, &target)?, only_child(pid)?);
    let second = Client::connect(Sdk::Python, &target)?;
    assert_eq!(children(pid)?.len(), 2);
    first.close()?;
    until_ended(first_child)?;
    let left: Vec<u32> = children(pid)?.into_iter().filter(|child| *child != first_child).collect();
    ensure!(left.len() == 1, "{left:?}");
    let status = up.stop()?;
    ensure!(status.success(), "{status}");
    until_ended(left[0])?;
    drop(second);
    Ok(())
}

/// A server that dies while a call runs: what came of it is not known, and nothing runs again by itself.
#[test]
fn killed() -> Result<()> {
    let ledger = Ledger::new()?;
    let house = house_of(&ledger)?;
    let up = house.up()?;
    let target = json!({ "http": up.mcp_url("ledger")?, "era": LEGACY });
    let mut client = Client::connect(Sdk::Python, &target)?;
    let arguments = json!({ "seconds": 600 });
    let thread = client.hold("a", "slow", &arguments)?;
    house.approve(&thread, "")?;
    let expected = [json!({ "tool": "slow", "arguments": { "seconds": 600.0 } })];
    let deadline = Instant::now() + Duration::from_mins(1);
    while ledger.runs()?.is_empty() {
        ensure!(Instant::now() < deadline, "it never ran");
    }
    kill(only_child(up.pid())?, Kill::Nine)?;
    let end = client.end_of("a")?;
    ensure!(end["result"]["_meta"].is_null() && end["isError"] == true, "{end}");
    ensure!(
        crate::told::text(&end).contains("unknown") || crate::told::text(&end).contains("not known"),
        "{end}"
    );
    drop(client);
    std::thread::sleep(Duration::from_secs(1));
    let mut client = Client::connect(Sdk::Python, &target)?;
    let end = client.call("b", "slow", &arguments)?;
    ensure!(end["isError"] == true, "{end}");
    assert_eq!(ledger.runs()?, expected);
    client.close()
}

/// What a server writes to its standard error is in our log, harmless and under its name.
#[test]
fn errors() -> Result<()> {
    let house = House::new()?;
    let script = r"printf '\033[2Jneeds a key\n' >&2; cat >/dev/null";
    house.configure(&json!({ "servers": { "noisy": { "command": ["sh", "-c", script] } } }))?;
    let log = house.path().join("log");
    let up = house.up_logging_to(&log)?;
    let url = up.mcp_url("noisy")?.to_owned();
    let (authority, path) = url.trim_start_matches("http://").split_once('/').context("a path")?;
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#;
    let mut stream = TcpStream::connect(authority)?;
    write!(stream, "POST /{path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n")?;
    write!(stream, "accept: */*\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
    let deadline = Instant::now() + Duration::from_mins(1);
    let line = loop {
        let text = std::fs::read_to_string(&log)?;
        if let Some(line) = text.lines().find(|line| line.contains("needs a key")) {
            break line.to_owned();
        }
        ensure!(Instant::now() < deadline, "not in the log: {text}");
    };
    drop(stream);
    up.stop()?;
    ensure!(line.contains(r"\u{1b}[2J") && line.contains("noisy"), "{line}");
    Ok(())
}
