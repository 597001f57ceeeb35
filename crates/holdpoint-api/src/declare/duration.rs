use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time as people write it: `10m`, `1h 30m`, `45s`. Positive, at most a year, never a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumaneDuration(Duration);

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not in a form people write.
    #[error("`{0}` is no length of time; write it like `10m` or `1h 30m`")]
    Unreadable(String),
    /// Zero, negative, or over a year.
    #[error("`{0}` is not between a millisecond and a year")]
    OutOfRange(String),
}

const LONGEST: Duration = Duration::from_hours(366 * 24);
const SHORTEST: Duration = Duration::from_millis(1);

impl HumaneDuration {
    /// Reads a length of time.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let signed: SignedDuration = text.parse().map_err(|_| DurationError::Unreadable(text.to_owned()))?;
        let length = Duration::try_from(signed).map_err(|_| DurationError::OutOfRange(text.to_owned()))?;
        if (SHORTEST..=LONGEST).contains(&length) {
            Ok(Self(length))
        } else {
            Err(DurationError::OutOfRange(text.to_owned()))
        }
    }

    pub(crate) const fn from_seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The length itself.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl fmt::Display for HumaneDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SignedDuration::try_from(self.0) {
            Ok(signed) => write!(f, "{signed:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

impl Serialize for HumaneDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumaneDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for HumaneDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time, such as `10m` or `1h 30m`.",
            "examples": ["10m", "1h 30m", "45s"]
        })
    }
}
