//! Gate is down, slow, lying, or brings no good token: nothing runs, and the model is told which of these it was.

use crate::fake_gate::FakeGate;
use crate::told::{CLIENTS, decision, ran, refund, refunded, refused};
use anyhow::{Context as _, Result};
use holdpoint_e2e::{Client, House, Ledger, Sdk};
use holdpoint_testkit::{Decision, Endpoint, Script};
use serde_json::{Value, json};

/// What Gate does wrong.
struct Trouble {
    name: &'static str,
    begin: fn(&FakeGate),
    /// What the call ends with.
    status: &'static str,
    /// Whether there is a review to approve.
    asks: Asks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    AndIsApproved,
    InVain,
}

fn on(endpoint: Endpoint, script: Script) -> impl Fn(&FakeGate) {
    move |gate| gate.script_all(endpoint, Some(script.clone()))
}

const TROUBLES: &[Trouble] = &[
    Trouble { name: "down", begin: FakeGate::go_down, status: "unavailable", asks: Asks::InVain },
    Trouble {
        name: "answers rubbish",
        begin: |gate| on(Endpoint::Requests, Script::ok("<html>welcome to the wifi</html>"))(gate),
        status: "unavailable",
        asks: Asks::InVain,
    },
    Trouble {
        name: "does not speak HTTP",
        begin: |gate| on(Endpoint::Requests, Script::bytes("SSH-2.0-OpenSSH_9.2\r\n"))(gate),
        status: "unavailable",
        asks: Asks::InVain,
    },
    Trouble {
        name: "breaks",
        begin: |gate| on(Endpoint::Requests, Script::status(500, "out of order"))(gate),
        status: "unavailable",
        asks: Asks::InVain,
    },
    Trouble {
        name: "does not know the key",
        begin: |gate| on(Endpoint::Requests, Script::status(401, "who are you"))(gate),
        status: "unavailable",
        asks: Asks::InVain,
    },
    Trouble {
        name: "has an unknown status",
        begin: |gate| {
            on(Endpoint::Requests, Script::edited(|answer| answer["status"] = json!("allow_probably")))(gate);
        },
        status: "unavailable",
        asks: Asks::InVain,
    },
    Trouble {
        name: "sends elsewhere",
        begin: |gate| on(Endpoint::Requests, Script::redirect("http://127.0.0.1:9/"))(gate),
        status: "unavailable",
        asks: Asks::InVain,
    },
    Trouble {
        name: "decides with an unknown status",
        begin: |gate| {
            on(Endpoint::Decisions, Script::edited(|answer| answer["status"] = json!("APPROVED")))(gate);
        },
        status: "unavailable",
        asks: Asks::InVain,
    },
    Trouble {
        name: "decides rubbish",
        begin: |gate| on(Endpoint::Decisions, Script::ok("approved"))(gate),
        status: "unavailable",
        asks: Asks::InVain,
    },
    Trouble {
        name: "decides about something else",
        begin: |gate| {
            let other = |answer: &mut Value| answer["payload_digest"] = json!("0".repeat(64));
            on(Endpoint::Decisions, Script::edited(other))(gate);
        },
        status: "mismatch",
        asks: Asks::AndIsApproved,
    },
    Trouble {
        name: "brings no token",
        begin: |gate| gate.issue_tokens(false),
        status: "token_invalid",
        asks: Asks::AndIsApproved,
    },
    Trouble {
        name: "refuses the token",
        begin: |gate| on(Endpoint::Validate, refuses("invalid"))(gate),
        status: "token_invalid",
        asks: Asks::AndIsApproved,
    },
    Trouble {
        name: "says the token was used",
        begin: |gate| on(Endpoint::Validate, refuses("used"))(gate),
        status: "token_invalid",
        asks: Asks::AndIsApproved,
    },
    Trouble {
        name: "says the token is too old",
        begin: |gate| on(Endpoint::Validate, refuses("expired"))(gate),
        status: "token_invalid",
        asks: Asks::AndIsApproved,
    },
    Trouble {
        name: "calls the token valid, but not in so many words",
        begin: |gate| on(Endpoint::Validate, Script::ok(r#"{"valid":"true"}"#))(gate),
        status: "unavailable",
        asks: Asks::AndIsApproved,
    },
    Trouble {
        name: "calls the token valid with an error",
        begin: |gate| on(Endpoint::Validate, Script::status(500, r#"{"valid":true}"#))(gate),
        status: "unavailable",
        asks: Asks::AndIsApproved,
    },
    Trouble {
        name: "breaks off while it looks at the token",
        begin: |gate| on(Endpoint::Validate, Script::close().after_effect())(gate),
        status: "unavailable",
        asks: Asks::AndIsApproved,
    },
];

fn refuses(reason: &str) -> Script {
    Script::status(400, &json!({ "valid": false, "reason": reason }).to_string())
}

fn all_is_well_again(gate: &FakeGate, trouble: &Trouble) {
    for endpoint in [Endpoint::Requests, Endpoint::Decisions, Endpoint::Validate] {
        gate.script_all(endpoint, None);
    }
    gate.issue_tokens(true);
    if trouble.name == "down" {
        gate.come_up();
    }
}

/// Every trouble in turn, and then a call that runs.
fn survives(client: &mut Client, gate: &FakeGate, ledger: &Ledger) -> Result<()> {
    for trouble in TROUBLES {
        (trouble.begin)(gate);
        let opened = gate.threads().len();
        client.start(trouble.name, "refund", &refund(trouble.name, 500))?;
        if trouble.asks == Asks::AndIsApproved {
            gate.decide(&gate.thread(opened + 1), Decision::Approve);
        }
        let end = client.end_of(trouble.name)?;
        refused(&end, trouble.status).with_context(|| trouble.name)?;
        assert_eq!(decision(&end)["retry"], "ask_again", "{}: {end}", trouble.name);
        all_is_well_again(gate, trouble);
        assert_eq!(ledger.runs()?, [] as [Value; 0], "{}", trouble.name);
    }
    let opened = gate.threads().len();
    client.start("good", "refund", &refund("good", 40))?;
    gate.decide(&gate.thread(opened + 1), Decision::Approve);
    ran(&client.end_of("good")?, "refunded 40 for good")?;
    assert_eq!(ledger.runs()?, [refunded("good", 40)]);
    Ok(())
}

fn configuration(server: &Value) -> Value {
    json!({
        "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
        "servers": { "ledger": server },
    })
}

#[test]
fn over_stdio() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let mut house = House::new()?;
        house.configure(&configuration(&json!({ "command": ledger.command() })))?;
        let gate = FakeGate::of(&mut house)?;
        let mut client = Client::connect(sdk, &house.target(&house.proxy("ledger"), era))?;
        survives(&mut client, &gate, &ledger).with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    Ok(())
}

#[test]
fn over_http() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let tool_server = ledger.serve()?;
        let mut house = House::new()?;
        house.configure(&configuration(&json!({ "url": tool_server.url() })))?;
        let gate = FakeGate::of(&mut house)?;
        let up = house.up()?;
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;
        survives(&mut client, &gate, &ledger).with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    Ok(())
}

/// A Gate that takes the question and never answers: the call ends by itself, before clients give up.
#[test]
fn a_gate_that_hangs_lets_nothing_run() -> Result<()> {
    let (one, other) = (Ledger::new()?, Ledger::new()?);
    let tool_server = other.serve()?;
    let mut house = House::new()?;
    let mut config = configuration(&json!({ "command": one.command() }));
    config["servers"]["remote"] = json!({ "url": tool_server.url() });
    house.configure(&config)?;
    let gate = FakeGate::of(&mut house)?;
    let up = house.up()?;
    let mut stdio = Client::connect(Sdk::TypeScript1, &house.target(&house.proxy("ledger"), "legacy"))?;
    let mut http = Client::http(Sdk::TypeScript2, up.mcp_url("remote")?)?;

    gate.script_all(Endpoint::Requests, Some(Script::hang()));
    stdio.start("asked", "refund", &refund("1", 500))?;
    http.start("asked", "refund", &refund("1", 500))?;
    refused(&stdio.end_of("asked")?, "unavailable")?;
    refused(&http.end_of("asked")?, "unavailable")?;

    // The question goes through, but what the token is worth is never said.
    gate.script_all(Endpoint::Requests, None);
    gate.script_all(Endpoint::Validate, Some(Script::hang()));
    stdio.start("approved", "refund", &refund("2", 500))?;
    gate.decide(&gate.thread(1), Decision::Approve);
    http.start("approved", "refund", &refund("3", 500))?;
    gate.decide(&gate.thread(2), Decision::Approve);
    refused(&stdio.end_of("approved")?, "unavailable")?;
    refused(&http.end_of("approved")?, "unavailable")?;
    assert_eq!(gate.count(Endpoint::Validate), 2, "a token is redeemed once at most");

    gate.script_all(Endpoint::Validate, None);
    http.start("good", "refund", &refund("4", 40))?;
    gate.decide(&gate.thread(3), Decision::Approve);
    ran(&http.end_of("good")?, "refunded 40 for 4")?;
    assert_eq!(one.runs()?, [] as [Value; 0]);
    assert_eq!(other.runs()?, [refunded("4", 40)]);
    stdio.close()?;
    http.close()
}

/// Gate goes away while a call is held: patience ends with `unavailable`, not with a run and not with "rejected".
/// The question stays open, and the same call joins it once Gate is back.
#[test]
fn a_gate_that_goes_away_while_a_call_is_held() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let mut house = House::new()?;
        house.configure(&configuration(&json!({ "command": ledger.command() })))?;
        let tools = json!([{ "name": "refund", "action": "gate", "approval": { "patience": "2s" } }]);
        house.tools("ledger", &tools)?;
        let gate = FakeGate::of(&mut house)?;
        let mut client = Client::connect(sdk, &house.target(&house.proxy("ledger"), era))?;

        let thread = client.hold("a", "refund", &refund("1", 40))?;
        gate.go_down();
        let end = client.end_of("a")?;
        refused(&end, "unavailable").with_context(|| format!("{sdk:?} {era}"))?;
        assert_eq!(ledger.runs()?, [] as [Value; 0], "{sdk:?} {era}");

        gate.come_up();
        gate.decide(&thread, Decision::Approve);
        ran(&client.call("b", "refund", &refund("1", 40))?, "refunded 40 for 1")?;
        assert_eq!(gate.threads(), [thread], "{sdk:?} {era}");
        assert_eq!(ledger.runs()?, [refunded("1", 40)], "{sdk:?} {era}");
        client.close()?;
    }
    Ok(())
}

/// Our own Gate, ended in order while a call is held and started again on the same data.
#[test]
fn our_own_gate_stopped_and_started_again() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = crate::told::house_of(&ledger)?;
    let tools = json!([{ "name": "refund", "action": "gate", "approval": { "patience": "2s" } }]);
    house.tools("ledger", &tools)?;
    let gate = house.serve()?;
    let proxy = house.proxy("ledger");
    let mut client = Client::connect(Sdk::Python, &house.target(&proxy, "legacy"))?;
    let thread = client.hold("a", "refund", &refund("1", 40))?;
    assert!(gate.stop()?.success());
    // In its last moment Gate said that nothing was decided yet, which is as true as that it cannot be asked now.
    let end = client.end_of("a")?;
    refused(&end, "pending").or_else(|_| refused(&end, "unavailable"))?;
    refused(&client.call("b", "refund", &refund("2", 40))?, "unavailable")?;
    client.close()?;
    assert_eq!(ledger.runs()?, [] as [Value; 0]);

    let _gate = house.serve()?;
    house.approve(&thread, "")?;
    // Gate has another port now, which the client's configuration says.
    let mut client = Client::connect(Sdk::Python, &house.target(&proxy, "legacy"))?;
    ran(&client.call("c", "refund", &refund("1", 40))?, "refunded 40 for 1")?;
    client.close()?;
    assert_eq!(ledger.runs()?, [refunded("1", 40)]);
    Ok(())
}
