//! Appending to a log that others append to as well: under the lock, behind whatever is there.
//!
//! ```text
//! lock ─► what is at the end? ─┬─ what we wrote ───────────────────────┬─► full? ─► append page ─► sync ─► unlock
//!                              ├─ what others wrote: read it ──────────┤   sign, rename, begin a new file
//!                              ├─ half a line: move it aside, say so ──┤
//!                              └─ nothing: begin, or continue ─────────┘
//! ```

use crate::{
    AuditKey, FileError, Hash, SignedHead, WriteError,
    body::{Kind, Said},
    folder::{Current, Durable, Folder, LockFile, PUBLIC_KEY, Torn, torn_name},
    line::{self, Envelope, Record},
};
use holdpoint_core::Clock;
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// One process's way of appending.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) folder: Folder,
    pub(crate) key: AuditKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) owner: Arc<str>,
    pub(crate) rotate_bytes: u64,
    pub(crate) sign_every: u32,
    /// Where the log ended when this process last wrote.
    last: Option<Tail>,
    /// Records of this process since its last checkpoint.
    unsigned: u32,
    /// Both stay open between two writes: opening them costs more than a write.
    lock: Option<Arc<LockFile>>,
    current: Option<Current>,
}

/// The end of a log.
#[derive(Clone, Debug)]
struct Tail {
    log: String,
    seq: u64,
    hash: Hash,
    /// By the record at the end.
    signed: Option<SignedHead>,
}

/// What is to be appended.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) at: Timestamp,
    /// See [`crate::body::Body::members`].
    pub(crate) members: String,
}

/// Whether a checkpoint is wanted behind a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// If enough has come together.
    WhenDue,
    /// Unless one is there already.
    Now,
}

/// What a successful write leaves.
#[derive(Debug)]
pub(crate) struct Written {
    /// Records of this process that no checkpoint covers.
    pub(crate) unsigned: u32,
    /// How far the log goes, if its last record says so.
    pub(crate) head: Option<SignedHead>,
}

/// Where to append.
#[derive(Debug)]
struct End {
    current: Current,
    /// `None`: the log is new.
    tail: Option<Tail>,
    /// What was moved aside and is not on record yet.
    torn: Option<Torn>,
}

/// Lines that are written at once.
struct Page<'a> {
    chain: &'a Chain,
    bytes: Vec<u8>,
    tail: Tail,
}

impl Chain {
    pub(crate) fn new(
        folder: Folder,
        key: AuditKey,
        clock: Arc<dyn Clock>,
        owner: Arc<str>,
        (rotate_bytes, sign_every): (u64, u32),
    ) -> Self {
        Self {
            folder,
            key,
            clock,
            owner,
            rotate_bytes,
            sign_every,
            last: None,
            unsigned: 0,
            lock: None,
            current: None,
        }
    }

    /// Begins the log if there is none, and says whose key signs it from here on.
    pub(crate) fn open(&mut self) -> Result<(), WriteError> {
        self.folder.make()?;
        let pem = self.key.public().to_pem();
        let is_known =
            || std::fs::read(self.folder.path().join(PUBLIC_KEY)).is_ok_and(|old| old == pem.as_bytes());
        if is_known() {
            return self.append(&[], Durable::Yes, Sign::WhenDue).map(drop);
        }
        // Signed first: the key in the folder is always one that has signed.
        self.unsigned = self.sign_every;
        self.append(&[], Durable::Yes, Sign::WhenDue)?;
        let _locked = self.folder.lock()?;
        Ok(self.folder.replace(PUBLIC_KEY, pem.as_bytes())?)
    }

    /// Appends all of them, or none.
    pub(crate) fn append(
        &mut self,
        drafts: &[Draft],
        durable: Durable,
        sign: Sign,
    ) -> Result<Written, WriteError> {
        let locked = self.folder.lock_again(&mut self.lock)?;
        let end = self.end()?;
        let mut end = if self.is_full(&end) { self.rotate(end)? } else { end };
        let begins = end.current.bytes == 0;
        let mut page = self.page(&end)?;
        for draft in drafts {
            page.push(draft.at, &draft.members);
        }
        let fresh = self.unsigned.saturating_add(u32::try_from(drafts.len()).unwrap_or(u32::MAX));
        let is_due = fresh >= self.sign_every || (sign == Sign::Now && page.tail.signed.is_none());
        if is_due {
            page.sign();
        }
        let Page { bytes, tail, .. } = page;
        end.current.append(&bytes, if is_due || begins { Durable::Yes } else { durable })?;
        if begins {
            self.folder.sync()?;
        }
        drop(locked);
        self.unsigned = if tail.signed.is_some() { 0 } else { fresh };
        let head = tail.signed.clone();
        self.last = Some(tail);
        self.current = Some(end.current);
        Ok(Written { unsigned: self.unsigned, head })
    }

    /// Where the log ends. What a crash left of a line is moved aside.
    fn end(&mut self) -> Result<End, WriteError> {
        let kept = self.current.take().and_then(Current::still);
        let Some(mut current) = kept.map_or_else(|| self.folder.current(), |kept| Ok(Some(kept)))? else {
            let tail = self.before()?;
            self.check_is_ours(tail.as_ref())?;
            return Ok(End { current: self.folder.begin()?, tail, torn: None });
        };
        if let Some(last) = &self.last
            && current.ends_with(last.hash)?
        {
            return Ok(End { current, tail: Some(last.clone()), torn: None });
        }
        let torn = current.torn()?;
        let tail = if current.bytes == 0 { self.before()? } else { Some(Tail::of(current.ends()?)) };
        self.check_is_ours(tail.as_ref())?;
        // Where the record that names it will stand: behind the one that begins the file, if there is none yet.
        let seq = tail.as_ref().map_or(1, |tail| tail.seq + 1) + u64::from(current.bytes == 0);
        if let Some(content) = torn {
            self.folder.replace(&torn_name(seq), &content)?;
            current.cut()?;
        }
        let torn = self.folder.torn(seq)?;
        Ok(End { current, tail, torn })
    }

    /// The end of the newest full file; `None`: there is none.
    fn before(&self) -> Result<Option<Tail>, WriteError> {
        let newest = self.folder.full_files()?.last().copied();
        newest.map(|number| Ok(Tail::of(self.folder.ends_of(number)?))).transpose()
    }

    /// Whether the log still has what this process wrote.
    fn check_is_ours(&self, found: Option<&Tail>) -> Result<(), WriteError> {
        let replaced = || WriteError::Replaced(self.folder.path().to_owned());
        let Some(last) = &self.last else {
            return Ok(());
        };
        let found = found.filter(|found| found.log == last.log).ok_or_else(replaced)?;
        let goes_on = found.seq > last.seq || (found.seq == last.seq && found.hash == last.hash);
        if goes_on { Ok(()) } else { Err(replaced()) }
    }

    /// A torn line is named in the file that it was in, so that file stays until then.
    fn is_full(&self, end: &End) -> bool {
        end.torn.is_none() && end.current.bytes >= self.rotate_bytes
    }

    /// Signs the current file, makes it a full one, and begins another. A crash in between leaves a log without a current
    /// file, or with an empty one; whoever appends next goes on from there.
    fn rotate(&self, mut end: End) -> Result<End, WriteError> {
        let mut page = self.page(&end)?;
        if page.tail.signed.is_none() {
            page.sign();
        }
        let Page { bytes, tail, .. } = page;
        end.current.append(&bytes, Durable::Yes)?;
        let number = self.folder.full_files()?.last().map_or(1, |newest| newest + 1);
        self.folder.retire_current(number)?;
        Ok(End { current: self.folder.begin()?, tail: Some(tail), torn: None })
    }

    /// A page behind that end, with what has to be said first.
    fn page(&self, end: &End) -> Result<Page<'_>, WriteError> {
        let (tail, first) = match &end.tail {
            Some(tail) if end.current.bytes > 0 => (tail.clone(), None),
            Some(tail) => {
                let continues = self.folder.full_files()?.last().copied();
                (tail.clone(), Some(Said { continues, ..Said::new(Kind::Continued) }))
            }
            None => {
                let log = random_id().map_err(FileError::new("begin the log in", self.folder.path()))?;
                let tail = Tail { log, seq: 0, hash: Hash::NOTHING, signed: None };
                (tail, Some(Said::new(Kind::Begun)))
            }
        };
        let log = tail.log.clone();
        let mut page = Page { chain: self, bytes: Vec::new(), tail };
        if let Some(first) = first {
            page.say(&Said { log: Some(log.into()), ..first });
        }
        if let Some(Torn { file, content }) = &end.torn {
            page.say(&Said {
                file: Some(file.into()),
                bytes: Some(content.len() as u64),
                sha256: Some(hex::encode(Sha256::digest(content)).into()),
                ..Said::new(Kind::Torn)
            });
        }
        Ok(page)
    }
}

impl Tail {
    fn of((first, last): (Record, Record)) -> Self {
        Self {
            log: first.body.log.unwrap_or_default(),
            seq: last.envelope.seq,
            hash: last.hash,
            signed: SignedHead::of(&last),
        }
    }
}

impl Page<'_> {
    fn push(&mut self, at: Timestamp, members: &str) {
        let envelope = Envelope {
            seq: self.tail.seq + 1,
            at,
            prev: self.tail.hash,
            owner: Arc::clone(&self.chain.owner),
        };
        self.tail.hash = line::write(&mut self.bytes, &envelope, members);
        self.tail.seq += 1;
        self.tail.signed = None;
    }

    fn say(&mut self, body: &Said<'_>) {
        self.push(self.chain.clock.now(), &body.members());
    }

    fn sign(&mut self) {
        let at = self.chain.clock.now();
        let Tail { log, seq, hash, .. } = &self.tail;
        let head = SignedHead::sign(&self.chain.key, log, *seq, *hash, at);
        let body = Said {
            log: Some((&*head.log).into()),
            key: Some(head.key.to_string().into()),
            signature: Some(hex::encode(head.signature).into()),
            ..Said::new(Kind::Checkpoint)
        };
        self.push(at, &body.members());
        self.tail.signed = Some(head);
    }
}

fn random_id() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| std::io::Error::other("the operating system gives no randomness"))?;
    Ok(hex::encode(bytes))
}
