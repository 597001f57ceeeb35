//! The bridge as a program: real Gate, real journal, and deaths in between.

use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Answer, House, Request, Server};
use holdpoint_testkit::PostgresDatabase;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// What the bridge runs: counts, and says done.
struct Target {
    url: String,
    runs: Arc<Mutex<Vec<String>>>,
}

impl Target {
    fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port")?;
        let url = format!("http://{}", listener.local_addr().context("no address")?);
        let runs: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&runs);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A caller that died in between is none.
                let _gone = stream.map_err(anyhow::Error::new).and_then(|stream| serve(stream, &noted));
            }
        });
        Ok(Self { url, runs })
    }

    fn runs(&self) -> usize {
        self.runs.lock().map_or(usize::MAX, |runs| runs.len())
    }
}

/// One request, counted before it is answered.
fn serve(mut stream: TcpStream, noted: &Mutex<Vec<String>>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut first, mut length, mut sent) = (String::new(), String::new(), 0, String::new());
    while reader.read_line(&mut line)? > 2 {
        if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse()?;
        }
        if first.is_empty() {
            first.push_str(&line);
        }
        sent.push_str(&line);
        line.clear();
    }
    ensure!(!first.is_empty(), "no request");
    reader.read_exact(&mut vec![0; length])?;
    let body = if first.contains("/shown") { json!({ "sent": sent }) } else { json!({ "ok": true }) };
    noted.lock().map_err(|_| anyhow::anyhow!("another one panicked"))?.push(first);
    let (body, head) =
        (body.to_string(), "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n");
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
    Ok(())
}

/// Gate with three tools, and a house whose bridge asks it.
pub(crate) struct Office {
    gate: Server,
    house: House,
    target: Target,
}

impl Office {
    pub(crate) fn open() -> Result<Self> {
        let (mut house, target) = (House::new()?, Target::new()?);
        house.declare(&json!({
            "agents": [{ "name": "somebody", "signed_tokens": true }],
            "tools": [
                { "name": "safe", "default_action": "allow" },
                { "name": "never", "default_action": "reject" },
                { "name": "refund", "default_action": "review" },
            ],
        }))?;
        let gate = house.serve()?;
        let office = Self { gate, house, target };
        office.configure(&json!({}))?;
        Ok(office)
    }

    fn configure(&self, further: &Value) -> Result<()> {
        let tools = json!({
            "refund": { "method": "POST", "path": "/orders/{order}/refunds" },
            "safe": { "method": "POST", "path": "/safe" },
        });
        let mut config = json!({
            "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
            "bridge": { "targets": { "shop": { "url": self.target.url, "tools": tools } } },
        });
        if let (Some(config), Some(further)) = (config.as_object_mut(), further.as_object()) {
            config.extend(further.clone());
        }
        self.house.configure(&config)
    }

    /// One whose bridge lets nobody in without a key, and such a key.
    pub(crate) fn open_to_callers() -> Result<(Self, String)> {
        let office = Self::open()?;
        office.configure(&json!({ "callers": { "required": true } }))?;
        let created = ["callers", "create", "scripts", "--server", "bridge", "--json"];
        let created = office.house.run(&created)?.json()?;
        let key = created["key"].as_str().context("no key")?.to_owned();
        Ok((office, key))
    }

    pub(crate) const fn house(&self) -> &House {
        &self.house
    }

    pub(crate) fn bridge(&self) -> Result<(Server, Bridge)> {
        let server = self.house.bridge()?;
        let url = server.ready["bridge_url"].as_str().context("no address")?.to_owned();
        Ok((server, Bridge(url)))
    }

    fn thread(&self) -> Result<String> {
        let inbox = self.house.inbox_of(1)?;
        Ok(inbox[0]["thread_id"].as_str().context("no thread")?.to_owned())
    }
}

pub(crate) struct Bridge(String);

impl Bridge {
    pub(crate) fn url(&self) -> &str {
        &self.0
    }

    fn ask(&self, key: &str, wait: u32, body: &Value) -> Result<Said> {
        let url = format!("{}/v1/decisions?wait={wait}", self.0);
        let request = Request::post(&url, "application/json", body.to_string());
        Said::of(&request.header("idempotency-key", key).send()?)
    }

    fn look(&self, id: &str, wait: u32) -> Result<Said> {
        Said::of(&Request::get(&format!("{}/v1/decisions/{id}?wait={wait}", self.0)).send()?)
    }
}

#[derive(Debug)]
struct Said {
    status: u16,
    body: Value,
}

impl Said {
    fn of(answer: &Answer) -> Result<Self> {
        let body: Value = serde_json::from_str(&answer.text).with_context(|| answer.text.clone())?;
        let header = answer.headers.iter().find(|(name, _)| name == "holdpoint-decision");
        let header = header.map(|(_, value)| value.as_str());
        ensure!(header == body["decision"].as_str(), "{header:?} {body}");
        Ok(Self { status: answer.status, body })
    }

    fn words(&self) -> (u16, &str, &str) {
        let word = |name: &str| self.body[name].as_str().unwrap_or_default();
        (self.status, word("decision"), word("status"))
    }

    fn id(&self) -> Result<&str> {
        self.body["id"].as_str().context("no id")
    }
}

fn refund(order: &str) -> Value {
    json!({ "tool_name": "refund", "subject": format!("Refund {order}"), "payload": { "order": order } })
}

fn run_refund(order: &str) -> Value {
    json!({ "tool_name": "refund", "target": "shop", "payload": { "order": order } })
}

#[test]
fn one_call_is_enough() -> Result<()> {
    let office = Office::open()?;
    let (_server, bridge) = office.bridge()?;
    let safe = json!({ "tool_name": "safe", "subject": "x" });
    assert_eq!(bridge.ask("k1", 5, &safe)?.words(), (200, "allow", "allowed"));
    assert_eq!(bridge.ask("k2", 5, &json!({ "tool_name": "never", "subject": "x" }))?.words().1, "deny");
    let held = bridge.ask("k3", 0, &refund("7"))?;
    assert_eq!(held.words(), (202, "pending", "pending"));
    let shown = office.house.inbox_of(1)?;
    assert_eq!(shown[0]["subject"], "Refund 7", "the reviewer reads the caller's words");
    office.house.approve(&office.thread()?, "fine")?;
    assert_eq!(bridge.look(held.id()?, 20)?.words(), (200, "allow", "approved"));
    let ran = bridge.ask("k4", 5, &json!({ "tool_name": "safe", "target": "shop" }))?;
    assert_eq!((ran.words().1, &ran.body["result"]["body"]), ("allow", &json!({ "ok": true })));
    assert_eq!(office.target.runs(), 1);
    Ok(())
}

#[test]
fn what_waits_outlives_a_bridge_that_is_killed() -> Result<()> {
    let office = Office::open()?;
    let (server, bridge) = office.bridge()?;
    let held = bridge.ask("k", 0, &run_refund("7"))?;
    assert_eq!(held.words().1, "pending");
    server.kill_9()?;
    let (_server, bridge) = office.bridge()?;
    office.house.approve(&office.thread()?, "fine")?;
    let ran = bridge.look(held.id()?, 30)?;
    assert_eq!((ran.words(), &ran.body["ran"]), ((200, "allow", "approved"), &json!(true)));
    assert_eq!(bridge.ask("k", 5, &run_refund("7"))?.words(), (200, "allow", "approved"));
    assert_eq!(office.target.runs(), 1);
    Ok(())
}

/// Gate of `up` has another key for its agent at every start, and a hosted one may have another tomorrow.
#[test]
fn a_question_keeps_its_name_when_the_agents_key_is_another_one() -> Result<()> {
    let (mut house, target, database) = (House::new()?, Target::new()?, PostgresDatabase::create());
    house.set_env("HOLDPOINT_JOURNAL_URL", &database.url());
    // Nobody has to name an agent that asks for nobody else.
    house.declare(&json!({ "tools": [{ "name": "safe", "default_action": "allow" }] }))?;
    let tools = json!({ "safe": { "method": "POST", "path": "/safe" } });
    house.configure(&json!({
        "bridge": { "targets": { "shop": { "url": target.url, "tools": tools } } },
        "journal": { "url": "${HOLDPOINT_JOURNAL_URL}" },
    }))?;
    let question = json!({ "tool_name": "safe", "target": "shop" });
    let mut ids = Vec::new();
    for _start in 0..2 {
        let server = house.up()?;
        let bridge = Bridge(server.ready["bridge_url"].as_str().context("no address")?.to_owned());
        let said = bridge.ask("k", 5, &question)?;
        assert_eq!((said.words().1, &said.body["ran"]), ("allow", &json!(true)));
        ids.push(said.id()?.to_owned());
        server.kill_9()?;
    }
    assert_eq!((target.runs(), &ids[0]), (1, &ids[1]));
    Ok(())
}

#[test]
fn a_target_that_shows_its_request_shows_no_credential() -> Result<()> {
    let mut office = Office::open()?;
    office.house.set_env("SHOP_KEY", "key-of-the-shop");
    for (header, shown) in [("authorization", false), ("x-api-key", false), ("x-request-source", true)] {
        let value = "${SHOP_KEY}";
        let tools = json!({ "safe": { "method": "POST", "path": "/shown" } });
        let target = json!({ "url": office.target.url, "headers": { header: value }, "tools": tools });
        office.configure(&json!({ "bridge": { "targets": { "shop": target } } }))?;
        let (_server, bridge) = office.bridge()?;
        let ran = bridge.ask(header, 5, &json!({ "tool_name": "safe", "target": "shop" }))?;
        assert_eq!(ran.words().1, "allow");
        assert_eq!(ran.body.to_string().contains("key-of-the-shop"), shown, "{header}: {}", ran.body);
        assert_eq!(ran.body["result"]["withheld"] == json!(true), !shown, "{header}: {}", ran.body);
    }
    assert_eq!(office.target.runs(), 3);
    Ok(())
}

/// Wherever it dies between the question and the last word, its target has heard of it once at most, and whoever asks again is told
/// what is so.
#[test]
fn wherever_a_bridge_dies_its_target_runs_once_at_most() -> Result<()> {
    let points = [
        ("journal.open_operation", "before"),
        ("journal.open_operation", "after"),
        ("journal.open", "after"),
        ("journal.claim", "after"),
        ("approver.redeem", "after"),
        ("journal.dispatch", "after"),
        ("journal.run_operation", "before"),
        ("journal.run_operation", "after"),
        ("journal.finish", "before"),
        ("journal.finish", "after"),
        ("journal.answer_operation", "before"),
        ("journal.answer_operation", "after"),
    ];
    for (point, when) in points {
        for tool in ["refund", "safe"] {
            let mut office = Office::open()?;
            let question = json!({ "tool_name": tool, "target": "shop", "payload": { "order": "7" } });
            office.house.set_env("HOLDPOINT_DIE_AT", &format!("{point}:{when}"));
            let (mut server, bridge) = office.bridge()?;
            office.house.unset_env("HOLDPOINT_DIE_AT");
            let deadline = Instant::now() + PATIENCE;
            // Approved as soon as it is asked about; the bridge dies on the way, if it comes by.
            let (house, url) = (&office.house, &bridge.0);
            std::thread::scope(|scope| {
                let asking = scope.spawn(|| Bridge(url.clone()).ask("k", 10, &question));
                while tool == "refund" && !asking.is_finished() && Instant::now() < deadline {
                    if let Some(thread) = house.inbox().ok().and_then(|inbox| inbox.first().cloned()) {
                        let thread = thread["thread_id"].as_str().unwrap_or_default().to_owned();
                        let _decided_already = house.approve(&thread, "fine");
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            let died = server.ended_within(Duration::from_millis(300))?.is_some();
            drop(server);
            let before = office.target.runs();
            let (_server, bridge) = office.bridge()?;
            let cell = format!("{point} {when} {tool}, died: {died}, ran {before}");
            ensure!(died || tool == "safe", "{cell}: it did not come by there");
            if tool == "refund" {
                for thread in office.house.inbox()? {
                    let _decided = office.house.approve(thread["thread_id"].as_str().unwrap_or_default(), "");
                }
            }
            let mut said = bridge.ask("k", 10, &question)?;
            while said.words().1 == "pending" && Instant::now() < deadline {
                for thread in office.house.inbox()? {
                    let _decided = office.house.approve(thread["thread_id"].as_str().unwrap_or_default(), "");
                }
                said = bridge.ask("k", 2, &question)?;
            }
            let runs = office.target.runs();
            ensure!(runs <= 1, "{cell}: {runs} runs");
            match said.words() {
                (_, "allow", _) => ensure!(runs == 1, "{cell}: {said:?} and {runs} runs"),
                (_, "deny", "outcome_unknown") => {}
                (_, "deny", _) => ensure!(runs == 0, "{cell}: {said:?} and {runs} runs"),
                _ => anyhow::bail!("{cell}: {said:?}"),
            }
            let again = bridge.ask("k", 2, &question)?;
            ensure!(again.words() == said.words(), "{cell}: {said:?} then {again:?}");
            ensure!(office.target.runs() == runs, "{cell}: asked again, it ran again");
            ensure!(office.gate.pid() > 0, "Gate lives");
        }
    }
    Ok(())
}

#[test]
fn who_may_not_come_in_is_told_so_and_nobody_is_asked() -> Result<()> {
    let office = Office::open()?;
    office.configure(&json!({ "callers": { "required": true } }))?;
    let created =
        office.house.run(&["callers", "create", "flows", "--server", "bridge", "--json"])?.json()?;
    let key = created["key"].as_str().context("no key")?.to_owned();
    let other = office.house.run(&["callers", "create", "others", "--server", "shop", "--json"])?.json()?;
    let other = other["key"].as_str().context("no key")?.to_owned();
    let (_server, bridge) = office.bridge()?;
    let url = format!("{}/v1/decisions", bridge.0);
    let ask =
        || Request::post(&url, "application/json", r#"{"tool_name":"safe"}"#).header("idempotency-key", "k");
    let agent = std::env::var("STACKSONA_API_KEY").unwrap_or_default();
    for (request, status) in [
        (ask(), 401),
        (ask().header("authorization", "Bearer hpc_wrong"), 401),
        (ask().header("authorization", &format!("Bearer {other}")), 403),
        (ask().header("x-api-key", "hpc_wrong"), 401),
        (ask().header("x-api-key", &key).header("x-api-key", "hpc_wrong"), 400),
        (ask().header("authorization", &format!("Bearer {agent}")), 401),
        (
            ask().header("authorization", &format!("Bearer {key}")).header("origin", "https://evil.example"),
            403,
        ),
        (ask().header("authorization", &format!("Bearer {key}")).header("host", "evil.example"), 403),
        (ask().header("authorization", &format!("Bearer {key}")), 200),
        (ask().header("x-api-key", &key), 200),
        (Request::get(&format!("{}/v1/health", bridge.0)), 200),
        (Request::get(&format!("{}/v1/openapi.json", bridge.0)), 200),
    ] {
        let answer = request.send()?;
        assert_eq!(answer.status, status, "{request:?}");
        let word = answer.header("holdpoint-decision");
        assert!(status == 200 || word == Some("deny"), "{request:?}: {word:?}");
    }
    assert_eq!(office.target.runs(), 0);
    Ok(())
}

#[test]
fn a_recipe_for_gate_points_here_and_changes_nothing_else() -> Result<()> {
    let office = Office::open()?;
    let (_server, bridge) = office.bridge()?;
    let key = office.house.environment()["STACKSONA_API_KEY"].clone();
    let post = |path: &str, key: &str, body: &Value| -> Result<(u16, Value)> {
        let request = Request::post(&format!("{}{path}", bridge.0), "application/json", body.to_string());
        let answer = request.header("authorization", &format!("Bearer {key}")).send()?;
        Ok((answer.status, serde_json::from_str(&answer.text).unwrap_or(json!(answer.text))))
    };
    let question = |tool: &str| {
        json!({
            "workflow_name": "Customer Support", "task_label": "Refund", "tool_name": tool,
            "subject": "Issue a $500 refund", "risk_level": "high", "payload": { "amount": 500 },
        })
    };
    let requests = "/api/agent/tasks/task-refund-8821/requests";
    assert_eq!(post(requests, &key, &question("safe"))?.1["status"], "allow");
    assert_eq!(post(requests, &key, &question("never"))?.1["status"], "reject");
    assert_eq!(post(requests, "sg_wrong", &question("safe"))?.0, 401);
    let held = post(&format!("{requests}?wait=0"), &key, &question("refund"))?.1;
    assert_eq!(held["status"], "pending_review");
    let thread = held["thread_id"].as_str().context("no thread")?;
    assert_eq!(thread, office.thread()?);
    let event = json!({ "event_type": "step.done", "event_summary": "looked it up" });
    assert_eq!(post("/api/agent/tasks/task-refund-8821/events", &key, &event)?.0, 201);
    office.house.approve(thread, "fine")?;
    let poll = Request::get(&format!("{}/api/agent/decisions?thread_id={thread}&wait=20", bridge.0));
    let answer = poll.header("authorization", &format!("Bearer {key}")).send()?;
    let decision: Value = serde_json::from_str(&answer.text)?;
    assert_eq!(decision["status"], "approved");
    let proof = json!({ "task_id": "task-refund-8821", "signature": decision["approval_token"] });
    let validate = "/api/agent/approvals/validate";
    assert_eq!(post(validate, &key, &proof)?, (200, json!({ "valid": true })));
    assert_eq!(post(validate, &key, &proof)?, (400, json!({ "valid": false, "reason": "used" })));
    Ok(())
}

#[test]
fn up_has_a_bridge_where_the_configuration_says_so() -> Result<()> {
    let house = House::new()?;
    house.declare(&json!({ "agents": [{ "name": "default" }], "tools": [{ "name": "safe", "default_action": "allow" }] }))?;
    house.configure(&json!({ "bridge": {} }))?;
    let up = house.up()?;
    let bridge = Bridge(up.gate_url()?.to_owned());
    assert_eq!(
        bridge.ask("k", 5, &json!({ "tool_name": "safe", "subject": "x" }))?.words(),
        (200, "allow", "allowed")
    );
    let own = Request::post(&format!("{}/api/agent/tasks/t/requests", bridge.0), "application/json", "{}")
        .send()?;
    assert_eq!(own.status, 401, "beside a Gate of its own, the agent API is that one's");
    let without = House::new()?;
    without.configure(&json!({}))?;
    let up = without.up()?;
    assert_eq!(Request::get(&format!("{}/v1/health", up.gate_url()?)).send()?.status, 404);
    Ok(())
}
