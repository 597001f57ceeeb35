//! Finding and reading the configuration.

use anyhow::{Context, Result, bail};
use holdpoint_api::declare::GateDeclaration;
use holdpoint_config::{Config, Env, ProcessEnv, ServerSettings};
use holdpoint_core::ServerName;
use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Reads a configuration; every mistake is in the error.
pub(crate) fn load(path: &Path) -> Result<Config> {
    let path = main_file(path)?;
    holdpoint_config::load(&path, &ProcessEnv).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}

/// The environment for commands that only look: a variable that is not set is worth a note, not a mistake.
#[derive(Debug, Default)]
pub(crate) struct LookingEnv(RefCell<BTreeSet<String>>);

impl Env for LookingEnv {
    fn var(&self, name: &str) -> Option<String> {
        ProcessEnv.var(name).or_else(|| {
            self.0.borrow_mut().insert(name.to_owned());
            // Fits wherever a variable may stand: in an address, a header, a secret.
            Some(format!("https://unset.invalid/{name}"))
        })
    }

    fn is_stand_in(&self, name: &str) -> bool {
        ProcessEnv.var(name).is_none()
    }
}

impl LookingEnv {
    /// Says which variables a run will need.
    pub(crate) fn note_unset(&self) {
        let unset: Vec<String> = self.0.borrow().iter().cloned().collect();
        if !unset.is_empty() {
            crate::print::note(&format!("not set here, but needed to run: {}", unset.join(", ")));
        }
    }
}

/// Reads a configuration that is only looked at.
pub(crate) fn load_to_look(path: &Path) -> Result<Config> {
    let path = main_file(path)?;
    let config = holdpoint_config::load(&path, &LookingEnv::default());
    config.map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}

/// Reads what our own Gate is told: `gate.yaml`, or the one beside a configuration.
pub(crate) fn declaration(path: &Path) -> Result<GateDeclaration> {
    let beside = if path.is_dir() {
        path.join("gate.yaml")
    } else if path.file_name().is_some_and(|name| name == "holdpoint.yaml" || name == "holdpoint.json") {
        path.with_file_name("gate.yaml")
    } else {
        path.to_owned()
    };
    if !beside.exists() {
        bail!("there is no `{}`\n  hint: name a gate.yaml with --config PATH", beside.display());
    }
    holdpoint_config::load_gate(&beside).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))
}

/// One of the configured servers, by its name.
pub(crate) fn server<'a>(config: &'a Config, name: &str) -> Result<&'a ServerSettings> {
    config.servers.get(&ServerName::new(name)).with_context(|| {
        let known: Vec<_> = config.servers.keys().map(ServerName::as_str).collect();
        format!(
            "there is no server `{name}` in the configuration\n  hint: its servers are {}",
            known.join(", ")
        )
    })
}

fn main_file(path: &Path) -> Result<PathBuf> {
    let hint = "name a holdpoint.yaml, or the folder that holds it";
    let meta =
        path.metadata().with_context(|| format!("cannot read `{}`\n  hint: {hint}", path.display()))?;
    if !meta.is_dir() {
        return Ok(path.to_owned());
    }
    for name in ["holdpoint.yaml", "holdpoint.json"] {
        let file = path.join(name);
        if file.exists() {
            return Ok(file);
        }
    }
    bail!("there is no holdpoint.yaml in `{}`\n  hint: {hint}", path.display())
}
