//! `examples/copilot-studio`, as it stands in the repository: its files are what the platform takes, and its connectors, called as
//! they say themselves, do what the guide promises.

mod connector;
mod receiver;

use anyhow::{Context as _, Result, ensure};
use connector::Connector;
use holdpoint_e2e::{House, Pipe, Ran, Server, here, node, target};
use receiver::Receiver;
use serde_json::{Value, json};
use std::{fs, path::Path, path::PathBuf, process::Command};

pub(crate) fn example() -> PathBuf {
    here().join("../examples/copilot-studio")
}

fn checked(folder: &Path) -> Result<Ran> {
    let script = here().join("python/check_copilot.py");
    Ran::to_end(Command::new(target().join("tools/python-copilot/bin/python")).arg(script).arg(folder))
}

#[test]
fn its_files_are_what_the_platform_takes() -> Result<()> {
    let ran = checked(&example())?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{}", ran.stderr);
    Ok(())
}

/// The check finds what it is for.
#[test]
fn a_mistake_in_any_of_them_is_found() -> Result<()> {
    let api = "connector/apiDefinition.swagger.json";
    let properties = "connector/apiProperties.json";
    let topic = "HoldpointGate.topic.mcs.yml";
    for (file, old, new) in [
        (api, r#""swagger": "2.0""#, r#""openapi": "3.0.3""#),
        (api, r#""x-ms-visibility": "important""#, r#""x-ms-visibility": "hidden""#),
        (api, "x-ms-notification-url", "x-ms-notify-url"),
        (api, "x-ms-notification-content", "x-ms-notifications"),
        (api, r#""operationId": "GetDecision""#, r#""operationId": "AskForDecision""#),
        (api, "#/definitions/Question", "#/definitions/Asked"),
        (api, "/v1/decisions/{id}/claim", "/v1/decisions/{decision}/claim"),
        (api, r#""X-Api-Key""#, r#""X-Bridge-Key""#),
        ("mcp-connector/apiDefinition.swagger.json", "mcp-streamable-1.0", "mcp-sse-1.0"),
        ("mcp-connector/settings.json", "icon.png", "logo.png"),
        (properties, r#""securestring""#, r#""password""#),
        (properties, "iconBrandColor", "iconColor"),
        (topic, "requestTimeoutInMilliseconds", "requestTimeout"),
        (topic, "JsonRequestContent", "JsonContent"),
        (topic, "id: httpGate001", "id: main"),
        (topic, "Idempotency-Key", "Idempotency"),
        (topic, "elseActions", "otherwise"),
    ] {
        let copy = tempfile::tempdir()?;
        for folder in ["connector", "mcp-connector", "."] {
            fs::create_dir_all(copy.path().join(folder))?;
            for entry in fs::read_dir(example().join(folder))? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    fs::copy(entry.path(), copy.path().join(folder).join(entry.file_name()))?;
                }
            }
        }
        let text = fs::read_to_string(copy.path().join(file))?;
        ensure!(text.contains(old), "{file} has no `{old}` any more");
        fs::write(copy.path().join(file), text.replace(old, new))?;
        let ran = checked(copy.path())?;
        assert_eq!(ran.code, Some(1), "{file}: {old} -> {new}: {ran:?}");
        assert!(ran.stderr.is_empty() && !ran.stdout.is_empty(), "{file}: {old} -> {new}: {ran:?}");
    }
    Ok(())
}

/// Gate, a bridge that wants keys, and the connector with one.
struct Office {
    _gate: Server,
    _bridge: Server,
    house: House,
    connector: Connector,
}

impl Office {
    fn open() -> Result<Self> {
        let mut house = House::new()?;
        house.declare(&json!({
            "agents": [{ "name": "somebody", "signed_tokens": true }],
            "tools": [
                { "name": "look_up", "default_action": "allow" },
                { "name": "wipe", "default_action": "reject" },
                { "name": "issue_refund", "default_action": "review" },
            ],
        }))?;
        let gate = house.serve()?;
        house.set_env("BRIDGE_CALLBACK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let callbacks = json!({
            "hosts": ["127.0.0.1"], "secret": "${BRIDGE_CALLBACK_SECRET}", "private_addresses": true,
        });
        house.configure(&json!({
            "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
            "callers": { "required": true },
            "bridge": { "callbacks": callbacks },
        }))?;
        let created = house.run(&["callers", "create", "power-platform", "--server", "bridge", "--json"])?;
        let key = created.json()?["key"].as_str().context("no key")?.to_owned();
        let bridge = house.bridge()?;
        let url = bridge.ready["bridge_url"].as_str().context("no address")?;
        let connector = Connector::read("connector", url, &key)?;
        Ok(Self { connector, _gate: gate, _bridge: bridge, house })
    }

    fn thread(&self) -> Result<String> {
        let inbox = self.house.inbox_of(1)?;
        Ok(inbox[0]["thread_id"].as_str().context("no thread")?.to_owned())
    }
}

fn question(tool: &str) -> Value {
    json!({ "tool_name": tool, "subject": "Refund order 7", "payload_json": r#"{"order":"7","amount":12.50}"# })
}

fn ask(key: &str, tool: &str) -> Value {
    json!({ "Idempotency-Key": key, "wait": 0, "body": question(tool) })
}

#[test]
fn each_operation_does_what_it_says() -> Result<()> {
    let office = Office::open()?;
    let call = |operation: &str, values: &Value| office.connector.call(operation, values);
    assert_eq!(call("AskForDecision", &ask("k1", "look_up"))?.words(), (200, "allow", "allowed"));
    assert_eq!(call("AskForDecision", &ask("k2", "wipe"))?.words(), (200, "deny", "rejected"));

    // A person decides meanwhile; the same attempt is one question.
    let asked = call("AskForDecision", &ask("k3", "issue_refund"))?;
    assert_eq!(asked.words(), (202, "pending", "pending"));
    let again = call("AskForDecision", &ask("k3", "issue_refund"))?;
    assert_eq!(again.body["id"], asked.body["id"]);
    let id = &asked.body["id"];
    let shown = office.house.inbox_of(1)?;
    assert_eq!(shown[0]["subject"], "Refund order 7");
    assert_eq!(call("GetDecision", &json!({ "id": id }))?.words(), (202, "pending", "pending"));
    assert_eq!(call("ClaimDecision", &json!({ "id": id, "Idempotency-Key": "run1" }))?.words().1, "pending");
    office.house.approve(&office.thread()?, "fine")?;
    let got = call("GetDecision", &json!({ "id": id, "wait": 30 }))?;
    assert_eq!(got.words(), (200, "allow", "approved"));

    // Of two halves of a flow that both claim it, one goes on.
    let claim = |run: &str| call("ClaimDecision", &json!({ "id": id, "Idempotency-Key": run }));
    assert_eq!(claim("run1")?.words().1, "allow");
    assert_eq!(claim("run2")?.words(), (200, "deny", "already_done"));
    assert_eq!(claim("run1")?.words().1, "allow");
    assert_eq!(call("WithdrawDecision", &json!({ "id": id }))?.status, 409);

    // What nobody waits for any more is not asked any more.
    let asked = call("AskForDecision", &ask("k4", "issue_refund"))?;
    let withdrawn = call("WithdrawDecision", &json!({ "id": asked.body["id"] }))?;
    assert_eq!(withdrawn.words(), (200, "deny", "cancelled"));
    assert_eq!(call("AskForDecision", &ask("k4", "issue_refund"))?.words(), (200, "deny", "cancelled"));

    // Without the key that the file asks for, and with a question too few.
    let stranger = office.connector.with_key("hpc_wrong");
    assert_eq!(stranger.call("AskForDecision", &ask("k5", "look_up"))?.words().0, 401);
    let other = json!({ "Idempotency-Key": "k3", "wait": 0, "body": question("wipe") });
    assert_eq!(call("AskForDecision", &other)?.status, 422);
    Ok(())
}

#[test]
fn a_flow_sleeps_until_a_person_has_decided() -> Result<()> {
    let (office, receiver) = (Office::open()?, Receiver::new()?);
    let wait = |path: &str| {
        let body = json!({ "notificationUrl": receiver.url(path), "request": question("issue_refund") });
        office.connector.call("WaitForDecision", &json!({ "body": body }))
    };
    let asked = wait("/run1")?;
    assert_eq!(asked.status, 201);
    // The platform may send it twice.
    assert_eq!(wait("/run1")?.body["id"], asked.body["id"]);
    office.house.approve(&office.thread()?, "fine")?;
    let told = receiver.next("/run1")?;
    assert_eq!((&told["decision"], &told["status"]), (&json!("allow"), &json!("approved")));
    assert_eq!(told["id"], asked.body["id"]);
    office.connector.conforms("Decision", &told)?;

    let asked = wait("/run2")?;
    office.house.reject(&office.thread()?, "not this one")?;
    let told = receiver.next("/run2")?;
    assert_eq!((&told["decision"], &told["message"]), (&json!("deny"), &json!("not this one")));
    assert_eq!(told["id"], asked.body["id"]);

    // The run is cancelled: the platform deletes what `Location` names.
    let asked = wait("/run3")?;
    let location = asked.header("location").context("no `Location`")?;
    let id = location.rsplit('/').next().context("no id")?;
    office.house.inbox_of(1)?;
    assert_eq!(office.connector.call("StopWaiting", &json!({ "id": id }))?.status, 200);
    // Who says yes to it now says it to nobody.
    office.house.approve(&office.thread()?, "too late")?;
    let got = office.connector.call("GetDecision", &json!({ "id": id, "wait": 1 }))?;
    assert_eq!(got.words(), (200, "deny", "cancelled"));
    Ok(())
}

const STATED: &str = r##"{"name":"refund","inputSchema":{"type":"object","properties":{"order":{"$ref":"#/$defs/Order"},"note":{"anyOf":[{"type":"string"},{"type":"null"}],"default":null},"amount":{"type":["integer","null"],"exclusiveMinimum":0}},"required":["order"],"$defs":{"Order":{"type":"string","enum":["7","8"]}}}}"##;
const READABLE: &str = r#"{"name":"refund","inputSchema":{"type":"object","properties":{"order":{"type":"string","enum":["7","8"]},"note":{"type":"string"},"amount":{"type":"integer","minimum":1}},"required":["order"]}}"#;
const PLAIN: &str = r#"{"name":"read","description":"Reads."}"#;

/// Through the connector's one path with its header, and over a pipe: page by page, and only where the configuration says so.
#[test]
fn tools_are_listed_as_copilot_studio_reads_them() -> Result<()> {
    let mut house = House::new()?;
    let _gate = house.serve()?;
    let file = |name: &str| house.path().join(name).display().to_string();
    let script = here().join("node/shifty.mjs").display().to_string();
    let command = [node().display().to_string(), script, file("tools.jsonl"), file("calls")];
    fs::write(house.path().join("tools.jsonl"), [STATED, PLAIN].join("\n"))?;
    house.configure(&json!({
        "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
        "servers": {
            "shop": { "command": command, "compat": "copilot-studio" },
            "plain": { "command": command },
        },
        "callers": { "required": true },
    }))?;
    for server in ["shop", "plain"] {
        house.tools(server, &json!([{ "name": "refund", "action": "pass" }]))?;
    }
    let key = house.run(&["callers", "create", "copilot", "--json"])?.json()?["key"].clone();
    let key = format!("Bearer {}", key.as_str().context("no key")?);
    let up = house.up()?;
    for (server, listed) in [("shop", READABLE), ("plain", STATED)] {
        let url = up.mcp_url(server)?;
        let base = url.strip_suffix(&format!("/servers/{server}/mcp")).context("another path")?;
        let connector = Connector::read("mcp-connector", base, &key)?;
        let (mut session, mut pages) = (None, Vec::new());
        for message in opening() {
            let request = connector.mcp(server, &message, session.as_deref())?;
            let answer = request.send()?;
            session = session.or_else(|| answer.header("mcp-session-id").map(str::to_owned));
            if message["method"] == "tools/list" {
                pages.push(answer.text);
            }
        }
        assert!(pages[0].contains(listed) && pages[0].contains(r#""nextCursor":"1""#), "{server}: {pages:?}");
        assert!(pages[1].contains(PLAIN), "{server}: {pages:?}");

        let mut pipe = house.pipe(&house.proxy(server))?;
        pipe.initialize("2025-11-25")?;
        assert_eq!(tools(&mut pipe)?, serde_json::from_str::<Value>(listed)?, "{server}");
        pipe.close()?;
    }
    Ok(())
}

fn opening() -> Vec<Value> {
    let info = json!({ "name": "copilot", "version": "1" });
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info });
    vec![
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }),
        json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": { "cursor": "1" } }),
    ]
}

fn tools(pipe: &mut Pipe) -> Result<Value> {
    pipe.say(&json!({ "jsonrpc": "2.0", "id": "l", "method": "tools/list" }))?;
    Ok(pipe.answer_to(&json!("l"))?["result"]["tools"][0].clone())
}
