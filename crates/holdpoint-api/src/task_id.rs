use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::Limits;

/// A task id: chosen by the caller, opaque to Gate.
///
/// 1 to 256 bytes without control characters. `.` and `..` are refused: as a path segment, encoded or not, URL
/// parsers fold them away, so a body could reach another task than the one meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TaskId(String);

/// Why a text is no task id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TaskIdError {
    /// No text at all.
    #[error("a task id cannot be empty")]
    Empty,
    /// Over [`Limits::TASK_ID_BYTES`].
    #[error("a task id is at most 256 bytes long")]
    TooLong,
    /// Control characters, or `.` and `..`.
    #[error("a task id cannot be `.` or `..` or hold control characters")]
    Unusable,
}

impl TaskId {
    /// Reads a task id.
    pub fn parse(text: impl Into<String>) -> Result<Self, TaskIdError> {
        let text = text.into();
        if text.is_empty() {
            return Err(TaskIdError::Empty);
        }
        if text.len() > Limits::TASK_ID_BYTES {
            return Err(TaskIdError::TooLong);
        }
        if text == "." || text == ".." || text.chars().any(char::is_control) {
            return Err(TaskIdError::Unusable);
        }
        Ok(Self(text))
    }

    /// The id as it travels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
