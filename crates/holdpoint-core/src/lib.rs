//! The kernel: decides whether a tool call may run.
//!
//! ```text
//! ToolCall ─► plan ─┬─ deny ───────────────────────────────► Rejection
//!                   ├─ pass ──────────────┐
//!                   └─ gate ─► journal.find ─► submit ─┬─ allow ────────────────────────┐
//!                      (a live hold: join it)          ├─ reject ─► Rejection           │
//!                                                      └─ held ─► journal.open ─► wait ─┤
//!                            recheck plan + definition ─► claim ─► redeem ─► dispatched ┤
//!                                                                                       ▼
//!                                                                                PermittedCall
//! ```
//!
//! # Rules
//! 1. [`Gate::admit`] alone makes a [`PermittedCall`]; it can be neither forged, cloned, changed nor used twice.
//! 2. The call that was asked about is the call that is permitted: its raw argument bytes are frozen in the journal.
//! 3. A permit for a call that a person approved exists only after `dispatched` is durable in the journal.
//! 4. Every doubt is a [`Rejection`]. There is no default that runs a tool.
//!
//! # Not guaranteed here
//! That the tool is reachable only through a [`PermittedCall`]: that is the wiring's part. How durable "durable" is:
//! that is the [`Journal`]'s part.

mod asking;
mod call;
mod digest;
mod flight;
mod gate;
mod hold;
mod interest;
mod journal;
mod json;
mod names;
mod permit;
mod policy;
mod ports;
mod reject;

pub use call::{ArgumentError, Arguments, ToolCall};
pub use digest::{CallDigest, DefinitionDigest, definition_digest};
pub use gate::{Admission, Caller, Gate, GateParts, HoldLimits};
pub use interest::{Interest, InterestHandle, Stance};
pub use journal::{
    Ending, Found, HeldCall, HoldId, HoldState, Identity, Journal, JournalError, Moved, NewHold, Opened,
    Owner, Resolution, Step, StoredResult,
};
pub use json::{AmbiguousJson, DEPTH_MAX, check_unambiguous, same_key};
pub use names::{EntryName, PolicyRevision, Principal, ServerName, TaskId, ThreadId, ToolName};
pub use permit::{Completion, Delivery, Grounds, PermittedCall, Receipt};
pub use policy::{Ask, Plan, PlanError, Policy, RiskLevel, Tokens};
pub use ports::{
    Answer, Approval, ApprovalToken, Approver, ApproverError, Clock, Definitions, Hold, Onlooker, Redemption,
    Refusal, Repeat, Submission,
};
pub use reject::{Flaw, Mismatch, Rejection, Retry, Unavailable};
