//! What the scenes are played on: one Gate, and for each scene a tool server, a journal and proxies of its own.

use crate::{
    configuration,
    data::DataFolder,
    demo::{agent::Agent, decide, ledger},
    embedded::EmbeddedGate,
    listen::{self, CONNECTIONS_MAX, Site},
    proxy::LOCAL,
    up::HttpProxies,
    wiring::{GateAddress, Through, Wiring},
};
use anyhow::{Context as _, Result};
use holdpoint_config::Config;
use holdpoint_core::{Principal, TaskId};
use holdpoint_mcp::stdio::{self, ChildCommand, StdioOptions};
use holdpoint_store::VerdictKind;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const TOOLS: &str = include_str!("../../../demo/failures/ledger.yaml");
const GATE: &str = include_str!("../../../demo/failures/gate.yaml");
/// Bytes between agent and proxy; a pipe holds as many.
const PIPE_BYTES: usize = 64 * 1024;
/// The agent that the proxies are at Gate.
const AGENT: &str = "default";

/// One Gate, and a folder for everything.
pub(crate) struct Stage {
    folder: PathBuf,
    gate: EmbeddedGate,
    url: String,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// One scene's tool server, journal and configuration.
pub(crate) struct Set<'a> {
    stage: &'a Stage,
    /// Where the tool server works.
    pub(crate) work: PathBuf,
    data: DataFolder,
    config_folder: PathBuf,
    config: Config,
    task: TaskId,
}

/// A proxy in this process, and the agent that talks to it.
pub(crate) struct Proxy {
    /// The agent.
    pub(crate) agent: Agent,
    wiring: Wiring,
    running: JoinHandle<()>,
}

impl Stage {
    pub(crate) async fn set(folder: &Path) -> Result<Self> {
        let data = DataFolder::open(&folder.join("gate"))?;
        let (listener, bound) = listen::bind(([127, 0, 0, 1], 0).into()).await?;
        let url = format!("http://{bound}");
        let stop = CancellationToken::new();
        let gate = EmbeddedGate::open(&data, data.own_gate_alone()?, &url, None, stop.clone()).await?;
        let declaration = folder.join("gate.yaml");
        fs::write(&declaration, GATE).context("cannot write the demonstration's gate.yaml")?;
        gate.server.apply(&configuration::declaration(&declaration)?, "demo").await?;
        let site = Site {
            connections_max: CONNECTIONS_MAX,
            proxies: HttpProxies::default(),
            gate: Some(gate.router()),
            doorbells: None,
        };
        let serving = tokio::spawn(listen::serve(listener, site, stop.clone()));
        Ok(Self { folder: folder.to_owned(), gate, url, stop, serving })
    }

    /// Everything for one scene.
    pub(crate) fn scene(&self, name: &str) -> Result<Set<'_>> {
        let folder = self.folder.join(name);
        let (work, config_folder) = (folder.join("work"), folder.join("config"));
        fs::create_dir_all(&work).context("cannot prepare the demonstration's folder")?;
        fs::create_dir_all(config_folder.join("tools"))
            .context("cannot prepare the demonstration's folder")?;
        let program = std::env::current_exe().context("cannot find this program again")?;
        let command = json!([program, "demo-ledger", work]);
        let main = json!({ "servers": { "ledger": { "command": command } }, "tools": "tools/" });
        fs::write(config_folder.join("holdpoint.yaml"), main.to_string())
            .and_then(|()| fs::write(config_folder.join("tools/ledger.yaml"), TOOLS))
            .context("cannot write the demonstration's configuration")?;
        let config = configuration::load(&config_folder)?;
        let data = DataFolder::open(&folder.join("data"))?;
        Ok(Set { stage: self, work, data, config_folder, config, task: TaskId::new(format!("demo-{name}")) })
    }

    /// The reviewer: approves the next question that waits.
    pub(crate) async fn approve_next(&self) -> Result<()> {
        let mut changes = holdpoint_store::Store::bell(&self.gate.store).listen();
        loop {
            if let Some(thread) = self.gate.server.open_threads().await?.into_iter().next() {
                return decide(&self.gate.server, thread.id, VerdictKind::Approve).await;
            }
            changes.next().await;
        }
    }

    /// How many questions wait.
    pub(crate) async fn waiting(&self) -> Result<usize> {
        Ok(self.gate.server.open_threads().await?.len())
    }

    /// Clears the desk for the next scene.
    pub(crate) async fn clear(&self) -> Result<()> {
        for thread in self.gate.server.open_threads().await? {
            decide(&self.gate.server, thread.id, VerdictKind::Reject).await?;
        }
        Ok(())
    }

    pub(crate) async fn strike(self) -> Result<()> {
        self.stop.cancel();
        self.serving.await.context("the listener ended badly")?;
        self.gate.close().await;
        Ok(())
    }
}

impl Set<'_> {
    /// A proxy, as everybody runs it.
    pub(crate) async fn proxy(&self) -> Result<Proxy> {
        self.proxy_through(|approver| approver).await
    }

    /// A proxy that reaches Gate by another way.
    pub(crate) async fn proxy_through(&self, through: Through) -> Result<Proxy> {
        let address = GateAddress {
            url: self.stage.url.clone(),
            key: self.stage.gate.server.ephemeral_key(AGENT).await?,
        };
        self.proxy_at(address, through).await
    }

    /// A proxy whose Gate is not there.
    pub(crate) async fn proxy_without_gate(&self) -> Result<Proxy> {
        // Bound and let go: nobody listens there.
        let (listener, nobody) = listen::bind(([127, 0, 0, 1], 0).into()).await?;
        drop(listener);
        let key = self.stage.gate.server.ephemeral_key(AGENT).await?;
        self.proxy_at(GateAddress { url: format!("http://{nobody}"), key }, |approver| approver).await
    }

    async fn proxy_at(&self, address: GateAddress, through: Through) -> Result<Proxy> {
        let wiring = Wiring::configured_through(&self.config, &self.data, address, through).await?;
        let guard = wiring.guard("ledger", configuration::server(&self.config, "ledger")?);
        let options = StdioOptions::new(guard, Principal::new(LOCAL), self.task.clone());
        let mut command = ChildCommand::new(std::env::current_exe()?, ["demo-ledger"]);
        command.arguments.push(self.work.clone().into());
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let (proxy_in, proxy_out) = tokio::io::split(far);
        let running = tokio::spawn(async move {
            // A tool server that ends is part of the play.
            let _reason = stdio::run(options, &command, proxy_in, proxy_out).await;
        });
        let (input, out) = tokio::io::split(near);
        Ok(Proxy { agent: Agent::connect(input, out).await?, wiring, running })
    }

    /// A proxy in a process of its own, to be killed.
    pub(crate) async fn proxy_process(&self) -> Result<(Child, Agent)> {
        let key = self.stage.gate.server.ephemeral_key(AGENT).await?;
        let mut command = Command::new(std::env::current_exe().context("cannot find this program again")?);
        command.arg("proxy").arg("--server").arg("ledger").arg("--config").arg(&self.config_folder);
        command.arg("--data").arg(self.data.path());
        command.env("STACKSONA_GATE_URL", &self.stage.url).env("STACKSONA_API_KEY", key.expose());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start this program again")?;
        let input = child.stdout.take().context("a process without output")?;
        let out = child.stdin.take().context("a process without input")?;
        Ok((child, Agent::connect(input, out).await?))
    }

    pub(crate) fn stage(&self) -> &Stage {
        self.stage
    }

    /// Lays a file before the tool server.
    pub(crate) fn flag(&self, name: &str) -> Result<()> {
        fs::write(self.work.join(name), "").context("cannot write in the demonstration's folder")
    }

    /// Whether a call of this scene is in the journal as held: that is on record once it is.
    pub(crate) fn has_held(&self) -> bool {
        let record = fs::read_to_string(self.data.path().join("audit/current.jsonl"));
        record.is_ok_and(|record| record.contains(r#""what":"held""#))
    }

    /// How often the tool ran.
    pub(crate) fn runs(&self) -> usize {
        ledger::runs(&self.work)
    }
}

impl Proxy {
    /// One call while the reviewer approves whatever comes.
    pub(crate) async fn call_approved(&mut self, set: &Set<'_>, arguments: &Value) -> Result<String> {
        let (told, approved) = tokio::join!(self.agent.call("refund", arguments), set.stage().approve_next());
        approved?;
        Ok(told?.status)
    }

    /// One call that nobody is asked about, or that is refused.
    pub(crate) async fn call(&mut self, arguments: &Value) -> Result<String> {
        Ok(self.agent.call("refund", arguments).await?.status)
    }

    pub(crate) async fn end(self) -> Result<()> {
        drop(self.agent);
        self.running.await.context("the proxy ended badly")?;
        self.wiring.close().await;
        Ok(())
    }
}
