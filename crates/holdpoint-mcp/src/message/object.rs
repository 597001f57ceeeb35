use holdpoint_core::same_key;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, ops::Range};

/// More members than this in one message or in one `params` are refused: they are compared pair by pair.
const MEMBERS_MAX: usize = 128;

/// The members of one JSON object, their values unread.
#[derive(Debug)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// Why an object has no single reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("is not JSON: {0}")]
    Syntax(String),
    #[error("is not a JSON object")]
    NotAnObject,
    #[error("{0}")]
    Ambiguous(String),
    #[error("has more than {MEMBERS_MAX} members")]
    TooManyMembers,
}

impl<'a> Object<'a> {
    /// Reads an object that has one reading: no two of its keys are the same to any reader.
    pub(crate) fn read(text: &'a str) -> Result<Self, Flaw> {
        let object = Self::read_leniently(text)?;
        if object.0.len() > MEMBERS_MAX {
            return Err(Flaw::TooManyMembers);
        }
        let mut rest = object.0.as_slice();
        while let Some(((key, _), later)) = rest.split_first() {
            if let Some((other, _)) = later.iter().find(|(other, _)| same(key, other)) {
                return Err(Flaw::Ambiguous(if key == other {
                    format!("has the key `{}` twice", shown(key))
                } else {
                    format!("has keys that differ only in case: `{}` and `{}`", shown(key), shown(other))
                }));
            }
            rest = later;
        }
        Ok(object)
    }

    /// Reads an object of a server: what it says is not judged.
    pub(crate) fn read_leniently(text: &'a str) -> Result<Self, Flaw> {
        serde_json::from_str(text).map_err(|error| {
            if error.is_data() { Flaw::NotAnObject } else { Flaw::Syntax(error.to_string()) }
        })
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    pub(crate) fn into_members(self) -> impl Iterator<Item = (Cow<'a, str>, &'a RawValue)> {
        self.0.into_iter()
    }

    /// Refuses a key that a lenient reader would take for one of `names`: without regard for case, or by what is [`bare`] of it.
    pub(crate) fn refuse_variants_of(&self, names: &[&str]) -> Result<(), Flaw> {
        for (key, _) in &self.0 {
            let bare = bare(key);
            if let Some(name) = names.iter().find(|name| key != *name && same(bare, name)) {
                return Err(Flaw::Ambiguous(format!(
                    "has the key `{}`, which some read as `{name}`",
                    shown(key)
                )));
            }
        }
        Ok(())
    }
}

/// The text of a JSON string; `None` for any other value.
pub(crate) fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(text).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Where `part`, which was borrowed from `whole`, stands in it. A part of something else has no place that `whole` reaches.
pub(crate) fn place(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize).unwrap_or(usize::MAX);
    start..start.saturating_add(part.len())
}

/// `whole` with another text in the place of `part`, which was borrowed from it.
pub(crate) fn replaced(whole: &str, part: &str, text: &str) -> Option<String> {
    let place = place(whole, part);
    let (before, after) = (whole.get(..place.start)?, whole.get(place.end..)?);
    Some([before, text, after].concat())
}

/// What of a name is left to a reader that trims it, or that ends text at a NUL. What is trimmed is more in some languages
/// than in others: control characters in Java, the byte order mark in JavaScript.
pub(crate) fn bare(name: &str) -> &str {
    if name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return name;
    }
    let trimmed = name.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    trimmed.split('\0').next().unwrap_or_default()
}

fn same(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() { a.eq_ignore_ascii_case(b) } else { same_key(a, b) }
}

/// A key of a stranger, for people: escaped and short.
fn shown(key: &str) -> String {
    key.chars().take(40).flat_map(char::escape_default).collect()
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members).map(Object)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(6);
        while let Some(Key(key)) = map.next_key()? {
            members.push((key, map.next_value()?));
        }
        Ok(members)
    }
}

/// Borrowed where it has no escapes, which serde's own `Cow` does not do.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(key))
            }

            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(key.to_owned()))
            }

            fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Self::Value, E> {
                Err(E::custom("a key that is not text"))
            }
        }

        deserializer.deserialize_str(KeyVisitor).map(Key).map_err(D::Error::custom)
    }
}
