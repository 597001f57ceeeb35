//! The journal of this installation: SQLite in the data folder, or a PostgreSQL that several proxies share.

use crate::{data::DataFolder, hints::Hinted as _, random};
use anyhow::Result;
use holdpoint_config::JournalSettings;
use holdpoint_core::{Journal, Owner};
use holdpoint_store_postgres::PostgresJournal;
use holdpoint_store_sqlite::SqliteJournal;
use std::sync::Arc;

/// An open journal.
#[derive(Clone, Debug)]
pub(crate) enum OpenJournal {
    Sqlite(SqliteJournal),
    Postgres(Box<PostgresJournal>),
}

impl OpenJournal {
    /// As the configuration says.
    pub(crate) async fn open(
        settings: Option<&JournalSettings>,
        data: &DataFolder,
        owner: Owner,
    ) -> Result<Self> {
        if let Some(settings) = settings {
            let journal = PostgresJournal::open(settings.url.expose(), owner).await;
            return Ok(Self::Postgres(Box::new(journal.hinted(holdpoint_store_postgres::OpenError::hint)?)));
        }
        let journal = SqliteJournal::open(&data.database("journal.db")?, owner).await;
        Ok(Self::Sqlite(journal.hinted(holdpoint_store_sqlite::OpenError::hint)?))
    }

    /// The key called `name`, of all processes that know what this journal knows: each that asks gets the same one.
    pub(crate) async fn key(&self, name: &str, data: &DataFolder) -> Result<[u8; 32]> {
        match self {
            Self::Sqlite(_) => data.key(name),
            Self::Postgres(journal) => Ok(journal.key(name, random::bytes()?).await?),
        }
    }

    /// The kernel's port.
    pub(crate) fn port(&self) -> Arc<dyn Journal> {
        match self {
            Self::Sqlite(journal) => Arc::new(journal.clone()),
            Self::Postgres(journal) => Arc::new(PostgresJournal::clone(journal)),
        }
    }

    /// Waits for the last writes.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(journal) => journal.close().await,
            Self::Postgres(journal) => journal.close().await,
        }
    }
}

/// The name of this run of this process.
pub(crate) fn owner() -> Result<Owner> {
    Ok(Owner(random::hex::<16>()?.into()))
}
