//! Drives a Gate through its router, on a real database.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod admin;
mod agent;
mod apply;
mod doors;
mod feed;
mod inbox;
mod live;
mod many;
mod proposals;
mod races;
mod repeats;
mod revisions;
mod sign_in;
mod tokens;
mod waiting;
mod world;
