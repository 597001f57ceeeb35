//! Reads `serde` types from a tree and goes on after a mistake.

use super::{
    located::{JSON, LOCATED},
    tree::{Entry, Node, NodeKind},
};
use crate::{
    mistake::{Finding, Findings, listed, meant, nearest},
    source::Span,
};
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor, value},
    forward_to_deserialize_any,
};
use std::{cell::RefCell, collections::HashSet, fmt, rc::Rc};

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

/// Why a node does not fit.
#[derive(Debug)]
pub(crate) struct DeError {
    span: Option<Span>,
    message: String,
    hint: Option<String>,
    missing: Option<&'static str>,
    /// A consequence of a mistake that is already noted.
    silent: bool,
    /// The innermost list item or mapping value around it, which can be left out.
    culprit: Option<usize>,
}

impl DeError {
    fn new(message: String, hint: Option<String>) -> Self {
        Self { span: None, message, hint, missing: None, silent: false, culprit: None }
    }

    fn finding(&self, otherwise: Span) -> Option<Finding> {
        let finding = Finding::at(self.span.unwrap_or(otherwise), self.message.clone());
        (!self.silent).then(|| finding.maybe_hint(self.hint.clone()))
    }

    fn located(mut self, de: De<'_, '_>) -> Self {
        if self.span.is_none() {
            self.span = Some(de.node.span);
            self.silent = self.missing.is_some_and(|field| de.explains(field));
        }
        self
    }

    fn inside(mut self, node: &Node) -> Self {
        self.culprit = self.culprit.or(Some(address(node)));
        self
    }
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeError {}

impl de::Error for DeError {
    /// "cause; what to do" is told apart.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        match message.split_once("; ") {
            Some((cause, hint)) => Self::new(cause.to_owned(), Some(hint.to_owned())),
            None => Self::new(message, None),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        let message = format!("`{field}` is missing here");
        Self { missing: Some(field), ..Self::new(message, Some(format!("add `{field}: …`"))) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest(variant, expected.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        Self::new(format!("expected one of {}, found `{variant}`", listed(expected)), hint)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key `{field}`"), meant(field, expected))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is given twice"), Some("keep one of them".to_owned()))
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}"), None)
    }

    /// The value is not repeated: it may be a secret.
    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}"), None)
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

    fn expected(self, what: &str) -> DeError {
        let hint = match (what, &self.node.kind) {
            ("text", NodeKind::Number(text)) => Some(format!("put it in quotes: `\"{text}\"`")),
            ("text", NodeKind::Bool(value)) => Some(format!("put it in quotes: `\"{value}\"`")),
            ("a list", NodeKind::Text(_) | NodeKind::Number(_) | NodeKind::Map(_)) => {
                Some("start each item with `- `".to_owned())
            }
            ("true or false", NodeKind::Text(text)) if matches!(&*text.to_lowercase(), "yes" | "on") => {
                Some("write `true`".to_owned())
            }
            ("true or false", NodeKind::Text(text)) if matches!(&*text.to_lowercase(), "no" | "off") => {
                Some("write `false`".to_owned())
            }
            ("a number", NodeKind::Text(_)) => Some("write it without quotes".to_owned()),
            (_, NodeKind::Null) => Some("write the value after the colon, or remove the key".to_owned()),
            _ => None,
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
            DeError::new("expected a whole number, not below zero".to_owned(), None).located(self)
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
            LOCATED => visitor.visit_seq(Place { step: 0, span: self.node.span, value: self }),
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
            let found = self.node.noun();
            return Err(DeError::new(format!("expected one of {}, found {found}", listed(variants)), None).located(self));
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
            error.inside(&entry.value)
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DeError> {
        let Some(entry) = self.value.take() else {
            return Err(DeError::new("a value without a key".to_owned(), None));
        };
        let de = De { node: &entry.value, reading: self.reading };
        seed.deserialize(de).map_err(|error| error.inside(&entry.value))
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
        seed.deserialize(De { node, reading }).map(Some).map_err(|error| error.inside(node))
    }
}

/// A key, with its place if asked for.
#[derive(Clone, Copy)]
struct KeyDe<'de>(&'de Entry);

impl<'de> de::Deserializer<'de> for KeyDe<'de> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_str(&self.0.key)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match name {
            LOCATED => visitor.visit_seq(Place { step: 0, span: self.0.key_span, value: self }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// File, start, end, value: what `Located` asks for.
struct Place<D> {
    step: u8,
    span: Span,
    value: D,
}

impl<'de, D: de::Deserializer<'de, Error = DeError> + Copy> SeqAccess<'de> for Place<D> {
    type Error = DeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DeError> {
        let step = self.step;
        self.step = step.saturating_add(1);
        let number: value::U32Deserializer<DeError> = match step {
            0 => self.span.file.0.into_deserializer(),
            1 => self.span.start.into_deserializer(),
            2 => self.span.end.into_deserializer(),
            _ => return seed.deserialize(self.value).map(Some),
        };
        seed.deserialize(number).map(Some)
    }
}

/// One word of an enum.
#[derive(Clone, Copy)]
struct Word<'de>(&'de str);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = DeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DeError> {
        let word: value::BorrowedStrDeserializer<'de, DeError> = value::BorrowedStrDeserializer::new(self.0);
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'de> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, DeError> {
        Err(DeError::new("expected a mapping".to_owned(), None))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DeError> {
        Err(DeError::new("expected a list".to_owned(), None))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, DeError> {
        Err(DeError::new("expected a mapping".to_owned(), None))
    }
}
