//! Journal, audit log, timeline, webhooks.

use crate::folder::{Folder, main_file};
use insta::assert_snapshot;

fn journal(url: &str) -> String {
    Folder::new(&[("holdpoint.yaml", "journal:\n  url: ${DB}\n")]).env("DB", url).told()
}

fn webhook(fields: &str) -> String {
    let gate =
        format!("gate:\n  url: https://gate.example.com\n  api_key: ${{KEY}}\n  webhook: {{ {fields} }}\n");
    Folder::new(&[("holdpoint.yaml", &gate)]).env("KEY", "sg_x").env("SIGNED", "sesame-open-up").told()
}

#[test]
fn a_journal_in_the_file() {
    assert_snapshot!(main_file("journal: { url: 'postgres://db.example/holdpoint' }\n"), @r#"
    error: the address of a database does not belong in the file itself
     --> holdpoint.yaml:1:17
      |
    1 | journal: { url: ••••••••••••••••••••••••••••••••• }
      |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: put it into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_password_in_the_file() {
    assert_snapshot!(main_file("journal:\n  url: postgres://holdpoint:hunter2@${HOST}/holdpoint\n"), @r#"
    error: a password does not belong in the file itself
     --> holdpoint.yaml:2:8
      |
    2 |   url: ••••••••••••••••••••••••••••••••••••••••••••••
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: put the whole address into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_journal_that_is_not_set() {
    assert_snapshot!(main_file("journal:\n  url: ${HOLDPOINT_JOURNAL_URL}\n"), @r#"
    error: the environment variable `HOLDPOINT_JOURNAL_URL` is not set
     --> holdpoint.yaml:2:8
      |
    2 |   url: ${HOLDPOINT_JOURNAL_URL}
      |        ^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: set it: `export HOLDPOINT_JOURNAL_URL=…`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_journal_in_another_database() {
    let told = journal("sqlite:///hunter2.db");
    assert_snapshot!(told, @r#"
    error: this comes to no address of a PostgreSQL database
     --> holdpoint.yaml:2:8
      |
    2 |   url: ${DB}
      |        ^^^^^
      = hint: it starts with `postgres://`; for SQLite, remove `journal`: it is in the data folder then

    1 mistake in the configuration
    "#);
    for other in ["mysql://a:hunter2@b/c", "hunter2", "https://hunter2.example"] {
        let told = journal(other);
        assert!(told.contains("no address of a PostgreSQL database") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn two_journals() {
    assert_snapshot!(main_file("journal:\n  url: ${file:db}\n  path: journal.db\n"), @r#"
    error: `db` cannot be read: No such file or directory (os error 2)
     --> holdpoint.yaml:2:8
      |
    2 |   url: ${file:db}
      |        ^^^^^^^^^^
      = hint: the path is relative to this file; check it and its permissions

    error: unknown key `path`
     --> holdpoint.yaml:3:3
      |
    3 |   path: journal.db
      |   ^^^^
      = hint: known here: `url`

    2 mistakes in the configuration
    "#);
}

#[test]
fn an_audit_log_that_is_off() {
    assert_snapshot!(main_file("audit: off\n"), @r#"
    error: the audit log is always on
     --> holdpoint.yaml:1:8
      |
    1 | audit: off
      |        ^^^
      = hint: remove this, or write `audit: { rotate_bytes: … }`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_audit_log_that_is_false() {
    assert_snapshot!(main_file("audit: false\n"), @r#"
    error: the audit log is always on
     --> holdpoint.yaml:1:8
      |
    1 | audit: false
      |        ^^^^^
      = hint: remove this, or write `audit: { rotate_bytes: … }`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_audit_log_of_tiny_files() {
    assert_snapshot!(main_file("audit: { rotate_bytes: 1000 }\n"), @r#"
    error: a file of the audit log has at least 65536 bytes
     --> holdpoint.yaml:1:24
      |
    1 | audit: { rotate_bytes: 1000 }
      |                        ^^^^
      = hint: write more, such as 67108864 for 64 MiB

    1 mistake in the configuration
    "#);
}

#[test]
fn an_audit_log_that_can_be_switched() {
    assert_snapshot!(main_file("audit: { enabled: false }\n"), @r#"
    error: unknown key `enabled`
     --> holdpoint.yaml:1:10
      |
    1 | audit: { enabled: false }
      |          ^^^^^^^
      = hint: known here: `rotate_bytes`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_timeline_of_everything() {
    assert_snapshot!(main_file("timeline: { results: all }\n"), @r#"
    error: `all` means nothing here
     --> holdpoint.yaml:1:22
      |
    1 | timeline: { results: all }
      |                      ^^^
      = hint: write one of `excerpt`, `none`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_result_that_is_kept_for_a_number() {
    assert_snapshot!(main_file("hold: { result_kept: 24 }\n"), @r#"
    error: expected text, found a number
     --> holdpoint.yaml:1:22
      |
    1 | hold: { result_kept: 24 }
      |                      ^^
      = hint: put it in quotes: `"24"`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_webhook_without_a_gate() {
    assert_snapshot!(main_file("gate:\n  webhook: { path: /hooks }\n"), @r#"
    error: `url` is missing here
     --> holdpoint.yaml:2:3
      |
    2 |   webhook: { path: /hooks }
      |   ^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: add `url: …`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_webhook_path_without_its_slash() {
    assert_snapshot!(webhook("path: hooks/gate"), @r#"
    error: a path starts with `/`
     --> holdpoint.yaml:4:20
      |
    4 |   webhook: { path: hooks/gate }
      |                    ^^^^^^^^^^
      = hint: write `/hooks/gate`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_webhook_path_of_the_tool_servers() {
    assert_snapshot!(webhook("path: /servers/payments"), @r#"
    error: what is below `/servers/` belongs to the tool servers
     --> holdpoint.yaml:4:20
      |
    4 |   webhook: { path: /servers/payments }
      |                    ^^^^^^^^^^^^^^^^^
      = hint: write `/webhooks/gate`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_webhook_path_with_a_query() {
    assert_snapshot!(webhook("path: '/hooks?from=gate'"), @r#"
    error: this path has characters in it that an address writes another way
     --> holdpoint.yaml:4:20
      |
    4 |   webhook: { path: '/hooks?from=gate' }
      |                    ^^^^^^^^^^^^^^^^^^
      = hint: write letters, digits, `-`, `_` and `/`, such as `/webhooks/gate`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_webhook_listener_without_a_port() {
    assert_snapshot!(webhook("listen: localhost"), @r#"
    error: this is no address to listen on
     --> holdpoint.yaml:4:22
      |
    4 |   webhook: { listen: localhost }
      |                      ^^^^^^^^^
      = hint: write an IP address and a port, such as `127.0.0.1:8790`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_webhook_secret_in_the_file() {
    assert_snapshot!(webhook("secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), @r#"
    error: a secret does not belong in the file itself
     --> holdpoint.yaml:4:22
      |
    4 |   webhook: { secret: •••••••••••••••••••••••••••••••••••••• }
      |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: put it into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_webhook_secret_of_another_kind() {
    let told = webhook("secret: '${SIGNED}'");
    assert!(!told.contains("sesame"), "{told}");
    assert_snapshot!(told, @r#"
    error: this comes to no usable secret: a webhook secret starts with `whsec_`
     --> holdpoint.yaml:4:22
      |
    4 |   webhook: { secret: '${SIGNED}' }
      |                      ^^^^^^^^^^^
      = hint: check the variable or file it comes from

    1 mistake in the configuration
    "#);
}
