//! Who is alive: each process that has the journal open holds the lock on a file of its name for as long as it does.
//!
//! The system lets go of the lock when the process ends, however it ends.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use holdpoint_core::{Liveness, Owner};

/// Files of processes that have ended are looked for at each start; at most so many.
const SWEPT_MAX: usize = 1000;

/// A longer name is nobody's: file names are limited.
const OWNER_BYTES_MAX: usize = 100;

/// What the file system says while the process of this name is alive.
#[derive(Debug)]
pub(super) struct Lease {
    owner: Owner,
    folder: PathBuf,
    file: File,
}

impl Lease {
    /// Takes the lock and removes what dead processes left. Only under the lock for migrations: a process must not find a
    /// file that another one has made and not locked yet.
    pub(super) fn take(journal: &Path, owner: Owner) -> io::Result<Self> {
        let folder = journal.parent().unwrap_or(Path::new(".")).join("owners");
        fs::create_dir_all(&folder)?;
        sweep(&folder)?;
        let path = path(&folder, &owner)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, "the owner's name is too long"))?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.try_lock()?;
        Ok(Self { owner, folder, file })
    }

    /// Two calls of the system on a local file; not worth another thread.
    pub(super) fn liveness(&self, owner: &Owner) -> io::Result<Liveness> {
        if *owner == self.owner {
            return Ok(Liveness::Alive);
        }
        let Some(path) = path(&self.folder, owner) else {
            return Ok(Liveness::Gone);
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Liveness::Gone),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Liveness::Gone),
            Err(TryLockError::WouldBlock) => Ok(Liveness::Alive),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// From now on the owner is gone.
    pub(super) fn end(&self) {
        // What is left behind is swept by the next process.
        if let Some(path) = path(&self.folder, &self.owner) {
            let _swept_later = fs::remove_file(path);
        }
        let _ends_with_the_process = self.file.unlock();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end();
    }
}

fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.take(SWEPT_MAX) {
        let path = entry?.path();
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn path(folder: &Path, owner: &Owner) -> Option<PathBuf> {
    let name = owner.0.as_bytes();
    if name.is_empty() || name.len() > OWNER_BYTES_MAX {
        return None;
    }
    let hex = name.iter().fold(String::new(), |mut hex, byte| {
        let _cannot_fail = write!(hex, "{byte:02x}");
        hex
    });
    Some(folder.join(hex))
}
