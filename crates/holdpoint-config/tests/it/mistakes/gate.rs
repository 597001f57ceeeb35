//! `gate.yaml`.

use crate::folder::Folder;
use insta::assert_snapshot;

fn gate_file(text: &str) -> String {
    Folder::new(&[("holdpoint.yaml", "unmatched: gate\n"), ("gate.yaml", text)]).told()
}

#[test]
fn a_rule_without_a_value() {
    assert_snapshot!(gate_file("tools:\n  - name: pay\n    rules:\n      - { type: upper_limit, parameter: amount, action: review }\n"), @r#"
    error: `value` is missing here
     --> gate.yaml:4:9
      |
    4 |       - { type: upper_limit, parameter: amount, action: review }
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: add `value: …`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_rule_with_a_field_of_another() {
    assert_snapshot!(gate_file("tools:\n  - name: pay\n    rules:\n      - { type: regex, parameter: note, pattern: x, min: 1, action: reject }\n"), @r#"
    error: a rule of type `regex` has no `min`
     --> gate.yaml:4:58
      |
    4 |       - { type: regex, parameter: note, pattern: x, min: 1, action: reject }
      |                                                          ^
      = hint: remove it, or change the type

    1 mistake in the configuration
    "#);
}

#[test]
fn a_rule_with_a_number_in_quotes() {
    assert_snapshot!(gate_file("tools:\n  - name: pay\n    rules:\n      - { type: upper_limit, parameter: amount, value: '250', action: review }\n"), @r#"
    error: `value` has to be a number here, without quotes
     --> gate.yaml:4:56
      |
    4 |       - { type: upper_limit, parameter: amount, value: '250', action: review }
      |                                                        ^^^^^
      = hint: the file's JSON Schema says what may stand here

    1 mistake in the configuration
    "#);
}

#[test]
fn a_rule_whose_pattern_is_broken() {
    assert_snapshot!(gate_file("tools:\n  - name: pay\n    rules:\n      - { type: regex, parameter: note, pattern: '(?=x)', action: reject }\n"), @r#"
    error: this pattern cannot be used: look-around, including look-ahead and look-behind, is not supported
     --> gate.yaml:4:50
      |
    4 |       - { type: regex, parameter: note, pattern: '(?=x)', action: reject }
      |                                                  ^^^^^^^
      = hint: look-around and back-references are not supported

    1 mistake in the configuration
    "#);
}

#[test]
fn a_rule_that_never_matches() {
    assert_snapshot!(gate_file("tools:\n  - name: pay\n    rules:\n      - { type: between, parameter: amount, min: 10, max: 2, action: reject }\n"), @r#"
    error: `min` 10 is above `max` 2, so this never matches
     --> gate.yaml:4:50
      |
    4 |       - { type: between, parameter: amount, min: 10, max: 2, action: reject }
      |                                                  ^^
      = hint: change the rule so that it can match

    1 mistake in the configuration
    "#);
}

#[test]
fn a_misspelt_rule_type() {
    assert_snapshot!(gate_file("tools:\n  - name: pay\n    rules:\n      - { type: uper_limit, parameter: amount, value: 2, action: reject }\n"), @r#"
    error: `uper_limit` means nothing here
     --> gate.yaml:4:17
      |
    4 |       - { type: uper_limit, parameter: amount, value: 2, action: reject }
      |                 ^^^^^^^^^^
      = hint: did you mean `upper_limit`?

    1 mistake in the configuration
    "#);
}

#[test]
fn a_misspelt_rule_field() {
    assert_snapshot!(gate_file("tools:\n  - name: pay\n    rules:\n      - { type: upper_limit, param: amount, value: 2, action: reject }\n"), @r#"
    error: unknown key `param`
     --> gate.yaml:4:30
      |
    4 |       - { type: upper_limit, param: amount, value: 2, action: reject }
      |                              ^^^^^
      = hint: did you mean `parameter`?

    1 mistake in the configuration
    "#);
}

#[test]
fn a_tool_declared_twice() {
    assert_snapshot!(gate_file("tools:\n  - { name: pay }\n  - { name: pay }\n"), @r#"
    error: `pay` is declared twice
     --> gate.yaml:3:13
      |
    3 |   - { name: pay }
      |             ^^^
      = hint: keep one of them

    1 mistake in the configuration
    "#);
}
