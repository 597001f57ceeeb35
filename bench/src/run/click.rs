//! From the reviewer's approval to the tool's first byte.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::ours::{Action, Setup};
use super::proxies::mcp_url;
use super::role;
use crate::process::{Server, wall_clock_ns};

const APPROVALS: u64 = 60;
const WAIT_MAX: Duration = Duration::from_secs(10);

/// In milliseconds, sorted.
pub(crate) struct Measured {
    /// From the start of `holdpoint approve` to the call's arrival at the tool.
    pub(crate) command_to_run: Vec<f64>,
    /// How long the command itself took.
    pub(crate) command: Vec<f64>,
}

/// Approves one call after the other.
pub(crate) fn measure(program: &Path) -> Result<Measured> {
    let tool = Server::start(&mut role(&["tool-http"])?)?;
    let setup = Setup::new(program, &json!({ "url": tool.url()? }), Action::Gate, None, false)?;
    let server = setup.up()?;
    let url = mcp_url(server.ready())?.to_owned();
    let mut measured = Measured { command_to_run: Vec::new(), command: Vec::new() };
    for _ in 0..APPROVALS {
        let call = start_call(&url)?;
        let thread = open_thread(&setup)?;
        let clicked_ns = wall_clock_ns();
        let start = Instant::now();
        let output = setup
            .command()
            .args(["approve", &thread, "--note", "bench", "--data"])
            .arg(setup.data())
            .output()
            .context("cannot run `approve`")?;
        measured.command.push(start.elapsed().as_secs_f64() * 1e3);
        if !output.status.success() {
            bail!("`approve` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let answer = call.join().ok().context("the call failed")??;
        let received_ns = received_ns(&answer).with_context(|| format!("not run: {answer}"))?;
        measured.command_to_run.push(milliseconds(received_ns.saturating_sub(clicked_ns)));
    }
    measured.command_to_run.sort_by(f64::total_cmp);
    measured.command.sort_by(f64::total_cmp);
    Ok(measured)
}

#[expect(clippy::cast_precision_loss, reason = "a wait of seconds at most")]
fn milliseconds(nanoseconds: u128) -> f64 {
    nanoseconds as f64 / 1e6
}

/// The one call that waits.
fn open_thread(setup: &Setup) -> Result<String> {
    let deadline = Instant::now() + WAIT_MAX;
    while Instant::now() < deadline {
        let inbox = setup.ask(&["inbox", "--json"])?;
        if let Some(thread) = inbox.pointer("/0/thread_id").and_then(Value::as_str) {
            return Ok(thread.to_owned());
        }
    }
    bail!("no thread came up in {WAIT_MAX:?}")
}

/// Sends a call on a connection of its own and reads the answer to its end.
fn start_call(url: &str) -> Result<JoinHandle<Result<String>>> {
    let mut command = role(&["call-http", url])?;
    Ok(std::thread::spawn(move || {
        let output = command.output().context("cannot start a call")?;
        String::from_utf8(output.stdout).context("not UTF-8")
    }))
}

fn received_ns(answer: &str) -> Option<u128> {
    let (_, rest) = answer.split_once("\"received_ns\":\"")?;
    rest.split('"').next()?.parse().ok()
}
