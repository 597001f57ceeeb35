//! Reading a JSON object field by field, keeping what we do not know.
//!
//! `#[serde(flatten)]` would do it in one line and rewrite numbers on the way, so the fields are taken by hand.

use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::{JsonProblem, inspect_json};
use crate::{Limits, TaskIdError};

/// A field the contract does not name, as it was sent. Kept with the request, never interpreted.
#[derive(Debug, Clone)]
pub struct ExtraField {
    /// Its name.
    pub name: String,
    /// Its value's JSON text.
    pub value: Box<RawValue>,
}

/// Why a body was refused. Its text goes to the agent, so it names fields and never repeats what was sent.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Over [`Limits::body_bytes`]; answer 413.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// Not JSON, a field missing, or a field of the wrong type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Well-formed JSON that parsers do not agree on, or that nests too deep.
    #[error("{0}")]
    Ambiguous(#[from] JsonProblem),
    /// A required line of text is empty.
    #[error("`{0}` cannot be empty")]
    Empty(&'static str),
    /// A line of text is over [`Limits::line_bytes`].
    #[error("`{field}` is longer than {bytes} bytes")]
    LineTooLong {
        /// Which field.
        field: &'static str,
        /// The limit.
        bytes: usize,
    },
    /// A list has more entries than allowed.
    #[error("`{field}` has more than {count} entries")]
    TooMany {
        /// Which field.
        field: &'static str,
        /// The limit.
        count: usize,
    },
    /// The task id is unusable.
    #[error("{0}")]
    TaskId(#[from] TaskIdError),
}

/// Reads a whole body: size, shape, depth and duplicate keys, then the type's own fields.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8], limits: &Limits) -> Result<T, BodyError> {
    if body.len() > limits.body_bytes {
        return Err(BodyError::TooLarge(limits.body_bytes));
    }
    let raw: &RawValue = serde_json::from_slice(body)?;
    inspect_json(raw.get(), limits.json_depth)?;
    Ok(serde_json::from_str(raw.get())?)
}

pub(crate) fn check_line(field: &'static str, text: &str, limits: &Limits) -> Result<(), BodyError> {
    if text.len() > limits.line_bytes {
        return Err(BodyError::LineTooLong { field, bytes: limits.line_bytes });
    }
    Ok(())
}

pub(crate) fn check_required(field: &'static str, text: &str, limits: &Limits) -> Result<(), BodyError> {
    if text.trim().is_empty() {
        return Err(BodyError::Empty(field));
    }
    check_line(field, text, limits)
}

pub(crate) fn check_summary(summary: &[String], limits: &Limits) -> Result<(), BodyError> {
    if summary.len() > limits.summary_bullets {
        return Err(BodyError::TooMany { field: "summary", count: limits.summary_bullets });
    }
    summary.iter().try_for_each(|bullet| check_line("summary", bullet, limits))
}

pub(crate) fn check_images(images: &[String], limits: &Limits) -> Result<(), BodyError> {
    if images.len() > limits.images {
        return Err(BodyError::TooMany { field: "images", count: limits.images });
    }
    Ok(())
}

/// The fields of one object in the order they came, each with its JSON text. A name given twice is an error.
pub(crate) struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    /// Takes a field that must be there. `null` counts as absent only where `T` says so.
    pub(crate) fn required<T: DeserializeOwned, E: de::Error>(&mut self, name: &'static str) -> Result<T, E> {
        let value = self.take(name).ok_or_else(|| E::missing_field(name))?;
        read(name, &value)
    }

    /// Takes a field that may be absent or `null`.
    pub(crate) fn optional<T: DeserializeOwned, E: de::Error>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, E> {
        match self.take(name) {
            Some(value) => read(name, &value),
            None => Ok(None),
        }
    }

    /// Takes a field's own text; absent and `null` are the same.
    pub(crate) fn raw(&mut self, name: &'static str) -> Option<Box<RawValue>> {
        self.take(name).filter(|value| value.get() != "null")
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// What nobody took.
    pub(crate) fn rest(self) -> Vec<ExtraField> {
        self.0.into_iter().map(|(name, value)| ExtraField { name, value }).collect()
    }

    fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }
}

fn read<T: DeserializeOwned, E: de::Error>(name: &'static str, value: &RawValue) -> Result<T, E> {
    serde_json::from_str(value.get()).map_err(|error| {
        // The position inside the field would mislead beside the position of the whole body.
        E::custom(format_args!("`{name}`: {}", category(&error)))
    })
}

fn category(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields: Vec<(String, Box<RawValue>)> = Vec::with_capacity(12);
                while let Some(name) = map.next_key::<String>()? {
                    if fields.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom(format_args!("key `{name}` appears twice")));
                    }
                    if fields.len() == FIELDS_MAX {
                        return Err(de::Error::custom(format_args!("more than {FIELDS_MAX} fields")));
                    }
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// Fields of one body; the look for duplicates is quadratic in it.
const FIELDS_MAX: usize = 64;

/// Writes known fields, then the unknown ones, leaving out what is absent.
pub(crate) struct Out<M>(pub(crate) M);

impl<M: SerializeMap> Out<M> {
    pub(crate) fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), M::Error> {
        self.0.serialize_entry(name, value)
    }

    pub(crate) fn some<T: Serialize>(&mut self, name: &str, value: Option<&T>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.field(name, value))
    }

    pub(crate) fn list<T: Serialize>(&mut self, name: &str, values: &[T]) -> Result<(), M::Error> {
        if values.is_empty() { Ok(()) } else { self.field(name, values) }
    }

    pub(crate) fn finish(mut self, extra: &[ExtraField]) -> Result<M::Ok, M::Error> {
        for ExtraField { name, value } in extra {
            self.field(name, value)?;
        }
        self.0.end()
    }
}
