//! Checking a log offline: its chain, its signatures, and whether what it tells adds up.

mod flaw;
mod meaning;
mod walk;

pub use flaw::{Finding, Flaw};

use crate::{
    FileError, PublicKey, SignedHead,
    folder::{CURRENT, Folder, PUBLIC_KEY, full_name},
};
use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path};
use walk::Walk;

/// Findings of one report; what is beyond is not looked for.
pub(crate) const FINDINGS_MAX: usize = 100;

/// What the reader of a log knows from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Who may sign. Empty: anybody, which only tells that the log was not changed by accident.
    pub keys: Vec<PublicKey>,
    /// A checkpoint that was kept elsewhere: the log must go on from it.
    pub kept: Option<SignedHead>,
}

/// What a log came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Lines, up to the first that is wrong.
    pub records: u64,
    /// Files.
    pub files: u64,
    /// Calls that were asked about, or had an effect by name.
    pub calls: u64,
    /// Of those, how many were sent to a tool.
    pub runs: u64,
    /// Runs whose outcome is not on record, or unknown and not resolved.
    pub open_runs: u64,
    /// Signatures.
    pub checkpoints: u64,
    /// Records behind the last of them.
    pub unsigned_tail: u64,
    /// Records that could not be written at their time, by the log's own account.
    pub lost: u64,
    /// The last checkpoint.
    pub head: Option<SignedHead>,
    /// Who signed.
    pub signers: Vec<PublicKey>,
    /// What is wrong, in the order in which it was found. A broken chain ends the search.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, file: &str, line: Option<u64>, flaw: Flaw) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { file: file.to_owned(), line, flaw });
        }
    }
}

/// Reads the whole log in `folder`. It may be appended to meanwhile: what is there at the start is what is read.
///
/// # Errors
/// A file cannot be read, or there is none. What is wrong with the content is in the report.
pub fn verify(folder: &Path, trust: &Trust) -> Result<Report, FileError> {
    let folder = Folder::new(folder);
    let locked = folder.lock_for_reading()?;
    let names: BTreeSet<String> = folder.names()?.into_iter().collect();
    let full = folder.full_files()?;
    let current = folder.current_for_reading()?;
    drop(locked);

    let mut walk = Walk::new(trust);
    let is_whole = walk.full_files(&folder, &full)?;
    match current {
        Some((file, bytes)) if is_whole => walk.file(CURRENT, std::io::Read::take(file, bytes))?,
        Some(_) => {}
        None if full.is_empty() => {
            return Err(FileError::new("find a log in", folder.path())(ErrorKind::NotFound.into()));
        }
        None => walk.report.find(CURRENT, None, Flaw::FileMissing),
    }
    if walk.report.findings.is_empty() {
        walk.asides(&folder, &names)?;
    }
    let mut report = walk.finish();
    check_public_key(&folder, &mut report)?;
    Ok(report)
}

/// The key in the folder is for the reader's convenience; a wrong one must not convince anybody.
fn check_public_key(folder: &Folder, report: &mut Report) -> Result<(), FileError> {
    let path = folder.path().join(PUBLIC_KEY);
    let flaw = match fs::read(&path) {
        Ok(bytes) => match std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<PublicKey>().ok()) {
            Some(key) if key.to_pem().as_bytes() != bytes => Flaw::PublicKey("it is not as it was written"),
            Some(key) if !report.signers.is_empty() && !report.signers.contains(&key) => {
                Flaw::PublicKey("it has signed nothing here")
            }
            Some(_) => return Ok(()),
            None => Flaw::PublicKey("it is not a public key"),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FileError::new("read", &path)(error)),
    };
    report.find(PUBLIC_KEY, None, flaw);
    Ok(())
}

impl Walk<'_> {
    /// `false`: one is missing, or broken, and reading on is pointless.
    fn full_files(&mut self, folder: &Folder, numbers: &[u32]) -> Result<bool, FileError> {
        for (number, expected) in numbers.iter().zip(1..) {
            if *number != expected {
                self.report.find(&full_name(expected), None, Flaw::FileMissing);
                return Ok(false);
            }
            let name = full_name(*number);
            let path = folder.path().join(&name);
            self.file(&name, fs::File::open(&path).map_err(FileError::new("open", &path))?)?;
            if self.is_broken {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
