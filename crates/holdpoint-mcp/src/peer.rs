//! A client and a server of our own, on rmcp: what the demo and the setup talk with. Never on the way of anybody
//! else's call.

mod client;
mod http_transport;
mod notes;

pub use client::{CallOutcome, Client, PeerError};
pub use notes::serve_notes;
