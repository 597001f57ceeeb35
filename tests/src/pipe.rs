//! Both ends of a stdio server's pipe: for what no public client would send.

use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::lines::{Lines, PATIENCE};
use crate::signal::{Kill, kill};

/// A process that speaks MCP over its standard streams. Killed when dropped.
#[derive(Debug)]
pub struct Pipe(Lines);

impl Pipe {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Lines::start(command).map(Self)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// The handshake of the revision that most clients speak.
    pub fn initialize(&mut self, revision: &str) -> Result<Value> {
        self.say(&json!({
            "jsonrpc": "2.0", "id": "initialize", "method": "initialize",
            "params": {
                "protocolVersion": revision, "capabilities": {},
                "clientInfo": { "name": "holdpoint-e2e", "version": "1" },
            },
        }))?;
        let answer = self.answer_to(&json!("initialize"))?;
        self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        Ok(answer)
    }

    /// Writes one message.
    pub fn say(&mut self, message: &Value) -> Result<()> {
        self.0.send(message)
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.send_bytes(bytes)
    }

    /// The next line with its line end.
    pub fn line(&mut self) -> Result<Vec<u8>> {
        self.0.next_bytes(Instant::now() + PATIENCE)
    }

    /// The next message.
    pub fn message(&mut self) -> Result<Value> {
        self.0.next(Instant::now() + PATIENCE)
    }

    /// The next message with this id; what comes before it is not looked at, be it a message or not.
    pub fn answer_to(&mut self, id: &Value) -> Result<Value> {
        loop {
            let line = self.line().with_context(|| format!("no answer to {id}"))?;
            let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
            if message["id"] == *id && message.get("method").is_none() {
                return Ok(message);
            }
        }
    }

    /// The answers to several calls, whichever comes first.
    pub fn answers_to(&mut self, ids: &[&str]) -> Result<Vec<Value>> {
        let mut answers = vec![Value::Null; ids.len()];
        while answers.contains(&Value::Null) {
            let line = self.line().with_context(|| format!("no answers to {ids:?}"))?;
            let Ok(message) = serde_json::from_slice::<Value>(&line) else { continue };
            let at = ids.iter().position(|id| message["id"] == **id && message.get("method").is_none());
            if let Some(answer) = at.and_then(|at| answers.get_mut(at)) {
                *answer = message;
            }
        }
        Ok(answers)
    }

    /// Sends a tool call.
    pub fn start_call(&mut self, id: &str, tool: &str, arguments: &Value) -> Result<()> {
        self.say(&call(id, tool, arguments))
    }

    /// Sends a tool call and waits for its answer.
    pub fn call(&mut self, id: &str, tool: &str, arguments: &Value) -> Result<Value> {
        self.start_call(id, tool, arguments)?;
        self.answer_to(&json!(id))
    }

    /// Sends a tool call that wants to hear of progress, and waits until it is held. Returns its review.
    pub fn hold(&mut self, id: &str, tool: &str, arguments: &Value) -> Result<String> {
        let mut message = call(id, tool, arguments);
        message["params"]["_meta"] = json!({ "progressToken": id });
        self.say(&message)?;
        loop {
            let message = self.message().with_context(|| format!("call `{id}` is not held"))?;
            if message["method"] == "notifications/progress" && message["params"]["progressToken"] == *id {
                return thread_in(&message["params"]["message"]);
            }
            anyhow::ensure!(message["id"] != *id, "call `{id}` was answered: {message}");
        }
    }

    /// How it ended; `None`: it still runs after `patience`.
    pub fn ended_within(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        self.0.ended_within(patience)
    }

    /// Ends it at this very instruction.
    pub fn kill_9(mut self) -> Result<ExitStatus> {
        kill(self.0.pid(), Kill::Nine)?;
        self.0.wait()
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<ExitStatus> {
        kill(self.0.pid(), Kill::Term)?;
        self.0.wait()
    }

    /// Closes its input and waits until it has ended.
    pub fn close(mut self) -> Result<ExitStatus> {
        self.0.close_input();
        self.0.wait()
    }
}

fn call(id: &str, tool: &str, arguments: &Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

/// The review that a progress message names.
pub(crate) fn thread_in(message: &Value) -> Result<String> {
    let text = message.as_str().unwrap_or_default();
    let start = text.find("THR-").with_context(|| format!("no review in `{text}`"))?;
    let thread = text[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-');
    Ok(thread.collect())
}
