//! What a template looks up, told without running it.

use super::engine::environment;
use crate::mistake::{listed, nearest};
use minijinja::{Environment, Error, ErrorKind, Value};
use std::ops::Range;

/// What templates can use.
const ROOTS: &[&str] = &["args", "server", "task", "tool"];
/// Functions that exist besides.
pub(super) const FUNCTIONS: &[&str] = &["dict", "namespace", "range"];

/// Why a template cannot be used, and which part of it is to blame.
#[derive(Debug)]
pub(crate) struct TemplateMistake {
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// The paths into the arguments that a template looks up; an empty path is all of them.
#[derive(Debug, Default)]
pub(crate) struct Reads(Vec<Vec<Box<str>>>);

impl Reads {
    pub(crate) fn paths(&self) -> &[Vec<Box<str>>] {
        &self.0
    }
}

/// Compiles `source` for its mistakes and its reads.
pub(super) fn check(source: &str) -> Result<Reads, TemplateMistake> {
    let environment = environment();
    let template = environment.template_from_str(source).map_err(|error| syntax(&error, source))?;
    let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    names.sort_unstable();
    let mut reads = Reads::default();
    for name in &names {
        let mut keys = name.split('.');
        let root = keys.next().unwrap_or_default();
        if root == "args" {
            reads.0.push(keys.map(Into::into).collect());
        } else if !ROOTS.contains(&root) && !FUNCTIONS.contains(&root) {
            return Err(unknown(root, source));
        }
    }
    filters(&environment, source)?;
    Ok(reads)
}

fn unknown(name: &str, source: &str) -> TemplateMistake {
    let hint = match nearest(name, ROOTS.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            format!("arguments are `args.{name}`; besides there are {}", listed(&["tool", "server", "task"]))
        }
    };
    let range = word(source, name).unwrap_or(0..source.len());
    TemplateMistake { range, message: format!("templates know no `{name}`"), hint }
}

pub(super) fn syntax(error: &Error, source: &str) -> TemplateMistake {
    let range = error.range().filter(|range| !range.is_empty() && source.get(range.clone()).is_some());
    let detail = error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned);
    TemplateMistake {
        range: range.unwrap_or(0..source.len()),
        message: format!("this template cannot be used: {detail}"),
        hint: "write `{{ args.NAME }}` where an argument goes".to_owned(),
    }
}

/// The engine looks filters up only when it runs, which is too late.
pub(super) fn filters(environment: &Environment<'_>, source: &str) -> Result<(), TemplateMistake> {
    for range in filter_names(source) {
        let name = source.get(range.clone()).unwrap_or_default();
        let state = environment.empty_state();
        let mut state = state;
        let known = match state.apply_filter(name, &[Value::from("")]) {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::UnknownFilter,
        };
        if !known {
            let usual = ["clip", "default", "first", "join", "length", "lower", "replace", "round", "upper"];
            let hint = match nearest(name, usual) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("often used: {}", listed(&usual)),
            };
            return Err(TemplateMistake { range, message: format!("there is no filter `{name}`"), hint });
        }
    }
    Ok(())
}

/// Where names of filters stand: after `|`, inside of tags, outside of quotes.
fn filter_names(source: &str) -> Vec<Range<usize>> {
    let mut names = Vec::new();
    let mut inside = false;
    let mut quote = None;
    let mut chars = source.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        match (quote, char) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(open), _) if open == char => quote = None,
            (None, '"' | '\'') if inside => quote = Some(char),
            (None, '{') if matches!(next, Some('{' | '%')) => inside = true,
            (None, '}' | '%') if next == Some('}') => inside = false,
            (None, '|') if inside => {
                let rest = source.get(at + 1..).unwrap_or_default();
                let start = at + 1 + (rest.len() - rest.trim_start().len());
                let name = source.get(start..).unwrap_or_default();
                let length = name
                    .find(|char: char| char != '_' && !char.is_ascii_alphanumeric())
                    .unwrap_or(name.len());
                if length > 0 {
                    names.push(start..start + length);
                }
            }
            _ => {}
        }
    }
    names
}

/// Where `name` stands as a word of its own.
pub(super) fn word(source: &str, name: &str) -> Option<Range<usize>> {
    let part = |char: char| char == '_' || char == '.' || char.is_ascii_alphanumeric();
    source.match_indices(name).map(|(at, _)| at..at + name.len()).find(|range| {
        let before = source.get(..range.start).and_then(|text| text.chars().next_back());
        let after = source.get(range.end..).and_then(|text| text.chars().next());
        !before.is_some_and(part) && !after.is_some_and(|char| char != '.' && part(char))
    })
}

/// Where a template looks `keys` up, for the underline.
pub(crate) fn where_read(source: &str, keys: &[Box<str>]) -> Range<usize> {
    let path = std::iter::once("args").chain(keys.iter().map(|key| &**key)).collect::<Vec<_>>().join(".");
    source.find(&path).map_or(0..source.len(), |at| at..at + path.len())
}
