//! From the arguments of a call to a JSON object of named fields: the payload, and what a read-only tool is asked.

use crate::{
    pointer::{Pointer, child},
    secret::FingerprintKey,
    template::{Scope, Template},
};
use minijinja::Environment;
use serde_json::{Map, Value};

#[derive(Debug)]
pub(crate) struct Field {
    /// As JSON text.
    pub(crate) key: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) source: FieldSource,
}

#[derive(Debug)]
pub(crate) enum FieldSource {
    /// JSON text.
    Constant(Box<str>),
    Template(Template),
    At {
        pointer: Pointer,
        presence: Presence,
        /// Secrets in this place or below it.
        secrets: Vec<Pointer>,
    },
}

/// What a call without the argument comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The call is refused.
    Required,
    /// The field is left out.
    Optional,
}

impl Field {
    pub(crate) fn new(name: &str, source: FieldSource) -> Self {
        Self { key: Value::from(name).to_string().into(), name: name.into(), source }
    }
}

impl FieldSource {
    pub(crate) fn secrets(&self) -> &[Pointer] {
        match self {
            Self::At { secrets, .. } => secrets,
            Self::Constant(_) | Self::Template(_) => &[],
        }
    }
}

/// Fills fields with what one call has. Whatever goes wrong is said in words without values.
pub(crate) struct Filling<'a> {
    /// What the fields belong to, for people.
    pub(crate) noun: &'static str,
    pub(crate) scope: &'a Scope<'a>,
    pub(crate) engine: &'a Environment<'static>,
    pub(crate) key: &'a FingerprintKey,
}

impl Filling<'_> {
    /// A JSON object, secrets masked.
    pub(crate) fn json(&self, fields: &[Field]) -> Result<String, String> {
        let mut json = Vec::with_capacity(256);
        json.push(b'{');
        for field in fields {
            let before = json.len();
            if before > 1 {
                json.push(b',');
            }
            json.extend_from_slice(field.key.as_bytes());
            json.push(b':');
            let written = match &field.source {
                FieldSource::Constant(text) => {
                    json.extend_from_slice(text.as_bytes());
                    Ok(())
                }
                FieldSource::Template(template) => {
                    serde_json::to_writer(&mut json, &self.text(field, template)?)
                }
                FieldSource::At { pointer, presence, secrets } => {
                    match self.found(field, pointer, *presence)? {
                        None => {
                            json.truncate(before);
                            continue;
                        }
                        Some(value) if secrets.is_empty() => serde_json::to_writer(&mut json, value),
                        Some(value) => {
                            serde_json::to_writer(&mut json, &mask(pointer, value, secrets, self.key))
                        }
                    }
                }
            };
            written.map_err(|_| format!("{} `{}` cannot be written", self.noun, field.name))?;
        }
        json.push(b'}');
        String::from_utf8(json).map_err(|_| format!("the {} is not text", self.noun))
    }

    /// The same as values, nothing masked.
    pub(crate) fn unmasked(&self, fields: &[Field]) -> Result<Map<String, Value>, String> {
        let mut map = Map::new();
        for field in fields {
            let value = match &field.source {
                FieldSource::Constant(text) => serde_json::from_str(text).ok(),
                FieldSource::Template(template) => Some(Value::String(self.text(field, template)?)),
                FieldSource::At { pointer, presence, .. } => self.found(field, pointer, *presence)?.cloned(),
            };
            if let Some(value) = value {
                map.insert(field.name.to_string(), value);
            }
        }
        Ok(map)
    }

    fn text(&self, field: &Field, template: &Template) -> Result<String, String> {
        let text = template.render(self.scope, self.engine);
        text.map_err(|problem| format!("{} `{}` {problem}", self.noun, field.name))
    }

    fn found(&self, field: &Field, pointer: &Pointer, presence: Presence) -> Result<Option<&Value>, String> {
        let found = self.scope.arguments.and_then(|arguments| pointer.find(arguments));
        let hides = || self.scope.arguments.is_some_and(|arguments| pointer.has_lookalike(arguments));
        match (found, presence) {
            (Some(found), _) => Ok(Some(found)),
            // The tool may not care about case, and then the reviewer would not see what it uses.
            (None, _) if hides() => {
                Err(format!("an argument of the call differs from `{}` only in case", pointer.as_str()))
            }
            (None, Presence::Optional) => Ok(None),
            (None, Presence::Required) => Err(format!(
                "{} `{}` needs the argument `{}`, which the call does not have",
                self.noun,
                field.name,
                pointer.as_str()
            )),
        }
    }
}

/// `value`, which lies at `pointer`, with the secrets in it replaced.
fn mask(pointer: &Pointer, value: &Value, secrets: &[Pointer], key: &FingerprintKey) -> Value {
    let mut masked = value.clone();
    for secret in secrets {
        let mut below = secret.keys().iter().skip(pointer.keys().len());
        let found = below.try_fold(value, |value, key| child(value, key));
        if let Some(found) = found {
            secret.mask_within(pointer, &mut masked, key.mask(found));
        }
    }
    masked
}
