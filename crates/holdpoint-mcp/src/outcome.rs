//! What a tool's answer says of the run, for the record.
//!
//! # Rules
//! 1. Only an answer that says neither that it failed nor that it is not finished is a success: an effect that is taken for
//!    had is never tried again.
//! 2. An excerpt is redacted first, then made visible, then cut: the other way round, pieces of secrets get through.

use crate::message::{Object, text_of};
use holdpoint_core::{Completion, Outcome, Ran};
use serde_json::value::RawValue;

/// As much as a reviewer reads of it.
const EXCERPT_CHARS_MAX: usize = 200;
/// Of a longer text, only so much is looked at.
const TEXT_CHARS_MAX: usize = 64 << 10;

/// The outcome that `message` tells, with its `result` or `error` member as what is kept. `None`: it is no answer.
pub(crate) fn outcome_of(message: &str, completion: &Completion) -> Option<Outcome> {
    let object = Object::read_leniently(message).ok()?;
    let fragment = fragment_of(&object)?;
    let error = object.get("error").filter(|error| error.get() != "null");
    let (ran, text) = match (error, object.get("result")) {
        (Some(error), _) => (Ran::Failed, message_of(error)),
        (None, Some(result)) => (ran_of(result), first_text_of(result)),
        (None, None) => (Ran::Failed, None),
    };
    let excerpt = text.map(|text| {
        let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
        excerpt_of(&completion.redacted(&text), EXCERPT_CHARS_MAX)
    });
    let outcome = match ran {
        Ran::Succeeded => Outcome::succeeded(fragment),
        Ran::Failed => Outcome::failed(fragment),
    };
    Some(outcome.with_excerpt(excerpt))
}

/// The part of a tool's answer that is kept: its `result` or `error` member.
pub(crate) fn fragment_of(object: &Object<'_>) -> Option<Vec<u8>> {
    let members = ["result", "error"].map(|name| object.get(name).map(|raw| (name, raw)));
    let told = members.into_iter().flatten();
    let (name, raw) = told.min_by_key(|(_, raw)| raw.get() == "null")?;
    Some(format!(r#""{name}":{}"#, raw.get()).into_bytes())
}

/// What a `result` says of itself.
pub(crate) fn ran_of(result: &RawValue) -> Ran {
    let Ok(result) = Object::read_leniently(result.get()) else {
        return Ran::Failed;
    };
    let failed = result.get("isError").is_some_and(|raw| !matches!(raw.get(), "false" | "null"));
    // More is asked of the client, or the work has only begun: that is not the end of it.
    let unfinished = result.get("resultType").and_then(text_of).is_some_and(|kind| kind != "complete")
        || (result.get("task").is_some() && result.get("content").is_none());
    if failed || unfinished { Ran::Failed } else { Ran::Succeeded }
}

fn message_of(error: &RawValue) -> Option<String> {
    let error = Object::read_leniently(error.get()).ok()?;
    error.get("message").and_then(text_of).map(std::borrow::Cow::into_owned)
}

fn first_text_of(result: &RawValue) -> Option<String> {
    let result = Object::read_leniently(result.get()).ok()?;
    let blocks: Vec<&RawValue> = serde_json::from_str(result.get("content")?.get()).ok()?;
    blocks.into_iter().find_map(|block| {
        let block = Object::read_leniently(block.get()).ok()?;
        let is_text = block.get("type").and_then(text_of)? == "text";
        block.get("text").and_then(text_of).filter(|_| is_text).map(std::borrow::Cow::into_owned)
    })
}

/// One line that shows what it holds, cut where it gets too long.
pub(crate) fn excerpt_of(text: &str, chars_max: usize) -> String {
    const CUT: char = '…';
    let mut shown = String::new();
    let mut chars = 0;
    for character in text.chars() {
        let before = shown.len();
        if is_hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
        chars += shown.get(before..).map_or(0, |piece| piece.chars().count());
        if chars > chars_max {
            let end = shown
                .char_indices()
                .nth(chars_max.saturating_sub(1))
                .map_or(before, |(at, _)| at.min(before));
            shown.truncate(end);
            shown.push(CUT);
            return shown;
        }
    }
    shown
}

/// What has no shape of its own, reorders its neighbours or moves the cursor, as in the inbox.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{e000}'..='\u{f8ff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}'
        )
}

#[cfg(test)]
mod tests;
