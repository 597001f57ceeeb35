//! Templates over a call: text with `{{ args.amount }}` in it.
//!
//! A plain path is looked up directly and shown as the caller wrote it: numbers keep their text, objects are JSON.
//! Everything else goes to the template engine, with strict undefined values, bounded fuel and depth, and nothing to
//! load from. There, a number that a 64-bit float cannot hold exactly cannot be used, rather than be shown wrong.

mod condition;
mod engine;
mod number;
mod reads;

pub(crate) use condition::Condition;
pub(crate) use engine::Engine;
pub(crate) use reads::{Reads, TemplateMistake, where_read};

use crate::{
    mistake::{printable, printable_lines},
    pointer::walk,
};
use holdpoint_core::ToolCall;
use minijinja::Environment;
use serde_json::{Map, Value};
use std::{borrow::Cow, cell::OnceCell, fmt};

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
    lines: Lines,
}

/// How many lines the text may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// A line break is shown as an escape.
    One,
    /// Line breaks stay.
    Many,
    /// Nothing is escaped: a program reads it.
    AsSent,
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Argument { keys: Vec<Box<str>> },
    Word(Word),
    Engine { name: Box<str>, reads: Vec<Vec<Box<str>>> },
}

/// What a template can say of a call besides its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Tool,
    Server,
    Task,
}

/// Gives arguments with their secrets masked; `None` if they have none.
pub(crate) type Masking<'a> = dyn Fn(&Map<String, Value>) -> Option<Map<String, Value>> + 'a;

/// What templates see of one call.
pub(crate) struct Scope<'a> {
    pub(crate) arguments: Option<&'a Map<String, Value>>,
    pub(crate) tool: &'a str,
    pub(crate) server: &'a str,
    pub(crate) task: &'a str,
    /// Arguments as the engine may see them, made when first needed: with secrets masked.
    pub(crate) masked: &'a Masking<'a>,
    pub(crate) context: OnceCell<minijinja::Value>,
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("tool", &self.tool).finish_non_exhaustive()
    }
}

impl<'a> Scope<'a> {
    pub(crate) fn of(call: &'a ToolCall, masked: &'a Masking<'a>) -> Self {
        Self {
            arguments: call.arguments.as_map(),
            tool: call.tool.as_str(),
            server: call.server.as_str(),
            task: call.task.as_str(),
            masked,
            context: OnceCell::new(),
        }
    }
}

impl Template {
    /// The text as a name: one and the same for values that mean the same, and none for values that name nothing.
    pub(crate) fn name(&self, scope: &Scope<'_>, engine: &Environment<'static>) -> Result<String, String> {
        let mut name = String::with_capacity(64);
        for part in &self.parts {
            match part {
                Part::Text(_) | Part::Word(_) | Part::Engine { .. } => part.push(scope, engine, &mut name)?,
                Part::Argument { keys } => {
                    let value = find(scope.arguments, keys).ok_or_else(|| missing(keys))?;
                    push_name(value, &mut name)
                        .map_err(|why| format!("cannot use the argument `{}`: {why}", keys.join(".")))?;
                }
            }
        }
        Ok(name)
    }

    /// The text, if it is the same for every call.
    pub(crate) fn constant(&self) -> Option<String> {
        let part = |part: &Part| match part {
            Part::Text(text) => Some(text.to_string()),
            Part::Word(_) | Part::Argument { .. } | Part::Engine { .. } => None,
        };
        self.parts.iter().map(part).collect()
    }

    /// The text, or what is missing, in words without values.
    pub(crate) fn render(&self, scope: &Scope<'_>, engine: &Environment<'static>) -> Result<String, String> {
        let mut text = String::with_capacity(64);
        for part in &self.parts {
            part.push(scope, engine, &mut text)?;
        }
        let shown = match self.lines {
            Lines::One => printable(&text),
            Lines::Many => printable_lines(&text),
            Lines::AsSent => Cow::Borrowed(&*text),
        };
        Ok(match shown {
            Cow::Borrowed(_) => text,
            Cow::Owned(escaped) => escaped,
        })
    }
}

impl Part {
    fn push(
        &self,
        scope: &Scope<'_>,
        engine: &Environment<'static>,
        text: &mut String,
    ) -> Result<(), String> {
        match self {
            Self::Text(part) => text.push_str(part),
            Self::Word(Word::Tool) => text.push_str(scope.tool),
            Self::Word(Word::Server) => text.push_str(scope.server),
            Self::Word(Word::Task) => text.push_str(scope.task),
            Self::Argument { keys } => {
                let value = find(scope.arguments, keys).ok_or_else(|| missing(keys))?;
                push_value(value, text);
            }
            Self::Engine { name, reads } => text.push_str(&engine::render(engine, name, reads, scope)?),
        }
        Ok(())
    }
}

fn find<'v>(arguments: Option<&'v Map<String, Value>>, keys: &[Box<str>]) -> Option<&'v Value> {
    walk(arguments?, keys.iter().map(|key| &**key))
}

fn missing(keys: &[Box<str>]) -> String {
    format!("needs the argument `{}`, which the call does not have", keys.join("."))
}

/// A value as plain text.
fn push_value(value: &Value, text: &mut String) {
    match value {
        Value::String(value) => text.push_str(value),
        Value::Number(number) => text.push_str(number.as_str()),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Null => text.push_str("null"),
        Value::Array(_) | Value::Object(_) => text.push_str(&value.to_string()),
    }
}

/// A value as a part of a name. `40`, `40.0` and `4e1` are one number, so they are one name; so are texts that differ in the
/// spaces around them, which most tools take off.
fn push_name(value: &Value, name: &mut String) -> Result<(), &'static str> {
    match value {
        Value::String(text) if text.trim().is_empty() => return Err("it is empty"),
        Value::String(text) => name.push_str(text.trim()),
        Value::Number(number) => name.push_str(&number::plain(number.as_str())),
        Value::Bool(true) => name.push_str("true"),
        Value::Bool(false) => name.push_str("false"),
        Value::Null => return Err("it is null"),
        Value::Array(_) | Value::Object(_) => return Err("it is neither text nor a number"),
    }
    Ok(())
}
