//! What crosses the wire to Gate.
//!
//! The types here are the agent API as the vendor's reference words it, plus the few additive fields and headers
//! our own Gate sends. Both sides use them: the client reads answers, the server reads bodies.
//!
//! Rules this crate keeps:
//!
//! 1. Payloads stay the raw text that was sent ([`RequestBody::payload`]); their digest is taken over those bytes.
//! 2. Three status vocabularies are three types; a status we do not know is kept as `Unknown` and never runs a tool.
//! 3. Bodies are read once, at the edge, by `parse`, which applies the [`Limits`] and refuses duplicate keys.
//!    Unknown fields are accepted and kept.
//! 4. Keys, tokens and webhook secrets have types of their own with a redacted `Debug`.
//!
//! It does no I/O and holds no policy: evaluating rules and keeping state are the server's work.

mod changes;
mod decision;
pub mod declare;
mod digest;
mod event;
mod fields;
pub mod headers;
mod json;
mod limits;
pub mod paths;
mod request;
mod secret;
mod task_id;
mod validate;
pub mod webhook;

pub use crate::changes::DecisionChanges;
pub use crate::decision::{DecisionAnswer, DecisionStatus, ThreadState};
pub use crate::digest::{body_digest, payload_digest};
pub use crate::event::{EventBody, EventTarget, Revision, RevisionPayload};
pub use crate::fields::{BodyError, ExtraField};
pub use crate::json::{JsonProblem, inspect_json};
pub use crate::limits::Limits;
pub use crate::request::{InitialStatus, RequestAnswer, RequestBody, RiskLevel};
pub use crate::secret::{ApiKey, ApprovalToken, CallerKey, SecretFormatError, SecretHash};
pub use crate::task_id::{TaskId, TaskIdError};
pub use crate::validate::{RefusedReason, ValidateAnswer, ValidateBody};
pub use crate::webhook::{WebhookBody, WebhookDecision};
