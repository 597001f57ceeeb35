//! A JSON Schema without what Copilot Studio does not read: it leaves out a tool with a `$ref` anywhere, cuts off inputs at a
//! list of types, and fails over a number in `exclusiveMinimum`
//! (<https://learn.microsoft.com/microsoft-copilot-studio/agent-extend-action-mcp>).
//!
//! # Rules
//! 1. Whatever fits the schema fits what becomes of it, so a client can still make each call that is valid; what
//!    fits only the latter is refused when it is called. The one exception is a `null` beside one other type: it is taken
//!    away, since the client could only be told of it by a list of types.
//! 2. Where that rule cannot be kept by a keyword, because it counts or denies (`not`, `if`, `oneOf`), the keyword goes.
//! 3. Reading goes down [`DEPTH_MAX`] levels and over [`NODES_MAX`] parts; beyond, anything fits.

mod merge;
mod narrow;

use merge::{annotates, merged};
use serde_json::{Map, Value};
use std::mem;

/// How deep schemas stand in each other, those that are put in the place of references counted.
const DEPTH_MAX: usize = 64;
/// So many schemas are written for one tool's.
const NODES_MAX: usize = 8_192;
/// A schema that its references make larger than this is written without what they refer to.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// What becomes of a tool's schema. `None`: it stays as it is.
pub(super) fn of(stated: &Value) -> Option<Value> {
    if !stated.is_object() {
        return None;
    }
    let mut written = Writer::new(stated, References::of(stated)).schema(stated, DEPTH_MAX);
    if written == *stated {
        return None;
    }
    if written.to_string().len() > SCHEMA_BYTES_MAX.max(stated.to_string().len()) {
        written = Writer::new(stated, References::Open).schema(stated, DEPTH_MAX);
    }
    if let Value::Object(root) = &mut written {
        // MCP 2025-11-25, `Tool`: a tool is called with an object, and answers with one.
        root.entry("type").or_insert_with(|| Value::from("object"));
    }
    Some(written)
}

/// What is written for a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum References {
    /// What it refers to.
    Inline,
    /// Anything: it cannot be told, or would be too large.
    Open,
}

impl References {
    /// A part with an identifier of its own is another document: what refers to a place in it, or from it, means something else.
    fn of(root: &Value) -> Self {
        let has_parts = root.as_object().is_some_and(|root| root.values().any(names_itself));
        if has_parts { Self::Open } else { Self::Inline }
    }
}

fn names_itself(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.get("$id").is_some_and(Value::is_string) || map.values().any(names_itself),
        Value::Array(list) => list.iter().any(names_itself),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// What stands beside a `$ref`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbours {
    /// Counts as well: 2019-09 and later.
    Count,
    /// Is ignored: draft 7 and before.
    Ignored,
}

#[derive(Debug)]
struct Writer<'s> {
    stated: &'s Value,
    references: References,
    neighbours: Neighbours,
    /// The schemas that are being written.
    open: Vec<&'s Value>,
    nodes_left: usize,
}

impl<'s> Writer<'s> {
    fn new(stated: &'s Value, references: References) -> Self {
        let dialect = stated.get("$schema").and_then(Value::as_str).unwrap_or_default();
        let is_old = ["draft-03", "draft-04", "draft-06", "draft-07"].iter().any(|old| dialect.contains(old));
        let neighbours = if is_old { Neighbours::Ignored } else { Neighbours::Count };
        Self { stated, references, neighbours, open: Vec::new(), nodes_left: NODES_MAX }
    }

    fn schema(&mut self, stated: &'s Value, depth_left: usize) -> Value {
        let Value::Object(map) = stated else {
            return stated.clone();
        };
        let (Some(depth_left), Some(nodes_left)) =
            (depth_left.checked_sub(1), self.nodes_left.checked_sub(1))
        else {
            return anything_like(map);
        };
        self.nodes_left = nodes_left;
        self.open.push(stated);
        let mut written = Map::new();
        for (keyword, value) in map {
            if let Some(value) = self.member(keyword, value, depth_left) {
                written.insert(keyword.clone(), value);
            }
        }
        keep_the_rule(map, &mut written);
        narrow::one_type(&mut written);
        narrow::plain_bounds(&mut written);
        narrow::without_null_branch(&mut written);
        if let Some(reference) = map.get("$ref") {
            let target = self.referred(reference, depth_left);
            written = self.put_over(target, written);
        }
        self.open.pop();
        Value::Object(written)
    }

    /// What becomes of one keyword. `None`: it goes.
    fn member(&mut self, keyword: &str, value: &'s Value, depth_left: usize) -> Option<Value> {
        Some(match keyword {
            // What they name is not there any more; and the last two are about what other keywords, that may be gone, did not
            // see.
            "$ref"
            | "$dynamicRef"
            | "$recursiveRef"
            | "$defs"
            | "definitions"
            | "$anchor"
            | "$dynamicAnchor"
            | "$recursiveAnchor"
            | "$id"
            | "$vocabulary"
            | "unevaluatedItems"
            | "unevaluatedProperties" => return None,
            "id" if value.is_string() => return None,
            "const" | "enum" | "default" | "examples" | "example" => value.clone(),
            "additionalItems"
            | "additionalProperties"
            | "contains"
            | "contentSchema"
            | "else"
            | "if"
            | "not"
            | "propertyNames"
            | "then" => self.schema(value, depth_left),
            "allOf" | "anyOf" | "items" | "oneOf" | "prefixItems" => match value {
                Value::Array(list) => list.iter().map(|one| self.schema(one, depth_left)).collect(),
                one => self.schema(one, depth_left),
            },
            "dependencies" | "dependentSchemas" | "patternProperties" | "properties" => match value {
                Value::Object(map) => {
                    let each = map.iter().map(|(name, one)| (name.clone(), self.schema(one, depth_left)));
                    Value::Object(each.collect())
                }
                other => other.clone(),
            },
            // A word of the server's own: nobody can say which of what is in it are schemas.
            _ if has_reference(value) => return None,
            _ => value.clone(),
        })
    }

    /// What is written for a reference.
    fn referred(&mut self, reference: &Value, depth_left: usize) -> Value {
        let target = reference.as_str().and_then(|reference| self.target(reference));
        let Some(target) = target else {
            return Value::Bool(true);
        };
        let is_inside_itself = self.open.iter().any(|open| std::ptr::eq(*open, target));
        match target {
            Value::Object(map) if is_inside_itself => anything_like(map),
            target => self.schema(target, depth_left),
        }
    }

    /// What a reference refers to, where that is in the same schema.
    fn target(&self, reference: &str) -> Option<&'s Value> {
        if self.references == References::Open {
            return None;
        }
        let base = self.stated.get("$id").and_then(Value::as_str).unwrap_or_default();
        let base = base.strip_suffix('#').unwrap_or(base);
        let fragment = reference.strip_prefix(base).unwrap_or(reference).strip_prefix('#')?;
        let is_pointer = fragment.is_empty() || fragment.starts_with('/');
        if is_pointer && !fragment.contains('%') { self.stated.pointer(fragment) } else { None }
    }

    /// What stands beside a reference, over what it refers to.
    fn put_over(&self, target: Value, mut beside: Map<String, Value>) -> Map<String, Value> {
        if self.neighbours == Neighbours::Ignored {
            beside.retain(|keyword, _| annotates(keyword));
        }
        match target {
            Value::Object(target) => merged(target, beside),
            // Nothing fits.
            Value::Bool(false) => {
                beside.insert("not".into(), Value::Object(Map::new()));
                beside
            }
            Value::Bool(true) | Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => beside,
        }
    }
}

/// A schema that anything of its kind fits.
fn anything_like(map: &Map<String, Value>) -> Value {
    let kept = ["type", "title", "description"].into_iter().filter_map(|keyword| {
        let value = map.get(keyword).filter(|value| value.is_string())?;
        Some((keyword.to_owned(), value.clone()))
    });
    Value::Object(kept.collect())
}

/// Keywords that count or deny say something stricter when what is in them becomes laxer.
fn keep_the_rule(stated: &Map<String, Value>, written: &mut Map<String, Value>) {
    let changed = |keyword: &str, written: &Map<String, Value>| stated.get(keyword) != written.get(keyword);
    if changed("not", written) {
        written.remove("not");
    }
    if changed("if", written) {
        for keyword in ["if", "then", "else"] {
            written.remove(keyword);
        }
    }
    if changed("contains", written) {
        written.remove("maxContains");
    }
    if changed("oneOf", written) {
        let branches = written.get_mut("oneOf").map(mem::take);
        written.remove("oneOf");
        if let Some(branches) = branches {
            written.entry("anyOf").or_insert(branches);
        }
    }
}

fn has_reference(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.contains_key("$ref") || map.values().any(has_reference),
        Value::Array(list) => list.iter().any(has_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
