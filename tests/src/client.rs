//! The public MCP clients.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::lines::{Lines, PATIENCE};
use crate::pipe::thread_in;
use crate::{here, node, python};

/// A client that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// TypeScript, first generation: handshake era.
    TypeScript1,
    /// TypeScript, second generation: both eras.
    TypeScript2,
    /// Python: both eras.
    Python,
    /// The Python library on top of it: both eras.
    Fastmcp,
    /// MCP Inspector's command line, each call a session of its own: both eras.
    Inspector,
}

impl Sdk {
    /// The official SDKs.
    pub const ALL: [Self; 3] = [Self::TypeScript1, Self::TypeScript2, Self::Python];

    fn command(self) -> Command {
        let script = match self {
            Self::TypeScript1 => "node/client-v1.mjs",
            Self::TypeScript2 => "node/client-v2.mjs",
            Self::Python => "python/client.py",
            Self::Fastmcp => "python/fastmcp_client.py",
            Self::Inspector => "node/client-inspector.mjs",
        };
        let mut command = match self {
            Self::TypeScript1 | Self::TypeScript2 | Self::Inspector => Command::new(node()),
            Self::Python | Self::Fastmcp => Command::new(python()),
        };
        command.arg(here().join(script));
        command
    }
}

/// A connected client. Events that nobody waited for yet are kept.
#[derive(Debug)]
pub struct Client {
    lines: Lines,
    unmatched: Vec<Value>,
    patience: Duration,
}

impl Client {
    /// Over stdio: the client starts `command`.
    pub fn stdio(sdk: Sdk, command: &[String]) -> Result<Self> {
        Self::connect(sdk, &json!({ "stdio": command }))
    }

    /// Over HTTP.
    pub fn http(sdk: Sdk, url: &str) -> Result<Self> {
        Self::connect(sdk, &json!({ "http": url }))
    }

    /// With everything that `tests/node/drive.mjs` knows: `era`, `env`, `headers`.
    pub fn connect(sdk: Sdk, target: &Value) -> Result<Self> {
        let lines = Lines::start(sdk.command().arg(target.to_string()))?;
        let mut client = Self { lines, unmatched: Vec::new(), patience: PATIENCE };
        client.wait_for("connected", |event| event["event"] == "connected")?;
        Ok(client)
    }

    /// Waits so long for each event from now on.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The process id of the client.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.lines.pid()
    }

    /// Starts a call and does not wait. `id` is ours, to tell events apart.
    pub fn start(&mut self, id: &str, tool: &str, arguments: &Value) -> Result<()> {
        self.send(&json!({ "do": "call", "id": id, "tool": tool, "arguments": arguments }))
    }

    /// Starts a call that wants to hear of progress, and waits until it is held. Returns its review.
    pub fn hold(&mut self, id: &str, tool: &str, arguments: &Value) -> Result<String> {
        self.send(
            &json!({ "do": "call", "id": id, "tool": tool, "arguments": arguments, "progress": true }),
        )?;
        let held = self.wait_for(&format!("progress of call `{id}`"), |event| event["id"] == id)?;
        anyhow::ensure!(held["event"] == "progress", "call `{id}` was not held: {held}");
        thread_in(&held["message"])
    }

    /// Sends a command of `tests/node/drive.mjs` as it is.
    pub fn send(&mut self, command: &Value) -> Result<()> {
        self.lines.send(command)
    }

    /// Stops a call the way the client does it when its user presses stop.
    pub fn cancel(&mut self, id: &str) -> Result<()> {
        self.send(&json!({ "do": "cancel", "id": id }))
    }

    /// How a call ended: an event `result` or `error`.
    pub fn end_of(&mut self, id: &str) -> Result<Value> {
        self.wait_for(&format!("the end of call `{id}`"), |event| {
            event["id"] == id && (event["event"] == "result" || event["event"] == "error")
        })
    }

    /// Starts a call and waits for its end.
    pub fn call(&mut self, id: &str, tool: &str, arguments: &Value) -> Result<Value> {
        self.start(id, tool, arguments)?;
        self.end_of(id)
    }

    /// The tools, as the client understood them.
    pub fn tools(&mut self) -> Result<Value> {
        self.send(&json!({ "do": "list" }))?;
        let event = self.wait_for("tools", |event| event["event"] == "tools")?;
        Ok(event["tools"].clone())
    }

    /// Waits for an event; `what` is for the message when it does not come.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        if let Some(index) = self.unmatched.iter().position(&wanted) {
            return Ok(self.unmatched.remove(index));
        }
        let deadline = Instant::now() + self.patience;
        loop {
            match self.lines.next(deadline) {
                Ok(event) if wanted(&event) => return Ok(event),
                Ok(event) => self.unmatched.push(event),
                Err(error) => bail!("no {what}: {error}; seen: {}", json!(self.unmatched)),
            }
        }
    }

    /// Closes the connection and waits until the client says so.
    pub fn close(mut self) -> Result<()> {
        self.lines.close_input();
        self.wait_for("closed", |event| event["event"] == "closed")?;
        Ok(())
    }
}
