//! Lists of tools as a client can read them that knows only a part of JSON Schema.
//!
//! # Rules
//! 1. Only answers to `tools/list` are changed, and in them only `inputSchema` and `outputSchema`; a schema with nothing in
//!    it that such a client does not know keeps its bytes.
//! 2. What is pinned, and what arguments are held against, stays what the server says: a call that fits only the
//!    list as it is told here is refused.

mod subset;

use crate::message::{IdKey, Object, place};
use serde_json::{Value, value::RawValue};
use std::ops::Range;

/// Which clients a server's list of tools is written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// It passes as the server says it.
    #[default]
    AsStated,
    /// The part of JSON Schema that Copilot Studio reads: no `$ref`, one type at a time, bounds without
    /// `exclusiveMinimum` and `exclusiveMaximum`.
    CopilotStudio,
}

/// `text` with its answers to the requests `asked` as the client can read them. `None`: it stays as it is.
pub(crate) fn readable(text: &str, asked: &[IdKey]) -> Option<String> {
    let messages: Vec<&RawValue> = if text.trim_ascii_start().starts_with('[') {
        serde_json::from_str(text).ok()?
    } else {
        vec![serde_json::from_str(text).ok()?]
    };
    let mut changes = Vec::new();
    for message in messages {
        changes_of(text, message.get(), asked, &mut changes);
    }
    spliced(text, &changes)
}

/// What stands for what, in the order of the text.
type Changes = Vec<(Range<usize>, String)>;

/// Notes what changes in one message; nothing where it is no list that was asked for.
fn changes_of(text: &str, message: &str, asked: &[IdKey], changes: &mut Changes) -> Option<()> {
    let answer = Object::read_leniently(message).ok()?;
    let id = IdKey::read(answer.get("id")?.get())?;
    if answer.get("method").is_some() || !asked.contains(&id) {
        return None;
    }
    let result = Object::read_leniently(answer.get("result")?.get()).ok()?;
    let tools: Vec<&RawValue> = serde_json::from_str(result.get("tools")?.get()).ok()?;
    for tool in tools {
        let Ok(tool) = Object::read_leniently(tool.get()) else {
            continue;
        };
        let schemas = tool.into_members().filter(|(key, _)| matches!(&**key, "inputSchema" | "outputSchema"));
        for (_, stated) in schemas {
            let schema: Option<Value> = serde_json::from_str(stated.get()).ok();
            if let Some(changed) = schema.as_ref().and_then(subset::of) {
                changes.push((place(text, stated.get()), changed.to_string()));
            }
        }
    }
    Some(())
}

fn spliced(text: &str, changes: &Changes) -> Option<String> {
    if changes.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (range, instead) in changes {
        out.push_str(text.get(from..range.start)?);
        out.push_str(instead);
        from = range.end;
    }
    out.push_str(text.get(from..)?);
    Some(out)
}

#[cfg(test)]
mod tests;
