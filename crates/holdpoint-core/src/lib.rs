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
//! 5. A call whose effect has a name runs at most once per name, whoever calls, and whether or not a person was asked.
//! 6. What cannot be recorded as evidence does not run, where anybody was asked about it.
//!
//! # Not guaranteed here
//! That the tool is reachable only through a [`PermittedCall`]: that is the wiring's part. How durable "durable" is:
//! that is the [`Journal`]'s part.

mod asking;
mod call;
mod digest;
mod effect;
mod flight;
mod gate;
mod hold;
mod interest;
mod journal;
mod json;
mod names;
mod once;
mod operation;
mod permit;
mod policy;
mod ports;
mod record;
mod reject;
mod ticket;
mod words;

pub use call::{ArgumentError, Arguments, ToolCall, ToolWarning};
pub use digest::{CallDigest, DefinitionDigest, QuestionDigest, definition_digest};
pub use effect::{
    Effect, EffectId, EffectRun, EffectState, NewEffect, Question, Reconcile, Settled, Taken, Verdict,
};
pub use gate::{Admission, Caller, Gate, GateParts, HoldLimits};
pub use hold::{Continued, Proposed, Withdrawal};
pub use interest::{Interest, InterestHandle, Stance};
pub use journal::{
    Ending, Found, HeldCall, HoldId, HoldState, Identity, Journal, JournalError, Liveness, Moved, NewHold,
    Opened, Owner, Resolution, Step, StoredResult,
};
pub use json::{AmbiguousJson, DEPTH_MAX, check_unambiguous, same_key};
pub use names::{
    EffectKey, EntryName, OperationId, PolicyRevision, Principal, ServerName, TaskId, ThreadId, TicketId,
    ToolName,
};
pub use operation::{
    NewOperation, OpenedOperation, Operation, OperationBook, OperationChange, OperationContent, OperationOf,
    OperationState, Ownerless,
};
pub use permit::{Completion, Delivery, Grounds, Outcome, PermittedCall, Receipt};
pub use policy::{Ask, Plan, PlanError, Policy, RiskLevel, Tokens};
pub use ports::{
    Answer, Approval, ApprovalToken, Approver, ApproverError, Clock, Definitions, Hold, Onlooker, Probe,
    Redemption, Refusal, Repeat, Revised, Standing, StillThere, Submission,
};
pub use record::{Decision, Event, Facts, NoRecord, Ran, RecordError, Recorder, Resolver, Secrets, What};
pub use reject::{Flaw, Mismatch, Rejection, Retry, Unavailable};
pub use ticket::{Kept, NewTicket, Ticket, TicketBook, TicketRequest, TicketState, TicketStep, Tickets};
pub use words::{CallerWords, OWN_PREFIX};
