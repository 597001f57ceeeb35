//! The commands that a person types first.

use anyhow::Result;
use holdpoint_e2e::{House, Ran, here};
use serde_json::{Value, json};
use std::fmt::Write as _;

fn repository() -> String {
    here().parent().unwrap_or(here()).display().to_string()
}

/// Four calls through a real gate; `--yes` answers for the person.
fn demonstrates(arguments: &[&str], tool_server: &str) -> Result<()> {
    let house = House::new()?;
    let ran = house.run(arguments)?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let out = &ran.stdout;
    assert!(out.contains(tool_server), "{out}");
    assert!(out.contains("/sign-in?token="), "the inbox link: {out}");
    let count = |part: &str| out.lines().filter(|line| line.contains(part)).count();
    for (told, disk, times) in
        [("told: ran", "disk: it ran", 3), ("told: rejected", "disk: it did not run", 1)]
    {
        assert_eq!((count(told), count(disk)), (times, times), "{told}: {out}");
    }
    for record in
        ["a rule allowed", "a rule rejected", "review opened", "approved by", "one-time token used up"]
    {
        assert!(out.contains(record), "no `{record}` in the record:\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "no escape codes where nobody sees them: {out:?}");
    Ok(())
}

#[test]
fn demo_with_the_bundled_tool_server() -> Result<()> {
    demonstrates(&["demo", "--yes", "--bundled"], "the bundled one")
}

#[test]
fn demo_with_what_is_there() -> Result<()> {
    // From npm where Node and the network are, else the bundled one: either is right here.
    demonstrates(&["demo", "--yes"], "Tool server")
}

/// What the repository ships is right, as it is checked out.
#[test]
fn check_finds_nothing_wrong_with_the_shipped_configuration() -> Result<()> {
    let mut house = House::new()?;
    for (name, value) in [
        ("STACKSONA_GATE_URL", "http://127.0.0.1:9"),
        ("STACKSONA_API_KEY", "sg_key"),
        ("PAYMENTS_TOKEN", "token"),
    ] {
        house.set_env(name, value);
    }
    let config = format!("{}/config", repository());
    let ran = house.run(&["check", &config])?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = house.run(&["check", &config, "--json"])?.json()?;
    assert!(ran.is_object(), "{ran}");
    Ok(())
}

/// README's example, word for word.
#[test]
fn explain_says_what_would_be_asked_and_why() -> Result<()> {
    let mut house = House::new()?;
    for (name, value) in [
        ("STACKSONA_GATE_URL", "http://127.0.0.1:9"),
        ("STACKSONA_API_KEY", "sg_key"),
        ("PAYMENTS_TOKEN", "token"),
    ] {
        house.set_env(name, value);
    }
    let config = format!("{}/config", repository());
    let readme = std::fs::read_to_string(format!("{}/README.md", repository()))?;
    let arguments = readme.lines().find_map(|line| line.trim().strip_prefix("--args '")?.strip_suffix('\''));
    let arguments = arguments.unwrap_or_default();
    assert!(arguments.contains("4242424242424242"), "README has another example now");
    let explain = [
        "explain",
        "--config",
        &config,
        "--server",
        "payments",
        "--tool",
        "issue_refund",
        "--args",
        arguments,
    ];
    let text = house.run(&explain)?.success()?;
    for part in
        ["is gated", "payments.yaml:4", "Issue refund of $500 to customer cus_99", "\"amount\": 500", "high"]
    {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(!text.contains("4242"), "the card is masked:\n{text}");
    let json = house.run(&[&explain[..], &["--json"]].concat())?.json()?;
    assert!(!json.to_string().contains("4242"), "{json}");
    assert_eq!(json["plan"], "gate", "{json}");

    let passes = ["explain", "--config", &config, "--server", "files", "--tool", "read_text_file", "--json"];
    assert_eq!(house.run(&passes)?.json()?["plan"], "pass");
    let denied =
        ["explain", "--config", &config, "--server", "payments", "--tool", "delete_customer", "--json"];
    assert_eq!(house.run(&denied)?.json()?["plan"], "deny");
    Ok(())
}

/// Whatever the client declares; what is known of it by name may change the times.
#[test]
fn explain_says_how_a_call_would_wait() -> Result<()> {
    let mut house = House::new()?;
    house.set_env("STACKSONA_API_KEY", "sg_key");
    house.configure(&json!({
        "gate": { "url": "http://127.0.0.1:9", "api_key": "${STACKSONA_API_KEY}" },
        "servers": { "a": { "url": "http://127.0.0.1:9/mcp" }, "b": { "url": "http://127.0.0.1:9/mcp", "hold": { "mode": "legs", "patience": "2m" } } },
    }))?;
    let tool = |name: &str, hold: Value| json!({ "name": name, "action": "gate", "hold": hold });
    house.tools(
        "a",
        &json!([
            { "name": "plain", "action": "gate" },
            { "name": "passes", "action": "pass" },
            tool("held", json!({ "mode": "hold", "patience": "1h" })),
            tool("bounded", json!({ "mode": "bounded" })),
            tool("short", json!({ "patience": "30s", "leg": "10s" })),
        ]),
    )?;
    house.tools("b", &json!([{ "name": "legs", "action": "gate" }]))?;
    let config = house.config().display().to_string();
    let mut story = String::new();
    for (server, tool) in
        [("a", "plain"), ("a", "held"), ("a", "bounded"), ("a", "short"), ("b", "legs"), ("a", "passes")]
    {
        let explain = ["explain", "--config", &config, "--server", server, "--tool", tool];
        let text = house.run(&explain)?.success()?;
        let ways = text.split_once("Until a person").map_or("nothing\n", |(_, ways)| ways);
        writeln!(story, "{tool}: {}", ways.trim_start_matches(" decides, "))?;
    }
    insta::assert_snapshot!(story);
    let json = ["explain", "--config", &config, "--server", "a", "--tool", "short", "--json"];
    let waits = house.run(&json)?.json()?["waits"].to_string();
    insta::assert_snapshot!(waits, @r#"[{"client":"tasks","as":"task"},{"client":"links","as":"legs","leg_s":10.0,"legs_max":3,"link":true},{"client":"stateless","as":"legs","leg_s":10.0,"legs_max":3,"link":false},{"client":"progress","as":"held","patience_s":30.0},{"client":"silent","as":"held","patience_s":30.0}]"#);
    Ok(())
}

const COMMANDS: [&str; 25] = [
    "",
    "up",
    "demo",
    "proxy",
    "serve",
    "init",
    "check",
    "explain",
    "inbox",
    "approve",
    "reject",
    "sign-in",
    "gate",
    "gate apply",
    "agents",
    "agents create",
    "holds",
    "holds list",
    "holds resolve",
    "tools",
    "tools list",
    "tools pin",
    "tools diff",
    "tools accept",
    "help",
];

/// Short enough to be read, and the same for every reader.
#[test]
fn help() -> Result<()> {
    let house = House::new()?;
    let mut story = String::new();
    for command in COMMANDS {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push(if command == "help" { "proxy" } else { "-h" });
        // Lines break by the length of paths in them, so these are the same everywhere.
        let mut help = house.command(&arguments);
        let ran = Ran::to_end(help.env_remove("HOLDPOINT_DATA").env("HOME", "/home/ada"))?;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command}: {ran:?}");
        assert!(ran.stdout.lines().count() <= 45, "{command}: too long to be read:\n{}", ran.stdout);
        let text: String = ran.stdout.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{command}: too wide:\n{text}");
        write!(story, "$ holdpoint {}\n{text}\n", arguments.join(" "))?;
    }
    insta::assert_snapshot!("help", story);
    let version = house.run(&["--version"])?.success()?;
    assert_eq!(version, format!("holdpoint {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// The command line's data is for programs, its talk for people.
#[test]
fn json_is_one_value_on_standard_output() -> Result<()> {
    let mut house = House::new()?;
    let _gate = house.serve()?;
    for command in [
        &["inbox", "--json"][..],
        &["holds", "list", "--json"],
        &["tools", "list", "--json"],
        &["sign-in", "--json"],
    ] {
        let ran = house.run(command)?;
        assert_eq!(ran.stdout.lines().count(), 1, "{command:?}: {ran:?}");
        let value: Value = serde_json::from_str(&ran.stdout)?;
        assert!(value.is_array() || value.is_object(), "{command:?}: {value}");
    }
    Ok(())
}
