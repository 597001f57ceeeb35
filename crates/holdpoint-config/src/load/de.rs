//! Reads `serde` types from a tree and goes on after a mistake.

use super::{
    access::{KeyDe, Place, Word},
    error::DeError,
    located::{JSON, LOCATED},
    tree::{Entry, Node, NodeKind},
};
use crate::{
    mistake::{Finding, Findings, listed, meant, nearest},
    source::Span,
};
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use std::{cell::RefCell, collections::HashSet, rc::Rc};

/// Reads `node`, leaving out what does not fit; `None` if nothing fits. What was left out is in `findings`.
pub(crate) fn decode<'de, T: Deserialize<'de>>(node: &'de Node, findings: &mut Findings) -> Option<T> {
    decode_noting(node, findings).map(|(value, _)| value)
}

/// The same, and what was left out: the value's lists are shorter than the file's by that.
pub(crate) fn decode_noting<'de, T: Deserialize<'de>>(
    node: &'de Node,
    findings: &mut Findings,
) -> Option<(T, LeftOut)> {
    let reading = Reading { findings: RefCell::new(findings), left_out: RefCell::default() };
    loop {
        let error = match T::deserialize(De { node, reading: &reading }) {
            Ok(value) => return Some((value, reading.left_out.take())),
            Err(error) => error,
        };
        if let Some(finding) = error.finding(node.span) {
            reading.findings.borrow_mut().push(finding);
        }
        // Without progress this would not end.
        if !error.culprit.is_some_and(|culprit| reading.left_out.borrow_mut().0.insert(culprit)) {
            return None;
        }
    }
}

/// Nodes that did not fit, by address.
#[derive(Debug, Default)]
pub(crate) struct LeftOut(HashSet<usize>);

impl LeftOut {
    /// The node that a JSON Pointer into the value names, or the closest one above it.
    pub(crate) fn closest<'n>(&self, root: &'n Node, pointer: &str) -> &'n Node {
        root.closest(pointer, |node| !self.0.contains(&address(node)))
    }
}

struct Reading<'f> {
    findings: RefCell<&'f mut Findings>,
    left_out: RefCell<LeftOut>,
}

impl Reading<'_> {
    fn keeps(&self, node: &Node) -> bool {
        !self.left_out.borrow().0.contains(&address(node))
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

#[derive(Clone, Copy)]
struct De<'de, 'r> {
    node: &'de Node,
    reading: &'r Reading<'r>,
}

impl DeError {
    fn located(mut self, de: De<'_, '_>) -> Self {
        if self.span.is_none() {
            self.span = Some(de.named_in(&self.message).unwrap_or(de.node.span));
            self.silent = self.missing.is_some_and(|field| de.explains(field));
        }
        self
    }
}

impl De<'_, '_> {
    /// Whether `field` is missing only because what was written for it did not fit or was misspelt.
    fn explains(self, field: &str) -> bool {
        self.node.entries().iter().any(|entry| {
            (entry.key == field && !self.reading.keeps(&entry.value))
                || (entry.key != field && nearest(&entry.key, [field]).is_some())
        })
    }

    /// The value of the last key that a message about a mapping names: what it is about.
    fn named_in(self, message: &str) -> Option<Span> {
        let named = message.split('`').skip(1).step_by(2).collect::<Vec<_>>().into_iter().rev();
        named.filter_map(|name| self.node.get(name)).map(|value| value.span).next()
    }

    fn expected(self, what: &str) -> DeError {
        let hint = match (what, &self.node.kind) {
            ("text", NodeKind::Number(text)) => Some(format!("put it in quotes: `\"{text}\"`")),
            ("text", NodeKind::Bool(value)) => Some(format!("put it in quotes: `\"{value}\"`")),
            ("a list", NodeKind::Text(_) | NodeKind::Number(_) | NodeKind::Map(_)) => {
                Some("write `[ONE, TWO]`, or start each item with `- `".to_owned())
            }
            ("true or false", NodeKind::Text(text)) if matches!(&*text.to_lowercase(), "yes" | "on") => {
                Some("write `true`".to_owned())
            }
            ("true or false", NodeKind::Text(text)) if matches!(&*text.to_lowercase(), "no" | "off") => {
                Some("write `false`".to_owned())
            }
            ("a number", NodeKind::Text(_)) => Some("write it without quotes".to_owned()),
            ("a mapping", NodeKind::List(_)) => Some("write `NAME: VALUE` instead of `- `".to_owned()),
            ("a mapping", NodeKind::Text(_) | NodeKind::Number(_) | NodeKind::Bool(_)) => {
                Some("write `NAME: VALUE` lines, further in".to_owned())
            }
            (_, NodeKind::Null) => Some("write a value here, or remove this".to_owned()),
            _ => Some("the file's JSON Schema says what may stand here".to_owned()),
        };
        let error = DeError::new(format!("expected {what}, found {}", self.node.noun()), hint);
        error.located(self)
    }
}

impl<'de> De<'de, '_> {
    fn map<V: Visitor<'de>>(
        self,
        visitor: V,
        known: Option<&'static [&'static str]>,
    ) -> Result<V::Value, DeError> {
        let NodeKind::Map(entries) = &self.node.kind else {
            return Err(self.expected("a mapping"));
        };
        let is_known = |entry: &&Entry| known.is_none_or(|known| known.contains(&entry.key.as_str()));
        if let Some(known) = known {
            for entry in entries.iter().filter(|entry| !is_known(entry)) {
                let finding = Finding::at(entry.key_span, format!("unknown key `{}`", entry.key));
                self.reading.findings.borrow_mut().push(finding.maybe_hint(meant(&entry.key, known)));
            }
        }
        let entries: Vec<&Entry> =
            entries.iter().filter(|entry| is_known(entry) && self.reading.keeps(&entry.value)).collect();
        let access = Members { entries: entries.into_iter(), value: None, reading: self.reading };
        visitor.visit_map(access).map_err(|error| error.located(self))
    }
}

impl<'de> de::Deserializer<'de> for De<'de, '_> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.node.kind {
            NodeKind::Null => visitor.visit_unit(),
            NodeKind::Bool(value) => visitor.visit_bool(*value),
            NodeKind::Number(text) => number(text, visitor),
            NodeKind::Text(text) => visitor.visit_str(text),
            NodeKind::List(_) => return self.deserialize_seq(visitor),
            NodeKind::Map(_) => return self.deserialize_map(visitor),
        }
        .map_err(|error: DeError| error.located(self))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node.kind {
            NodeKind::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.node.kind {
            NodeKind::Text(text) => visitor.visit_str(text).map_err(|error: DeError| error.located(self)),
            _ => Err(self.expected("text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let NodeKind::Number(text) = &self.node.kind else { return Err(self.expected("a number")) };
        let whole = text.parse::<u64>().map_err(|_| {
            let hint = Some("write it in digits alone".to_owned());
            DeError::new("expected a whole number, not below zero".to_owned(), hint).located(self)
        })?;
        visitor.visit_u64(whole).map_err(|error: DeError| error.located(self))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node.kind {
            NodeKind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match name {
            LOCATED => visitor.visit_seq(Place::new(self.node.span, self)),
            JSON => {
                let mut json = String::new();
                self.node.json(&mut json);
                visitor.visit_str(&json).map_err(|error: DeError| error.located(self))
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let NodeKind::List(items) = &self.node.kind else { return Err(self.expected("a list")) };
        let items = Items { items: items.iter(), reading: self.reading };
        visitor.visit_seq(items).map_err(|error| error.located(self))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.map(visitor, None)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.map(visitor, Some(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let NodeKind::Text(word) = &self.node.kind else {
            let message = format!("expected one word, found {}", self.node.noun());
            return Err(
                DeError::new(message, Some(format!("write one of {}", listed(variants)))).located(self)
            );
        };
        visitor.visit_enum(Word(word)).map_err(|error| error.located(self))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

/// Whole numbers as such; other numbers with their text, in the way `serde_json` hands them on.
fn number<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, DeError> {
    if let Ok(value) = text.parse::<u64>() {
        return visitor.visit_u64(value);
    }
    if let Ok(value) = text.parse::<i64>() {
        return visitor.visit_i64(value);
    }
    let number: serde_json::Number =
        serde_json::from_str(text).map_err(|error| DeError::new(error.to_string(), None))?;
    match number.as_f64() {
        Some(float) if serde_json::Number::from_f64(float).is_some_and(|same| same == number) => {
            visitor.visit_f64(float)
        }
        Some(_) | None => {
            use serde::Deserializer as _;
            number.deserialize_any(visitor).map_err(|error| DeError::new(error.to_string(), None))
        }
    }
}

struct Members<'de, 'r> {
    entries: std::vec::IntoIter<&'de Entry>,
    value: Option<&'de Entry>,
    reading: &'r Reading<'r>,
}

impl<'de> MapAccess<'de> for Members<'de, '_> {
    type Error = DeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DeError> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry);
        seed.deserialize(KeyDe(entry)).map(Some).map_err(|mut error| {
            error.span = error.span.or(Some(entry.key_span));
            error.inside(address(&entry.value))
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DeError> {
        let Some(entry) = self.value.take() else {
            return Err(DeError::new("a value without a key".to_owned(), None));
        };
        let de = De { node: &entry.value, reading: self.reading };
        seed.deserialize(de).map_err(|error| error.located(de).inside(address(&entry.value)))
    }
}

struct Items<'de, 'r> {
    items: std::slice::Iter<'de, Rc<Node>>,
    reading: &'r Reading<'r>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = DeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        let reading = self.reading;
        let Some(node) = self.items.find(|node| reading.keeps(node)) else { return Ok(None) };
        let de = De { node, reading };
        seed.deserialize(de).map(Some).map_err(|error| error.located(de).inside(address(node)))
    }
}
