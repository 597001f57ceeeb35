//! Keys, places and words, as `serde` asks for them.

use super::{error::DeError, located::LOCATED, tree::Entry};
use crate::source::Span;
use serde::{
    de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor, value},
    forward_to_deserialize_any,
};

/// A key, with its place if asked for.
#[derive(Clone, Copy)]
pub(super) struct KeyDe<'de>(pub(super) &'de Entry);

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
            LOCATED => visitor.visit_seq(Place::new(self.0.key_span, self)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// File, start, end, value: what `Located` asks for.
pub(super) struct Place<D> {
    step: u8,
    span: Span,
    value: D,
}

impl<D> Place<D> {
    pub(super) fn new(span: Span, value: D) -> Self {
        Self { step: 0, span, value }
    }
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
pub(super) struct Word<'de>(pub(super) &'de str);

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
