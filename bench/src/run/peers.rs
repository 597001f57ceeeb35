//! Other proxies, as `peers/peers.json` describes them.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use tempfile::TempDir;

use super::measured::{Kind, Route};
use crate::process::Server;

const PEERS: &str = include_str!("../../peers/peers.json");

/// A proxy on one route.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    /// With the registry and the version: what is reported.
    pub(crate) name: String,
    pub(crate) route: String,
    pub(crate) kind: Kind,
    /// Texts in braces are replaced: see [`Places`].
    command: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Written before each start, into the folder `{folder}`.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Where its MCP endpoint is, if it speaks HTTP.
    #[serde(default = "endpoint")]
    endpoint: String,
    /// How it calls the tool `echo`.
    #[serde(default = "echo")]
    pub(crate) tool: String,
}

fn endpoint() -> String {
    "/mcp".to_owned()
}

fn echo() -> String {
    "echo".to_owned()
}

/// All that `peers.json` names for a route.
pub(crate) fn on(route: Route) -> Result<Vec<Peer>> {
    Ok(all()?.into_iter().filter(|peer| peer.route == route.key()).collect())
}

fn all() -> Result<Vec<Peer>> {
    serde_json::from_str(PEERS).context("peers.json")
}

/// A peer that is about to be measured, in a folder of its own.
pub(crate) struct Prepared {
    pub(crate) command: Vec<String>,
    pub(crate) env: HashMap<String, String>,
    pub(crate) url: String,
    port: u16,
    folder: TempDir,
}

impl Peer {
    /// `installed` is where `cargo xtask bench --peers` put the packages; `upstream` the tool over HTTP.
    pub(crate) fn prepare(&self, installed: &Path, upstream: &str) -> Result<Prepared> {
        let folder = super::folder()?;
        let port = free_port()?;
        let places = Places {
            installed: installed.to_path_buf(),
            folder: folder.path().to_path_buf(),
            tool: super::this()?,
            port,
            upstream: upstream.to_owned(),
        };
        for (name, text) in &self.files {
            std::fs::write(folder.path().join(name), places.fill(text))
                .with_context(|| format!("cannot write {name}"))?;
        }
        let home = folder.path().display().to_string();
        let mut env: HashMap<String, String> = [("HOME".to_owned(), home)].into();
        env.extend(self.env.iter().map(|(name, value)| (name.clone(), places.fill(value))));
        Ok(Prepared {
            command: self.command.iter().map(|part| places.fill(part)).collect(),
            env,
            url: format!("http://127.0.0.1:{port}{}", self.endpoint),
            port,
            folder,
        })
    }
}

impl Prepared {
    /// Its own, for as long as this lives.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    pub(crate) fn start(&self) -> Result<Server> {
        let (program, arguments) = self.command.split_first().context("a peer without command")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(&self.env).current_dir(self.folder.path()).stdin(Stdio::null());
        Server::start_on_port(&mut command, self.port)
    }
}

/// What texts in braces stand for.
struct Places {
    installed: PathBuf,
    folder: PathBuf,
    tool: PathBuf,
    port: u16,
    upstream: String,
}

impl Places {
    fn fill(&self, text: &str) -> String {
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        let installed = self.installed.display();
        [
            ("{node}", format!("{installed}/node/node_modules/node-linux-{machine}/bin/node")),
            ("{modules}", format!("{installed}/node/node_modules")),
            ("{python}", format!("{installed}/python")),
            ("{rust}", format!("{installed}/rust/bin")),
            ("{folder}", self.folder.display().to_string()),
            ("{tool}", self.tool.display().to_string()),
            ("{port}", self.port.to_string()),
            ("{upstream}", self.upstream.clone()),
            ("{origin}", self.upstream.trim_end_matches("/mcp").to_owned()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (place, value)| text.replace(place, value))
    }
}

/// Nobody else on this machine is likely to take it within the moment until the peer does.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on loopback")?;
    Ok(listener.local_addr().context("no local address")?.port())
}

#[test]
fn every_peer_is_on_a_route_and_every_place_is_known() {
    use super::measured::Transport;

    let places = Places {
        installed: "/installed".into(),
        folder: "/folder".into(),
        tool: "/tool".into(),
        port: 1,
        upstream: "http://127.0.0.1:2/mcp".to_owned(),
    };
    for peer in all().unwrap() {
        let route = Route::ALL.into_iter().find(|route| route.key() == peer.route).unwrap();
        let texts = peer.command.iter().chain(peer.env.values()).chain(peer.files.values());
        let filled: String = texts.map(|text| places.fill(text)).collect();
        assert!(
            !["{node}", "{modules}", "{python}", "{rust}", "{folder}", "{tool}"]
                .iter()
                .any(|p| filled.contains(p))
        );
        // Only who is told where client and tool are can stand between them.
        assert_eq!(filled.contains("/tool"), route.upstream() == Transport::Stdio, "{}", peer.name);
        assert_eq!(filled.contains("127.0.0.1:2"), route.upstream() == Transport::Http, "{}", peer.name);
        assert!(
            peer.name.chars().any(|character| character.is_ascii_digit()),
            "{} without version",
            peer.name
        );
    }
    for route in Route::ALL {
        assert!(!on(route).unwrap().is_empty(), "no peer on {}", route.title());
    }
}
