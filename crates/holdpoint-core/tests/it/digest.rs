use holdpoint_core::{
    Arguments, Principal, ServerName, TaskId, ToolCall, ToolName, ToolWarning, definition_digest,
};
use proptest::{collection, prelude::*};
use serde_json::{Map, Value};

fn call(arguments: Option<&str>) -> ToolCall {
    ToolCall {
        principal: Principal::new("local"),
        server: ServerName::new("payments"),
        tool: ToolName::new("issue_refund"),
        arguments: arguments.map_or(Arguments::absent(), |raw| Arguments::parse(raw).unwrap()),
        extra: Map::new(),
        definition: None,
        warning: ToolWarning::None,
        task: TaskId::new("task"),
    }
}

fn digest(arguments: &str) -> String {
    call(Some(arguments)).digest().to_string()
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    principal: String,
    server: String,
    tool: String,
    arguments: Option<String>,
    extra: String,
    digest: String,
}

/// Holds that were written by an older binary must be found by a newer one: these never change. A new way to digest
/// needs a new version prefix and new vectors beside these.
#[test]
fn vectors_hold() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../vectors/digest.json")).unwrap();
    assert!(vectors.len() >= 12);
    for vector in vectors {
        let mut call = call(vector.arguments.as_deref());
        call.principal = Principal::new(vector.principal);
        call.server = ServerName::new(vector.server);
        call.tool = ToolName::new(vector.tool);
        call.extra = serde_json::from_str(&vector.extra).unwrap();
        assert_eq!(call.digest().to_string(), vector.digest, "{}", vector.name);
    }
}

#[test]
fn numbers_are_told_apart_by_their_text() {
    let same_double = [r#"{"a":9007199254740992}"#, r#"{"a":9007199254740993}"#];
    assert_ne!(digest(same_double[0]), digest(same_double[1]));
    for other in [r#"{"a":1.0}"#, r#"{"a":"1"}"#, r#"{"a":true}"#, r#"{"a":[1]}"#, r#"{"a":1e0}"#] {
        assert_ne!(digest(r#"{"a":1}"#), digest(other), "{other}");
    }
}

#[test]
fn structure_cannot_be_shifted() {
    assert_ne!(digest(r#"{"a":[1],"b":[]}"#), digest(r#"{"a":[],"b":[1]}"#));
    assert_ne!(digest(r#"{"a":{"b":1}}"#), digest(r#"{"a":1,"b":1}"#));
    assert_ne!(digest(r#"{"ab":"c"}"#), digest(r#"{"a":"bc"}"#));
    assert_ne!(call(None).digest(), call(Some("{}")).digest());
}

#[test]
fn every_part_of_a_call_counts() {
    let base = call(Some("{}"));
    let mut others = [base.clone(), base.clone(), base.clone(), base.clone()];
    others[0].principal = Principal::new("other");
    others[1].server = ServerName::new("other");
    others[2].tool = ToolName::new("other");
    others[3].extra.insert("requestState".into(), "s".into());
    for other in others {
        assert_ne!(base.digest(), other.digest(), "{other:?}");
    }
    // What may differ between two sendings of the same call.
    let mut again = base.clone();
    again.task = TaskId::new("another task");
    again.definition = Some(definition_digest(&Value::Null));
    assert_eq!(base.digest(), again.digest());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        "[0-9]{1,30}(\\.[0-9]{1,5})?"
            .prop_filter_map("a JSON number", |text| serde_json::from_str(&text).ok()),
        ".{0,12}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            collection::vec((key(), inner), 0..6).prop_map(|entries| Value::Object(object(entries))),
        ]
    })
}

/// Keys that no reader could take for one another.
fn key() -> impl Strategy<Value = String> {
    "[a-z]{1,8}"
}

fn object(entries: Vec<(String, Value)>) -> Map<String, Value> {
    entries.into_iter().collect()
}

fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(reversed).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn arguments(map: &Map<String, Value>) -> String {
    serde_json::to_string(map).unwrap()
}

proptest! {
    #[test]
    fn key_order_and_spacing_do_not_count(entries in collection::vec((key(), json()), 0..6)) {
        let map = object(entries);
        let Value::Object(turned) = reversed(&Value::Object(map.clone())) else { unreachable!() };
        let spaced = serde_json::to_string_pretty(&turned).unwrap();
        prop_assert_eq!(digest(&arguments(&map)), digest(&spaced));
    }

    #[test]
    fn different_arguments_have_different_digests(
        one in collection::vec((key(), json()), 0..6),
        other in collection::vec((key(), json()), 0..6),
    ) {
        let (one, other) = (object(one), object(other));
        let same = Value::Object(one.clone()) == Value::Object(other.clone());
        prop_assert_eq!(same, digest(&arguments(&one)) == digest(&arguments(&other)));
    }

    #[test]
    fn changing_one_value_changes_the_digest(
        entries in collection::vec((key(), json()), 1..6),
        at in any::<prop::sample::Index>(),
        value in json(),
    ) {
        let map = object(entries);
        let mut changed = map.clone();
        let key = map.keys().nth(at.index(map.len())).unwrap().clone();
        prop_assume!(map[&key] != value);
        changed.insert(key, value);
        prop_assert_ne!(digest(&arguments(&map)), digest(&arguments(&changed)));
    }
}
