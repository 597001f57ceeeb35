use crate::{RECORD_BYTES_MAX, verify::Flaw};
use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }

    /// Which file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                "make room on that disk; the next call tries again"
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "let this user write to that folder, or name another data folder; the next call tries again"
            }
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                "put the folder back; a new log is only begun when the process starts"
            }
            // Other people's enum; new kinds of failure get the general advice.
            _ => "look at that folder and its disk; the next call tries again",
        }
    }
}

/// The end of the log is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("the audit log in `{}` is damaged: {flaw}", path.display())]
pub struct DamagedError {
    pub(crate) path: PathBuf,
    pub(crate) flaw: Flaw,
}

/// The log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The end of the log is not what was written.
    #[error(transparent)]
    Damaged(#[from] DamagedError),
    /// What this process wrote is not there any more.
    #[error("the audit log in `{}` is not the one that this process has written to", .0.display())]
    Replaced(PathBuf),
}

impl WriteError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File(error) => error.hint(),
            Self::Damaged(_) => {
                "`holdpoint audit verify` names the line; move the folder away as a whole to begin a new log"
            }
            Self::Replaced(_) => {
                "put the folder back as it was; a new log is only begun when the process starts"
            }
        }
    }
}

/// A log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The key file holds no key.
    #[error("the key file `{}` is damaged", .0.display())]
    KeyDamaged(PathBuf),
    /// There is nothing to make a key of.
    #[error("the operating system gives no randomness to make a key of")]
    Randomness,
    /// The owner's name would need escapes.
    #[error("`{0}` cannot name a process here: 1 to 128 letters, digits, `.`, `_`, `-`")]
    Owner(String),
    /// The system gives no thread to write in.
    #[error("cannot start the audit log's thread")]
    Thread(#[source] io::Error),
}

impl From<FileError> for OpenError {
    fn from(error: FileError) -> Self {
        Self::Write(error.into())
    }
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Write(error) => error.hint(),
            Self::KeyDamaged(_) => {
                "restore it from a backup, or move it away: a new one is made, and checkpoints from then on carry its \
                 public key"
            }
            Self::Randomness => "run it where `getrandom` works",
            Self::Owner(_) => "name the process by hexadecimal digits",
            Self::Thread(_) => "let this user have more threads",
        }
    }
}

/// A record was not written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The log cannot be written.
    #[error("the audit log cannot be written")]
    Write(#[source] Arc<WriteError>),
    /// Too many records wait for the disk, and this one has waited seconds for a place among them.
    #[error("too many records wait to be written to the audit log")]
    Full,
    /// The record is too long.
    #[error("a record of {0} bytes is too long for the audit log, which takes {RECORD_BYTES_MAX}")]
    TooLong(usize),
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
}
