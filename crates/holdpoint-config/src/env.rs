//! `${NAME}` and `${file:PATH}`: how addresses and secrets come into the configuration without standing in it.

use crate::{
    load::Located,
    mistake::{Finding, Findings},
    secret::Secret,
    source::Sources,
    watch::Stamp,
};
use std::{collections::BTreeMap, fs, ops::Range, path::Path};

/// A secret in a file may be this long.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where environment variables come from. Tests hand in a map and never touch the process environment.
pub trait Env {
    /// The variable's value, if it is set.
    fn var(&self, name: &str) -> Option<String>;

    /// Whether the variable is not set, and what [`Self::var`] gives merely stands in for it, for looking at a
    /// configuration only: whatever is made of it is not checked.
    fn is_stand_in(&self, _name: &str) -> bool {
        false
    }
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Env for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// A piece of text with `${…}` in it.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Dollar,
    Variable { name: &'t str, at: Range<usize> },
    Wrong { at: Range<usize>, why: &'static str },
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while let Some(rest) = text.get(from..) {
        let Some(found) = rest.find("${") else {
            pieces.push(Piece::Text(rest));
            break;
        };
        let at = from + found;
        let before = text.get(from..at).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            pieces.extend([Piece::Text(before), Piece::Dollar, Piece::Text("{")]);
            from = at + 2;
            continue;
        }
        pieces.push(Piece::Text(before));
        let Some(length) = text.get(at..).and_then(|open| open.find('}')) else {
            pieces.push(Piece::Wrong { at: at..text.len(), why: "`${` without its `}`" });
            break;
        };
        let (name, at) = (text.get(at + 2..at + length).unwrap_or_default(), at..at + length + 1);
        from = at.end;
        pieces.push(if name.starts_with("file:") || is_name(name) {
            Piece::Variable { name, at }
        } else {
            Piece::Wrong { at, why: "this is no name of an environment variable" }
        });
    }
    pieces
}

fn is_name(name: &str) -> bool {
    name.starts_with(|char: char| char == '_' || char.is_ascii_alphabetic())
        && name.chars().all(|char| char == '_' || char.is_ascii_alphanumeric())
}

/// What stands in the text itself, without what comes from outside.
pub(crate) fn literal(text: &str) -> String {
    let piece = |piece: &Piece<'_>| match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::Dollar => "$".to_owned(),
        Piece::Variable { .. } | Piece::Wrong { .. } => String::new(),
    };
    pieces(text).iter().map(piece).collect()
}

/// Whether anything in `text` comes from outside.
pub(crate) fn has_reference(text: &str) -> bool {
    pieces(text).iter().any(|piece| matches!(piece, Piece::Variable { .. } | Piece::Wrong { .. }))
}

/// Puts values in place of `${…}`.
pub(crate) struct Substitution<'a> {
    pub(crate) env: &'a dyn Env,
    /// What paths are relative to.
    pub(crate) base: &'a Path,
    pub(crate) sources: &'a Sources,
}

impl Substitution<'_> {
    /// The text with every reference replaced, or `None` with the reasons in `findings`.
    pub(crate) fn text(&self, written: &Located<String>, findings: &mut Findings) -> Option<String> {
        let mut whole = true;
        let mut text = String::with_capacity(written.value.len());
        for piece in pieces(&written.value) {
            let (at, name) = match piece {
                Piece::Text(part) => {
                    text.push_str(part);
                    continue;
                }
                Piece::Dollar => {
                    text.push('$');
                    continue;
                }
                Piece::Wrong { at, why } => {
                    let span = self.sources.within(written.span, &written.value, at);
                    let hint = "write `${NAME}` or `${file:PATH}`; `$${` stands for `${`";
                    findings.push(Finding::at(span, why).hint(hint));
                    whole = false;
                    continue;
                }
                Piece::Variable { name, at } => (at, name),
            };
            match self.value(name) {
                Ok(value) => text.push_str(&value),
                Err((message, hint)) => {
                    let span = self.sources.within(written.span, &written.value, at);
                    findings.push(Finding::at(span, message).hint(&hint));
                    whole = false;
                }
            }
        }
        whole.then_some(text)
    }

    /// Whether anything in the text only stands in for what will be there.
    pub(crate) fn is_stand_in(&self, written: &Located<String>) -> bool {
        pieces(&written.value)
            .iter()
            .any(|piece| matches!(piece, Piece::Variable { name, .. } if self.env.is_stand_in(name)))
    }

    /// The same, for a text that must not stand in the file itself.
    pub(crate) fn secret(
        &self,
        written: &Located<String>,
        what: &str,
        findings: &mut Findings,
    ) -> Option<Secret> {
        if !has_reference(&written.value) {
            let message = format!("{what} does not belong in the file itself");
            let hint = "put it into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`";
            findings.push(Finding::at(written.span, message).hint(hint));
            return None;
        }
        self.text(written, findings).map(Secret::new)
    }

    fn value(&self, name: &str) -> Result<String, (String, String)> {
        if let Some(path) = name.strip_prefix("file:") {
            return self.file(path);
        }
        match self.env.var(name) {
            Some(value) if !value.is_empty() => Ok(value),
            Some(_) => Err((
                format!("the environment variable `{name}` is empty"),
                format!("set it: `export {name}=…`"),
            )),
            None => Err((
                format!("the environment variable `{name}` is not set"),
                format!("set it: `export {name}=…`"),
            )),
        }
    }

    fn file(&self, path: &str) -> Result<String, (String, String)> {
        let path = self.base.join(path);
        let failed = |why: &str, hint: &str| (format!("`{}` {why}", path.display()), hint.to_owned());
        let metadata = fs::metadata(&path).map_err(|error| {
            failed(
                &format!("cannot be read: {error}"),
                "the path is relative to this file; check it and its permissions",
            )
        })?;
        if !metadata.is_file() || metadata.len() > SECRET_FILE_BYTES_MAX {
            return Err(failed(
                "is not a file of at most 64 KiB",
                "name the file that holds nothing but the value",
            ));
        }
        let text = fs::read_to_string(&path).map_err(|error| {
            failed(
                &format!("cannot be read: {error}"),
                "the path is relative to this file; check it and its permissions",
            )
        })?;
        self.sources.note(|looked| looked.note_file(&path, Stamp::of(&metadata), text.as_bytes()));
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(failed("is empty", "put the value into it"));
        }
        Ok(text.to_owned())
    }
}
