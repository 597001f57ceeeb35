//! What a bridge is made of, and what its operator decides.

use crate::target::Target;
use async_trait::async_trait;
use bytes::Bytes;
use holdpoint_api::{ApiKey, webhook::WebhookSecret};
use holdpoint_core::{Clock, Gate, Journal, Owner, ServerName, Standing, TaskId};
use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

/// The server that questions belong to whose caller runs the tool itself. No configured server has this name.
pub const CHECKS: &str = "bridge";

/// What a bridge is made of.
#[derive(Debug)]
pub struct BridgeParts {
    /// The kernel.
    pub gate: Arc<Gate>,
    /// Where operations are kept; tells which processes are alive.
    pub journal: Arc<dyn Journal>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// This run of this process.
    pub owner: Owner,
    /// Says whether a caller may still call; `None` where that cannot change.
    pub standing: Option<Arc<dyn Standing>>,
    /// The agent that the bridge is at Gate; `None`: the agent API is not served.
    pub agent: Option<Agent>,
    /// A secret that all processes share which share the book. Numbers of operations are made with it.
    pub key: [u8; 32],
    /// What the operator decides.
    pub options: BridgeOptions,
}

/// What the agent API needs beside the kernel.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The agent's own key: whoever presents it is the agent.
    pub key: ApiKey,
    /// Takes events.
    pub events: Arc<dyn Events>,
}

/// Takes events for Gate's timeline, as they are.
#[async_trait]
pub trait Events: fmt::Debug + Send + Sync {
    /// Sends one. The answer is Gate's: its status, and what it said of a refusal.
    async fn post(&self, task: &TaskId, body: Bytes) -> Result<(), EventRefused>;
}

/// An event that Gate did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRefused {
    /// The HTTP status; `None`: there was no usable answer.
    pub status: Option<u16>,
}

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct BridgeOptions {
    /// How long a request is held whose caller does not say.
    pub wait: Duration,
    /// The longest that one is held.
    pub wait_max: Duration,
    /// How long a question stays open that nobody decides.
    pub expires: Duration,
    /// How long an answer is repeated.
    pub kept: Duration,
    /// How often a yes is repeated.
    pub replays_max: u32,
    /// How many questions this process goes on with at once; and as many answers may be on their way to those who asked.
    pub driven_max: usize,
    /// How many questions of one caller this process has open at once.
    pub open_max: usize,
    /// The HTTP status of a no.
    pub deny_status: DenyStatus,
    /// Who may be called back, and how.
    pub callbacks: CallbackOptions,
    /// What the bridge runs itself, by name.
    pub targets: HashMap<ServerName, Arc<Target>>,
    /// The address that callers use, without a slash at the end; `None`: locations are paths.
    pub public_url: Option<String>,
    /// The names beside the loopback ones by which callers may reach the bridge.
    pub hosts: Vec<String>,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(25),
            wait_max: Duration::from_mins(5),
            expires: Duration::from_hours(7 * 24),
            kept: Duration::from_hours(24),
            replays_max: 20,
            driven_max: 50_000,
            open_max: 5_000,
            deny_status: DenyStatus::Ok,
            callbacks: CallbackOptions::default(),
            targets: HashMap::new(),
            public_url: None,
            hosts: Vec::new(),
        }
    }
}

/// The HTTP status of a no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DenyStatus {
    /// 200: for platforms that throw away what comes with any other.
    #[default]
    Ok,
    /// 403: for scripts that look at nothing else.
    Forbidden,
}

/// Who may be called back, and how.
#[derive(Clone, Debug, Default)]
pub struct CallbackOptions {
    /// Names of hosts, or `*.` and the end of one. Nobody else is called.
    pub hosts: Vec<String>,
    /// What callbacks are signed with.
    pub secret: Option<WebhookSecret>,
    /// Whether hosts may have addresses that are not public, and plain HTTP on this machine will do.
    pub private_addresses: PrivateAddresses,
}

/// Whether callbacks may stay inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivateAddresses {
    /// They may not.
    #[default]
    Refused,
    /// They may.
    Allowed,
}
