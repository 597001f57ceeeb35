//! Holdpoint under test: its configuration and its command lines.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Server;

/// Any key will do for the stub.
const KEY: &str = "sg_bench";

/// What happens to the one tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pass,
    Gate,
}

/// Our Gate in a process of its own.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) server: Server,
    pub(crate) url: String,
    /// An agent's.
    pub(crate) key: String,
}

impl Gate {
    /// What whoever asks it finds in its environment.
    pub(crate) fn env(&self) -> [(&'static str, &str); 2] {
        [("STACKSONA_GATE_URL", &self.url), ("STACKSONA_API_KEY", &self.key)]
    }
}

/// A configuration in a folder of its own. JSON is read by the same parser as YAML.
#[derive(Debug)]
pub(crate) struct Setup {
    folder: TempDir,
    program: PathBuf,
    gate_url: Option<String>,
}

impl Setup {
    /// One server, one tool. Without `gate_url` the Gate is the embedded one, which sends every call to a person
    /// unless `allow` says that its rules let it through.
    pub(crate) fn new(
        program: &Path,
        server: &Value,
        action: Action,
        gate_url: Option<&str>,
        allow: bool,
    ) -> Result<Self> {
        let folder = super::folder()?;
        let setup = Self { folder, program: program.to_path_buf(), gate_url: gate_url.map(str::to_owned) };
        let mut holdpoint = json!({ "servers": { "bench": server }, "tools": "tools/", "unmatched": "deny" });
        if gate_url.is_some()
            && let Some(config) = holdpoint.as_object_mut()
        {
            config.insert(
                "gate".to_owned(),
                json!({ "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" }),
            );
        }
        setup.write("holdpoint.yaml", &holdpoint)?;
        setup.write(
            "gate.yaml",
            &json!({
                "agents": [{ "name": "default", "signed_tokens": true }],
                "tools": [{
                    "name": "echo",
                    "default_action": if allow { "allow" } else { "review" },
                    "rules": [{ "type": "upper_limit", "parameter": "amount", "value": 250, "action": "review" }],
                }],
            }),
        )?;
        let tool = match action {
            Action::Pass => json!({ "name": "echo", "action": "pass" }),
            Action::Gate => json!({
                "name": "echo",
                "action": "gate",
                "workflow_name": "Bench",
                "task_label": "Echo {{ args.n }}",
                "subject": "Echo {{ args.n }}",
                // A reviewer is shown so much at most.
                "preview": "{{ args.message[:100] }}",
                "risk_level": "low",
                "summary": ["Message {{ args.n }}"],
                // Nobody gives up while a measurement goes on.
                "approval": { "patience": "30m" },
            }),
        };
        setup.write("tools/bench.yaml", &json!({ "server": "bench", "tools": [tool] }))?;
        Ok(setup)
    }

    fn write(&self, name: &str, value: &Value) -> Result<()> {
        let path = self.folder.path().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).context("cannot make a folder")?;
        }
        std::fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("holdpoint.yaml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(url) = &self.gate_url {
            command.env("STACKSONA_GATE_URL", url).env("STACKSONA_API_KEY", KEY);
        }
        command
    }

    fn start(&self, subcommand: &str) -> Result<Server> {
        let mut command = self.command();
        command
            .args([subcommand, "--listen", "127.0.0.1:0", "--json", "--reviews-burst", "1000000", "--config"])
            .arg(self.config())
            .arg("--data")
            .arg(self.data());
        Server::start(&mut command)
    }

    /// A bridge in front of `gate`, with a folder of its own.
    pub(crate) fn bridge(&self, gate: &Gate) -> Result<Server> {
        let mut command = Command::new(&self.program);
        command
            .args(["bridge", "--listen", "127.0.0.1:0", "--json", "--data"])
            .arg(self.folder.path().join("bridge"))
            .envs(gate.env());
        Server::start(&mut command)
    }

    /// Everything in one process, over HTTP.
    pub(crate) fn up(&self) -> Result<Server> {
        self.start("up")
    }

    /// Gate alone, and the key of an agent.
    pub(crate) fn serve(&self) -> Result<Gate> {
        let server = self.start("serve")?;
        let url = server.ready().get("gate_url").and_then(Value::as_str);
        let url = url.context("a ready line without `gate_url`")?.to_owned();
        let created = self.ask(&["agents", "create", "bench", "--json"])?;
        let key = created.get("key").and_then(Value::as_str).context("no key")?.to_owned();
        Ok(Gate { server, url, key })
    }

    /// The command line of the proxy over stdio, for the load client to start.
    pub(crate) fn proxy(&self) -> Vec<String> {
        [
            self.program.display().to_string(),
            "proxy".to_owned(),
            "--config".to_owned(),
            self.config().display().to_string(),
            "--server".to_owned(),
            "bench".to_owned(),
            "--data".to_owned(),
            self.data().display().to_string(),
        ]
        .into()
    }

    /// What [`proxy`](Self::proxy) finds in its environment.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        self.gate_url
            .iter()
            .flat_map(|url| [("STACKSONA_GATE_URL", url.clone()), ("STACKSONA_API_KEY", KEY.to_owned())])
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// A subcommand that prints JSON about the data folder.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let output = self
            .command()
            .args(arguments)
            .arg("--data")
            .arg(self.data())
            .output()
            .with_context(|| format!("cannot run {arguments:?}"))?;
        if !output.status.success() {
            anyhow::bail!("{arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?} printed no JSON"))
    }
}
