//! A configuration, a port or a folder that is no good: exit code 1, the place, and what to do about it.

use anyhow::Result;
use holdpoint_e2e::{House, Ledger, Ran, Request, nobody};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::TcpListener;

/// What a person sees, with what differs from run to run taken out.
fn seen(house: &House, ran: &Ran) -> String {
    let path = house.path().display().to_string();
    let mut text = String::new();
    for line in ran.stdout.lines().chain(ran.stderr.lines()) {
        text.push_str(line.replace(&path, "HOUSE").trim_end());
        text.push('\n');
    }
    text
}

const UNSET: &str = "a variable that is not set";
const SERVERS: &str = "servers:\n  files: { command: [cat] }\n";

#[test]
fn mistakes_in_the_configuration() -> Result<()> {
    let mut story = String::new();
    for (name, file, text) in [
        ("a typo in a key", "holdpoint.yaml", "severs:\n  files: { command: [cat] }\n"),
        ("a key that is nowhere", "holdpoint.yaml", "servers:\n  files: { command: [cat], retries: 3 }\n"),
        ("a key twice", "holdpoint.yaml", "hold: { patience: 5m }\nhold: { patience: 6m }\n"),
        ("not YAML", "holdpoint.yaml", "servers: [files\n"),
        ("a wrong value", "holdpoint.yaml", "hold: { patience: soon }\n"),
        (
            "a typo in an action",
            "tools/files.yaml",
            "server: files\ntools:\n  - { name: write, action: gated }\n",
        ),
        (
            "a typo in a template",
            "tools/files.yaml",
            "server: files\ntools:\n  - { name: write, action: gate, subject: \"{{ arg.path }}\" }\n",
        ),
        (
            "a server that is not there",
            "tools/files.yaml",
            "server: filse\ntools:\n  - { name: write, action: gate }\n",
        ),
        (
            UNSET,
            "holdpoint.yaml",
            "gate: { url: \"${STACKSONA_GATE_URL}\", api_key: \"${STACKSONA_API_KEY}\" }\nservers:\n  files: { command: [cat] }\n",
        ),
        (
            "a secret in the file",
            "holdpoint.yaml",
            "gate: { url: \"https://gate.test\", api_key: sg_secret }\nservers:\n  files: { command: [cat] }\n",
        ),
        (
            "a rule that is none",
            "gate.yaml",
            "tools:\n  - name: write\n    rules: [{ type: uper_limit, parameter: amount, value: 1, action: review }]\n",
        ),
    ] {
        let house = House::new()?;
        house.write("holdpoint.yaml", SERVERS)?;
        house.write(file, text)?;
        let config = house.config().display().to_string();
        let checked = house.run(&["check", &config])?;
        // What is missing on this machine only is no mistake in the file.
        let code = i32::from(name != UNSET);
        assert_eq!(checked.code, Some(code), "{name}: {checked:?}");
        write!(story, "== {name}\n{}\n", seen(&house, &checked))?;

        let place = format!("{file}:");
        for command in [
            vec!["up", "--config", &config, "--listen", "127.0.0.1:0"],
            vec!["proxy", "--config", &config, "--server", "files"],
            vec!["explain", "--config", &config, "--server", "files", "--tool", "write"],
        ] {
            if (name, command[0]) == (UNSET, "explain") {
                // It asks nobody.
                continue;
            }
            let ran = house.run(&command)?;
            assert_eq!(ran.code, Some(1), "{name}, {command:?}: {ran:?}");
            assert!(
                ran.stderr.contains(&place) && ran.stderr.contains("hint:"),
                "{name}, {command:?}: {ran:?}"
            );
            assert!(!ran.stderr.contains("sg_secret"), "{name}: a secret is shown: {ran:?}");
        }
        assert!(!house.data().join("gate.db").exists(), "{name}: something was begun");
    }
    insta::assert_snapshot!("mistakes_in_the_configuration", story);
    Ok(())
}

#[test]
fn what_cannot_be_started() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = crate::told::house_of(&ledger)?;
    let config = house.config().display().to_string();
    let busy = TcpListener::bind("127.0.0.1:0")?;
    let taken = busy.local_addr()?.to_string();
    // Root writes through every permission, but not below a file that is no folder.
    let file = house.path().join("a-file");
    std::fs::write(&file, "")?;
    let below = file.join("data").display().to_string();
    let proxy = ["proxy", "--config", &config, "--server"];

    let mut story = String::new();
    let mut tell = |house: &House, name: &str, command: &[&str], code: i32| -> Result<()> {
        let ran = house.run(command)?;
        assert_eq!(ran.code, Some(code), "{name}: {ran:?}");
        assert_eq!(ran.stdout, "", "{name}: data is for those who succeed");
        assert!(ran.stderr.contains("hint:") || code == 2, "{name}: what to do? {ran:?}");
        write!(story, "== {name}\n{}\n", seen(house, &ran).replace(&taken, "HOST:PORT"))?;
        Ok(())
    };
    tell(&house, "a busy port: serve", &["serve", "--listen", &taken], 1)?;
    tell(&house, "a busy port: up", &["up", "--config", &config, "--listen", &taken], 1)?;
    tell(&house, "an address of another machine", &["serve", "--listen", "192.0.2.1:0"], 1)?;
    for command in [
        vec!["serve", "--listen", "127.0.0.1:0", "--data", &below],
        vec!["up", "--config", &config, "--listen", "127.0.0.1:0", "--data", &below],
        vec!["inbox", "--data", &below],
        vec!["agents", "create", "x", "--data", &below],
    ] {
        tell(&house, &format!("a data folder that cannot be: {}", command[0]), &command, 1)?;
    }
    tell(&house, "no configuration", &["up", "--listen", "127.0.0.1:0"], 1)?;
    tell(&house, "a configuration that is not there", &["up", "--config", "nowhere"], 1)?;
    tell(&house, "no Gate", &[&proxy[..], &["ledger"]].concat(), 1)?;
    house.set_env("STACKSONA_GATE_URL", "http://gate.example.com");
    house.set_env("STACKSONA_API_KEY", "sg_key");
    tell(&house, "a Gate without encryption", &[&proxy[..], &["ledger"]].concat(), 1)?;
    house.set_env("STACKSONA_GATE_URL", &nobody()?);
    house.set_env("STACKSONA_API_KEY", "a key with spaces");
    tell(&house, "a key that is none", &[&proxy[..], &["ledger"]].concat(), 1)?;
    house.set_env("STACKSONA_API_KEY", "sg_key");
    tell(&house, "a server that is not there", &[&proxy[..], &["ledgre"]].concat(), 1)?;
    tell(&house, "a command that is not there", &["proxy", "--server", "x", "--", "no-such-program"], 1)?;
    tell(&house, "neither configuration nor command", &["proxy", "--server", "x"], 1)?;
    let explain = ["explain", "--config", &config, "--server", "ledger", "--tool", "refund", "--args"];
    tell(&house, "arguments that are none", &[&explain[..], &["{amount: 5}"]].concat(), 1)?;
    tell(&house, "no such review", &["approve", "THR-00000000"], 1)?;
    tell(&house, "no such log filter", &["inbox", "--log", "loud=very"], 1)?;
    tell(&house, "an unknown option", &["inbox", "--colour"], 2)?;
    insta::assert_snapshot!("what_cannot_be_started", story);
    assert_eq!(ledger.runs()?, [] as [Value; 0]);
    drop(busy);
    assert!(house.serve()?.stop()?.success());
    Ok(())
}

/// A database that is none is not overwritten, and not taken for an empty one.
#[test]
fn a_damaged_database_is_left_as_it_is() -> Result<()> {
    let mut house = House::new()?;
    assert!(house.serve()?.stop()?.success());
    let database = house.data().join("gate.db");
    let good = std::fs::read(&database)?;
    std::fs::write(&database, "this is no database, but somebody may want it back")?;
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["inbox"][..]] {
        let ran = house.run(command)?;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("gate.db") && ran.stderr.contains("hint:"), "{ran:?}");
    }
    assert_eq!(std::fs::read_to_string(&database)?, "this is no database, but somebody may want it back");
    std::fs::write(&database, good)?;
    let gate = house.serve()?;
    assert_eq!(Request::get(&format!("{}/health", gate.gate_url()?)).send()?.status, 200);
    Ok(())
}

/// A journal that cannot be used refuses gated calls; what passes still passes.
#[test]
fn a_damaged_journal_lets_nothing_run() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = crate::told::house_of(&ledger)?;
    let _gate = house.serve()?;
    std::fs::write(house.data().join("journal.db"), "this is no database")?;
    let proxy = house.proxy("ledger");
    let (_, arguments) = proxy.split_first().unwrap_or((&proxy[0], &[]));
    let ran = house.run(arguments)?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("journal.db") && ran.stderr.contains("hint:"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(house.data().join("journal.db"))?, "this is no database");
    assert_eq!(ledger.runs()?, [] as [Value; 0]);
    Ok(())
}

/// The tool server dies at its start: the client hears of it, the person at the terminal sees why.
#[test]
fn a_tool_server_that_ends_at_once() -> Result<()> {
    let mut house = House::new()?;
    let _gate = house.serve()?;
    let ran = house.run(&["proxy", "--server", "x", "--", "sh", "-c", "echo out of memory >&2; exit 7"])?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("out of memory"), "its own words are passed on: {ran:?}");
    assert!(ran.stderr.contains("the tool server `x` ended: exit status: 7"), "{ran:?}");
    Ok(())
}

/// A tool server over HTTP that is not there: a gateway's error, and everything else goes on.
#[test]
fn a_tool_server_that_is_down() -> Result<()> {
    let house = crate::told::house_at(&format!("{}/mcp", nobody()?))?;
    let up = house.up()?;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let answer = Request::mcp(up.mcp_url("ledger")?, ping.to_string()).send()?;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(Request::get(&format!("{}/health", up.gate_url()?)).send()?.status, 200);
    Ok(())
}
