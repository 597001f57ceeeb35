//! Who is let in, as whom, and what everybody else is told.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

mod door;
mod keys;
mod tokens;
mod told;
mod wrong_tokens;
