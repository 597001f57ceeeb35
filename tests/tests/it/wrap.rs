//! The proxy in front of the servers that a client starts, and out of the way again, to the byte.

use crate::told::{LEGACY, decision, ran, refund, refunded, refused};
use anyhow::{Context as _, Result};
use holdpoint_e2e::{Client, House, Ledger, Sdk, holdpoint};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// As people and programs write them: each client, every shape of an entry.
const FILES: [(&str, &str, usize); 8] = [
    (
        "claude-desktop",
        "{\n  \"globalShortcut\": \"\",\n  \"mcpServers\": {\n    \"files\": {\n      \"command\": \"npx\",\n      \"args\": [\n        \"-y\",\n        \"@modelcontextprotocol/server-filesystem\",\n        \"/home/ada/notes\"\n      ],\n      \"env\": { \"TOKEN\": \"s3cret\" }\n    },\n    \"bare\": { \"command\": \"/usr/bin/memory-server\" }\n  }\n}\n",
        2,
    ),
    (
        "claude-desktop",
        "{\"mcpServers\":{\"a\":{\"command\":\"x\",\"args\":[]},\"b\":{\"args\":[ ],\"command\":\"y\"}}}",
        2,
    ),
    (
        "claude-desktop",
        "{\r\n\t\"mcpServers\": {\r\n\t\t\"win\": {\r\n\t\t\t\"command\": \"C:\\\\Program Files\\\\nodejs\\\\npx.cmd\",\r\n\t\t\t\"args\": [\"-y\", \"C:\\\\srv\\\\tool \\u00e4\"]\r\n\t\t}\r\n\t}\r\n}\r\n",
        1,
    ),
    (
        "claude-code",
        "{\"numStartups\":12,\"mcpServers\":{\"db\":{\"type\":\"stdio\",\"command\":\"uvx\",\"args\":[\"mcp-db\"],\"env\":{\"A\":\"1\",\"B\":\"2\"}}},\"projects\":{\"/srv/x\":{\"mcpServers\":{\"local\":{\"command\":\"./run\"}},\"history\":[]},\"/srv/y\":{}}}",
        2,
    ),
    (
        "cursor",
        "{\n  // what I use\n  \"mcpServers\": {\n    \"git\": { \"command\": \"git-mcp\", \"args\": [\"--repo\", \".\"], }, /* last */\n    \"far\": { \"url\": \"https://mcp.example/sse\" },\n  },\n}\n",
        1,
    ),
    (
        "vscode",
        "{\n\t\"inputs\": [ { \"type\": \"promptString\", \"id\": \"key\", \"password\": true } ],\n\t\"servers\": {\n\t\t\"perplexity\": {\n\t\t\t\"type\": \"stdio\",\n\t\t\t\"command\": \"npx\",\n\t\t\t\"args\": [\"-y\", \"server-perplexity-ask\", \"${workspaceFolder}\"], // pinned\n\t\t\t\"env\": { \"KEY\": \"${input:key}\" }\n\t\t},\n\t\t\"remote\": { \"type\": \"http\", \"url\": \"https://api.example/mcp\" },\n\t\t\"dotenv\": { \"command\": \"x\", \"envFile\": \"${workspaceFolder}/.env\" },\n\t\t\"odd\": { \"command\": \"x\", \"args\": [1] },\n\t},\n}\n",
        1,
    ),
    (
        "codex",
        "model = \"m\" # mine\n\n[mcp_servers.docs]\ncommand = \"npx\"\nargs = [\n  \"-y\", # yes\n  'docs-server',\n]\nenv = { TOKEN = \"t\" }\n\n[mcp_servers.bare]\ncommand = 'C:\\tools\\bare.exe'\n\n[mcp_servers.bare.env]\nLEVEL = \"info\"\n\n[mcp_servers.far]\nurl = \"https://mcp.example\"\n",
        2,
    ),
    ("codex", "mcp_servers = { one = { command = \"a\" }, two = { command = \"b\", args = [] } }\n", 2),
];

fn wrap(house: &House, word: &str, client: &str, file: &Path, more: &[&str]) -> Result<Value> {
    let file = file.display().to_string();
    house.run(&[&[word, client, "--config-file", &file, "--json"], more].concat())?.json()
}

fn changed(report: &Value) -> usize {
    report["servers"].as_array().into_iter().flatten().filter(|server| server["changed"] == true).count()
}

#[test]
fn what_is_put_in_comes_out_again_to_the_byte() -> Result<()> {
    let house = House::new()?;
    house.configure(&json!({ "servers": {} }))?;
    let config = house.config().display().to_string();
    for (number, (client, original, servers)) in FILES.into_iter().enumerate() {
        let file = house.path().join(format!("client-{number}"));
        std::fs::write(&file, original)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640))?;
        let read = || std::fs::read_to_string(&file);

        let dry = wrap(&house, "wrap", client, &file, &["--dry-run"])?;
        assert_eq!((changed(&dry), read()?.as_str()), (servers, original), "{client} {number}: {dry}");

        let done = wrap(&house, "wrap", client, &file, &["--config", &config])?;
        assert_eq!(changed(&done), servers, "{client} {number}: {done}");
        let wrapped = read()?;
        assert_eq!(wrapped.matches(&holdpoint().display().to_string()).count(), servers, "{wrapped}");
        assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o640, "{client} {number}");

        let again = wrap(&house, "wrap", client, &file, &["--config", &config])?;
        assert_eq!((changed(&again), read()?), (0, wrapped), "{client} {number}: {again}");

        let undone = wrap(&house, "unwrap", client, &file, &[])?;
        assert_eq!((changed(&undone), read()?.as_str()), (servers, original), "{client} {number}: {undone}");
        assert_eq!(changed(&wrap(&house, "unwrap", client, &file, &[])?), 0);
    }
    // Each change left a copy of what was there, for nobody else to read.
    let copies: Vec<_> = std::fs::read_dir(house.path())?
        .map(|entry| Ok(entry?.path()))
        .filter(|path: &Result<_>| {
            path.as_ref().is_ok_and(|path| path.display().to_string().contains(".before-holdpoint-"))
        })
        .collect::<Result<_>>()?;
    assert_eq!(copies.len(), 2 * FILES.len());
    for copy in copies {
        assert_eq!(std::fs::metadata(&copy)?.permissions().mode() & 0o777, 0o600, "{}", copy.display());
    }
    Ok(())
}

#[test]
fn one_server_of_several() -> Result<()> {
    let house = House::new()?;
    let file = house.path().join("mcp.json");
    std::fs::write(&file, r#"{"mcpServers":{"a":{"command":"x"},"b":{"command":"y"}}}"#)?;
    let done = wrap(&house, "wrap", "cursor", &file, &["--server", "b"])?;
    assert_eq!(changed(&done), 1, "{done}");
    let text = std::fs::read_to_string(&file)?;
    assert!(text.contains(r#""a":{"command":"x"}"#) && text.contains(r#""--server=b", "--", "y""#), "{text}");

    let unknown =
        house.run(&["wrap", "cursor", "--config-file", &file.display().to_string(), "--server", "c"])?;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("there is no server `c`"), "{}", unknown.stderr);
    Ok(())
}

#[test]
fn what_is_not_understood_is_not_touched() -> Result<()> {
    let house = House::new()?;
    let file = house.path().join("mcp.json");
    for text in ["{\"mcpServers\": {", "[1]", "{\"mcpServers\": 7}", ""] {
        std::fs::write(&file, text)?;
        let refused = house.run(&["wrap", "cursor", "--config-file", &file.display().to_string()])?;
        assert_eq!(refused.code, Some(1), "{text}");
        assert!(refused.stderr.contains("was left as it is"), "{text}: {}", refused.stderr);
        assert_eq!(std::fs::read_to_string(&file)?, text);
    }
    let nowhere = house.run(&["wrap", "claude-desktop"])?;
    assert!(nowhere.stderr.contains("claude_desktop_config.json"), "{}", nowhere.stderr);
    Ok(())
}

#[test]
fn a_file_behind_a_link_stays_behind_it() -> Result<()> {
    let house = House::new()?;
    let (file, link) = (house.path().join("dotfiles.json"), house.path().join("mcp.json"));
    std::fs::write(&file, r#"{"mcpServers":{"a":{"command":"x"}}}"#)?;
    std::os::unix::fs::symlink(&file, &link)?;
    assert_eq!(changed(&wrap(&house, "wrap", "cursor", &link, &[])?), 1);
    assert!(link.is_symlink() && std::fs::read_to_string(&file)?.contains("proxy"));
    Ok(())
}

/// What the client starts then is the same server behind the gate, with the variables that the entry names.
#[test]
fn a_wrapped_server_runs_behind_the_gate() -> Result<()> {
    let ledger = Ledger::new()?;
    let mut house = House::new()?;
    house.configure(&json!({ "servers": {}, "tools": "tools/" }))?;
    std::fs::create_dir_all(house.config().join("tools"))?;
    let _gate = house.serve()?;
    let told = house.path().join("told");
    let script = format!("printf %s \"$TOKEN/$OTHER\" > {} && exec \"$@\"", told.display());
    let command = [vec!["-c".to_owned(), script, "sh".to_owned()], ledger.command()].concat();
    let client = json!({ "mcpServers": { "ledger": { "command": "sh", "args": command, "env": { "TOKEN": "s3cret" } } } });
    let file = house.path().join("mcp.json");
    std::fs::write(&file, client.to_string())?;
    let config = house.config().display().to_string();
    wrap(&house, "wrap", "cursor", &file, &["--config", &config])?;

    let wrapped: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let entry = &wrapped["mcpServers"]["ledger"];
    let args = entry["args"].as_array().context("no args")?.iter().filter_map(Value::as_str);
    let command: Vec<String> = std::iter::once(entry["command"].as_str().context("no command")?)
        .chain(args)
        .map(str::to_owned)
        .collect();
    house.set_env("TOKEN", "s3cret");
    house.set_env("OTHER", "not for the server");
    let mut client = Client::connect(Sdk::TypeScript2, &house.target(&command, LEGACY))?;
    let no = client.hold("no", "refund", &refund("1", 40))?;
    house.reject(&no, "")?;
    let end = client.end_of("no")?;
    refused(&end, "rejected")?;
    assert_eq!(decision(&end)["thread_id"], no);
    let yes = client.hold("yes", "refund", &refund("2", 40))?;
    assert_eq!(ledger.runs()?, [] as [Value; 0]);
    house.approve(&yes, "")?;
    ran(&client.end_of("yes")?, "refunded 40 for 2")?;
    client.close()?;
    assert_eq!(ledger.runs()?, [refunded("2", 40)]);
    assert_eq!(std::fs::read_to_string(told)?, "s3cret/");
    Ok(())
}
