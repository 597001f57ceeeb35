//! The middleware's journal.
//!
//! Any number of processes may share the file. Each step is one conditional statement, so of any number that try the
//! same step one makes it. What a call finds comes from an index in memory, as long as the WAL index says that nobody
//! committed since it was brought up to date.

mod index;
mod rows;
mod steps;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use holdpoint_core::{
    Found, HeldCall, HoldId, Identity, Journal, JournalError, Moved, NewHold, Opened, Step,
};
use holdpoint_store::StoreError;
use jiff::Timestamp;
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;

use self::index::{IndexMirror, Shared};
use crate::OpenError;
use crate::open::Database;
use crate::writer::Writer;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/journal");

/// The journal in one SQLite file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteJournal {
    writer: Writer<IndexMirror>,
    readers: SqlitePool,
    shared: Arc<Shared>,
}

impl SqliteJournal {
    /// Opens, creates or migrates the journal at `path`, whose folder exists. The writer lives on the running tokio
    /// runtime.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let Database { writer, readers, watch } = Database::open(path, &MIGRATIONS).await?;
        let shared = Arc::new(Shared::new(watch));
        let writer = Writer::start(writer, Arc::clone(&shared), IndexMirror::new(Arc::clone(&shared)));
        let journal = Self { writer, readers, shared };
        journal
            .writer
            .one(|_| Box::pin(async { Ok(()) }))
            .await
            .map_err(|error| OpenError::Other { path: path.to_owned(), source: Box::new(error) })?;
        Ok(journal)
    }

    /// Waits until every write that was asked for is committed, then closes the database.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn find(&self, identity: &Identity) -> Result<Found, JournalError> {
        if let Some(found) = self.shared.find(identity) {
            return Ok(found);
        }
        // Somebody committed. The next call finds the index up to date.
        self.writer.nudge();
        rows::find(&self.readers, identity).await.map_err(refused)
    }

    async fn open(&self, new: NewHold) -> Result<Opened, JournalError> {
        self.writer
            .one(move |transaction| {
                Box::pin(async move {
                    let opened = steps::open(&mut transaction.connection, new).await?;
                    if matches!(opened, Opened::Mine(_)) {
                        transaction.mirror.changed();
                    }
                    Ok(opened)
                })
            })
            .await
            .map_err(refused)
    }

    async fn advance(&self, id: HoldId, step: Step, at: Timestamp) -> Result<Moved, JournalError> {
        self.writer
            .one(move |transaction| {
                Box::pin(async move {
                    let moved = steps::advance(&mut transaction.connection, id, step, at).await?;
                    if moved == Moved::Yes {
                        transaction.mirror.changed();
                    }
                    Ok(moved)
                })
            })
            .await
            .map_err(refused)
    }

    async fn get(&self, id: HoldId) -> Result<Option<HeldCall>, JournalError> {
        rows::get(&self.readers, id).await.map_err(refused)
    }

    async fn live(&self, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        rows::live(&self.readers, limit).await.map_err(refused)
    }
}

fn refused(error: StoreError) -> JournalError {
    JournalError(Box::new(error))
}
