//! The data folder: Gate's database, the journal, the keys of this installation, and who is using it.
//!
//! One process at a time owns Gate's database (`gate.lock`). It leaves `server.json` with its address and a token of
//! this run, readable by its user only, so that the other commands work while it runs. The journal has no owner:
//! several stdio proxies share it.

use crate::random;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

/// The folder to use where none is named.
pub(crate) fn default_folder() -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    if cfg!(target_os = "macos") {
        return home().join("Library/Application Support/holdpoint");
    }
    std::env::var_os("XDG_STATE_HOME")
        .map_or_else(|| home().join(".local/state"), PathBuf::from)
        .join("holdpoint")
}

/// A data folder that exists and can be written.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder(PathBuf);

/// How to reach the process that owns Gate's database.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct RunningServer {
    /// Base URL on this machine.
    pub(crate) url: String,
    /// Process id, for messages.
    pub(crate) pid: u32,
    /// Proves that the reader may read the folder.
    pub(crate) admin_token: String,
}

/// The right to open Gate's database. Given up when dropped.
#[derive(Debug)]
pub(crate) struct GateLock {
    _file: File,
    server_file: PathBuf,
}

impl Drop for GateLock {
    fn drop(&mut self) {
        // Only tidying up: a stale file is recognised by the free lock.
        let _gone = fs::remove_file(&self.server_file);
    }
}

/// Who owns Gate's database.
pub(crate) enum Ownership {
    Ours(GateLock),
    Running(RunningServer),
}

impl DataFolder {
    /// Makes the folder if it is missing, and refuses one that cannot be written.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let hint = "name another folder with --data DIR, or set HOLDPOINT_DATA";
        make(path).with_context(|| format!("cannot create the data folder `{shown}`\n  hint: {hint}"))?;
        restrict(path, 0o700);
        // Its own name each time: proxies start at once, and in containers they even have the same process id.
        let probe = path.join(format!(".write-probe.{}", random::hex::<8>()?));
        File::create(&probe)
            .and_then(|_| fs::remove_file(&probe))
            .with_context(|| format!("cannot write to the data folder `{shown}`\n  hint: {hint}"))?;
        Ok(Self(path.to_owned()))
    }

    /// The path of a database in this folder, which only this user can read: it holds arguments as they were sent. SQLite
    /// gives the files beside it the same rights.
    pub(crate) fn database(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        let made = private().create_new(true).write(true).open(&path);
        if let Err(error) = made
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(error).with_context(|| format!("cannot create `{}`", path.display()));
        }
        Ok(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the right to open Gate's database, or finds who has it.
    pub(crate) fn own_gate(&self) -> Result<Ownership> {
        let path = self.0.join("gate.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open `{}`", path.display()))?;
        let server_file = self.0.join("server.json");
        match file.try_lock() {
            Ok(()) => {
                let _stale = fs::remove_file(&server_file);
                Ok(Ownership::Ours(GateLock { _file: file, server_file }))
            }
            Err(TryLockError::WouldBlock) => self.running(&server_file).map(Ownership::Running),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock `{}`", path.display()))
            }
        }
    }

    /// The same, for a command that has to be the owner.
    pub(crate) fn own_gate_alone(&self) -> Result<GateLock> {
        match self.own_gate()? {
            Ownership::Ours(lock) => Ok(lock),
            Ownership::Running(server) => bail!(
                "the data folder `{}` is in use by process {} at {}\n  hint: stop that process, or name another folder \
                 with --data DIR",
                self.0.display(),
                server.pid,
                server.url,
            ),
        }
    }

    fn running(&self, server_file: &Path) -> Result<RunningServer> {
        let text = fs::read_to_string(server_file).with_context(|| {
            format!(
                "the data folder `{}` is in use by another process that is starting or stopping\n  hint: try again in \
                 a moment, or name another folder with --data DIR",
                self.0.display(),
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("cannot read `{}`", server_file.display()))
    }

    /// Tells the other commands how to reach this process.
    pub(crate) fn announce(&self, server: &RunningServer) -> Result<()> {
        let text = serde_json::to_string(server).context("cannot describe this process")?;
        self.write_private("server.json", text.as_bytes())
    }

    /// A key of this installation: made on first use, kept for good.
    pub(crate) fn key(&self, name: &str) -> Result<[u8; 32]> {
        let path = self.0.join(format!("{name}.key"));
        match File::open(&path) {
            Ok(mut file) => {
                let mut key = [0; 32];
                let read = file.read_exact(&mut key);
                read.with_context(|| {
                    format!(
                        "the key file `{}` is damaged\n  hint: restore it from a backup; without it, masked values \
                         get new fingerprints",
                        path.display(),
                    )
                })?;
                Ok(key)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let draft = format!("{name}.key.{}", random::hex::<8>()?);
                self.write_private(&draft, &random::bytes::<32>()?)?;
                let draft = self.0.join(draft);
                // A link, not a rename: of two processes that start at once, the second must not replace the key
                // that the first already uses.
                let linked = fs::hard_link(&draft, &path);
                let _tidied = fs::remove_file(&draft);
                if let Err(error) = linked
                    && error.kind() != ErrorKind::AlreadyExists
                {
                    return Err(error).with_context(|| format!("cannot write `{}`", path.display()));
                }
                let mut kept = [0; 32];
                File::open(&path).and_then(|mut file| file.read_exact(&mut kept))?;
                Ok(kept)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    /// Writes a whole file that only this user can read, or leaves the old one.
    fn write_private(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        let draft = self.0.join(format!(".{name}.{}", random::hex::<8>()?));
        let write = || -> std::io::Result<()> {
            let mut file = private().create_new(true).write(true).open(&draft)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// Makes a folder that is missing, for this user alone.
fn make(path: &Path) -> std::io::Result<()> {
    let mut folder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    let made = match (folder.create(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(parent).and_then(|()| folder.create(path))
        }
        (made, _) => made,
    };
    match made {
        // It was there, or a neighbour made it at this moment.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// A file that only this user can read, if it is made here.
fn private() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no modes"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    // A folder that somebody shares on purpose stays shared; files with secrets are private by themselves.
    if fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 == 0o055) {
        let _kept = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    }
}

#[cfg(not(unix))]
fn restrict(_: &Path, _: u32) {}
