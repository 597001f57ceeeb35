//! Good tokens, and the issuer's keys.

use crate::door::{AUDIENCE, Door, URL, later, settings};
use holdpoint_callers::{OAuth, OAuthSettings, Refusal};
use holdpoint_core::{Principal, Standing as _, StillThere};
use holdpoint_testkit::{Issuer, ManualClock, SigningKey};
use serde_json::json;
use std::{sync::Arc, time::Duration};

const UNKNOWN: Refusal = Refusal::Invalid("the issuer has no such key");

fn good(issuer: &Issuer, door: &Door) -> String {
    issuer.token(&issuer.claims(AUDIENCE, door.now()))
}

#[tokio::test]
async fn every_algorithm() {
    let issuer = Issuer::start();
    let door = Door::oauth(settings(&issuer));
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    let mut keys: Vec<SigningKey> = rsa.map(|algorithm| SigningKey::rsa(algorithm, algorithm)).into();
    keys.extend([SigningKey::es256("a"), SigningKey::es384("b"), SigningKey::ed25519("c")]);
    issuer.publish(&keys.iter().collect::<Vec<_>>());
    for key in &keys {
        let known = door.bearer(&key.token(&issuer.claims(AUDIENCE, door.now()))).await.unwrap();
        assert_eq!(known.principal.as_str(), format!("oauth:{}#agent-7", issuer.url()));
        let good_for = known.good_for.unwrap();
        assert!((298..=300).contains(&good_for.as_secs()), "{good_for:?}");
    }
    // Nine tokens, one question.
    assert_eq!(issuer.asked(), ["/keys"]);
}

#[tokio::test]
async fn whom_a_token_is_for() {
    let issuer = Issuer::start();
    let named = Door::oauth(settings(&issuer));
    let own = Door::oauth(OAuthSettings { audiences: Vec::new(), ..settings(&issuer) });
    let token = |door: &Door, audience| {
        let mut claims = issuer.claims("", door.now());
        claims["aud"] = audience;
        issuer.token(&claims)
    };
    assert!(named.bearer(&token(&named, json!(["other", AUDIENCE]))).await.is_ok());
    assert!(own.bearer(&token(&own, json!(URL))).await.is_ok());
    for no in [json!(AUDIENCE), json!([]), json!(format!("{URL}/")), json!("https://holdpoint.example")] {
        assert!(matches!(own.bearer(&token(&own, no)).await, Err(Refusal::Invalid(_))));
    }
}

#[tokio::test]
async fn what_a_token_is_good_for() {
    let issuer = Issuer::start();
    let scopes = vec!["tools".to_owned(), "refunds".to_owned()];
    let door = Door::oauth(OAuthSettings { scopes, ..settings(&issuer) });
    let token = |field: &str, scopes| {
        let mut claims = issuer.claims(AUDIENCE, door.now());
        claims.as_object_mut().unwrap().remove("scope");
        claims[field] = scopes;
        issuer.token(&claims)
    };
    for (field, scopes) in [
        ("scope", json!("refunds x tools")),
        ("scp", json!(["refunds", "tools"])),
        ("scp", json!("tools refunds")),
    ] {
        assert!(door.bearer(&token(field, scopes)).await.is_ok());
    }
    for (field, scopes) in [
        ("scope", json!("tools")),
        ("scope", json!("tools,refunds")),
        ("scp", json!(["toolsrefunds"])),
        ("other", json!("tools refunds")),
    ] {
        assert_eq!(door.bearer(&token(field, scopes)).await, Err(Refusal::Scope));
    }
}

/// Clocks differ, a little.
#[tokio::test]
async fn times_are_a_little_wrong_at_most() {
    let issuer = Issuer::start();
    let door = Door::oauth(settings(&issuer));
    let token = |field: &str, from_now: i64| {
        let mut claims = issuer.claims(AUDIENCE, door.now());
        claims[field] = json!(door.now() + from_now);
        issuer.token(&claims)
    };
    let late = door.bearer(&token("exp", -20)).await.unwrap();
    assert_eq!(late.good_for, Some(Duration::ZERO));
    assert!(door.bearer(&token("nbf", 20)).await.is_ok());
    assert!(door.bearer(&token("iat", 20)).await.is_ok());
    assert_eq!(door.bearer(&token("exp", -31)).await, Err(Refusal::Invalid("the token has expired")));
    let early = Err(Refusal::Invalid("the token is not good yet"));
    assert_eq!(door.bearer(&token("nbf", 40)).await, early);
    assert_eq!(door.bearer(&token("iat", 40)).await, early);
}

#[tokio::test]
async fn a_key_that_is_rotated() {
    let issuer = Issuer::start();
    let door = Door::oauth(settings(&issuer));
    let old = good(&issuer, &door);
    assert!(door.bearer(&old).await.is_ok());
    issuer.rotate(SigningKey::ed25519("key-2"));
    assert!(door.bearer(&good(&issuer, &door)).await.is_ok());
    assert_eq!(door.bearer(&old).await, Err(UNKNOWN));
    // Nor does the old key come back under the new name.
    let stolen = SigningKey::es256("key-2").token(&issuer.claims(AUDIENCE, door.now()));
    assert_eq!(door.bearer(&stolen).await, Err(UNKNOWN));
}

/// Keys that were taken back are gone in minutes, though no token names a new one.
#[tokio::test]
async fn a_key_that_is_taken_back() {
    let issuer = Issuer::start();
    let door = Door::oauth(settings(&issuer));
    assert!(door.bearer(&good(&issuer, &door)).await.is_ok());
    issuer.publish(&[]);
    assert!(door.bearer(&good(&issuer, &door)).await.is_ok());
    later(Duration::from_mins(5)).await;
    assert_eq!(door.bearer(&good(&issuer, &door)).await, Err(UNKNOWN));
}

#[tokio::test]
async fn an_issuer_that_is_down() {
    let issuer = Issuer::start();
    let door = Door::oauth(settings(&issuer));
    issuer.set_down(true);
    assert_eq!(door.bearer(&good(&issuer, &door)).await, Err(Refusal::Unavailable));
    issuer.set_down(false);
    assert!(door.bearer(&good(&issuer, &door)).await.is_ok());
    issuer.set_down(true);
    // It was there a moment ago.
    later(Duration::from_mins(6)).await;
    assert!(door.bearer(&good(&issuer, &door)).await.is_ok());
    // That was long ago.
    later(Duration::from_mins(10)).await;
    assert_eq!(door.bearer(&good(&issuer, &door)).await, Err(Refusal::Unavailable));
}

/// Strangers do not make us ask the issuer as often as they like, and it is heard again soon.
#[tokio::test]
async fn how_often_the_issuer_is_asked() {
    let issuer = Issuer::start();
    let door = Door::oauth(settings(&issuer));
    for n in 0..20 {
        let stranger = SigningKey::es256(&format!("unknown-{n}"));
        let token = stranger.token(&issuer.claims(AUDIENCE, door.now()));
        assert_eq!(door.bearer(&token).await, Err(UNKNOWN));
    }
    assert_eq!(issuer.asked().len(), 3);
    issuer.rotate(SigningKey::es256("key-2"));
    assert_eq!(door.bearer(&good(&issuer, &door)).await, Err(UNKNOWN));
    later(Duration::from_secs(10)).await;
    assert!(door.bearer(&good(&issuer, &door)).await.is_ok());
    assert_eq!(issuer.asked().len(), 4);
}

/// Or a stranger who never stays for the answer could keep everybody out for as long as it likes.
#[tokio::test]
async fn a_question_is_asked_to_its_end_whoever_leaves() {
    let issuer = Issuer::start();
    let door = Door::oauth(settings(&issuer));
    let stranger = SigningKey::es256("unknown").token(&issuer.claims(AUDIENCE, door.now()));
    for before in 0..3 {
        let heard = async {
            while issuer.asked().len() <= before {
                tokio::task::yield_now().await;
            }
        };
        tokio::pin!(heard);
        // Until the issuer has heard of it, and not until it has answered.
        while issuer.asked().len() <= before {
            tokio::select! {
                biased;
                () = &mut heard => {}
                _answered = door.bearer(&stranger) => {}
            }
        }
    }
    assert!(door.bearer(&good(&issuer, &door)).await.is_ok());
    assert_eq!(issuer.asked().len(), 3);
}

/// Many at once are one question.
#[tokio::test]
async fn those_who_come_together_ask_once() {
    let issuer = Issuer::start();
    let door = Arc::new(Door::oauth(settings(&issuer)));
    let token = good(&issuer, &door);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (door, token) = (Arc::clone(&door), token.clone());
            tokio::spawn(async move { door.bearer(&token).await.is_ok() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(issuer.asked().len(), 1);
}

#[tokio::test]
async fn the_issuer_says_where_its_keys_are() {
    let issuer = Issuer::start();
    let discovered = || Door::oauth(OAuthSettings { jwks_url: None, ..settings(&issuer) });
    let door = discovered();
    assert!(door.bearer(&good(&issuer, &door)).await.is_ok());
    assert_eq!(issuer.asked(), ["/.well-known/oauth-authorization-server", "/keys"]);

    let metadata = json!({ "issuer": issuer.url(), "jwks_uri": issuer.keys_url() }).to_string();
    issuer.answer("/.well-known/oauth-authorization-server", 404, "");
    issuer.answer("/.well-known/openid-configuration", 200, &metadata);
    let door = discovered();
    assert!(door.bearer(&good(&issuer, &door)).await.is_ok());

    let elsewhere = Issuer::start();
    for wrong in [
        json!({ "issuer": format!("{}/", issuer.url()), "jwks_uri": issuer.keys_url() }),
        json!({ "issuer": issuer.url(), "jwks_uri": elsewhere.keys_url() }),
        json!({ "issuer": issuer.url(), "jwks_uri": "file:///etc/passwd" }),
        json!({ "issuer": issuer.url(), "jwks_uri": issuer.keys_url().replace("127.0.0.1", "localhost") }),
        json!({ "issuer": issuer.url() }),
    ] {
        issuer.answer("/.well-known/openid-configuration", 200, &wrong.to_string());
        let door = discovered();
        assert_eq!(door.bearer(&good(&issuer, &door)).await, Err(Refusal::Unavailable), "{wrong}");
    }
    assert_eq!(elsewhere.asked(), [] as [&str; 0]);
}

#[tokio::test]
async fn answers_that_are_no_keys() {
    let elsewhere = Issuer::start();
    let large = format!("{{\"keys\":[]{}}}", " ".repeat(600_000));
    let many = json!({ "keys": vec![SigningKey::es256("x").public(); 101] }).to_string();
    for (status, body) in [
        (302, elsewhere.keys_url()),
        (307, elsewhere.keys_url()),
        (500, String::new()),
        (204, String::new()),
        (200, "[]".to_owned()),
        (200, large),
        (200, many),
    ] {
        let issuer = Issuer::start();
        let door = Door::oauth(settings(&issuer));
        issuer.answer("/keys", status, &body);
        assert_eq!(door.bearer(&good(&issuer, &door)).await, Err(Refusal::Unavailable), "{status}");
    }
    assert_eq!(elsewhere.asked(), [] as [&str; 0]);
}

#[test]
fn issuers_that_cannot_be_asked_safely() {
    let new = |issuer: &str, jwks_url: Option<&str>| {
        let (audiences, scopes) = (Vec::new(), Vec::new());
        let jwks_url = jwks_url.map(str::to_owned);
        let settings = OAuthSettings { issuer: issuer.to_owned(), audiences, jwks_url, scopes };
        OAuth::new(settings, Arc::new(ManualClock::new())).map(drop)
    };
    for no in [
        "http://issuer.example",
        "http://127.0.0.1.evil.test",
        "http://localhost.evil.test",
        "https://me@issuer.example",
        "ftp://localhost",
        "issuer.example",
    ] {
        assert!(new(no, None).is_err(), "{no}");
        assert!(new("https://issuer.example", Some(no)).is_err(), "{no}");
    }
    for yes in ["https://issuer.example/a/", "http://localhost:8080", "http://127.0.0.9", "http://[::1]:1"] {
        assert!(new(yes, None).is_ok(), "{yes}");
    }
}

/// Principals of tokens stand as long as their issuer is trusted, and no others do.
#[tokio::test]
async fn whose_calls_go_on() {
    let issuer = Issuer::start();
    let door = Door::oauth(settings(&issuer));
    let still = async |principal: String| door.callers.is_still(&Principal::new(principal)).await;
    assert_eq!(still(format!("oauth:{}#agent-7", issuer.url())).await, StillThere::Yes);
    for no in [
        format!("oauth:{}0#agent-7", issuer.url()),
        "oauth:https://other.example#agent-7".to_owned(),
        format!("caller:{}#agent-7", issuer.url()),
        "local".to_owned(),
    ] {
        assert_eq!(still(no.clone()).await, StillThere::No, "{no}");
    }
}
