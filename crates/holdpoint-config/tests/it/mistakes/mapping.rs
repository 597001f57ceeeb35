//! How a gated tool is put to Gate.

use crate::folder::field;
use insta::assert_snapshot;

#[test]
fn a_misspelt_field() {
    assert_snapshot!(field("subjet: Refund"), @r#"
    error: unknown key `subjet`
     --> tools/payments.yaml:5:5
      |
    5 |     subjet: Refund
      |     ^^^^^^
      = hint: did you mean `subject`?

    1 mistake in the configuration
    "#);
}

#[test]
fn a_number_where_text_goes() {
    assert_snapshot!(field("subject: 42"), @r#"
    error: expected text, found a number
     --> tools/payments.yaml:5:14
      |
    5 |     subject: 42
      |              ^^
      = hint: put it in quotes: `"42"`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_value_that_is_missing() {
    assert_snapshot!(field("subject: x\nsummary:\n  -\n"), @r#"
    error: expected text, found nothing
     --> tools/payments.yaml:7:8
      |
    7 |       -
      |        ^
      = hint: write a value here, or remove this

    1 mistake in the configuration
    "#);
}

#[test]
fn a_template_that_does_not_end() {
    assert_snapshot!(field("subject: 'Refund {{ args.amount'"), @r#"
    error: this template cannot be used: unexpected end of input, expected end of variable block
     --> tools/payments.yaml:5:30
      |
    5 |     subject: 'Refund {{ args.amount'
      |                              ^^^^^^
      = hint: write `{{ args.NAME }}` where an argument goes

    1 mistake in the configuration
    "#);
}

#[test]
fn a_template_with_a_syntax_mistake() {
    assert_snapshot!(field("subject: 'Refund {{ args.amount + }} now'"), @r#"
    error: this template cannot be used: unexpected end of variable block
     --> tools/payments.yaml:5:39
      |
    5 |     subject: 'Refund {{ args.amount + }} now'
      |                                       ^^
      = hint: write `{{ args.NAME }}` where an argument goes

    1 mistake in the configuration
    "#);
}

#[test]
fn an_unknown_variable() {
    assert_snapshot!(field("subject: 'Refund {{ arg.amount }}'"), @r#"
    error: templates know no `arg`
     --> tools/payments.yaml:5:25
      |
    5 |     subject: 'Refund {{ arg.amount }}'
      |                         ^^^
      = hint: did you mean `args`?

    1 mistake in the configuration
    "#);
}

#[test]
fn an_argument_without_args() {
    assert_snapshot!(field("summary:\n  - 'Order {{ order_id }}'\n"), @r#"
    error: templates know no `order_id`
     --> tools/payments.yaml:6:19
      |
    6 |       - 'Order {{ order_id }}'
      |                   ^^^^^^^^
      = hint: arguments are `args.order_id`; besides there are `tool`, `server`, `task`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_unknown_filter() {
    assert_snapshot!(field("preview: '{{ args.reason | uper }}'"), @r#"
    error: there is no filter `uper`
     --> tools/payments.yaml:5:32
      |
    5 |     preview: '{{ args.reason | uper }}'
      |                                ^^^^
      = hint: did you mean `upper`?

    1 mistake in the configuration
    "#);
}

#[test]
fn an_empty_text() {
    assert_snapshot!(field("subject: ''"), @r#"
    error: `subject` is empty
     --> tools/payments.yaml:5:14
      |
    5 |     subject: ''
      |              ^^
      = hint: write what the reviewer should see, or remove the key

    1 mistake in the configuration
    "#);
}

#[test]
fn a_bad_pointer() {
    assert_snapshot!(field("payload:\n  amount: { at: amount }\n  card: { at: $.card.number }\n"), @r#"
    error: a JSON Pointer starts with `/`
     --> tools/payments.yaml:6:21
      |
    6 |       amount: { at: amount }
      |                     ^^^^^^
      = hint: write `/amount`

    error: a JSON Pointer starts with `/`
     --> tools/payments.yaml:7:19
      |
    7 |       card: { at: $.card.number }
      |                   ^^^^^^^^^^^^^
      = hint: write `/card/number`

    2 mistakes in the configuration
    "#);
}

#[test]
fn a_pointer_with_a_bad_escape() {
    assert_snapshot!(field("payload:\n  a: { at: /a~2b }\n"), @r#"
    error: `~` stands for itself only as `~0` in a JSON Pointer
     --> tools/payments.yaml:6:16
      |
    6 |       a: { at: /a~2b }
      |                ^^^^^
      = hint: write `~0` for `~` and `~1` for `/`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_pointer_to_everything() {
    assert_snapshot!(field("payload:\n  all: { at: '' }\n"), @r#"
    error: this points to all arguments at once
     --> tools/payments.yaml:6:18
      |
    6 |       all: { at: '' }
      |                  ^^
      = hint: name one of them, such as `/amount`; without `payload`, all arguments are shown

    1 mistake in the configuration
    "#);
}

#[test]
fn at_and_value() {
    assert_snapshot!(field("payload:\n  amount: { at: /amount, value: 1 }\n"), @r#"
    error: a payload field has one of `at`, `value` and `template`, not several
     --> tools/payments.yaml:6:15
      |
    6 |       amount: { at: /amount, value: 1 }
      |               ^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: write `at: /NAME` for an argument, `value: …` for a constant, `template: …` for a text

    1 mistake in the configuration
    "#);
}

#[test]
fn neither_at_nor_value() {
    assert_snapshot!(field("payload:\n  amount: { optional: true }\n"), @r#"
    error: a payload field needs `at`, `value` or `template`
     --> tools/payments.yaml:6:15
      |
    6 |       amount: { optional: true }
      |               ^^^^^^^^^^^^^^^^^^
      = hint: write `at: /NAME` for an argument, `value: …` for a constant, `template: …` for a text

    1 mistake in the configuration
    "#);
}

#[test]
fn a_secret_constant() {
    assert_snapshot!(field("payload:\n  currency: { value: usd, secret: true }\n"), @r#"
    error: `secret` has no use beside `value`: a constant is in plain sight and always there
     --> tools/payments.yaml:6:39
      |
    6 |       currency: { value: usd, secret: true }
      |                                       ^^^^
      = hint: remove it, or write `at` instead of `value`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_empty_payload() {
    assert_snapshot!(field("payload: {}"), @r#"
    error: this payload shows nothing of the call
     --> tools/payments.yaml:5:14
      |
    5 |     payload: {}
      |              ^^
      = hint: name its fields, or remove `payload` to show all arguments

    1 mistake in the configuration
    "#);
}

#[test]
fn yes_is_not_true() {
    assert_snapshot!(field("payload:\n  card: { at: /card, secret: yes }\n"), @r#"
    error: expected true or false, found text
     --> tools/payments.yaml:6:34
      |
    6 |       card: { at: /card, secret: yes }
      |                                  ^^^
      = hint: write `true`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_template_that_shows_a_secret() {
    assert_snapshot!(field("subject: 'Charge {{ args.card.number }}'\npayload:\n  card: { at: /card/number, secret: true }\n"), @r#"
    error: `subject` would show the secret `/card/number`
     --> tools/payments.yaml:5:25
      |
    5 |     subject: 'Charge {{ args.card.number }}'
      |                         ^^^^^^^^^^^^^^^^
      = hint: show another argument, or remove `secret: true`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_template_that_shows_what_a_secret_is_in() {
    assert_snapshot!(field("summary: ['{{ args.card }}']\npayload:\n  card: { at: /card/number, secret: true }\n"), @r#"
    error: `summary` would show the secret `/card/number`
     --> tools/payments.yaml:5:19
      |
    5 |     summary: ['{{ args.card }}']
      |                   ^^^^^^^^^
      = hint: show another argument, or remove `secret: true`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_template_that_shows_all_arguments_beside_a_secret() {
    assert_snapshot!(field("preview: \"{{ args['order id'] }}\"\npayload:\n  card: { at: /card/number, secret: true }\n"), @r#"
    error: `preview` would show the secret `/card/number`
     --> tools/payments.yaml:5:18
      |
    5 |     preview: "{{ args['order id'] }}"
      |                  ^^^^
      = hint: name the argument to show, as in `args.NAME`, so that it can be told apart from the secret

    1 mistake in the configuration
    "#);
}

#[test]
fn a_schema_that_is_not_there() {
    assert_snapshot!(field("payload_schema: refund.schema.json"), @r#"
    error: the schema `tools/refund.schema.json` cannot be read: there is no such file
     --> tools/payments.yaml:5:21
      |
    5 |     payload_schema: refund.schema.json
      |                     ^^^^^^^^^^^^^^^^^^
      = hint: check the path, or create the file

    1 mistake in the configuration
    "#);
}

#[test]
fn an_unknown_risk() {
    assert_snapshot!(field("risk_level: severe"), @r#"
    error: `severe` means nothing here
     --> tools/payments.yaml:5:17
      |
    5 |     risk_level: severe
      |                 ^^^^^^
      = hint: write one of `low`, `medium`, `high`, `critical`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_unknown_token_rule() {
    assert_snapshot!(field("approval: { token: none }"), @r#"
    error: `none` means nothing here
     --> tools/payments.yaml:5:24
      |
    5 |     approval: { token: none }
      |                        ^^^^
      = hint: write one of `required`, `optional`, `off`

    1 mistake in the configuration
    "#);
}
