//! `effect` and `reconcile`.

use crate::folder::{Folder, field, tools_file};
use insta::assert_snapshot;

/// A tool with this `reconcile`, and these further entries.
fn reconcile(reconcile: &str, others: &str) -> String {
    let reconcile = reconcile.trim_end().replace('\n', "\n        ");
    tools_file(&format!(
        "server: payments\ntools:\n  - name: pay\n    action: pass\n    effect:\n      key: 'pay:{{{{ args.id }}}}'\n      reconcile:\n        {reconcile}\n{others}"
    ))
}

/// The same, with a tool that may be asked.
fn told(text: &str) -> String {
    reconcile(text, "  - { name: find, action: pass }\n")
}

#[test]
fn an_effect_of_what_never_runs() {
    assert_snapshot!(tools_file("server: payments\ntools:\n  - { name: pay, action: deny, effect: 'pay:{{ args.id }}' }\n"), @r#"
    error: `effect` has no use here: with `action: deny`, nothing ever happens
     --> tools/payments.yaml:3:40
      |
    3 |   - { name: pay, action: deny, effect: 'pay:{{ args.id }}' }
      |                                        ^^^^^^^^^^^^^^^^^^^
      = hint: remove it, or write `action: gate` or `action: pass`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_effect_without_a_name() {
    assert_snapshot!(field("effect: ''"), @r#"
    error: `effect` has no name
     --> tools/payments.yaml:5:13
      |
    5 |     effect: ''
      |             ^^
      = hint: write a name that tells effects apart, such as `refund:{{ args.order_id }}`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_effect_without_a_key() {
    assert_snapshot!(field("effect: { reconcile: { tool: find, happened: result } }"), @r#"
    error: `key` is missing here
     --> tools/payments.yaml:5:13
      |
    5 |     effect: { reconcile: { tool: find, happened: result } }
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: add `key: …`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_effect_with_an_unknown_key() {
    assert_snapshot!(field("effect: { key: 'pay:{{ args.id }}', reconcil: 1 }"), @r#"
    error: unknown key `reconcil`
     --> tools/payments.yaml:5:41
      |
    5 |     effect: { key: 'pay:{{ args.id }}', reconcil: 1 }
      |                                         ^^^^^^^^
      = hint: did you mean `reconcile`?

    1 mistake in the configuration
    "#);
}

#[test]
fn an_effect_that_is_a_number() {
    assert_snapshot!(field("effect: 5"), @r#"
    error: expected a name such as `refund:{{ args.order_id }}`
     --> tools/payments.yaml:5:13
      |
    5 |     effect: 5
      |             ^
      = hint: put it in quotes, or write a mapping with `key`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_effect_that_would_show_a_secret() {
    assert_snapshot!(field("effect: { key: 'pay:{{ args.card.number }}' }\npayload: { card: { at: /card/number, secret: true } }"), @r#"
    error: `effect` would show the secret `/card/number`
     --> tools/payments.yaml:5:28
      |
    5 |     effect: { key: 'pay:{{ args.card.number }}' }
      |                            ^^^^^^^^^^^^^^^^
      = hint: show another argument, or remove `secret: true`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_effect_that_forgets_args() {
    assert_snapshot!(field("effect: 'refund:{{ order_id }}'"), @r#"
    error: templates know no `order_id`
     --> tools/payments.yaml:5:24
      |
    5 |     effect: 'refund:{{ order_id }}'
      |                        ^^^^^^^^
      = hint: arguments are `args.order_id`; besides there are `tool`, `server`, `task`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_effect_whose_name_cannot_be_seen() {
    assert_snapshot!(field("effect: \"pay\\u200b\""), @r#"
    error: `effect` comes to a name with control or invisible characters in it
     --> tools/payments.yaml:5:13
      |
    5 |     effect: "pay\u200b"
      |             ^^^^^^^^^^^
      = hint: write a short name, such as `refund:{{ args.order_id }}`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_tool_to_ask_without_an_entry() {
    assert_snapshot!(reconcile("tool: find\nhappened: result.done", "  - { name: 'fin*', action: pass }\n"), @r#"
    error: `find` has no entry of its own that lets it run without being asked about
     --> tools/payments.yaml:8:15
      |
    8 |         tool: find
      |               ^^^^
      = hint: add `- { name: find, action: pass }`; it must only read

    1 mistake in the configuration
    "#);
}

#[test]
fn a_tool_to_ask_that_is_gated() {
    assert_snapshot!(reconcile("tool: find\nhappened: result.done", "  - { name: find, action: gate }\n"), @r#"
    error: `find` is gated: finding out must not run what a person has to decide about
      --> tools/payments.yaml:8:15
       |
     8 |         tool: find
       |               ^^^^
      ::: tools/payments.yaml:10:13
       |
    10 |   - { name: find, action: gate }
       |             ---- its entry
       = hint: name a tool that only reads, with `action: pass`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_tool_to_ask_that_is_denied() {
    assert_snapshot!(reconcile("tool: find\nhappened: result.done", "  - { name: find, action: deny }\n"), @r#"
    error: `find` is denied, so it cannot be asked
      --> tools/payments.yaml:8:15
       |
     8 |         tool: find
       |               ^^^^
      ::: tools/payments.yaml:10:13
       |
    10 |   - { name: find, action: deny }
       |             ---- its entry
       = hint: name a tool that only reads, with `action: pass`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_tool_to_ask_that_has_an_effect() {
    assert_snapshot!(reconcile("tool: pay\nhappened: result.done", ""), @r#"
    error: `pay` has an effect itself, and finding out must not have one
     --> tools/payments.yaml:8:15
      |
    8 |         tool: pay
      |               ^^^
     ::: tools/payments.yaml:3:11
      |
    3 |   - name: pay
      |           --- its entry
      = hint: name a tool that only reads, with `action: pass`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_tool_to_ask_on_another_server() {
    let folder = Folder::new(&[
        ("holdpoint.yaml", "servers: { a: { url: 'https://a.example' }, b: { url: 'https://b.example' } }\n"),
        (
            "tools/a.yaml",
            "server: a\ntools:\n  - { name: pay, action: pass, effect: { key: 'p:{{ args.id }}', reconcile: { tool: find, happened: result } } }\n",
        ),
        ("tools/b.yaml", "server: b\ntools:\n  - { name: find, action: pass }\n"),
    ]);
    assert_snapshot!(folder.told(), @r#"
    error: `find` has no entry of its own that lets it run without being asked about
     --> tools/a.yaml:3:85
      |
    3 |   - { name: pay, action: pass, effect: { key: 'p:{{ args.id }}', reconcile: { tool: find, happened: result } } }
      |                                                                                     ^^^^
      = hint: add `- { name: find, action: pass }`; it must only read

    1 mistake in the configuration
    "#);
}

#[test]
fn a_question_without_its_condition() {
    assert_snapshot!(told("tool: find"), @r#"
    error: `happened` is missing here
     --> tools/payments.yaml:8:9
      |
    8 |         tool: find
      |         ^^^^^^^^^^
      = hint: add `happened: …`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_condition_that_cannot_be_read() {
    assert_snapshot!(told("tool: find\nhappened: \"result.status = 'refunded'\""), @r#"
    error: this expression cannot be used: unexpected input after expression
     --> tools/payments.yaml:9:34
      |
    9 |         happened: "result.status = 'refunded'"
      |                                  ^
      = hint: write it like `result.status == 'refunded'`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_condition_over_something_else() {
    assert_snapshot!(told("tool: find\nhappened: \"response.status == 'refunded'\""), @r#"
    error: conditions know no `response`
     --> tools/payments.yaml:9:20
      |
    9 |         happened: "response.status == 'refunded'"
      |                    ^^^^^^^^
      = hint: the tool's answer is `result`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_condition_that_is_always_true() {
    assert_snapshot!(told("tool: find\nhappened: 'true'"), @r#"
    error: this does not look at the answer
     --> tools/payments.yaml:9:20
      |
    9 |         happened: 'true'
      |                    ^^^^
      = hint: write it like `result.status == 'refunded'`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_condition_that_is_not_text() {
    assert_snapshot!(told("tool: find\nhappened: true"), @r#"
    error: expected text, found true or false
     --> tools/payments.yaml:9:19
      |
    9 |         happened: true
      |                   ^^^^
      = hint: put it in quotes: `"true"`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_condition_that_is_a_template() {
    assert_snapshot!(told("tool: find\nhappened: \"{{ result.done }}\""), @r#"
    error: this is an expression, not a template
     --> tools/payments.yaml:9:20
      |
    9 |         happened: "{{ result.done }}"
      |                    ^^^^^^^^^^^^^^^^^
      = hint: write the expression alone, without `{{` and `}}`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_condition_with_an_unknown_filter() {
    assert_snapshot!(told("tool: find\nhappened: result.done\ndid_not_happen: 'result.items | lenght == 0'"), @r#"
    error: there is no filter `lenght`
      --> tools/payments.yaml:10:41
       |
    10 |         did_not_happen: 'result.items | lenght == 0'
       |                                         ^^^^^^
       = hint: did you mean `length`?

    1 mistake in the configuration
    "#);
}

#[test]
fn a_question_with_a_field_that_is_two_things() {
    assert_snapshot!(told("tool: find\narguments: { id: { at: /id, template: 'x' } }\nhappened: result.done"), @r#"
    error: an argument has one of `at`, `value` and `template`, not several
     --> tools/payments.yaml:9:26
      |
    9 |         arguments: { id: { at: /id, template: 'x' } }
      |                          ^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: write `at: /NAME` for an argument, `value: …` for a constant, `template: …` for a text

    1 mistake in the configuration
    "#);
}

#[test]
fn a_question_with_a_masked_field() {
    assert_snapshot!(told("tool: find\narguments: { id: { at: /id, secret: true } }\nhappened: result.done"), @r#"
    error: `secret` has no use here: the server is asked about its own call
     --> tools/payments.yaml:9:45
      |
    9 |         arguments: { id: { at: /id, secret: true } }
      |                                             ^^^^
      = hint: remove it

    1 mistake in the configuration
    "#);
}

#[test]
fn a_question_with_a_wrong_pointer() {
    assert_snapshot!(told("tool: find\narguments: { id: { at: args.id } }\nhappened: result.done"), @r#"
    error: a JSON Pointer starts with `/`
     --> tools/payments.yaml:9:32
      |
    9 |         arguments: { id: { at: args.id } }
      |                                ^^^^^^^
      = hint: write `/id`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_answer_that_is_final_some_time() {
    assert_snapshot!(told("tool: find\nhappened: result.done\nafter: later"), @r#"
    error: `later` is no length of time
      --> tools/payments.yaml:10:16
       |
    10 |         after: later
       |                ^^^^^
       = hint: write it like `10m` or `1h 30m`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_text_that_is_optional() {
    assert_snapshot!(field("payload:\n  order: { template: 'No. {{ args.id }}', optional: true }"), @r#"
    error: `optional` has no use beside `template`: a text is in plain sight and always there
     --> tools/payments.yaml:6:57
      |
    6 |       order: { template: 'No. {{ args.id }}', optional: true }
      |                                                         ^^^^
      = hint: remove it, or write `at` instead of `template`

    1 mistake in the configuration
    "#);
}
