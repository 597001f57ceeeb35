//! Through the public doors: clients and servers on pipes and sockets, Gate and journal in memory.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod asking;
mod attacks;
mod batches;
mod children_lives;
mod children_sessions;
mod children_shared;
mod compat;
mod corpus;
mod crossing;
mod crossing_calls;
mod definitions;
mod denied;
mod effects;
mod era;
mod era_legacy_server;
mod era_modern_server;
mod family;
mod headers;
mod house;
mod http_calls;
mod http_passing;
mod linked;
mod losing;
mod outcomes;
mod peer;
mod pipe;
mod probing;
mod stdio_calls;
mod stdio_passing;
mod stopping;
mod tasks;
mod tasks_stdio;
mod their_tasks;
mod waiting;
mod waiting_http;
mod web;
