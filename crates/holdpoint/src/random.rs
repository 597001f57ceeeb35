//! The one place where this binary gets randomness from.

use anyhow::{Context, Result};

/// Bytes from the operating system.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the operating system gives no randomness")?;
    Ok(bytes)
}

/// The same as text.
pub(crate) fn hex<const N: usize>() -> Result<String> {
    Ok(hex::encode(bytes::<N>()?))
}
