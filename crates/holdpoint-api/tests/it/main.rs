//! The wire as the reference shows it, and what is refused at the edge.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod declare;
mod edge;
mod reference;
mod secret;
