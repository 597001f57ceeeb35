use super::*;

fn refused(text: &str) -> AmbiguousJson {
    check_unambiguous(text).expect_err(text)
}

#[test]
fn plain_json_keeps_its_number_text() {
    let value = check_unambiguous(
        r#" {"n": 123456789012345678901234567890, "m":[1.10, -0.0, 1e2, null, true, "x"]} "#,
    )
    .unwrap();
    assert_eq!(value["n"].to_string(), "123456789012345678901234567890");
    assert_eq!(value["m"][0].to_string(), "1.10");
}

#[test]
fn a_key_twice_is_refused_however_it_is_spelt() {
    for text in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"a":1,"b":2,"a":3}}]"#] {
        assert!(matches!(refused(text), AmbiguousJson::DuplicateKey { .. }), "{text}");
    }
}

#[test]
fn keys_that_differ_only_in_case_are_refused() {
    for text in
        [r#"{"amount":1,"Amount":2}"#, "{\"params\":1,\"param\u{17f}\":2}", "{\"k\":1,\"\u{212a}\":2}"]
    {
        assert!(matches!(refused(text), AmbiguousJson::CaseVariant { .. }), "{text}");
    }
    check_unambiguous(r#"{"a":{"x":1},"b":{"X":1}}"#).expect("different objects may use different cases");
}

#[test]
fn a_byte_order_mark_and_reserved_keys_are_refused() {
    assert_eq!(refused("\u{feff}{}"), AmbiguousJson::ByteOrderMark);
    let spoof = r#"{"a":{"$serde_json::private::Number":"1"}}"#;
    assert!(matches!(refused(spoof), AmbiguousJson::ReservedKey { .. }));
    let escaped = r#"{"a":{"\u0024serde_json::private::RawValue":"1"}}"#;
    assert!(matches!(refused(escaped), AmbiguousJson::ReservedKey { .. }));
}

#[test]
fn depth_is_bounded() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    check_unambiguous(&deep(DEPTH_MAX)).unwrap();
    assert_eq!(refused(&deep(DEPTH_MAX + 1)), AmbiguousJson::TooDeep);
    let objects = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    check_unambiguous(&objects(DEPTH_MAX)).unwrap();
    assert_eq!(refused(&objects(DEPTH_MAX + 1)), AmbiguousJson::TooDeep);
    assert_eq!(refused(&"[".repeat(5_000_000)), AmbiguousJson::TooDeep);
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        "{",
        "{\"a\"",
        "{\"a\":}",
        "[1,]",
        "{\"a\":1,}",
        "\"\\",
        "nul",
        "1 2",
        "{\"a\":01}",
        "{a:1}",
        "[1 2]",
    ] {
        assert!(matches!(refused(text), AmbiguousJson::Syntax(_)), "{text}");
    }
}

#[test]
fn many_keys_take_linear_time() {
    let keys: Vec<String> = (0..200_000).map(|n| format!("\"k{n}\":1")).collect();
    check_unambiguous(&format!("{{{}}}", keys.join(","))).unwrap();
}

proptest::proptest! {
    /// Whatever serde_json reads without loss is read the same here; nothing else is let through.
    #[test]
    fn agrees_with_serde_json(text in r#"[\[\]{}:,"a-c0-2\\ ]{0,24}"#) {
        let ours = check_unambiguous(&text);
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => proptest::prop_assert_eq!(ours, theirs),
            (Ok(_), Err(error)) => proptest::prop_assert!(false, "accepted what is not JSON: {}", error),
            (Err(AmbiguousJson::Syntax(message)), Ok(_)) => proptest::prop_assert!(false, "refused good JSON: {}", message),
            (Err(_), _) => {}
        }
    }
}

#[test]
fn keys_are_the_same_for_a_reader_that_ignores_case() {
    for (one, other) in [("a", "a"), ("a", "A"), ("param\u{17f}", "params"), ("\u{212a}", "k"), ("É", "é")]
    {
        assert!(same_key(one, other) && same_key(other, one), "{one} {other}");
    }
    for (one, other) in [("a", "b"), ("a", "aa"), ("A", "B"), ("é", "e"), ("é", "è"), ("", "a")] {
        assert!(!same_key(one, other) && !same_key(other, one), "{one} {other}");
    }
}
