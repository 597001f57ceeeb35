use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ApprovalToken;

/// Gate's answer to a poll: `GET /api/agent/decisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionAnswer {
    /// Only [`DecisionStatus::Approved`] may run a tool.
    pub status: DecisionStatus,
    /// Which thread the answer is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// The agent's task id, when Gate repeats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The reviewer's or the system's words.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub message: String,
    /// When to ask again, while pending.
    #[serde(default, deserialize_with = "poll_hint", skip_serializing_if = "Option::is_none")]
    pub recommended_poll_after_seconds: Option<u64>,
    /// Only when approved, unspent, and signed tokens are on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_token: Option<ApprovalToken>,
    /// When `approval_token` stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<Timestamp>,
    /// Ours: the payload the decision covers; see [`payload_digest`](crate::payload_digest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_digest: Option<String>,
    /// Ours: the revision the decision was made on, or the one that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_id: Option<String>,
    /// Ours: where a person can look at the thread, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_url: Option<String>,
    /// Ours: the thread's own state, which tells an expired thread from one that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_state: Option<ThreadState>,
}

/// A word of the wire as an enum, with the unknown word kept. Reading never fails on an unknown word, so that what to
/// do about one is decided where statuses are matched, and nowhere else.
macro_rules! wire_status {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word this version does not know. It never runs a tool.
            Unknown(String),
        }

        impl $name {
            /// The word on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Unknown(word) => word,
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                Ok(match word.as_str() {
                    $($word => Self::$variant,)*
                    _ => Self::Unknown(word),
                })
            }
        }
    };
}
pub(crate) use wire_status;

wire_status! {
    /// The status of a [`DecisionAnswer`].
    pub enum DecisionStatus {
        /// Nobody decided yet.
        PendingReview = "pending_review",
        /// A reviewer approved; where signed tokens are on, the token is validated first.
        Approved = "approved",
        /// Refused, or expired without a decision.
        Rejected = "rejected",
    }
}

wire_status! {
    /// The state of a thread, finer than [`DecisionStatus`]. It explains; only the status may run a tool.
    pub enum ThreadState {
        /// Waits for a reviewer.
        NeedsReview = "needs_review",
        /// Waits, on top of the list.
        Escalated = "escalated",
        /// A reviewer approved.
        Approved = "approved",
        /// A reviewer or a rule refused.
        Rejected = "rejected",
        /// Nobody decided in time.
        Expired = "expired",
    }
}

pub(crate) fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The poll interval is a hint: a fraction is rounded up, and what is no sensible number is no hint.
pub(crate) fn poll_hint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    const HINT_MAX_SECONDS: f64 = 86_400.0;
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    Ok(number.and_then(|number| {
        number.as_u64().or_else(|| {
            let seconds = number.as_f64()?.ceil();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range is checked"
            )]
            (0.0..=HINT_MAX_SECONDS).contains(&seconds).then_some(seconds as u64)
        })
    }))
}
