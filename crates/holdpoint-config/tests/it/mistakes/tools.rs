//! Entries of tools files.

use crate::folder::tools_file;
use insta::assert_snapshot;

#[test]
fn a_missing_field() {
    assert_snapshot!(tools_file("server: payments\ntools:\n  - name: issue_refund\n"), @r#"
    error: `action` is missing here
     --> tools/payments.yaml:3:5
      |
    3 |   - name: issue_refund
      |     ^^^^^^^^^^^^^^^^^^
      = hint: add `action: …`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_misspelt_field_that_is_needed() {
    assert_snapshot!(tools_file("server: payments\ntools:\n  - nmae: issue_refund\n    action: gate\n"), @r#"
    error: unknown key `nmae`
     --> tools/payments.yaml:3:5
      |
    3 |   - nmae: issue_refund
      |     ^^^^
      = hint: did you mean `name`?

    1 mistake in the configuration
    "#);
}

#[test]
fn an_unknown_action() {
    assert_snapshot!(tools_file("server: payments\ntools:\n  - { name: a, action: allow }\n"), @r#"
    error: `allow` means nothing here
     --> tools/payments.yaml:3:24
      |
    3 |   - { name: a, action: allow }
      |                        ^^^^^
      = hint: write one of `gate`, `pass`, `deny`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_unknown_server() {
    assert_snapshot!(tools_file("server: payment\ntools: []\n"), @r#"
    error: holdpoint.yaml has no server `payment`
     --> tools/payments.yaml:1:9
      |
    1 | server: payment
      |         ^^^^^^^
      = hint: did you mean `payments`?

    1 mistake in the configuration
    "#);
}

#[test]
fn a_bad_glob() {
    assert_snapshot!(tools_file("server: payments\ntools:\n  - { name: 'get_[ab]', action: pass }\n"), @r#"
    error: `get_[ab]` is no pattern: a glob knows only `*` and `?`
     --> tools/payments.yaml:3:13
      |
    3 |   - { name: 'get_[ab]', action: pass }
      |             ^^^^^^^^^^
      = hint: write one entry per kind of name; `*` is any text, `?` any one character

    1 mistake in the configuration
    "#);
}

#[test]
fn globs_of_the_same_rank() {
    assert_snapshot!(tools_file("server: payments\ntools:\n  - { name: 'get_*', action: pass }\n  - { name: '*_all', action: deny }\n"), @r#"
    error: `*_all` and `get_*` can match the same tool, and neither is more specific
     --> tools/payments.yaml:4:13
      |
    4 |   - { name: '*_all', action: deny }
      |             ^^^^^^^
     ::: tools/payments.yaml:3:13
      |
    3 |   - { name: 'get_*', action: pass }
      |             ------- the other one
      = hint: name the tools that both match, or make one of the globs longer

    1 mistake in the configuration
    "#);
}

#[test]
fn the_same_tool_twice() {
    assert_snapshot!(tools_file("server: payments\ntools:\n  - { name: pay, action: gate }\n  - { name: pay, action: pass }\n"), @r#"
    error: there is an entry for `pay` already
     --> tools/payments.yaml:4:13
      |
    4 |   - { name: pay, action: pass }
      |             ^^^
     ::: tools/payments.yaml:3:13
      |
    3 |   - { name: pay, action: gate }
      |             --- first written here
      = hint: keep one of them

    1 mistake in the configuration
    "#);
}

#[test]
fn mapping_where_nobody_is_asked() {
    assert_snapshot!(tools_file("server: payments\ntools:\n  - name: get_order\n    action: pass\n    subject: Look it up\n    approval: { patience: 5m }\n"), @r#"
    error: `subject` has no use here: with `action: pass`, nobody is asked
     --> tools/payments.yaml:5:14
      |
    5 |     subject: Look it up
      |              ^^^^^^^^^^
      = hint: remove it, or write `action: gate`

    error: `approval` has no use here: with `action: pass`, nobody is asked
     --> tools/payments.yaml:6:15
      |
    6 |     approval: { patience: 5m }
      |               ^^^^^^^^^^^^^^^^
      = hint: remove it, or write `action: gate`

    2 mistakes in the configuration
    "#);
}
