//! A tool server that starts in a moment, writes down every run, and does harm where its caller asks for it.
//!
//! Its tools differ in name only. What a call brings beside its arguments: `harm`, once for each `order_id`:
//!
//! - `kill_unrun`: the proxy is killed when the call arrives, and the tool does not run
//! - `kill_received`, `kill_logged`, `kill_answered`: the same before the run, after it, and after the answer
//! - `lose`: it runs, and its answer never comes
//! - `lose` is also what happens to an order whose name begins with `lost`
//! - a number: it runs, and so many bytes of its answer come
//!
//! With `asks` it first asks its caller, in the stateless era, and runs when it is told. Harm is done by the run.

mod http;

use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Kill, jsonl, kill, target};

pub use http::TillServer;

/// The tools.
pub const TOOLS: [&str; 6] = ["gated", "tokenless", "gated_once", "pass_once", "allowed_once", "refund"];

/// The record of one such server.
#[derive(Debug)]
pub struct Till {
    folder: TempDir,
    victim: Arc<AtomicU32>,
}

impl Till {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        Ok(Self { folder, victim: Arc::default() })
    }

    /// The server over stdio, as a command line. The proxy is its parent.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        [target().join("debug/e2e_till"), self.log()].map(|part| part.display().to_string()).into()
    }

    /// The server over HTTP, in this process.
    pub fn serve(&self) -> Result<TillServer> {
        let victim = Arc::clone(&self.victim);
        TillServer::start(Drawer { log: self.log(), proxy: Proxy::Named(victim) })
    }

    /// Which process calls a server over HTTP, for those who want it killed.
    pub fn called_by(&self, pid: u32) {
        self.victim.store(pid, Ordering::SeqCst);
    }

    /// Every run: `{"tool": …, "arguments": …}`.
    pub fn runs(&self) -> Result<Vec<Value>> {
        Ok(jsonl(&self.log())?.into_iter().filter(|line| line.get("asked").is_none()).collect())
    }

    /// How often it asked its caller.
    pub fn asked(&self) -> Result<usize> {
        Ok(jsonl(&self.log())?.len() - self.runs()?.len())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("runs.jsonl")
    }
}

/// Whom a call came from.
#[derive(Clone, Debug)]
enum Proxy {
    Parent,
    Named(Arc<AtomicU32>),
}

impl Proxy {
    fn kill(&self) -> Result<()> {
        let pid = match self {
            Self::Parent => {
                rustix::process::getppid().context("no parent")?.as_raw_nonzero().get().cast_unsigned()
            }
            Self::Named(pid) => pid.load(Ordering::SeqCst),
        };
        kill(pid, Kill::Nine)
    }
}

/// What the server does.
#[derive(Clone, Debug)]
struct Drawer {
    log: PathBuf,
    proxy: Proxy,
}

/// What to do with an answer.
enum Reply {
    Say(Value),
    SayAndKill(Value),
    /// So many bytes of it.
    SayPart(Value, usize),
    Nothing,
    Vanish,
}

impl Drawer {
    fn answer(&self, message: &Value) -> Result<Reply> {
        let id = &message["id"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "till", "version": "1" },
            }),
            "tools/list" => {
                let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
                json!({ "tools": TOOLS.map(tool) })
            }
            "tools/call" => return self.call(id, &message["params"]),
            _ if id.is_null() => return Ok(Reply::Nothing),
            _ => json!({}),
        };
        Ok(Reply::Say(json!({ "jsonrpc": "2.0", "id": id, "result": result })))
    }

    fn call(&self, id: &Value, call: &Value) -> Result<Reply> {
        let arguments = &call["arguments"];
        let order = arguments["order_id"].as_str().unwrap_or_default();
        if arguments["asks"] == json!(true) && call.get("inputResponses").is_none() {
            self.write_down(&json!({ "asked": true, "tool": call["name"], "arguments": arguments }))?;
            let form = json!({ "type": "object", "properties": { "sure": { "type": "boolean" } } });
            let question = json!({
                "method": "elicitation/create", "params": { "message": "Sure?", "requestedSchema": form },
            });
            let result = json!({
                "resultType": "input_required", "inputRequests": { "sure": question }, "requestState": order,
            });
            return Ok(Reply::Say(json!({ "jsonrpc": "2.0", "id": id, "result": result })));
        }
        anyhow::ensure!(
            call["requestState"] == arguments["asks"].as_bool().map_or(Value::Null, |_| order.into())
        );
        // For callers that do not know of harm.
        let named = order.starts_with("lost").then_some("lose");
        let harm = arguments["harm"].as_str().or(named).filter(|_| self.is_first(order)).unwrap_or_default();
        if harm == "kill_unrun" {
            self.proxy.kill()?;
            return Ok(Reply::Vanish);
        }
        if harm == "kill_received" {
            self.proxy.kill()?;
        }
        self.write_down(&json!({ "tool": call["name"], "arguments": arguments }))?;
        if harm == "kill_logged" {
            self.proxy.kill()?;
        }
        if let Some(millis) = arguments["takes_ms"].as_u64() {
            std::thread::sleep(Duration::from_millis(millis));
        }
        let mut text = format!("did {order}");
        if let Some(echoed) = arguments["echo"].as_str() {
            text = format!("{text} with {echoed}");
        }
        let is_error = arguments["fails"] == json!(true);
        let content = json!([{ "type": "text", "text": text }]);
        let answer = json!({
            "jsonrpc": "2.0", "id": id, "result": { "content": content, "isError": is_error },
        });
        Ok(match harm {
            "lose" => Reply::Vanish,
            "kill_answered" => Reply::SayAndKill(answer),
            _ => harm.parse().map_or(Reply::Say(answer.clone()), |bytes| Reply::SayPart(answer, bytes)),
        })
    }

    /// Harm is done once.
    fn is_first(&self, order: &str) -> bool {
        File::create_new(self.log.with_file_name(format!("{order}.seen"))).is_ok()
    }

    /// One write, so that lines of several processes do not mix.
    fn write_down(&self, run: &Value) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(&self.log)?;
        file.write_all(format!("{run}\n").as_bytes()).context("cannot write the log")
    }
}

/// Serves until its input ends.
pub fn till_over_stdio(log: &Path) -> Result<()> {
    let drawer = Drawer { log: log.to_owned(), proxy: Proxy::Parent };
    for line in std::io::stdin().lock().lines() {
        let message = serde_json::from_str(&line?).context("not JSON")?;
        // Who is killed does not read.
        match drawer.answer(&message)? {
            Reply::Say(answer) => say(&answer)?,
            Reply::SayAndKill(answer) => {
                say(&answer)?;
                drawer.proxy.kill()?;
            }
            Reply::SayPart(answer, bytes) => {
                let line = format!("{answer}\n");
                let mut out = std::io::stdout();
                return Ok(out
                    .write_all(&line.as_bytes()[..bytes.min(line.len())])
                    .and_then(|()| out.flush())?);
            }
            Reply::Nothing => {}
            Reply::Vanish => return Ok(()),
        }
    }
    Ok(())
}

fn say(answer: &Value) -> Result<()> {
    let mut out = std::io::stdout();
    out.write_all(format!("{answer}\n").as_bytes()).and_then(|()| out.flush()).context("nobody listens")
}
