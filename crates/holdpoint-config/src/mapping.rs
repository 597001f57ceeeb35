//! From a call to what Gate is asked about it.

use crate::{
    effect::EffectMapping,
    fields::{Field, Filling},
    mistake::{printable, printable_lines},
    pointer::Pointer,
    secret::FingerprintKey,
    settings::WaitSettings,
    template::{Scope, Template},
};
use holdpoint_api::Limits;
use holdpoint_core::{
    Arguments, Ask, CallerWords, Effect, EntryName, PlanError, RiskLevel, Secrets, Tokens, ToolCall,
};
use jsonschema::Validator;
use minijinja::Environment;
use serde_json::{Map, Value, value::RawValue};

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
    pub(crate) waits: WaitSettings,
    pub(crate) effect: Option<EffectMapping>,
    /// Which of the texts the entry itself says. The others, a caller that is to be heard may say.
    pub(crate) said: Said,
}

/// Which texts an entry says that it could do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) workflow_name: bool,
    pub(crate) task_label: bool,
    pub(crate) subject: bool,
}

/// What the payload is made of.
#[derive(Debug)]
pub(crate) enum Payload {
    /// The arguments as they were sent.
    Arguments,
    /// Named fields, in this order.
    Fields(Vec<Field>),
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
        let masked = |arguments: &Map<String, Value>| mapping.masked(arguments, self.key);
        let scope = Scope::of(call, &masked);
        let filling = Filling { noun: "payload", scope: &scope, engine: self.engine, key: self.key };
        self.fit_schema(&filling)?;
        let summary = mapping.summary.iter().map(|bullet| self.text("summary", bullet, &scope));
        let ask = Ask {
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
            images: Vec::new(),
            payload: self.payload(&call.arguments, &filling)?,
            tokens: mapping.tokens,
            patience: mapping.waits.patience,
            effect: self.effect(&filling)?,
            secrets: mapping.secret_values(call.arguments.as_map()),
        };
        match CallerWords::of(call) {
            None => Ok(ask),
            Some(words) => self.with_words(ask, words),
        }
    }

    /// What the entry leaves open is as the caller says, without the values that nobody is to see.
    fn with_words(&self, mut ask: Ask, words: CallerWords) -> Result<Ask, PlanError> {
        let Said { workflow_name, task_label, subject } = self.mapping.said;
        let lines = [
            ("workflow_name", words.workflow_name, workflow_name, &mut ask.workflow_name),
            ("task_label", words.task_label, task_label, &mut ask.task_label),
            ("subject", words.subject, subject, &mut ask.subject),
        ];
        for (field, said, is_taken, line) in lines {
            if let Some(said) = said.filter(|_| !is_taken) {
                *line = self.said_line(field, &ask.secrets.redact(&said))?;
            }
        }
        if ask.preview.is_none() && self.mapping.preview.is_none() {
            let shown = |text: &str| printable_lines(&ask.secrets.redact(text)).into_owned();
            let preview = words.preview.map(|preview| shown(&preview));
            ask.preview = preview.map(|preview| self.bounded("preview", preview)).transpose()?;
        }
        ask.risk_level = ask.risk_level.or(words.risk_level);
        if self.mapping.summary.is_empty() {
            if words.summary.len() > Limits::DEFAULT.summary_bullets {
                let most = Limits::DEFAULT.summary_bullets;
                return Err(self.refuse(format!("`summary` has more than {most} points")));
            }
            let points = words.summary.iter().map(|point| {
                self.bounded("summary", printable_lines(&ask.secrets.redact(point)).into_owned())
            });
            ask.summary = points.collect::<Result<_, _>>()?;
        }
        if words.images.len() > Limits::DEFAULT.images {
            let most = Limits::DEFAULT.images;
            return Err(self.refuse(format!("there are more than {most} `images`")));
        }
        ask.images = words.images;
        Ok(ask)
    }

    fn said_line(&self, field: &str, said: &str) -> Result<String, PlanError> {
        if said.trim().is_empty() {
            return Err(self.refuse(format!("`{field}` is empty")));
        }
        if said.contains(['\n', '\r']) {
            return Err(self.refuse(format!("`{field}` is more than one line")));
        }
        self.bounded(field, printable(said).into_owned())
    }

    fn bounded(&self, field: &str, text: String) -> Result<String, PlanError> {
        if text.len() > Limits::DEFAULT.line_bytes {
            let most = Limits::DEFAULT.line_bytes;
            return Err(self.refuse(format!("`{field}` comes to more than {most} bytes for this call")));
        }
        Ok(text)
    }

    fn text(&self, field: &str, template: &Template, scope: &Scope<'_>) -> Result<String, PlanError> {
        let text = template
            .render(scope, self.engine)
            .map_err(|problem| self.refuse(format!("`{field}` {problem}")))?;
        self.bounded(field, text)
    }

    fn line(&self, field: &str, template: &Template, scope: &Scope<'_>) -> Result<String, PlanError> {
        let text = self.text(field, template, scope)?;
        if text.trim().is_empty() {
            return Err(self.refuse(format!("`{field}` comes to nothing for this call")));
        }
        Ok(text)
    }

    fn payload(&self, arguments: &Arguments, filling: &Filling<'_>) -> Result<Box<RawValue>, PlanError> {
        let text = match &self.mapping.payload {
            Payload::Arguments => {
                arguments.raw().map_or_else(|| "{}".to_owned(), |raw| raw.trim().to_owned())
            }
            Payload::Fields(fields) => filling.json(fields).map_err(|problem| self.refuse(problem))?,
        };
        RawValue::from_string(text).map_err(|_| self.refuse("the payload is not valid JSON".to_owned()))
    }

    fn effect(&self, filling: &Filling<'_>) -> Result<Option<Effect>, PlanError> {
        let effect =
            self.mapping.effect.as_ref().map(|effect| effect.of(filling.scope, self.engine, self.key));
        effect.transpose().map_err(|problem| self.refuse(problem))
    }

    /// Validates the payload as it is, secrets unmasked, and reports without values.
    fn fit_schema(&self, filling: &Filling<'_>) -> Result<(), PlanError> {
        let Some(schema) = &self.mapping.schema else { return Ok(()) };
        let payload = match &self.mapping.payload {
            Payload::Arguments => filling.scope.arguments.cloned().unwrap_or_default(),
            Payload::Fields(fields) => filling.unmasked(fields).map_err(|problem| self.refuse(problem))?,
        };
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
        if values.is_empty() {
            return Secrets::default();
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
