//! The one place where Gate takes randomness.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The system gave no random bytes. Nothing that needs to be unguessable can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A secret of 256 bits that fits into URLs, cookies and headers.
pub(crate) fn secret_text() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

/// So many upper-case hex digits of a thread id, at most 32.
pub(crate) fn thread_digits(length: usize) -> Result<String, NoRandomness> {
    let mut digits = hex::encode_upper(bytes::<16>()?);
    digits.truncate(length);
    Ok(digits)
}
