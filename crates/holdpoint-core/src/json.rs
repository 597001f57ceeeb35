//! Refuses JSON that two readers may read differently.
//!
//! `serde_json` keeps the last of two equal keys, other readers keep the first, and some compare keys without regard to
//! case. Whoever approves must see what the tool sees, so such text is refused before anything is asked
//! (CVE-2026-27896 is this trick played on an inspecting proxy).

use serde_json::Value;
use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

/// Arrays and objects may nest this deep.
pub const DEPTH_MAX: usize = 64;

/// A key that `serde_json` itself uses to carry number text; as an ordinary key it would be read as a number.
const RESERVED_KEY_PREFIX: &str = "$serde_json::private::";

/// Why a JSON text has no single reading. `key` names the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmbiguousJson {
    /// Not JSON at all.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// RFC 8259 forbids a byte order mark; readers that skip it and readers that do not disagree.
    #[error("starts with a byte order mark")]
    ByteOrderMark,
    /// The same key twice in one object: readers disagree on which one counts.
    #[error("key `{key}` occurs twice in one object")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Two keys of one object that only differ in case.
    #[error("keys `{first}` and `{second}` differ only in case")]
    CaseVariant {
        /// The key that came first.
        first: String,
        /// The key that came second.
        second: String,
    },
    /// A key that our own JSON library gives a meaning of its own.
    #[error("key `{key}` is reserved")]
    ReservedKey {
        /// The key.
        key: String,
    },
    /// Deeper than [`DEPTH_MAX`].
    #[error("nests deeper than {DEPTH_MAX} levels")]
    TooDeep,
}

/// Whether a reader that ignores case would take `a` and `b` for the same key. Covers `ſ` for `s` and `K` for `k`.
#[must_use]
pub fn same_key(a: &str, b: &str) -> bool {
    a == b || (a.is_ascii() && b.is_ascii() && a.eq_ignore_ascii_case(b)) || fold(a) == fold(b)
}

fn fold(key: &str) -> Cow<'_, str> {
    if key.is_ascii() {
        if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(key.to_ascii_lowercase())
        } else {
            Cow::Borrowed(key)
        }
    } else {
        Cow::Owned(key.to_uppercase().to_lowercase())
    }
}

/// Reads `text`, refusing whatever two readers could read differently.
///
/// # Errors
/// Names the first key or place that is ambiguous.
pub fn check_unambiguous(text: &str) -> Result<Value, AmbiguousJson> {
    if text.starts_with('\u{feff}') {
        return Err(AmbiguousJson::ByteOrderMark);
    }
    // Keys first: serde_json would already have dropped the duplicate.
    Scanner { rest: text.as_bytes(), text }.value(0)?;
    serde_json::from_str(text).map_err(|error| AmbiguousJson::Syntax(error.to_string()))
}

/// Walks the structure and looks at keys only. It need not be a validating parser: `serde_json` reads the same text
/// afterwards and has the last word on syntax. It must merely never skip an object that `serde_json` would see.
struct Scanner<'a> {
    text: &'a str,
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn value(&mut self, depth: usize) -> Result<(), AmbiguousJson> {
        if depth > DEPTH_MAX {
            return Err(AmbiguousJson::TooDeep);
        }
        self.space();
        match self.rest.first() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(drop),
            Some(_) => self.scalar(),
            None => Err(self.syntax("unexpected end")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), AmbiguousJson> {
        self.advance(1);
        let mut seen = Seen::default();
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            if self.rest.first() != Some(&b'"') {
                return Err(self.syntax("expected a key"));
            }
            let key = self.string()?;
            seen.note(key)?;
            self.space();
            if !self.take(b':') {
                return Err(self.syntax("expected `:`"));
            }
            self.value(depth + 1)?;
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.syntax("expected `,` or `}`"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), AmbiguousJson> {
        self.advance(1);
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.syntax("expected `,` or `]`"));
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, AmbiguousJson> {
        let start = self.at();
        self.advance(1);
        let mut escaped = false;
        loop {
            let Some(next) = memchr::memchr2(b'"', b'\\', self.rest) else {
                self.advance(self.rest.len());
                return Err(self.syntax("unterminated string"));
            };
            self.advance(next);
            if self.take(b'"') {
                break;
            }
            escaped = true;
            self.advance(2);
        }
        let quoted = self.text.get(start..self.at()).unwrap_or_default();
        if escaped {
            let decoded = serde_json::from_str::<String>(quoted);
            return decoded.map(Cow::Owned).map_err(|error| AmbiguousJson::Syntax(error.to_string()));
        }
        Ok(Cow::Borrowed(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()))
    }

    fn scalar(&mut self) -> Result<(), AmbiguousJson> {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = self.rest.iter().take_while(|byte| is_part(byte)).count();
        if length == 0 {
            return Err(self.syntax("expected a value"));
        }
        self.advance(length);
        Ok(())
    }

    fn space(&mut self) {
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let length = self.rest.iter().take_while(is_space).count();
        self.advance(length);
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.advance(1);
        }
        found
    }

    fn advance(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    fn syntax(&self, what: &str) -> AmbiguousJson {
        AmbiguousJson::Syntax(format!("{what} at byte {}", self.at()))
    }
}

/// The keys of one object so far.
#[derive(Default)]
struct Seen<'a> {
    /// Compared one by one as long as they are few, which they are in nearly every object.
    few: Vec<Cow<'a, str>>,
    /// All of them once they are many, under their folded form.
    many: HashMap<String, Cow<'a, str>>,
}

impl<'a> Seen<'a> {
    /// So many keys are few.
    const FEW: usize = 16;

    fn note(&mut self, key: Cow<'a, str>) -> Result<(), AmbiguousJson> {
        if key.starts_with(RESERVED_KEY_PREFIX) {
            return Err(AmbiguousJson::ReservedKey { key: key.into_owned() });
        }
        if self.many.is_empty() && self.few.len() < Self::FEW {
            if let Some(first) = self.few.iter().find(|first| same_key(first, &key)) {
                return Err(twice(first, key));
            }
            self.few.push(key);
            return Ok(());
        }
        let folded = |key: Cow<'a, str>| (fold(&key).into_owned(), key);
        self.many.extend(self.few.drain(..).map(folded));
        match self.many.entry(fold(&key).into_owned()) {
            Entry::Occupied(first) => Err(twice(first.get(), key)),
            Entry::Vacant(slot) => {
                slot.insert(key);
                Ok(())
            }
        }
    }
}

fn twice(first: &str, second: Cow<'_, str>) -> AmbiguousJson {
    let second = second.into_owned();
    if first == second {
        AmbiguousJson::DuplicateKey { key: second }
    } else {
        AmbiguousJson::CaseVariant { first: first.to_owned(), second }
    }
}

#[cfg(test)]
mod tests;
