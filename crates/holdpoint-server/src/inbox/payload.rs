//! The payload as a table a person can read at a glance, with nothing left out.

use serde_json::{Map, Value};

use crate::visible::{self, Html};

/// A payload on a page.
#[derive(Debug)]
pub(super) struct PayloadView {
    /// One per top-level key, in the order they were sent.
    pub(super) fields: Vec<FieldView>,
    /// Keys the revision before had and this one has not.
    pub(super) gone: Vec<Html>,
    /// The text exactly as it was sent.
    pub(super) raw: Html,
    pub(super) bytes: usize,
}

/// One field.
#[derive(Debug)]
pub(super) struct FieldView {
    pub(super) name: Html,
    pub(super) value: ValueView,
    pub(super) change: Change,
    /// What it was before, when it changed.
    pub(super) was: Option<Html>,
}

/// How a field differs from the revision before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Same,
    Changed,
    New,
}

/// A value, told apart so that a text `5` does not look like the number.
#[derive(Debug)]
pub(super) enum ValueView {
    /// A text that reads as nothing else.
    Text(Html),
    /// A text of several lines, such as a statement or a file.
    Lines(Html),
    /// A text that would look like something else without its quotes.
    Quoted(Html),
    /// A number, true, false or null.
    Plain(Html),
    /// A list or an object, indented.
    Nested(Html),
}

/// Past this a table helps nobody, and the raw text says it all.
const TABLE_BYTES_MAX: usize = 256 * 1024;

/// A longer value before a change is not repeated beside the new one.
const WAS_CHARACTERS_MAX: usize = 200;

impl PayloadView {
    /// The view of a payload, and of what changed since `before`.
    pub(super) fn new(text: &str, before: Option<&str>) -> Self {
        let mut view =
            Self { fields: Vec::new(), gone: Vec::new(), raw: visible::block(text), bytes: text.len() };
        if text.len() > TABLE_BYTES_MAX {
            return view;
        }
        // What we stored we can read; if not, the raw text is still there.
        let Ok(value) = serde_json::from_str::<Value>(text) else { return view };
        let before: Option<Value> = before.and_then(|before| serde_json::from_str(before).ok());
        match value {
            Value::Object(fields) => {
                let before = before.as_ref().map(|before| before.as_object().cloned().unwrap_or_default());
                view.gone = gone(&fields, before.as_ref());
                view.fields = fields
                    .iter()
                    .map(|(name, value)| FieldView {
                        name: visible::line(name),
                        value: ValueView::new(value),
                        change: change(value, name, before.as_ref()),
                        was: was(value, name, before.as_ref()),
                    })
                    .collect();
            }
            Value::Null => {}
            whole @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                let change = match before {
                    Some(before) if before != whole => Change::Changed,
                    Some(_) | None => Change::Same,
                };
                let name = visible::line("whole payload");
                view.fields.push(FieldView { name, value: ValueView::new(&whole), change, was: None });
            }
        }
        view
    }
}

impl ValueView {
    fn new(value: &Value) -> Self {
        match value {
            Value::String(text) if looks_like_something_else(text) => {
                Self::Quoted(visible::block(&Value::from(text.as_str()).to_string()))
            }
            Value::String(text) if text.contains('\n') => Self::Lines(visible::block(text)),
            Value::String(text) => Self::Text(visible::block(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Plain(visible::line(&value.to_string())),
            Value::Array(list) if list.is_empty() => Self::Plain(visible::line("[]")),
            Value::Object(fields) if fields.is_empty() => Self::Plain(visible::line("{}")),
            Value::Array(_) | Value::Object(_) => {
                let pretty = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
                Self::Nested(visible::block(&pretty))
            }
        }
    }
}

fn looks_like_something_else(text: &str) -> bool {
    text.trim() != text || text.is_empty() || serde_json::from_str::<Value>(text).is_ok()
}

fn change(value: &Value, name: &str, before: Option<&Map<String, Value>>) -> Change {
    match before.map(|before| before.get(name)) {
        None => Change::Same,
        Some(None) => Change::New,
        Some(Some(old)) if old == value => Change::Same,
        Some(Some(_)) => Change::Changed,
    }
}

fn gone(fields: &Map<String, Value>, before: Option<&Map<String, Value>>) -> Vec<Html> {
    let names = before.into_iter().flat_map(Map::keys);
    names.filter(|name| !fields.contains_key(*name)).map(|name| visible::line(name)).collect()
}

/// The value before, where it fits beside the new one; else the earlier version is there to look at.
fn was(value: &Value, name: &str, before: Option<&Map<String, Value>>) -> Option<Html> {
    let old = before?.get(name).filter(|old| *old != value)?;
    let text = match old {
        Value::String(text) if !looks_like_something_else(text) => text.clone(),
        other => other.to_string(),
    };
    let fits = text.chars().count() <= WAS_CHARACTERS_MAX;
    Some(visible::line(if fits { &text } else { "see the version before" }))
}
