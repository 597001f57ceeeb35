//! Tokens that look good.

use crate::door::{AUDIENCE, Door, settings};
use holdpoint_callers::Refusal;
use holdpoint_testkit::{Issuer, SigningKey};
use serde_json::{Value, json};

async fn refused(issuer: &Issuer, token: &str) {
    let door = Door::oauth(settings(issuer));
    let refused = door.bearer(token).await;
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{token}: {refused:?}");
}

fn claims(issuer: &Issuer) -> Value {
    issuer.claims(AUDIENCE, Door::new().now())
}

#[tokio::test]
async fn claims_that_are_missing_or_wrong() {
    let issuer = Issuer::start();
    let now = Door::new().now();
    for (claim, value) in [
        ("iss", json!("https://other.example")),
        ("iss", json!(format!("{}/", issuer.url()))),
        ("iss", json!([issuer.url()])),
        ("aud", json!("somebody-else")),
        ("aud", json!(null)),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!("a".repeat(256))),
        ("sub", json!(7)),
        ("exp", json!(now - 60)),
        ("exp", json!((now + 60).to_string())),
        ("exp", json!(1e300)),
        ("exp", json!(null)),
        ("nbf", json!(now + 60)),
        ("iat", json!(now + 3_600)),
        ("cnf", json!({ "jkt": "x" })),
    ] {
        let mut claims = claims(&issuer);
        claims[claim] = value;
        refused(&issuer, &issuer.token(&claims)).await;
    }
    for claim in ["iss", "aud", "sub", "exp"] {
        let mut claims = claims(&issuer);
        claims.as_object_mut().unwrap().remove(claim);
        refused(&issuer, &issuer.token(&claims)).await;
    }
}

#[tokio::test]
async fn headers_that_say_something_else() {
    let issuer = Issuer::start();
    let key = issuer.key();
    for header in [
        json!({ "alg": "none", "kid": "key-1" }),
        json!({ "alg": "None", "kid": "key-1" }),
        json!({ "alg": "HS256", "kid": "key-1" }),
        json!({ "alg": "RS256", "kid": "key-1" }),
        json!({ "alg": "ES384", "kid": "key-1" }),
        json!({ "alg": "EdDSA", "kid": "key-1" }),
        json!({ "kid": "key-1" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "ES256", "kid": "key-2" }),
        json!({ "alg": "ES256", "kid": "key-1", "typ": "logout+jwt" }),
        json!({ "alg": "ES256", "kid": "key-1", "crit": ["exp"] }),
        json!(["ES256", "key-1", null, null]),
        // A key that the token brings along.
        json!({ "alg": "ES256", "kid": "mine", "jwk": SigningKey::es256("mine").public() }),
    ] {
        refused(&issuer, &key.signed(&header, &claims(&issuer))).await;
    }
    for typ in ["JWT", "at+jwt", "application/at+JWT"] {
        let header = json!({ "alg": "ES256", "kid": "key-1", "typ": typ });
        let token = key.signed(&header, &claims(&issuer));
        assert!(Door::oauth(settings(&issuer)).bearer(&token).await.is_ok(), "{typ}");
    }
}

#[tokio::test]
async fn signatures_that_are_none() {
    let issuer = Issuer::start();
    let good = issuer.token(&claims(&issuer));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let mut other = claims(&issuer);
    other["sub"] = json!("admin");
    let others = issuer.token(&other);
    let payload_of_another = others.split('.').nth(1).unwrap();
    for token in [
        format!("{message}."),
        message.to_owned(),
        format!("{header}.{payload_of_another}.{signature}"),
        format!("{message}.{signature}."),
        format!(".{good}"),
        format!("{message}.{}", &signature[..80]),
        format!("{message}.{signature}="),
        format!("{message}.{}", "A".repeat(86)),
        SigningKey::es256("key-1").token(&claims(&issuer)),
        issuer.key().confused(&claims(&issuer)),
        "a.b.c".to_owned(),
        "..".to_owned(),
    ] {
        refused(&issuer, &token).await;
    }
    assert!(Door::oauth(settings(&issuer)).bearer(&good).await.is_ok());
}

/// The same with the one key for which it was once a hole: RSA, whose public key everybody has.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    let issuer = Issuer::start();
    issuer.rotate(SigningKey::rsa("key-1", "RS256"));
    refused(&issuer, &issuer.key().confused(&claims(&issuer))).await;
    let door = Door::oauth(settings(&issuer));
    assert!(door.bearer(&issuer.token(&claims(&issuer))).await.is_ok());
}

#[tokio::test]
async fn keys_that_are_not_for_this() {
    let good = SigningKey::es256("key-1");
    let with = |field: &str, value: Value| {
        let mut key = good.public();
        key[field] = value;
        vec![key]
    };
    for keys in [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("ES384")),
        with("alg", json!("HS256")),
        with("kty", json!("oct")),
        with("crv", json!("P-384")),
        with("crv", json!("secp256k1")),
        with("x", json!("AAAA")),
        with("kid", json!(null)),
        vec![good.public(), good.public()],
        vec![good.public(), SigningKey::es256("key-1").public()],
    ] {
        let issuer = Issuer::start();
        issuer.answer("/keys", 200, &json!({ "keys": keys }).to_string());
        refused(&issuer, &good.token(&claims(&issuer))).await;
    }
    // One that is not understood does not take the others along.
    let issuer = Issuer::start();
    let odd = json!({ "kty": "AKP", "kid": "pq", "alg": "ML-DSA-44" });
    issuer.answer("/keys", 200, &json!({ "keys": [odd, 7, good.public()] }).to_string());
    let door = Door::oauth(settings(&issuer));
    assert!(door.bearer(&good.token(&claims(&issuer))).await.is_ok());
}
