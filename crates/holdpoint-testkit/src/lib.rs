//! What tests put in the place of the world: Gate, the journal, the time, the tools' definitions.
//!
//! A dev-dependency only. Nothing here decides anything for a real call.
//!
//! - [`MemoryJournal`] keeps the journal's contract to the letter and fails where it is told to.
//! - [`MemoryRecorder`] remembers the evidence, and fails where it is told to.
//! - [`ScriptedApprover`] is the kernel's port to Gate without a wire.
//! - [`ManualClock`] follows tokio's time, paused or not, and can be moved by hand.
//! - [`ScriptedGate`] is Gate on a socket, honest until it is scripted to misbehave.
//! - [`Issuer`] is an OAuth issuer on a socket, with keys of its own.
//! - [`check_journal`] holds a journal against a model of it.
//! - [`PostgresDatabase`] is a database of a test's own on a real server.
//! - [`FixedDefinitions`] says of every tool what it was told to say.

#![expect(clippy::expect_used, reason = "a test kit fails the test that misuses it")]
#![expect(clippy::indexing_slicing, reason = "a test kit fails the test that misuses it")]
#![expect(clippy::missing_panics_doc, reason = "a test kit fails the test that misuses it")]

mod approver;
mod clock;
mod definitions;
mod gate;
mod issuer;
mod journal;
mod model;
mod postgres;
mod recorder;

pub use approver::{RedeemScript, ReviseScript, ScriptedApprover, SubmitScript, Submitted, Verdict};
pub use clock::ManualClock;
pub use definitions::FixedDefinitions;
pub use gate::{Decision, Endpoint, Initial, Moment, Recorded, Script, ScriptedGate};
pub use issuer::{Issuer, SigningKey};
pub use journal::{Fault, MemoryJournal, Operation};
pub use model::check_journal;
pub use postgres::PostgresDatabase;
pub use recorder::MemoryRecorder;

/// The cause of every failure that a test asked for.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("scripted fault")]
pub struct ScriptedFault;

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
