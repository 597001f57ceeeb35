//! The middleware's journal.
//!
//! Any number of processes may share the file. Each step is one conditional statement, so of any number that try the
//! same step one makes it. What a call finds comes from an index in memory, as long as the WAL index says that nobody
//! committed since it was brought up to date.

mod effects;
mod index;
mod lease;
mod operations;
mod rows;
mod steps;
mod tickets;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdpoint_core::{
    EffectId, EffectKey, EffectRun, Found, HeldCall, HoldId, Identity, Journal, JournalError, Liveness,
    Moved, NewEffect, NewHold, Opened, Owner, ServerName, Settled, Step, Taken, TaskId,
};
use holdpoint_store::StoreError;
use jiff::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::{Sqlite, SqlitePool};

use self::index::{IndexMirror, Shared};
use self::lease::Lease;
use crate::OpenError;
use crate::error::WriteError;
use crate::open::Database;
use crate::writer::{Answer, Transaction, Writer, reading};

/// For the writer to look what others committed. It may be waiting for one of them.
const LOOK_WITHIN: Duration = Duration::from_millis(20);

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/journal");

/// The journal in one SQLite file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteJournal {
    writer: Writer<IndexMirror>,
    readers: SqlitePool,
    shared: Arc<Shared>,
    lease: Arc<Lease>,
}

impl SqliteJournal {
    /// Opens, creates or migrates the journal at `path`, whose folder exists, for the process `owner`. The writer lives on
    /// the running tokio runtime.
    pub async fn open(path: &Path, owner: Owner) -> Result<Self, OpenError> {
        let lease = {
            let path = path.to_owned();
            move || Lease::take(&path, owner)
        };
        let (Database { writer, readers, watch }, lease) =
            Database::open_with(path, &MIGRATIONS, lease).await?;
        let (shared, lease) = (Arc::new(Shared::new(watch)), Arc::new(lease));
        let writer = Writer::start(writer, Arc::clone(&shared), IndexMirror::new(Arc::clone(&shared)));
        let journal = Self { writer, readers, shared, lease };
        journal
            .writer
            .one(|_| Box::pin(async { Ok(()) }))
            .await
            .map_err(|error| OpenError::Other { path: path.to_owned(), source: Box::new(error) })?;
        Ok(journal)
    }

    /// Waits until every write that was asked for is committed, then closes the database. From then on the owner is gone.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
        self.lease.end();
    }

    /// A transaction that reads one state of the database.
    async fn reading(&self) -> Result<sqlx::Transaction<'static, Sqlite>, JournalError> {
        self.readers.begin().await.map_err(reading).map_err(refused)
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn find(&self, identity: &Identity, task: &TaskId) -> Result<Found, JournalError> {
        if let Some(found) = self.shared.find(identity, task) {
            return Ok(found);
        }
        // Somebody committed. All calls that see it wait for one look at what; each by itself, they would wait for each other at
        // the readers, and those that come later overtake them.
        self.writer.look(LOOK_WITHIN).await;
        if let Some(found) = self.shared.find(identity, task) {
            return Ok(found);
        }
        // The writer is busy, or others commit faster than that. In a box: few calls come here.
        let in_the_file =
            async { rows::find(&mut *self.reading().await?, identity, task).await.map_err(unread) };
        Box::pin(in_the_file).await
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
        let moved = match &step {
            Step::Claim { .. } | Step::End { .. } | Step::Deliver | Step::TakeUp { .. } => {
                self.writer.one(advancing(id, step, at)).await
            }
            // With its effect.
            Step::Dispatch { .. } | Step::Finish { .. } | Step::Lose | Step::Resolve(_) => {
                self.writer.many(advancing(id, step, at)).await
            }
        };
        moved.map_err(refused)
    }

    async fn get(&self, id: HoldId) -> Result<Option<HeldCall>, JournalError> {
        rows::get(&self.readers, id).await.map_err(refused)
    }

    async fn live(&self, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        rows::live(&self.readers, limit).await.map_err(refused)
    }

    async fn withdrawn(&self, since: Timestamp, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        rows::withdrawn(&self.readers, since, limit).await.map_err(refused)
    }

    async fn effect(&self, server: &ServerName, key: &EffectKey) -> Result<Option<EffectRun>, JournalError> {
        let mut reader = self.readers.acquire().await.map_err(reading).map_err(refused)?;
        effects::had_by(&mut reader, server, key).await.map_err(unread)
    }

    async fn take_effect(&self, new: NewEffect) -> Result<Taken, JournalError> {
        // The write lock is held from the look to the insert.
        self.writer
            .one(move |transaction| Box::pin(effects::take(&mut transaction.connection, new)))
            .await
            .map_err(refused)
    }

    async fn settle(&self, id: EffectId, settled: Settled, at: Timestamp) -> Result<Moved, JournalError> {
        self.writer
            .many(move |transaction| {
                Box::pin(async move {
                    let moved = effects::settle(&mut transaction.connection, id, settled, at).await?;
                    transaction.mirror.changed();
                    Ok(moved)
                })
            })
            .await
            .map_err(refused)
    }

    async fn effects(&self, limit: usize) -> Result<Vec<EffectRun>, JournalError> {
        effects::all(&self.readers, limit).await.map_err(refused)
    }

    async fn liveness(&self, owner: &Owner) -> Result<Liveness, JournalError> {
        self.lease.liveness(owner).map_err(|error| JournalError(Box::new(error)))
    }
}

fn advancing(
    id: HoldId,
    step: Step,
    at: Timestamp,
) -> impl for<'t> FnOnce(&'t mut Transaction<IndexMirror>) -> Answer<'t, Moved> + Send + 'static {
    move |transaction| {
        Box::pin(async move {
            let moved = steps::advance(&mut transaction.connection, id, step, at).await?;
            if moved == Moved::Yes {
                transaction.mirror.changed();
            }
            Ok(moved)
        })
    }
}

fn refused(error: StoreError) -> JournalError {
    JournalError(Box::new(error))
}

fn unread(error: WriteError) -> JournalError {
    refused(match error {
        WriteError::Refused(error) => error,
        WriteError::Fatal(error) => reading(error),
    })
}
