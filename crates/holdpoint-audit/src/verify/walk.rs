//! Along the chain, line by line.

use super::{Flaw, Report, Trust, meaning::Meaning};
use crate::{
    FileError, Hash, SignedHead,
    body::Kind,
    folder::{CURRENT, Folder, torn_name},
    line::{self, LINE_BYTES_MAX, Record},
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read},
    path::Path,
};

pub(super) struct Walk<'a> {
    trust: &'a Trust,
    pub(super) report: Report,
    /// The chain is broken: what follows proves nothing.
    pub(super) is_broken: bool,
    log: Option<String>,
    seq: u64,
    hash: Hash,
    meaning: Meaning,
    /// What was moved aside: file, and where that is on record.
    torn: BTreeMap<String, (Record, String, u64)>,
    has_met_kept: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(trust: &'a Trust) -> Self {
        Self {
            trust,
            report: Report::default(),
            is_broken: false,
            log: None,
            seq: 0,
            hash: Hash::NOTHING,
            meaning: Meaning::default(),
            torn: BTreeMap::new(),
            has_met_kept: false,
        }
    }

    /// One file, up to its end or its first line that is wrong.
    pub(super) fn file(&mut self, name: &str, file: impl Read) -> Result<(), FileError> {
        self.report.files += 1;
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let mut buffer = Vec::new();
        for number in 1.. {
            buffer.clear();
            let read = (&mut reader).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut buffer);
            read.map_err(FileError::new("read", Path::new(name)))?;
            if buffer.is_empty() {
                break;
            }
            if let Err(flaw) = self.line(name, number, &buffer) {
                self.report.find(name, Some(number), flaw);
                self.is_broken = true;
                break;
            }
        }
        Ok(())
    }

    fn line(&mut self, file: &str, number: u64, line: &[u8]) -> Result<(), Flaw> {
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err(if line.len() > LINE_BYTES_MAX { Flaw::TooLong } else { Flaw::Unfinished });
        };
        let record = line::read(line)?;
        let (expected, found) = (self.seq + 1, record.envelope.seq);
        if found != expected {
            return Err(Flaw::Sequence { expected, found });
        }
        if record.envelope.prev != self.hash {
            return Err(Flaw::Predecessor);
        }
        self.beginning(number, &record)?;
        (self.seq, self.hash) = (found, record.hash);
        self.report.records += 1;
        self.report.unsigned_tail += 1;
        self.own_affairs(file, number, &record);
        self.compare_with_kept(file, number);
        self.meaning.see((file, number), &record);
        Ok(())
    }

    /// The first line of a file says which log it is of, and nothing else does.
    fn beginning(&mut self, number: u64, record: &Record) -> Result<(), Flaw> {
        let body = &record.body;
        let begins = matches!(body.what, Kind::Begun | Kind::Continued);
        match (number, begins) {
            (1, true) => {}
            (1, false) => return Err(Flaw::Beginning("its first record does not say which log it is of")),
            (_, true) => return Err(Flaw::Beginning("this record belongs at the beginning of a file")),
            (_, false) => return Ok(()),
        }
        if (body.what == Kind::Begun) != self.log.is_none() {
            return Err(Flaw::Beginning("it begins a log, or continues one, in the wrong place"));
        }
        if body.what == Kind::Continued && body.continues.map(u64::from) != Some(self.report.files - 1) {
            return Err(Flaw::Beginning("it continues another file"));
        }
        if self.log.is_some() && self.log != body.log {
            return Err(Flaw::Beginning("it is of another log"));
        }
        self.log.clone_from(&body.log);
        Ok(())
    }

    fn own_affairs(&mut self, file: &str, number: u64, record: &Record) {
        match record.body.what {
            Kind::Checkpoint => match self.checkpoint(record) {
                Ok(head) => {
                    self.report.checkpoints += 1;
                    self.report.unsigned_tail = 0;
                    if !self.report.signers.contains(&head.key) {
                        self.report.signers.push(head.key);
                    }
                    self.report.head = Some(head);
                }
                Err(flaw) => self.report.find(file, Some(number), flaw),
            },
            Kind::Torn => {
                let name = record.body.file.clone().unwrap_or_default();
                self.torn.insert(name, (record.clone(), file.to_owned(), number));
            }
            Kind::Gap => self.report.lost += record.body.lost.unwrap_or_default(),
            Kind::Begun
            | Kind::Continued
            | Kind::Proposed
            | Kind::Held
            | Kind::Joined
            | Kind::Allowed
            | Kind::Decided
            | Kind::Redeemed
            | Kind::Dispatching
            | Kind::GoingOn
            | Kind::Completed
            | Kind::OutcomeUnknown
            | Kind::Refused
            | Kind::Withdrawn
            | Kind::TooLate
            | Kind::Resolved
            | Kind::CallerCreated
            | Kind::CallerRevoked => {}
        }
    }

    fn checkpoint(&self, record: &Record) -> Result<SignedHead, Flaw> {
        let head = SignedHead::of(record).ok_or(Flaw::Checkpoint)?;
        if Some(&head.log) != self.log.as_ref() || !head.is_genuine() {
            return Err(Flaw::Signature);
        }
        if !self.trust.keys.is_empty() && !self.trust.keys.contains(&head.key) {
            return Err(Flaw::Untrusted(head.key));
        }
        Ok(head)
    }

    fn compare_with_kept(&mut self, file: &str, number: u64) {
        let Some(kept) = self.trust.kept.as_ref().filter(|kept| kept.seq == self.seq) else {
            return;
        };
        self.has_met_kept = true;
        if Some(&kept.log) != self.log.as_ref() {
            self.report.find(file, Some(number), Flaw::OtherLog);
        } else if kept.hash != self.hash {
            self.report.find(file, Some(number), Flaw::Rewritten { seq: kept.seq, at: kept.at });
        }
    }

    /// What crashes left must be what the records say of it. A file that no record names yet is one that was moved aside
    /// just before another crash: the next record will name it.
    pub(super) fn asides(&mut self, folder: &Folder, names: &BTreeSet<String>) -> Result<(), FileError> {
        let mut accounted = BTreeSet::new();
        for (name, (record, file, number)) in std::mem::take(&mut self.torn) {
            if !names.contains(&name) {
                self.report.find(&name, None, Flaw::FileMissing);
                continue;
            }
            if name != torn_name(record.envelope.seq) {
                self.report.find(&file, Some(number), Flaw::Aside("it is named as another one"));
                continue;
            }
            let path = folder.path().join(&name);
            let content = fs::read(&path).map_err(FileError::new("read", &path))?;
            if Some(hex::encode(Sha256::digest(&content))) != record.body.sha256 {
                self.report.find(&name, None, Flaw::Aside("its content was changed"));
            }
            accounted.insert(name);
        }
        let waiting = [torn_name(self.seq + 1), torn_name(self.seq + 2)];
        for name in names.iter().filter(|name| name.starts_with("torn-")) {
            if !accounted.contains(name) && !waiting.contains(name) {
                self.report.find(name, None, Flaw::Aside("no record names it"));
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Report {
        if let Some(kept) = &self.trust.kept {
            if !self.trust.keys.is_empty() && !self.trust.keys.contains(&kept.key) {
                self.report.find("the checkpoint you kept", None, Flaw::Untrusted(kept.key));
            }
            if !self.is_broken && !self.has_met_kept {
                let other = Some(&kept.log) != self.log.as_ref();
                let cut_off = Flaw::CutOff { seq: self.seq, kept: kept.seq };
                self.report.find(CURRENT, None, if other { Flaw::OtherLog } else { cut_off });
            }
        }
        self.meaning.conclude(&mut self.report);
        self.report
    }
}
