//! A client's configuration on disk.

use crate::{clock, print};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// Larger files are no configuration.
const BYTES_MAX: u64 = 16 << 20;
/// Copies that one second may see.
const COPIES_MAX: u32 = 100;

pub(crate) struct ClientFile {
    /// Where it really is: what stands at a link's place stays a link.
    path: PathBuf,
    pub(crate) text: String,
}

impl ClientFile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let path = path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
        let about = fs::metadata(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        if !about.is_file() || about.len() > BYTES_MAX {
            bail!("`{}` is no configuration file", path.display());
        }
        note_if_others_may_write(&path, &about);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Self { path, text })
    }

    /// Writes `text` in the file's place, all of it or nothing, after copying the file beside itself.
    pub(crate) fn replace(&self, text: &str) -> Result<()> {
        let copy = self.copy()?;
        let draft = self.beside("draft");
        let written = self.write(&draft, text).and_then(|()| {
            // Somebody who wrote in between is not written over.
            if fs::read_to_string(&self.path)? != self.text {
                return Err(std::io::Error::other("it was changed meanwhile"));
            }
            fs::rename(&draft, &self.path)
        });
        if written.is_err() {
            let _may_not_be_there = fs::remove_file(&draft);
        }
        written.with_context(|| format!("cannot write `{}`; it is as it was", self.path.display()))?;
        print::note(&format!("the file as it was: {}", copy.display()));
        Ok(())
    }

    fn write(&self, draft: &Path, text: &str) -> std::io::Result<()> {
        let mut file = private(draft)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::metadata(&self.path)?.permissions())?;
        file.sync_all()
    }

    /// May hold secrets, as the file may.
    fn copy(&self) -> Result<PathBuf> {
        let time = clock::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        for number in 0..COPIES_MAX {
            let number = if number == 0 { String::new() } else { format!("-{number}") };
            let path = self.beside(&format!("before-holdpoint-{time}{number}"));
            match private(&path).and_then(|mut file| {
                file.write_all(self.text.as_bytes())?;
                file.sync_all()
            }) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot write the copy `{}`", path.display()));
                }
            }
        }
        bail!("too many copies beside `{}`", self.path.display())
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{ending}"));
        self.path.with_file_name(name)
    }
}

fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whoever can write it decides what the client starts.
#[cfg(unix)]
fn note_if_others_may_write(path: &Path, about: &fs::Metadata) {
    use std::os::unix::fs::PermissionsExt as _;
    if about.permissions().mode() & 0o022 != 0 {
        print::note(&format!(
            "warning: others may write `{}`, and so decide what the client starts\n  hint: chmod go-w",
            path.display()
        ));
    }
}

#[cfg(not(unix))]
fn note_if_others_may_write(_: &Path, _: &fs::Metadata) {}
