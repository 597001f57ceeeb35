//! What the files come to, checked and complete.

use crate::{
    policy::{PolicySet, Table},
    secret::{FingerprintKey, Secret},
};
use holdpoint_api::declare::GateDeclaration;
use holdpoint_core::{PolicyRevision, ServerName};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use url::Url;

/// A configuration without mistakes.
#[derive(Debug)]
pub struct Config {
    /// The Gate to ask; `None`: the one that `holdpoint up` brings along.
    pub gate: Option<GateSettings>,
    /// The tool servers.
    pub servers: BTreeMap<ServerName, ServerSettings>,
    /// How calls wait.
    pub hold: HoldSettings,
    /// What our own Gate is told: `gate.yaml`, if there is one.
    pub declaration: Option<GateDeclaration>,
    /// Every file that was read: what to watch for changes.
    pub files: Vec<PathBuf>,
    pub(crate) table: Arc<Table>,
}

impl Config {
    /// The policy. `key` makes the fingerprints of masked values.
    #[must_use]
    pub fn policy(&self, key: FingerprintKey) -> PolicySet {
        PolicySet::new(Arc::clone(&self.table), key)
    }

    /// Which configuration this is: the policy's revision.
    #[must_use]
    pub fn revision(&self) -> PolicyRevision {
        self.table.revision()
    }
}

/// Where Gate is.
#[derive(Clone, Debug)]
pub struct GateSettings {
    /// Its address.
    pub url: Url,
    /// The agent's key.
    pub api_key: Secret,
}

/// How a tool server is reached.
#[derive(Clone, Debug)]
pub enum ServerSettings {
    /// Over HTTP.
    Http {
        /// Its address.
        url: Url,
        /// Headers to send, by valid lower-case names.
        headers: Vec<(String, Secret)>,
    },
    /// Over stdin and stdout of a process of our own.
    Stdio {
        /// The program.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
        /// Variables to set on top of a minimal environment.
        env: Vec<(String, Secret)>,
        /// The folder to start it in; `None`: ours.
        cwd: Option<PathBuf>,
    },
}

/// How calls wait. `None`: as the adapter thinks fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldSettings {
    /// How long a call waits before its caller is told to come back.
    pub patience: Option<Duration>,
    /// How many calls may wait at once.
    pub held_max: Option<u32>,
    /// How many bytes of a result are kept for a caller that went away.
    pub result_bytes_max: Option<u64>,
}
