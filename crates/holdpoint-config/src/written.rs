//! The files as written: one type per file, from which the reader and the published JSON Schemas both come.
//!
//! What these types cannot say (a URL that parses, a template that compiles, a server that exists) is checked when
//! they are settled, in `read` and `compile`.

mod bridge;
mod cases;
mod effect;
mod holdpoint;
mod tools;

pub(crate) use bridge::{Bridge, Callbacks, Target, TargetMethod, TargetTool, TargetValue, WrittenBody};
pub(crate) use cases::{Case, CasesFile, ExpectedPlan, ExpectedRequest};
pub(crate) use effect::{Reconcile, WrittenEffect};
pub(crate) use holdpoint::{
    Audit, Callers, Declined, Gate, Hold, HoldpointFile, Journal, OAuth, OwnHold, Server, ServerCompat,
    ServerEra, ShownResults, Timeline, TokenRule, Unmatched, WaitMode, Webhook,
};
pub(crate) use tools::{PayloadField, Risk, ToolEntry, ToolsFile, WrittenAction};
