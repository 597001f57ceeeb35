//! What those are told that are not let in, and what clients are told of how to get in.

use crate::door::{Door, resource, settings};
use holdpoint_callers::{OAuth, OAuthSettings, Refusal, protected_resource_url};
use holdpoint_testkit::{Issuer, ManualClock};
use serde_json::{Value, json};
use std::sync::Arc;

fn told(door: &Door, refusal: Refusal) -> (u16, String) {
    let response = door.callers.refuse(refusal, &resource());
    let challenge =
        response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(response.headers()["cache-control"], "no-store");
    (response.status().as_u16(), challenge.unwrap_or_default())
}

#[test]
fn challenges_for_keys() {
    let door = Door::new();
    assert_eq!(told(&door, Refusal::Missing), (401, "Bearer realm=\"holdpoint\"".to_owned()));
    let invalid = "Bearer realm=\"holdpoint\", error=\"invalid_token\", error_description=\"gone\"";
    assert_eq!(told(&door, Refusal::Invalid("gone")), (401, invalid.to_owned()));
    let malformed = "Bearer realm=\"holdpoint\", error=\"invalid_request\", error_description=\"two 'x'\"";
    assert_eq!(told(&door, Refusal::Malformed("two `x`")), (400, malformed.to_owned()));
    assert_eq!(told(&door, Refusal::OtherServer), (403, String::new()));
    assert_eq!(told(&door, Refusal::Unavailable), (503, String::new()));
    let response = door.callers.refuse(Refusal::Unavailable, &resource());
    assert_eq!(response.headers()["retry-after"], "5");
}

/// RFC 9728, section 5.1, and the authorization chapter of MCP.
#[test]
fn challenges_lead_to_the_issuer() {
    let issuer = Issuer::start();
    let scopes = vec!["tools".to_owned(), "refunds".to_owned()];
    let door = Door::oauth(OAuthSettings { scopes, ..settings(&issuer) });
    let place = "scope=\"tools refunds\", resource_metadata=\"https://holdpoint.example/.well-known/oauth-protected-resource/servers/payments/mcp\"";
    let missing = format!("Bearer realm=\"holdpoint\", {place}");
    assert_eq!(told(&door, Refusal::Missing), (401, missing));
    let scope = format!(
        "Bearer realm=\"holdpoint\", error=\"insufficient_scope\", error_description=\"the access token lacks a scope that is needed here\", {place}"
    );
    assert_eq!(told(&door, Refusal::Scope), (403, scope));
}

/// RFC 9728, section 2.
#[test]
fn metadata() {
    let settings = OAuthSettings {
        issuer: "https://issuer.example/realms/a".to_owned(),
        audiences: Vec::new(),
        jwks_url: None,
        scopes: vec!["tools".to_owned()],
    };
    let oauth = OAuth::new(settings, Arc::new(ManualClock::new())).unwrap();
    let document: Value = serde_json::from_str(&oauth.metadata(resource().url(), "payments")).unwrap();
    let expected = json!({
        "resource": "https://holdpoint.example/servers/payments/mcp",
        "resource_name": "payments",
        "authorization_servers": ["https://issuer.example/realms/a"],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["tools"],
    });
    assert_eq!(document, expected);
}

/// RFC 9728, section 3.1.
#[test]
fn where_metadata_is() {
    for (resource, metadata) in [
        ("https://a.example", "https://a.example/.well-known/oauth-protected-resource"),
        ("https://a.example/", "https://a.example/.well-known/oauth-protected-resource"),
        ("http://[::1]:7/b/c", "http://[::1]:7/.well-known/oauth-protected-resource/b/c"),
    ] {
        assert_eq!(protected_resource_url(resource), metadata);
    }
}
