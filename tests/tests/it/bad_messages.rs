//! Messages that are wrong, too large or mean two things: refused in the protocol's own words, before anybody is
//! asked; and the next good call works.

mod wrong;

use crate::told::{LEGACY, decision, house_at, house_of, ran, refund, refunded, text};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Answer, Client, House, Ledger, Pipe, Recorded, Request, Sdk, ToolServer};
use serde_json::{Value, json};
use wrong::{INVALID_REQUEST, PARSE_ERROR, Told, all_wrong, call, told};

const NONE: [Value; 0] = [];
const MIB: usize = 1024 * 1024;

fn good_call(pipe: &mut Pipe, house: &House, order: &str) -> Result<()> {
    let thread = pipe.hold("good", "refund", &refund(order, 40))?;
    assert_eq!(house.inbox()?.len(), 1, "nobody was asked about the wrong ones");
    house.approve(&thread, "")?;
    ran(&pipe.answer_to(&json!("good"))?, &format!("refunded 40 for {order}"))
}

#[test]
fn wrong_messages_over_stdio() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = house_of(&ledger)?;
    let _gate = house.serve()?;
    let mut pipe = house.pipe(&house.proxy("ledger"))?;
    pipe.initialize("2025-11-25")?;
    for wrong in all_wrong() {
        pipe.write(&wrong.message)?;
        pipe.write(b"\n")?;
        let answer = pipe.message().with_context(|| wrong.name)?;
        told(&wrong, &answer).with_context(|| wrong.name)?;
        assert_eq!(ledger.runs()?, NONE, "{}", wrong.name);
    }
    // Some readers end a line at a carriage return, and would see a call in what follows.
    pipe.write(
        format!("{{\"jsonrpc\":\"2.0\",\"method\":\"x\"}}\r{}\n", call(&refund("1", 40).to_string()))
            .as_bytes(),
    )?;
    assert_eq!(pipe.message()?["error"]["code"], PARSE_ERROR);

    pipe.write(call(&json!({ "order_id": "x".repeat(20 * MIB), "amount": 1 }).to_string()).as_bytes())?;
    pipe.write(b"\n")?;
    let answer = pipe.message()?;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!("bad"), &json!(INVALID_REQUEST)),
        "{answer}"
    );
    assert!(
        answer["error"]["message"].as_str().is_some_and(|text| text.contains("16777216 bytes")),
        "{answer}"
    );
    assert_eq!(ledger.runs()?, NONE);

    good_call(&mut pipe, &house, "good")?;
    assert!(pipe.close()?.success());
    assert_eq!(ledger.runs()?, [refunded("good", 40)]);
    Ok(())
}

/// A session of the handshake era, by hand.
fn open_session(url: &str) -> Result<String> {
    let hello = json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "holdpoint-e2e", "version": "1" },
        },
    });
    let answer = Request::mcp(url, hello.to_string()).send()?;
    let session =
        answer.header("mcp-session-id").with_context(|| format!("no session: {answer:?}"))?.to_owned();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    in_session(url, &session, ready.to_string())?;
    Ok(session)
}

fn in_session(url: &str, session: &str, body: impl Into<Vec<u8>>) -> Result<Answer> {
    let request = Request::mcp(url, body).header("mcp-session-id", session);
    request.header("mcp-protocol-version", "2025-11-25").send()
}

#[test]
fn wrong_messages_over_http() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    let up = house.up()?;
    let url = up.mcp_url("ledger")?;
    let session = open_session(url)?;
    for wrong in all_wrong() {
        let answer = in_session(url, &session, wrong.message.clone()).with_context(|| wrong.name)?;
        // What the model can learn from is a result; an unknown tool is an answer of the server's own kind.
        let protocol = matches!(wrong.told, Told::Error(..)) && wrong.name != "an unknown tool";
        let status = if protocol { 400 } else { 200 };
        assert_eq!(answer.status, status, "{}: {answer:?}", wrong.name);
        if wrong.name == "a batch with a call" {
            assert_eq!(answer.json()["error"]["code"], INVALID_REQUEST, "{answer:?}");
        } else {
            told(&wrong, &answer.json()).with_context(|| format!("{}: {answer:?}", wrong.name))?;
        }
        assert_eq!(ledger.runs()?, NONE, "{}", wrong.name);
    }
    let good = call(&refund("1", 40).to_string());
    let refused = |request: Request, status: u16, name: &str| -> Result<()> {
        let answer = request.header("mcp-session-id", &session).send().with_context(|| name.to_owned())?;
        ensure!(answer.status == status, "{name}: {answer:?}");
        ensure!(!answer.text.trim().is_empty(), "{name}: no words: {answer:?}");
        Ok(())
    };
    refused(Request::post(url, "text/plain", good.clone()), 415, "not JSON by its type")?;
    refused(
        Request::post(url, "application/json; charset=utf-7", good.clone()),
        415,
        "another character set",
    )?;
    refused(Request::mcp(url, good.clone()).header("content-encoding", "gzip"), 415, "compressed")?;
    refused(
        Request::mcp(url, good.clone()).header("mcp-method", "ping"),
        400,
        "a header that says otherwise",
    )?;
    refused(Request::mcp(url, good).header("mcp-name", "append"), 400, "a header that names another tool")?;
    let large = call(&json!({ "order_id": "x".repeat(20 * MIB), "amount": 1 }).to_string());
    refused(Request::mcp(url, large), 413, "20 MiB")?;
    assert_eq!(ledger.runs()?, NONE);
    assert_eq!(house.inbox()?, NONE);

    let mut client = Client::http(Sdk::TypeScript1, url)?;
    let thread = client.hold("good", "refund", &refund("good", 40))?;
    house.approve(&thread, "")?;
    ran(&client.end_of("good")?, "refunded 40 for good")?;
    assert_eq!(ledger.runs()?, [refunded("good", 40)]);
    client.close()
}

/// Public clients with 20 MiB of arguments hear of it, and go on.
#[test]
fn large_calls_of_public_clients() -> Result<()> {
    let (one, other) = (Ledger::new()?, Ledger::new()?);
    let tool_server = other.serve()?;
    let mut house = House::new()?;
    house.configure(&json!({
        "servers": { "one": { "command": one.command() }, "other": { "url": tool_server.url() } },
    }))?;
    let up = house.up()?;
    house.set_env("STACKSONA_GATE_URL", up.gate_url()?);
    let agent = house.run(&["agents", "create", "large", "--json"])?.json()?;
    house.set_env("STACKSONA_API_KEY", agent["key"].as_str().context("no key")?);
    for sdk in Sdk::ALL {
        for (target, ledger) in [
            (house.target(&house.proxy("one"), LEGACY), &one),
            (json!({ "http": up.mcp_url("other")?, "era": LEGACY }), &other),
        ] {
            let before = ledger.runs()?;
            let mut client = Client::connect(sdk, &target)?;
            let end = client.call("large", "append", &json!({ "line": "x".repeat(20 * MIB) }))?;
            assert_eq!(end["event"], "error", "{sdk:?}");
            assert_eq!(ledger.runs()?, before);
            let thread = client.hold("good", "append", &json!({ "line": format!("{sdk:?}") }))?;
            house.approve(&thread, "")?;
            ran(&client.end_of("good")?, "appended")?;
            assert_eq!(ledger.runs()?.len(), before.len() + 1, "{sdk:?}");
            client.close()?;
        }
    }
    Ok(())
}

/// A tool server's answer can be too large as well: the client hears that it ran, or that nothing is known of it.
#[test]
fn large_answers_of_a_tool_server() -> Result<()> {
    let record = Recorded::new()?;
    let folder = record.folder().canonicalize()?;
    let (large, small) = (folder.join("large"), folder.join("small"));
    std::fs::write(&large, "x".repeat(20 * MIB))?;
    std::fs::write(&small, "hello")?;
    let mut house = House::new()?;
    let command = record.command(ToolServer::Filesystem(&folder));
    house.configure(&json!({ "servers": { "files": { "command": command } } }))?;
    house.tools("files", &json!([{ "name": "read_text_file", "action": "pass" }]))?;
    let _gate = house.serve()?;
    let mut pipe = house.pipe(&house.proxy("files"))?;
    pipe.initialize("2025-11-25")?;

    let passed = pipe.call("passed", "read_text_file", &json!({ "path": large }))?;
    assert_eq!(passed["error"]["code"], -32603, "{passed}");
    assert!(passed["error"]["message"].as_str().is_some_and(|text| text.contains("longer than")), "{passed}");

    let arguments = json!({ "paths": [large] });
    let thread = pipe.hold("held", "read_multiple_files", &arguments)?;
    house.approve(&thread, "")?;
    let held = pipe.answer_to(&json!("held"))?;
    assert_eq!(decision(&held)["status"], "outcome_unknown", "{held}");
    assert!(text(&held).contains("The tool ran"), "{held}");
    assert_eq!(record.runs()?.len(), 2);

    let good = pipe.call("good", "read_text_file", &json!({ "path": small }))?;
    ran(&good, "hello")
}

/// Gate's own doors.
#[test]
fn wrong_requests_to_gate() -> Result<()> {
    let mut house = House::new()?;
    let gate = house.serve()?;
    let url = gate.gate_url()?;
    let key = house.environment().remove("STACKSONA_API_KEY").context("no key")?;
    let bearer = format!("Bearer {key}");
    let json_type = "application/json";
    let ask = |body: &str| {
        Request::post(&format!("{url}/api/agent/tasks/t/requests"), json_type, body)
            .header("authorization", &bearer)
    };
    let good = json!({ "workflow_name": "w", "task_label": "l", "tool_name": "t", "subject": "s", "payload": { "a": 1 } });
    let mut large = good.clone();
    large["payload"]["a"] = json!("x".repeat(20 * MIB));
    let mut deep = good.to_string();
    deep = deep.replace(r#"{"a":1}"#, &format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200)));
    let validate = format!("{url}/api/agent/approvals/validate");
    let validate = |body: &str| Request::post(&validate, json_type, body).header("authorization", &bearer);
    for (name, request, status) in [
        ("20 MiB", ask(&large.to_string()), 413),
        ("not JSON", ask("approve me"), 400),
        ("cut off", ask(r#"{"tool_name":"#), 400),
        ("no tool", ask(r#"{"subject":"s"}"#), 400),
        (
            "equal keys",
            ask(&good.to_string().replacen(r#""payload""#, r#""payload":{"a":2},"payload""#, 1)),
            400,
        ),
        ("nested too deep", ask(&deep), 400),
        (
            "no key",
            Request::post(&format!("{url}/api/agent/tasks/t/requests"), json_type, good.to_string()),
            401,
        ),
        (
            "neither thread nor task",
            Request::get(&format!("{url}/api/agent/decisions")).header("authorization", &bearer),
            400,
        ),
        (
            "no such thread",
            Request::get(&format!("{url}/api/agent/decisions?thread_id=THR-0"))
                .header("authorization", &bearer),
            404,
        ),
        ("no token", validate("{}"), 400),
        ("a made-up token", validate(r#"{"task_id":"t","signature":"sgt_guess"}"#), 400),
        (
            "20 MiB of sign-in",
            Request::post(
                &format!("{url}/sign-in"),
                "application/x-www-form-urlencoded",
                "x".repeat(20 * MIB),
            ),
            413,
        ),
    ] {
        let answer = request.send().with_context(|| name)?;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert!(!answer.text.trim().is_empty(), "{name}: no words");
        if name.contains("token") {
            assert_eq!(answer.json()["valid"], false, "{name}: {answer:?}");
        }
    }
    assert_eq!(house.inbox()?, NONE);
    let answer = ask(&good.to_string()).send()?;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("pending_review")), "{answer:?}");
    assert_eq!(house.inbox()?.len(), 1);
    Ok(())
}
