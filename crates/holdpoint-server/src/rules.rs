//! What Gate decides by itself.
//!
//! 1. All rules of the tool are evaluated; the most severe matching action wins, `allow < review < escalate < reject`.
//!    The order only picks which rule is named.
//! 2. The tool's default action applies only when nothing matches.
//! 3. Numbers are compared by their text, exactly. A value of the wrong type or a missing key does not match, and the
//!    trace says so; with `on_mismatch: review` it counts as a match that asks a person.
//! 4. A tool nobody declared goes to a person or is refused. It is never allowed.
//! 5. Patterns run in linear time and have a size limit; what does not compile is refused when rules are set.
//!
//! Pure: no clock, no state, no I/O.

mod decimal;
#[cfg(test)]
mod tests;
mod trace;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use holdpoint_api::declare::{
    Action, GateDeclaration, Mistake, OnMismatch, RuleDeclaration, RuleTest, ToolDeclaration, Unregistered,
};
use regex::{Regex, RegexBuilder};
use serde_json::{Number, Value};

use self::decimal::Decimal;
pub use self::trace::{RequestMark, RuleLine, Trace};

/// The rules of all tools, ready to be evaluated.
#[derive(Debug)]
pub struct RuleBook {
    tools: HashMap<String, ToolRules>,
    unregistered: Unregistered,
}

/// What came of a request, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What to do.
    pub action: Action,
    /// What decided.
    pub because: Because,
    /// What each rule of the tool found, in their order.
    pub findings: Vec<Finding>,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// This rule matched; the first of the most severe ones.
    Rule(usize),
    /// This rule could not be applied, and asks a person then.
    Mismatch(usize),
    /// No rule matched.
    Default,
    /// Nobody declared the tool.
    Unregistered,
}

/// What one rule found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It matched.
    Matched,
    /// It looked and did not match.
    NoMatch,
    /// The payload has no such parameter.
    Missing,
    /// The parameter is of a type the rule cannot compare.
    WrongType(JsonType),
}

/// The type of a JSON value, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number.
    Number,
    /// A string.
    Text,
    /// An array.
    List,
    /// An object.
    Object,
}

#[derive(Debug)]
struct ToolRules {
    default_action: Action,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    parameter: String,
    test: Test,
    action: Action,
    on_mismatch: OnMismatch,
    words: String,
}

#[derive(Debug)]
enum Test {
    Above(Number),
    Below(Number),
    Between(Number, Number),
    Contains(String),
    Pattern(Regex),
}

/// Memory one compiled pattern may take. Far above any that a person writes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

impl RuleBook {
    /// Compiles the rules of a declaration, or says everything that is wrong with them.
    pub fn compile(declaration: &GateDeclaration) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut tools = HashMap::with_capacity(declaration.tools.len());
        for (tool_at, tool) in declaration.tools.iter().enumerate() {
            let rules = compile_tool(tool, &format!("/tools/{tool_at}"), &mut mistakes);
            tools.insert(tool.name.clone(), rules);
        }
        if mistakes.is_empty() {
            Ok(Self { tools, unregistered: declaration.unregistered })
        } else {
            Err(mistakes)
        }
    }

    /// Decides on a request for `tool`. `payload` is its JSON text, `null` when it has none.
    ///
    /// The error is that the text cannot be read; then nothing was decided, and the request has to be refused.
    pub fn judge(&self, tool: &str, payload: &str) -> Result<Judgement, serde_json::Error> {
        let Some(rules) = self.tools.get(tool) else {
            let action = match self.unregistered {
                Unregistered::Review => Action::Review,
                Unregistered::Reject => Action::Reject,
            };
            return Ok(Judgement { action, because: Because::Unregistered, findings: Vec::new() });
        };
        if rules.rules.is_empty() {
            return Ok(Judgement {
                action: rules.default_action,
                because: Because::Default,
                findings: Vec::new(),
            });
        }
        let payload: Value = serde_json::from_str(payload)?;
        Ok(rules.judge(&payload))
    }

    /// The judgement in a form that can be kept and shown.
    #[must_use]
    pub fn trace<'book>(&'book self, tool: &str, judgement: &Judgement) -> Trace<'book> {
        let rules = self.tools.get(tool).map_or(&[][..], |tool| &tool.rules);
        let lines = rules.iter().zip(&judgement.findings).map(|(rule, finding)| RuleLine {
            rule: Cow::Borrowed(&rule.words),
            action: rule.action,
            finding: Cow::Borrowed(finding.words()),
        });
        Trace::new(judgement, lines.collect())
    }
}

impl ToolRules {
    fn judge(&self, payload: &Value) -> Judgement {
        let findings: Vec<Finding> = self.rules.iter().map(|rule| rule.look(payload)).collect();
        let mut worst: Option<(Action, Because)> = None;
        for (index, (rule, finding)) in self.rules.iter().zip(&findings).enumerate() {
            let (action, because) = match (finding, rule.on_mismatch) {
                (Finding::Matched, _) => (rule.action, Because::Rule(index)),
                (Finding::Missing | Finding::WrongType(_), OnMismatch::Review) => {
                    (Action::Review, Because::Mismatch(index))
                }
                (Finding::Missing | Finding::WrongType(_), OnMismatch::NoMatch) | (Finding::NoMatch, _) => {
                    continue;
                }
            };
            if worst.is_none_or(|(known, _)| action > known) {
                worst = Some((action, because));
            }
        }
        let (action, because) = worst.unwrap_or((self.default_action, Because::Default));
        Judgement { action, because, findings }
    }
}

impl Rule {
    fn look(&self, payload: &Value) -> Finding {
        let value = if self.parameter.starts_with('/') {
            payload.pointer(&self.parameter)
        } else {
            payload.as_object().and_then(|object| object.get(&self.parameter))
        };
        let Some(value) = value else { return Finding::Missing };
        let matched = match (&self.test, value) {
            (Test::Above(bound), Value::Number(number)) => compare(number, bound) == Some(Ordering::Greater),
            (Test::Below(bound), Value::Number(number)) => compare(number, bound) == Some(Ordering::Less),
            (Test::Between(min, max), Value::Number(number)) => {
                matches!(compare(number, min), Some(Ordering::Greater | Ordering::Equal))
                    && matches!(compare(number, max), Some(Ordering::Less | Ordering::Equal))
            }
            (Test::Contains(folded), Value::String(text)) => fold_case(text).contains(folded),
            (Test::Pattern(pattern), Value::String(text)) => pattern.is_match(text),
            (
                Test::Above(_) | Test::Below(_) | Test::Between(..) | Test::Contains(_) | Test::Pattern(_),
                other,
            ) => {
                return Finding::WrongType(JsonType::of(other));
            }
        };
        if matched { Finding::Matched } else { Finding::NoMatch }
    }
}

impl Finding {
    fn words(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::NoMatch => "did not match",
            Self::Missing => "not in the payload",
            Self::WrongType(JsonType::Null) => "cannot compare null",
            Self::WrongType(JsonType::Boolean) => "cannot compare true or false",
            Self::WrongType(JsonType::Number) => "cannot compare a number",
            Self::WrongType(JsonType::Text) => "cannot compare a text",
            Self::WrongType(JsonType::List) => "cannot compare a list",
            Self::WrongType(JsonType::Object) => "cannot compare an object",
        }
    }
}

impl JsonType {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Object,
        }
    }
}

fn compile_tool(tool: &ToolDeclaration, at: &str, mistakes: &mut Vec<Mistake>) -> ToolRules {
    let mut rules = Vec::with_capacity(tool.rules.len());
    for (rule_at, rule) in tool.rules.iter().enumerate() {
        match compile_rule(rule) {
            Ok(rule) => rules.push(rule),
            Err((field, message)) => {
                mistakes.push(Mistake { at: format!("{at}/rules/{rule_at}/{field}"), message });
            }
        }
    }
    ToolRules { default_action: tool.default_action, rules }
}

fn compile_rule(rule: &RuleDeclaration) -> Result<Rule, (&'static str, String)> {
    let parameter = &rule.parameter;
    let (test, words) = match &rule.test {
        RuleTest::UpperLimit { value } => {
            (Test::Above(bound("value", value)?), format!("`{parameter}` is above {value}"))
        }
        RuleTest::LowerLimit { value } => {
            (Test::Below(bound("value", value)?), format!("`{parameter}` is below {value}"))
        }
        RuleTest::Between { min, max } => (
            Test::Between(bound("min", min)?, bound("max", max)?),
            format!("`{parameter}` is between {min} and {max}"),
        ),
        RuleTest::Contains { value } => {
            (Test::Contains(fold_case(value)), format!("`{parameter}` contains `{value}`"))
        }
        RuleTest::Regex { pattern } => (
            Test::Pattern(compile_pattern(pattern)?),
            format!("`{parameter}` matches the pattern `{pattern}`"),
        ),
    };
    Ok(Rule { parameter: parameter.clone(), test, action: rule.action, on_mismatch: rule.on_mismatch, words })
}

fn bound(field: &'static str, number: &Number) -> Result<Number, (&'static str, String)> {
    match Decimal::parse(number.as_str()) {
        Some(decimal) if decimal.is_usable_bound() => Ok(number.clone()),
        Some(_) | None => Err((field, format!("{number} is no number that can be compared with"))),
    }
}

fn compile_pattern(pattern: &str) -> Result<Regex, (&'static str, String)> {
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| ("pattern", error.to_string()))
}

fn compare(number: &Number, bound: &Number) -> Option<Ordering> {
    Some(Decimal::parse(number.as_str())?.compare(&Decimal::parse(bound.as_str())?))
}

/// Folds case so that `ß`, `ẞ` and `SS` meet, both sigmas, and the Kelvin sign with its letter.
fn fold_case(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars()
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}
