//! What an approval must be about, as the journal keeps it: `sha256:…`, or `sha256:…#REVISION`.

use crate::ClientError;
use holdpoint_api::{DecisionAnswer, RequestAnswer};

const DIGEST_PREFIX: &str = "sha256:";
const DIGEST_DIGITS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding<'a> {
    payload_digest: &'a str,
    revision: Option<&'a str>,
}

impl<'a> Binding<'a> {
    /// The digest of what was sent, and the revision that Gate says is waiting.
    pub(crate) fn of_answer(payload_digest: &'a str, answer: &'a RequestAnswer) -> Self {
        Self { payload_digest, revision: answer.revision_id.as_deref() }
    }

    pub(crate) fn parse(text: &'a str) -> Result<Self, ClientError> {
        let (payload_digest, revision) = match text.split_once('#') {
            Some((digest, revision)) => (digest, Some(revision)),
            None => (text, None),
        };
        let digits = payload_digest.strip_prefix(DIGEST_PREFIX).ok_or(ClientError::Binding)?;
        let well_formed = digits.len() == DIGEST_DIGITS
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if well_formed { Ok(Self { payload_digest, revision }) } else { Err(ClientError::Binding) }
    }

    pub(crate) fn render(&self) -> String {
        match self.revision {
            None => self.payload_digest.to_owned(),
            Some(revision) => format!("{}#{revision}", self.payload_digest),
        }
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
}
