//! The journal on a real server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod journal;
mod keys;
mod opening;
mod operations;
