//! One line: how it is written, and what it takes to be one.

use crate::{body::Body, verify::Flaw};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::{fmt, io::Write as _, sync::Arc};

/// A record's own text may not be longer.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
/// A whole line: the record's own text, and what stands around it.
pub(crate) const LINE_BYTES_MAX: usize = RECORD_BYTES_MAX + 1024;
/// What every line ends with, its line feed included: a hash, and what closes the object.
pub(crate) const END_BYTES: usize = 64 + 3;

/// What stands around a record's own text, as a rule.
const AROUND_BYTES: usize = 320;

const DOMAIN: &[u8] = b"holdpoint/audit/v1\n";
const VERSION: &str = "1";
const HASH_KEY: &str = ",\"hash\":\"";

/// The SHA-256 of a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What stands before the first record.
    pub(crate) const NOTHING: Self = Self([0; 32]);

    pub(crate) fn read(text: &str) -> Option<Self> {
        lower_hex(text).map(Self)
    }

    fn of(head: &[u8]) -> Self {
        Self(Sha256::new().chain_update(DOMAIN).chain_update(head).finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        // Two digits a byte: there is room.
        let _fits = hex::encode_to_slice(self.0, &mut digits);
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes from lower-case hexadecimal digits: one spelling, so that no digit can be changed unseen.
pub(crate) fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// What stands before a record's own text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) prev: Hash,
    pub(crate) owner: Arc<str>,
}

/// One record, as read. Its hash is right.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) envelope: Envelope,
    pub(crate) body: Body,
    pub(crate) hash: Hash,
}

/// Whether `owner` can stand in a line without escapes.
pub(crate) fn is_plain(owner: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&owner.len()) && owner.bytes().all(plain)
}

/// Appends a line to `page`. `body` is the members of an object, without its braces.
pub(crate) fn write(page: &mut Vec<u8>, envelope: &Envelope, body: &str) -> Hash {
    let Envelope { seq, at, prev, owner } = envelope;
    let begin = page.len();
    page.reserve(body.len() + AROUND_BYTES);
    let _infallible = write!(
        page,
        "{{\"v\":{VERSION},\"seq\":{seq},\"at\":\"{at}\",\"prev\":\"{prev}\",\"owner\":\"{owner}\",{body}"
    );
    let hash = Hash::of(page.get(begin..).unwrap_or_default());
    let _infallible = writeln!(page, "{HASH_KEY}{hash}\"}}");
    hash
}

/// Reads a line, given without its line feed.
pub(crate) fn read(line: &[u8]) -> Result<Record, Flaw> {
    let text = std::str::from_utf8(line).map_err(|_| Flaw::NotARecord("it is not UTF-8"))?;
    let rest = text.strip_prefix("{\"v\":").ok_or(Flaw::NotARecord("it does not begin with a version"))?;
    let (version, _) = rest.split_once(',').ok_or(Flaw::NotARecord("it is cut off"))?;
    if version != VERSION {
        return Err(Flaw::Version(version.chars().take(20).collect()));
    }
    let (head, hash) = text.rsplit_once(HASH_KEY).ok_or(Flaw::NotARecord("it has no hash at its end"))?;
    let hash = hash.strip_suffix("\"}").and_then(Hash::read);
    let hash = hash.ok_or(Flaw::NotARecord("its hash is not a hash"))?;
    if Hash::of(head.as_bytes()) != hash {
        return Err(Flaw::Hash);
    }
    let inner = head.strip_prefix("{\"v\":").and_then(|rest| rest.strip_prefix(VERSION));
    let (envelope, body) = inner
        .and_then(envelope)
        .ok_or(Flaw::NotARecord("its first keys are not those of a record, in their order"))?;
    let body = serde_json::from_str(&format!("{{{body}}}")).map_err(|error| Flaw::Body(error.to_string()))?;
    Ok(Record { envelope, body, hash })
}

fn envelope(text: &str) -> Option<(Envelope, &str)> {
    let (seq, rest) = text.strip_prefix(",\"seq\":")?.split_once(",\"at\":\"")?;
    let (at, rest) = rest.split_once("\",\"prev\":\"")?;
    let (prev, rest) = rest.split_once("\",\"owner\":\"")?;
    let (owner, body) = rest.split_once("\",")?;
    let envelope = Envelope {
        seq: seq.parse().ok()?,
        at: at.parse().ok()?,
        prev: Hash::read(prev)?,
        owner: is_plain(owner).then(|| owner.into())?,
    };
    Some((envelope, body))
}
