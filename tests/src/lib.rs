//! What the end-to-end tests share: real clients, real tool servers and a real browser, as processes.
//!
//! `cargo xtask install` puts them where this package looks for them; nothing here falls back to something smaller.

#![expect(clippy::indexing_slicing, reason = "indexing a JSON value gives null, not a panic")]

use std::path::{Path, PathBuf};

mod browser;
mod client;
mod ledger;
mod lines;

pub use browser::{Click, Review};
pub use client::{Client, Sdk};
pub use ledger::{Ledger, LedgerServer};

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

/// A reference tool server, as the command line that starts it over stdio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolServer<'a> {
    /// Reads and writes files below one folder.
    Filesystem(&'a Path),
    /// Keeps a graph of entities; set `MEMORY_FILE_PATH` for where.
    Memory,
    /// Has a tool for every corner of the protocol.
    Everything,
}

impl ToolServer<'_> {
    /// Program and arguments.
    #[must_use]
    pub fn command(self) -> Vec<String> {
        let (package, argument) = match self {
            Self::Filesystem(folder) => ("server-filesystem", Some(folder.display().to_string())),
            Self::Memory => ("server-memory", None),
            Self::Everything => ("server-everything", Some("stdio".to_owned())),
        };
        let script =
            here().join("node/node_modules/@modelcontextprotocol").join(package).join("dist/index.js");
        [node().display().to_string(), script.display().to_string()].into_iter().chain(argument).collect()
    }
}
