//! `holdpoint demo`: four calls through a real gate, one of which waits for the person at the keyboard.
//!
//! Everything in it is the real thing: Gate with its rules and inbox, the proxy, and a tool server that somebody else
//! wrote where Node is installed. Only the agent is a script.

mod agent;
pub(crate) mod failures;
pub(crate) mod ledger;
mod record;
mod script;
mod tools;
mod view;

use crate::{
    cli::{DemoArgs, DemoServerArgs, OtherDemo},
    configuration,
    data::DataFolder,
    embedded::EmbeddedGate,
    listen::{self, CONNECTIONS_MAX, Site},
    random,
    up::HttpProxies,
    wiring::{GateAddress, Wiring},
};
use agent::{Agent, Told};
use anyhow::{Context, Result};
use holdpoint_core::{Principal, TaskId};
use holdpoint_mcp::stdio::{self, StdioOptions};
use holdpoint_server::{DecideCommand, GateServer};
use holdpoint_store::{Store as _, ThreadId, VerdictKind};
use script::Scene;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio_util::sync::CancellationToken;
use view::View;

const CONFIG: [(&str, &str); 3] = [
    ("holdpoint.yaml", include_str!("../demo/holdpoint.yaml")),
    ("gate.yaml", include_str!("../demo/gate.yaml")),
    ("tools/files.yaml", include_str!("../demo/tools/files.yaml")),
];
/// Bytes between agent and proxy; a pipe holds as many.
const PIPE_BYTES: usize = 64 * 1024;

/// What a shell says of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// Whether the tool ran, as the disk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Yes,
    No,
}

pub(crate) async fn run(args: &DemoArgs) -> Result<ExitCode> {
    if let Some(OtherDemo::Failures(args)) = &args.other {
        return failures::run(args).await;
    }
    let folder = Folder::make()?;
    let ended = tokio::select! {
        ended = play(args, &folder.0) => ended,
        () = crate::stop::requested() => Ok(ExitCode::from(INTERRUPTED)),
    };
    drop(folder);
    ended
}

async fn play(args: &DemoArgs, folder: &Path) -> Result<ExitCode> {
    let view = View::start();
    let work = folder.join("work");
    for name in ["notes", "payroll", "outbox", "sent"] {
        fs::create_dir_all(work.join(name)).context("cannot prepare the demonstration's folder")?;
    }
    let work = work.canonicalize().context("cannot prepare the demonstration's folder")?;
    let tools = tools::find(args.bundled, &work).await?;

    // Gate, with its own database and inbox.
    let data = DataFolder::open(&folder.join("data"))?;
    let (listener, bound) = listen::bind(args.listen).await?;
    let url = format!("http://{bound}");
    let stop = CancellationToken::new();
    let gate = EmbeddedGate::open(&data, data.own_gate_alone()?, &url, None, stop.clone()).await?;
    let config = written_config(&folder.join("config"))?;
    let declaration = config.declaration.as_ref().context("the demonstration has no gate.yaml")?;
    gate.server.apply(declaration, "demo").await?;
    let site = Site {
        connections_max: CONNECTIONS_MAX,
        proxies: HttpProxies::default(),
        gate: Some(gate.router()),
        doorbells: None,
    };
    let serving = tokio::spawn(listen::serve(listener, site, stop.clone()));
    View::opening(&tools.description, &gate.server.sign_in_link(None).await?.url);

    // The proxy, and the agent that talks to it as to any tool server.
    let address = GateAddress { url, key: gate.server.ephemeral_key("default").await? };
    let wiring = Wiring::configured(&config, &data, address).await?;
    let task = TaskId::new(format!("demo-{}", random::hex::<4>()?));
    let guard = wiring.guard("files", configuration::server(&config, "files")?);
    let options = StdioOptions::new(guard, Principal::new(crate::proxy::LOCAL), task.clone());
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let (proxy_in, proxy_out) = tokio::io::split(far);
    let proxy = tokio::spawn(async move { stdio::run(options, &tools.command, proxy_in, proxy_out).await });
    let (agent_in, agent_out) = tokio::io::split(near);
    let mut agent = Agent::connect(agent_in, agent_out).await?;

    let scenes = (tools.script)(&work);
    let mut told = Vec::new();
    for (number, scene) in scenes.iter().enumerate() {
        view.calling(number, scene);
        let heard = call(&mut agent, &gate, scene, number, &view, args.yes).await?;
        view.told(number, &heard);
        let ran = if scene.evidence.exists() { Ran::Yes } else { Ran::No };
        told.push((heard, ran));
    }
    drop(agent);
    proxy.await.context("the proxy ended badly")??;

    let all_as_promised = view.ending(&scenes, &told);
    record::print(&gate.store, "default", &task).await?;
    stop.cancel();
    serving.await.context("the listener ended badly")?;
    wiring.close().await;
    gate.close().await;
    Ok(if all_as_promised { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `holdpoint demo-server`: the bundled tool server, over stdio.
pub(crate) async fn serve(args: &DemoServerArgs) -> Result<ExitCode> {
    let (input, output) = stdio::process_io();
    holdpoint_mcp::peer::serve_notes(&args.folder, input, output).await?;
    Ok(ExitCode::SUCCESS)
}

/// Calls, and meanwhile tells what the reviewer is asked; with `--yes` answers in the reviewer's place.
async fn call(
    agent: &mut Agent,
    gate: &EmbeddedGate,
    scene: &Scene,
    number: usize,
    view: &View,
    yes: bool,
) -> Result<Told> {
    let mut changes = gate.store.bell().listen();
    let mut asked = None;
    let mut answer = std::pin::pin!(agent.call(scene.tool, &scene.arguments));
    loop {
        if asked.is_none()
            && let Some(thread) = gate.server.open_threads().await?.into_iter().next()
        {
            let url = format!("{}threads/{}", gate.server.inbox_url(), thread.id.as_str());
            view.held(number, thread.id.as_str(), &url);
            asked = Some(thread.id.clone());
            if yes {
                decide(&gate.server, thread.id, VerdictKind::Approve).await?;
            }
        }
        tokio::select! {
            told = &mut answer => return told,
            _ = changes.next() => {}
            () = view.tick() => {}
        }
    }
}

async fn decide(gate: &GateServer, thread_id: ThreadId, kind: VerdictKind) -> Result<()> {
    let note = Some("decided by the demonstration".to_owned());
    let by = "demo".to_owned();
    gate.decide(DecideCommand { thread_id, revision_id: None, kind, by, note }).await?;
    Ok(())
}

fn written_config(folder: &Path) -> Result<holdpoint_config::Config> {
    for (name, text) in CONFIG {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
        written.with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    configuration::load(folder)
}

/// A folder that is gone when the demonstration is over.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("holdpoint-demo-{}", random::hex::<6>()?));
        fs::create_dir(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "could not remove the demonstration's folder");
        }
    }
}
