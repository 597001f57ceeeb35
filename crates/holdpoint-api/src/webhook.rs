use serde::{Deserialize, Serialize};

/// What Gate posts to an agent when a reviewer decided. It proves nothing: the receiver reads the decision back.
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
