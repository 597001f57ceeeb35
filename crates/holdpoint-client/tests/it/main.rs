//! The client through its public door, before a scripted Gate on real sockets.

#![expect(clippy::expect_used, clippy::panic, reason = "tests")]

mod ask;
mod client;
mod feed;
mod house;
mod redeem;
mod resend;
mod revise;
mod settings;
mod setup;
mod timeline;
mod wait;
mod webhook;
