//! One installation of Holdpoint: a configuration, a data folder, and what is started on them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lines::PATIENCE;
use crate::ran::Ran;
use crate::server::Server;
use crate::{holdpoint, pipe::Pipe};

/// Gone when dropped, with all that is in it.
#[derive(Debug)]
pub struct House {
    folder: TempDir,
    /// What is set for every command, beside what programs need to find their files.
    env: BTreeMap<String, String>,
}

impl House {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        std::fs::create_dir(folder.path().join("config")).context("cannot make a folder")?;
        Ok(Self { folder, env: BTreeMap::new() })
    }

    /// A folder of the test's own, beside configuration and data.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration's folder.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path().join("config")
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Sets a variable for every command from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// The same without that variable.
    pub fn unset_env(&mut self, name: &str) {
        self.env.remove(name);
    }

    /// Writes one file of the configuration.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.config().join(name);
        let parent = path.parent().context("a file in a folder")?;
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes `holdpoint.yaml`; JSON is YAML.
    pub fn configure(&self, config: &Value) -> Result<()> {
        self.write("holdpoint.yaml", &config.to_string())
    }

    /// Writes `gate.yaml`.
    pub fn declare(&self, gate: &Value) -> Result<()> {
        self.write("gate.yaml", &gate.to_string())
    }

    /// Writes what is to be done with the tools of one server.
    pub fn tools(&self, server: &str, tools: &Value) -> Result<()> {
        let text = json!({ "server": server, "tools": tools }).to_string();
        self.write(&format!("tools/{server}.yaml"), &text)
    }

    /// A command of Holdpoint's, on this house's data, in an environment without surprises.
    #[must_use]
    pub fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(holdpoint());
        command.args(arguments.iter().map(AsRef::as_ref)).current_dir(self.path()).env_clear();
        command.envs(self.environment());
        command
    }

    /// The environment of every command here.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let kept = ["PATH", "LANG", "TMPDIR"].into_iter();
        let kept = kept.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        let mut env: BTreeMap<_, _> = kept.collect();
        env.insert("HOME".to_owned(), self.path().display().to_string());
        env.insert("USER".to_owned(), "tester".to_owned());
        env.insert("HOLDPOINT_DATA".to_owned(), self.data().display().to_string());
        env.extend(self.env.clone());
        env
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Ran> {
        Ran::to_end(&mut self.command(arguments))
    }

    /// Gate, inbox and proxies.
    pub fn up(&self) -> Result<Server> {
        self.up_with(&[])
    }

    /// The same with further arguments.
    pub fn up_with(&self, arguments: &[&str]) -> Result<Server> {
        let config = self.config().display().to_string();
        self.start(&[&["up", "--config", &config], arguments].concat())
    }

    /// The same with what it says to the operator in a file.
    pub fn up_logging_to(&self, log: &Path) -> Result<Server> {
        let config = self.config().display().to_string();
        let mut command = self.command(&["up", "--config", &config, "--listen", "127.0.0.1:0", "--json"]);
        let log = File::create(log).context("cannot make a file for the log")?;
        Server::start(command.stderr(log))
    }

    /// Gate alone, and from now on every command finds it, as an agent of its own.
    pub fn serve(&mut self) -> Result<Server> {
        let config = self.config();
        let server = if config.join("gate.yaml").exists() {
            self.start(&["serve", "--config", &config.display().to_string()])?
        } else {
            self.start(&["serve"])?
        };
        self.set_env("STACKSONA_GATE_URL", server.gate_url()?);
        if !self.env.contains_key("STACKSONA_API_KEY") {
            let agent = self.run(&["agents", "create", "tester", "--json"])?.json()?;
            self.set_env("STACKSONA_API_KEY", agent["key"].as_str().context("no key")?);
        }
        Ok(server)
    }

    /// The bridge alone, in front of the Gate that the configuration names.
    pub fn bridge(&self) -> Result<Server> {
        self.start(&["bridge", "--config", &self.config().display().to_string()])
    }

    fn start(&self, arguments: &[&str]) -> Result<Server> {
        let listen = ["--listen", "127.0.0.1:0", "--json"];
        Server::start(&mut self.command(&[arguments, &listen[..]].concat()))
    }

    /// The command line of `holdpoint proxy` for a configured server.
    #[must_use]
    pub fn proxy(&self, server: &str) -> Vec<String> {
        let config = self.config().display().to_string();
        let arguments = ["proxy", "--config", &config, "--server", server];
        proxy_command(&arguments)
    }

    /// The same without a configuration.
    #[must_use]
    pub fn proxy_of(&self, server: &str, tool_server: &[String]) -> Vec<String> {
        let mut command = proxy_command(&["proxy", "--server", server, "--"]);
        command.extend_from_slice(tool_server);
        command
    }

    /// What a public client needs to be told to start `command` in this house.
    #[must_use]
    pub fn target(&self, command: &[String], era: &str) -> Value {
        json!({ "stdio": command, "env": self.environment(), "era": era })
    }

    /// Starts `command` with both ends of its pipe in our hands.
    pub fn pipe(&self, command: &[String]) -> Result<Pipe> {
        let (program, arguments) = command.split_first().context("an empty command")?;
        let mut child = Command::new(program);
        child.args(arguments).current_dir(self.path()).env_clear().envs(self.environment());
        Pipe::start(&mut child)
    }

    /// The open reviews, as the command line lists them.
    pub fn inbox(&self) -> Result<Vec<Value>> {
        let listed = self.run(&["inbox", "--json"])?.json()?;
        listed.as_array().cloned().with_context(|| format!("not a list: {listed}"))
    }

    /// Waits until exactly `count` reviews are open.
    pub fn inbox_of(&self, count: usize) -> Result<Vec<Value>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let threads = self.inbox()?;
            if threads.len() == count {
                return Ok(threads);
            }
            if Instant::now() > deadline {
                bail!("{} reviews are open, not {count}: {threads:?}", threads.len());
            }
        }
    }

    /// The live holds, as the command line lists them.
    pub fn holds(&self) -> Result<Vec<Value>> {
        let listed = self.run(&["holds", "list", "--json"])?.json()?;
        listed.as_array().cloned().with_context(|| format!("not a list: {listed}"))
    }

    /// Approves a review, as the first to decide.
    pub fn approve(&self, thread: &str, note: &str) -> Result<()> {
        self.run(&["approve", thread, "--note", note])?.success()?;
        Ok(())
    }

    /// Rejects a review, as the first to decide.
    pub fn reject(&self, thread: &str, note: &str) -> Result<()> {
        self.run(&["reject", thread, "--note", note])?.success()?;
        Ok(())
    }
}

fn proxy_command(arguments: &[&str]) -> Vec<String> {
    let program = holdpoint().display().to_string();
    std::iter::once(program).chain(arguments.iter().map(|&argument| argument.to_owned())).collect()
}
