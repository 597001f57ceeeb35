//! The only place where this crate takes random bytes.

/// 128 bits nobody can guess, as text.
pub(crate) fn token() -> String {
    secret().unwrap_or_else(|| {
        // Without randomness the address of a value on the stack still tells sessions apart; it guards no secret.
        let here = 0_u8;
        format!("{:x}-{}", std::process::id(), (&raw const here).addr())
    })
}

/// The same where somebody who guesses it gets at what is another's. `None`: there is no randomness.
pub(crate) fn secret() -> Option<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).is_ok().then(|| hex::encode(bytes))
}

/// Evenly between 0 and 1.
pub(crate) fn fraction() -> f64 {
    let mut bytes = [0_u8; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

/// 192 bits nobody can guess, as text; `None`: there is no randomness, and nothing that hangs on it may be made.
pub(crate) fn unguessable() -> Option<String> {
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes).ok().map(|()| hex::encode(bytes))
}
