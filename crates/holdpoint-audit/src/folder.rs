//! The files of one log.

use crate::{
    DamagedError, FileError, Hash, WriteError,
    line::{self, END_BYTES, LINE_BYTES_MAX, Record},
    verify::Flaw,
};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

pub(crate) const CURRENT: &str = "current.jsonl";
pub(crate) const PUBLIC_KEY: &str = "public-key.pem";
const LOCK: &str = "lock";
/// For the lock. Whoever holds it writes a few lines; a process that was stopped in the middle must not stop all others.
const LOCKED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A log's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// Held while this lives.
#[derive(Debug)]
pub(crate) struct Locked(Arc<LockFile>);

/// A file that is open, and which one it is.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    id: FileId,
}

/// Which file it is, whatever its name; `None`: the system does not say.
type FileId = Option<(u64, u64)>;

/// The file that is appended to.
#[derive(Debug)]
pub(crate) struct Current {
    file: File,
    path: PathBuf,
    id: FileId,
    pub(crate) bytes: u64,
}

/// What a crash left of a line.
#[derive(Debug)]
pub(crate) struct Torn {
    pub(crate) file: String,
    pub(crate) content: Vec<u8>,
}

/// The name of a full file.
pub(crate) fn full_name(number: u32) -> String {
    format!("audit-{number:06}.jsonl")
}

/// The name for what a crash left where the record `seq` belongs.
pub(crate) fn torn_name(seq: u64) -> String {
    format!("torn-{seq:012}.bin")
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder if it is missing; only this user may look inside.
    pub(crate) fn make(&self) -> Result<(), FileError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.0).map_err(FileError::new("create the folder", &self.0))
    }

    /// Waits until nobody else appends. Each holds it for one write to the disk.
    pub(crate) fn lock(&self) -> Result<Locked, FileError> {
        self.lock_again(&mut None)
    }

    /// The same, with the file of the last time, if that is still the lock.
    pub(crate) fn lock_again(&self, kept: &mut Option<Arc<LockFile>>) -> Result<Locked, FileError> {
        let path = self.0.join(LOCK);
        let open = || {
            let mut options = OpenOptions::new();
            let file = options.create(true).truncate(false).write(true).open(&path)?;
            Ok(Arc::new(LockFile { id: id_of(&file.metadata()?), file }))
        };
        let still = kept.take().filter(|kept| identify(&path).is_some_and(|(id, _)| id == kept.id));
        let file = still.map_or_else(open, Ok);
        let file = file.and_then(|file| within(|| file.file.try_lock()).map(|()| file));
        let file = file.map_err(FileError::new("lock", &path))?;
        *kept = Some(Arc::clone(&file));
        Ok(Locked(file))
    }

    /// The same, for readers, who may be looking at a copy without a lock.
    pub(crate) fn lock_for_reading(&self) -> Result<Option<Locked>, FileError> {
        let path = self.0.join(LOCK);
        match File::open(&path).and_then(|file| within(|| file.try_lock_shared()).map(|()| file)) {
            Ok(file) => Ok(Some(Locked(Arc::new(LockFile { file, id: None })))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::new("lock", &path)(error)),
        }
    }

    /// The numbers of the full files, in order.
    pub(crate) fn full_files(&self) -> Result<Vec<u32>, FileError> {
        let mut numbers: Vec<u32> = self.names()?.iter().filter_map(|name| full_number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) fn names(&self) -> Result<Vec<String>, FileError> {
        let list = || -> io::Result<Vec<String>> {
            let names = fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name()));
            let names: io::Result<Vec<_>> = names.collect();
            Ok(names?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
        };
        list().map_err(FileError::new("list", &self.0))
    }

    /// The file that is appended to; `None`: there is none.
    pub(crate) fn current(&self) -> Result<Option<Current>, FileError> {
        self.open(OpenOptions::new().read(true).append(true))
    }

    /// The same, for readers: only what is there now.
    pub(crate) fn current_for_reading(&self) -> Result<Option<(File, u64)>, FileError> {
        let current = self.open(OpenOptions::new().read(true))?;
        Ok(current.map(|current| (current.file, current.bytes)))
    }

    /// Makes the file that is appended to.
    pub(crate) fn begin(&self) -> Result<Current, FileError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let missing = || io::Error::from(ErrorKind::NotFound);
        let current = self.open(&options)?;
        current.ok_or_else(|| FileError::new("create", &self.0.join(CURRENT))(missing()))
    }

    fn open(&self, options: &OpenOptions) -> Result<Option<Current>, FileError> {
        let path = self.0.join(CURRENT);
        let opened = options.open(&path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((is, file)) => Ok(Some(Current { file, path, id: id_of(&is), bytes: is.len() })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::new("open", &path)(error)),
        }
    }

    /// First and last record of a full file.
    pub(crate) fn ends_of(&self, number: u32) -> Result<(Record, Record), WriteError> {
        let path = self.0.join(full_name(number));
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(FileError::new("open", &path))?;
        Current { file, path, id: None, bytes }.ends()
    }

    /// Makes the current file a full one.
    pub(crate) fn retire_current(&self, number: u32) -> Result<(), FileError> {
        let from = self.0.join(CURRENT);
        fs::rename(&from, self.0.join(full_name(number))).map_err(FileError::new("rename", &from))?;
        self.sync()
    }

    /// Makes what was created or renamed in the folder durable.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        let synced = File::open(&self.0).and_then(|folder| folder.sync_all());
        synced.map_err(FileError::new("write to", &self.0))
    }

    /// What a crash left of the record `seq`, if it was moved aside already.
    pub(crate) fn torn(&self, seq: u64) -> Result<Option<Torn>, FileError> {
        let file = torn_name(seq);
        let path = self.0.join(&file);
        match fs::read(&path) {
            Ok(content) => Ok(Some(Torn { file, content })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::new("read", &path)(error)),
        }
    }

    /// Writes a whole file, or leaves the old one.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> Result<(), FileError> {
        let (path, draft) = (self.0.join(name), self.0.join(format!(".{name}.draft")));
        let write = || -> io::Result<()> {
            let mut file = File::create(&draft)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(FileError::new("write", &path))?;
        self.sync()
    }
}

/// The number in a full file's name.
pub(crate) fn full_number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok()?;
    (full_name(number) == name).then_some(number)
}

impl Current {
    /// As it is now, if it is still the one that is appended to.
    pub(crate) fn still(self) -> Option<Self> {
        let (id, bytes) = identify(&self.path)?;
        (id == self.id).then_some(Self { bytes, ..self })
    }

    /// Whether the file still ends with the record of this hash.
    pub(crate) fn ends_with(&mut self, hash: Hash) -> Result<bool, FileError> {
        let Some(from) = self.bytes.checked_sub(END_BYTES as u64) else {
            return Ok(false);
        };
        let end = self.read_from(from, END_BYTES as u64)?;
        Ok(end == format!("{hash}\"}}\n").into_bytes())
    }

    /// What a crash left of a line at the end; from here on it counts as cut off, and [`Self::cut`] does it.
    pub(crate) fn torn(&mut self) -> Result<Option<Vec<u8>>, WriteError> {
        let (from, tail) = self.tail()?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole == 0 && from > 0 {
            return Err(self.damaged(Flaw::TooLong));
        }
        self.bytes = from + whole as u64;
        let torn = tail.get(whole..).unwrap_or_default();
        Ok((!torn.is_empty()).then(|| torn.to_owned()))
    }

    /// First and last record. The file is not empty.
    pub(crate) fn ends(&mut self) -> Result<(Record, Record), WriteError> {
        let head = self.read_from(0, self.bytes.min(LINE_BYTES_MAX as u64))?;
        let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let (_, tail) = self.tail()?;
        let lines = tail.strip_suffix(b"\n").ok_or_else(|| self.damaged(Flaw::Unfinished))?;
        let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let read = |line: &[u8]| line::read(line).map_err(|flaw| self.damaged(flaw));
        Ok((read(first)?, read(last)?))
    }

    /// Appends a page, all of it or nothing as far as the system lets us.
    pub(crate) fn append(&mut self, page: &[u8], durable: Durable) -> Result<(), FileError> {
        let written = self.file.write_all(page).and_then(|()| match durable {
            Durable::Yes => self.file.sync_data(),
            Durable::WithTheNext => Ok(()),
        });
        if let Err(error) = written {
            // What cannot be taken back is a torn line to whoever appends next.
            let _as_far_as_possible = self.cut();
            return Err(FileError::new("write to", &self.path)(error));
        }
        self.bytes += page.len() as u64;
        Ok(())
    }

    /// Makes the file as long as it counts.
    pub(crate) fn cut(&self) -> Result<(), FileError> {
        let cut = self.file.set_len(self.bytes).and_then(|()| self.file.sync_data());
        cut.map_err(FileError::new("shorten", &self.path))
    }

    /// The end of the file, enough for two lines; and where it begins.
    fn tail(&mut self) -> Result<(u64, Vec<u8>), FileError> {
        let from = self.bytes.saturating_sub(2 * LINE_BYTES_MAX as u64);
        Ok((from, self.read_from(from, self.bytes - from)?))
    }

    fn read_from(&mut self, from: u64, bytes: u64) -> Result<Vec<u8>, FileError> {
        // One more than there is, so that a reader that looks for the end finds it without asking for room.
        let mut buffer = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default().saturating_add(1));
        let read = self.file.seek(SeekFrom::Start(from));
        let read = read.and_then(|_| (&mut self.file).take(bytes).read_to_end(&mut buffer));
        read.map_err(FileError::new("read", &self.path))?;
        Ok(buffer)
    }

    fn damaged(&self, flaw: Flaw) -> WriteError {
        DamagedError { path: self.path.clone(), flaw }.into()
    }
}

/// When a page has to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    Yes,
    /// A later page of the same file brings it along.
    WithTheNext,
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closed with the process at the latest.
        let _unlocked_when_closed = self.0.file.unlock();
    }
}

/// Which file is at `path`, and how long it is; `None`: there is none, or the system does not say which.
fn identify(path: &Path) -> Option<(FileId, u64)> {
    let is = fs::metadata(path).ok()?;
    let id = id_of(&is);
    id.is_some().then_some((id, is.len()))
}

fn id_of(file: &fs::Metadata) -> FileId {
    #[cfg(unix)]
    let id = {
        use std::os::unix::fs::MetadataExt as _;
        Some((file.dev(), file.ino()))
    };
    #[cfg(not(unix))]
    let id = {
        let _elsewhere: &fs::Metadata = file;
        None
    };
    id
}

/// Tries until the lock is there, or time is over.
fn within(lock: impl Fn() -> Result<(), TryLockError>) -> io::Result<()> {
    let until = Instant::now() + LOCKED_WITHIN;
    loop {
        match lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "another process holds it and does not let go",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
