//! Single keywords in the words that are read.

use super::merge::{contradict, merged};
use serde_json::{Map, Number, Value};

/// The largest whole number up to which doubles are exact.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A list of types becomes its one type that is not `null`; where there are several, any type fits.
pub(super) fn one_type(schema: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = schema.get("type") else {
        return;
    };
    let names: Vec<&str> = types.iter().filter_map(Value::as_str).collect();
    let has_others = names.len() != types.len();
    let has_null = names.contains(&"null");
    let has_number = names.contains(&"number");
    let is_one_of_several = |name: &&str| *name != "null" && !(*name == "integer" && has_number);
    let mut several: Vec<&str> = names.iter().copied().filter(is_one_of_several).collect();
    several.dedup();
    match several.as_slice() {
        _ if has_others => {
            schema.remove("type");
        }
        [] if has_null => {
            schema.insert("type".into(), "null".into());
        }
        [one] => {
            let one = Value::from(*one);
            schema.insert("type".into(), one);
            if has_null {
                without_null(schema);
            }
        }
        _ => {
            let words = format!("One of these types: {}.", names.join(", "));
            schema.remove("type");
            note(schema, &words);
        }
    }
}

/// Bounds that exclude themselves become ones that do not: the next whole number, or the bound itself with a note.
pub(super) fn plain_bounds(schema: &mut Map<String, Value>) {
    plain_bound(schema, &Bound { exclusive: "exclusiveMinimum", plain: "minimum", word: "More", step: 1 });
    plain_bound(schema, &Bound { exclusive: "exclusiveMaximum", plain: "maximum", word: "Less", step: -1 });
}

struct Bound {
    exclusive: &'static str,
    plain: &'static str,
    word: &'static str,
    /// From the excluded whole number to the first that fits.
    step: i64,
}

fn plain_bound(schema: &mut Map<String, Value>, bound: &Bound) {
    // In draft 4 it is a word beside the bound, and true or false.
    let Some(Value::Number(excluded)) = schema.get(bound.exclusive).cloned() else {
        return;
    };
    schema.remove(bound.exclusive);
    let is_whole = schema.get("type").and_then(Value::as_str) == Some("integer");
    let next = is_whole.then(|| next_whole(&excluded, bound.step)).flatten();
    let (limit, is_exact) = next.map_or((excluded.clone(), false), |next| (next, true));
    let stands = schema.get(bound.plain).and_then(Value::as_f64);
    let is_stricter = |other: f64| {
        limit.as_f64().is_some_and(|limit| if bound.step > 0 { limit > other } else { limit < other })
    };
    match stands {
        Some(other) if !is_stricter(other) && (is_exact || limit.as_f64() != Some(other)) => {}
        Some(_) | None => {
            schema.insert(bound.plain.into(), Value::Number(limit));
            if !is_exact {
                note(schema, &format!("{} than {excluded}.", bound.word));
            }
        }
    }
}

/// The first whole number beyond one that is excluded. `None`: it is too large to be counted with.
fn next_whole(excluded: &Number, step: i64) -> Option<Number> {
    let whole = if let Some(whole) = excluded.as_i64() {
        whole
    } else {
        let value = excluded.as_f64().filter(|value| value.abs() < WHOLE_MAX)?;
        let toward = if step > 0 { value.floor() } else { value.ceil() };
        format!("{toward:.0}").parse().ok()?
    };
    whole.checked_add(step).map(Number::from)
}

/// A choice between one schema and `null` becomes that schema.
pub(super) fn without_null_branch(schema: &mut Map<String, Value>) {
    for keyword in ["anyOf", "oneOf"] {
        let Some(Value::Array(branches)) = schema.get(keyword) else {
            continue;
        };
        let mut others = branches.iter().filter(|branch| !is_null(branch));
        let (Some(Value::Object(other)), None, 2) = (others.next(), others.next(), branches.len()) else {
            continue;
        };
        let other = other.clone();
        let mut beside = schema.clone();
        beside.remove(keyword);
        if !contradict(&other, &beside) {
            *schema = merged(other, beside);
            without_null(schema);
        }
    }
}

/// Whether only `null` fits.
fn is_null(branch: &Value) -> bool {
    branch.get("type").and_then(Value::as_str) == Some("null")
}

/// What is not `null` any more is not said to be.
fn without_null(schema: &mut Map<String, Value>) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
        if values.is_empty() {
            schema.remove("enum");
        }
    }
}

/// Says to the model what no keyword says any more.
fn note(schema: &mut Map<String, Value>, words: &str) {
    let said = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let said = if said.is_empty() { words.to_owned() } else { format!("{said} {words}") };
    schema.insert("description".into(), said.into());
}
