//! The audit log on real files: written, tampered with, killed, filled up, and read again.
#![expect(clippy::unwrap_used, reason = "tests")]

mod checkpoints;
mod failure;
mod format;
mod kernel;
mod meaning;
mod processes;
mod rotation;
mod setup;
mod story;
mod tampering;
