//! A client that can only start commands reaches a server at a URL: `holdpoint proxy` in between.

use crate::told::{CLIENTS, LEGACY, decision, house_at, progress_only_rises, ran, refund, refunds, refused};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Client, House, Ledger, Pipe, Recorded, Sdk, nobody};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const REVISION: &str = "2025-11-25";

/// Every public client, in every era it speaks.
#[test]
fn ledger() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let mut house = house_at(tool_server.url())?;
    let _gate = house.serve()?;
    for (number, (sdk, era)) in CLIENTS.into_iter().enumerate() {
        let mut client = Client::connect(sdk, &house.target(&house.proxy("ledger"), era))?;
        refunds(&mut client, &house, &ledger, number).with_context(|| format!("{sdk:?} {era}"))?;

        let before = ledger.runs()?;
        progress_only_rises(&mut client, &house).with_context(|| format!("{sdk:?} {era}"))?;
        let slow = json!({ "tool": "slow", "arguments": { "seconds": 0.05 } });
        assert_eq!(ledger.runs()?, [before, vec![slow]].concat(), "{sdk:?} {era}");
        client.close()?;
    }
    Ok(())
}

fn everything(server: &str) -> Result<House> {
    let mut house = House::new()?;
    house.configure(&json!({ "servers": { "everything": { "url": server } } }))?;
    house.tools(
        "everything",
        &json!([{ "name": "echo", "action": "gate" }, { "name": "*", "action": "pass" }]),
    )?;
    house.set_env("HOLDPOINT_LOG", "error");
    Ok(house)
}

fn hello() -> Value {
    json!({
        "jsonrpc": "2.0", "id": "initialize", "method": "initialize",
        "params": {
            "protocolVersion": REVISION, "capabilities": { "sampling": {}, "roots": { "listChanged": true } },
            "clientInfo": { "name": "holdpoint-e2e", "version": "1" },
        },
    })
}

/// The answer of a server to one message, head and all; its connections may stay open after that.
fn posted(url: &str, session: Option<&str>, message: &Value) -> Result<String> {
    let rest = url.strip_prefix("http://").context("not an http URL")?;
    let (authority, path) = rest.split_once('/').context("a URL without a path")?;
    let mut stream = TcpStream::connect(authority)?;
    let body = message.to_string();
    let session = session.map(|id| format!("mcp-session-id: {id}\r\nmcp-protocol-version: {REVISION}\r\n"));
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n{}\r\n",
        body.len(),
        session.unwrap_or_default(),
    );
    stream.write_all((head + &body).as_bytes())?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 8 * 1024]);
    loop {
        let count = stream.read(&mut chunk)?;
        ensure!(count > 0, "cut off: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..count]);
        if answer.ends_with(b"\r\n0\r\n\r\n") || answer.starts_with(b"HTTP/1.1 202") {
            return Ok(String::from_utf8(answer)?);
        }
    }
}

fn message_in(answer: &str) -> Result<&str> {
    // A stream may begin with an event that says nothing but its id.
    let data = answer.lines().filter_map(|line| line.strip_prefix("data: ")).find(|data| !data.is_empty());
    data.with_context(|| format!("no message in {answer}"))
}

/// What the server says of itself and its lists, through the proxy and without it.
#[test]
fn lists_are_the_servers_own_bytes() -> Result<()> {
    let record = Recorded::new()?;
    let tool_server = record.serve_everything()?;
    let mut house = everything(tool_server.url())?;
    let _gate = house.serve()?;
    let direct = posted(tool_server.url(), None, &hello())?;
    let session =
        direct.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).context("no session")?;
    let post = |message: &Value| posted(tool_server.url(), Some(session), message);
    post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;

    let mut pipe = house.pipe(&house.proxy("everything"))?;
    pipe.say(&hello())?;
    assert_eq!(line(&mut pipe, "initialize")?, message_in(&direct)?);
    pipe.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
    for (at, method) in
        ["tools/list", "resources/list", "resources/templates/list", "prompts/list"].iter().enumerate()
    {
        let ask = json!({ "jsonrpc": "2.0", "id": format!("{at}"), "method": method });
        let (mut expected, mut heard) = (String::new(), String::new());
        for _ in 0..50 {
            expected = message_in(&post(&ask)?)?.to_owned();
            pipe.say(&ask)?;
            heard = line(&mut pipe, &at.to_string())?;
            // Tools that ask the client something are there some moments after the handshake.
            if heard == expected {
                break;
            }
        }
        assert_eq!(heard, expected, "{method}");
    }
    assert!(pipe.close()?.success());
    Ok(())
}

/// The next line that answers `id`, without its end.
fn line(pipe: &mut Pipe, id: &str) -> Result<String> {
    loop {
        let line = String::from_utf8(pipe.line()?)?;
        let message: Value = serde_json::from_str(&line)?;
        if message["id"] == *id && message.get("method").is_none() {
            return Ok(line.trim_end_matches('\n').to_owned());
        }
    }
}

/// The server asks the client in the stream of a call, and speaks unasked on its own.
#[test]
fn the_server_asks_and_speaks() -> Result<()> {
    let record = Recorded::new()?;
    let tool_server = record.serve_everything()?;
    let mut house = everything(tool_server.url())?;
    let _gate = house.serve()?;
    let mut pipe = house.pipe(&house.proxy("everything"))?;
    pipe.say(&hello())?;
    pipe.answer_to(&json!("initialize"))?;
    pipe.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
    pipe.start_call("s", "toggle-simulated-logging", &json!({}))?;
    let mut seen = Vec::new();
    let mut asked = false;
    while !(seen.contains(&"log") && seen.contains(&"sampled")) {
        let message = pipe.message()?;
        match message["method"].as_str() {
            Some("notifications/message") => seen.push("log"),
            Some("roots/list") => {
                pipe.say(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "roots": [] } }))?;
            }
            Some("sampling/createMessage") => pipe.say(&json!({
                "jsonrpc": "2.0", "id": message["id"],
                "result": { "role": "assistant", "model": "m", "content": { "type": "text", "text": "sampled words" } },
            }))?,
            None if message["id"] == "sample" => {
                ran(&message, "sampled words")?;
                seen.push("sampled");
            }
            Some(_) | None => {}
        }
        if !asked {
            asked = true;
            pipe.start_call(
                "sample",
                "trigger-sampling-request",
                &json!({ "prompt": "hi", "maxTokens": 5 }),
            )?;
        }
    }
    assert!(pipe.close()?.success());
    Ok(())
}

/// The server is killed with the call in its hands: nobody knows, and it is not sent again.
#[test]
fn a_server_that_dies_leaves_the_call_unknown() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let mut house = house_at(tool_server.url())?;
    let _gate = house.serve()?;
    let mut pipe = house.pipe(&house.proxy("ledger"))?;
    pipe.initialize(REVISION)?;
    let thread = pipe.hold("a", "slow", &json!({ "seconds": 60 }))?;
    house.approve(&thread, "")?;
    while ledger.runs()?.is_empty() {
        std::thread::yield_now();
    }
    drop(tool_server);
    let told = pipe.answer_to(&json!("a"))?;
    assert_eq!(decision(&told)["status"], "outcome_unknown", "{told}");
    let again = pipe.call("b", "slow", &json!({ "seconds": 60 }))?;
    assert!(again["error"].is_object() || decision(&again)["status"] == "outcome_unknown", "{again}");
    assert_eq!(ledger.runs()?.len(), 1);
    assert!(pipe.close()?.success());
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_told() -> Result<()> {
    let mut house = house_at(&nobody()?)?;
    let _gate = house.serve()?;
    let mut pipe = house.pipe(&house.proxy("ledger"))?;
    pipe.say(&hello())?;
    let told = pipe.answer_to(&json!("initialize"))?.to_string();
    assert!(told.contains("could not be reached; nothing was sent"), "{told}");
    let told = pipe.call("a", "refund", &refund("1", 1))?;
    ensure!(told["error"].is_object(), "not refused: {told}");
    assert!(house.inbox()?.is_empty());
    assert!(pipe.close()?.success());
    Ok(())
}

/// Of all that this process knows, the server gets what its entry says.
#[test]
fn the_server_gets_its_own_token_and_nothing_of_the_environment() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let server = std::thread::spawn(move || -> Result<String> {
        let (mut stream, _) = listener.accept()?;
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !request.ends_with(b"}") {
            let count = stream.read(&mut chunk)?;
            ensure!(count > 0, "cut off");
            request.extend_from_slice(&chunk[..count]);
        }
        stream.write_all(
            b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret",
        )?;
        Ok(String::from_utf8(request)?)
    });
    let mut house = House::new()?;
    house.configure(&json!({ "servers": { "s": {
        "url": url, "headers": { "Authorization": "Bearer ${TOOL_TOKEN}" },
    } } }))?;
    house.set_env("TOOL_TOKEN", "token-of-the-server");
    house.set_env("OTHER_SECRET", "token-of-somebody-else");
    let _gate = house.serve()?;
    let key = house.environment().get("STACKSONA_API_KEY").context("no key")?.clone();
    let mut pipe = house.pipe(&house.proxy("s"))?;
    pipe.say(&hello())?;
    let told = pipe.answer_to(&json!("initialize"))?.to_string();
    assert!(told.contains("HTTP status 401") && !told.contains("secret"), "{told}");
    let seen = server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    assert!(seen.contains("authorization: Bearer token-of-the-server"), "{seen}");
    assert!(!seen.contains("token-of-somebody-else") && !seen.contains(&key), "{seen}");
    assert!(pipe.close()?.success());
    Ok(())
}

/// The reference server, with every client of its era.
#[test]
fn everything_by_every_client() -> Result<()> {
    let record = Recorded::new()?;
    let tool_server = record.serve_everything()?;
    let mut house = everything(tool_server.url())?;
    let _gate = house.serve()?;
    let mut expected = Vec::new();
    for sdk in Sdk::ALL {
        let mut client = Client::connect(sdk, &house.target(&house.proxy("everything"), LEGACY))?;
        let thread = client.hold("no", "echo", &json!({ "message": format!("{sdk:?} no") }))?;
        house.reject(&thread, "not today")?;
        refused(&client.end_of("no")?, "rejected")?;
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
