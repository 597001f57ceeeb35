//! A hold outlives its client, its proxy and its Gate; and one approval is one run.

use crate::told::{CLIENTS, LEGACY, decision, house_at, house_of, ran, refund, refunded, refused, text};
use anyhow::{Context as _, Result};
use holdpoint_e2e::{Client, House, Kill, Ledger, Sdk, kill, only_child};
use serde_json::{Value, json};

const NONE: [Value; 0] = [];

/// Short for the test's sake, long enough to be decided in.
fn impatient(house: &House) -> Result<()> {
    let tools = json!([{ "name": "refund", "action": "gate", "approval": { "patience": "1s" } }]);
    house.tools("ledger", &tools)
}

/// Nobody decides in time, twice; then somebody does.
fn comes_back_later(client: &mut Client, house: &House, ledger: &Ledger, order: &str) -> Result<()> {
    let before = ledger.runs()?;
    let call = refund(order, 40);
    let mut threads = Vec::new();
    for id in ["first", "second"] {
        let end = client.call(id, "refund", &call)?;
        refused(&end, "pending")?;
        assert_eq!(decision(&end)["retry"], "same_call", "{end}");
        assert!(decision(&end)["url"].as_str().is_some_and(|url| text(&end).contains(url)), "{end}");
        threads.push(decision(&end)["thread_id"].clone());
        assert_eq!(ledger.runs()?, before);
    }
    assert_eq!(threads[0], threads[1], "one call, one review");
    let open = house.inbox()?;
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0]["thread_id"], threads[0]);

    house.approve(threads[0].as_str().unwrap_or_default(), "")?;
    // The order of keys is no part of what was approved.
    let spelt_otherwise = json!({ "reason": "never arrived", "amount": 40, "order_id": order });
    ran(&client.call("third", "refund", &spelt_otherwise)?, "refunded 40 for")?;
    assert_eq!(ledger.runs()?, [before, vec![refunded(order, 40)]].concat());

    // The result was delivered: the same call is a new one from now on, and a person decides about it anew.
    let end = client.call("fourth", "refund", &call)?;
    refused(&end, "pending")?;
    let again = decision(&end)["thread_id"].clone();
    assert_ne!(again, threads[0]);
    house.reject(again.as_str().unwrap_or_default(), "once is enough")?;
    refused(&client.call("fifth", "refund", &call)?, "rejected")
}

#[test]
fn the_same_call_again_over_stdio() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let mut house = house_of(&ledger)?;
        impatient(&house)?;
        let _gate = house.serve()?;
        let mut client = Client::connect(sdk, &house.target(&house.proxy("ledger"), era))?;
        comes_back_later(&mut client, &house, &ledger, "1").with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    Ok(())
}

#[test]
fn the_same_call_again_over_http() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    impatient(&house)?;
    let up = house.up()?;
    for (number, (sdk, era)) in CLIENTS.into_iter().enumerate() {
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;
        comes_back_later(&mut client, &house, &ledger, &number.to_string())
            .with_context(|| format!("{sdk:?} {era}"))?;
        client.close()?;
    }
    Ok(())
}

/// The proxy dies at this very instruction while a call is held; approved before or after its next start, it runs once.
#[test]
fn the_proxy_is_killed() -> Result<()> {
    for (number, (sdk, era)) in CLIENTS.into_iter().enumerate() {
        let approved_while_it_is_dead = number % 2 == 0;
        let ledger = Ledger::new()?;
        let mut house = house_of(&ledger)?;
        let _gate = house.serve()?;
        let target = house.target(&house.proxy("ledger"), era);

        let mut client = Client::connect(sdk, &target)?;
        let thread = client.hold("a", "refund", &refund("1", 40))?;
        kill(only_child(client.pid())?, Kill::Nine)?;
        assert_eq!(client.end_of("a")?["event"], "error", "{sdk:?} {era}");
        drop(client);

        if approved_while_it_is_dead {
            house.approve(&thread, "")?;
        }
        let mut client = Client::connect(sdk, &target)?;
        assert_eq!(ledger.runs()?, NONE, "{sdk:?} {era}: nobody asked for it again");
        if approved_while_it_is_dead {
            ran(&client.call("b", "refund", &refund("1", 40))?, "refunded 40 for 1")?;
        } else {
            assert_eq!(client.hold("b", "refund", &refund("1", 40))?, thread, "{sdk:?} {era}");
            house.approve(&thread, "")?;
            ran(&client.end_of("b")?, "refunded 40 for 1")?;
        }
        client.close()?;
        assert_eq!(ledger.runs()?, [refunded("1", 40)], "{sdk:?} {era}");
        assert_eq!(house.inbox()?, NONE);
    }
    Ok(())
}

/// Gate, inbox and proxy die together.
#[test]
fn up_is_killed() -> Result<()> {
    for (sdk, era) in CLIENTS {
        let ledger = Ledger::new()?;
        let tool_server = ledger.serve()?;
        let house = house_at(tool_server.url())?;

        let up = house.up()?;
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;
        let thread = client.hold("a", "refund", &refund("1", 40))?;
        up.kill_9()?;
        drop(client);

        // The terminal works on the data alone, too.
        house.approve(&thread, "while nothing runs")?;
        assert_eq!(ledger.runs()?, NONE, "{sdk:?} {era}");

        let up = house.up()?;
        let mut client = Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?;
        ran(&client.call("b", "refund", &refund("1", 40))?, "refunded 40 for 1")?;
        client.close()?;
        assert!(up.stop()?.success());
        assert_eq!(ledger.runs()?, [refunded("1", 40)], "{sdk:?} {era}");
    }
    Ok(())
}

/// Killed after the tool got the call and before its answer came: nobody can know, so it is said and not repeated.
#[test]
fn killed_while_the_tool_runs() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = house_of(&ledger)?;
    let _gate = house.serve()?;
    let proxy = house.proxy("ledger");
    let slow = json!({ "seconds": 600.0 });

    let mut pipe = house.pipe(&proxy)?;
    pipe.initialize("2025-11-25")?;
    let thread = pipe.hold("a", "slow", &slow)?;
    house.approve(&thread, "")?;
    loop {
        // Progress of the tool itself: it has the call.
        if !ledger.runs()?.is_empty() {
            break;
        }
    }
    let tool_server = only_child(pipe.pid())?;
    pipe.kill_9()?;
    // It would finish its ten minutes before it looks at its closed input.
    kill(tool_server, Kill::Nine)?;

    let mut pipe = house.pipe(&proxy)?;
    pipe.initialize("2025-11-25")?;
    let end = pipe.call("b", "slow", &slow)?;
    assert_eq!(decision(&end)["status"], "outcome_unknown", "{end}");
    assert_eq!(decision(&end)["retry"], "no", "{end}");
    assert!(text(&end).contains("may have run"), "{end}");
    assert_eq!(ledger.runs()?.len(), 1);

    // A person looked: it did not happen. Now the same call is asked about anew.
    assert_eq!(house.holds()?[0]["thread_id"], thread);
    house.run(&["holds", "resolve", &thread, "--did-not-run"])?.success()?;
    let again = pipe.hold("c", "slow", &slow)?;
    assert_ne!(again, thread);
    assert_eq!(ledger.runs()?.len(), 1);
    assert!(pipe.close()?.success());
    Ok(())
}

/// Two clients, one call: one question, one run, and both get its result.
#[test]
fn identical_calls_at_once() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    let up = house.up()?;
    let mut clients = Vec::new();
    for (sdk, era) in CLIENTS {
        clients.push(Client::connect(sdk, &json!({ "http": up.mcp_url("ledger")?, "era": era }))?);
    }
    let mut threads = Vec::new();
    for client in &mut clients {
        client.send(&json!({
            "do": "call", "id": "a", "tool": "refund", "arguments": refund("1", 40), "progress": true,
        }))?;
        client.send(&json!({
            "do": "call", "id": "b", "tool": "refund", "arguments": refund("1", 40), "progress": true,
        }))?;
    }
    for client in &mut clients {
        for id in ["a", "b"] {
            let held = client.wait_for("progress", |event| event["id"] == id)?;
            assert_eq!(held["event"], "progress", "{held}");
            threads.push(held["message"].clone());
        }
    }
    threads.dedup();
    assert_eq!(threads.len(), 1, "{threads:?}");
    let open = house.inbox()?;
    assert_eq!(open.len(), 1, "{open:?}");
    house.approve(open[0]["thread_id"].as_str().unwrap_or_default(), "")?;
    for client in &mut clients {
        for id in ["a", "b"] {
            ran(&client.end_of(id)?, "refunded 40 for 1")?;
        }
    }
    assert_eq!(ledger.runs()?, [refunded("1", 40)]);
    Ok(())
}

/// Several stdio proxies share one data folder, as several chat windows do.
#[test]
fn identical_calls_of_two_proxies() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = house_of(&ledger)?;
    let _gate = house.serve()?;
    let proxy = house.proxy("ledger");
    let mut one = Client::connect(Sdk::TypeScript1, &house.target(&proxy, LEGACY))?;
    let mut other = Client::connect(Sdk::TypeScript2, &house.target(&proxy, LEGACY))?;
    let thread = one.hold("a", "refund", &refund("1", 40))?;
    assert_eq!(other.hold("a", "refund", &refund("1", 40))?, thread);
    house.approve(&thread, "")?;
    // One of them ran it. The other may come to look a moment after the answer went out.
    let (one_end, other_end) = (one.end_of("a")?, other.end_of("a")?);
    let says_so = |end: &Value| decision(end)["status"] == "already_done";
    let ran_there = ran(&one_end, "refunded 40 for 1").or_else(|_| ran(&other_end, "refunded 40 for 1"));
    ran_there.with_context(|| format!("{one_end} {other_end}"))?;
    for end in [&one_end, &other_end] {
        assert!(says_so(end) || ran(end, "refunded 40 for 1").is_ok(), "{end}");
    }
    assert_eq!(ledger.runs()?, [refunded("1", 40)]);
    one.close()?;
    other.close()
}

/// With a handshake, a client that is lost has not withdrawn anything: whoever sends the call again joins it.
#[test]
fn a_client_that_is_lost() -> Result<()> {
    for (sdk, era) in CLIENTS.into_iter().filter(|(_, era)| *era == LEGACY) {
        let ledger = Ledger::new()?;
        let tool_server = ledger.serve()?;
        let house = house_at(tool_server.url())?;
        let up = house.up()?;
        let target = json!({ "http": up.mcp_url("ledger")?, "era": era });
        let mut client = Client::connect(sdk, &target)?;
        let thread = client.hold("a", "refund", &refund("1", 40))?;
        kill(client.pid(), Kill::Nine)?;
        drop(client);
        house.approve(&thread, "")?;

        let mut client = Client::connect(sdk, &target)?;
        assert_eq!(ledger.runs()?, NONE, "{sdk:?}: it ran for nobody");
        ran(&client.call("b", "refund", &refund("1", 40))?, "refunded 40 for 1")?;
        client.close()?;
        assert_eq!(ledger.runs()?, [refunded("1", 40)], "{sdk:?}");
    }
    Ok(())
}
