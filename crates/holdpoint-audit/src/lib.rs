//! The audit log: every step of a call that is asked about, from proposal to outcome, as lines of JSON that can be checked
//! offline.
//!
//! ```text
//! audit/
//!   audit-000001.jsonl      full, never touched again
//!   current.jsonl           appended to
//!   torn-….bin              what a crash left of a line; a record names it
//!   public-key.pem          of whoever signs here
//!   lock                    held by whoever appends
//! ```
//!
//! # Format, version 1
//! One record is one line, its first keys always in this order:
//!
//! ```text
//! {"v":1,"seq":7,"at":"…","prev":"…","owner":"…","what":"…",…,"hash":"…"}
//! ```
//!
//! - `hash` is SHA-256, in hexadecimal, over `holdpoint/audit/v1`, a line feed, and the line up to but not including
//!   `,"hash":`.
//! - `prev` is the `hash` of the line before, across files; 64 zeros in the first. `seq` counts from 1.
//! - `owner` is one run of one process. Several append to one log, each line under an exclusive lock.
//! - A `checkpoint` signs all that is before it: Ed25519 over `holdpoint/audit/checkpoint/v1`, the log's id, `seq` and
//!   `hash` of the record before it, and its own `at`, each followed by a line feed.
//!
//! Vectors: `tests/vectors`. Changing anything here needs a new version.
//!
//! # Rules
//! 1. What a run depends on is on the disk before [`holdpoint_core::Recorder::record`] returns; see [`AuditLog`] for the
//!    rest.
//! 2. A log that cannot be written says so to every caller until a write succeeds. Nothing that happened is dropped in
//!    between without a `gap` record that counts it.
//! 3. [`verify`] names the first line that is not what was written, and calls that do not add up: more runs than
//!    approvals, an effect that was had twice.
//!
//! # Not promised
//! - Whoever holds the key file and the folder can write another history. Only a checkpoint that is kept elsewhere
//!   ([`AuditLog::checkpoint`]) finds that out, and so does a public key kept elsewhere if the key file stayed secret.
//! - Records after the last checkpoint can be cut off without a trace, unless a checkpoint kept elsewhere is younger.
//! - Records that nobody waits for may be lost to a power cut (not to a crash of the process): at most
//!   [`Options::sign_every`] of them, or those of the last [`Options::quiet`].
//! - Lines of one process are in the order of its steps. Between processes, a record that nobody waits for may stand behind
//!   a later one of another process; `at` says when it happened.
//! - Times are those of the machine's clock. Digests are not keyed: whoever reads the log and can guess a call's
//!   arguments can confirm the guess.
//! - Network file systems whose locks are not shared between machines.

mod body;
mod chain;
mod error;
mod folder;
mod head;
mod key;
mod line;
mod log;
mod record;
mod story;
mod verify;

pub use crate::error::{AppendError, DamagedError, FileError, OpenError, WriteError};
pub use crate::head::{HeadError, SignedHead};
pub use crate::key::{AuditKey, NotAPublicKey, PublicKey};
pub use crate::line::{Hash, RECORD_BYTES_MAX};
pub use crate::log::{AuditLog, KeyChange, Options};
pub use crate::story::{Entry, render, story};
pub use crate::verify::{Finding, Flaw, Report, Trust, verify};
