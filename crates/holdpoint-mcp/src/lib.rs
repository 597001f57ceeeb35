//! MCP on both sides of the kernel.
//!
//! ```text
//! client ─► shallow look ─┬─ anything else ─────────────────────────────────────────────────────► server
//!                         └─ tools/call ─► tool known? accepted? arguments fit? ─► GateLayer ─► permit ─► server
//! ```
//!
//! # Rules
//! 1. Raw messages end to end. Typed models lose fields (rmcp's changes or refuses more than half of a corpus of 75
//!    ordinary messages), so what is not ours to change is never decoded and encoded again.
//! 2. Only `tools/call` is gated, by the body and never by headers. It reaches the server through a
//!    `Service<PermittedCall>` and through nothing else, but for the read-only tools by which the configuration finds out
//!    whether an effect happened: those we call ourselves, and no client hears of it.
//! 3. What a lenient server could read as a tool call, and we do not, is not forwarded.
//! 4. A refusal is a tool result that the model can act on, never a private error code.
//!
//! # Not guaranteed
//! `_meta` of a call passes as the client sent it and is not part of what is approved: a server must not let it change
//! what a tool does.

mod actions;
mod bridge;
mod catalog;
mod compat;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
pub mod http;
mod message;
mod more;
mod outcome;
pub mod peer;
mod pins;
mod progress;
mod protocol;
mod random;
mod reply;
pub mod stdio;
mod survey;
mod tasks;
mod upstream;
mod waiting;

pub use actions::{Action, GateEverything, ToolActions};
pub use bridge::Era;
pub use compat::Compat;
pub use guard::{Guard, Place};
pub use pins::{MemoryPins, Pinned, Pins, PinsError};
pub use survey::{StatedTool, Survey, SurveyError, survey_address, survey_command};
pub use upstream::{ChildLimits, Launch, Launched, ServerAddress, ServerAddressError, UpstreamBodyError};
pub use waiting::{ClientKind, Declined, StateKey, WaitMode, Waits, WaitsAs};
