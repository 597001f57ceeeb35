//! The kernel's promises that need no Gate: the digest, and what the type system forbids.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod digest;
mod question;
mod secrets;
mod types;
mod words;
