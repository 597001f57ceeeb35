//! Callers over HTTP, and the keys that they are known by.

use crate::told::{LEGACY, STATELESS, decision, ran, refused};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Answer, Client, House, Request, Sdk, Till};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Within this a running process knows of a key that was made or taken back.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// A house in front of one till, under two names. `refund` needs nobody, `gated` needs a person.
pub(crate) fn house(url: &str, callers: &Value) -> Result<House> {
    let mut house = House::new()?;
    house.set_env("TILL_TOKEN", "of-our-own");
    let server = json!({ "url": url, "headers": { "authorization": "Bearer ${TILL_TOKEN}" } });
    house.configure(&json!({ "servers": { "till": server, "other": server }, "callers": callers }))?;
    let tools = json!([{ "name": "refund", "action": "pass" }, { "name": "gated", "action": "gate" }]);
    house.tools("till", &tools)?;
    Ok(house)
}

/// One call, as whoever the headers say.
pub(crate) fn call(url: &str, tool: &str, order: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let params = json!({ "name": tool, "arguments": { "order_id": order } });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let request = headers
        .iter()
        .fold(Request::mcp(url, body.to_string()), |request, (name, value)| request.header(name, value));
    request.send()
}

pub(crate) fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

fn call_with(url: &str, key: &str, tool: &str, order: &str) -> Result<Answer> {
    let (name, value) = bearer(key);
    call(url, tool, order, &[(name, &value)])
}

fn create(house: &House, arguments: &[&str]) -> Result<String> {
    let created = house.run(&[&["callers", "create", "--json"], arguments].concat())?.json()?;
    created["key"].as_str().map(str::to_owned).context("no key")
}

/// Waits until a key is answered with `status`.
fn until(url: &str, key: &str, status: u16) -> Result<()> {
    let from = Instant::now();
    loop {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let answer = Request::mcp(url, body).header("authorization", &bearer(key).1).send()?;
        if answer.status == status {
            return Ok(());
        }
        ensure!(from.elapsed() < SEEN_WITHIN, "{answer:?}");
    }
}

#[test]
fn a_key_counts_while_it_is_there() -> Result<()> {
    let till = Till::new()?;
    let server = till.serve()?;
    let house = house(&server.url(), &json!({ "required": true }))?;
    let up = house.up()?;
    let url = up.mcp_url("till")?;

    let missing = call(url, "refund", "a", &[])?;
    assert_eq!(missing.status, 401, "{missing:?}");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"holdpoint\""));
    for wrong in
        ["hpc_wrong", "sg_your_agent_key", "", "hpc_1fJjkkpe9PiTw9KSulA8Ghct30vZz4HpdQ5c5b9cPF11k6xKw"]
    {
        let answer = call_with(url, wrong, "refund", "a")?;
        assert_eq!(answer.status, 401, "{wrong}: {answer:?}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains("error=\"invalid_token\""), "{wrong}: {challenge}");
    }
    assert_eq!(Request::get(url).header("accept", "text/event-stream").send()?.status, 401);
    assert_eq!(till.runs()?, [] as [Value; 0]);
    assert_eq!(server.headers(), [] as [&str; 0]);

    let key = create(&house, &["billing"])?;
    until(url, &key, 200)?;
    ran(&call_with(url, &key, "refund", "a")?.json(), "did a")?;
    assert_eq!(till.runs()?.len(), 1);
    let headers = server.headers();
    assert!(headers.contains(&"authorization: bearer of-our-own".to_owned()), "{headers:?}");
    assert!(!headers.iter().any(|line| line.contains("hpc_")), "{headers:?}");

    let listed = house.run(&["callers", "list", "--json"])?.json()?;
    assert_eq!((&listed[0]["name"], &listed[0]["servers"]), (&json!("billing"), &Value::Null));
    house.run(&["callers", "revoke", "billing"])?.success()?;
    until(url, &key, 401)?;
    assert_eq!(call_with(url, &key, "refund", "b")?.status, 401);
    assert_eq!(till.runs()?.len(), 1);
    Ok(())
}

/// On this machine nobody needs a key. Whoever brings one is not taken for somebody else all the same.
#[test]
fn a_wrong_key_is_never_nobody() -> Result<()> {
    let till = Till::new()?;
    let server = till.serve()?;
    let house = house(&server.url(), &json!({}))?;
    let up = house.up()?;
    let url = up.mcp_url("till")?;
    assert_eq!(call_with(url, "hpc_wrong", "refund", "a")?.status, 401);
    let basic = [("authorization", "Basic bG9jYWw6")];
    assert_eq!(call(url, "refund", "a", &basic)?.status, 401);
    assert_eq!(till.runs()?, [] as [Value; 0]);
    ran(&call(url, "refund", "b", &[])?.json(), "did b")?;
    assert_eq!(till.runs()?.len(), 1);
    Ok(())
}

/// A person approves what was asked by somebody who may not ask any more.
#[test]
fn what_is_held_for_a_revoked_key_does_not_run() -> Result<()> {
    let till = Till::new()?;
    let server = till.serve()?;
    let house = house(&server.url(), &json!({ "required": true }))?;
    let key = create(&house, &["billing"])?;
    let up = house.up()?;
    let url = up.mcp_url("till")?;
    std::thread::scope(|scope| -> Result<()> {
        let held = scope.spawn(|| call_with(url, &key, "gated", "a"));
        let review = house.inbox_of(1)?;
        house.run(&["callers", "revoke", "billing"])?.success()?;
        // The name is used again: that is another caller.
        create(&house, &["billing"])?;
        house.approve(review[0]["thread_id"].as_str().context("no review")?, "too late")?;
        let answer = held.join().map_err(|_| anyhow::anyhow!("panicked"))??.json();
        refused(&answer, "mismatch")?;
        assert_eq!(decision(&answer)["retry"], "no", "{answer}");
        Ok(())
    })?;
    assert_eq!(till.runs()?, [] as [Value; 0]);
    Ok(())
}

#[test]
fn callers_have_nothing_in_common() -> Result<()> {
    let till = Till::new()?;
    let server = till.serve()?;
    let house = house(&server.url(), &json!({ "required": true }))?;
    let (one, other) = (create(&house, &["one"])?, create(&house, &["other"])?);
    let up = house.up()?;
    let url = up.mcp_url("till")?;

    // A session is of the caller that opened it.
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let opened = Request::mcp(url, initialize).header("authorization", &bearer(&one).1).send()?;
    let session = opened.header("mcp-session-id").context("no session")?.to_owned();
    let in_session = |key: &str| {
        let (name, value) = bearer(key);
        call(url, "refund", "a", &[(name, &value), ("mcp-session-id", &session)])
    };
    assert_eq!(in_session(&other)?.status, 404);
    assert_eq!(till.runs()?, [] as [Value; 0]);
    ran(&in_session(&one)?.json(), "did a")?;
    assert_eq!(till.runs()?.len(), 1);

    // The same call of two callers is two questions, and an answer to one is none to the other.
    std::thread::scope(|scope| -> Result<()> {
        let first = scope.spawn(|| call_with(url, &one, "gated", "same"));
        let of_one = house.inbox_of(1)?;
        let second = scope.spawn(|| call_with(url, &other, "gated", "same"));
        let both = house.inbox_of(2)?;
        let thread = |review: &Value| review["thread_id"].as_str().unwrap_or_default().to_owned();
        let of_one = thread(&of_one[0]);
        let of_other = both.iter().map(thread).find(|id| *id != of_one).context("one review")?;
        let principals: Vec<String> = house
            .holds()?
            .iter()
            .map(|held| held["principal"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert!(principals.iter().any(|principal| principal.starts_with("caller:one#")), "{principals:?}");
        assert!(principals.iter().any(|principal| principal.starts_with("caller:other#")), "{principals:?}");
        house.approve(&of_one, "")?;
        ran(&first.join().map_err(|_| anyhow::anyhow!("panicked"))??.json(), "did same")?;
        assert_eq!(till.runs()?.len(), 2);
        house.reject(&of_other, "once is enough")?;
        refused(&second.join().map_err(|_| anyhow::anyhow!("panicked"))??.json(), "rejected")?;
        Ok(())
    })?;
    assert_eq!(till.runs()?.len(), 2);
    Ok(())
}

#[test]
fn a_key_for_one_server() -> Result<()> {
    let till = Till::new()?;
    let server = till.serve()?;
    let house = house(&server.url(), &json!({}))?;
    let key = create(&house, &["reader", "--server", "other"])?;
    let up = house.up()?;
    let url = up.mcp_url("till")?;
    assert_eq!(call_with(url, &key, "refund", "a")?.status, 403);
    assert_eq!(till.runs()?, [] as [Value; 0]);
    let (name, value) = bearer(&key);
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(Request::mcp(up.mcp_url("other")?, ping).header(name, &value).send()?.status, 200);
    Ok(())
}

#[test]
fn doors_that_would_be_open_to_everybody() -> Result<()> {
    let config = |callers: &Value| house("http://127.0.0.1:1/mcp", callers);
    let refused = |house: &House, arguments: &[&str]| -> Result<String> {
        let path = house.config().display().to_string();
        let ended = house.run(&[&["up", "--config", &path], arguments].concat())?;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        Ok(ended.stderr)
    };
    for callers in [json!({}), json!({ "required": false })] {
        let told = refused(&config(&callers)?, &["--listen", "0.0.0.0:0"])?;
        assert!(told.contains("not asked for a key") && told.contains("required: true"), "{told}");
    }
    let outside = ["--listen", "127.0.0.1:0", "--public-url", "https://holdpoint.example"];
    let told = refused(&config(&json!({}))?, &outside)?;
    assert!(told.contains("https://holdpoint.example") && told.contains("required: false"), "{told}");
    // A file of keys that others may write to is no file of keys.
    let house = config(&json!({ "required": true }))?;
    create(&house, &["a"])?;
    let chmod =
        std::process::Command::new("chmod").arg("666").arg(house.data().join("callers.json")).status()?;
    assert!(chmod.success());
    let told = refused(&house, &["--listen", "127.0.0.1:0"])?;
    assert!(told.contains("others may write to"), "{told}");
    Ok(())
}

#[test]
fn what_the_commands_say() -> Result<()> {
    let house = House::new()?;
    let made = house.run(&["callers", "create", "laptop", "--server", "files", "--server", "till"])?;
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.starts_with("hpc_") && made.stdout.trim_end().len() == 53, "{made:?}");
    assert!(made.stderr.contains("shown this once"), "{made:?}");
    let again = house.run(&["callers", "create", "laptop"])?;
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("there is a caller `laptop` already\n  hint: "), "{again:?}");
    let listed = house.run(&["callers", "list"])?.success()?;
    assert!(listed.contains("laptop") && listed.contains("files, till"), "{listed}");
    assert!(!listed.contains(&made.stdout[4..20]), "{listed}");
    let gone = house.run(&["callers", "revoke", "nobody"])?;
    assert!(gone.code == Some(1) && gone.stderr.contains("`holdpoint callers list` names them"), "{gone:?}");

    house.run(&["callers", "revoke", "laptop"])?.success()?;
    house.run(&["audit", "verify"])?.success()?;
    let log = std::fs::read_to_string(house.data().join("audit/current.jsonl"))?;
    let said: Vec<&str> = log.lines().filter(|line| line.contains("caller:laptop#")).collect();
    ensure!(said.len() == 2, "who had a key, and until when: {log}");
    ensure!(said[0].contains(r#""what":"caller_created""#) && said[1].contains(r#""what":"caller_revoked""#));
    ensure!(said.iter().all(|line| line.contains(r#""by":"person""#)) && !log.contains(&made.stdout[4..20]));
    Ok(())
}

/// Clients that are not ours send a key of theirs as any other header.
#[test]
fn public_clients_with_a_key() -> Result<()> {
    let ledger = holdpoint_e2e::Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = House::new()?;
    house.configure(&json!({
        "servers": { "ledger": { "url": tool_server.url() } }, "callers": { "required": true },
    }))?;
    let key = create(&house, &["agent"])?;
    let up = house.up()?;
    let mut runs = 0;
    for (sdk, era) in [(Sdk::TypeScript2, LEGACY), (Sdk::TypeScript2, STATELESS)] {
        let target = |key: &str| {
            let headers = json!({ "authorization": format!("Bearer {key}") });
            Ok::<_, anyhow::Error>(json!({ "http": up.mcp_url("ledger")?, "era": era, "headers": headers }))
        };
        assert!(Client::connect(sdk, &target("hpc_wrong")?).is_err(), "{era}");
        let mut client = Client::connect(sdk, &target(&key)?)?;
        let line = json!({ "line": format!("{era} line") });
        let thread = client.hold("a", "append", &line)?;
        assert_eq!(ledger.runs()?.len(), runs, "{era}");
        house.approve(&thread, "")?;
        ran(&client.end_of("a")?, "")?;
        runs += 1;
        assert_eq!(ledger.runs()?.len(), runs, "{era}");
        client.close()?;
    }
    Ok(())
}
