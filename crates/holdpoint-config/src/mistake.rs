//! Mistakes in configuration, told so that they can be mended at once.

use crate::source::{Sources, Span};
use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
};

/// More than this many mistakes are not listed.
pub(crate) const MISTAKES_MAX: usize = 200;

/// One thing that is wrong, where it is, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as its path was given.
    pub path: PathBuf,
    /// Where in the file; `None`: the file as a whole.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Another place that matters.
    pub related: Option<Related>,
}

/// A place in a file, with its line as it may be shown: secrets replaced, control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The whole line.
    pub text: String,
    /// Characters of `text` before the underline.
    pub before: usize,
    /// Characters underlined.
    pub width: usize,
}

impl Place {
    /// The underlined text.
    #[must_use]
    pub fn underlined(&self) -> String {
        self.text.chars().skip(self.before).take(self.width).collect()
    }
}

/// Another place that a [`Mistake`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is there.
    pub label: String,
}

/// Something that may be meant, and may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note(pub Mistake);

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.told_as("note", f)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told_as("error", f)
    }
}

impl Mistake {
    fn told_as(&self, word: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{word}: {}", printable(&self.message))?;
        let gutter = self.place.iter().chain(self.related.iter().map(|related| &related.place));
        let gutter = gutter.map(|place| place.line.to_string().len()).max().unwrap_or(1);
        let blank = " ".repeat(gutter);
        match &self.place {
            Some(place) => {
                snippet(f, "-->", &self.path, place, &blank)?;
                write!(f, "{blank} | {}{}", " ".repeat(place.before), "^".repeat(place.width))?;
            }
            None => write!(f, "{blank}--> {}", self.path.display())?,
        }
        if let Some(Related { path, place, label }) = &self.related {
            writeln!(f)?;
            snippet(f, ":::", path, place, &blank)?;
            let marks = "-".repeat(place.width);
            write!(f, "{blank} | {}{marks} {}", " ".repeat(place.before), printable(label))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{blank} = hint: {}", printable(hint))?;
        }
        Ok(())
    }
}

fn snippet(f: &mut fmt::Formatter<'_>, arrow: &str, path: &Path, place: &Place, blank: &str) -> fmt::Result {
    writeln!(f, "{blank}{arrow} {}:{}:{}", path.display(), place.line, place.column)?;
    writeln!(f, "{blank} |")?;
    writeln!(f, "{:>width$} | {}", place.line, place.text, width = blank.len())
}

/// Everything wrong with a configuration. Nothing of it is in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// One by one, file by file.
    #[must_use]
    pub fn as_slice(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            writeln!(f, "{mistake}\n")?;
        }
        let count = self.0.len();
        write!(f, "{count} mistake{} in the configuration", if count == 1 { "" } else { "s" })
    }
}

/// A mistake whose place is still a [`Span`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    at: At,
    message: String,
    hint: Option<String>,
    related: Option<(Span, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    File(PathBuf),
    Span(Span),
}

impl Finding {
    pub(crate) fn file(path: &Path, message: &str) -> Self {
        Self { at: At::File(path.to_owned()), message: message.to_owned(), hint: None, related: None }
    }

    pub(crate) fn at(span: Span, message: impl Into<String>) -> Self {
        Self { at: At::Span(span), message: message.into(), hint: None, related: None }
    }

    pub(crate) fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub(crate) fn related(mut self, span: Span, label: &str) -> Self {
        self.related = Some((span, label.to_owned()));
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn span(&self) -> Option<Span> {
        match self.at {
            At::Span(span) => Some(span),
            At::File(_) => None,
        }
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.0.len() < MISTAKES_MAX && !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// Takes the value, or notes why there is none.
    pub(crate) fn note<T>(&mut self, result: Result<T, Finding>) -> Option<T> {
        result.map_err(|finding| self.push(finding)).ok()
    }

    pub(crate) fn any_within(&self, span: Span) -> bool {
        self.0.iter().any(|finding| finding.span().is_some_and(|at| span.contains(at)))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_mistakes(self, sources: &Sources) -> Vec<Mistake> {
        let mut findings = self.0;
        findings.sort_by_key(|finding| finding.span().map(|span| (span.file.0, span.start)));
        findings.into_iter().map(|finding| finding.settle(sources)).collect()
    }

    /// `value`, or everything that is wrong.
    pub(crate) fn finish<T>(self, value: Option<T>, sources: &Sources) -> Result<T, Mistakes> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(Mistakes(self.into_mistakes(sources))),
        }
    }
}

impl Finding {
    pub(crate) fn settle(self, sources: &Sources) -> Mistake {
        let (path, place) = match self.at {
            At::File(path) => (path, None),
            At::Span(span) => (sources.path(span.file).to_owned(), Some(sources.place(span))),
        };
        let related = self.related.map(|(span, label)| Related {
            path: sources.path(span.file).to_owned(),
            place: sources.place(span),
            label,
        });
        Mistake { path, place, message: self.message, hint: self.hint, related }
    }
}

/// `text` with every character that could deceive a reader shown as an escape: control characters, line breaks,
/// direction overrides, zero-width and tag characters. A tab becomes a space.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, |char| char == '\t', ' ')
}

/// The same, keeping line breaks and tabs.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.chars().any(|char| deceives(char) && char != '\n' && char != '\t') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if deceives(char) && char != '\n' && char != '\t' {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    Cow::Owned(shown)
}

fn escape(text: &str, replaced: impl Fn(char) -> bool, by: char) -> Cow<'_, str> {
    if is_plain(text) || !text.chars().any(deceives) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if replaced(char) {
            shown.push(by);
        } else if deceives(char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    Cow::Owned(shown)
}

/// Nothing but what a typewriter has; found faster than that nothing deceives.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

const fn deceives(char: char) -> bool {
    matches!(char,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The candidate that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = match word.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let begun = lower.len() >= 4 && candidate.starts_with(&lower);
            (if begun { 1 } else { distance(&lower, &candidate.to_lowercase()) }, candidate)
        })
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean" or, failing that, the list of what there is.
pub(crate) fn meant(word: &str, known: &[&str]) -> Option<String> {
    if let Some(nearest) = nearest(word, known.iter().copied()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    (!known.is_empty()).then(|| format!("known here: {}", listed(known)))
}

pub(crate) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Letters to insert, drop, change or swap.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (cell(&last, j) + usize::from(from != to)).min(cell(&last, j + 1) + 1).min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}
