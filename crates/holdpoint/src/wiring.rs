//! From configuration to a guarded tool server: policy, Gate, journal, pins, kernel.

use crate::{
    clock::{self, SystemClock},
    data::DataFolder,
    hints::Hinted as _,
    journals::{self, OpenJournal},
    pins::PinFolder,
    random,
};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use holdpoint_api::ApiKey;
use holdpoint_audit::{AuditKey, AuditLog};
use holdpoint_bridge::{Agent, Bridge, BridgeOptions, BridgeParts, EventRefused, Events};
use holdpoint_client::{
    ClientError, ClientSettings, Excerpts, GateApprover, GateClient, GateUrl, LocalKey, PlainHttp, Timeline,
    TimelineOptions,
};
use holdpoint_config::{
    Action as ConfigAction, AuditSettings, Config, Declined as ConfigDeclined, FingerprintKey, GateSettings,
    HoldSettings, JournalSettings, LivePolicy, PolicySet, ServerCompat, ServerEra, ServerSettings, Sharers,
    TimelineResults, TimelineSettings, WaitMode as ConfigWaitMode, WaitSettings,
};
use holdpoint_core::{
    Approver, Gate, GateParts, HoldLimits, HoldState, Journal, Owner, Recorder, ServerName, Standing, Step,
    TaskId,
};
use holdpoint_mcp::{
    Action, Compat, Declined, Era, Guard, Place, ServerAddress, StateKey, ToolActions, WaitMode, Waits,
    stdio::ChildCommand,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::SignedDuration;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// For callers whose adapter and configuration say nothing.
const PATIENCE: Duration = Duration::from_mins(15);
const HELD_MAX: u32 = 10_000;
const RESULT_BYTES_MAX: u64 = 1024 * 1024;
const RESULT_KEPT: Duration = Duration::from_hours(24);
const FORGET_EVERY_MIN: Duration = Duration::from_secs(1);
const FORGET_EVERY_MAX: Duration = Duration::from_mins(10);
/// Results that one look takes care of.
const RESULTS_MAX: usize = 100_000;
/// For how long, and how many, withdrawn calls are watched for an approval that comes too late.
const WATCHED_FOR: SignedDuration = SignedDuration::from_hours(24);
const WATCHED_MAX: usize = 1_024;
/// What the last events for Gate may take at the end.
const TIMELINE_GRACE: Duration = Duration::from_secs(2);

/// Everything between the servers' adapters and Gate. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Wiring {
    gate: Arc<Gate>,
    actions: Arc<dyn ToolActions>,
    policy: Arc<LivePolicy>,
    fingerprints: [u8; 32],
    pins: Arc<PinFolder>,
    states: StateKey,
    operations: [u8; 32],
    agent: ApiKey,
    owner: Owner,
    port: Arc<dyn Journal>,
    journal: OpenJournal,
    audit: AuditLog,
    timeline: Timeline,
    approver: Arc<GateApprover>,
    chores: CancellationToken,
    held_max: usize,
}

/// Gate's timeline, for events of others.
#[derive(Debug)]
struct GateEvents(Arc<GateApprover>);

#[async_trait]
impl Events for GateEvents {
    async fn post(&self, task: &TaskId, body: Bytes) -> Result<(), EventRefused> {
        let task = holdpoint_api::TaskId::parse(task.as_str());
        let task = task.map_err(|_| EventRefused { status: Some(400) })?;
        let posted = self.0.client().post_event_body(&task, body).await;
        posted.map_err(|error| match error {
            ClientError::Status { status, .. } => EventRefused { status: Some(status) },
            _ => EventRefused { status: None },
        })
    }
}

/// Another way to Gate, for demonstrations.
pub(crate) type Through = fn(Arc<GateApprover>) -> Arc<dyn Approver>;

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

    fn client(self) -> Result<GateClient> {
        let url = GateUrl::parse(self.url.trim(), PlainHttp::LoopbackOnly).map_err(|error| {
            anyhow::anyhow!("Gate's URL is not usable: {error}\n  hint: {}", error.hint())
        })?;
        Ok(GateClient::new(ClientSettings::new(url, self.key))?)
    }
}

/// The policy's look-up in the words of the MCP side.
struct Actions(Arc<LivePolicy>);

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Actions")
    }
}

impl ToolActions for Actions {
    fn action(&self, server: &ServerName, tool: &str) -> Action {
        match self.0.action_of(server.as_str(), tool) {
            ConfigAction::Pass => Action::Pass,
            ConfigAction::PassUnlessWarned => Action::PassUnlessWarned,
            ConfigAction::Once => Action::Once,
            ConfigAction::Deny => Action::Deny,
            ConfigAction::Gate => Action::Gate,
        }
    }

    fn waits(&self, server: &ServerName, tool: &str) -> Waits {
        waits(self.0.waits_of(server.as_str(), tool))
    }

    fn denies(&self, server: &ServerName, method: &str) -> bool {
        self.0.denies_method(server.as_str(), method)
    }

    fn compat(&self, server: &ServerName) -> Compat {
        match self.0.compat_of(server.as_str()) {
            None => Compat::AsStated,
            Some(ServerCompat::CopilotStudio) => Compat::CopilotStudio,
        }
    }
}

/// How calls wait, as the proxy has it.
pub(crate) const fn waits(settings: WaitSettings) -> Waits {
    let WaitSettings { mode, patience, leg, declined } = settings;
    let mode = match mode {
        None | Some(ConfigWaitMode::Auto) => WaitMode::Auto,
        Some(ConfigWaitMode::Hold) => WaitMode::Hold,
        Some(ConfigWaitMode::Legs) => WaitMode::Legs,
        Some(ConfigWaitMode::Task) => WaitMode::Task,
        Some(ConfigWaitMode::Bounded) => WaitMode::Bounded,
    };
    let declined = match declined {
        None | Some(ConfigDeclined::Withdraw) => Declined::Withdraw,
        Some(ConfigDeclined::Leave) => Declined::Leave,
    };
    Waits { mode, patience, leg, declined }
}

/// What a configuration says beside its policy.
struct Terms<'a> {
    hold: HoldSettings,
    journal: Option<&'a JournalSettings>,
    audit: AuditSettings,
    timeline: TimelineSettings,
}

impl Wiring {
    /// With a configuration.
    pub(crate) async fn configured(config: &Config, data: &DataFolder, address: GateAddress) -> Result<Self> {
        Self::configured_through(config, data, address, |approver| approver).await
    }

    /// With a configuration, over another way to Gate.
    pub(crate) async fn configured_through(
        config: &Config,
        data: &DataFolder,
        address: GateAddress,
        through: Through,
    ) -> Result<Self> {
        let terms = Terms {
            hold: config.hold,
            journal: config.journal.as_ref(),
            audit: config.audit,
            timeline: config.timeline,
        };
        Self::new(|key| config.policy(key), terms, data, address, through).await
    }

    /// Without one: Gate is asked about everything.
    pub(crate) async fn everything_gated(
        server: &str,
        data: &DataFolder,
        address: GateAddress,
    ) -> Result<Self> {
        let terms = Terms {
            hold: HoldSettings::default(),
            journal: None,
            audit: AuditSettings::default(),
            timeline: TimelineSettings::default(),
        };
        let policy = |key| PolicySet::gate_everything(server, key);
        Self::new(policy, terms, data, address, |approver| approver).await
    }

    async fn new(
        policy: impl FnOnce(FingerprintKey) -> PolicySet,
        terms: Terms<'_>,
        data: &DataFolder,
        address: GateAddress,
        through: Through,
    ) -> Result<Self> {
        let Terms { hold, journal, audit, timeline } = terms;
        let limits = limits(hold)?;
        let agent = address.key.clone();
        let client = address.client()?;
        let owner = journals::owner()?;
        let journal = OpenJournal::open(journal, data, owner.clone()).await?;
        let fingerprints = journal.key("fingerprints", data).await?;
        let policy = Arc::new(LivePolicy::new(policy(FingerprintKey::new(fingerprints))));
        let requests = LocalKey::new(&journal.key("requests", data).await?);
        let approver = Arc::new(GateApprover::new(client, requests));
        let states = StateKey::new(journal.key("request-states", data).await?);
        let operations = journal.key("operations", data).await?;
        let audit = open_audit(data, audit, owner.clone()).await?;
        let timeline = start_timeline(&approver, &audit, timeline);
        let ports = Ports {
            approver: through(Arc::clone(&approver)),
            journal: journal.port(),
            recorder: Arc::new(timeline.clone()),
        };
        let Ports { approver: port, journal: journal_port, recorder } = ports.mortal()?;
        let withdrawn = journal_port.withdrawn(clock::now() - WATCHED_FOR, WATCHED_MAX).await?;
        timeline.resume(withdrawn);
        let gate = Gate::new(GateParts {
            policy: Arc::clone(&policy) as Arc<dyn holdpoint_core::Policy>,
            approver: port,
            journal: Arc::clone(&journal_port),
            recorder,
            clock: Arc::new(SystemClock),
            owner: owner.clone(),
            limits,
        });
        let chores = CancellationToken::new();
        tokio::spawn(forget_results(Arc::clone(&journal_port), limits.result_kept, chores.clone()));
        Ok(Self {
            gate: Arc::new(gate),
            actions: Arc::new(Actions(Arc::clone(&policy))),
            policy,
            fingerprints,
            pins: Arc::new(PinFolder::open(data)?),
            states,
            operations,
            agent,
            owner,
            port: journal_port,
            journal,
            audit,
            timeline,
            approver,
            chores,
            held_max: limits.held_max,
        })
    }

    /// What stands before one server.
    pub(crate) fn guard(&self, server: &str, settings: &ServerSettings) -> Guard {
        Guard {
            server: ServerName::new(server),
            place: self.place(settings),
            gate: Arc::clone(&self.gate),
            actions: Arc::clone(&self.actions),
            pins: Arc::clone(&self.pins) as Arc<dyn holdpoint_mcp::Pins>,
            states: self.states.clone(),
        }
    }

    fn place(&self, settings: &ServerSettings) -> Place {
        let key = FingerprintKey::new(self.fingerprints);
        // Where it cannot be told, all are in the same one.
        let folder = std::env::current_dir().unwrap_or_default();
        let sharers = match &self.journal {
            OpenJournal::Sqlite(_) => Sharers::ThisInstallation { key: &key, folder: &folder },
            OpenJournal::Postgres(_) => Sharers::Several,
        };
        Place::new(settings.place(sharers))
    }

    /// The bridge, as `options` have it. `serves_agent_api`: it stands in front of a Gate that callers reach no other way.
    pub(crate) fn bridge(
        &self,
        options: BridgeOptions,
        standing: Arc<dyn Standing>,
        serves_agent_api: bool,
    ) -> Bridge {
        let events = Arc::new(GateEvents(Arc::clone(&self.approver)));
        let agent = serves_agent_api.then(|| Agent { key: self.agent.clone(), events });
        Bridge::new(BridgeParts {
            gate: Arc::clone(&self.gate),
            journal: Arc::clone(&self.port),
            clock: Arc::new(SystemClock),
            owner: self.owner.clone(),
            standing: Some(standing),
            agent,
            key: self.operations,
            options,
        })
    }

    /// The kernel.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The key of the agent that this process is at Gate.
    pub(crate) const fn agent_key(&self) -> &ApiKey {
        &self.agent
    }

    /// How many calls of one server may be under way.
    pub(crate) const fn calls_max(&self) -> usize {
        self.held_max
    }

    /// Lets another configuration decide from now on about what a running process can change.
    pub(crate) fn adopt(&self, config: &Config) {
        self.policy.replace(config.policy(FingerprintKey::new(self.fingerprints)));
    }

    /// The way to Gate, for doorbells.
    pub(crate) fn approver(&self) -> &GateApprover {
        &self.approver
    }

    /// Takes no more calls, and tells those that wait for a person so.
    pub(crate) fn stop(&self) {
        self.gate.close();
    }

    /// Waits for the last writes.
    pub(crate) async fn close(self) {
        self.chores.cancel();
        self.timeline.close(TIMELINE_GRACE).await;
        self.journal.close().await;
        self.audit.close().await;
    }
}

/// The kernel's ports to the world.
struct Ports {
    approver: Arc<dyn Approver>,
    journal: Arc<dyn Journal>,
    recorder: Arc<dyn Recorder>,
}

impl Ports {
    /// In debug builds, ports that die where a test says so.
    #[cfg(debug_assertions)]
    fn mortal(self) -> Result<Self> {
        use crate::failpoints::{DieAt, Mortal};
        let Some(die_at) = DieAt::from_env()? else {
            return Ok(self);
        };
        let at = || Arc::clone(&die_at);
        Ok(Self {
            approver: Arc::new(Mortal { die_at: at(), port: self.approver }),
            journal: Arc::new(Mortal { die_at: at(), port: self.journal }),
            recorder: Arc::new(Mortal { die_at: at(), port: self.recorder }),
        })
    }

    #[cfg(not(debug_assertions))]
    fn mortal(self) -> Result<Self> {
        Ok(self)
    }
}

fn limits(hold: HoldSettings) -> Result<HoldLimits> {
    Ok(HoldLimits {
        patience: hold.waits.patience.unwrap_or(PATIENCE),
        held_max: usize::try_from(hold.held_max.unwrap_or(HELD_MAX))?,
        result_bytes_max: usize::try_from(hold.result_bytes_max.unwrap_or(RESULT_BYTES_MAX))?,
        result_kept: hold.result_kept.unwrap_or(RESULT_KEPT),
    })
}

/// Where the audit log of a data folder is.
pub(crate) fn audit_folder(data: &Path) -> PathBuf {
    data.join("audit")
}

/// The audit log of a data folder.
pub(crate) async fn open_audit(data: &DataFolder, settings: AuditSettings, owner: Owner) -> Result<AuditLog> {
    let mut options = holdpoint_audit::Options::new(owner, Arc::new(SystemClock));
    if let Some(bytes) = settings.rotate_bytes {
        options.rotate_bytes = bytes;
    }
    let key = AuditKey::load_or_make(&data.path().join("audit-signing.key"));
    let key = key.hinted(holdpoint_audit::OpenError::hint)?;
    AuditLog::open(&audit_folder(data.path()), key, options).await.hinted(holdpoint_audit::OpenError::hint)
}

/// The audit log first: what it cannot write does not happen. Gate's timeline hears of it after that, and may fail.
fn start_timeline(approver: &Arc<GateApprover>, audit: &AuditLog, settings: TimelineSettings) -> Timeline {
    let excerpts = match settings.results {
        TimelineResults::Excerpt => Excerpts::Told,
        TimelineResults::None => Excerpts::Kept,
    };
    let options = TimelineOptions { excerpts, ..TimelineOptions::default() };
    Timeline::start(Arc::clone(approver), Arc::new(audit.clone()), Arc::new(SystemClock), options)
}

/// Once in a while, results that nobody came back for are forgotten, and tickets that have expired: they may hold what
/// should not lie around.
async fn forget_results(journal: Arc<dyn Journal>, kept: Duration, stop: CancellationToken) {
    let every = kept.clamp(FORGET_EVERY_MIN, FORGET_EVERY_MAX);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let now = clock::now();
        // What a failure leaves is forgotten next time.
        let _later = journal.forget_tickets(now, RESULTS_MAX).await;
        let Ok(held) = journal.live(RESULTS_MAX).await else {
            continue;
        };
        let kept = SignedDuration::try_from(kept).unwrap_or(SignedDuration::MAX);
        for held in held.iter().filter(|held| held.state == HoldState::Done) {
            let ran_at = held.claim.as_ref().map_or(held.opened_at, |(_, at)| *at);
            if now.duration_since(ran_at) > kept {
                // A write that fails is made again next time.
                let _later = journal.advance(held.id, Step::Deliver, now).await;
            }
        }
    }
}

/// The task of calls that name none: one per run of this process.
pub(crate) fn process_task(server: &str) -> Result<TaskId> {
    Ok(TaskId::new(format!("{server}-{}", random::hex::<6>()?)))
}

/// Where a configured server is.
pub(crate) fn server_address(name: &str, settings: &ServerSettings) -> Result<ServerAddress> {
    match settings {
        ServerSettings::Http { url, headers: configured, .. } => {
            let url =
                url.as_str().parse().with_context(|| format!("the URL of server `{name}` is not usable"))?;
            let mut headers = HeaderMap::new();
            for (header, value) in configured {
                let value = HeaderValue::from_str(value.expose());
                // The value is a secret: it is not repeated.
                let mut value = value
                    .ok()
                    .with_context(|| format!("header `{header}` of server `{name}` is not usable"))?;
                value.set_sensitive(true);
                headers.insert(header.parse::<HeaderName>()?, value);
            }
            Ok(ServerAddress::Http { url, headers })
        }
        ServerSettings::Stdio { .. } => child_command(name, settings).map(ServerAddress::from),
    }
}

/// Which era of MCP a configured server speaks.
pub(crate) const fn server_era(settings: &ServerSettings) -> Era {
    match settings {
        ServerSettings::Http { era, .. } | ServerSettings::Stdio { era, .. } => match era {
            ServerEra::Legacy => Era::Legacy,
            ServerEra::Modern => Era::Modern,
            ServerEra::Auto => Era::Auto,
        },
    }
}

/// A configured server's command.
pub(crate) fn child_command(name: &str, settings: &ServerSettings) -> Result<ChildCommand> {
    match settings {
        ServerSettings::Stdio { program, arguments, env, cwd, .. } => {
            let mut command = ChildCommand::new(program, arguments);
            command.environment =
                env.iter().map(|(name, value)| (name.into(), value.expose().into())).collect();
            command.folder.clone_from(cwd);
            Ok(command)
        }
        ServerSettings::Http { .. } => bail!("server `{name}` is not started by a command"),
    }
}
