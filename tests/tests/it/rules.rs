//! What Gate's rules and the configuration decide without a person, and what nobody is asked about.

use crate::fake_gate::FakeGate;
use crate::told::{
    CLIENTS, LEGACY, STATELESS, decision, house_at, house_of, ran, refund, refunded, refused, text,
};
use anyhow::{Context as _, Result};
use holdpoint_e2e::{Client, House, Ledger, Recorded, Sdk, ToolServer};
use holdpoint_testkit::Endpoint;
use serde_json::{Value, json};

const NONE: [Value; 0] = [];

/// Little runs by itself, much never runs, and in between a person decides.
fn declared(house: &House) -> Result<()> {
    house.declare(&json!({
        "agents": [{ "name": "default" }],
        "tools": [{
            "name": "refund",
            "default_action": "allow",
            "rules": [
                { "type": "upper_limit", "parameter": "amount", "value": 50, "action": "review" },
                { "type": "upper_limit", "parameter": "amount", "value": 500, "action": "escalate" },
                { "type": "upper_limit", "parameter": "amount", "value": 1000, "action": "reject" },
                { "type": "contains", "parameter": "reason", "value": "gift", "action": "reject" },
            ],
        }],
    }))
}

fn ruled(client: &mut Client, house: &House, ledger: &Ledger) -> Result<()> {
    ran(&client.call("little", "refund", &refund("1", 40))?, "refunded 40 for 1")?;
    assert_eq!(ledger.runs()?, [refunded("1", 40)]);
    // Rules decide anew each time: an automatic yes is no approval to be used up.
    ran(&client.call("again", "refund", &refund("1", 40))?, "refunded 40 for 1")?;
    let twice = [refunded("1", 40), refunded("1", 40)];
    assert_eq!(ledger.runs()?, twice);

    let end = client.call("much", "refund", &refund("2", 5000))?;
    refused(&end, "rejected")?;
    assert_eq!(decision(&end)["thread_id"], Value::Null, "{end}");
    assert_eq!(decision(&end)["retry"], "other_call", "{end}");
    // Which limits there are is not for the model to find out.
    assert!(!text(&end).contains("1000"), "{end}");
    assert_eq!(house.inbox()?, NONE);
    assert_eq!(ledger.runs()?, twice);

    let thread = client.hold("more", "refund", &refund("3", 501))?;
    assert_eq!(house.inbox()?[0]["state"], "escalated");
    house.reject(&thread, "no")?;
    refused(&client.end_of("more")?, "rejected")?;
    let thread = client.hold("between", "refund", &refund("3", 51))?;
    assert_eq!(house.inbox()?[0]["state"], "needs_review");
    house.approve(&thread, "")?;
    ran(&client.end_of("between")?, "refunded 51 for 3")?;
    assert_eq!(ledger.runs()?.len(), 3);
    Ok(())
}

#[test]
fn rules_over_http() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let tool_server = ledger.serve()?;
        let house = house_at(tool_server.url())?;
        declared(&house)?;
        let up = house.up()?;
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;
        ruled(&mut client, &house, &ledger).with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    Ok(())
}

#[test]
fn rules_over_stdio() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let mut house = house_of(&ledger)?;
        declared(&house)?;
        let _gate = house.serve()?;
        let mut client = Client::connect(sdk, &house.target(&house.proxy("ledger"), era))?;
        ruled(&mut client, &house, &ledger).with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    Ok(())
}

/// `pass` asks nobody, `deny` never runs, what is not mentioned is asked about or denied.
#[test]
fn pass_and_deny_ask_nobody() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let (one, other) = (Ledger::new()?, Ledger::new()?);
        let tool_server = other.serve()?;
        let mut house = House::new()?;
        house.configure(&json!({
            "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
            "servers": { "one": { "command": one.command() }, "other": { "url": tool_server.url() } },
            "unmatched": "deny",
        }))?;
        let tools = json!([
            { "name": "app*", "action": "pass" },
            { "name": "refund", "action": "deny" },
            { "name": "fail", "action": "gate" },
        ]);
        house.tools("one", &tools)?;
        house.tools("other", &tools)?;
        let gate = FakeGate::of(&mut house)?;
        let up = house.up()?;
        for (target, ledger) in [
            (house.target(&house.proxy("one"), era), &one),
            (json!({ "http": up.mcp_url("other")?, "era": era }), &other),
        ] {
            let mut client = Client::connect(sdk, &target)?;
            ran(&client.call("pass", "append", &json!({ "line": "x" }))?, "appended x")?;
            let end = client.call("deny", "refund", &refund("1", 40))?;
            refused(&end, "denied_by_config")?;
            assert_eq!(decision(&end)["retry"], "no", "{sdk:?} {era}: {end}");
            refused(&client.call("unmatched", "slow", &json!({ "seconds": 0.0 }))?, "denied_by_config")?;
            client.close()?;
            let run = json!({ "tool": "append", "arguments": { "line": "x" } });
            assert_eq!(ledger.runs()?, [run], "{sdk:?} {era}");
        }
        assert_eq!(gate.count(Endpoint::Requests), 0, "{sdk:?} {era}");
    }
    Ok(())
}

/// What is no tool call is what it was without us.
#[test]
fn lists_are_untouched() -> Result<()> {
    let ledger = Ledger::new()?;
    let ledger_http = ledger.serve()?;
    let record = Recorded::new()?;
    let everything_http = record.serve_everything()?;
    let mut house = House::new()?;
    house.configure(&json!({
        "servers": {
            "ledger": { "command": ledger.command() },
            "everything": { "command": record.command(ToolServer::Everything) },
            "ledger-http": { "url": ledger_http.url() },
            "everything-http": { "url": everything_http.url() },
        },
    }))?;
    let up = house.up()?;
    house.set_env("STACKSONA_GATE_URL", up.gate_url()?);
    let agent = house.run(&["agents", "create", "lister", "--json"])?.json()?;
    house.set_env("STACKSONA_API_KEY", agent["key"].as_str().context("no key")?);

    let stdio = |command: Vec<String>, name: &str| {
        let through = |era| house.target(&house.proxy(name), era);
        (json!({ "stdio": command }), through(LEGACY), through(STATELESS))
    };
    let http = |url: &str, name: &str| -> Result<_> {
        let through = |era| Ok::<_, anyhow::Error>(json!({ "http": up.mcp_url(name)?, "era": era }));
        Ok((json!({ "http": url }), through(LEGACY)?, through(STATELESS)?))
    };
    let of_ledger = [stdio(ledger.command(), "ledger"), http(ledger_http.url(), "ledger-http")?];
    let of_everything = [
        stdio(ToolServer::Everything.command(), "everything"),
        http(everything_http.url(), "everything-http")?,
    ];
    let mut pairs = Vec::new();
    for (mut direct, legacy, stateless) in of_ledger {
        pairs.push((Sdk::Python, direct.clone(), legacy));
        direct["era"] = json!(STATELESS);
        pairs.push((Sdk::TypeScript2, direct, stateless));
    }
    for (direct, legacy, _) in of_everything {
        pairs.push((Sdk::TypeScript1, direct, legacy));
    }
    for (sdk, direct, through) in pairs {
        let expected = Client::connect(sdk, &direct)?.tools()?;
        let seen = Client::connect(sdk, &through)?.tools()?;
        assert!(expected.as_array().is_some_and(|tools| tools.len() >= 4), "{expected}");
        assert_eq!(seen, expected, "{sdk:?} {through}");
    }
    assert_eq!(ledger.runs()?, NONE);
    assert_eq!(record.runs()?, NONE);
    Ok(())
}

/// A server's own questions to the client cross while nothing is held: elicitation, in the middle of a tool's run.
#[test]
fn a_tool_may_ask_the_user_back() -> Result<()> {
    let record = Recorded::new()?;
    let tool_server = record.serve_everything()?;
    let mut house = House::new()?;
    house.configure(&json!({
        "servers": {
            "stdio": { "command": record.command(ToolServer::Everything) },
            "http": { "url": tool_server.url() },
        },
    }))?;
    let up = house.up()?;
    house.set_env("STACKSONA_GATE_URL", up.gate_url()?);
    let agent = house.run(&["agents", "create", "asker", "--json"])?.json()?;
    house.set_env("STACKSONA_API_KEY", agent["key"].as_str().context("no key")?);
    for sdk in [Sdk::TypeScript1, Sdk::Python] {
        for target in [
            house.target(&house.proxy("stdio"), LEGACY),
            json!({ "http": up.mcp_url("http")?, "era": LEGACY }),
        ] {
            let before = record.runs()?.len();
            let mut client = Client::connect(sdk, &target)?;
            let thread = client.hold("a", "trigger-elicitation-request", &json!({}))?;
            house.approve(&thread, "")?;
            client.wait_for("elicitation", |event| event["event"] == "elicitation")?;
            let end = client.end_of("a")?;
            ran(&end, "")?;
            client.close()?;
            assert_eq!(record.runs()?.len(), before + 1, "{sdk:?}");
        }
    }
    Ok(())
}
