use super::Splice;

const TEXT: &str = r#" { "n" : 1.10 , "big":123456789012345678901234567890, "\u0061\"b" : {"x" : [1e400 ,  -0.0]},
 "s":"ä\u00e4\" , \"", "last":null } "#;

#[test]
fn what_is_not_changed_keeps_its_bytes_and_its_order() {
    let splice = Splice::read(TEXT).unwrap();
    assert_eq!(
        splice.to_string(),
        r#"{"n":1.10,"big":123456789012345678901234567890,"\u0061\"b":{"x" : [1e400 ,  -0.0]},"s":"ä\u00e4\" , \"","last":null}"#
    );
}

#[test]
fn a_member_is_replaced_in_its_place_and_added_at_the_end() {
    let mut splice = Splice::read(TEXT).unwrap();
    splice.set("big", "7");
    splice.set("a\"b", "true");
    splice.set("new \" key", "[]");
    assert_eq!(splice.get("a\"b"), Some("true"));
    assert_eq!(
        splice.to_string(),
        r#"{"n":1.10,"big":7,"\u0061\"b":true,"s":"ä\u00e4\" , \"","last":null,"new \" key":[]}"#
    );
}

#[test]
fn members_are_taken_out_wherever_they_stand() {
    let mut splice = Splice::read(TEXT).unwrap();
    splice.remove(&["n", "last", "not there", "a\"b"]);
    assert_eq!(splice.to_string(), r#"{"big":123456789012345678901234567890,"s":"ä\u00e4\" , \""}"#);
    splice.remove(&["big", "s"]);
    assert!(splice.is_empty());
    assert_eq!(splice.to_string(), "{}");
    splice.set("a", "1");
    assert_eq!(splice.to_string(), r#"{"a":1}"#);
}

#[test]
fn every_change_is_still_json_of_the_same_values() {
    let mut splice = Splice::read_leniently("{\n\t\"a\"\r\n:\r\n1\t,\n\"b\":{}}").unwrap();
    splice.set("c", "2");
    let value: serde_json::Value = serde_json::from_str(&splice.to_string()).unwrap();
    assert_eq!(value, serde_json::json!({ "a": 1, "b": {}, "c": 2 }));
}

#[test]
fn what_has_two_readings_is_not_taken_apart() {
    assert!(Splice::read(r#"{"a":1,"a":2}"#).is_err());
    assert!(Splice::read(r#"{"a":1,"A":2}"#).is_err());
    assert!(Splice::read("[]").is_err());
    assert!(Splice::read("{").is_err());
    assert!(Splice::read_leniently(r#"{"a":1,"a":2}"#).is_ok());
}
