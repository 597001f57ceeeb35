//! What templates say of calls.

use crate::folder::{Folder, call, gated};
use holdpoint_core::{Plan, Policy as _};
use proptest::prelude::*;

/// The preview, or why the call is refused.
fn preview(template: &str, arguments: &str) -> Result<String, String> {
    let template = serde_json::Value::from(template);
    let policy = Folder::tools(&gated(&format!("preview: {template}"))).policy();
    match policy.plan(&call("issue_refund", arguments)) {
        Ok(Plan::Gate(ask)) => Ok(ask.preview.unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.problem),
    }
}

#[test]
fn values_are_shown_as_they_were_sent() {
    let arguments = r#"{"n":1.10,"big":9007199254740993,"huge":1e400,"s":"<b>","t":true,"z":null,"l":[1.0,"x"],"o":{"k":2}}"#;
    for (template, shown) in [
        ("{{ args.n }}", "1.10"),
        ("{{ args.big }}", "9007199254740993"),
        ("{{ args.huge }}", "1e+400"),
        ("{{args.s}}!", "<b>!"),
        ("{{ args.t }} {{ args.z }}", "true null"),
        ("{{ args.l }} {{ args.o }}", r#"[1.0,"x"] {"k":2}"#),
        (
            "{{ args.o.k }} by {{ tool }} of {{ server }} in {{ task }}",
            "2 by issue_refund of payments in task-1",
        ),
        ("{{ args.n }} {{ args.s | upper }}", "1.10 <B>"),
        ("{{ args.big + 1 }}", "9007199254740994"),
        ("{% if args.big > 5 %}{{ args.big }} much{% endif %}", "9007199254740993 much"),
        ("{% for x in args.l %}[{{ x }}]{% endfor %}", "[1.0][x]"),
        ("{{ args.l | join(', ') }}", "1.0, x"),
        ("{{ args.none | default('nothing') }}", "nothing"),
        ("{{ '}}' }}{{ args.s }}", "}}<b>"),
        ("{{ args.s | clip(1) }}", "<… (2 more characters, see the payload)"),
        ("{{ 'a' ~ '{{ args.n }}' }}", "a{{ args.n }}"),
        ("{# not shown #}{{ args.s }}", "<b>"),
    ] {
        assert_eq!(preview(template, arguments).as_deref(), Ok(shown), "{template}");
    }
}

#[test]
fn what_is_in_a_value_is_never_a_template() {
    assert_eq!(
        preview("{{ args.s }} {{ args.s | trim }}", r#"{"s":"{{ args.x }}"}"#).unwrap(),
        "{{ args.x }} {{ args.x }}"
    );
}

#[test]
fn a_missing_argument_refuses_the_call_and_is_named() {
    for template in [
        "{{ args.to.city }}",
        "{{ args.to.city | upper }}",
        "{% if args.to.city %}x{% endif %}",
        "{{ args.to.city.street }}",
    ] {
        for arguments in [r#"{"to":{}}"#, "{}"] {
            let problem = preview(template, arguments).unwrap_err();
            assert!(problem.starts_with("`preview` needs the argument `to.city"), "{template}: {problem}");
        }
    }
}

#[test]
fn a_number_that_would_be_rounded_refuses_the_call() {
    let problem =
        preview("{% if args.n > 1 %}{{ args.n }}{% endif %}", r#"{"n":12345678901234567.89}"#).unwrap_err();
    assert!(problem.contains("more digits") && !problem.contains("1234"), "{problem}");
    assert_eq!(preview("{% if args.n > 1 %}{{ args.n }}{% endif %}", r#"{"n":1.25}"#).unwrap(), "1.25");
}

#[test]
fn a_template_cannot_work_for_ever() {
    let problem =
        preview("{% for x in range(100000) %}{% for y in range(100000) %}x{% endfor %}{% endfor %}", "{}")
            .unwrap_err();
    assert!(problem.contains("too much work") || problem.contains("cannot be rendered"), "{problem}");
    let long = format!(r#"{{"s":"{}"}}"#, "x".repeat(5000));
    assert_eq!(
        preview("{{ args.s }}", &long).unwrap_err(),
        "`preview` comes to more than 4096 bytes for this call"
    );
}

#[test]
fn text_that_could_deceive_is_shown_as_escapes() {
    assert_eq!(
        preview("{{ args.s }}", r#"{"s":"a\u202eb\u200b\u0007\nc"}"#).unwrap(),
        "a\\u{202e}b\\u{200b}\\u{7}\nc"
    );
    let policy = Folder::tools(&gated("subject: '{{ args.s }}'\nsummary: ['{{ args.s }}']")).policy();
    let Ok(Plan::Gate(ask)) = policy.plan(&call("issue_refund", r#"{"s":"a\n- approved\u2028"}"#)) else {
        panic!("not gated")
    };
    assert_eq!(ask.subject, "a\\n- approved\\u{2028}");
    assert_eq!(ask.summary, ["a\n- approved\\u{2028}"]);
}

#[test]
fn a_subject_that_comes_to_nothing_refuses_the_call() {
    let policy = Folder::tools(&gated("subject: '{{ args.s }}'")).policy();
    let error = policy.plan(&call("issue_refund", r#"{"s":" "}"#)).unwrap_err();
    assert_eq!(error.problem, "`subject` comes to nothing for this call");
}

#[test]
fn templates_load_nothing_and_show_no_more_than_their_scope() {
    for template in ["{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{{ debug() }}"] {
        let template = serde_json::Value::from(template);
        let told = crate::folder::field(&format!("preview: {template}"));
        assert!(told.contains("tools/payments.yaml:5:"), "{told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The short way for plain paths and the template engine say the same.
    #[test]
    fn both_ways_agree(text in "\\PC{0,20}", whole in any::<i64>(), yes in any::<bool>()) {
        let arguments = serde_json::json!({ "a": { "text": text, "whole": whole }, "yes": yes }).to_string();
        let template = "{{ args.a.text }}|{{ args.a.whole }}|{{ args.yes }}|{{ tool }}";
        let engine = format!("{{% if true %}}{template}{{% endif %}}");
        prop_assert_eq!(preview(template, &arguments), preview(&engine, &arguments));
    }
}
