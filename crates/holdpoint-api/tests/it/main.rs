//! The wire as the reference shows it, and what is refused at the edge.
#![expect(clippy::unwrap_used, reason = "tests")]

mod declare;
mod edge;
mod reference;
mod secret;
mod webhook;
