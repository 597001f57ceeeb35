//! Which files a configuration came from, and whether they are still what they were.

use sha2::{Digest as _, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Names that a configuration file may end in; the first is the usual one.
pub(crate) const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A changed file that is larger than this is not looked into.
const LOOKED_INTO_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Everything on the disk that one load looked at: files, files of secrets, folders, and files that were not there.
#[derive(Clone, Debug, Default)]
pub struct FilesRead(Vec<Looked>);

#[derive(Clone, Debug)]
struct Looked {
    path: PathBuf,
    seen: Seen,
}

#[derive(Clone, Debug)]
enum Seen {
    Missing,
    File {
        stamp: Stamp,
        content: [u8; 32],
    },
    /// The configuration files in it.
    Folder(Vec<PathBuf>),
}

/// What the file system says of a file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    length: u64,
    modified: Option<std::time::SystemTime>,
    inode: Inode,
}

/// Replaced and rewritten files are told apart even if length and time are those of before.
#[cfg(unix)]
type Inode = (u64, u64, i64, i64);
#[cfg(not(unix))]
type Inode = ();

impl Stamp {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok(), inode: inode(metadata) }
    }
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> Inode {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> Inode {}

impl FilesRead {
    /// The files that were read, those of secrets among them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = self.0.iter().filter(|looked| matches!(looked.seen, Seen::File { .. }));
        files.map(|looked| looked.path.as_path())
    }

    /// Whether a new load could come to something else: a file has other content, is gone, or has come. Cheap enough for
    /// once a second: only files that were touched are read. Blocks on the disk.
    #[must_use]
    pub fn changed_since(&self) -> bool {
        self.0.iter().any(Looked::changed)
    }

    pub(crate) fn note_missing(&mut self, path: &Path) {
        self.note(path, Seen::Missing);
    }

    /// `stamp` is from before `content` was read.
    pub(crate) fn note_file(&mut self, path: &Path, stamp: Stamp, content: &[u8]) {
        self.note(path, Seen::File { stamp, content: Sha256::digest(content).into() });
    }

    pub(crate) fn note_folder(&mut self, path: &Path, files: &[PathBuf]) {
        self.note(path, Seen::Folder(files.to_vec()));
    }

    /// The first look counts: the configuration was made from it.
    fn note(&mut self, path: &Path, seen: Seen) {
        if !self.0.iter().any(|looked| looked.path == path) {
            self.0.push(Looked { path: path.to_owned(), seen });
        }
    }
}

impl Looked {
    fn changed(&self) -> bool {
        match &self.seen {
            Seen::Missing => self.path.exists(),
            Seen::Folder(files) => config_files(&self.path).is_ok_and(|now| now != *files),
            Seen::File { stamp, content } => match fs::metadata(&self.path) {
                Err(_) => true,
                Ok(metadata) if Stamp::of(&metadata) == *stamp => false,
                Ok(metadata) if metadata.len() > LOOKED_INTO_BYTES_MAX => true,
                Ok(_) => {
                    fs::read(&self.path).map_or(true, |now| <[u8; 32]>::from(Sha256::digest(now)) != *content)
                }
            },
        }
    }
}

/// The configuration files in a folder, in the order of their names.
pub(crate) fn config_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_config = |path: &PathBuf| {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        !hidden && path.is_file() && ENDINGS.contains(&ending)
    };
    let entries = fs::read_dir(folder)?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_config).collect();
    files.sort();
    Ok(files)
}
