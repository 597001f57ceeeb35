use crate::reply::Ended;
use holdpoint_core::DefinitionDigest;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

/// Compiled schemas are kept up to this many; then all are forgotten.
const SCHEMAS_MAX: usize = 4_096;
/// An agent repairs a few mistakes at a time.
const PROBLEMS_MAX: usize = 5;
/// Steps that one pattern may take back: look-around needs an engine that is not linear, so it is bounded.
const BACKTRACKS_MAX: usize = 20_000;
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The tools' argument schemas, compiled once per definition.
#[derive(Debug, Default)]
pub(crate) struct Schemas(Mutex<HashMap<DefinitionDigest, Compiled>>);

/// A schema, or why it cannot be used.
type Compiled = Result<Arc<Validator>, Arc<str>>;

impl Schemas {
    pub(crate) fn validate(
        &self,
        digest: DefinitionDigest,
        schema: Option<&Value>,
        arguments: Option<&Value>,
    ) -> Result<(), Ended> {
        let Some(schema) = schema else {
            return Ok(());
        };
        let compiled = self.compiled(digest, schema);
        let validator = compiled.map_err(|why| Ended::DefinitionUnusable(why.to_string()))?;
        // Absent arguments are none: a tool that requires some says so here.
        let none = Value::Object(Map::new());
        let instance = arguments.unwrap_or(&none);
        let mut problems = String::new();
        for error in validator.iter_errors(instance).take(PROBLEMS_MAX) {
            let at = error.instance_path().to_string();
            let separator = if problems.is_empty() { "" } else { "; " };
            let at = if at.is_empty() { "the arguments" } else { &at };
            // Masked: the text may be logged by the client, and arguments may hold secrets.
            let _infallible = write!(problems, "{separator}{at}: {}", error.masked());
        }
        if problems.is_empty() { Ok(()) } else { Err(Ended::InvalidArguments(problems)) }
    }

    fn compiled(&self, digest: DefinitionDigest, schema: &Value) -> Compiled {
        if let Some(compiled) = self.lock().get(&digest) {
            return compiled.clone();
        }
        let compiled = compile(schema).map(Arc::new).map_err(Arc::from);
        let mut known = self.lock();
        if known.len() >= SCHEMAS_MAX {
            known.clear();
        }
        known.insert(digest, compiled.clone());
        compiled
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<DefinitionDigest, Compiled>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Never fetches anything: a server's `$ref` must not make us open files or URLs.
fn compile(schema: &Value) -> Result<Validator, String> {
    let linear = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
    if let Ok(validator) = jsonschema::options().offline().with_pattern_options(linear).build(schema) {
        return Ok(validator);
    }
    let bounded = PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS_MAX).size_limit(PATTERN_BYTES_MAX);
    let built = jsonschema::options().offline().with_pattern_options(bounded).build(schema);
    built.map_err(|error| format!("its input schema is not usable ({})", error.masked()))
}
