//! Sessions with the server, each with a limit on everything that can last.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Postgres};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::OpenError;
use crate::error::Failure;

/// Sessions of one process, beside the one that shows that it is alive.
const SESSIONS_MAX: u32 = 8;

/// For a session: a free one, or a new one.
const SESSION_WITHIN: Duration = Duration::from_secs(5);

/// For an answer. Longer than the server's own limits, so that it is mostly the server that gives up, and says so.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(6);

/// The server's limits, and what it has to promise. Keepalives end the sessions of a machine that is gone, and with them its
/// locks, in half a minute.
const SETTINGS: [(&str, &str); 6] = [
    ("statement_timeout", "4s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// A session that was idle for longer is tried before it is used; the server may have been started again.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// For the schema to be made or brought up to date, by us or by a process that starts at the same time.
const MIGRATED_WITHIN: Duration = Duration::from_mins(1);

/// Which database, without who uses it and how they prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    host: String,
    port: u16,
    database: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` on {}:{}", self.database, self.host, self.port)
    }
}

/// One database, and how to reach it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) place: Place,
    options: PgConnectOptions,
    sessions: PgPool,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Server {
    /// Reaches the database, and creates or migrates its schema.
    pub(crate) async fn open(url: &str, migrator: &'static Migrator) -> Result<Self, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(OpenError::NotAUrl { reason: "it does not begin with `postgres://`".to_owned() });
        }
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| OpenError::NotAUrl { reason: without_input(&error) })?
            .application_name("holdpoint")
            .options(SETTINGS)
            .disable_statement_logging();
        let place = Place {
            host: options.get_host().to_owned(),
            port: options.get_port(),
            database: options.get_database().unwrap_or(options.get_username()).to_owned(),
        };
        migrate(&options, migrator, &place).await?;
        let sessions = PgPoolOptions::new()
            .min_connections(1)
            .max_connections(SESSIONS_MAX)
            .acquire_timeout(SESSION_WITHIN)
            .test_before_acquire(false)
            .before_acquire(|session, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_FOR {
                        session.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|session, _| Box::pin(promise_durability(session)))
            .connect_with(options.clone())
            .await
            .map_err(|error| OpenError::NotReachable { place: place.clone(), source: Box::new(error) })?;
        Ok(Self { place, options, sessions })
    }

    /// A session for one operation.
    pub(crate) async fn session(&self) -> Result<Session, Failure> {
        self.sessions.acquire().await.map(Session).map_err(Failure::NotReachable)
    }

    /// A session of its own, beside the others.
    pub(crate) async fn connect(&self) -> Result<PgConnection, Failure> {
        match timeout(SESSION_WITHIN, self.options.connect()).await {
            Ok(connected) => connected.map_err(Failure::NotReachable),
            Err(_elapsed) => Err(Failure::NoAnswer),
        }
    }

    pub(crate) async fn close(&self) {
        self.sessions.close().await;
    }
}

/// A session that one operation uses.
pub(crate) struct Session(PoolConnection<Postgres>);

impl Session {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// What the operation came to. A session that still owes an answer is not used again.
    pub(crate) fn heard<T>(self, answer: Result<Result<T, Failure>, Elapsed>) -> Result<T, Failure> {
        answer.unwrap_or_else(|_| {
            drop(self.0.detach());
            Err(Failure::NoAnswer)
        })
    }
}

/// Commits wait for the disk. What waits for more is left alone.
async fn promise_durability(session: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT set_config('synchronous_commit', 'on', false) AS set
        WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
    )
    .fetch_optional(session)
    .await?;
    Ok(())
}

async fn migrate(
    options: &PgConnectOptions,
    migrator: &'static Migrator,
    place: &Place,
) -> Result<(), OpenError> {
    let unreachable = |source| OpenError::NotReachable { place: place.clone(), source };
    let mut session = match timeout(SESSION_WITHIN, options.connect()).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return Err(unreachable(Box::new(error))),
        Err(elapsed) => return Err(unreachable(Box::new(elapsed))),
    };
    warn_if_not_durable(&mut session, place).await.map_err(|error| unreachable(Box::new(error)))?;
    // Several processes may start at once, and each waits for the one before.
    let runtime = tokio::runtime::Handle::current();
    let migrating = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            let patient = "SET lock_timeout = 0; SET statement_timeout = 0";
            sqlx::raw_sql(patient).execute(&mut session).await?;
            let done = migrator.run(&mut session).await;
            let _closed_by_the_server_then = session.close().await;
            done
        })
    });
    let place = || place.clone();
    match timeout(MIGRATED_WITHIN, migrating).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(MigrateError::VersionMissing(found)))) => {
            let known = migrator.iter().map(|migration| migration.version).max().unwrap_or_default();
            Err(OpenError::NewerSchema { place: place(), found, known })
        }
        Ok(Ok(Err(
            error @ (MigrateError::VersionMismatch(_)
            | MigrateError::ExecuteMigration(..)
            | MigrateError::Dirty(_)),
        ))) => Err(OpenError::ForeignSchema { place: place(), source: Box::new(error) }),
        Ok(Ok(Err(error))) => Err(OpenError::Other { place: place(), source: Box::new(error) }),
        Ok(Err(error)) => Err(OpenError::Other { place: place(), source: Box::new(error) }),
        Err(elapsed) => Err(OpenError::Other { place: place(), source: Box::new(elapsed) }),
    }
}

async fn warn_if_not_durable(session: &mut PgConnection, place: &Place) -> Result<(), sqlx::Error> {
    let fsync =
        sqlx::query_scalar!(r#"SELECT current_setting('fsync') AS "fsync!""#).fetch_one(session).await?;
    if fsync == "off" {
        tracing::warn!(%place, "the database has `fsync = off`: a power cut may forget that a call ran");
    }
    Ok(())
}

/// What is wrong with an address, without the address.
fn without_input(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(_) => "a part of it cannot be read".to_owned(),
        _ => "it cannot be read".to_owned(),
    }
}
