//! Where keys and payloads may travel to.

use crate::setup::settings;
use holdpoint_client::{GateClient, GateUrl, GateUrlError, LocalKey, PlainHttp};

fn refusal(text: &str) -> GateUrlError {
    GateUrl::parse(text, PlainHttp::LoopbackOnly).expect_err(text)
}

#[test]
fn plain_http_stays_on_this_machine() {
    for text in
        ["https://gate.example.com", "http://127.0.0.1:8080", "http://localhost:1/below/", "http://[::1]:7"]
    {
        GateUrl::parse(text, PlainHttp::LoopbackOnly).expect(text);
    }
    for text in [
        "http://gate.example.com",
        "http://10.0.0.7",
        "http://localhost.example.com",
        "http://[::2]",
        "http://127.1.evil.test",
    ] {
        assert_eq!(refusal(text), GateUrlError::PlainHttp, "{text}");
        GateUrl::parse(text, PlainHttp::Allowed).expect(text);
    }
}

#[test]
fn what_is_no_base_url_is_refused_without_repeating_it() {
    for (text, expected) in [
        ("gate.example.com", "no URL"),
        ("ftp://gate.example.com", "https://"),
        ("file:///etc/passwd", "https://"),
        ("https://user:hunter2@gate.example.com", "user or a password"),
        ("https://gate.example.com/?key=hunter2", "query"),
        ("https://gate.example.com/#hunter2", "query"),
    ] {
        let error = refusal(text);
        assert!(error.to_string().contains(expected), "{text}: {error}");
        assert!(!format!("{error} {error:?} {}", error.hint()).contains("hunter2"));
    }
}

#[test]
fn the_key_shows_nowhere() {
    let settings = settings("http://127.0.0.1:1");
    let shown =
        format!("{settings:?} {:?} {:?}", GateClient::new(settings.clone()), LocalKey::new(&[113; 32]));
    assert!(!shown.contains("sg_scripted") && !shown.contains("113"), "{shown}");
}

#[test]
fn an_encrypted_gate_gets_a_client_with_the_systems_roots() {
    let mut settings = settings("http://127.0.0.1:1");
    settings.url = GateUrl::parse("https://gate.example.com/", PlainHttp::LoopbackOnly).expect("a URL");
    GateClient::new(settings).expect("a client");
}
