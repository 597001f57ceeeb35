//! End to end: real clients, real tool servers, the real binary, a real browser.
//!
//! Every refusal looks into the tool server's own record for *not at all*, every run for *once*.

#![expect(clippy::indexing_slicing, reason = "indexing a JSON value gives null, not a panic")]

mod bad_messages;
mod bad_setup;
mod cancelled;
mod commands;
mod corpus;
mod demo_failures;
mod fake_gate;
mod gate_trouble;
mod http;
mod kills;
mod later;
mod lifetime;
mod reviewer;
mod rules;
mod stdio;
mod strangers;
mod told;
mod without_holdpoint;
