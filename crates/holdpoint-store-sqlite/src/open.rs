use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqlitePool};

use crate::OpenError;
use crate::wal::WalWatch;

/// How long a connection waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);

/// Pages that a connection keeps, in KiB below zero. What it has not, the system's own cache has.
const CACHE: &str = "-512";
/// Readers look up single rows.
const CACHE_OF_READERS: &str = "-256";

/// Connections that read while the writer writes.
const READERS: u32 = 2;

/// An opened database: the writer's connection, readers, and the watch on its commits.
pub(crate) struct Database {
    pub(crate) writer: SqliteConnection,
    pub(crate) readers: SqlitePool,
    pub(crate) watch: WalWatch,
}

impl Database {
    /// Opens, creates or migrates the database at `path`.
    ///
    /// On a thread for blocking work: the lock may have to be waited for, and the migrator's future cannot be moved
    /// between threads.
    pub(crate) async fn open(path: &Path, migrator: &'static Migrator) -> Result<Self, OpenError> {
        let (database, ()) = Self::open_with(path, migrator, || Ok(())).await?;
        Ok(database)
    }

    /// Also does `beside`, while no other process opens the database.
    pub(crate) async fn open_with<T: Send + 'static>(
        path: &Path,
        migrator: &'static Migrator,
        beside: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<(Self, T), OpenError> {
        let runtime = tokio::runtime::Handle::current();
        let at = path.to_owned();
        let opening = move || runtime.block_on(Self::open_at(&at, migrator, beside));
        match tokio::task::spawn_blocking(opening).await {
            Ok(opened) => opened,
            Err(error) => Err(OpenError::Other { path: path.to_owned(), source: Box::new(error) }),
        }
    }

    async fn open_at<T>(
        path: &Path,
        migrator: &Migrator,
        beside: impl FnOnce() -> std::io::Result<T>,
    ) -> Result<(Self, T), OpenError> {
        let failed = |error| OpenError::from_sqlx(path.to_owned(), error);
        let not_accessible = |error| OpenError::NotAccessible {
            path: path.to_owned(),
            source: Box::<std::io::Error>::new(error),
        };
        let lock = lock_for_migration(path).map_err(not_accessible)?;
        let mut writer = options(path).connect().await.map_err(failed)?;
        migrate(&mut writer, migrator, path).await?;
        let beside = beside().map_err(not_accessible)?;
        drop(lock);
        refuse_without_wal(&mut writer, path).await?;
        let readers = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options(path).create_if_missing(false).pragma("cache_size", CACHE_OF_READERS))
            .await
            .map_err(failed)?;
        let watch = WalWatch::open(path).map_err(not_accessible)?;
        Ok((Self { writer, readers, watch }, beside))
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .pragma("cache_size", CACHE)
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

/// Two processes that start at once must not both create the tables. The lock goes with the file handle.
fn lock_for_migration(path: &Path) -> std::io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(PathBuf::from(name))?;
    file.lock()?;
    Ok(file)
}

async fn migrate(writer: &mut SqliteConnection, migrator: &Migrator, path: &Path) -> Result<(), OpenError> {
    let path = || path.to_owned();
    match migrator.run(writer).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => {
            let known = migrator.iter().map(|migration| migration.version).max().unwrap_or_default();
            Err(OpenError::NewerSchema { path: path(), found, known })
        }
        Err(MigrateError::Execute(error)) => Err(OpenError::from_sqlx(path(), error)),
        Err(
            error @ (MigrateError::VersionMismatch(_)
            | MigrateError::ExecuteMigration(..)
            | MigrateError::Dirty(_)),
        ) => Err(OpenError::ForeignSchema { path: path(), source: Box::new(error) }),
        Err(error) => Err(OpenError::Other { path: path(), source: Box::new(error) }),
    }
}

async fn refuse_without_wal(writer: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(writer)
        .await
        .map_err(|error| OpenError::from_sqlx(path.to_owned(), error))?;
    if mode.eq_ignore_ascii_case("wal") { Ok(()) } else { Err(OpenError::NoWal { path: path.to_owned() }) }
}
