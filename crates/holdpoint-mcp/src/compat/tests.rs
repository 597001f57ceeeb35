use super::{readable, subset};
use crate::message::IdKey;
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn becomes(stated: Value, expected: &Value) {
    let written = subset::of(&stated).unwrap_or(stated);
    assert_eq!(written, *expected);
    assert_eq!(forbidden(&written), None);
}

#[test]
fn references_are_put_in_place() {
    becomes(
        json!({"type":"object","$defs":{"Name":{"type":"string","minLength":1,"description":"a name"}},
            "properties":{"first":{"$ref":"#/$defs/Name"},"last":{"$ref":"#/$defs/Name","description":"the last one"},
                "all":{"type":"array","items":{"$ref":"#/$defs/Name"}}}}),
        &json!({"type":"object","properties":{
            "first":{"type":"string","minLength":1,"description":"a name"},
            "last":{"type":"string","minLength":1,"description":"the last one"},
            "all":{"type":"array","items":{"type":"string","minLength":1,"description":"a name"}}}}),
    );
    becomes(
        json!({"$ref":"#/definitions/Root","definitions":{"Root":{"type":"object","properties":{"a":{"type":"integer"}}}}}),
        &json!({"type":"object","properties":{"a":{"type":"integer"}}}),
    );
}

#[test]
fn what_refers_to_itself_or_elsewhere_takes_anything_of_its_kind() {
    becomes(
        json!({"type":"object","properties":{"tree":{"$ref":"#/$defs/Node"}},
            "$defs":{"Node":{"type":"object","title":"Node","properties":{"left":{"$ref":"#/$defs/Node"}},"required":["left"]}}}),
        &json!({"type":"object","properties":{"tree":{"type":"object","title":"Node",
            "properties":{"left":{"type":"object","title":"Node"}},"required":["left"]}}}),
    );
    becomes(
        json!({"type":"object","properties":{"self":{"$ref":"#"},"far":{"$ref":"https://example.com/schema.json"},
            "no":{"$ref":"#/$defs/missing"},"anchor":{"$ref":"#a","description":"kept"}}}),
        &json!({"type":"object","properties":{"self":{"type":"object"},"far":{},"no":{},"anchor":{"description":"kept"}}}),
    );
}

#[test]
fn there_is_one_type() {
    becomes(
        json!({"type":"object","properties":{
            "a":{"type":["string","null"],"enum":["x",null],"default":null},
            "b":{"type":["integer","number"]},
            "c":{"type":["string","integer"],"description":"An id."},
            "d":{"anyOf":[{"type":"string","maxLength":3},{"type":"null"}],"default":null,"title":"D"},
            "e":{"type":["null"]}}}),
        &json!({"type":"object","properties":{
            "a":{"type":"string","enum":["x"]},
            "b":{"type":"number"},
            "c":{"description":"An id. One of these types: string, integer."},
            "d":{"type":"string","maxLength":3,"title":"D"},
            "e":{"type":"null"}}}),
    );
}

#[test]
fn bounds_do_not_exclude_themselves() {
    becomes(
        json!({"type":"object","properties":{
            "a":{"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":10},
            "b":{"type":"integer","exclusiveMinimum":0.5,"minimum":3},
            "c":{"type":"number","exclusiveMinimum":0},
            "d":{"type":["integer","null"],"exclusiveMinimum":-1},
            "e":{"type":"number","minimum":0,"exclusiveMinimum":true}}}),
        &json!({"type":"object","properties":{
            "a":{"type":"integer","minimum":1,"maximum":9},
            "b":{"type":"integer","minimum":3},
            "c":{"type":"number","minimum":0,"description":"More than 0."},
            "d":{"type":"integer","minimum":0},
            "e":{"type":"number","minimum":0,"exclusiveMinimum":true}}}),
    );
}

#[test]
fn names_of_properties_are_no_keywords() {
    let stated = json!({"type":"object","properties":{"type":{"type":"string"},"exclusiveMinimum":{"type":"integer"},
        "definitions":{"type":"object"}},"required":["type"],"additionalProperties":false,
        "oneOf":[{"required":["type"]},{"required":["definitions"]}]});
    assert_eq!(subset::of(&stated), None);
}

/// Each of `n` definitions refers to the one before twice.
#[test]
fn references_that_double_do_not_grow_for_ever() {
    let mut definitions = Map::new();
    definitions.insert("d0".into(), json!({"type":"string","description":"x".repeat(100)}));
    for n in 1..60 {
        let before = json!({"$ref": format!("#/$defs/d{}", n - 1)});
        definitions.insert(format!("d{n}"), json!({"type":"object","properties":{"a":before,"b":before}}));
    }
    let stated = json!({"type":"object","properties":{"p":{"$ref":"#/$defs/d59"}},"$defs":definitions});
    let written = subset::of(&stated).unwrap();
    assert!(written.to_string().len() <= 1 << 20);
    assert_eq!(forbidden(&written), None);
}

#[test]
fn only_the_schemas_of_the_answer_change() {
    let answer = |schema: &str| {
        format!(
            r#"{{"jsonrpc":"2.0", "id":1.0,"result":{{"tools":[ {{"name":"a","inputSchema":{schema},"x":1.0}}, {{"name":"b","inputSchema":{{ }}}}],"nextCursor":"c"}}}}"#
        )
    };
    let (stated, changed) = (
        answer(r#"{"type":"object","properties":{"a":{"type":["string","null"]}}}"#),
        answer(r#"{"type":"object","properties":{"a":{"type":"string"}}}"#),
    );
    let asked = [IdKey::read("1").unwrap()];
    assert_eq!(readable(&stated, &asked), Some(changed.clone()));
    assert_eq!(readable(&format!("[{stated} ]"), &asked), Some(format!("[{changed} ]")));
    assert_eq!(readable(&stated, &[IdKey::read("2").unwrap()]), None);
    for other in [r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#, "", "[]", "7", "{"] {
        assert_eq!(readable(other, &asked), None, "{other}");
    }
}

/// Where a schema has something in it that is not read; looked at by itself, not as it is written.
fn forbidden(schema: &Value) -> Option<String> {
    let Value::Object(map) = schema else {
        return None;
    };
    let found = map.iter().find(|(keyword, value)| match keyword.as_str() {
        "$ref" | "$defs" | "definitions" | "$dynamicRef" => true,
        "type" => value.is_array(),
        "exclusiveMinimum" | "exclusiveMaximum" => value.is_number(),
        _ => false,
    });
    if let Some((keyword, _)) = found {
        return Some(keyword.clone());
    }
    map.iter().find_map(|(keyword, value)| match (keyword.as_str(), value) {
        ("properties" | "patternProperties", Value::Object(named)) => named.values().find_map(forbidden),
        ("const" | "enum" | "default" | "examples", _) => None,
        (_, Value::Array(list)) => list.iter().find_map(forbidden),
        (_, value) => forbidden(value),
    })
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options().offline().build(schema).unwrap()
}

/// Schemas of the kind that generators write, over three definitions that may refer to each other.
fn schemas() -> impl Strategy<Value = Value> {
    let kind =
        prop::sample::select(vec!["string", "integer", "number", "boolean", "null", "object", "array"]);
    let kinds = prop::collection::hash_set(kind.clone(), 1..3).prop_map(|kinds| json!(Vec::from_iter(kinds)));
    let bound = prop_oneof![
        (-3_i64..3).prop_map(|n| json!(n)),
        (-30_i32..30).prop_map(|n| json!(f64::from(n) / 8.0))
    ];
    let leaf = prop_oneof![
        3 => kind.prop_map(|kind| json!({"type": kind})),
        3 => kinds.clone().prop_map(|kinds| json!({"type": kinds})),
        2 => (kinds, bound.clone()).prop_map(|(kinds, n)| json!({"type": kinds, "exclusiveMinimum": n})),
        2 => (bound.clone(), bound.clone()).prop_map(|(n, m)| json!({"type": "integer", "exclusiveMinimum": n, "minimum": m})),
        2 => (bound.clone(), bound).prop_map(|(n, m)| json!({"type": "number", "exclusiveMaximum": n, "maximum": m})),
        1 => Just(json!({"type": ["string", "null"], "enum": ["a", null, "b"]})),
        1 => Just(json!(true)),
        4 => prop::sample::select(vec!["#/$defs/a", "#/$defs/b", "#/$defs/c", "#"]).prop_map(|to| json!({"$ref": to})),
        1 => Just(json!({"$ref": "#/$defs/a", "type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": false})),
        1 => Just(json!({"$ref": "#/$defs/c", "properties": {"x": true}, "required": ["x"]})),
        1 => Just(json!({"$ref": "#/$defs/b", "maximum": 2, "unevaluatedProperties": false})),
    ];
    let schema = leaf.prop_recursive(3, 16, 3, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            3 => (inner.clone(), inner.clone(), any::<bool>()).prop_map(|(x, y, strict)| json!({
                "type": "object", "properties": {"x": x, "y": y}, "required": ["x"], "additionalProperties": !strict})),
            2 => inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            2 => inner.clone().prop_map(|one| json!({"anyOf": [one, {"type": "null"}], "default": null})),
            1 => (inner.clone(), inner.clone()).prop_map(|(one, more)| json!({"oneOf": [one, {"type": "null"}], "properties": {"x": more}})),
            1 => list.clone().prop_map(|list| json!({"oneOf": list})),
            1 => list.clone().prop_map(|list| json!({"allOf": list})),
            1 => list.prop_map(|list| json!({"prefixItems": list})),
            1 => inner.clone().prop_map(|not| json!({"not": not})),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(one, two, three)| json!({"if": one, "then": two, "else": three})),
        ]
    });
    (schema.clone(), schema.clone(), schema.clone(), schema).prop_map(
        |(x, a, b, c)| json!({"type": "object", "properties": {"x": x}, "$defs": {"a": a, "b": b, "c": c}}),
    )
}

/// Without `null`: of that a client is not told.
fn instances() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (-4_i64..5).prop_map(|n| json!(n)),
        (-32_i32..32).prop_map(|n| json!(f64::from(n) / 8.0)),
        prop::sample::select(vec!["", "a", "b"]).prop_map(|text| json!(text)),
        any::<bool>().prop_map(|it| json!(it)),
        Just(json!({})),
        Just(json!([])),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|x| json!({"x": x})),
            (inner.clone(), inner.clone()).prop_map(|(x, y)| json!({"x": x, "y": y})),
            prop::collection::vec(inner, 0..3).prop_map(|list| json!(list)),
        ]
    })
}

/// Whether a reference leads back to itself with nothing in between: such a schema says nothing, and validators refuse it.
fn is_circular(schema: &Value) -> bool {
    let definition = |name: &str| schema.pointer(name.trim_start_matches('#'));
    ["#/$defs/a", "#/$defs/b", "#/$defs/c"].iter().any(|start| {
        let reaches = |value: &Value| value.to_string().contains("\"$ref\"");
        definition(start).is_some_and(|value| {
            reaches(value) && !value.is_null() && leads_back(schema, start, &mut Vec::new())
        })
    })
}

/// Follows what is looked at together with a schema: not into properties or items.
fn leads_back(root: &Value, at: &str, seen: &mut Vec<String>) -> bool {
    if seen.iter().any(|one| one == at) {
        return true;
    }
    seen.push(at.to_owned());
    let found = root.pointer(at.trim_start_matches('#')).is_some_and(|schema| beside(root, schema, seen));
    seen.pop();
    found
}

fn beside(root: &Value, schema: &Value, seen: &mut Vec<String>) -> bool {
    let Value::Object(map) = schema else {
        return false;
    };
    map.iter().any(|(keyword, value)| match (keyword.as_str(), value) {
        ("$ref", Value::String(to)) => leads_back(root, to, seen),
        ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => list.iter().any(|one| beside(root, one, seen)),
        ("not" | "if" | "then" | "else", one) => beside(root, one, seen),
        _ => false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_call_stays_valid(schema in schemas(), values in prop::collection::vec(instances(), 8)) {
        prop_assume!(!is_circular(&schema));
        let written = subset::of(&schema).unwrap_or_else(|| schema.clone());
        prop_assert_eq!(forbidden(&written), None);
        let (before, after) = (validator(&schema), validator(&written));
        for value in values {
            let arguments = json!({"x": value});
            prop_assert!(!before.is_valid(&arguments) || after.is_valid(&arguments), "{arguments}: {schema} became {written}");
        }
    }
}
