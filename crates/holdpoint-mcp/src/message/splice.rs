//! One object's members, to be set and taken out without touching the others' bytes.

use super::{Flaw, Object, place};
use std::{borrow::Cow, fmt};

/// The text of a JSON object whose members can be changed. What is not changed keeps its bytes: numbers their digits,
/// keys their order and their escapes.
#[derive(Debug)]
pub(crate) struct Splice<'a> {
    members: Vec<Member<'a>>,
}

#[derive(Debug)]
struct Member<'a> {
    key: Cow<'a, str>,
    /// The key as it is written, with its quotes.
    written: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl<'a> Splice<'a> {
    /// Takes an object apart; none of its keys may stand there twice.
    pub(crate) fn read(text: &'a str) -> Result<Self, Flaw> {
        Object::read(text).map(|object| Self::of(text, object))
    }

    /// The same for an object of a server: what it says is not judged.
    pub(crate) fn read_leniently(text: &'a str) -> Result<Self, Flaw> {
        Object::read_leniently(text).map(|object| Self::of(text, object))
    }

    /// With no members.
    pub(crate) const fn empty() -> Self {
        Self { members: Vec::new() }
    }

    fn of(text: &'a str, object: Object<'a>) -> Self {
        let mut from = 0;
        let mut members = Vec::new();
        for (key, value) in object.into_members() {
            let value = value.get();
            // The values are borrowed from the text, so their places tell where the keys are.
            let start = place(text, value).start;
            let written = text.get(from..start).and_then(|gap| {
                let first = gap.find('"')?;
                let last = gap.rfind('"')?;
                gap.get(first..=last).filter(|key| key.len() > 1)
            });
            let written =
                written.map_or_else(|| Cow::Owned(serde_json::Value::from(&*key).to_string()), Cow::Borrowed);
            from = start.saturating_add(value.len());
            members.push(Member { key, written, value: Cow::Borrowed(value) });
        }
        Self { members }
    }

    /// The raw value of a member.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.members.iter().find(|member| member.key == key).map(|member| &*member.value)
    }

    /// Puts a raw value in the place of the member's own, or at the end.
    pub(crate) fn set(&mut self, key: &'a str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        if let Some(member) = self.members.iter_mut().find(|member| member.key == key) {
            member.value = value;
            return;
        }
        let written = Cow::Owned(serde_json::Value::from(key).to_string());
        self.members.push(Member { key: Cow::Borrowed(key), written, value });
    }

    /// Puts an object in the place of the member's own, or takes the member out where the object is empty.
    pub(crate) fn set_unless_empty(&mut self, key: &'a str, object: &Splice<'_>) {
        if object.is_empty() {
            self.remove(&[key]);
        } else {
            self.set(key, object.to_string());
        }
    }

    /// Takes members out.
    pub(crate) fn remove(&mut self, keys: &[&str]) {
        self.members.retain(|member| !keys.contains(&&*member.key));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl fmt::Display for Splice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, Member { written, value, .. }) in self.members.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{written}:{value}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests;
