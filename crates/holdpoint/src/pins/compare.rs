//! What two definitions differ in, value by value.

use serde_json::{Map, Value};

/// One value that is not what it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change<'v> {
    /// Where, as a JSON Pointer (RFC 6901) into the definition.
    pub(crate) pointer: String,
    /// `None`: it was not there.
    pub(crate) old: Option<&'v Value>,
    /// `None`: it is not there any more.
    pub(crate) new: Option<&'v Value>,
}

/// All of them, in the order of the new definition.
pub(crate) fn compare<'v>(old: &'v Value, new: &'v Value) -> Vec<Change<'v>> {
    let mut changes = Vec::new();
    values("", old, new, &mut changes);
    changes
}

/// As deep as the reader of definitions lets them be.
fn values<'v>(at: &str, old: &'v Value, new: &'v Value, changes: &mut Vec<Change<'v>>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => members(at, old, new, changes),
        (Value::Array(old), Value::Array(new)) if old.iter().chain(new).any(is_nested) => {
            for index in 0..old.len().max(new.len()) {
                either(&format!("{at}/{index}"), old.get(index), new.get(index), changes);
            }
        }
        // A list of names is read as a whole.
        (_, _) => changes.push(Change { pointer: at.to_owned(), old: Some(old), new: Some(new) }),
    }
}

const fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

fn members<'v>(
    at: &str,
    old: &'v Map<String, Value>,
    new: &'v Map<String, Value>,
    changes: &mut Vec<Change<'v>>,
) {
    let removed = old.keys().filter(|key| !new.contains_key(*key));
    for key in new.keys().chain(removed) {
        let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        either(&pointer, old.get(key), new.get(key), changes);
    }
}

fn either<'v>(at: &str, old: Option<&'v Value>, new: Option<&'v Value>, changes: &mut Vec<Change<'v>>) {
    match (old, new) {
        (Some(old), Some(new)) => values(at, old, new, changes),
        (None, None) => {}
        (old, new) => changes.push(Change { pointer: at.to_owned(), old, new }),
    }
}

#[cfg(test)]
mod tests {
    use super::compare;
    use serde_json::{Value, json};

    /// Setting each new value at its pointer makes the one the other.
    #[test]
    fn the_changes_are_all_that_is_different() {
        let values = [
            json!({}),
            json!({ "a": 1, "b": { "c": [1, 2], "~d/e": "x" } }),
            json!({ "a": null, "b": { "c": [1, 2, 3], "~d/e": "x" } }),
            json!({ "a": 1, "b": { "c": [{ "x": 1 }, { "y": 2 }], "~d/e": "y", "": 7 } }),
            json!({ "a": 1, "b": { "c": [{ "x": 2 }] } }),
            json!({ "b": [[1], [2]] }),
            json!([]),
        ];
        for old in &values {
            for new in &values {
                let mut made = old.clone();
                let changes = compare(old, new);
                assert_eq!(changes.is_empty(), old == new);
                // From the end, so that removing from a list moves nothing that comes later.
                for change in changes.iter().rev() {
                    apply(&mut made, &change.pointer, change.new);
                }
                for change in &changes {
                    assert_eq!(old.pointer(&change.pointer), change.old);
                    assert_eq!(new.pointer(&change.pointer), change.new);
                    apply(&mut made, &change.pointer, change.new);
                }
                assert_eq!(made, *new, "{changes:?}");
            }
        }
    }

    fn apply(value: &mut Value, pointer: &str, new: Option<&Value>) {
        let Some((parent, key)) = pointer.rsplit_once('/') else {
            *value = new.unwrap().clone();
            return;
        };
        let key = key.replace("~1", "/").replace("~0", "~");
        match (value.pointer_mut(parent), new) {
            (Some(Value::Object(map)), Some(new)) => drop(map.insert(key, new.clone())),
            (Some(Value::Object(map)), None) => drop(map.remove(&key)),
            (Some(Value::Array(list)), Some(new)) => {
                let index: usize = key.parse().unwrap();
                if index < list.len() {
                    list[index] = new.clone();
                } else if index == list.len() {
                    list.push(new.clone());
                }
            }
            (Some(Value::Array(list)), None) => list.truncate(key.parse::<usize>().unwrap().min(list.len())),
            (_, _) => panic!("nothing at {parent}"),
        }
    }
}
