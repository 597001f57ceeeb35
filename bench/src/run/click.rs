//! From the reviewer's approval to the tool's first byte.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::ours::{Action, Setup};
use super::role;
use super::subjects::mcp_url;
use crate::process::{Server, wall_clock_ns};

const APPROVALS: u64 = 60;
const WAIT_MAX: Duration = Duration::from_secs(10);

/// In milliseconds, sorted.
pub(crate) struct Measured {
    /// From the first byte of the approval, on an open connection as a browser has one, to the call's arrival at the
    /// tool.
    pub(crate) click_to_run: Vec<f64>,
}

/// Approves one call after the other.
pub(crate) fn measure(program: &Path) -> Result<Measured> {
    let tool = Server::start(&mut role(&["tool-http"])?)?;
    let setup = Setup::new(program, &json!({ "url": tool.url()? }), Action::Gate, None, false)?;
    let server = setup.up()?;
    let url = mcp_url(server.ready())?.to_owned();
    let mut measured = Measured { click_to_run: Vec::new() };
    let reviewer = Reviewer::of(&setup)?;
    for _ in 0..APPROVALS {
        let call = start_call(&url)?;
        let thread = open_thread(&setup)?;
        let connection = reviewer.connect()?;
        let clicked_ns = wall_clock_ns();
        reviewer.approve(connection, &thread)?;
        let answer = call.join().ok().context("the call failed")??;
        let received_ns = received_ns(&answer).with_context(|| format!("not run: {answer}"))?;
        measured.click_to_run.push(milliseconds(received_ns.saturating_sub(clicked_ns)));
    }
    measured.click_to_run.sort_by(f64::total_cmp);
    Ok(measured)
}

#[expect(clippy::cast_precision_loss, reason = "a wait of seconds at most")]
fn milliseconds(nanoseconds: u128) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Somebody who may decide, as the command line does.
pub(crate) struct Reviewer {
    pub(crate) address: String,
    pub(crate) token: String,
}

impl Reviewer {
    pub(crate) fn of(setup: &Setup) -> Result<Self> {
        let file = setup.data().join("server.json");
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let running: Value = serde_json::from_str(&text).context("not JSON")?;
        let field = |name: &str| running.get(name).and_then(Value::as_str).context("an unknown server.json");
        let address = field("url")?.trim_start_matches("http://").to_owned();
        Ok(Self { address, token: field("admin_token")?.to_owned() })
    }

    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(&self.address).context("cannot connect to Gate")?;
        stream.set_nodelay(true).context("cannot set up the connection")?;
        Ok(stream)
    }

    pub(crate) fn approve(&self, mut stream: TcpStream, thread: &str) -> Result<()> {
        let (Self { address, token }, body) = (self, r#"{"note":"bench"}"#);
        let request = format!(
            "POST /api/admin/threads/{thread}/approve HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len(),
        );
        stream.write_all(request.as_bytes()).context("cannot approve")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("cannot read the answer")?;
        if !answer.starts_with("HTTP/1.1 200 ") {
            bail!("the approval failed: {answer}");
        }
        Ok(())
    }
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
