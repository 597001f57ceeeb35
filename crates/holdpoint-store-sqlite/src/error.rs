use std::path::PathBuf;
use std::sync::Arc;

use holdpoint_store::StoreError;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or file cannot be read or written.
    #[error("`{path}` cannot be opened for reading and writing")]
    NotAccessible {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is no SQLite database, or is damaged.
    #[error("`{path}` is not a database, or is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer version of this program wrote it.
    #[error("`{path}` was written by a newer version (schema {found}, this version knows {known})")]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// It is a database, but not one this program made, or its schema was changed by hand.
    #[error("`{path}` holds another schema than this version made")]
    ForeignSchema {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system cannot do what durability needs.
    #[error("`{path}` lies on a file system without shared memory (WAL mode was refused)")]
    NoWal {
        /// The file.
        path: PathBuf,
    },
    /// Anything else the database said.
    #[error("`{path}` could not be opened")]
    Other {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotAccessible { .. } => {
                "choose a data folder this user may write to, or fix the permissions of this one"
            }
            Self::Damaged { .. } => "restore it from a backup, or move it away to start empty",
            Self::NewerSchema { .. } => "use the version that wrote it, or a newer one; nothing was changed",
            Self::ForeignSchema { .. } => "choose another data folder, or restore this one from a backup",
            Self::NoWal { .. } => "choose a data folder on a local disk; network file systems will not do",
            Self::Other { .. } => {
                "look at the data folder: free space, permissions, other programs that use it"
            }
        }
    }

    pub(crate) fn from_sqlx(path: PathBuf, error: sqlx::Error) -> Self {
        let code = primary_code(&error);
        let source = Box::new(error);
        match code {
            // READONLY, IOERR, CANTOPEN, PERM, FULL
            Some(8 | 10 | 14 | 3 | 13) => Self::NotAccessible { path, source },
            // CORRUPT, NOTADB
            Some(11 | 26) => Self::Damaged { path, source },
            Some(_) | None => Self::Other { path, source },
        }
    }
}

/// Why one job of a batch failed.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Only this job: what it wrote is rolled back, the others go on.
    Refused(StoreError),
    /// The database itself: nothing of the batch is committed.
    Fatal(sqlx::Error),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        if primary_code(&error) == Some(SQLITE_CONSTRAINT) {
            Self::Refused(database("keep a rule of the schema", error))
        } else {
            Self::Fatal(error)
        }
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

const SQLITE_CONSTRAINT: i64 = 19;

pub(crate) fn database(doing: &'static str, error: sqlx::Error) -> StoreError {
    StoreError::Database { doing, source: Arc::new(error) }
}

/// SQLite's code without its extension.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<i64> {
    match error {
        sqlx::Error::Database(error) => error.code()?.parse::<i64>().ok().map(|code| code & 0xff),
        _ => None,
    }
}
