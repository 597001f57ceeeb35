//! What an approval must be about, as the journal keeps it: `sha256:…`, or `sha256:…#REVISION`. Between them may stand
//! `~` and the mark of words that were said before: see [`Binding::has_heard`].

use crate::{ClientError, client::asks_for_changes};
use holdpoint_api::{DecisionAnswer, RequestAnswer};
use sha2::{Digest as _, Sha256};

const DIGEST_PREFIX: &str = "sha256:";
const DIGEST_DIGITS: usize = 64;
/// Enough that other words have another mark; nothing runs because of it either way.
const WORDS_MARK_BYTES: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding<'a> {
    payload_digest: &'a str,
    heard: Option<String>,
    revision: Option<&'a str>,
}

impl<'a> Binding<'a> {
    /// The digest of what was sent, and the revision that Gate says is waiting.
    pub(crate) fn new(payload_digest: &'a str, revision: Option<&'a str>) -> Self {
        Self { payload_digest, heard: None, revision }
    }

    pub(crate) fn of_answer(payload_digest: &'a str, answer: &'a RequestAnswer) -> Self {
        Self::new(payload_digest, answer.revision_id.as_deref())
    }

    /// The same, of a thread on which these words were said before the proposal came.
    pub(crate) fn after_words(self, words: &str) -> Self {
        let heard = (!words.trim().is_empty()).then(|| mark(words));
        Self { heard, ..self }
    }

    pub(crate) fn parse(text: &'a str) -> Result<Self, ClientError> {
        let (front, revision) = match text.split_once('#') {
            Some((front, revision)) => (front, Some(revision)),
            None => (text, None),
        };
        let (payload_digest, heard) = match front.split_once('~') {
            Some((payload_digest, heard)) => (payload_digest, Some(heard)),
            None => (front, None),
        };
        let digits = payload_digest.strip_prefix(DIGEST_PREFIX).ok_or(ClientError::Binding)?;
        let well_formed = is_hex(digits, DIGEST_DIGITS)
            && heard.is_none_or(|heard| is_hex(heard, WORDS_MARK_BYTES.saturating_mul(2)));
        if !well_formed {
            return Err(ClientError::Binding);
        }
        Ok(Self { payload_digest, heard: heard.map(str::to_owned), revision })
    }

    /// Whether the Gate that this binding came from says which revision is which.
    pub(crate) fn names_revision(&self) -> bool {
        self.revision.is_some()
    }

    pub(crate) fn render(&self) -> String {
        let Self { payload_digest, heard, revision } = self;
        let mut text = (*payload_digest).to_owned();
        text.extend(heard.iter().flat_map(|heard| ["~", heard.as_str()]));
        text.extend(revision.iter().flat_map(|revision| ["#", *revision]));
        text
    }

    /// Whether a decision is about what was sent. A Gate that names neither is believed by its thread id alone; one
    /// that names a revision where there was none, or another, decided about something that came later.
    pub(crate) fn covers(&self, answer: &DecisionAnswer) -> bool {
        let same_payload = answer.payload_digest.as_deref().is_none_or(|named| named == self.payload_digest);
        let same_revision = match (self.revision, answer.revision_id.as_deref()) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, Some(_)) | (Some(_), None) => false,
        };
        same_payload && same_revision
    }

    /// Whether what looks like a wish for changes is the one that this proposal already answers: a Gate may go on
    /// showing the words after the proposal that they asked for.
    pub(crate) fn has_heard(&self, answer: &DecisionAnswer) -> bool {
        asks_for_changes(answer) && self.heard.as_deref().is_some_and(|heard| heard == mark(&answer.message))
    }
}

fn mark(words: &str) -> String {
    let digest = Sha256::digest(words.trim().as_bytes());
    hex::encode(digest.iter().copied().take(WORDS_MARK_BYTES).collect::<Vec<u8>>())
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
