//! From a call to what Gate is asked about it.

use crate::{
    pointer::{Pointer, child},
    secret::FingerprintKey,
    template::{Scope, Template},
};
use holdpoint_api::Limits;
use holdpoint_core::{Arguments, Ask, EntryName, PlanError, RiskLevel, Secrets, Tokens, ToolCall};
use jsonschema::Validator;
use minijinja::Environment;
use serde_json::{Map, Value, value::RawValue};
use std::{cell::OnceCell, time::Duration};

/// Reports about a payload that does not fit its schema name this many places.
const SCHEMA_PROBLEMS_MAX: usize = 3;

/// How calls to a tool are put to Gate.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) workflow_name: Box<str>,
    pub(crate) task_label: Template,
    pub(crate) subject: Template,
    pub(crate) preview: Option<Template>,
    pub(crate) risk_level: Option<RiskLevel>,
    pub(crate) summary: Vec<Template>,
    pub(crate) payload: Payload,
    pub(crate) schema: Option<Validator>,
    pub(crate) tokens: Tokens,
    pub(crate) patience: Option<Duration>,
}

/// What the payload is made of.
#[derive(Debug)]
pub(crate) enum Payload {
    /// The arguments as they were sent.
    Arguments,
    /// Named fields, in this order.
    Fields(Vec<Field>),
}

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
    At {
        pointer: Pointer,
        presence: Presence,
        /// Secrets in this place or below it.
        secrets: Vec<Pointer>,
    },
}

impl FieldSource {
    fn secrets(&self) -> &[Pointer] {
        match self {
            Self::At { secrets, .. } => secrets,
            Self::Constant(_) => &[],
        }
    }
}

/// What a call without the argument comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The call is refused.
    Required,
    /// The field is left out.
    Optional,
}

/// Makes [`Ask`]s for one entry.
pub(crate) struct Asking<'a> {
    pub(crate) entry: &'a EntryName,
    pub(crate) mapping: &'a Mapping,
    pub(crate) engine: &'a Environment<'static>,
    pub(crate) key: &'a FingerprintKey,
}

impl Asking<'_> {
    pub(crate) fn ask(&self, call: &ToolCall) -> Result<Ask, PlanError> {
        let mapping = self.mapping;
        let arguments = call.arguments.as_map();
        self.fit_schema(arguments)?;
        let masked = |arguments: &Map<String, Value>| mapping.masked(arguments, self.key);
        let scope = Scope {
            arguments,
            tool: call.tool.as_str(),
            server: call.server.as_str(),
            task: call.task.as_str(),
            masked: &masked,
            context: OnceCell::new(),
        };
        let summary = mapping.summary.iter().map(|bullet| self.text("summary", bullet, &scope));
        Ok(Ask {
            entry: self.entry.clone(),
            workflow_name: mapping.workflow_name.to_string(),
            task_label: self.line("task_label", &mapping.task_label, &scope)?,
            tool_name: call.tool.as_str().to_owned(),
            subject: self.line("subject", &mapping.subject, &scope)?,
            preview: mapping
                .preview
                .as_ref()
                .map(|preview| self.text("preview", preview, &scope))
                .transpose()?,
            risk_level: mapping.risk_level,
            summary: summary.collect::<Result<_, _>>()?,
            payload: self.payload(&call.arguments)?,
            tokens: mapping.tokens,
            patience: mapping.patience,
            effect: None,
            secrets: mapping.secret_values(arguments),
        })
    }

    fn text(&self, field: &str, template: &Template, scope: &Scope<'_>) -> Result<String, PlanError> {
        let text = template
            .render(scope, self.engine)
            .map_err(|problem| self.refuse(format!("`{field}` {problem}")))?;
        if text.len() > Limits::DEFAULT.line_bytes {
            let most = Limits::DEFAULT.line_bytes;
            return Err(self.refuse(format!("`{field}` comes to more than {most} bytes for this call")));
        }
        Ok(text)
    }

    fn line(&self, field: &str, template: &Template, scope: &Scope<'_>) -> Result<String, PlanError> {
        let text = self.text(field, template, scope)?;
        if text.trim().is_empty() {
            return Err(self.refuse(format!("`{field}` comes to nothing for this call")));
        }
        Ok(text)
    }

    fn payload(&self, arguments: &Arguments) -> Result<Box<RawValue>, PlanError> {
        let text = match &self.mapping.payload {
            Payload::Arguments => {
                arguments.raw().map_or_else(|| "{}".to_owned(), |raw| raw.trim().to_owned())
            }
            Payload::Fields(fields) => self.fields(fields, arguments.as_map())?,
        };
        RawValue::from_string(text).map_err(|_| self.refuse("the payload is not valid JSON".to_owned()))
    }

    fn fields(&self, fields: &[Field], arguments: Option<&Map<String, Value>>) -> Result<String, PlanError> {
        let mut json = Vec::with_capacity(256);
        json.push(b'{');
        for field in fields {
            let value = match &field.source {
                FieldSource::Constant(_) => None,
                FieldSource::At { pointer, presence, .. } => {
                    match self.found(field, pointer, *presence, arguments)? {
                        None => continue,
                        found => found,
                    }
                }
            };
            if json.len() > 1 {
                json.push(b',');
            }
            json.extend_from_slice(field.key.as_bytes());
            json.push(b':');
            let written = match (&field.source, value) {
                (FieldSource::At { pointer, secrets, .. }, Some(value)) if !secrets.is_empty() => {
                    serde_json::to_writer(&mut json, &mask(pointer, value, secrets, self.key))
                }
                (FieldSource::Constant(text), _) => {
                    json.extend_from_slice(text.as_bytes());
                    Ok(())
                }
                (FieldSource::At { .. }, value) => serde_json::to_writer(&mut json, &value),
            };
            written.map_err(|_| self.refuse(format!("payload `{}` cannot be written", field.name)))?;
        }
        json.push(b'}');
        String::from_utf8(json).map_err(|_| self.refuse("the payload is not text".to_owned()))
    }

    fn found<'v>(
        &self,
        field: &Field,
        pointer: &Pointer,
        presence: Presence,
        arguments: Option<&'v Map<String, Value>>,
    ) -> Result<Option<&'v Value>, PlanError> {
        let Some(arguments) = arguments else { return self.without(field, pointer, presence) };
        match pointer.find(arguments) {
            Some(found) => Ok(Some(found)),
            // The tool may not care about case, and then the reviewer would not see what it uses.
            None if pointer.has_lookalike(arguments) => Err(self
                .refuse(format!("an argument of the call differs from `{}` only in case", pointer.as_str()))),
            None => self.without(field, pointer, presence),
        }
    }

    fn without<T>(
        &self,
        field: &Field,
        pointer: &Pointer,
        presence: Presence,
    ) -> Result<Option<T>, PlanError> {
        match presence {
            Presence::Optional => Ok(None),
            Presence::Required => Err(self.refuse(format!(
                "payload `{}` needs the argument `{}`, which the call does not have",
                field.name,
                pointer.as_str()
            ))),
        }
    }

    /// Validates the payload as it is, secrets unmasked, and reports without values.
    fn fit_schema(&self, arguments: Option<&Map<String, Value>>) -> Result<(), PlanError> {
        let Some(schema) = &self.mapping.schema else { return Ok(()) };
        let mut payload = Map::new();
        match &self.mapping.payload {
            Payload::Arguments => payload = arguments.cloned().unwrap_or_default(),
            Payload::Fields(fields) => {
                for field in fields {
                    let value = match &field.source {
                        FieldSource::Constant(text) => serde_json::from_str(text).ok(),
                        FieldSource::At { pointer, presence, .. } => {
                            self.found(field, pointer, *presence, arguments)?.cloned()
                        }
                    };
                    if let Some(value) = value {
                        payload.insert(field.name.to_string(), value);
                    }
                }
            }
        }
        let payload = Value::Object(payload);
        if schema.is_valid(&payload) {
            return Ok(());
        }
        let problems: Vec<String> = schema
            .iter_errors(&payload)
            .take(SCHEMA_PROBLEMS_MAX)
            .map(|error| match error.instance_path().as_str() {
                "" => error.masked_with("the payload").to_string(),
                path => format!("`{path}`: {}", error.masked()),
            })
            .collect();
        Err(self.refuse(format!("the payload does not fit its schema: {}", problems.join("; "))))
    }

    fn refuse(&self, problem: String) -> PlanError {
        PlanError { entry: self.entry.clone(), problem }
    }
}

impl Mapping {
    /// The places whose values must not leave; the same one may be among them twice.
    fn secrets(&self) -> impl Iterator<Item = &Pointer> {
        let fields = match &self.payload {
            Payload::Arguments => &[],
            Payload::Fields(fields) => fields.as_slice(),
        };
        fields.iter().flat_map(|field| field.source.secrets())
    }

    /// The values that are masked, as text, so that they can be taken out of what the tool answers.
    fn secret_values(&self, arguments: Option<&Map<String, Value>>) -> Secrets {
        let mut values = Vec::new();
        for value in self.secrets().filter_map(|secret| secret.find(arguments?)) {
            push_leaves(value, &mut values);
        }
        values.sort_unstable();
        values.dedup();
        Secrets::new(values)
    }

    /// The arguments with every secret replaced; `None` if there are none.
    fn masked(&self, arguments: &Map<String, Value>, key: &FingerprintKey) -> Option<Map<String, Value>> {
        self.secrets().next()?;
        let mut masked = arguments.clone();
        for secret in self.secrets() {
            let Some(value) = secret.find(arguments) else { continue };
            let Some((first, above)) = secret.keys().first().zip(secret.top()) else { continue };
            if let Some(top) = masked.get_mut(&**first) {
                secret.mask_within(&above, top, key.mask(value));
            }
        }
        Some(masked)
    }
}

/// Each text and number in `value`. Other values have no text of their own to look for.
fn push_leaves(value: &Value, leaves: &mut Vec<String>) {
    match value {
        Value::String(text) => leaves.push(text.clone()),
        Value::Number(number) => leaves.push(number.as_str().to_owned()),
        Value::Array(items) => items.iter().for_each(|item| push_leaves(item, leaves)),
        Value::Object(map) => map.values().for_each(|value| push_leaves(value, leaves)),
        Value::Null | Value::Bool(_) => {}
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
