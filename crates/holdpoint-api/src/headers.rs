//! Header names of the agent API, in the lower case HTTP libraries want.

/// Announces that decisions may be awaited (`?wait=`); its value is the longest wait in seconds.
pub const GATE_LONG_POLL: &str = "gate-long-poll";

/// Announces the feed of [`DecisionChanges`](crate::DecisionChanges); its value is the feed's version,
/// [`DecisionChanges::VERSION`](crate::DecisionChanges::VERSION).
pub const GATE_DECISION_FEED: &str = "gate-decision-feed";

/// Names a request, so that sending it again cannot open a second thread.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Standard Webhooks: the delivery's id.
pub const WEBHOOK_ID: &str = "webhook-id";

/// Standard Webhooks: when the delivery was signed, in seconds since the epoch.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";

/// Standard Webhooks: the signatures over id, timestamp and body.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";
