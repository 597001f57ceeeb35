//! Notices commits, whoever made them, without asking the database.
//!
//! The first 96 bytes of the `-shm` file are two copies of the WAL index header. Every commit changes them, in every
//! process, before its writer is told that it committed. So a copy of the header names one state of the database: while
//! the file still holds the same bytes, whatever was loaded in that state is still true.

use std::fs::File;
use std::path::{Path, PathBuf};

/// Two copies; a reader that finds them different came in the middle of a commit.
const COPY_BYTES: usize = 48;

/// Where `iChange` stands, which each commit raises by one.
const CHANGE_AT: usize = 8;

/// One state of the database, as the WAL index names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalState([u8; COPY_BYTES]);

impl WalState {
    /// Whether `self` is `before` with exactly one commit on top: the one just made, if the write lock was held in
    /// between.
    fn is_next_after(&self, before: &Self) -> bool {
        self.change() == before.change().wrapping_add(1)
    }

    fn change(&self) -> u32 {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(self.0.iter().skip(CHANGE_AT)) {
            *to = *from;
        }
        u32::from_ne_bytes(bytes)
    }
}

/// What a transaction that held the write lock did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It committed changes.
    OneCommit,
    /// It committed, and there was nothing to commit.
    Nothing,
    /// One or the other.
    CannotTell,
}

/// Names the state a commit of ours left. Nobody else can have committed between `before`, seen under the write lock,
/// and our commit. Somebody can have committed between it and `after`: then `after` is theirs, and not known to us.
pub(crate) fn state_after_commit(
    before: Option<WalState>,
    written: Written,
    after: Option<WalState>,
) -> Option<WalState> {
    let (before, after) = (before?, after?);
    let ours = match written {
        Written::OneCommit => after.is_next_after(&before),
        Written::Nothing => after == before,
        Written::CannotTell => false,
    };
    ours.then_some(after)
}

/// The `-shm` file of one database.
#[derive(Debug)]
pub(crate) struct WalWatch {
    index: File,
}

impl WalWatch {
    /// Opens the index of a database that a connection of this process has open, and keeps open: while it does, the
    /// file is neither removed nor replaced.
    pub(crate) fn open(database: &Path) -> std::io::Result<Self> {
        let mut name = database.as_os_str().to_owned();
        name.push("-shm");
        Ok(Self { index: File::open(PathBuf::from(name))? })
    }

    /// The state now, or `None` when it cannot be told: take it for a change.
    pub(crate) fn state(&self) -> Option<WalState> {
        let mut header = [0; 2 * COPY_BYTES];
        read_start(&self.index, &mut header).ok()?;
        let (first, second) = header.split_at(COPY_BYTES);
        if first != second {
            return None;
        }
        first.try_into().ok().map(WalState)
    }
}

#[cfg(unix)]
fn read_start(file: &File, bytes: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, 0)
}

/// Elsewhere the index may be locked while it is mapped; every look counts as a change.
#[cfg(not(unix))]
fn read_start(_: &File, _: &mut [u8]) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
