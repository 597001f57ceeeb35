//! Expressions over the answer of a tool: `result.status == 'refunded'`.

use super::{
    TemplateMistake,
    engine::{environment, from_number},
    reads::{FUNCTIONS, filters, syntax, word},
};
use minijinja::{
    Value,
    value::{Enumerator, Object, ObjectRepr, ValueKind},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The one name that an expression has.
const ROOT: &str = "result";
const HINT: &str = "write it like `result.status == 'refunded'`";

/// An expression that is known to compile. It is evaluated once in a while, so the engine is set up for each time.
#[derive(Clone, Debug)]
pub(crate) struct Condition(Arc<str>);

impl Condition {
    pub(crate) fn compile(source: &str) -> Result<Self, TemplateMistake> {
        let mistake = |message: &str, hint: &str| TemplateMistake {
            range: 0..source.len(),
            message: message.to_owned(),
            hint: hint.to_owned(),
        };
        if source.contains("{{") || source.contains("{%") {
            let hint = "write the expression alone, without `{{` and `}}`";
            return Err(mistake("this is an expression, not a template", hint));
        }
        let environment = environment();
        let expression = environment.compile_expression(source).map_err(|error| {
            let TemplateMistake { range, message, .. } = syntax(&error, source);
            let message = message.replace("this template", "this expression");
            TemplateMistake { range, message, hint: HINT.to_owned() }
        })?;
        let mut names: Vec<String> = expression.undeclared_variables(false).into_iter().collect();
        names.sort_unstable();
        if let Some(name) = names.iter().find(|name| *name != ROOT && !FUNCTIONS.contains(&name.as_str())) {
            let range = word(source, name).unwrap_or(0..source.len());
            let message = format!("conditions know no `{name}`");
            return Err(TemplateMistake { range, message, hint: "the tool's answer is `result`".to_owned() });
        }
        if !names.iter().any(|name| name == ROOT) {
            return Err(mistake("this does not look at the answer", HINT));
        }
        // Filters are looked for inside of tags.
        filters(&environment, &format!("{{{{{source}}}}}")).map_err(|mistake| {
            let range = mistake.range.start.saturating_sub(2)..mistake.range.end.saturating_sub(2);
            TemplateMistake { range, ..mistake }
        })?;
        Ok(Self(source.into()))
    }

    /// Whether it holds; `None` if it looks at something that is not there, fails, or is neither true nor false.
    pub(crate) fn holds(&self, result: &serde_json::Value) -> Option<bool> {
        let missed = Arc::new(AtomicBool::new(false));
        let context = Value::from_pairs([(ROOT, watched(result, &missed))]);
        let environment = environment();
        let value = environment.compile_expression(&self.0).ok()?.eval(context).ok()?;
        let told = value.kind() == ValueKind::Bool && !missed.load(Ordering::Relaxed);
        told.then(|| value.is_true())
    }
}

/// A value of the answer that notes when something is looked up in it that it does not have. The engine by itself takes
/// an absent field for one that is not equal to anything, and what did not happen would be told by a typing error.
struct Watched {
    value: serde_json::Value,
    missed: Arc<AtomicBool>,
}

fn watched(value: &serde_json::Value, missed: &Arc<AtomicBool>) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => from_number(number.as_str()),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            Value::from_object(Watched { value: value.clone(), missed: Arc::clone(missed) })
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Object for Watched {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.value.is_array() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found = match &self.value {
            serde_json::Value::Array(items) => key.as_usize().and_then(|at| items.get(at)),
            serde_json::Value::Object(map) => key.as_str().and_then(|key| map.get(key)),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => None,
        };
        if found.is_none() {
            self.missed.store(true, Ordering::Relaxed);
        }
        found.map(|found| watched(found, &self.missed))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.value {
            serde_json::Value::Array(items) => Enumerator::Seq(items.len()),
            serde_json::Value::Object(map) => {
                Enumerator::Values(map.keys().map(|key| Value::from(key.as_str())).collect())
            }
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => Enumerator::Empty,
        }
    }
}
