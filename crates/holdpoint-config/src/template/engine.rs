use super::{
    Lines, Part, Reads, Scope, Template, TemplateMistake, Word, find, missing, number::decimal, reads,
};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, value::ValueKind};

/// Work that one rendering may do; also bounds its memory, at about 64 bytes each.
const FUEL: u64 = 50_000;
/// Depth of nested blocks and macros.
const RECURSION_MAX: usize = 32;

/// Collects compiled templates.
pub(crate) struct Engine(Environment<'static>);

impl Default for Engine {
    fn default() -> Self {
        Self(environment())
    }
}

pub(super) fn environment<'s>() -> Environment<'s> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.remove_global("debug");
    environment.add_filter("clip", clip);
    environment.set_formatter(|out, _, value| {
        let written = match value.kind() {
            ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
            ValueKind::None => out.write_str("null"),
            ValueKind::Bool => out.write_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Seq | ValueKind::Map => match serde_json::to_string(value) {
                Ok(json) => out.write_str(&json),
                Err(_) => return Err(Error::from(ErrorKind::BadSerialization)),
            },
            ValueKind::Invalid => return Err(Error::new(ErrorKind::InvalidOperation, INEXACT)),
            _ => write!(out, "{value}"),
        };
        written.map_err(|_| Error::from(ErrorKind::WriteFailure))
    });
    environment
}

/// Cuts a long text, and says so.
fn clip(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((at, _)) => {
            let (kept, cut) = text.split_at(at);
            format!("{kept}… ({} more characters, see the payload)", cut.chars().count())
        }
    }
}

impl Engine {
    /// Compiles `source`; the reads are what it looks up in the arguments.
    pub(crate) fn compile(
        &mut self,
        source: &str,
        lines: Lines,
    ) -> Result<(Template, Reads), TemplateMistake> {
        let source = source.strip_suffix('\n').unwrap_or(source);
        let reads = reads::check(source)?;
        let parts = match self.split(source) {
            Some(parts) => parts,
            None => vec![self.add(source, &reads)?],
        };
        Ok((Template { parts, lines }, reads))
    }

    pub(crate) fn finish(self) -> Environment<'static> {
        self.0
    }

    /// `{{ … }}` one by one, so that plain paths need no engine; `None` if the template has statements in it.
    fn split(&mut self, source: &str) -> Option<Vec<Part>> {
        if ["{%", "{#", "{{-", "-}}", "{{+", "+}}"].iter().any(|mark| source.contains(mark)) {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some((before, open)) = rest.split_once("{{") {
            let (inner, after) = open.split_once("}}")?;
            parts.push(Part::Text(before.into()));
            parts.push(if let Some(part) = plain(inner.trim()) {
                part
            } else {
                let expression = format!("{{{{{inner}}}}}");
                let reads = reads::check(&expression).ok()?;
                self.add(&expression, &reads).ok()?
            });
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        Some(parts)
    }

    fn add(&mut self, source: &str, reads: &Reads) -> Result<Part, TemplateMistake> {
        let name = format!("t{}", self.0.templates().count());
        self.0
            .add_template_owned(name.clone(), source.to_owned())
            .map_err(|error| reads::syntax(&error, source))?;
        Ok(Part::Engine { name: name.into(), reads: reads.paths().to_vec() })
    }
}

/// A path that needs no engine.
fn plain(expression: &str) -> Option<Part> {
    match expression {
        "tool" => return Some(Part::Word(Word::Tool)),
        "server" => return Some(Part::Word(Word::Server)),
        "task" => return Some(Part::Word(Word::Task)),
        _ => {}
    }
    let path = expression.strip_prefix("args.")?;
    let is_name = |key: &str| {
        key.starts_with(|char: char| char == '_' || char.is_ascii_alphabetic())
            && key.chars().all(|char| char == '_' || char.is_ascii_alphanumeric())
    };
    let keys: Vec<Box<str>> = path.split('.').filter(|key| is_name(key)).map(Into::into).collect();
    (keys.len() == path.split('.').count()).then_some(Part::Argument { keys })
}

/// Says what went wrong in words that hold no value.
pub(super) fn render(
    engine: &Environment<'static>,
    name: &str,
    reads: &[Vec<Box<str>>],
    scope: &Scope<'_>,
) -> Result<String, String> {
    let template = engine.get_template(name).map_err(|_| "cannot be rendered".to_owned())?;
    let context = scope.context.get_or_init(|| context(scope)).clone();
    template.render(context).map_err(|error| match error.kind() {
        ErrorKind::UndefinedError => match reads.iter().find(|keys| find(scope.arguments, keys).is_none()) {
            Some(keys) => missing(keys),
            None => "needs an argument that the call does not have".to_owned(),
        },
        ErrorKind::OutOfFuel => "takes too much work to render".to_owned(),
        _ if error.detail() == Some(INEXACT) => format!("cannot be rendered: {INEXACT}"),
        kind => format!("cannot be rendered: {kind}"),
    })
}

fn context(scope: &Scope<'_>) -> Value {
    let masked = scope.arguments.and_then(|arguments| (scope.masked)(arguments));
    let arguments = masked.as_ref().or(scope.arguments);
    let arguments = arguments.map_or_else(
        || Value::from_pairs(std::iter::empty::<(String, Value)>()),
        |map| Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), from_json(value)))),
    );
    Value::from_pairs([
        ("args", arguments),
        ("tool", Value::from(scope.tool)),
        ("server", Value::from(scope.server)),
        ("task", Value::from(scope.task)),
    ])
}

fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => from_number(number.as_str()),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        serde_json::Value::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), from_json(value))))
        }
    }
}

const INEXACT: &str = "a number has more digits than a template can compute with";

pub(super) fn from_number(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return Value::from(whole);
    }
    if let Ok(whole) = text.parse::<i128>() {
        return Value::from(whole);
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && decimal(text) == decimal(&format!("{float:?}")) => {
            Value::from(float)
        }
        Ok(_) | Err(_) => Value::from(Error::new(ErrorKind::InvalidOperation, INEXACT)),
    }
}
