use sha2::{Digest, Sha256};

/// What the digest of a payload is taken over, before the payload's own bytes.
const PAYLOAD_DOMAIN: &[u8] = b"holdpoint/payload/v1\n";

/// What the digest of a whole body is taken over, before the body's own bytes.
const BODY_DOMAIN: &[u8] = b"holdpoint/body/v1\n";

/// The digest that binds an approval to a payload: `sha256:` and hex.
///
/// Taken over the payload's JSON text exactly as it was sent, so that two texts that some parsers read alike stay
/// apart. For a request without a payload `raw` is `null`. Changing this changes the domain's version.
#[must_use]
pub fn payload_digest(raw: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(PAYLOAD_DOMAIN);
    hasher.update(raw.as_bytes());
    let mut digits = [0; 64];
    // Two digits a byte: there is room.
    let _fits = hex::encode_to_slice(hasher.finalize(), &mut digits);
    format!("sha256:{}", std::str::from_utf8(&digits).unwrap_or_default())
}

/// The digest of a whole body, which tells one idempotent request from another under the same key.
#[must_use]
pub fn body_digest(body: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(BODY_DOMAIN);
    hasher.update(body);
    hasher.finalize().into()
}
