use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::fields::{self, BodyError};
use crate::{ApprovalToken, Limits, TaskId};

/// The body of `POST /api/agent/approvals/validate`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ValidateBody {
    /// The task the approval was for.
    pub task_id: TaskId,
    /// The token Gate handed out.
    pub signature: ApprovalToken,
}

impl ValidateBody {
    /// Reads a body as it came from an agent.
    pub fn parse(body: &[u8], limits: &Limits) -> Result<Self, BodyError> {
        fields::parse(body, limits)
    }
}

/// Gate's answer to a validation. Only [`ValidateAnswer::Valid`] may run a tool, and only once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValidateAnswer {
    /// `{"valid": true}`
    Valid,
    /// `{"valid": false, "reason": …}`
    Refused(RefusedReason),
}

crate::decision::wire_status! {
    /// Why a token was refused.
    pub enum RefusedReason {
        /// No such token for this agent and task.
        Invalid = "invalid",
        /// It was valid once.
        Expired = "expired",
        /// It was spent before: somebody may be replaying it.
        Used = "used",
    }
}

impl Serialize for ValidateAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = match self {
            Self::Valid => Wire { valid: true, reason: None },
            Self::Refused(reason) => Wire { valid: false, reason: Some(reason.clone()) },
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ValidateAnswer {
    /// `valid` must be there and be a boolean; true with a reason contradicts itself and is an error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Wire::deserialize(deserializer)? {
            Wire { valid: true, reason: None } => Ok(Self::Valid),
            Wire { valid: true, reason: Some(_) } => {
                Err(de::Error::custom("valid, and yet a reason for a refusal"))
            }
            Wire { valid: false, reason } => {
                Ok(Self::Refused(reason.unwrap_or_else(|| RefusedReason::Unknown(String::new()))))
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    valid: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<RefusedReason>,
}
