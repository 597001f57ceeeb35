//! Files that cannot be read, and mistakes that span several.

use crate::folder::{Folder, MAIN, gated};
use insta::assert_snapshot;
use std::fs;

fn with_schema(schema: &str) -> String {
    Folder::new(&[
        ("holdpoint.yaml", MAIN),
        ("tools/payments.yaml", &gated("payload_schema: refund/schema.json")),
        ("tools/refund/schema.json", schema),
    ])
    .told()
}

#[test]
fn a_schema_that_is_none() {
    assert_snapshot!(with_schema("{\n  \"type\": \"object\",\n  \"required\": \"amount\"\n}\n"), @r#"
    error: this is no valid JSON Schema: "amount" is not of type "array"
     --> tools/refund/schema.json:3:15
      |
    3 |   "required": "amount"
      |               ^^^^^^^^
     ::: tools/payments.yaml:5:21
      |
    5 |     payload_schema: refund/schema.json
      |                     ------------------ used here
      = hint: references to other files or addresses are not followed; patterns have no look-around

    1 mistake in the configuration
    "#);
}

#[test]
fn a_schema_that_refers_to_an_address() {
    assert_snapshot!(with_schema("{ \"$ref\": \"https://evil.example/schema.json\" }\n"), @r#"
    error: this is no valid JSON Schema: Resource 'https://evil.example/schema.json' is not present in a registry and retrieving it failed: Retrieval is disabled, cannot fetch https://evil.example/schema.json
     --> tools/refund/schema.json:1:1
      |
    1 | { "$ref": "https://evil.example/schema.json" }
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ::: tools/payments.yaml:5:21
      |
    5 |     payload_schema: refund/schema.json
      |                     ------------------ used here
      = hint: references to other files or addresses are not followed; patterns have no look-around

    1 mistake in the configuration
    "#);
}

#[test]
fn a_schema_that_refers_to_a_file() {
    assert_snapshot!(with_schema("{ \"$ref\": \"file:///etc/passwd\" }\n"), @r#"
    error: this is no valid JSON Schema: Resource 'file:///etc/passwd' is not present in a registry and retrieving it failed: Retrieval is disabled, cannot fetch file:///etc/passwd
     --> tools/refund/schema.json:1:1
      |
    1 | { "$ref": "file:///etc/passwd" }
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ::: tools/payments.yaml:5:21
      |
    5 |     payload_schema: refund/schema.json
      |                     ------------------ used here
      = hint: references to other files or addresses are not followed; patterns have no look-around

    1 mistake in the configuration
    "#);
}

#[test]
fn a_schema_whose_pattern_could_run_for_ever() {
    assert_snapshot!(with_schema("{ \"properties\": { \"a\": { \"pattern\": \"^(?=(a+)+)$\" } } }\n"), @r#"
    error: this is no valid JSON Schema: "^(?=(a+)+)$" is not a "regex"
     --> tools/refund/schema.json:1:37
      |
    1 | { "properties": { "a": { "pattern": "^(?=(a+)+)$" } } }
      |                                     ^^^^^^^^^^^^^
     ::: tools/payments.yaml:5:21
      |
    5 |     payload_schema: refund/schema.json
      |                     ------------------ used here
      = hint: references to other files or addresses are not followed; patterns have no look-around

    1 mistake in the configuration
    "#);
}

#[test]
fn a_folder_without_a_configuration() {
    assert_snapshot!(Folder::new(&[("readme.txt", "")]).told(), @r#"
    error: there is no holdpoint.yaml in this folder
     --> .
      = hint: name the file, or make one with `holdpoint init`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_file_that_is_not_there() {
    let folder = Folder::new(&[]);
    let path = folder.path("other.yaml");
    let mistakes = holdpoint_config::load(&path, &std::collections::BTreeMap::new()).unwrap_err();
    assert_snapshot!(folder.plain(&mistakes.to_string()), @r#"
    error: there is no such file
     --> other.yaml
      = hint: check the path, or create the file

    1 mistake in the configuration
    "#);
}

#[test]
fn two_files_where_one_can_count() {
    let files =
        [("holdpoint.yaml", "unmatched: gate\n"), ("holdpoint.json", "{}"), ("gate.yaml", "agents: []\n")];
    assert_snapshot!(Folder::new(&files).told(), @r#"
    error: there is `holdpoint.yaml` as well, and only one can count
     --> holdpoint.json
      = hint: remove one of the two files

    1 mistake in the configuration
    "#);
}

#[test]
fn bytes_that_are_no_text() {
    let folder = Folder::new(&[]);
    fs::write(folder.path("holdpoint.yaml"), b"unmatched: \xff\n").unwrap();
    assert_snapshot!(folder.told(), @r#"
    error: this file is not UTF-8 text
     --> holdpoint.yaml
      = hint: save it as UTF-8 and try again

    1 mistake in the configuration
    "#);
}

#[cfg(unix)]
#[test]
fn a_file_that_anybody_may_write_to() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::tools("server: payments\ntools: []\n");
    let path = folder.path("tools/payments.yaml");
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_snapshot!(folder.told(), @r#"
    error: anybody on this machine may write to this file, and it decides what runs
     --> tools/payments.yaml
      = hint: take the permission away: `chmod o-w tools/payments.yaml`

    1 mistake in the configuration
    "#);
}

#[cfg(unix)]
#[test]
fn a_folder_in_which_anybody_may_replace_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::tools("server: payments\ntools: []\n");
    fs::set_permissions(folder.path("tools"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_snapshot!(folder.told(), @r#"
    error: anybody on this machine may replace files in this folder, and they decide what runs
     --> tools
      = hint: take the permission away: `chmod o-w tools`

    1 mistake in the configuration
    "#);
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let folder = Folder::new(&[
        (
            "holdpoint.yaml",
            "servers:\n  payments: { url: tools.example.com }\n  files: { comand: [x] }\nholt: {}\n",
        ),
        ("gate.yaml", "agents:\n  - { nane: default }\ntools:\n  - { name: pay, default_action: ask }\n"),
        (
            "tools/payments.yaml",
            "server: payment\ntools:\n  - { name: a, action: gate, subject: '{{ args.x' }\n  - { name: b, acton: pass }\n",
        ),
        ("tools/zoo.yaml", "server: zoo\ntools:\n- { name: '[', action: deny }\n"),
    ]);
    assert_snapshot!(folder.told(), @r#"
    error: this is no whole URL
     --> holdpoint.yaml:2:20
      |
    2 |   payments: { url: tools.example.com }
      |                    ^^^^^^^^^^^^^^^^^
      = hint: start it with `https://` or `http://`

    error: unknown key `comand`
     --> holdpoint.yaml:3:12
      |
    3 |   files: { comand: [x] }
      |            ^^^^^^
      = hint: did you mean `command`?

    error: unknown key `holt`
     --> holdpoint.yaml:4:1
      |
    4 | holt: {}
      | ^^^^
      = hint: did you mean `hold`?

    error: unknown key `nane`
     --> gate.yaml:2:7
      |
    2 |   - { nane: default }
      |       ^^^^
      = hint: did you mean `name`?

    error: `ask` means nothing here
     --> gate.yaml:4:34
      |
    4 |   - { name: pay, default_action: ask }
      |                                  ^^^
      = hint: write one of `allow`, `review`, `escalate`, `reject`

    error: holdpoint.yaml has no server `payment`
     --> tools/payments.yaml:1:9
      |
    1 | server: payment
      |         ^^^^^^^
      = hint: did you mean `payments`?

    error: this template cannot be used: unexpected end of input, expected end of variable block
     --> tools/payments.yaml:3:48
      |
    3 |   - { name: a, action: gate, subject: '{{ args.x' }
      |                                                ^
      = hint: write `{{ args.NAME }}` where an argument goes

    error: unknown key `acton`
     --> tools/payments.yaml:4:16
      |
    4 |   - { name: b, acton: pass }
      |                ^^^^^
      = hint: did you mean `action`?

    error: holdpoint.yaml has no server `zoo`
     --> tools/zoo.yaml:1:9
      |
    1 | server: zoo
      |         ^^^
      = hint: known here: `payments`, `files`, `bridge`

    error: `[` is no pattern: a glob knows only `*` and `?`
     --> tools/zoo.yaml:3:11
      |
    3 | - { name: '[', action: deny }
      |           ^^^
      = hint: write one entry per kind of name; `*` is any text, `?` any one character

    10 mistakes in the configuration
    "#);
}

#[test]
fn a_secret_on_the_line_of_another_mistake_is_not_shown() {
    let text = "servers:\n  a: { ulr: 'https://a.example', headers: { authorization: 'Bearer hunter2hunter2', x-api-key: k3y } }\n";
    let told = Folder::new(&[("holdpoint.yaml", text)]).told();
    assert!(!told.contains("hunter2") && !told.contains("k3y"), "{told}");
    assert_snapshot!(told, @r#"
    error: unknown key `ulr`
     --> holdpoint.yaml:2:8
      |
    2 |   a: { ulr: 'https://a.example', headers: { authorization: •••••••••••••••••••••••, x-api-key: ••• } }
      |        ^^^
      = hint: did you mean `url`?

    error: a credential does not belong in the file itself
     --> holdpoint.yaml:2:60
      |
    2 |   a: { ulr: 'https://a.example', headers: { authorization: •••••••••••••••••••••••, x-api-key: ••• } }
      |                                                            ^^^^^^^^^^^^^^^^^^^^^^^
      = hint: put it into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`

    error: a credential does not belong in the file itself
     --> holdpoint.yaml:2:96
      |
    2 |   a: { ulr: 'https://a.example', headers: { authorization: •••••••••••••••••••••••, x-api-key: ••• } }
      |                                                                                                ^^^
      = hint: put it into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`

    3 mistakes in the configuration
    "#);
}

#[test]
fn a_case_that_does_not_hold_says_what_came_instead() {
    let folder = Folder::new(&[
        ("holdpoint.yaml", MAIN),
        ("tools/payments.yaml", &gated("subject: Refund {{ args.amount }}\nrisk_level: high\n")),
        (
            "tools/payments.cases.yaml",
            "server: payments
cases:
  - name: asks
    tool: issue_refund
    arguments: { amount: 40, to: { city: Rome } }
    plan: gate
    request:
      subject: Refund 41
      risk_level: low
      payload: { to: { city: Oslo } }
  - { name: passes, tool: issue_refund, arguments: { amount: 1 }, plan: pass }
  - { name: fails, tool: issue_refund, arguments: {}, plan: error, error: amunt }
  - { name: holds, tool: issue_refund, arguments: {}, plan: error, error: amount }
",
        ),
    ]);
    let report = folder.check();
    assert!(!report.is_clean());
    assert_snapshot!(folder.plain(&report.to_string()), @r#"
    case failed: asks (tools/payments.cases.yaml:3)
    error: expected subject `Refund 41`, got `Refund 40`
     --> tools/payments.cases.yaml:8:16
      |
    8 |       subject: Refund 41
      |                ^^^^^^^^^
      = hint: change the tools file or the expectation

    error: expected risk_level `low`, got `high`
     --> tools/payments.cases.yaml:9:19
      |
    9 |       risk_level: low
      |                   ^^^
      = hint: change the tools file or the expectation

    error: expected payload `/to/city` `"Oslo"`, got `"Rome"`
      --> tools/payments.cases.yaml:10:16
       |
    10 |       payload: { to: { city: Oslo } }
       |                ^^^^^^^^^^^^^^^^^^^^^^
       = hint: change the tools file or the expectation

    case failed: passes (tools/payments.cases.yaml:11)
    error: expected plan `pass`, got `gate`
      --> tools/payments.cases.yaml:11:73
       |
    11 |   - { name: passes, tool: issue_refund, arguments: { amount: 1 }, plan: pass }
       |                                                                         ^^^^
       = hint: entry `payments/issue_refund` (tools/payments.yaml:3): its name is exactly `issue_refund`

    case failed: fails (tools/payments.cases.yaml:12)
    error: expected error `amunt`, got ``subject` needs the argument `amount`, which the call does not have`
      --> tools/payments.cases.yaml:12:75
       |
    12 |   - { name: fails, tool: issue_refund, arguments: {}, plan: error, error: amunt }
       |                                                                           ^^^^^
       = hint: change the tools file or the expectation

    3 files: 0 mistakes, 4 cases, 3 failed
    "#);
}

#[test]
fn a_case_that_expects_what_cannot_be() {
    let folder = Folder::new(&[
        ("holdpoint.yaml", MAIN),
        (
            "tools/payments.cases.yaml",
            "server: payment
cases:
  - { name: a, tool: t, plan: pass, request: { subject: x } }
  - { name: b, tool: t, plan: error }
  - { name: c, tool: t, plan: gate, error: x }
",
        ),
    ]);
    assert_snapshot!(folder.plain(&folder.check().to_string()), @r#"
    error: holdpoint.yaml has no server `payment`
     --> tools/payments.cases.yaml:1:9
      |
    1 | server: payment
      |         ^^^^^^^
      = hint: did you mean `payments`?

    error: `request` has no use here: only with `plan: gate` is Gate asked
     --> tools/payments.cases.yaml:3:46
      |
    3 |   - { name: a, tool: t, plan: pass, request: { subject: x } }
      |                                              ^^^^^^^^^^^^^^
      = hint: remove it, or write `plan: gate`

    error: `plan: error` needs an `error` to expect
     --> tools/payments.cases.yaml:4:31
      |
    4 |   - { name: b, tool: t, plan: error }
      |                               ^^^^^
      = hint: add `error: …` with a part of the reason

    error: `error` has no use here: it goes with `plan: error`
     --> tools/payments.cases.yaml:5:44
      |
    5 |   - { name: c, tool: t, plan: gate, error: x }
      |                                            ^
      = hint: remove it, or write `plan: error`

    2 files: 4 mistakes; cases were not run
    "#);
}
