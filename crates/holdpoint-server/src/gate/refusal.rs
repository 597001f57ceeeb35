use std::borrow::Cow;
use std::time::Duration;

use holdpoint_api::BodyError;
use holdpoint_store::StoreError;

use super::setup::SetupError;
use crate::images::ImageError;
use crate::random::NoRandomness;

/// Why an agent's call was not answered. Its words go to the agent: no rule, no name, no inner error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400
    BadRequest(Cow<'static, str>),
    /// 401
    Unauthorized,
    /// 403
    Forbidden(&'static str),
    /// 404
    NotFound(&'static str),
    /// 413
    TooLarge(String),
    /// 429
    TooMany { retry_after: Duration },
    /// 503: nothing was written, trying again is fine.
    Busy,
    /// 500: what went wrong is in the log.
    Internal,
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(_) => Self::TooLarge(error.to_string()),
            BodyError::Json(_)
            | BodyError::Ambiguous(_)
            | BodyError::Empty(_)
            | BodyError::LineTooLong { .. }
            | BodyError::TooMany { .. }
            | BodyError::TaskId(_) => Self::BadRequest(error.to_string().into()),
        }
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        Self::BadRequest(error.to_string().into())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overloaded | StoreError::Closed => Self::Busy,
            StoreError::Database { .. } | StoreError::ImpossibleRow { .. } => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, source, hint = error.hint(), "an agent's call failed in the store");
                Self::Internal
            }
        }
    }
}

impl From<SetupError> for Refusal {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Store(error) => error.into(),
            SetupError::Unreadable(_) => {
                tracing::error!(%error, "an agent's call was refused; apply a declaration this version can read");
                Self::Internal
            }
        }
    }
}

impl From<NoRandomness> for Refusal {
    fn from(error: NoRandomness) -> Self {
        tracing::error!(%error, "an agent's call failed");
        Self::Internal
    }
}

/// What the server wrote itself could not be written or read back as JSON.
impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        tracing::error!(%error, "an agent's call failed in our own JSON");
        Self::Internal
    }
}
