//! Who may call.

use crate::folder::main_file;
use insta::assert_snapshot;

fn oauth(fields: &str) -> String {
    main_file(&format!("callers:\n  oauth: {{ {fields} }}\n"))
}

#[test]
fn an_issuer_that_anybody_on_the_way_can_be() {
    assert_snapshot!(oauth("issuer: 'http://issuer.example'"), @r#"
    error: whoever is on the way there could say which tokens are good
     --> holdpoint.yaml:2:20
      |
    2 |   oauth: { issuer: 'http://issuer.example' }
      |                    ^^^^^^^^^^^^^^^^^^^^^^^
      = hint: use https; http is for addresses of this machine

    1 mistake in the configuration
    "#);
}

#[test]
fn keys_that_anybody_on_the_way_can_change() {
    assert_snapshot!(oauth("issuer: 'https://issuer.example', jwks_url: 'http://127.0.0.1.evil.test/keys'"), @r#"
    error: whoever is on the way there could say which tokens are good
     --> holdpoint.yaml:2:56
      |
    2 |   oauth: { issuer: 'https://issuer.example', jwks_url: 'http://127.0.0.1.evil.test/keys' }
      |                                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: use https; http is for addresses of this machine

    1 mistake in the configuration
    "#);
}

#[test]
fn an_issuer_that_is_no_address() {
    assert_snapshot!(oauth("issuer: issuer.example"), @r#"
    error: this is no whole URL
     --> holdpoint.yaml:2:20
      |
    2 |   oauth: { issuer: issuer.example }
      |                    ^^^^^^^^^^^^^^
      = hint: start it with `https://`

    1 mistake in the configuration
    "#);
}

#[test]
fn an_issuer_with_a_password() {
    assert_snapshot!(oauth("issuer: 'https://me:hunter2@issuer.example'"), @r#"
    error: credentials do not belong in a URL: it is shown in logs
     --> holdpoint.yaml:2:20
      |
    2 |   oauth: { issuer: 'https:•••••••••••••issuer.example' }
      |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: remove them

    1 mistake in the configuration
    "#);
}

#[test]
fn an_issuer_with_a_query() {
    assert_snapshot!(oauth("issuer: 'https://issuer.example/?tenant=a'"), @r#"
    error: an issuer has neither query nor fragment
     --> holdpoint.yaml:2:20
      |
    2 |   oauth: { issuer: 'https://issuer.example/?tenant=a' }
      |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: write it as it is in the tokens' `iss`

    1 mistake in the configuration
    "#);
}

#[test]
fn no_issuer() {
    assert_snapshot!(oauth("audience: holdpoint"), @r#"
    error: `issuer` is missing here
     --> holdpoint.yaml:2:10
      |
    2 |   oauth: { audience: holdpoint }
      |          ^^^^^^^^^^^^^^^^^^^^^^^
      = hint: add `issuer: …`

    1 mistake in the configuration
    "#);
}

#[test]
fn tokens_for_nobody() {
    assert_snapshot!(oauth("issuer: 'https://issuer.example', audience: ' '"), @r#"
    error: this is empty, and tokens are always for somebody
     --> holdpoint.yaml:2:56
      |
    2 |   oauth: { issuer: 'https://issuer.example', audience: ' ' }
      |                                                        ^^^
      = hint: write the `aud` of the tokens, or remove it

    1 mistake in the configuration
    "#);
}

#[test]
fn scopes_in_one_text() {
    assert_snapshot!(oauth("issuer: 'https://issuer.example', scopes: ['tools refunds']"), @r#"
    error: `tools refunds` is no scope
     --> holdpoint.yaml:2:55
      |
    2 |   oauth: { issuer: 'https://issuer.example', scopes: ['tools refunds'] }
      |                                                       ^^^^^^^^^^^^^^^
      = hint: write one scope for each entry, such as `[tools, refunds]`

    1 mistake in the configuration
    "#);
}

#[test]
fn a_word_for_required() {
    assert_snapshot!(main_file("callers: { required: always }\n"), @r#"
    error: expected true or false, found text
     --> holdpoint.yaml:1:22
      |
    1 | callers: { required: always }
      |                      ^^^^^^
      = hint: the file's JSON Schema says what may stand here

    1 mistake in the configuration
    "#);
}
