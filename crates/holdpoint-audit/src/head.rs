//! A signed statement of how far the log goes.

use crate::{
    AuditKey, Hash, PublicKey,
    line::{Record, lower_hex},
};
use jiff::Timestamp;
use std::{fmt, str::FromStr};

const DOMAIN: &str = "holdpoint/audit/checkpoint/v1";

/// What a checkpoint says. One line of text, to be kept where whoever can write to the log cannot.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// The log's id.
    pub(crate) log: String,
    /// The last record it vouches for.
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
    pub(crate) at: Timestamp,
    pub(crate) key: PublicKey,
    pub(crate) signature: [u8; 64],
}

impl SignedHead {
    pub(crate) fn sign(key: &AuditKey, log: &str, seq: u64, hash: Hash, at: Timestamp) -> Self {
        let signature = key.sign(&message(log, seq, hash, at));
        Self { log: log.to_owned(), seq, hash, at, key: key.public(), signature }
    }

    /// From a checkpoint record; `None`: it is not one.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let body = &record.body;
        Some(Self {
            log: body.log.clone()?,
            seq: record.envelope.seq.checked_sub(1)?,
            hash: record.envelope.prev,
            at: record.envelope.at,
            key: PublicKey::read(body.key.as_deref()?)?,
            signature: lower_hex(body.signature.as_deref()?)?,
        })
    }

    /// The last record it vouches for.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Who signed it. Whether that is somebody to trust is another question.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key
    }

    /// Whether the key that it names signed it.
    pub(crate) fn is_genuine(&self) -> bool {
        self.key.verifies(&message(&self.log, self.seq, self.hash, self.at), &self.signature)
    }
}

fn message(log: &str, seq: u64, hash: Hash, at: Timestamp) -> Vec<u8> {
    format!("{DOMAIN}\n{log}\n{seq}\n{hash}\n{at}\n").into_bytes()
}

impl fmt::Display for SignedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, seq, hash, at, key, signature } = self;
        write!(f, "{DOMAIN} {log} {seq} {hash} {at} {key} {}", hex::encode(signature))
    }
}

impl fmt::Debug for SignedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A line is no signed head.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It does not look like one.
    #[error("not a checkpoint: expected `{DOMAIN} LOG SEQ HASH TIME KEY SIGNATURE` on one line")]
    Malformed,
    /// It was changed, or made up.
    #[error("the checkpoint's signature is wrong: it was changed after it was signed")]
    Forged,
}

impl FromStr for SignedHead {
    type Err = HeadError;

    /// Reads one, and checks its signature.
    fn from_str(text: &str) -> Result<Self, HeadError> {
        let head = parse(text).ok_or(HeadError::Malformed)?;
        if head.is_genuine() { Ok(head) } else { Err(HeadError::Forged) }
    }
}

fn parse(text: &str) -> Option<SignedHead> {
    let mut words = text.trim().split(' ');
    let mut next = || words.next();
    if next()? != DOMAIN {
        return None;
    }
    let head = SignedHead {
        log: next()?.to_owned(),
        seq: next()?.parse().ok()?,
        hash: Hash::read(next()?)?,
        at: next()?.parse().ok()?,
        key: PublicKey::read(next()?)?,
        signature: lower_hex(next()?)?,
    };
    next().is_none().then_some(head)
}
