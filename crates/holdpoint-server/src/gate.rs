//! Gate without HTTP: what agents ask, what reviewers decide, what operators set.

mod apply;
mod ask;
mod callers;
mod events;
mod feed;
mod people;
mod poll;
mod rate;
mod refusal;
mod repeat;
mod review;
mod setup;

use std::sync::Arc;
use std::time::Duration;

use holdpoint_store::{Store, StoreError};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::apply::{Applied, ApplyError, NewKey};
pub(crate) use self::ask::Asked;
pub use self::people::SignInLink;
pub(crate) use self::people::{SignIn, Visitor};
pub(crate) use self::poll::Wanted;
pub(crate) use self::refusal::Refusal;
pub use self::review::{DecideCommand, ThreadReport, TimelineStart};
use crate::clock::Clock;
use crate::http::Guard;
use crate::options::{Options, OptionsError, PublicUrl, ServerLimits};
use crate::random::NoRandomness;

/// A Gate. Holds no state of its own but caches: several may work on one store.
#[derive(Debug)]
pub struct GateServer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) public: PublicUrl,
    pub(crate) guard: Guard,
    pub(crate) shutdown: CancellationToken,
    setup: setup::SetupCache,
    ephemeral: callers::EphemeralKeys,
    rate: rate::ThreadRate,
    waiters: Semaphore,
    feeds: Semaphore,
    pub(crate) live: Arc<Semaphore>,
    applying: tokio::sync::Mutex<()>,
}

/// Why a Gate could not do what its operator asked.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret could not be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The settings are wrong.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The declaration in force cannot be read.
    #[error("the declaration in force cannot be read by this version")]
    Declaration,
    /// The agent's name is taken.
    #[error("there is an agent `{0}` already")]
    AgentExists(String),
    /// The name is empty or too long.
    #[error("an agent's name has 1 to 256 bytes and no control characters")]
    AgentName,
    /// No such agent.
    #[error("there is no agent `{0}`")]
    NoSuchAgent(String),
    /// No such user.
    #[error("there is no user `{0}`")]
    NoSuchUser(String),
}

impl From<setup::SetupError> for GateError {
    fn from(error: setup::SetupError) -> Self {
        match error {
            setup::SetupError::Store(error) => Self::Store(error),
            setup::SetupError::Unreadable(_) => Self::Declaration,
        }
    }
}

/// The name of the user that is there from the first start.
pub const OPERATOR: &str = "operator";

/// How often what is over is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

impl GateServer {
    /// Sets up a Gate on a store, and its first user if there is none.
    ///
    /// `shutdown` ends what waits: polls are answered with the last state, pages are told to come back.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        options: Options,
        shutdown: CancellationToken,
    ) -> Result<Arc<Self>, GateError> {
        let public = PublicUrl::parse(&options.public_url)?;
        let guard = Guard::new(&public, &options.allowed_hosts)?;
        let ServerLimits { threads_burst, threads_per_minute, waiters_max, feeds_max, live_max, .. } =
            options.limits;
        let gate = Arc::new(Self {
            store,
            clock,
            options,
            public,
            guard,
            shutdown,
            setup: setup::SetupCache::default(),
            ephemeral: callers::EphemeralKeys::default(),
            rate: rate::ThreadRate::new(threads_burst, threads_per_minute),
            waiters: Semaphore::new(waiters_max.min(Semaphore::MAX_PERMITS)),
            feeds: Semaphore::new(feeds_max.min(Semaphore::MAX_PERMITS)),
            live: Arc::new(Semaphore::new(live_max.min(Semaphore::MAX_PERMITS))),
            applying: tokio::sync::Mutex::default(),
        });
        gate.ensure_operator().await?;
        Ok(gate)
    }

    /// Where people look at what waits.
    #[must_use]
    pub fn inbox_url(&self) -> String {
        format!("{}/", self.public.origin)
    }

    /// Expires threads and forgets old sessions until the shutdown. Waiting agents learn of an expiry without it, but
    /// reviewers' pages would not.
    pub async fn run_sweeps(&self) {
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            if let Err(error) = self.sweep().await {
                tracing::error!(%error, "could not expire what is over; trying again");
            }
        }
    }

    /// Expires every thread whose time is up, and forgets sessions and links that are over.
    pub async fn sweep(&self) -> Result<(), GateError> {
        let now = self.now();
        self.store.expire_due(now).await?;
        self.store.forget_expired(now).await?;
        Ok(())
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn setup(&self) -> Result<Arc<setup::Setup>, setup::SetupError> {
        self.setup.current(self.store()).await
    }
}

/// The instant `ttl` after `now`, or the end of time.
fn later(now: Timestamp, ttl: Duration) -> Timestamp {
    now.checked_add(ttl).unwrap_or(Timestamp::MAX)
}
