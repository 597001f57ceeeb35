//! The two places where a passing message is changed: what a server is said to know, and whose tasks it is asked to watch.

use super::PREFIX;
use crate::{
    message::{Object, place, replaced, text_of},
    protocol::TASKS_EXTENSION,
};
use serde_json::value::RawValue;

/// The answer to `server/discover`, with the extension beside whatever the server says itself. `None`: it stays as it is,
/// because it is no such answer, names no tools, or has the extension.
pub(crate) fn advertised(text: &str) -> Option<String> {
    let result = member(text, "result")?;
    let capabilities = member(result, "capabilities")?;
    member(capabilities, "tools")?;
    let Some(extensions) = Object::read_leniently(capabilities).ok()?.get("extensions").map(RawValue::get)
    else {
        return put(text, capabilities, &format!(r#""extensions":{{"{TASKS_EXTENSION}":{{}}}}"#));
    };
    if Object::read_leniently(extensions).ok()?.get(TASKS_EXTENSION).is_some() {
        return None;
    }
    put(text, extensions, &format!(r#""{TASKS_EXTENSION}":{{}}"#))
}

/// `subscriptions/listen` without the ids of our tasks: the server cannot know them, and is not to learn them. `None`: it
/// names none.
pub(crate) fn without_our_tasks(text: &str) -> Option<String> {
    let params = member(text, "params")?;
    let filter = member(params, "notifications").unwrap_or(params);
    let ids = Object::read_leniently(filter).ok()?.get("taskIds")?.get();
    let all: Vec<&RawValue> = serde_json::from_str(ids).ok()?;
    let is_ours = |raw: &&RawValue| text_of(raw).is_some_and(|id| id.starts_with(PREFIX));
    if !all.iter().any(is_ours) {
        return None;
    }
    let theirs: Vec<&str> = all.into_iter().filter(|raw| !is_ours(raw)).map(RawValue::get).collect();
    replaced(text, ids, &format!("[{}]", theirs.join(",")))
}

/// The raw text of a member of an object, which is an object.
fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let raw = Object::read_leniently(text).ok()?.get(name)?.get();
    raw.starts_with('{').then_some(raw)
}

/// `text` with a first member in the object `part`, which was borrowed from it.
fn put(text: &str, part: &str, member: &str) -> Option<String> {
    let inner = place(text, part).start.checked_add(1)?;
    let is_empty = part.get(1..)?.trim_start().starts_with('}');
    let (before, after) = (text.get(..inner)?, text.get(inner..)?);
    Some([before, member, if is_empty { "" } else { "," }, after].concat())
}

#[cfg(test)]
mod tests;
