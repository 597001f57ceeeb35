//! What the end-to-end tests share: real clients, real tool servers and a real browser, as processes.
//!
//! `cargo xtask install` puts them where this package looks for them; nothing here falls back to something smaller.

#![expect(clippy::indexing_slicing, reason = "indexing a JSON value gives null, not a panic")]

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

mod browser;
mod client;
mod desk;
pub mod fixture;
mod house;
mod ledger;
mod lines;
mod link;
mod pipe;
mod ran;
mod recorded;
mod relay;
mod server;
mod signal;
mod till;
mod web;
mod work;

pub use browser::{Click, Review};
pub use client::{Client, Sdk};
pub use desk::{Admin, Desk};
pub use house::House;
pub use ledger::{Ledger, LedgerServer};
pub use link::{HttpClient, Link, Route};
pub use pipe::Pipe;
pub use ran::{Ran, Running};
pub use recorded::{Recorded, RecordedServer};
pub use relay::{Cut, Fault, Relay};
pub use server::Server;
pub use signal::{Kill, children, kill, only_child, until_ended};
pub use till::{TOOLS, Till, TillServer, till_over_stdio};
pub use web::{Answer, Request, nobody};
pub use work::lines_of_work;

/// The folder of this package.
#[must_use]
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo's target folder, honouring `CARGO_TARGET_DIR`.
#[must_use]
pub fn target() -> PathBuf {
    let root = here().parent().unwrap_or(here());
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => root.join(dir),
        _ => root.join("target"),
    }
}

/// The command under test; `cargo xtask test` builds it first.
#[must_use]
pub fn holdpoint() -> PathBuf {
    target().join("debug/holdpoint")
}

/// The Node.js that the lock file pins.
#[must_use]
pub fn node() -> PathBuf {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    here().join(format!("node/node_modules/node-linux-{machine}/bin/node"))
}

/// The Python that has the SDK.
#[must_use]
pub fn python() -> PathBuf {
    target().join("tools/python/bin/python")
}

/// Where screenshots are left, for people to look at.
pub fn screenshots(name: &str) -> Result<PathBuf> {
    let folder = target().join("screenshots").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// The lines of a file of JSON values; none if it is not there.
fn jsonl(path: &Path) -> Result<Vec<Value>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().map(|line| serde_json::from_str(line).context("not JSON")).collect()
}

/// A reference tool server, as the command line that starts it over stdio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolServer<'a> {
    /// Reads and writes files below one folder.
    Filesystem(&'a Path),
    /// Keeps a graph of entities; set `MEMORY_FILE_PATH` for where.
    Memory,
    /// Has a tool for every corner of the protocol.
    Everything,
    /// Of our own, on the TypeScript SDK: speaks 2026-07-28 alone, and has a tool that asks the client for things.
    Modern,
}

impl ToolServer<'_> {
    /// Program and arguments.
    #[must_use]
    pub fn command(self) -> Vec<String> {
        let (package, argument) = match self {
            Self::Filesystem(folder) => ("server-filesystem", Some(folder.display().to_string())),
            Self::Memory => ("server-memory", None),
            Self::Everything => ("server-everything", Some("stdio".to_owned())),
            Self::Modern => {
                let script = here().join("node/modern.mjs");
                return vec![node().display().to_string(), script.display().to_string()];
            }
        };
        let script =
            here().join("node/node_modules/@modelcontextprotocol").join(package).join("dist/index.js");
        [node().display().to_string(), script.display().to_string()].into_iter().chain(argument).collect()
    }
}
