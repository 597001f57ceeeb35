//! A difference, for a person. Every line of a server's words is marked by what stands before it, nothing is cut, and what
//! hides is written out, so that no text can pass for something else.

use super::{Change, Kind, compare};
use holdpoint_config::{printable, printable_lines};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use std::fmt::Write as _;

/// Longer lines are broken here, so that no terminal breaks them where nothing marks them.
const LINE_CHARS: usize = 92;
/// Shorter texts are shown whole, before and after.
const SHORT_CHARS: usize = 60;

/// What a tool differs in.
pub(crate) fn show(server: &str, tool: &str, kind: &Kind) -> String {
    let mut text = format!("{} {}: {}\n", printable(server), printable(tool), headline(kind));
    match kind {
        Kind::New { new: whole } | Kind::Gone { old: whole } => {
            let mark = if matches!(kind, Kind::New { .. }) { '+' } else { '-' };
            lines(&mut text, mark, &value_text(whole));
        }
        Kind::Changed { old, new } => {
            for change in compare(old, new) {
                show_change(&mut text, &change);
            }
        }
    }
    text
}

const fn headline(kind: &Kind) -> &'static str {
    match kind {
        Kind::New { .. } => "new",
        Kind::Changed { .. } => "changed; calls are refused until this is accepted",
        Kind::Gone { .. } => "gone; the server does not list it any more",
    }
}

fn show_change(text: &mut String, change: &Change<'_>) {
    let pointer = if change.pointer.is_empty() { "(all of it)" } else { &change.pointer };
    let note = match (change.old, change.new) {
        (None, _) => " (added)",
        (_, None) => " (removed)",
        (Some(_), Some(_)) => "",
    };
    let _infallible = writeln!(text, "  {}{note}", printable(pointer));
    match (change.old, change.new) {
        (Some(Value::String(old)), Some(Value::String(new))) if is_long(old) || is_long(new) => {
            show_words(text, &printable_lines(old), &printable_lines(new));
        }
        (old, new) => {
            for (mark, value) in [('-', old), ('+', new)] {
                if let Some(value) = value {
                    lines(text, mark, &value_text(value));
                }
            }
        }
    }
}

fn is_long(text: &str) -> bool {
    text.contains('\n') || text.chars().count() > SHORT_CHARS
}

fn value_text(value: &Value) -> String {
    let text = match value {
        Value::Object(_) => serde_json::to_string_pretty(value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            serde_json::to_string(value)
        }
    };
    printable_lines(&text.unwrap_or_default()).into_owned()
}

/// Runs of words that stay, go and come. Blanks between two changed words do not break a run.
fn show_words(text: &mut String, old: &str, new: &str) {
    let diff = TextDiff::from_words(old, new);
    let (mut gone, mut come, mut same) = (String::new(), String::new(), String::new());
    for change in diff.iter_all_changes() {
        let word = change.value();
        match change.tag() {
            ChangeTag::Equal => same.push_str(word),
            ChangeTag::Delete | ChangeTag::Insert => {
                if same.trim().is_empty() && !(gone.is_empty() && come.is_empty()) {
                    gone.push_str(&same);
                    come.push_str(&same);
                } else {
                    flush(text, [('-', &gone), ('+', &come), (' ', &same)]);
                    gone.clear();
                    come.clear();
                }
                same.clear();
                if change.tag() == ChangeTag::Delete { gone.push_str(word) } else { come.push_str(word) }
            }
        }
    }
    flush(text, [('-', &gone), ('+', &come), (' ', &same)]);
}

fn flush(text: &mut String, runs: [(char, &str); 3]) {
    for (mark, run) in runs {
        match run.trim_matches(' ') {
            // Blanks that came or went are to be seen.
            "" if mark != ' ' && !run.is_empty() => lines(text, mark, &Value::from(run).to_string()),
            "" => {}
            words => lines(text, mark, words),
        }
    }
}

fn lines(text: &mut String, mark: char, block: &str) {
    for line in block.split('\n') {
        let mut rest = line;
        loop {
            let end = rest.char_indices().nth(LINE_CHARS).map_or(rest.len(), |(at, _)| at);
            // At a blank, if there is one.
            let (head, tail) = rest.split_at(end);
            let cut = if tail.is_empty() { end } else { head.rfind(' ').map_or(end, |at| at + 1) };
            let (head, tail) = rest.split_at(cut);
            let _infallible = writeln!(text, "    {mark} {}", head.trim_end());
            if tail.is_empty() {
                break;
            }
            rest = tail;
        }
    }
}
