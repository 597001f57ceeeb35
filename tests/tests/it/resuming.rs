//! Clients that lose a stream and come back with `Last-Event-ID`: over HTTP they get from the server what they have not seen, and
//! each message once. A server that is a command has no such memory, and its streams do not look as if they had.

use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::fixture::{self, FixtureServer};
use holdpoint_e2e::{House, Request};
use serde_json::{Value, json};
use std::time::Duration;

const REVISION: &str = "2025-11-25";
const TOOL: &str = "test_tool_with_progress";
/// Longer than the tool takes.
const DONE_BY_THEN: Duration = Duration::from_millis(1_500);

/// A session of the handshake era, by hand.
struct Session {
    url: String,
    id: String,
}

impl Session {
    fn open(url: &str) -> Result<Self> {
        let hello = json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": { "protocolVersion": REVISION, "capabilities": {}, "clientInfo": { "name": "e2e", "version": "1" } },
        });
        let answer = Request::mcp(url, hello.to_string()).send()?;
        let id = answer.header("mcp-session-id").context("no session")?.to_owned();
        let session = Self { url: url.to_owned(), id };
        session.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).send()?;
        Ok(session)
    }

    fn post(&self, message: &Value) -> Request {
        self.of(Request::mcp(&self.url, message.to_string()))
    }

    fn call(&self) -> Request {
        self.post(&json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": TOOL, "arguments": {}, "_meta": { "progressToken": "p" } },
        }))
    }

    fn resume(&self, last: &str) -> Request {
        let request = Request::get(&self.url).header("accept", "text/event-stream");
        self.of(request).header("last-event-id", last)
    }

    fn of(&self, request: Request) -> Request {
        request.header("mcp-session-id", &self.id).header("mcp-protocol-version", REVISION)
    }
}

/// The messages of a stream, and the id of its last event.
fn heard(text: &str) -> (Vec<Value>, Option<String>) {
    let (mut messages, mut last) = (Vec::new(), None);
    for line in text.lines() {
        if let Some(id) = line.strip_prefix("id:") {
            last = Some(id.trim().to_owned());
        }
        let data = line.strip_prefix("data:").and_then(|data| serde_json::from_str(data).ok());
        messages.extend(data);
    }
    (messages, last)
}

fn is_progress_of_the_server(message: &Value) -> bool {
    message["method"] == "notifications/progress" && message["params"].get("total").is_some()
}

fn has_answer(text: &str) -> bool {
    heard(text).0.iter().any(|message| message["id"] == 1)
}

fn has_progress(text: &str) -> bool {
    let (messages, last) = heard(text);
    last.is_some() && text.ends_with("\n\n\r\n") && messages.iter().any(is_progress_of_the_server)
}

/// What the server itself says, without what we say while it waits.
fn of_the_server(text: &str) -> Vec<Value> {
    let messages = heard(text).0.into_iter();
    messages.filter(|message| message["id"] == 1 || is_progress_of_the_server(message)).collect()
}

#[test]
fn each_message_is_heard_once_over_http() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = FixtureServer::start(folder.path(), &["--resumable"])?;
    let house = House::new()?;
    house.configure(&json!({ "servers": { "fixture": { "url": server.url } } }))?;
    for action in ["pass", "gate"] {
        house.tools("fixture", &json!([{ "name": "*", "action": action }]))?;
        let before = server.ran()?.len();
        let direct = of_the_server(&Session::open(&server.url)?.call().cut(has_answer)?);
        ensure!(direct.len() > 2, "nothing to lose: {direct:?}");
        let up = house.up()?;
        let session = Session::open(up.mcp_url("fixture")?)?;
        let first = std::thread::scope(|scope| {
            let call = scope.spawn(|| session.call().cut(has_progress));
            if action == "gate" {
                let open = house.inbox_of(1)?;
                house.approve(open[0]["thread_id"].as_str().context("no review")?, "fine")?;
            }
            call.join().map_err(|_| anyhow::anyhow!("it panicked"))?
        })?;
        let (_, last) = heard(&first);
        let first = of_the_server(&first);
        ensure!(first.len() < direct.len(), "nothing was lost: {first:?}");
        std::thread::sleep(DONE_BY_THEN);
        let rest = session.resume(&last.context("no id")?).cut(has_answer)?;
        assert_eq!([first, of_the_server(&rest)].concat(), direct, "{action}");
        assert_eq!(server.ran()?.get(before..).unwrap_or_default(), [TOOL; 2], "once here, once without us");
        drop(up);
    }
    Ok(())
}

/// By the protocol ids are the server's to give, and who gives none is not asked for what was lost.
#[test]
fn a_command_promises_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let runs = folder.path().join("fixture-runs.jsonl");
    let house = House::new()?;
    house.configure(&json!({ "servers": { "fixture": { "command": fixture::over_stdio(&runs) } } }))?;
    house.tools("fixture", &json!([{ "name": "*", "action": "pass" }]))?;
    let up = house.up()?;
    let session = Session::open(up.mcp_url("fixture")?)?;
    let text = session.call().cut(has_answer)?;
    let (messages, last) = heard(&text);
    ensure!(messages.len() > 2 && last.is_none(), "an id: {text}");
    // An id that nobody gave brings nothing back, and runs nothing.
    let resumed = session.resume("0/made-up").cut(|text| text.contains("\r\n\r\n"))?;
    ensure!(of_the_server(&resumed).is_empty(), "{resumed}");
    assert_eq!(fixture::ran(&runs)?, [TOOL]);
    Ok(())
}
