//! The script in the agent's place: an MCP client of the smallest kind.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines};

/// An agent that is connected.
pub(crate) struct Agent {
    lines: Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    out: Box<dyn AsyncWrite + Send + Unpin>,
    last_id: u64,
}

/// What the agent was told about a call.
#[derive(Debug)]
pub(crate) struct Told {
    /// `ran`, or how the call was refused.
    pub(crate) status: String,
    /// The text the model reads.
    pub(crate) text: String,
}

impl Agent {
    pub(crate) async fn connect(
        input: impl AsyncRead + Send + Unpin + 'static,
        out: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self> {
        let input: Box<dyn AsyncRead + Send + Unpin> = Box::new(input);
        let mut agent = Self { lines: BufReader::new(input).lines(), out: Box::new(out), last_id: 0 };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "holdpoint-demo", "version": env!("CARGO_PKG_VERSION") },
        });
        agent.request("initialize", &hello).await.context("the tool server did not answer")?;
        agent.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
        Ok(agent)
    }

    /// Calls a tool. Being told "pending" is no end: the same call joins its review.
    pub(crate) async fn call(&mut self, tool: &str, arguments: &Value) -> Result<Told> {
        loop {
            let told = self.call_once(tool, arguments).await?;
            if told.status != "pending" {
                return Ok(told);
            }
        }
    }

    /// Calls a tool, and takes "pending" for an answer.
    pub(crate) async fn call_once(&mut self, tool: &str, arguments: &Value) -> Result<Told> {
        let params =
            json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": self.last_id + 1 } });
        Ok(read(&self.request("tools/call", &params).await?))
    }

    async fn request(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await?;
        while let Some(line) = self.lines.next_line().await? {
            let mut message: Value = serde_json::from_str(&line).context("not JSON")?;
            if message.get("id").and_then(Value::as_u64) != Some(id) {
                continue;
            }
            return match message.get_mut("result") {
                Some(result) => Ok(result.take()),
                None => bail!("{method} failed: {}", message.get("error").unwrap_or(&Value::Null)),
            };
        }
        bail!("the connection ended before {method} was answered")
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        let line = format!("{message}\n");
        self.out.write_all(line.as_bytes()).await.context("the proxy is gone")?;
        self.out.flush().await.context("the proxy is gone")
    }
}

fn read(result: &Value) -> Told {
    let text = result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default().to_owned();
    let decision = result.pointer("/_meta/dev.holdpoint~1decision/status").and_then(Value::as_str);
    let is_error = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
    let status = match (decision, is_error) {
        (Some(status), _) => status,
        (None, true) => "tool error",
        (None, false) => "ran",
    };
    Told { status: status.to_owned(), text }
}
