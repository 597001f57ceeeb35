//! The only place where this crate takes random bytes.

/// 128 bits nobody can guess, as text.
pub(crate) fn token() -> String {
    let mut bytes = [0_u8; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => hex::encode(bytes),
        // Without randomness the address of a value on the stack still tells sessions apart; it guards no secret.
        Err(_) => format!("{:x}-{}", std::process::id(), (&raw const bytes).addr()),
    }
}
