//! The MCP Inspector on a command line: a public client that takes tasks, and asks about them by itself.

use crate::told::{decision, text};
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{House, fixture, here, node};
use serde_json::{Value, json};
use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

const TOOL: &str = "test_simple_text";
/// As exit code, for a tool that says it failed.
const TOOL_FAILED: i32 = 5;
/// Whoever does not wait as a task is told `pending` long before.
const PATIENCE: &str = "1s";
const LONGER: Duration = Duration::from_secs(3);

fn call(url: &str) -> Result<Child> {
    let inspector = here().join("node/node_modules/.bin/mcp-inspector");
    let mut command = Command::new(node());
    command.arg(inspector).args(["--cli", url, "--transport", "http", "--protocol-era", "modern"]);
    command.args(["--method", "tools/call", "--tool-name", TOOL, "--format", "json", "-q"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().context("cannot start the Inspector")
}

#[test]
fn its_calls_wait_as_tasks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let runs = folder.path().join("runs.jsonl");
    let house = House::new()?;
    let server = json!({ "command": fixture::over_stdio(&runs) });
    house.configure(&json!({ "servers": { "fixture": server }, "hold": { "patience": PATIENCE } }))?;
    let up = house.up()?;
    let url = up.mcp_url("fixture")?.to_owned();
    for approves in [true, false] {
        let mut call = Ended(call(&url)?);
        let open = house.inbox_of(1)?;
        let thread = open[0]["thread_id"].as_str().context("no review")?.to_owned();
        std::thread::sleep(LONGER);
        ensure!(call.0.try_wait()?.is_none(), "it did not wait");
        if approves {
            assert_eq!(fixture::ran(&runs)?, [] as [String; 0]);
            house.approve(&thread, "fine")?;
        } else {
            house.reject(&thread, "not now")?;
        }
        let (code, said) = call.end()?;
        if approves {
            assert_eq!((code, text(&said)), (Some(0), "This is a simple text response for testing."));
        } else {
            assert_eq!(code, Some(TOOL_FAILED), "{said}");
            assert_eq!(decision(&said)["status"], "rejected", "{said}");
        }
        assert_eq!(fixture::ran(&runs)?, [TOOL]);
    }
    Ok(())
}

/// Killed when dropped.
struct Ended(Child);

impl Ended {
    fn end(&mut self) -> Result<(Option<i32>, Value)> {
        let said = std::io::read_to_string(self.0.stdout.take().context("no output")?)?;
        let status = self.0.wait()?;
        Ok((status.code(), serde_json::from_str(&said).with_context(|| format!("not JSON: {said}"))?))
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ended_before = self.0.kill();
        let _reaped = self.0.wait();
    }
}
