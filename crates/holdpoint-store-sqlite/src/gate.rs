//! Gate's state.

mod agents;
mod decide;
mod directory;
mod log;
mod people;
mod revise;
mod rows;
mod threads;
mod tokens;

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use holdpoint_store::{Bell, Store, StoreError};
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;

use self::directory::{Directory, Shared};
use crate::OpenError;
use crate::open::Database;
use crate::wal::WalWatch;
use crate::writer::{Nudge, Writer};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/gate");

/// How soon a commit of another process is noticed by those who wait for one.
const FOREIGN_COMMITS_SEEN_WITHIN: Duration = Duration::from_millis(25);

/// Gate's state in one SQLite file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: Writer<Directory>,
    readers: SqlitePool,
    shared: Arc<Shared>,
}

impl SqliteStore {
    /// Opens, creates or migrates the database at `path`, whose folder exists. Needs a multi-threaded or at least a
    /// running tokio runtime, on which the writer lives.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let Database { writer, readers, watch } = Database::open(path, &MIGRATIONS).await?;
        let shared = Arc::new(Shared::new(watch));
        let writer = Writer::start(writer, Arc::clone(&shared), Directory::new(Arc::clone(&shared)));
        let store = Self { writer, readers, shared };
        store
            .refresh()
            .await
            .map_err(|error| OpenError::Other { path: path.to_owned(), source: Box::new(error) })?;
        store
            .watch_other_processes()
            .map_err(|error| OpenError::Other { path: path.to_owned(), source: Box::new(error) })?;
        Ok(store)
    }

    /// Waits until every write that was asked for is committed, then closes the database.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    /// Loads the directory, if it is not up to date.
    async fn refresh(&self) -> Result<(), StoreError> {
        self.writer.one(|_| Box::pin(async { Ok(()) })).await
    }

    /// Rings the bell for what other processes commit. A thread of its own, so that a test that stops tokio's clock
    /// does not stop it.
    fn watch_other_processes(&self) -> std::io::Result<()> {
        let shared: Weak<Shared> = Arc::downgrade(&self.shared);
        let writer = self.writer.downgrade();
        std::thread::Builder::new().name("gate-wal-watch".to_owned()).spawn(move || {
            loop {
                std::thread::sleep(FOREIGN_COMMITS_SEEN_WITHIN);
                let Some(shared) = shared.upgrade() else { return };
                if !shared.is_current() && writer.nudge() == Nudge::Closed {
                    return;
                }
            }
        })?;
        Ok(())
    }
}

impl Store for SqliteStore {
    fn bell(&self) -> &Bell {
        &self.shared.bell
    }
}

impl AsRef<WalWatch> for Shared {
    fn as_ref(&self) -> &WalWatch {
        &self.watch
    }
}
