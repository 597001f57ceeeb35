//! Gate's state and the journal on real files.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod gate;
mod journal;
mod opening;
mod operations;
mod upgrade;
