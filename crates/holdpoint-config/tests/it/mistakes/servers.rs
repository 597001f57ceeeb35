//! Gate, servers, and what comes from the environment.

use crate::folder::main_file;
use insta::assert_snapshot;

#[test]
fn a_variable_that_is_not_set() {
    assert_snapshot!(main_file("gate:\n  url: https://gate.example.com/${TENANT}/api\n  api_key: ${STACKSONA_API_KEY}\n"), @r#"
    error: the environment variable `TENANT` is not set
     --> holdpoint.yaml:2:33
      |
    2 |   url: https://gate.example.com/${TENANT}/api
      |                                 ^^^^^^^^^
      = hint: set it: `export TENANT=…`

    error: the environment variable `STACKSONA_API_KEY` is not set
     --> holdpoint.yaml:3:12
      |
    3 |   api_key: ${STACKSONA_API_KEY}
      |            ^^^^^^^^^^^^^^^^^^^^
      = hint: set it: `export STACKSONA_API_KEY=…`

    2 mistakes in the configuration
    "#);
}

#[test]
fn a_reference_that_is_not_closed() {
    assert_snapshot!(main_file("servers:\n  a: { url: 'https://${HOST/mcp' }\n"), @r#"
    error: `${` without its `}`
     --> holdpoint.yaml:2:22
      |
    2 |   a: { url: 'https://${HOST/mcp' }
      |                      ^^^^^^^^^^
      = hint: write `${NAME}` or `${file:PATH}`; `$${` stands for `${`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_default_in_a_reference() {
    assert_snapshot!(main_file("servers:\n  a: { url: 'https://${HOST:-localhost}/mcp' }\n"), @r#"
    error: this is no name of an environment variable
     --> holdpoint.yaml:2:22
      |
    2 |   a: { url: 'https://${HOST:-localhost}/mcp' }
      |                      ^^^^^^^^^^^^^^^^^^
      = hint: write `${NAME}` or `${file:PATH}`; `$${` stands for `${`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_secret_file_that_is_missing() {
    assert_snapshot!(main_file("gate:\n  url: https://gate.example.com\n  api_key: ${file:key.txt}\n"), @r#"
    error: `key.txt` cannot be read: No such file or directory (os error 2)
     --> holdpoint.yaml:3:12
      |
    3 |   api_key: ${file:key.txt}
      |            ^^^^^^^^^^^^^^^
      = hint: the path is relative to this file; check it and its permissions

    1 mistake in the configuration
    "#);
}

#[test]
fn a_key_in_the_file() {
    assert_snapshot!(main_file("gate:\n  url: https://gate.example.com\n  api_key: sg_3f9a1c0d2b4e5f60718293a4b5c6d7e8\n"), @r#"
    error: a key does not belong in the file itself
     --> holdpoint.yaml:3:12
      |
    3 |   api_key: •••••••••••••••••••••••••••••••••••
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: put it into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_credential_in_a_header() {
    assert_snapshot!(main_file("servers:\n  a:\n    url: https://a.example\n    headers: { Authorization: Bearer abcdef123456 }\n"), @r#"
    error: a credential does not belong in the file itself
     --> holdpoint.yaml:4:31
      |
    4 |     headers: { Authorization: ••••••••••••••••••• }
      |                               ^^^^^^^^^^^^^^^^^^^
      = hint: put it into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_password_in_the_environment_of_a_server() {
    assert_snapshot!(main_file("servers:\n  db:\n    command: [db-server]\n    env: { DB_PASSWORD: hunter22, LOG: debug }\n"), @r#"
    error: a credential does not belong in the file itself
     --> holdpoint.yaml:4:25
      |
    4 |     env: { DB_PASSWORD: ••••••••, LOG: debug }
      |                         ^^^^^^^^
      = hint: put it into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_gate_without_a_key() {
    assert_snapshot!(main_file("gate:\n  url: https://gate.example.com\n"), @r#"
    error: `api_key` is missing here
     --> holdpoint.yaml:2:3
      |
    2 |   url: https://gate.example.com
      |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: add `api_key: …`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_relative_url() {
    assert_snapshot!(main_file("servers:\n  a: { url: tools.example.com/mcp }\n"), @r#"
    error: this is no whole URL
     --> holdpoint.yaml:2:13
      |
    2 |   a: { url: tools.example.com/mcp }
      |             ^^^^^^^^^^^^^^^^^^^^^
      = hint: start it with `https://` or `http://`

    1 mistake in the configuration
    "#);
}

#[test]
fn another_scheme() {
    assert_snapshot!(main_file("servers:\n  a: { url: 'ftp://tools.example.com' }\n"), @r#"
    error: `ftp` is no way to reach a server
     --> holdpoint.yaml:2:13
      |
    2 |   a: { url: 'ftp://tools.example.com' }
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: use http or https

    1 mistake in the configuration
    "#);
}

#[test]
fn credentials_in_a_url() {
    assert_snapshot!(main_file("servers:\n  a: { url: 'https://ada:pw@tools.example.com' }\n"), @r#"
    error: credentials do not belong in a URL: it is shown in logs
     --> holdpoint.yaml:2:13
      |
    2 |   a: { url: 'https:•••••••••tools.example.com' }
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: send them in a header

    1 mistake in the configuration
    "#);
}

#[test]
fn an_empty_command() {
    assert_snapshot!(main_file("servers:\n  a: { command: [] }\n"), @r#"
    error: this command is empty
     --> holdpoint.yaml:2:17
      |
    2 |   a: { command: [] }
      |                 ^^
      = hint: write the program and its arguments: `[npx, -y, some-server]`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_command_as_text() {
    assert_snapshot!(main_file("servers:\n  a: { command: npx -y server }\n"), @r#"
    error: expected a list, found text
     --> holdpoint.yaml:2:17
      |
    2 |   a: { command: npx -y server }
      |                 ^^^^^^^^^^^^^
      = hint: write `[ONE, TWO]`, or start each item with `- `

    1 mistake in the configuration
    "#);
}

#[test]
fn a_shell_line() {
    assert_snapshot!(main_file("servers:\n  a: { command: [npx -y server] }\n"), @r#"
    error: a command is no shell line: this is taken for the name of one program
     --> holdpoint.yaml:2:18
      |
    2 |   a: { command: [npx -y server] }
      |                  ^^^^^^^^^^^^^
      = hint: write program and arguments one by one: `[npx, -y, some-server]`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_url_and_a_command() {
    assert_snapshot!(main_file("servers:\n  a:\n    url: https://a.example\n    command: [a]\n"), @r#"
    error: server `a` has both `url` and `command`
     --> holdpoint.yaml:4:14
      |
    4 |     command: [a]
      |              ^^^
      = hint: keep the one that reaches it

    1 mistake in the configuration
    "#);
}

#[test]
fn neither_url_nor_command() {
    assert_snapshot!(main_file("servers:\n  a: { env: { LOG: debug } }\n"), @r#"
    error: server `a` has neither `url` nor `command`
     --> holdpoint.yaml:2:3
      |
    2 |   a: { env: { LOG: debug } }
      |   ^
      = hint: write `url: https://…`, or `command: [PROGRAM, ARGUMENT, …]`

    1 mistake in the configuration
    "#);
}

#[test]
fn headers_for_a_command() {
    assert_snapshot!(main_file("servers:\n  a: { command: [a], headers: { x-team: ops } }\n"), @r#"
    error: `headers` has no use beside `command`
     --> holdpoint.yaml:2:33
      |
    2 |   a: { command: [a], headers: { x-team: ops } }
      |                                 ^^^^^^
      = hint: remove it

    1 mistake in the configuration
    "#);
}

#[test]
fn a_header_of_the_connection() {
    assert_snapshot!(main_file("servers:\n  a: { url: 'https://a.example', headers: { Host: b.example } }\n"), @r#"
    error: the header `host` is set by the connection itself
     --> holdpoint.yaml:2:45
      |
    2 |   a: { url: 'https://a.example', headers: { Host: b.example } }
      |                                             ^^^^
      = hint: remove it

    1 mistake in the configuration
    "#);
}

#[test]
fn a_server_name_that_could_be_a_path() {
    assert_snapshot!(main_file("servers:\n  ../a: { url: 'https://a.example' }\n"), @r#"
    error: `../a` cannot be the name of a server
     --> holdpoint.yaml:2:3
      |
    2 |   ../a: { url: 'https://a.example' }
      |   ^^^^
      = hint: use letters, digits, `-`, `_` and `.`

    1 mistake in the configuration
    "#);
}

#[test]
fn methods_that_cannot_be_denied() {
    assert_snapshot!(main_file("servers:\n  a:\n    url: https://x.test/mcp\n    methods: { deny: ['tools/*', 'notifications/*', '', 'a[b]'] }\n"), @r#"
    error: `tools/*` covers `tools/call`, which tools files decide about
     --> holdpoint.yaml:4:23
      |
    4 |     methods: { deny: ['tools/*', 'notifications/*', '', 'a[b]'] }
      |                       ^^^^^^^^^
      = hint: name MCP methods such as `resources/read`, or `prompts/*`; a tool is refused by `action: deny`

    error: `notifications/*` covers `notifications/cancelled`, by which callers withdraw what waits
     --> holdpoint.yaml:4:34
      |
    4 |     methods: { deny: ['tools/*', 'notifications/*', '', 'a[b]'] }
      |                                  ^^^^^^^^^^^^^^^^^
      = hint: name MCP methods such as `resources/read`, or `prompts/*`; a tool is refused by `action: deny`

    error: a method's name cannot be empty
     --> holdpoint.yaml:4:53
      |
    4 |     methods: { deny: ['tools/*', 'notifications/*', '', 'a[b]'] }
      |                                                     ^^
      = hint: name MCP methods such as `resources/read`, or `prompts/*`; a tool is refused by `action: deny`

    error: `a[b]` is no pattern: a glob knows only `*` and `?`
     --> holdpoint.yaml:4:57
      |
    4 |     methods: { deny: ['tools/*', 'notifications/*', '', 'a[b]'] }
      |                                                         ^^^^^^
      = hint: name MCP methods such as `resources/read`, or `prompts/*`; a tool is refused by `action: deny`

    4 mistakes in the configuration
    "#);
}
