//! `callers.json`: written whole or not at all, by one at a time, readable by its user only.

use super::KeyRingError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// A larger file is not ours.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Each holds the lock for one small file.
const LOCKED_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const VERSION: u32 = 1;

#[derive(Debug)]
pub(super) struct File {
    folder: PathBuf,
    path: PathBuf,
}

/// One caller, as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) key_sha256: String,
    pub(super) hint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) servers: Option<Vec<String>>,
    pub(super) created_at: Timestamp,
}

/// A field that is not known here may take something away from a caller: such a file is not read.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    callers: Vec<Entry>,
}

impl File {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), path: folder.join("callers.json") }
    }

    pub(super) fn damaged(&self) -> KeyRingError {
        KeyRingError::Damaged(self.path.clone())
    }

    /// Empty if there is none.
    pub(super) fn read(&self) -> Result<Vec<u8>, KeyRingError> {
        let file = match fs::File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(|source| self.io(source))?,
        };
        let metadata = file.metadata().map_err(|source| self.io(source))?;
        if others_may_write(&metadata) {
            return Err(KeyRingError::Open(self.path.clone()));
        }
        let mut bytes = Vec::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|source| self.io(source))?;
        if bytes.is_empty() || bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(self.damaged());
        }
        Ok(bytes)
    }

    /// Nothing: there is no file.
    pub(super) fn parse(&self, bytes: &[u8]) -> Result<Vec<Entry>, KeyRingError> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let written: Written = serde_json::from_slice(bytes).map_err(|_| self.damaged())?;
        if written.version == VERSION { Ok(written.callers) } else { Err(self.damaged()) }
    }

    /// Changes what is written, if `edit` does not say otherwise.
    pub(super) fn change<T>(
        &self,
        edit: impl FnOnce(&mut Vec<Entry>) -> Result<T, KeyRingError>,
    ) -> Result<T, KeyRingError> {
        let _lock = self.lock()?;
        let mut callers = self.parse(&self.read()?)?;
        let edited = edit(&mut callers)?;
        let text = serde_json::to_vec_pretty(&Written { version: VERSION, callers });
        let text = text.map_err(|_| self.damaged())?;
        self.write(&text).map_err(|source| self.io(source))?;
        Ok(edited)
    }

    /// On the disk when it returns: a revocation that a power cut undoes would be none.
    fn write(&self, text: &[u8]) -> io::Result<()> {
        let draft = self.folder.join(".callers.json.draft");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        options.create_new(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        #[cfg(unix)]
        fs::File::open(&self.folder)?.sync_all()?;
        Ok(())
    }

    fn lock(&self) -> Result<fs::File, KeyRingError> {
        let path = self.folder.join("callers.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| KeyRingError::Io { path: path.clone(), source })?;
        let until = Instant::now() + LOCKED_WITHIN;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOOK_AGAIN),
                Err(TryLockError::WouldBlock) => return Err(KeyRingError::Locked(path)),
                Err(TryLockError::Error(source)) => return Err(KeyRingError::Io { path, source }),
            }
        }
    }

    fn io(&self, source: io::Error) -> KeyRingError {
        KeyRingError::Io { path: self.path.clone(), source }
    }
}

#[cfg(unix)]
fn others_may_write(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o022 != 0
}

#[cfg(not(unix))]
fn others_may_write(_: &fs::Metadata) -> bool {
    false
}
