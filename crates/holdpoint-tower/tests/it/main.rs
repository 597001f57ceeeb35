//! The kernel through its layer: the tool runs exactly when it may. Every refusal is checked to have run it zero times,
//! every run to have run it once.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod at_most_once;
mod binding;
mod clocks;
mod closing;
mod crashes;
mod effects;
mod effects_in_doubt;
mod evidence;
mod house;
mod leaving;
mod recheck;
mod refusals;
mod results;
mod revisions;
mod stories;
mod waiting;
