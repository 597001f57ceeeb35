//! What a client carries from one leg to the next, in `requestState`.
//!
//! # Rules
//! 1. It says how far the waiting has come, and nothing else: whether the call may run is in the journal. Forged, it would
//!    buy somebody more legs.
//! 2. It is sealed all the same, with a key of the installation, over what it says and the digest of the call: another
//!    principal, server, tool or argument, and it is not good any more.
//! 3. What a server asked in the middle of a run is another kind of state, under another prefix: it names a ticket of the
//!    journal and one round of it, and which runs go on is decided there.
//! 4. It is no secret, and whoever has it can present it again: the identical call joins its own hold.
//!
//! A handle with its state in the journal would do as well, for one more durable write per call and a column in two back ends.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use holdpoint_core::{CallDigest, TicketId};
use sha2::Sha256;
use std::fmt;

/// Of every state of a call that waits, whatever installation made it. Servers that are asked about do not see one.
const PREFIX: &str = "dev.holdpoint.1.";
/// Of every state of a run that is to go on.
const QUESTION_PREFIX: &str = "dev.holdpoint.run.1.";
/// Longer ones are not ours.
const TEXT_BYTES_MAX: usize = 256;
/// A leg's number, what became of the link, and when it ends.
const PLAIN_BYTES: usize = 10;
/// How long a client has to come back: somebody may be looking at a link.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// The key that seals what clients carry. Of one installation, or of all that share a journal.
#[derive(Clone)]
pub struct StateKey(Hmac<Sha256>);

impl StateKey {
    /// Takes 32 bytes that nobody else knows.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        // HMAC pads a key to its block with zeros.
        let mut block = [0; 64];
        for (to, from) in block.iter_mut().zip(key) {
            *to = from;
        }
        Self(Hmac::new(&block.into()))
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKey(redacted)")
    }
}

/// How far the waiting has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The number of the next leg, from 1.
    pub(crate) leg: u8,
    pub(crate) link: LinkShown,
}

/// Whether the client's user was shown where to approve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkShown {
    /// Not, or not any more a question.
    No,
    /// With this state: the answer comes with it.
    Now,
}

/// Not a state of ours, of this call, in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`params.requestState` is not one that was given out for this call, or is too old: send the call without it"
)]
pub(crate) struct Unsealed;

/// What a state of ours is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// How far the waiting has come.
    Progress,
    /// What a server asked in the middle of a run.
    Question,
}

/// Whether we could have made it; `None`: it is the server's.
pub(super) fn kind_of(state: &str) -> Option<Kind> {
    match state {
        progress if progress.starts_with(PREFIX) => Some(Kind::Progress),
        question if question.starts_with(QUESTION_PREFIX) => Some(Kind::Question),
        _of_the_server => None,
    }
}

/// What a server asked in the middle of a run: one round of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) ticket: TicketId,
    pub(crate) round: u32,
}

impl StateKey {
    pub(crate) fn seal(&self, progress: Progress, digest: &CallDigest, now_ms: i64) -> String {
        let link = match progress.link {
            LinkShown::No => 0,
            LinkShown::Now => 1,
        };
        let mut plain = vec![progress.leg, link];
        plain.extend(now_ms.saturating_add(KEPT_MS).to_be_bytes());
        let seal = self.mac(PREFIX, &plain, digest).finalize().into_bytes();
        format!("{PREFIX}{}.{}", BASE64.encode(&plain), BASE64.encode(seal))
    }

    pub(crate) fn open(&self, state: &str, digest: &CallDigest, now_ms: i64) -> Result<Progress, Unsealed> {
        let sealed =
            state.strip_prefix(PREFIX).filter(|text| text.len() <= TEXT_BYTES_MAX).ok_or(Unsealed)?;
        let (plain, seal) = sealed.split_once('.').ok_or(Unsealed)?;
        let plain: [u8; PLAIN_BYTES] =
            BASE64.decode(plain).ok().and_then(|plain| plain.try_into().ok()).ok_or(Unsealed)?;
        let seal = BASE64.decode(seal).map_err(|_| Unsealed)?;
        self.mac(PREFIX, &plain, digest).verify_slice(&seal).map_err(|_| Unsealed)?;
        let [leg, link, ends @ ..] = plain;
        let link = match link {
            0 => LinkShown::No,
            1 => LinkShown::Now,
            _ => return Err(Unsealed),
        };
        let in_time = now_ms <= i64::from_be_bytes(ends);
        if in_time { Ok(Progress { leg, link }) } else { Err(Unsealed) }
    }

    /// Which question of the call with this `digest` it is. It ends with its ticket.
    pub(crate) fn seal_question(&self, question: &Question, digest: &CallDigest) -> String {
        let plain = format!("{}.{}", question.ticket, question.round);
        let seal = self.mac(QUESTION_PREFIX, plain.as_bytes(), digest).finalize().into_bytes();
        format!("{QUESTION_PREFIX}{plain}.{}", BASE64.encode(seal))
    }

    pub(crate) fn open_question(&self, state: &str, digest: &CallDigest) -> Result<Question, Unsealed> {
        let sealed = state.strip_prefix(QUESTION_PREFIX).filter(|text| text.len() <= TEXT_BYTES_MAX);
        let (plain, seal) = sealed.and_then(|sealed| sealed.rsplit_once('.')).ok_or(Unsealed)?;
        let seal = BASE64.decode(seal).map_err(|_| Unsealed)?;
        self.mac(QUESTION_PREFIX, plain.as_bytes(), digest).verify_slice(&seal).map_err(|_| Unsealed)?;
        let (ticket, round) = plain.rsplit_once('.').ok_or(Unsealed)?;
        let round = round.parse().map_err(|_| Unsealed)?;
        Ok(Question { ticket: TicketId::new(ticket), round })
    }

    fn mac(&self, prefix: &str, plain: &[u8], digest: &CallDigest) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(prefix.as_bytes());
        mac.update(digest.as_bytes());
        mac.update(plain);
        mac
    }
}
