//! What a Dify workflow of the example has to do with: Gate, the bridge, the shop, and Dify's engine.

use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{House, Server, here, target};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const DONE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
/// Any secret of the right shape.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

pub(super) fn example(name: &str) -> PathBuf {
    here().join("../examples/dify").join(name)
}

/// A request that somebody got.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) path: String,
    pub(super) head: String,
    pub(super) body: String,
}

/// A server that says the same to everybody, and writes down what it got.
pub(super) struct Stub {
    pub(super) address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Stub {
    /// Where the refund is made.
    pub(super) fn shop() -> Result<Self> {
        Self::saying(Some(DONE.to_owned()))
    }

    /// `None`: it takes the request and never answers.
    pub(super) fn saying(answer: Option<String>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port")?;
        let address = listener.local_addr().context("no address")?;
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let noted = Arc::clone(&got);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Some(request) = read(&stream) else { continue };
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                match &answer {
                    Some(answer) => drop(stream.write_all(answer.as_bytes())),
                    None => silent.push(stream),
                }
            }
        });
        Ok(Self { address, got })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn forget(&self) {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What it got, once that are `count` requests.
    pub(super) fn got_of(&self, count: usize) -> Result<Vec<Got>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let got = self.got();
            if got.len() >= count {
                return Ok(got);
            }
            ensure!(Instant::now() < deadline, "{} requests, not {count}", got.len());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn read(stream: &std::net::TcpStream) -> Option<Got> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut head, mut line, mut length) = (String::new(), String::new(), 0);
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse().ok()?;
        }
        head.push_str(&line);
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    Some(Got { path, head, body: String::from_utf8(body).ok()? })
}

/// Gate with three kinds of tools, the bridge, and the shop.
pub(super) struct Office {
    pub(super) house: House,
    pub(super) shop: Stub,
    pub(super) hooks: Stub,
    pub(super) bridge_url: String,
    pub(super) key: String,
    _gate: Server,
    _bridge: Server,
}

impl Office {
    pub(super) fn open() -> Result<Self> {
        let (mut house, shop, hooks) = (House::new()?, Stub::shop()?, Stub::shop()?);
        house.declare(&json!({
            "agents": [{ "name": "somebody", "signed_tokens": true }],
            "tools": [
                { "name": "safe", "default_action": "allow" },
                { "name": "never", "default_action": "reject" },
                { "name": "refund", "default_action": "review" },
                { "name": "issue_refund", "default_action": "review" },
            ],
        }))?;
        let gate = house.serve()?;
        house.set_env("CALLBACK_SECRET", SECRET);
        house.configure(&json!({
            "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
            "callers": { "required": true },
            "bridge": {
                "callbacks": { "hosts": ["127.0.0.1"], "secret": "${CALLBACK_SECRET}", "private_addresses": true },
                "targets": { "shop": { "url": shop.url(), "tools": { "issue_refund": { "method": "POST", "path": "/refunds" } } } },
            },
        }))?;
        let created = house.run(&["callers", "create", "dify", "--server", "bridge", "--json"])?.json()?;
        let key = created["key"].as_str().context("no key")?.to_owned();
        // Behind a name of its own, as Dify reaches it: answers then say where they are in full.
        let free = TcpListener::bind("127.0.0.1:0").context("no port")?.local_addr().context("no address")?;
        let bridge_url = format!("http://{free}");
        let config = house.config().display().to_string();
        let listen = free.to_string();
        let arguments =
            ["bridge", "--config", &config, "--listen", &listen, "--public-url", &bridge_url, "--json"];
        let bridge = Server::start(&mut house.command(&arguments))?;
        Ok(Self { house, shop, hooks, bridge_url, key, _gate: gate, _bridge: bridge })
    }

    /// A run of one of the example's workflows against all of it.
    pub(super) fn job(&self, file: &str, run: &str) -> Job {
        let has = |name: &str| std::fs::read_to_string(example(file)).is_ok_and(|text| text.contains(name));
        let mut env = json!({ "BRIDGE_URL": self.bridge_url, "BRIDGE_KEY": self.key });
        for (name, value) in
            [("ACTION_URL", self.shop.url()), ("RESUME_URL", format!("{}/hook", self.hooks.url()))]
        {
            if has(&format!("name: {name}")) {
                env[name] = json!(value);
            }
        }
        let file = example(file).display().to_string();
        let inputs = json!({ "order": "4711", "amount": 12.5, "reason": "broken & \"torn\"\nreally" });
        Job(json!({ "file": file, "run": run, "env": env, "edits": [], "inputs": inputs }))
    }

    /// Decides about the next review.
    pub(super) fn decide(&self, decision: &str) -> Result<()> {
        let thread = self.house.inbox_of(1)?[0]["thread_id"].as_str().context("no thread")?.to_owned();
        if decision == "approve" {
            self.house.approve(&thread, "fine")
        } else {
            self.house.reject(&thread, "no")
        }
    }

    pub(super) fn runs(&self) -> usize {
        self.shop.got().len()
    }
}

/// What the runner is told of one run.
#[derive(Clone, Debug)]
pub(super) struct Job(Value);

impl Job {
    /// Changes the workflow's text.
    pub(super) fn edit(mut self, old: &str, new: &str) -> Self {
        if let Some(edits) = self.0["edits"].as_array_mut() {
            edits.push(json!([old, new]));
        }
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.0["env"][name] = json!(value);
        self
    }

    pub(super) fn input(mut self, name: &str, value: &str) -> Self {
        self.0["inputs"][name] = json!(value);
        self
    }

    pub(super) fn inputs(mut self, inputs: Value) -> Self {
        self.0["inputs"] = inputs;
        self
    }

    /// Another file in place of the example's.
    pub(super) fn file(mut self, path: &Path) -> Self {
        self.0["file"] = json!(path.display().to_string());
        self
    }

    pub(super) fn without_run(mut self) -> Self {
        self.0["run"] = Value::Null;
        self
    }
}

/// Dify's engine, in a process of its own.
pub(super) struct Engine {
    child: Child,
    jobs: ChildStdin,
    ends: Lines<BufReader<ChildStdout>>,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct End(Value);

impl Engine {
    pub(super) fn start() -> Result<Self> {
        let mut command = Command::new(target().join("tools/python-dify/bin/python"));
        command.arg(here().join("python/dify_run.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .context("no engine; `cargo xtask install` brings it where there is Python 3.12")?;
        let (jobs, ends) = (child.stdin.take().context("a pipe")?, child.stdout.take().context("a pipe")?);
        Ok(Self { child, jobs, ends: BufReader::new(ends).lines() })
    }

    pub(super) fn run(&mut self, job: &Job) -> Result<End> {
        self.jobs.write_all(format!("{}\n", job.0).as_bytes()).context("the engine is gone")?;
        let line = self.ends.next().context("the engine ended")?.context("the engine said nothing")?;
        let end: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(end["loads"] == "loadable", "{end}");
        Ok(End(end))
    }

    /// The same, while `meanwhile` happens.
    pub(super) fn run_while(&mut self, job: &Job, meanwhile: impl FnOnce() -> Result<()>) -> Result<End> {
        std::thread::scope(|scope| {
            let running = scope.spawn(|| self.run(job));
            let happened = meanwhile();
            let end = running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            happened.and(end)
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl End {
    /// The node at which the run ended.
    pub(super) fn at(&self) -> &str {
        self.0["reached"].as_array().and_then(|reached| reached.last()?.as_str()).unwrap_or_default()
    }

    pub(super) fn times(&self, node: &str) -> usize {
        self.0["reached"].as_array().map_or(0, |reached| reached.iter().filter(|name| *name == node).count())
    }

    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }
}
