//! From configuration to a guarded tool server: policy, Gate, journal, pins, kernel.

use crate::{clock::SystemClock, data::DataFolder, hints::Hinted as _, pins::PinFolder, random};
use anyhow::{Context, Result, bail};
use holdpoint_api::ApiKey;
use holdpoint_client::{ClientSettings, GateApprover, GateClient, GateUrl, LocalKey, PlainHttp};
use holdpoint_config::{
    Action as ConfigAction, Config, FingerprintKey, GateSettings, HoldSettings, PolicySet, ServerSettings,
};
use holdpoint_core::{Gate, GateParts, HoldLimits, Owner, ServerName, TaskId};
use holdpoint_mcp::{Action, Guard, ToolActions, stdio::ChildCommand};
use holdpoint_store_sqlite::SqliteJournal;
use std::{fmt, sync::Arc, time::Duration};

/// For callers whose adapter and configuration say nothing.
const PATIENCE: Duration = Duration::from_mins(15);
const HELD_MAX: u32 = 10_000;
const RESULT_BYTES_MAX: u64 = 1024 * 1024;

/// Everything between the servers' adapters and Gate.
pub(crate) struct Wiring {
    gate: Arc<Gate>,
    actions: Arc<dyn ToolActions>,
    pins: Arc<PinFolder>,
    journal: SqliteJournal,
    patience: Option<Duration>,
}

/// Which Gate, as whom.
pub(crate) struct GateAddress {
    pub(crate) url: String,
    pub(crate) key: ApiKey,
}

impl GateAddress {
    /// From the configuration, or else from the environment.
    pub(crate) fn find(settings: Option<&GateSettings>) -> Result<Self> {
        let hint = "set STACKSONA_GATE_URL to Gate's address and STACKSONA_API_KEY to the agent's key (`holdpoint agents \
                    create NAME` makes one), or name both under `gate:` in the configuration";
        let (url, key) = if let Some(settings) = settings {
            (settings.url.to_string(), settings.api_key.expose().to_owned())
        } else {
            let read = |name: &str| {
                let value = std::env::var(name).ok().filter(|value| !value.trim().is_empty());
                value.with_context(|| format!("no Gate to ask: {name} is not set\n  hint: {hint}"))
            };
            (read("STACKSONA_GATE_URL")?, read("STACKSONA_API_KEY")?)
        };
        let key = ApiKey::foreign(key.trim());
        let key =
            key.map_err(|error| anyhow::anyhow!("STACKSONA_API_KEY is not usable: {error}\n  hint: {hint}"))?;
        Ok(Self { url, key })
    }

    fn approver(self, data: &DataFolder) -> Result<GateApprover> {
        let url = GateUrl::parse(self.url.trim(), PlainHttp::LoopbackOnly).map_err(|error| {
            anyhow::anyhow!("Gate's URL is not usable: {error}\n  hint: {}", error.hint())
        })?;
        let client = GateClient::new(ClientSettings::new(url, self.key))?;
        Ok(GateApprover::new(client, LocalKey::new(&data.key("requests")?)))
    }
}

/// The policy's look-up in the words of the MCP side.
struct Actions(Arc<PolicySet>);

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Actions")
    }
}

impl ToolActions for Actions {
    fn action(&self, server: &ServerName, tool: &str) -> Action {
        match self.0.action_of(server.as_str(), tool) {
            ConfigAction::Pass => Action::Pass,
            ConfigAction::Deny => Action::Deny,
            ConfigAction::Gate => Action::Gate,
        }
    }
}

impl Wiring {
    /// With a configuration.
    pub(crate) async fn configured(config: &Config, data: &DataFolder, address: GateAddress) -> Result<Self> {
        let policy = config.policy(FingerprintKey::new(data.key("fingerprints")?));
        Self::new(policy, config.hold, data, address).await
    }

    /// Without one: Gate is asked about everything.
    pub(crate) async fn everything_gated(
        server: &str,
        data: &DataFolder,
        address: GateAddress,
    ) -> Result<Self> {
        let policy = PolicySet::gate_everything(server, FingerprintKey::new(data.key("fingerprints")?));
        Self::new(policy, HoldSettings::default(), data, address).await
    }

    async fn new(
        policy: PolicySet,
        hold: HoldSettings,
        data: &DataFolder,
        address: GateAddress,
    ) -> Result<Self> {
        let policy = Arc::new(policy);
        let approver = address.approver(data)?;
        let journal = SqliteJournal::open(&data.path().join("journal.db"))
            .await
            .hinted(holdpoint_store_sqlite::OpenError::hint)?;
        let gate = Gate::new(GateParts {
            policy: Arc::clone(&policy) as Arc<dyn holdpoint_core::Policy>,
            approver: Arc::new(approver),
            journal: Arc::new(journal.clone()),
            clock: Arc::new(SystemClock),
            owner: Owner(random::hex::<16>()?.into()),
            limits: HoldLimits {
                patience: hold.patience.unwrap_or(PATIENCE),
                held_max: usize::try_from(hold.held_max.unwrap_or(HELD_MAX))?,
                result_bytes_max: usize::try_from(hold.result_bytes_max.unwrap_or(RESULT_BYTES_MAX))?,
            },
        });
        let pins = Arc::new(PinFolder::open(data)?);
        let patience = hold.patience;
        Ok(Self { gate: Arc::new(gate), actions: Arc::new(Actions(policy)), pins, journal, patience })
    }

    /// What stands before one server.
    pub(crate) fn guard(&self, server: &str) -> Guard {
        Guard {
            server: ServerName::new(server),
            gate: Arc::clone(&self.gate),
            actions: Arc::clone(&self.actions),
            pins: Arc::clone(&self.pins) as Arc<dyn holdpoint_mcp::Pins>,
            default_patience: self.patience,
        }
    }

    /// Waits for the last writes.
    pub(crate) async fn close(self) {
        self.journal.close().await;
    }
}

/// The task of calls that name none: one per run of this process.
pub(crate) fn process_task(server: &str) -> Result<TaskId> {
    Ok(TaskId::new(format!("{server}-{}", random::hex::<6>()?)))
}

/// A configured server's command.
pub(crate) fn child_command(name: &str, settings: &ServerSettings) -> Result<ChildCommand> {
    match settings {
        ServerSettings::Stdio { program, arguments, env, cwd } => {
            let mut command = ChildCommand::new(program, arguments);
            command.environment =
                env.iter().map(|(name, value)| (name.into(), value.expose().into())).collect();
            command.folder.clone_from(cwd);
            Ok(command)
        }
        ServerSettings::Http { .. } => bail!(
            "server `{name}` is reached over HTTP, and `proxy` serves it over stdio\n  hint: run `holdpoint up` and let the \
             client connect to /servers/{name}/mcp",
        ),
    }
}
