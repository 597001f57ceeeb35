//! Webhooks, Gate → agent: the body, and the signature over it as [Standard Webhooks] have it.
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com
//!
//! 1. A webhook is a doorbell. Its signature says who rang, never what was decided: the receiver reads the decision back.
//! 2. A delivery is signed over `ID.TIMESTAMP.BODY` with HMAC-SHA256; the header may hold several signatures, and one
//!    that fits is enough, so that a secret can be changed without a gap.
//! 3. A signature is good for five minutes before and after its time. Within them it can be replayed: remember ids.

mod signature;

use serde::{Deserialize, Serialize};

pub use self::signature::{
    SIGNATURES_MAX, SignatureError, Signed, TOLERANCE, WebhookSecret, WebhookSecretError,
};

/// What Gate posts to an agent when a reviewer decided. It proves nothing: the receiver reads the decision back.
///
/// Reading is strict on the seven fields and accepts further ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookBody {
    /// The thread that was decided.
    pub thread_id: String,
    /// The agent's task id.
    pub task_id: String,
    /// How it was decided.
    pub decision: WebhookDecision,
    /// The reviewer's words.
    pub message: String,
    /// Whose Gate this is.
    pub tenant_id: String,
    /// As the agent sent it.
    pub workflow_name: String,
    /// As the agent sent it.
    pub task_label: String,
}

crate::decision::wire_status! {
    /// The decision a [`WebhookBody`] reports.
    pub enum WebhookDecision {
        /// `approved`
        Approved = "approved",
        /// `rejected`
        Rejected = "rejected",
    }
}
