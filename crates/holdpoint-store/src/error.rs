/// Why the store could not answer. None of these says whether a write happened before it failed, except
/// [`StoreError::Overloaded`]: that one wrote nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too many writes are waiting; nothing was written. Answer 503 and let the caller come back.
    #[error("the store has too many writes waiting")]
    Overloaded,
    /// The store was shut down; nothing was written.
    #[error("the store is closed")]
    Closed,
    /// The database refused or failed.
    #[error("the database could not {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said, shared by every write of the failed commit.
        source: std::sync::Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A row holds what no version of this program writes.
    #[error("table `{table}`, row `{row}`: {reason}")]
    ImpossibleRow {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// What does not fit.
        reason: &'static str,
    },
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Overloaded => "the disk is slower than the requests come in; try again in a moment",
            Self::Closed => "the server is shutting down; try again once it is back",
            Self::Database { .. } => {
                "look at free space and permissions of the data folder, then at its file system"
            }
            Self::ImpossibleRow { .. } => "something else wrote to the database; restore it from a backup",
        }
    }
}
