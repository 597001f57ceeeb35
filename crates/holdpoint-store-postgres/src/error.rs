use crate::server::Place;

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is none.
    #[error("the address of the database is not a PostgreSQL URL")]
    NotAUrl {
        /// What is wrong with it; never the address itself, which may hold a password.
        reason: String,
    },
    /// Nobody answers there, or not to us.
    #[error("the database {place} cannot be reached")]
    NotReachable {
        /// Which.
        place: Place,
        /// What was said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the journal in {place} was written by a newer version (schema {found}, this version knows {known})"
    )]
    NewerSchema {
        /// Which.
        place: Place,
        /// The schema found.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// There is a schema `holdpoint`, but not one this program made, or it was changed by hand.
    #[error("the schema `holdpoint` in {place} is not the one this version made")]
    ForeignSchema {
        /// Which.
        place: Place,
        /// What does not fit.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process that is alive has the name of this one.
    #[error("another process uses the journal in {place} under the name of this one")]
    OwnerInUse {
        /// Which.
        place: Place,
    },
    /// Anything else the database said.
    #[error("the journal in {place} could not be opened")]
    Other {
        /// Which.
        place: Place,
        /// What the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotAUrl { .. } => {
                "write it as postgres://user:password@host:5432/database?sslmode=verify-full"
            }
            Self::NotReachable { .. } => {
                "look at host, port, user and password, at the server's pg_hba.conf, and at `sslmode`"
            }
            Self::NewerSchema { .. } => "use the version that wrote it, or a newer one; nothing was changed",
            Self::ForeignSchema { .. } => "choose another database, or restore this one from a backup",
            Self::OwnerInUse { .. } => "start again: each start takes a new name",
            Self::Other { .. } => {
                "look at the server's log; the user needs to be allowed to create a schema and tables"
            }
        }
    }
}

/// Why one operation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What came of it is not known, unless the database itself refused it.
    #[error("the database could not {doing}")]
    Database { doing: &'static str, source: sqlx::Error },
    /// What came of it is not known.
    #[error("the database did not answer in time")]
    NoAnswer,
    #[error("the database cannot be reached")]
    NotReachable(#[source] sqlx::Error),
    #[error("table `{table}`, row {row}: {reason}")]
    ImpossibleRow { table: &'static str, row: i64, reason: &'static str },
    /// Nothing was written.
    #[error("others were faster too often")]
    Overtaken,
}

impl From<sqlx::Error> for Failure {
    fn from(source: sqlx::Error) -> Self {
        Self::Database { doing: "read or write the journal", source }
    }
}
