//! What the files come to, checked and complete.

mod bridge;

pub use bridge::{
    BridgeSettings, CallbackSettings, TargetContent, TargetPath, TargetSettings, TargetSource,
    TargetToolSettings,
};

use crate::{
    policy::{PolicySet, Table},
    secret::{FingerprintKey, Secret},
    watch::FilesRead,
};
use holdpoint_api::{declare::GateDeclaration, webhook::WebhookSecret};
use holdpoint_core::{PolicyRevision, ServerName};
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use url::Url;

/// A configuration without mistakes.
#[derive(Debug)]
pub struct Config {
    /// The Gate to ask; `None`: the one that `holdpoint up` brings along.
    pub gate: Option<GateSettings>,
    /// The tool servers.
    pub servers: BTreeMap<ServerName, ServerSettings>,
    /// Who may call the servers over HTTP.
    pub callers: CallerSettings,
    /// One HTTP call for platforms that cannot wait; `None`: nothing is said of it.
    pub bridge: Option<BridgeSettings>,
    /// How calls wait.
    pub hold: HoldSettings,
    /// The database that several proxies keep their holds in; `None`: the data folder.
    pub journal: Option<JournalSettings>,
    /// The audit log.
    pub audit: AuditSettings,
    /// What reviewers see of a call after they decided.
    pub timeline: TimelineSettings,
    /// What our own Gate is told: `gate.yaml`, if there is one.
    pub declaration: Option<GateDeclaration>,
    /// Every file that was read: what to watch for changes.
    pub sources: FilesRead,
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
    /// Where Gate says that something was decided; `None`: it is only asked.
    pub webhook: Option<WebhookSettings>,
}

/// Where Gate's webhooks are received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where to listen for them alone; `None`: where `holdpoint up` listens anyway.
    pub listen: Option<SocketAddr>,
    /// The path, with its leading `/`.
    pub path: String,
    /// What Gate signs them with; `None`: they are not signed.
    pub secret: Option<WebhookSecret>,
}

/// Who may call the servers over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerSettings {
    /// Whether a request brings a key or token.
    pub credentials: Credentials,
    /// Whose access tokens count; `None`: only our own keys do.
    pub oauth: Option<OAuthIssuer>,
}

/// What is said of requests without a key or token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// They are refused.
    Required,
    /// They are let in, as whoever is on this machine.
    Optional,
    /// Nothing: they are let in where nobody else can reach us.
    #[default]
    Unsaid,
}

/// An issuer of access tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthIssuer {
    /// Its identifier, letter for letter.
    pub issuer: String,
    /// Whom tokens must be for; `None`: the server's own address.
    pub audience: Option<String>,
    /// Where its keys are; `None`: where its metadata says.
    pub jwks_url: Option<String>,
    /// What a token must be good for.
    pub scopes: Vec<String>,
}

/// Whose journal it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// A PostgreSQL database: `postgres://…` or `postgresql://…`.
    pub url: Secret,
}

/// The audit log. `None`: as the log thinks fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditSettings {
    /// A file with this many bytes is closed, and the next one begun.
    pub rotate_bytes: Option<u64>,
}

/// What reviewers see of a call after they decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimelineSettings {
    /// How much of a tool's answer goes to Gate.
    pub results: TimelineResults,
}

/// How much of a tool's answer goes to Gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimelineResults {
    /// The beginning of its text, with the call's secrets taken out.
    #[default]
    Excerpt,
    /// Only whether it succeeded.
    None,
}

/// How a tool server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSettings {
    /// Over HTTP.
    Http {
        /// Its address.
        url: Url,
        /// Headers to send, by valid lower-case names.
        headers: Vec<(String, Secret)>,
        /// Which era of MCP it speaks.
        era: ServerEra,
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
        /// Which era of MCP it speaks.
        era: ServerEra,
    },
}

/// Which era of MCP a server speaks, where clients of the other one are to be translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerEra {
    /// Not said: nothing is translated.
    #[default]
    Auto,
    /// With a handshake, 2024-11-05 to 2025-11-25.
    Legacy,
    /// Stateless, 2026-07-28.
    Modern,
}

/// Which clients a server's list of tools is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerCompat {
    /// Those that read the part of JSON Schema that Copilot Studio reads.
    CopilotStudio,
}

/// Who keeps holds in one journal.
#[derive(Clone, Copy, Debug)]
pub enum Sharers<'a> {
    /// The processes of one data folder.
    ThisInstallation {
        /// Of this installation.
        key: &'a FingerprintKey,
        /// Where servers start that name no folder.
        folder: &'a Path,
    },
    /// Those of several machines, each with its own key and folders.
    Several,
}

impl ServerSettings {
    /// What tells this server from another of the same name: the one of another configuration, or of this one before it was
    /// edited. An approval for the one is none for the other. The address or the command line; on one machine also the
    /// folder and the environment, which often says which account it is. Not the headers: what they prove may expire daily.
    #[must_use]
    pub fn place(&self, sharers: Sharers<'_>) -> String {
        let reached = match self {
            Self::Http { url, .. } => json!({ "url": url.as_str() }),
            Self::Stdio { program, arguments, .. } => json!({ "program": program, "arguments": arguments }),
        };
        match (sharers, self) {
            (Sharers::Several, _) => FingerprintKey::for_checks().place(&reached),
            (Sharers::ThisInstallation { key, .. }, Self::Http { .. }) => key.place(&reached),
            (Sharers::ThisInstallation { key, folder }, Self::Stdio { env, cwd, .. }) => {
                let folder = cwd.as_ref().map_or_else(|| folder.to_owned(), |cwd| folder.join(cwd));
                let mut env: Vec<_> = env.iter().map(|(name, value)| (name, value.expose())).collect();
                env.sort_unstable();
                key.place(&json!({ "reached": reached, "folder": folder.to_string_lossy(), "env": env }))
            }
        }
    }
}

/// In which way calls wait, and how long. `None`: as the adapter thinks fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitSettings {
    /// In which way.
    pub mode: Option<WaitMode>,
    /// How long a call waits before its caller is told to come back.
    pub patience: Option<Duration>,
    /// The longest time between two answers to a client that asks again by itself.
    pub leg: Option<Duration>,
    /// What becomes of a review whose link the client's user does not open.
    pub declined: Option<Declined>,
}

impl WaitSettings {
    /// These, and what `below` says where they say nothing.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            mode: self.mode.or(below.mode),
            patience: self.patience.or(below.patience),
            leg: self.leg.or(below.leg),
            declined: self.declined.or(below.declined),
        }
    }
}

/// In which way a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitMode {
    /// As suits the client.
    Auto,
    /// The request stays open.
    Hold,
    /// In legs that the client asks for by itself.
    Legs,
    /// As a task.
    Task,
    /// The request stays open, for less than a minute.
    Bounded,
}

impl WaitMode {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Hold => "hold",
            Self::Legs => "legs",
            Self::Task => "task",
            Self::Bounded => "bounded",
        }
    }
}

/// What becomes of a review whose link the client's user does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// It is withdrawn.
    Withdraw,
    /// It stays open.
    Leave,
}

impl Declined {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Withdraw => "withdraw",
            Self::Leave => "leave",
        }
    }
}

/// How calls wait. `None`: as the adapter thinks fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldSettings {
    /// In which way, and how long.
    pub waits: WaitSettings,
    /// How many calls may wait at once.
    pub held_max: Option<u32>,
    /// How many bytes of a result are kept for a caller that went away.
    pub result_bytes_max: Option<u64>,
    /// For how long such a result is kept.
    pub result_kept: Option<Duration>,
}
