use std::cmp::Ordering;

use holdpoint_api::declare::{Action, GateDeclaration};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decimal::Decimal;
use super::{Because, Finding, Judgement, RuleBook};

fn book(text: &str) -> RuleBook {
    let declaration: GateDeclaration = serde_json::from_str(text).unwrap();
    RuleBook::compile(&declaration).unwrap()
}

fn tool(default_action: &str, rules: &str) -> RuleBook {
    book(&format!(r#"{{"tools":[{{"name":"t","default_action":"{default_action}","rules":[{rules}]}}]}}"#))
}

fn judge(book: &RuleBook, payload: &str) -> Judgement {
    book.judge("t", payload).unwrap()
}

#[test]
fn the_most_severe_match_wins_and_order_only_names() {
    let rules = [
        r#"{"type":"upper_limit","parameter":"amount","value":10,"action":"allow"}"#,
        r#"{"type":"upper_limit","parameter":"amount","value":20,"action":"escalate"}"#,
        r#"{"type":"upper_limit","parameter":"amount","value":30,"action":"review"}"#,
        r#"{"type":"upper_limit","parameter":"amount","value":40,"action":"escalate"}"#,
    ];
    let forward = tool("reject", &rules.join(","));
    assert_eq!(judge(&forward, r#"{"amount":5}"#).action, Action::Reject);
    assert_eq!(judge(&forward, r#"{"amount":5}"#).because, Because::Default);
    assert_eq!(judge(&forward, r#"{"amount":15}"#).action, Action::Allow);
    let all = judge(&forward, r#"{"amount":50}"#);
    assert_eq!((all.action, all.because), (Action::Escalate, Because::Rule(1)));
    let backward: Vec<&str> = rules.iter().rev().copied().collect();
    let all = judge(&tool("reject", &backward.join(",")), r#"{"amount":50}"#);
    assert_eq!((all.action, all.because), (Action::Escalate, Because::Rule(0)));
}

#[test]
fn bounds_are_strict_where_the_contract_says_so() {
    let above = tool("allow", r#"{"type":"upper_limit","parameter":"n","value":250,"action":"review"}"#);
    let below = tool("allow", r#"{"type":"lower_limit","parameter":"n","value":0.8,"action":"review"}"#);
    let between =
        tool("allow", r#"{"type":"between","parameter":"n","min":250,"max":1000,"action":"review"}"#);
    for (book, number, matches) in [
        (&above, "250", false),
        (&above, "250.0", false),
        (&above, "2.5e2", false),
        (&above, "250.00000000000000000001", true),
        (&above, "251", true),
        (&above, "-251", false),
        (&above, "1e400", true),
        (&above, "-1e400", false),
        (&above, "1e99999999999999999999999999999999999999999999", true),
        (&above, "1e-99999999999999999999999999999999999999999999", false),
        (&above, "0e99999999999999999999999999999999999999999999", false),
        (&below, "0.8", false),
        (&below, "0.80", false),
        (&below, "8e-1", false),
        (&below, "0.7999999999999999999999999999", true),
        (&below, "-0", true),
        (&between, "249.99", false),
        (&between, "250", true),
        (&between, "1000", true),
        (&between, "1e3", true),
        (&between, "1000.0000000000000000001", false),
    ] {
        let found = judge(book, &format!(r#"{{"n":{number}}}"#));
        let expected = if matches { Action::Review } else { Action::Allow };
        assert_eq!(found.action, expected, "{number}");
    }
}

#[test]
fn integers_beyond_doubles_are_not_misjudged() {
    let rules = tool(
        "allow",
        r#"{"type":"upper_limit","parameter":"id","value":9007199254740992,"action":"reject"}"#,
    );
    assert_eq!(judge(&rules, r#"{"id":9007199254740992}"#).action, Action::Allow);
    assert_eq!(judge(&rules, r#"{"id":9007199254740993}"#).action, Action::Reject);
    let huge = "1".repeat(5000);
    assert_eq!(judge(&rules, &format!(r#"{{"id":{huge}}}"#)).action, Action::Reject);
    assert_eq!(judge(&rules, &format!(r#"{{"id":-{huge}}}"#)).action, Action::Allow);
    assert_eq!(judge(&rules, &format!(r#"{{"id":{huge}e-5000}}"#)).action, Action::Allow);
}

#[test]
fn texts_are_found_in_whatever_case() {
    let contains = tool("allow", r#"{"type":"contains","parameter":"r","value":"Straße","action":"reject"}"#);
    for text in ["STRASSE 1", "die straße", "STRAẞE"] {
        assert_eq!(judge(&contains, &json!({ "r": text }).to_string()).action, Action::Reject, "{text}");
    }
    let sigma = tool("allow", r#"{"type":"contains","parameter":"r","value":"ΌΔΟΣ","action":"reject"}"#);
    assert_eq!(judge(&sigma, r#"{"r":"μια όδος"}"#).action, Action::Reject);
    let kelvin = tool("allow", r#"{"type":"contains","parameter":"r","value":"OK","action":"reject"}"#);
    assert_eq!(judge(&kelvin, "{\"r\":\"o\u{212a}\"}").action, Action::Reject);

    let regex = tool(
        "allow",
        r#"{"type":"regex","parameter":"email","pattern":".*@competitor\\.com$","action":"review"}"#,
    );
    assert_eq!(judge(&regex, r#"{"email":"a@competitor.com"}"#).action, Action::Review);
    assert_eq!(judge(&regex, r#"{"email":"a@competitor.com.org"}"#).action, Action::Allow);
    let unanchored = tool("allow", r#"{"type":"regex","parameter":"p","pattern":"/etc","action":"reject"}"#);
    assert_eq!(judge(&unanchored, r#"{"p":"cat /etc/passwd"}"#).action, Action::Reject);
}

#[test]
fn what_cannot_be_compared_is_said_and_may_go_to_a_person() {
    let rule = |mismatch: &str| {
        format!(r#"{{"type":"upper_limit","parameter":"amount","value":250,"action":"reject"{mismatch}}}"#)
    };
    let silent = tool("allow", &rule(""));
    let strict = tool("allow", &rule(r#","on_mismatch":"review""#));
    for (payload, finding) in [
        ("{}", "not in the payload"),
        ("null", "not in the payload"),
        ("[500]", "not in the payload"),
        (r#"{"Amount":500}"#, "not in the payload"),
        (r#"{"amount":"500"}"#, "cannot compare a text"),
        (r#"{"amount":null}"#, "cannot compare null"),
        (r#"{"amount":[500]}"#, "cannot compare a list"),
        (r#"{"amount":{"value":500}}"#, "cannot compare an object"),
        (r#"{"amount":true}"#, "cannot compare true or false"),
    ] {
        let found = judge(&silent, payload);
        assert_eq!((found.action, found.because), (Action::Allow, Because::Default), "{payload}");
        assert_eq!(silent.trace("t", &found).rules[0].finding, finding, "{payload}");
        let found = judge(&strict, payload);
        assert_eq!((found.action, found.because), (Action::Review, Because::Mismatch(0)), "{payload}");
    }
    let text = tool("allow", r#"{"type":"contains","parameter":"r","value":"5","action":"reject"}"#);
    assert_eq!(judge(&text, r#"{"r":5}"#).findings, [Finding::WrongType(super::JsonType::Number)]);
}

#[test]
fn pointers_reach_into_the_payload() {
    let rules = tool(
        "allow",
        r#"{"type":"upper_limit","parameter":"/order/items/1/price~1net","value":1,"action":"reject"}"#,
    );
    assert_eq!(judge(&rules, r#"{"order":{"items":[{},{"price/net":2}]}}"#).action, Action::Reject);
    assert_eq!(judge(&rules, r#"{"order":{"items":[{"price/net":2}]}}"#).findings, [Finding::Missing]);
    let top = tool("allow", r#"{"type":"contains","parameter":"a/b","value":"x","action":"reject"}"#);
    assert_eq!(judge(&top, r#"{"a/b":"X"}"#).action, Action::Reject);
}

#[test]
fn a_tool_nobody_declared_is_never_allowed() {
    let review = book(r#"{"tools":[{"name":"known","default_action":"allow"}]}"#);
    assert_eq!(judge(&review, "{}").action, Action::Review);
    let reject = book(r#"{"unregistered":"reject","tools":[{"name":"known","default_action":"allow"}]}"#);
    assert_eq!(
        (judge(&reject, "{}").action, judge(&reject, "{}").because),
        (Action::Reject, Because::Unregistered)
    );
    assert_eq!(review.judge("known", "{}").unwrap().action, Action::Allow);
    assert_eq!(review.judge("KNOWN", "{}").unwrap().action, Action::Review);
}

#[test]
fn bad_patterns_and_bounds_are_refused_with_their_place() {
    for (rule, field) in [
        (r#"{"type":"regex","parameter":"a","pattern":"(","action":"review"}"#, "pattern"),
        (r#"{"type":"regex","parameter":"a","pattern":"(?=x)","action":"review"}"#, "pattern"),
        (
            r#"{"type":"regex","parameter":"a","pattern":"((a{1000}){1000}){1000}","action":"review"}"#,
            "pattern",
        ),
        (r#"{"type":"between","parameter":"a","min":0,"max":1e2000000,"action":"review"}"#, "max"),
    ] {
        let declaration: GateDeclaration =
            serde_json::from_str(&format!(r#"{{"tools":[{{"name":"x"}},{{"name":"t","rules":[{rule}]}}]}}"#))
                .unwrap();
        let mistakes = RuleBook::compile(&declaration).unwrap_err();
        assert_eq!(mistakes[0].at, format!("/tools/1/rules/0/{field}"));
    }
}

#[test]
fn a_pattern_that_blows_up_elsewhere_takes_linear_time() {
    let rules = tool("allow", r#"{"type":"regex","parameter":"a","pattern":"^(a+)+$","action":"reject"}"#);
    let text = format!(r#"{{"a":"{}!"}}"#, "a".repeat(1_000_000));
    assert_eq!(judge(&rules, &text).action, Action::Allow);
}

// A second evaluator, written from the contract's words and sharing no code with the first.

fn naive(rules: &Value, default: Action, payload: &Value) -> Action {
    let mut actions: Vec<Action> = Vec::new();
    for rule in rules.as_array().unwrap() {
        let action: Action = serde_json::from_value(rule["action"].clone()).unwrap();
        match naive_match(rule, payload.get(rule["parameter"].as_str().unwrap())) {
            Some(true) => actions.push(action),
            None if rule["on_mismatch"] == "review" => actions.push(Action::Review),
            Some(false) | None => {}
        }
    }
    actions.into_iter().max().unwrap_or(default)
}

fn naive_match(rule: &Value, value: Option<&Value>) -> Option<bool> {
    let number = |value: &Value| value.is_number().then(|| hundredths(&value.to_string()));
    let value = value?;
    match rule["type"].as_str().unwrap() {
        "upper_limit" => Some(number(value)? > number(&rule["value"])?),
        "lower_limit" => Some(number(value)? < number(&rule["value"])?),
        "between" => {
            let value = number(value)?;
            Some(value >= number(&rule["min"])? && value <= number(&rule["max"])?)
        }
        "contains" => Some(value.as_str()?.to_lowercase().contains(&rule["value"].as_str()?.to_lowercase())),
        "regex" => Some(value.as_str()?.contains(rule["pattern"].as_str()?)),
        other => panic!("{other}"),
    }
}

/// Numbers of the generators have two decimals at most.
fn hundredths(text: &str) -> i64 {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let size = whole.parse::<i64>().unwrap() * 100 + format!("{part:0<2}").parse::<i64>().unwrap();
    if negative { -size } else { size }
}

fn number_text() -> impl Strategy<Value = String> {
    (-30_i64..30, prop::option::of(0_u8..100)).prop_map(|(whole, part)| match part {
        Some(part) => format!("{whole}.{part:02}"),
        None => whole.to_string(),
    })
}

fn value_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => number_text(), 4 => "\"[abAB]{0,4}\"", 1 => Just("null".to_owned()), 1 => Just("[]".to_owned())]
}

fn rule_text() -> impl Strategy<Value = String> {
    let test = prop_oneof![
        number_text().prop_map(|value| format!(r#""type":"upper_limit","value":{value}"#)),
        number_text().prop_map(|value| format!(r#""type":"lower_limit","value":{value}"#)),
        (number_text(), number_text())
            .prop_map(|(min, max)| format!(r#""type":"between","min":{min},"max":{max}"#)),
        "[abAB]{1,2}".prop_map(|value| format!(r#""type":"contains","value":"{value}""#)),
        "[ab]{1,2}".prop_map(|value| format!(r#""type":"regex","pattern":"{value}""#)),
    ];
    let action = prop::sample::select(vec!["allow", "review", "escalate", "reject"]);
    let mismatch = prop::sample::select(vec!["no_match", "review"]);
    (test, "[xy]", action, mismatch).prop_map(|(test, parameter, action, mismatch)| {
        format!(r#"{{{test},"parameter":"{parameter}","action":"{action}","on_mismatch":"{mismatch}"}}"#)
    })
}

proptest! {
    #[test]
    fn both_evaluators_agree(
        rules in prop::collection::vec(rule_text(), 0..6),
        default in prop::sample::select(vec!["allow", "review", "escalate", "reject"]),
        x in prop::option::of(value_text()), y in prop::option::of(value_text()),
    ) {
        let fields: Vec<String> = [("x", x), ("y", y)]
            .into_iter()
            .filter_map(|(key, value)| Some(format!(r#""{key}":{}"#, value?)))
            .collect();
        let payload = format!("{{{}}}", fields.join(","));
        let rules = rules.join(",");
        let ours = judge(&tool(default, &rules), &payload);
        let theirs = naive(
            &serde_json::from_str(&format!("[{rules}]")).unwrap(),
            serde_json::from_value(json!(default)).unwrap(),
            &serde_json::from_str(&payload).unwrap(),
        );
        prop_assert_eq!(ours.action, theirs, "{} on {}", rules, payload);
    }

    /// Numbers made from integers with a known order, written in many ways, compare as the integers do.
    #[test]
    fn decimals_compare_as_integers_do(
        left in any::<i64>(), right in any::<i64>(), left_shift in 0_i64..400, right_shift in 0_i64..400,
    ) {
        let write = |number: i64, shift: i64| format!("{number}{}e-{shift}", "0".repeat(usize::try_from(shift).unwrap()));
        let (a, b) = (write(left, left_shift), write(right, right_shift));
        let (a, b) = (Decimal::parse(&a).unwrap(), Decimal::parse(&b).unwrap());
        prop_assert_eq!(a.compare(&b), left.cmp(&right));
        prop_assert_eq!(b.compare(&a), right.cmp(&left));
        prop_assert_eq!(a.compare(&a), Ordering::Equal);
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,20}") {
        let _ = Decimal::parse(&text);
    }
}
