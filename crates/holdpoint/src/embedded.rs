//! Gate inside this process, on a data folder that this process owns.

use crate::{
    clock,
    data::{DataFolder, GateLock, RunningServer},
    hints::Hinted as _,
};
use anyhow::{Context, Result};
use holdpoint_server::{AdminToken, GateServer, Options, router};
use holdpoint_store_sqlite::SqliteStore;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// An opened Gate.
pub(crate) struct EmbeddedGate {
    pub(crate) server: Arc<GateServer>,
    pub(crate) admin_token: String,
    pub(crate) store: SqliteStore,
    /// Before anything else uses the database: the right to do so.
    _lock: GateLock,
}

/// How many reviews one agent may open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    pub(crate) burst: u32,
    pub(crate) per_minute: u32,
}

/// Gate takes its time from here.
#[derive(Debug)]
struct GateClock;

impl holdpoint_server::Clock for GateClock {
    fn now(&self) -> jiff::Timestamp {
        clock::now()
    }
}

impl EmbeddedGate {
    /// Opens Gate's database; `public_url` is where people and agents reach it.
    pub(crate) async fn open(
        data: &DataFolder,
        lock: GateLock,
        public_url: &str,
        flood: Option<Flood>,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let store = SqliteStore::open(&data.database("gate.db")?)
            .await
            .hinted(holdpoint_store_sqlite::OpenError::hint)?;
        let (token, admin_token) = AdminToken::generate()?;
        let url = public_url.parse().with_context(|| format!("`{public_url}` is not a URL"))?;
        let mut options = Options::new(url);
        options.admin_token = Some(token);
        if let Some(Flood { burst, per_minute }) = flood {
            (options.limits.threads_burst, options.limits.threads_per_minute) = (burst, per_minute);
        }
        let server =
            GateServer::open(Arc::new(store.clone()), Arc::new(GateClock), options, shutdown).await?;
        Ok(Self { server, admin_token, store, _lock: lock })
    }

    /// Its pages and API.
    pub(crate) fn router(&self) -> axum::Router {
        router(Arc::clone(&self.server))
    }

    /// Lets the other commands find this process at `url`.
    pub(crate) fn announce(&self, data: &DataFolder, url: &str) -> Result<()> {
        let admin_token = self.admin_token.clone();
        data.announce(&RunningServer { url: url.to_owned(), pid: std::process::id(), admin_token })
    }

    /// Waits for the last writes.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}
