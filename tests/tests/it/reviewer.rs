//! People: in the browser, in the terminal, and both at once.

use crate::told::{LEGACY, decision, house_at, ran, refund, refunded, refused, text};
use anyhow::{Context as _, Result};
use holdpoint_e2e::{Click, Client, House, Ledger, Request, Review, Sdk, screenshots};
use serde_json::{Value, json};

const NONE: [Value; 0] = [];

/// A refund as a reviewer should see it.
fn described(house: &House) -> Result<()> {
    house.tools(
        "ledger",
        &json!([{
            "name": "refund",
            "action": "gate",
            "workflow_name": "Customer Support",
            "task_label": "Refund request - Order #{{ args.order_id }}",
            "subject": "Issue refund of ${{ args.amount }} for order {{ args.order_id }}",
            "preview": "Refund for order {{ args.order_id }}",
            "risk_level": "high",
            "summary": ["Order {{ args.order_id }}", "Paid out at once"],
            "payload": {
                "amount": { "at": "/amount" },
                "currency": { "value": "usd" },
                "order": { "at": "/order_id" },
                "account": { "at": "/reason", "secret": true },
            },
        }]),
    )
}

/// The one that everything else is about: a click in a real browser, and the tool runs once.
#[test]
fn a_click_approves_a_held_call() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    described(&house)?;
    let up = house.up()?;
    let mut client = Client::connect(Sdk::TypeScript1, &json!({ "http": up.mcp_url("ledger")? }))?;
    let thread = client.hold("a", "refund", &refund("8821", 500))?;
    assert_eq!(ledger.runs()?, NONE);

    let folder = screenshots("a_click_approves_a_held_call")?;
    let review =
        Review::of(up.sign_in_url()?, Some(&thread), "checked with the customer", Click::Approve, &folder)?;
    for part in ["Issue refund of $500 for order 8821", "Paid out at once", "usd", "refund", "••••"] {
        assert!(review.before.contains(part), "no `{part}` in:\n{}", review.before);
    }
    assert!(!review.before.contains("never arrived"), "a secret is on the page:\n{}", review.before);
    assert!(review.after.contains("Approved"), "{}", review.after);
    assert!(review.after.contains("checked with the customer"), "{}", review.after);
    assert_eq!(review.console, [] as [String; 0], "the page complains");
    assert_eq!(review.screenshots.len(), 3);

    ran(&client.end_of("a")?, "refunded 500 for 8821")?;
    assert_eq!(ledger.runs()?, [refunded("8821", 500)]);

    // The terminal comes second, and is told who was first.
    for word in ["approve", "reject"] {
        let second = house.run(&[word, &thread, "--note", "me too"])?;
        assert_eq!(second.code, Some(3), "{second:?}");
        assert!(second.stderr.contains("operator"), "not said who: {second:?}");
        let second = house.run(&[word, &thread, "--json"])?;
        assert_eq!(second.code, Some(3), "{second:?}");
        let told: Value = serde_json::from_str(&second.stdout).context("not JSON")?;
        assert!(told.to_string().contains("operator"), "{told}");
    }
    assert_eq!(ledger.runs()?, [refunded("8821", 500)]);
    Ok(())
}

#[test]
fn a_click_rejects_a_held_call() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    let up = house.up()?;
    let mut client = Client::connect(Sdk::Python, &json!({ "http": up.mcp_url("ledger")?, "era": LEGACY }))?;
    client.hold("a", "refund", &refund("8821", 500))?;
    let folder = screenshots("a_click_rejects_a_held_call")?;
    // Without a name the reviewer takes the first in the list.
    let review = Review::of(up.sign_in_url()?, None, "ask finance first", Click::Reject, &folder)?;
    assert!(review.after.contains("Rejected"), "{}", review.after);
    assert_eq!(review.console, [] as [String; 0], "the page complains");
    let end = client.end_of("a")?;
    refused(&end, "rejected")?;
    assert!(text(&end).contains("ask finance first"), "{end}");
    assert_eq!(decision(&end)["message"], "ask finance first");
    assert_eq!(ledger.runs()?, NONE);
    Ok(())
}

#[test]
fn the_inbox_as_json() -> Result<()> {
    let ledger = Ledger::new()?;
    let tool_server = ledger.serve()?;
    let house = house_at(tool_server.url())?;
    described(&house)?;
    let up = house.up()?;
    assert_eq!(house.inbox()?, NONE);
    let mut client = Client::http(Sdk::TypeScript2, up.mcp_url("ledger")?)?;
    let id = client.hold("a", "refund", &refund("8821", 500))?;
    let threads = house.inbox()?;
    assert_eq!(threads.len(), 1, "{threads:?}");
    let thread = &threads[0];
    assert_eq!(thread["thread_id"], id);
    assert_eq!(thread["tool_name"], "refund");
    assert_eq!(thread["subject"], "Issue refund of $500 for order 8821");
    assert_eq!(thread["risk_level"], "high");
    assert_eq!(thread["state"], "needs_review");
    assert_eq!(thread["payload"]["amount"], 500);
    assert_eq!(thread["payload"]["currency"], "usd");
    let masked = thread["payload"]["account"].as_str().unwrap_or_default();
    assert!(masked.starts_with("••••"), "{thread}");
    assert!(!thread.to_string().contains("never arrived"), "{thread}");
    assert!(thread["task_id"].as_str().is_some_and(|task| !task.is_empty()), "{thread}");

    // The same for people, without escape codes and with what to do next.
    let table = house.run(&["inbox"])?;
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.stdout.contains(&id) && table.stdout.contains("high"), "{table:?}");
    assert!(!table.stdout.contains('\u{1b}') && !table.stderr.contains('\u{1b}'), "{table:?}");
    assert!(table.stderr.contains("holdpoint approve THREAD"), "{table:?}");
    Ok(())
}

/// What an agent writes reaches a terminal as text, not as commands to it.
#[test]
fn the_terminal_obeys_nobody() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = crate::told::house_of(&ledger)?;
    let tools = json!([{ "name": "append", "action": "gate", "subject": "Append {{ args.line }}" }]);
    house.tools("ledger", &tools)?;
    let _gate = house.serve()?;
    let mut pipe = house.pipe(&house.proxy("ledger"))?;
    pipe.initialize("2025-11-25")?;
    let line = "\u{1b}]0;owned\u{7}\u{202e}txt.exe\u{200b}";
    let thread = pipe.hold("a", "append", &json!({ "line": line }))?;
    let table = house.run(&["inbox"])?.success()?;
    for hidden in ['\u{1b}', '\u{7}', '\u{202e}', '\u{200b}'] {
        assert!(!table.contains(hidden), "{table:?}");
    }
    assert!(table.contains("owned"), "shown all the same: {table}");
    house.approve(&thread, "")?;
    pipe.answer_to(&json!("a"))?;
    assert_eq!(ledger.runs()?, [json!({ "tool": "append", "arguments": { "line": line } })]);
    assert!(pipe.close()?.success());
    Ok(())
}

#[test]
fn agents_have_keys_of_their_own() -> Result<()> {
    let mut house = House::new()?;
    let gate = house.serve()?;
    let one = house.run(&["agents", "create", "one", "--json"])?.json()?;
    let key = one["key"].as_str().context("no key")?;
    assert_eq!(one["name"], "one");
    assert!(key.starts_with("sg_"), "{one}");
    let text = house.run(&["agents", "create", "two"])?;
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stdout.trim().starts_with("sg_"), "{text:?}");
    assert_eq!(text.stdout.lines().count(), 1, "the key and nothing else, for scripts: {text:?}");

    let twice = house.run(&["agents", "create", "one", "--json"])?;
    assert_eq!(twice.code, Some(1), "{twice:?}");
    assert!(twice.stderr.contains("one"), "{twice:?}");
    let nameless = house.run(&["agents", "create", ""])?;
    assert_eq!(nameless.code, Some(1), "{nameless:?}");

    let poll = format!("{}/api/agent/decisions?task_id=none", gate.gate_url()?);
    let status = |key: &str| -> Result<u16> {
        Ok(Request::get(&poll).header("authorization", &format!("Bearer {key}")).send()?.status)
    };
    assert_eq!(status(key)?, 404);
    assert_eq!(status("sg_no_such_key")?, 401);
    let other = if key.ends_with('x') { 'y' } else { 'x' };
    let mistyped = format!("{}{other}", &key[..key.len() - 1]);
    assert_eq!(status(&mistyped)?, 401);
    assert_eq!(Request::get(&poll).send()?.status, 401);
    // Keys are kept as hashes.
    for entry in std::fs::read_dir(house.data())? {
        let bytes = std::fs::read(entry?.path()).unwrap_or_default();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "the key is on the disk");
    }
    Ok(())
}

#[test]
fn gate_is_made_what_its_file_says() -> Result<()> {
    let mut house = House::new()?;
    let gate = house.serve()?;
    house.declare(&json!({
        "agents": [{ "name": "tester" }, { "name": "robot" }],
        "tools": [{ "name": "refund", "default_action": "reject" }],
    }))?;
    let config = house.config().display().to_string();
    let apply = ["gate", "apply", "--config", &config, "--json"];
    let first = house.run(&apply)?.json()?;
    assert!(first["changes"].as_array().is_some_and(|changes| !changes.is_empty()), "{first}");
    let agents = first["agents"].as_array().context("no agents")?;
    assert_eq!(agents.len(), 1, "only the new one has a new key: {first}");
    assert_eq!(agents[0]["name"], "robot");
    let key = agents[0]["key"].as_str().context("no key")?;

    let second = house.run(&apply)?.json()?;
    assert_eq!(second["changes"], json!([]), "{second}");
    assert_eq!(second["agents"], json!([]), "a key is never printed twice: {second}");
    let talk = house.run(&["gate", "apply", "--config", &config])?;
    assert_eq!((talk.code, talk.stdout.as_str()), (Some(0), ""), "{talk:?}");
    assert!(talk.stderr.contains("nothing to change"), "{talk:?}");

    // The rule is in force, without a restart.
    let ask = json!({ "workflow_name": "w", "task_label": "l", "tool_name": "refund", "subject": "s", "payload": {} });
    let url = format!("{}/api/agent/tasks/t/requests", gate.gate_url()?);
    let asked = Request::post(&url, "application/json", ask.to_string());
    let answer = asked.header("authorization", &format!("Bearer {key}")).send()?;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("reject")), "{answer:?}");

    // A mistake changes nothing.
    house.write(
        "gate.yaml",
        "agents:\n  - name: robot\ntools:\n  - name: refund\n    default_action: alow\n",
    )?;
    let wrong = house.run(&["gate", "apply", "--config", &config])?;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("gate.yaml:5:21"), "{wrong:?}");
    let asked = Request::post(&url, "application/json", ask.to_string());
    let answer = asked.header("authorization", &format!("Bearer {key}")).send()?;
    assert_eq!(answer.json()["status"], "reject", "{answer:?}");
    Ok(())
}

#[test]
fn a_sign_in_link_works_once() -> Result<()> {
    let mut house = House::new()?;
    let gate = house.serve()?;
    let inbox = format!("{}/", gate.gate_url()?);
    let form = "application/x-www-form-urlencoded";
    let stranger = Request::get(&inbox).send()?;
    assert!(stranger.status == 303 || stranger.status == 401 || stranger.status == 403, "{stranger:?}");

    let other = house.run(&["sign-in", "--json"])?.json()?;
    for link in [gate.sign_in_url()?, other["url"].as_str().context("no link")?] {
        let (page, token) = link.split_once("?token=").context("no token")?;
        // A preview that follows the link does not use it up.
        for _ in 0..2 {
            assert_eq!(Request::get(link).send()?.status, 200);
        }
        let enter = || Request::post(page, form, format!("token={token}")).send();
        let first = enter()?;
        assert_eq!(first.status, 303, "{first:?}");
        let cookie = first.header("set-cookie").context("no cookie")?;
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite="), "{cookie}");
        let session = cookie.split(';').next().unwrap_or_default();
        let inside = Request::get(&inbox).header("cookie", session).send()?;
        assert_eq!(inside.status, 200, "{inside:?}");
        let second = enter()?;
        assert_eq!(second.status, 403, "{second:?}");
        assert!(second.header("set-cookie").is_none(), "{second:?}");
        assert!(second.text.contains("used before"), "{}", second.text);
    }
    let wrong = Request::post(&format!("{inbox}sign-in"), form, "token=guess").send()?;
    assert_eq!(wrong.status, 403, "{wrong:?}");
    Ok(())
}
