//! `holdpoint.yaml`, and what every file can get wrong.

use crate::folder::{Folder, main_file};
use insta::assert_snapshot;

fn json_file(text: &str) -> String {
    Folder::new(&[("holdpoint.json", text)]).told()
}

#[test]
fn an_unknown_key() {
    assert_snapshot!(main_file("serverz: {}\n"), @r#"
    error: unknown key `serverz`
     --> holdpoint.yaml:1:1
      |
    1 | serverz: {}
      | ^^^^^^^
      = hint: did you mean `servers`?

    1 mistake in the configuration
    "#);
}

#[test]
fn an_unknown_key_that_is_like_nothing() {
    assert_snapshot!(main_file("telemetry: true\n"), @r#"
    error: unknown key `telemetry`
     --> holdpoint.yaml:1:1
      |
    1 | telemetry: true
      | ^^^^^^^^^
      = hint: known here: `gate`, `servers`, `callers`, `bridge`, `tools`, `hold`, `journal`, `audit`, `timeline`, `unmatched`, `workflow_name`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_duplicate_key() {
    assert_snapshot!(main_file("servers: {}\nunmatched: deny\nunmatched: gate\n"), @r#"
    error: `unmatched` is given twice
     --> holdpoint.yaml:3:1
      |
    3 | unmatched: gate
      | ^^^^^^^^^
     ::: holdpoint.yaml:2:1
      |
    2 | unmatched: deny
      | --------- first given here
      = hint: keep one of them

    1 mistake in the configuration
    "#);
}

#[test]
fn a_word_that_is_none_of_those_expected() {
    assert_snapshot!(main_file("unmatched: gated\n"), @r#"
    error: `gated` means nothing here
     --> holdpoint.yaml:1:12
      |
    1 | unmatched: gated
      |            ^^^^^
      = hint: did you mean `gate`?

    1 mistake in the configuration
    "#);
}

#[test]
fn pass_by_default_does_not_exist() {
    assert_snapshot!(main_file("unmatched: pass\n"), @r#"
    error: `pass` means nothing here
     --> holdpoint.yaml:1:12
      |
    1 | unmatched: pass
      |            ^^^^
      = hint: write one of `gate`, `deny`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_duration_without_a_unit() {
    assert_snapshot!(main_file("hold:\n  patience: 15\n"), @r#"
    error: expected text, found a number
     --> holdpoint.yaml:2:13
      |
    2 |   patience: 15
      |             ^^
      = hint: put it in quotes: `"15"`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_duration_that_is_none() {
    assert_snapshot!(main_file("hold:\n  patience: soon\n"), @r#"
    error: `soon` is no length of time
     --> holdpoint.yaml:2:13
      |
    2 |   patience: soon
      |             ^^^^
      = hint: write it like `10m` or `1h 30m`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_number_in_quotes() {
    assert_snapshot!(main_file("hold: { held_max: '12' }\n"), @r#"
    error: expected a number, found text
     --> holdpoint.yaml:1:19
      |
    1 | hold: { held_max: '12' }
      |                   ^^^^
      = hint: write it without quotes

    1 mistake in the configuration
    "#);
}

#[test]
fn nobody_may_wait() {
    assert_snapshot!(main_file("hold: { held_max: 0 }\n"), @r#"
    error: with `held_max: 0`, no call could ever wait for a decision
     --> holdpoint.yaml:1:19
      |
    1 | hold: { held_max: 0 }
      |                   ^
      = hint: write how many calls may wait at once, such as 256

    1 mistake in the configuration
    "#);
}

#[test]
fn yaml_that_cannot_be_read() {
    assert_snapshot!(main_file("servers:\n  files: { url: \"https://a.example }\n"), @r#"
    error: this cannot be read: unclosed quote
     --> holdpoint.yaml:2:17
      |
    2 |   files: { url: "https://a.example }
      |                 ^
      = hint: check indentation, quotes and colons on this line and the one above

    1 mistake in the configuration
    "#);
}

#[test]
fn a_reference_in_a_flow_mapping_without_quotes() {
    assert_snapshot!(main_file("gate: { url: ${URL}, api_key: ${KEY} }\n"), @r#"
    error: this cannot be read: while parsing a flow mapping, did not find expected ',' or '}'
     --> holdpoint.yaml:1:15
      |
    1 | gate: { url: ${URL}, api_key: ${KEY} }
      |               ^
      = hint: text with `{`, `}`, `: ` or ` #` in it needs quotes around it

    1 mistake in the configuration
    "#);
}

#[test]
fn tabs() {
    assert_snapshot!(main_file("hold:\n\tpatience: 15m\n"), @r#"
    error: this cannot be read: tabs disallowed within this context (block indentation)
     --> holdpoint.yaml:2:2
      |
    2 |  patience: 15m
      |  ^
      = hint: indent with spaces, not with tabs

    1 mistake in the configuration
    "#);
}

#[test]
fn json_that_cannot_be_read() {
    assert_snapshot!(json_file("{\"unmatched\": \"gate\",, \"servers\": {}}"), @r#"
    error: this cannot be read: unexpected EOF while parsing an implicit flow mapping
     --> holdpoint.json:1:22
      |
    1 | {"unmatched": "gate",, "servers": {}}
      |                      ^
      = hint: check indentation, quotes and colons on this line and the one above

    1 mistake in the configuration
    "#);
}

#[test]
fn an_empty_file() {
    assert_snapshot!(main_file("# nothing yet\n"), @r#"
    error: this file is empty
     --> holdpoint.yaml:1:1
      |
    1 | # nothing yet
      | ^
      = hint: write the configuration, or remove the file

    1 mistake in the configuration
    "#);
}

#[test]
fn a_list_where_a_mapping_goes() {
    assert_snapshot!(main_file("- servers\n"), @r#"
    error: expected a mapping, found a list
     --> holdpoint.yaml:1:1
      |
    1 | - servers
      | ^^^^^^^^^
      = hint: write `NAME: VALUE` instead of `- `

    1 mistake in the configuration
    "#);
}

#[test]
fn a_second_document() {
    assert_snapshot!(main_file("unmatched: gate\n---\nunmatched: deny\n"), @r#"
    error: a second document starts here
     --> holdpoint.yaml:2:1
      |
    2 | ---
      | ^^^
      = hint: one file holds one document: remove `---`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_tag() {
    assert_snapshot!(main_file("unmatched: !word gate\n"), @r#"
    error: tags mean nothing here
     --> holdpoint.yaml:1:12
      |
    1 | unmatched: !word gate
      |            ^^^^^
      = hint: remove the tag; put text in quotes

    1 mistake in the configuration
    "#);
}

#[test]
fn a_merge_key() {
    assert_snapshot!(main_file("x: &x { a: 1 }\nhold: { <<: *x }\n"), @r#"
    error: merge keys are not supported
     --> holdpoint.yaml:2:9
      |
    2 | hold: { <<: *x }
      |         ^^
      = hint: write the fields out

    1 mistake in the configuration
    "#);
}

#[test]
fn a_tools_folder_that_is_not_there() {
    assert_snapshot!(main_file("tools: tolls/\n"), @r#"
    error: there is no folder `tolls/`
     --> holdpoint.yaml:1:8
      |
    1 | tools: tolls/
      |        ^^^^^^
      = hint: make it, or remove the key; it is relative to this file

    1 mistake in the configuration
    "#);
}

#[test]
fn a_workflow_name_with_a_template() {
    assert_snapshot!(main_file("workflow_name: 'Refund {{ args.id }}'\n"), @r#"
    error: `workflow_name` is no template
     --> holdpoint.yaml:1:16
      |
    1 | workflow_name: 'Refund {{ args.id }}'
      |                ^^^^^^^^^^^^^^^^^^^^^^
      = hint: write the name as reviewers should see it

    1 mistake in the configuration
    "#);
}

#[test]
fn an_alias_bomb() {
    assert_snapshot!(main_file("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e]\n"), @r#"
    error: this stands for more than 200000 values
     --> holdpoint.yaml:6:8
      |
    6 | f: [*e,*e,*e,*e]
      |        ^^
      = hint: write less, or use fewer aliases

    1 mistake in the configuration
    "#);
}

#[test]
fn control_characters_are_shown_as_escapes() {
    assert_snapshot!(main_file("unmatched: \"ga\u{202e}te\"\n"), @r#"
    error: `ga\u{202e}te` means nothing here
     --> holdpoint.yaml:1:12
      |
    1 | unmatched: "ga\u{202e}te"
      |            ^^^^^^^^^^^^^^
      = hint: did you mean `gate`?

    1 mistake in the configuration
    "#);
}
