use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

/// How far the time of a signature may be from ours, either way.
pub const TOLERANCE: Duration = Duration::from_mins(5);

/// Signatures in one header that are looked at.
pub const SIGNATURES_MAX: usize = 16;

/// The longest delivery id, in bytes.
const ID_BYTES_MAX: usize = 256;

/// A block of SHA-256, which is also the longest secret.
const KEY_BLOCK_BYTES: usize = 64;

/// How a signature with a shared secret starts. Other versions are left to whoever knows them.
const VERSION: &str = "v1,";

/// What Gate and a receiver of its webhooks share: `whsec_` and 24 to 64 bytes in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// Why a text is no webhook secret. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookSecretError {
    /// It does not start as such a secret does.
    #[error("a webhook secret starts with `{}`", WebhookSecret::PREFIX)]
    Prefix,
    /// What follows is no base64.
    #[error("a webhook secret is base64 after its prefix")]
    Base64,
    /// Too short to be safe, or too long to be one.
    #[error("a webhook secret has 24 to 64 bytes")]
    Length,
}

/// A delivery as it arrived: the three headers and the body, none of them believed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `webhook-id`
    pub id: &'a str,
    /// `webhook-timestamp`
    pub timestamp: &'a str,
    /// `webhook-signature`
    pub signatures: &'a str,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// Why a delivery is not believed to come from whoever holds the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The id is empty, too long, or could be taken for id and time.
    #[error("the webhook's id is unusable")]
    Id,
    /// The time is no number of seconds since 1970.
    #[error("the webhook's timestamp is no number of seconds")]
    Timestamp,
    /// It is more than [`TOLERANCE`] away from now.
    #[error("the webhook was signed too long ago, or in the future")]
    Stale,
    /// No signature fits.
    #[error("no signature of the webhook fits")]
    Signature,
}

impl WebhookSecret {
    /// How every secret starts.
    pub const PREFIX: &'static str = "whsec_";

    /// Reads a secret.
    pub fn parse(text: &str) -> Result<Self, WebhookSecretError> {
        let encoded = text.strip_prefix(Self::PREFIX).ok_or(WebhookSecretError::Prefix)?;
        let key = BASE64_STANDARD.decode(encoded).map_err(|_| WebhookSecretError::Base64)?;
        if (24..=KEY_BLOCK_BYTES).contains(&key.len()) {
            Ok(Self(key))
        } else {
            Err(WebhookSecretError::Length)
        }
    }

    /// Makes a secret from 32 random bytes, which the caller takes from the system's source.
    #[must_use]
    pub fn generate(random: &[u8; 32]) -> Self {
        Self(random.to_vec())
    }

    /// The secret itself, for showing it the one time and for keeping it.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}{}", Self::PREFIX, BASE64_STANDARD.encode(&self.0))
    }

    /// The signature of a delivery: what goes into `webhook-signature`. `seconds` is what goes into `webhook-timestamp`;
    /// `id` must not hold a full stop.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let signature = self.mac(id, &seconds.to_string(), body).finalize().into_bytes();
        format!("{VERSION}{}", BASE64_STANDARD.encode(signature))
    }

    /// Whether a delivery comes from whoever holds the secret, and is not older or younger than [`TOLERANCE`].
    /// Signatures are compared in constant time.
    pub fn verify(&self, delivery: &Signed<'_>, now: Timestamp) -> Result<(), SignatureError> {
        let Signed { id, timestamp, signatures, body } = *delivery;
        // With a full stop in it, another split of the same signed bytes would be another delivery.
        let usable = (1..=ID_BYTES_MAX).contains(&id.len()) && !id.contains('.');
        if !usable {
            return Err(SignatureError::Id);
        }
        check_time(timestamp, now)?;
        let mac = self.mac(id, timestamp, body);
        let fits = |signature: &str| {
            let encoded = signature.strip_prefix(VERSION)?;
            let bytes = BASE64_STANDARD.decode(encoded).ok()?;
            mac.clone().verify_slice(&bytes).ok()
        };
        if signatures.split(' ').take(SIGNATURES_MAX).any(|signature| fits(signature).is_some()) {
            Ok(())
        } else {
            Err(SignatureError::Signature)
        }
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        // HMAC fills keys up with zeros; no secret is longer than a block.
        let mut block = [0; KEY_BLOCK_BYTES];
        for (to, from) in block.iter_mut().zip(&self.0) {
            *to = *from;
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

fn check_time(timestamp: &str, now: Timestamp) -> Result<(), SignatureError> {
    if timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SignatureError::Timestamp);
    }
    let seconds: i64 = timestamp.parse().map_err(|_| SignatureError::Timestamp)?;
    let signed_at = Timestamp::from_second(seconds).map_err(|_| SignatureError::Timestamp)?;
    let tolerance = SignedDuration::try_from(TOLERANCE).unwrap_or(SignedDuration::ZERO);
    if now.duration_since(signed_at).abs() <= tolerance { Ok(()) } else { Err(SignatureError::Stale) }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}
