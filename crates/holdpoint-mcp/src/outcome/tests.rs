use super::{EXCERPT_CHARS_MAX, excerpt_of, first_text_of, fragment_of, ran_of};
use crate::message::Object;
use holdpoint_core::Ran;
use serde_json::value::RawValue;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

#[test]
fn only_a_finished_answer_without_a_complaint_is_a_success() {
    for result in ["{}", r#"{"isError":false}"#, r#"{"isError":null}"#, r#"{"resultType":"complete"}"#] {
        assert_eq!(ran_of(&raw(result)), Ran::Succeeded, "{result}");
    }
    for result in [
        r#"{"isError":true}"#,
        r#"{"isError":"true"}"#,
        r#"{"isError":1}"#,
        r#"{"resultType":"input_required"}"#,
        r#"{"task":{"taskId":"1","status":"working"}}"#,
        "null",
        "[]",
        r#""done""#,
    ] {
        assert_eq!(ran_of(&raw(result)), Ran::Failed, "{result}");
    }
}

#[test]
fn what_is_kept_is_the_member_that_says_something() {
    for (message, kept) in [
        (r#"{"result":{},"error":null}"#, r#""result":{}"#),
        (r#"{"error":{"code":1},"result":null}"#, r#""error":{"code":1}"#),
        (r#"{"result":null}"#, r#""result":null"#),
    ] {
        let fragment = fragment_of(&Object::read_leniently(message).unwrap()).unwrap();
        assert_eq!(String::from_utf8(fragment).unwrap(), kept);
    }
    assert!(fragment_of(&Object::read_leniently("{}").unwrap()).is_none());
}

#[test]
fn the_first_text_is_the_excerpt() {
    let result = raw(
        r#"{"content":[{"type":"image","data":"x"},{"type":"text","text":"a\nb"},{"type":"text","text":"c"}]}"#,
    );
    assert_eq!(first_text_of(&result).unwrap(), "a\nb");
    assert_eq!(first_text_of(&raw(r#"{"content":[{"type":"image","text":"x"}]}"#)), None);
}

#[test]
fn an_excerpt_is_one_short_line_that_hides_nothing() {
    assert_eq!(
        excerpt_of("a\n\u{202e}b\u{200b}\u{1b}[2J", EXCERPT_CHARS_MAX),
        r"a\u{a}\u{202e}b\u{200b}\u{1b}[2J"
    );
    let exact = "x".repeat(EXCERPT_CHARS_MAX);
    assert_eq!(excerpt_of(&exact, EXCERPT_CHARS_MAX), exact);
    for long in ["x".repeat(201), "\u{202e}".repeat(100), "ä".repeat(5_000), "x".repeat(195) + "\u{202e}ab"]
    {
        let shown = excerpt_of(&long, EXCERPT_CHARS_MAX);
        assert!(shown.chars().count() <= EXCERPT_CHARS_MAX && shown.ends_with('…'), "{shown}");
        assert!(!shown.contains('\u{202e}'));
    }
}
