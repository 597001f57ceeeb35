mod schema;

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Number;

use super::Action;

/// One rule of a tool: where to look, what to look for, what to do.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleDeclaration {
    /// A top-level key of the payload, or a JSON Pointer when it starts with `/`.
    pub parameter: String,
    /// What is compared.
    pub test: RuleTest,
    /// What a match does.
    pub action: Action,
    /// What a missing key or a value of the wrong type does.
    pub on_mismatch: OnMismatch,
}

/// What a rule compares.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleTest {
    /// The number is above `value`.
    UpperLimit {
        /// The bound itself does not match.
        value: Number,
    },
    /// The number is below `value`.
    LowerLimit {
        /// The bound itself does not match.
        value: Number,
    },
    /// The number lies between, bounds included.
    Between {
        /// The lower bound.
        min: Number,
        /// The upper bound.
        max: Number,
    },
    /// The text holds `value`, in whatever case.
    Contains {
        /// What to look for.
        value: String,
    },
    /// The pattern matches somewhere in the text.
    Regex {
        /// In the syntax of the `regex` crate.
        pattern: String,
    },
}

/// What a missing key or a value of the wrong type does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMismatch {
    /// The rule does not match.
    #[default]
    NoMatch,
    /// The request goes to a person.
    Review,
}

impl RuleTest {
    /// The word in `type`.
    #[must_use]
    pub fn type_word(&self) -> &'static str {
        match self {
            Self::UpperLimit { .. } => "upper_limit",
            Self::LowerLimit { .. } => "lower_limit",
            Self::Between { .. } => "between",
            Self::Contains { .. } => "contains",
            Self::Regex { .. } => "regex",
        }
    }
}

impl RuleDeclaration {
    /// What the fields get wrong together: the field to underline, and why.
    pub(super) fn mistake(&self) -> Option<(&'static str, String)> {
        if self.parameter.is_empty() {
            return Some(("parameter", "a rule needs a parameter to look at".to_owned()));
        }
        match &self.test {
            RuleTest::Between { min, max } if above(min, max) => {
                Some(("min", format!("`min` {min} is above `max` {max}, so this never matches")))
            }
            RuleTest::Contains { value } if value.is_empty() => {
                Some(("value", "every text contains the empty text".to_owned()))
            }
            RuleTest::UpperLimit { .. }
            | RuleTest::LowerLimit { .. }
            | RuleTest::Between { .. }
            | RuleTest::Contains { .. }
            | RuleTest::Regex { .. } => None,
        }
    }
}

fn above(min: &Number, max: &Number) -> bool {
    match (min.as_i64(), max.as_i64()) {
        (Some(min), Some(max)) => min > max,
        (Some(_) | None, _) => {
            matches!((min.as_f64(), max.as_f64()), (Some(min), Some(max)) if min > max)
        }
    }
}

impl Serialize for RuleDeclaration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.test.type_word())?;
        map.serialize_entry("parameter", &self.parameter)?;
        match &self.test {
            RuleTest::UpperLimit { value } | RuleTest::LowerLimit { value } => {
                map.serialize_entry("value", value)?;
            }
            RuleTest::Between { min, max } => {
                map.serialize_entry("min", min)?;
                map.serialize_entry("max", max)?;
            }
            RuleTest::Contains { value } => map.serialize_entry("value", value)?,
            RuleTest::Regex { pattern } => map.serialize_entry("pattern", pattern)?,
        }
        map.serialize_entry("action", &self.action)?;
        if self.on_mismatch != OnMismatch::default() {
            map.serialize_entry("on_mismatch", &self.on_mismatch)?;
        }
        map.end()
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RuleType {
    UpperLimit,
    LowerLimit,
    Between,
    Contains,
    Regex,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Type,
    Parameter,
    Value,
    Min,
    Max,
    Pattern,
    Action,
    OnMismatch,
}

/// A value before the rule's type says which kind it has to be.
enum Scalar {
    Number(Number),
    Text(String),
}

/// The fields of a rule as they come, each at most once.
#[derive(Default)]
struct Draft {
    rule_type: Option<RuleType>,
    parameter: Option<String>,
    value: Option<Scalar>,
    min: Option<Number>,
    max: Option<Number>,
    pattern: Option<String>,
    action: Option<Action>,
    on_mismatch: Option<OnMismatch>,
}

impl Draft {
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        let mut draft = Self::default();
        while let Some(field) = map.next_key()? {
            match field {
                Field::Type => once(&mut draft.rule_type, "type", map.next_value()?)?,
                Field::Parameter => once(&mut draft.parameter, "parameter", map.next_value()?)?,
                Field::Value => once(&mut draft.value, "value", map.next_value()?)?,
                Field::Min => once(&mut draft.min, "min", map.next_value()?)?,
                Field::Max => once(&mut draft.max, "max", map.next_value()?)?,
                Field::Pattern => once(&mut draft.pattern, "pattern", map.next_value()?)?,
                Field::Action => once(&mut draft.action, "action", map.next_value()?)?,
                Field::OnMismatch => {
                    once(&mut draft.on_mismatch, "on_mismatch", map.next_value()?)?;
                }
            }
        }
        Ok(draft)
    }

    fn finish<E: de::Error>(mut self) -> Result<RuleDeclaration, E> {
        let rule_type = self.rule_type.ok_or_else(|| E::missing_field("type"))?;
        let parameter = self.parameter.take().ok_or_else(|| E::missing_field("parameter"))?;
        let action = self.action.ok_or_else(|| E::missing_field("action"))?;
        let on_mismatch = self.on_mismatch.unwrap_or_default();
        let test = match rule_type {
            RuleType::UpperLimit => RuleTest::UpperLimit { value: self.number()? },
            RuleType::LowerLimit => RuleTest::LowerLimit { value: self.number()? },
            RuleType::Between => RuleTest::Between {
                min: self.min.take().ok_or_else(|| E::missing_field("min"))?,
                max: self.max.take().ok_or_else(|| E::missing_field("max"))?,
            },
            RuleType::Contains => RuleTest::Contains { value: self.text()? },
            RuleType::Regex => {
                RuleTest::Regex { pattern: self.pattern.take().ok_or_else(|| E::missing_field("pattern"))? }
            }
        };
        self.nothing_left(test.type_word())?;
        Ok(RuleDeclaration { parameter, test, action, on_mismatch })
    }

    fn number<E: de::Error>(&mut self) -> Result<Number, E> {
        match self.value.take() {
            Some(Scalar::Number(value)) => Ok(value),
            Some(Scalar::Text(_)) => Err(E::custom("`value` has to be a number here, without quotes")),
            None => Err(E::missing_field("value")),
        }
    }

    fn text<E: de::Error>(&mut self) -> Result<String, E> {
        match self.value.take() {
            Some(Scalar::Text(value)) => Ok(value),
            Some(Scalar::Number(_)) => Err(E::custom("`value` has to be a text here; put it in quotes")),
            None => Err(E::missing_field("value")),
        }
    }

    /// A field that another type of rule has is a mistake, not a remark: the operator meant something by it.
    fn nothing_left<E: de::Error>(&self, type_word: &str) -> Result<(), E> {
        let left = [
            ("value", self.value.is_some()),
            ("min", self.min.is_some()),
            ("max", self.max.is_some()),
            ("pattern", self.pattern.is_some()),
        ];
        match left.iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(E::custom(format_args!("a rule of type `{type_word}` has no `{field}`"))),
            None => Ok(()),
        }
    }
}

fn once<T, E: de::Error>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        Some(_) => Err(E::duplicate_field(name)),
        None => Ok(()),
    }
}

impl<'de> Deserialize<'de> for RuleDeclaration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RuleVisitor;

        impl<'de> Visitor<'de> for RuleVisitor {
            type Value = RuleDeclaration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rule")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RuleDeclaration, A::Error> {
                Draft::read(&mut map)?.finish()
            }
        }

        const FIELDS: &[&str] =
            &["type", "parameter", "value", "min", "max", "pattern", "action", "on_mismatch"];
        deserializer.deserialize_struct("RuleDeclaration", FIELDS, RuleVisitor)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;

        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(value.into()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar::Number(value.into()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Number::from_f64(value)
                    .map(Scalar::Number)
                    .ok_or_else(|| E::custom("a number has to be finite"))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(value.to_owned()))
            }

            /// JSON numbers keep their text and arrive as a map of one entry.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scalar, A::Error> {
                Number::deserialize(de::value::MapAccessDeserializer::new(map)).map(Scalar::Number)
            }
        }

        deserializer.deserialize_any(ScalarVisitor)
    }
}
