//! Values that must not be seen.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use std::fmt;

/// A credential from the environment or a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for sending it where it belongs.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The key of the fingerprints that stand for masked values. With the key, a fingerprint can be searched for by trying
/// values; without it, it says only whether two values are the same.
#[derive(Clone)]
pub struct FingerprintKey(Hmac<Sha256>);

const DOMAIN: &[u8] = b"holdpoint/fingerprint/v1\0";
const PLACE_DOMAIN: &[u8] = b"holdpoint/place/v1\0";

/// What masked values start with.
pub(crate) const MASK: &str = "••••";

/// 64 bits, so that two values hardly ever look the same.
const SHOWN_BYTES: usize = 8;

impl FingerprintKey {
    /// Takes 32 random bytes. The same bytes give the same fingerprints, so they have to be kept.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        // HMAC pads a short key with zeros to its block, so this is the same key.
        let mut block = [0; 64];
        for (to, from) in block.iter_mut().zip(key) {
            *to = from;
        }
        Self(Hmac::new(&block.into()))
    }

    /// For checking configuration, where fingerprints need not be secret.
    pub(crate) fn for_checks() -> Self {
        Self::new([0; 32])
    }

    /// What is shown in place of `value`.
    pub(crate) fn mask(&self, value: &Value) -> String {
        let mut mac = self.0.clone();
        mac.update(DOMAIN);
        mac.update(value.to_string().as_bytes());
        let digest = mac.finalize().into_bytes();
        let shown =
            digest.iter().take(SHOWN_BYTES).fold(0_u64, |shown, byte| (shown << 8) | u64::from(*byte));
        format!("{MASK} (hmac {shown:016x})")
    }

    /// What stands for how a server is reached, of which parts are secret: 64 hexadecimal digits.
    pub(crate) fn place(&self, reached: &Value) -> String {
        let mut mac = self.0.clone();
        mac.update(PLACE_DOMAIN);
        mac.update(reached.to_string().as_bytes());
        mac.finalize().into_bytes().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(redacted)")
    }
}
