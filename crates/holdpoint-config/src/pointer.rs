//! JSON Pointer (RFC 6901) into a call's arguments.

use holdpoint_core::same_key;
use serde_json::{Map, Value};

/// A place in the arguments, below the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    text: Box<str>,
    keys: Vec<Box<str>>,
}

/// Why a text is no pointer, and what to write instead.
pub(crate) type PointerError = (String, String);

impl Pointer {
    pub(crate) fn parse(text: &str) -> Result<Self, PointerError> {
        let error = |message: &str, hint: String| Err((message.to_owned(), hint));
        if text.is_empty() {
            return error(
                "this points to all arguments at once",
                "name one of them, such as `/amount`; without `payload`, all arguments are shown".to_owned(),
            );
        }
        let Some(path) = text.strip_prefix('/') else {
            let plain = text.strip_prefix("$.").or_else(|| text.strip_prefix("args.")).unwrap_or(text);
            let hint = format!("write `/{}`", plain.replace('.', "/"));
            return error("a JSON Pointer starts with `/`", hint);
        };
        let mut keys = Vec::new();
        for part in path.split('/') {
            let unescaped = part.replace("~0", "").replace("~1", "");
            if unescaped.contains('~') {
                return error(
                    "`~` stands for itself only as `~0` in a JSON Pointer",
                    "write `~0` for `~` and `~1` for `/`".to_owned(),
                );
            }
            keys.push(part.replace("~1", "/").replace("~0", "~").into());
        }
        Ok(Self { text: text.into(), keys })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn keys(&self) -> &[Box<str>] {
        &self.keys
    }

    pub(crate) fn find<'v>(&self, arguments: &'v Map<String, Value>) -> Option<&'v Value> {
        walk(arguments, self.keys.iter().map(|key| &**key))
    }

    /// Whether a reader that ignores case would find something here that [`Self::find`] does not.
    pub(crate) fn has_lookalike(&self, arguments: &Map<String, Value>) -> bool {
        let Some((first, rest)) = self.keys.split_first() else { return false };
        let mut places = similar(arguments, first);
        for key in rest {
            places = places.into_iter().flat_map(|place| below(place, key)).collect();
        }
        !places.is_empty() && self.find(arguments).is_none()
    }

    /// The first step alone.
    pub(crate) fn top(&self) -> Option<Self> {
        let first = self.keys.first()?;
        let text = format!("/{}", first.replace('~', "~0").replace('/', "~1"));
        Some(Self { text: text.into(), keys: vec![first.clone()] })
    }

    /// Whether this is `other` or lies above it.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.keys.starts_with(&self.keys)
    }

    /// Puts `mask` in this place of `value`, which lies at `above`.
    pub(crate) fn mask_within(&self, above: &Self, value: &mut Value, mask: String) {
        let below = self.keys.get(above.keys.len()..).unwrap_or_default();
        let place = below.iter().try_fold(value, |value, key| match value {
            Value::Object(map) => map.get_mut(&**key),
            Value::Array(items) => index(key).and_then(|at| items.get_mut(at)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        });
        if let Some(place) = place {
            *place = Value::String(mask);
        }
    }
}

/// The value at the end of a path of keys.
pub(crate) fn walk<'v, 'k>(
    arguments: &'v Map<String, Value>,
    keys: impl IntoIterator<Item = &'k str>,
) -> Option<&'v Value> {
    let mut keys = keys.into_iter();
    let first = arguments.get(keys.next()?)?;
    keys.try_fold(first, child)
}

/// One step down.
pub(crate) fn child<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(map) => map.get(key),
        Value::Array(items) => index(key).and_then(|at| items.get(at)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// One step down, whatever the case.
fn below<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    match value {
        Value::Object(map) => similar(map, key),
        Value::Array(_) => child(value, key).into_iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn similar<'v>(map: &'v Map<String, Value>, key: &str) -> Vec<&'v Value> {
    map.iter().filter(|(name, _)| same_key(name, key)).map(|(_, value)| value).collect()
}

fn index(key: &str) -> Option<usize> {
    let plain = key == "0" || !key.starts_with(['0', '+']);
    plain.then(|| key.parse().ok()).flatten()
}
