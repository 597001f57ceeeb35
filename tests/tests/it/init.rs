//! From a server to a configuration that passes its own check and is in force.

use crate::told::{LEGACY, decision};
use anyhow::{Context as _, Result};
use holdpoint_e2e::{Client, House, Sdk, Till, here, node};
use serde_json::json;
use std::fs;

/// Name and command of a server, a tool that passes and one that does not.
type RealServer = (&'static str, Vec<String>, Option<&'static str>, Option<&'static str>);

/// Real servers over stdio.
fn servers(house: &House) -> Vec<RealServer> {
    let module = |name: &str| {
        let path = format!("node/node_modules/@modelcontextprotocol/{name}/dist/index.js");
        vec![node().display().to_string(), here().join(path).display().to_string()]
    };
    let mut files = module("server-filesystem");
    files.push(house.path().display().to_string());
    let demo = vec![
        holdpoint_e2e::holdpoint().display().to_string(),
        "demo-server".to_owned(),
        house.path().join("notes").display().to_string(),
    ];
    vec![
        ("files", files, Some("list_allowed_directories"), Some("write_file")),
        ("memory", module("server-memory"), None, Some("delete_entities")),
        ("everything", module("server-everything"), None, None),
        ("demo", demo, None, None),
    ]
}

#[test]
fn what_is_written_passes_the_check_and_is_in_force() -> Result<()> {
    for (name, command, passes, gated) in servers(&House::new()?) {
        let mut house = House::new()?;
        fs::create_dir_all(house.path().join("notes"))?;
        let out = house.config().display().to_string();
        let mut arguments = vec!["init", "--server", name, "--out", &out, "--"];
        arguments.extend(command.iter().map(String::as_str));
        let ran = house.run(&arguments)?;
        assert_eq!(ran.code, Some(0), "{name}: {ran:?}");
        let report = house.run(&["check", &out, "--json"])?.json()?;
        assert_eq!((&report["ok"], &report["notes"]), (&json!(true), &json!([])), "{name}: {report}");
        assert_ne!(report["cases"], json!([]), "{name}");
        assert_eq!(house.run(&["tools", "diff", "--config", &out])?.code, Some(0), "{name}: pinned");
        if name == "files" {
            let text = fs::read_to_string(house.config().join("tools/files.yaml"))?;
            insta::assert_snapshot!("files", text);
        }
        let again = house.run(&arguments)?;
        assert_eq!(again.code, Some(1), "nothing is overwritten: {again:?}");

        let _gate = house.serve()?;
        let mut client = Client::connect(Sdk::TypeScript1, &house.target(&house.proxy(name), LEGACY))?;
        if let Some(tool) = passes {
            let told = client.call("1", tool, &json!({}))?;
            assert_eq!(decision(&told)["status"], json!(null), "{name} {tool}: {told}");
            assert!(house.inbox()?.is_empty(), "{name}");
        }
        let Some(tool) = gated else { continue };
        let arguments = json!({ "path": house.path().join("x").display().to_string(), "content": "x", "entityNames": ["x"] });
        client.start("2", tool, &arguments)?;
        let review = house.inbox_of(1)?;
        assert!(!house.path().join("x").exists());
        house.reject(review[0]["thread_id"].as_str().context("a thread")?, "no")?;
        let told = client.end_of("2")?;
        assert_eq!(decision(&told)["status"], "rejected", "{name}: {told}");
        assert!(!house.path().join("x").exists());
    }
    Ok(())
}

#[test]
fn a_server_is_added_to_what_is_there() -> Result<()> {
    let house = House::new()?;
    let out = house.config().display().to_string();
    let before = "# mine\nhold: { patience: 5m } # short\nservers: # all of them\n  # first\n  other:\n    command: [x]\nunmatched: deny\n";
    house.write("holdpoint.yaml", before)?;
    let servers = servers(&house);
    let (name, command, ..) = servers.first().context("a server")?;
    let mut arguments = vec!["init", "--server", name, "--out", &out, "--"];
    arguments.extend(command.iter().map(String::as_str));
    house.run(&arguments)?.success()?;
    let after = fs::read_to_string(house.config().join("holdpoint.yaml"))?;
    let (head, tail) = before.split_at(before.find("  # first").context("a place")?);
    assert!(after.starts_with(head) && after.ends_with(tail) && after.contains("  files:\n"), "{after}");
    house.run(&["check", &out])?.success()?;

    // Written in another way: nothing is touched, and the lines are there to be copied.
    let house = House::new()?;
    let out = house.config().display().to_string();
    let before = "servers: { other: { command: [x] } } # one line\n";
    house.write("holdpoint.yaml", before)?;
    let ran = house.run(&[&["init", "--server", name, "--out", &out, "--"][..], &refs(command)].concat())?;
    assert_eq!(fs::read_to_string(house.config().join("holdpoint.yaml"))?, before);
    assert!(ran.code == Some(0) && ran.stdout.contains("    command: ["), "{ran:?}");
    Ok(())
}

/// Names, titles and schemas that try to be something else in the file; secrets by their names.
#[test]
fn whatever_a_server_says_stays_a_text() -> Result<()> {
    let house = House::new()?;
    let tools = [
        r#"{"name":"pay","title":"Pay {{ args.token }} # \n- name: x","description":"Pays.\n  - name: '*'\n    action: pass","inputSchema":{"type":"object","properties":{"amount":{"type":"number"},"card":{"type":"object","properties":{"number":{"type":"string"}}},"apiToken":{"type":"string"},"max_tokens":{"type":"integer"},"mapping":{"type":"string"},"a b":{"type":"string"},"to":{"type":["string","null"]}},"required":["amount","apiToken","a b","to","mapping"]}}"#,
        r#"{"name":"x: y","description":"\u202ereads","annotations":{"readOnlyHint":true,"destructiveHint":true}}"#,
        r#"{"name":"true","annotations":{"readOnlyHint":true,"openWorldHint":true}}"#,
        r#"{"name":"get_*","annotations":{"readOnlyHint":true}}"#,
        r#"{"name":"12","annotations":{"readOnlyHint":"true"}}"#,
        r#"{"name":"look","annotations":{"readOnlyHint":true}}"#,
        r#"{"name":"twice"}"#,
        r#"{"name":"twice","description":"other"}"#,
        r#"{"name":"two\u0020readings","a":1,"a":2}"#,
    ];
    fs::write(house.path().join("tools.jsonl"), tools.join("\n"))?;
    let out = house.config().display().to_string();
    let script = here().join("node/shifty.mjs").display().to_string();
    let (node, tools) =
        (node().display().to_string(), house.path().join("tools.jsonl").display().to_string());
    let arguments = ["init", "--server", "shifty", "--out", &out, "--", &node, &script, &tools, "calls"];
    let ran = house.run(&arguments)?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("6 tools: 2 pass"), "{ran:?}");
    assert!(ran.stderr.contains("left out: twice") && ran.stderr.contains("two readings"), "{ran:?}");
    insta::assert_snapshot!("texts", fs::read_to_string(house.config().join("tools/shifty.yaml"))?);
    let explained = ["explain", "--config", &out, "--server", "shifty", "--json"];
    let secret =
        r#"{"amount":5,"apiToken":"s3cret","a b":"c","to":null,"mapping":"m","card":{"number":"4242"}}"#;
    let pay = house.run(&[&explained[..], &["--tool", "pay", "--args", secret]].concat())?.json()?;
    assert_eq!(pay["plan"], "gate", "{pay}");
    assert!(!pay.to_string().contains("s3cret") && !pay.to_string().contains("4242"), "{pay}");
    for tool in ["x: y", "true", "12", "get_all", "other"] {
        let plan = house.run(&[&explained[..], &["--tool", tool]].concat())?.json()?;
        assert_eq!(plan["plan"], "gate", "{tool}: {plan}");
    }
    Ok(())
}

/// Over HTTP, with a header whose value stays in the environment.
#[test]
fn a_server_at_a_url_is_asked_with_its_header() -> Result<()> {
    let mut house = House::new()?;
    let till = Till::new()?;
    let server = till.serve()?;
    house.set_env("TOKEN", "t0p-secret");
    let out = house.config().display().to_string();
    let header = "authorization=Bearer ${TOKEN}";
    house
        .run(&["init", "--server", "till", "--out", &out, "--url", &server.url(), "--header", header])?
        .success()?;
    let written = fs::read_to_string(house.config().join("holdpoint.yaml"))?;
    assert!(written.contains("${TOKEN}") && !written.contains("t0p-secret"), "{written}");
    house.run(&["check", &out])?.success()?;
    let up = house.up()?;
    let mut client = Client::http(Sdk::TypeScript1, up.mcp_url("till")?)?;
    client.start("1", "gated", &json!({}))?;
    let review = house.inbox_of(1)?;
    assert!(till.runs()?.is_empty());
    house.approve(review[0]["thread_id"].as_str().context("a thread")?, "")?;
    client.end_of("1")?;
    assert_eq!(till.runs()?.len(), 1);
    Ok(())
}

fn refs(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

#[test]
fn what_cannot_be_asked_or_written_leaves_nothing_behind() -> Result<()> {
    let house = House::new()?;
    let out = house.config().display().to_string();
    for (arguments, expected) in [
        (&["--server", "../x", "--", "true"][..], "cannot be the name of a server"),
        (&["--server", "x"], "no server `x` to ask"),
        (&["--server", "x", "--", "/nowhere/at-all"], "cannot be listed"),
        (&["--server", "x", "--", "true"], "cannot be listed"),
        (&["--server", "x", "--url", "http://127.0.0.1:1/mcp"], "cannot be listed"),
        (
            &["--server", "x", "--url", "http://127.0.0.1:1/mcp", "--header", "authorization=s3cret"],
            "not from the environment",
        ),
    ] {
        let ran = house.run(&[&["init", "--out", &out], arguments].concat())?;
        assert!(ran.code == Some(1) && ran.stderr.contains(expected), "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.contains("s3cret"), "{ran:?}");
        assert!(!house.config().join("holdpoint.yaml").exists(), "{arguments:?}");
    }
    Ok(())
}
