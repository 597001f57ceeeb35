use std::borrow::Cow;

use holdpoint_api::ExtraField;
use holdpoint_api::declare::Action;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Because, Judgement};

/// Why a request was decided as it was, or came before a person. Kept with the thread; fields are only ever added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trace<'book> {
    /// What was to be done.
    pub action: Action,
    /// `rule`, `mismatch`, `default` or `unregistered`.
    pub because: Cow<'book, str>,
    /// Which rule, when one did; counts from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// What each rule found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleLine<'book>>,
    /// What the agent sent beside the fields of the contract, as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_fields: Option<Box<RawValue>>,
    /// By which the request is known again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestMark>,
}

/// By which a request is known again when it is sent a second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestMark {
    /// The hash of agent and idempotency key.
    pub key: String,
    /// The digest of the whole body.
    pub body: String,
}

/// What one rule found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RuleLine<'book> {
    /// The rule in words.
    pub rule: Cow<'book, str>,
    /// What a match does.
    pub action: Action,
    /// What was found.
    pub finding: Cow<'book, str>,
}

impl<'book> Trace<'book> {
    pub(super) fn new(judgement: &Judgement, rules: Vec<RuleLine<'book>>) -> Self {
        let (because, rule) = match judgement.because {
            Because::Rule(index) => ("rule", Some(index)),
            Because::Mismatch(index) => ("mismatch", Some(index)),
            Because::Default => ("default", None),
            Because::Unregistered => ("unregistered", None),
        };
        Self {
            action: judgement.action,
            because: Cow::Borrowed(because),
            rule,
            rules,
            unknown_fields: None,
            request: None,
        }
    }

    /// Keeps what the agent sent beside the fields of the contract.
    pub fn keep_unknown(&mut self, fields: &[ExtraField]) -> Result<(), serde_json::Error> {
        if !fields.is_empty() {
            self.unknown_fields = Some(serde_json::value::to_raw_value(&Unknown(fields))?);
        }
        Ok(())
    }

    /// The one sentence a reviewer reads first.
    #[must_use]
    pub fn sentence(&self) -> String {
        let named = self.rule.and_then(|index| self.rules.get(index));
        match (self.because.as_ref(), named) {
            ("rule", Some(line)) => format!("A rule says {}: {}.", self.action.as_str(), line.rule),
            ("mismatch", Some(line)) => {
                format!(
                    "A rule could not be applied, so a person is asked: {} ({}).",
                    line.rule, line.finding
                )
            }
            ("unregistered", _) => "No rules are declared for this tool.".to_owned(),
            ("default", _) if self.rules.is_empty() => {
                format!("This tool has no rules; its default action is {}.", self.action.as_str())
            }
            ("default", _) => {
                format!("None of the tool's rules matched; its default action is {}.", self.action.as_str())
            }
            _ => format!("Gate was told to {} it.", self.action.as_str()),
        }
    }
}

struct Unknown<'fields>(&'fields [ExtraField]);

impl Serialize for Unknown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for field in self.0 {
            map.serialize_entry(&field.name, &field.value)?;
        }
        map.end()
    }
}
