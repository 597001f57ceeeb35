//! One HTTP call for platforms that cannot wait: asks Gate, holds the request for a while, and answers `allow`, `deny` or
//! `pending` in the status, in a header and in the body.
//!
//! ```text
//! POST /v1/decisions ─► rules decide ──────────────────────────► 200
//!            │
//!            └─ a person has to ─► operation on record ─► wait ─┬─► 200
//!                                        │                      └─► 202, Location ─► GET … ─► 200
//!                                        └─► one driver goes on, over restarts ─► callback
//! ```
//!
//! # Rules
//! 1. A question has a name that its caller gave it. The same name and question find the same operation, and so the same
//!    review; the same name and another question are refused.
//! 2. What a caller is told to come back for is on record before it is told.
//! 3. *Execute*: the bridge runs it, by a permit of the kernel. Durable before the target sees a byte, and once per
//!    operation, also where no person was asked.
//! 4. *Check*: the caller runs it. The permit is for handing out the yes.
//! 5. Every doubt is a `deny`, or an error; there is no answer of which a part says something else.
//!
//! # Not guaranteed here
//! That a caller who was told yes in check mode acts once, or at all, or on what was approved: nobody but the caller knows. Who
//! the caller is, and that no web page of a stranger is behind a request: that is the wiring's part.

mod agent;
mod answer;
mod ask;
mod asked;
mod bridge;
mod callback;
mod caller;
mod content;
mod desk;
mod documents;
mod drive;
mod http;
mod inner;
mod key;
mod options;
mod outgoing;
mod own;
mod places;
mod problem;
mod reply;
mod run;
mod target;

pub use bridge::Bridge;
pub use caller::BridgeCaller;
pub use options::{
    Agent, BridgeOptions, BridgeParts, CHECKS, CallbackOptions, DenyStatus, EventRefused, Events,
    PrivateAddresses,
};
pub use target::{PathPart, Target, TargetBody, TargetTool, ValueSource};
