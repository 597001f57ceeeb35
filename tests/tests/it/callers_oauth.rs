//! Callers over HTTP with access tokens of an issuer.

use crate::callers::{bearer, call, house};
use crate::told::ran;
use anyhow::{Context as _, Result};
use holdpoint_e2e::{House, Request, Server, Till, TillServer};
use holdpoint_testkit::{Issuer, SigningKey};
use serde_json::{Value, json};

const AUDIENCE: &str = "holdpoint";

struct Place {
    till: Till,
    server: TillServer,
    _house: House,
    up: Server,
}

impl Place {
    fn trusting(issuer: &Issuer, more: &Value) -> Result<Self> {
        let till = Till::new()?;
        let server = till.serve()?;
        let mut oauth = json!({ "issuer": issuer.url() });
        for (key, value) in more.as_object().into_iter().flatten() {
            oauth[key] = value.clone();
        }
        let house = house(&server.url(), &json!({ "oauth": oauth }))?;
        let up = house.up()?;
        Ok(Self { till, server, _house: house, up })
    }

    fn call(&self, token: &str) -> Result<holdpoint_e2e::Answer> {
        let (name, value) = bearer(token);
        call(self.up.mcp_url("till")?, "refund", "a", &[(name, &value)])
    }

    fn runs(&self) -> Result<usize> {
        Ok(self.till.runs()?.len())
    }
}

fn now() -> Result<i64> {
    Ok(i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?)
}

#[test]
fn tokens_that_are_not_good() -> Result<()> {
    let issuer = Issuer::start();
    let place = Place::trusting(&issuer, &json!({ "audience": AUDIENCE, "scopes": ["tools"] }))?;
    let now = now()?;
    let good = issuer.claims(AUDIENCE, now);
    let but = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        issuer.token(&claims)
    };
    let key = issuer.key();
    for (what, token, status) in [
        ("no token", String::new(), 401),
        ("for somebody else", but("aud", json!("other")), 401),
        ("of another issuer", but("iss", json!("https://other.example")), 401),
        ("expired", but("exp", json!(now - 60)), 401),
        ("not good yet", but("nbf", json!(now + 300)), 401),
        ("unsigned", key.signed(&json!({ "alg": "none", "kid": "key-1" }), &good), 401),
        ("signed with the public key", key.confused(&good), 401),
        ("by a key that is not published", SigningKey::es256("key-9").token(&good), 401),
        ("by a stranger in the key's name", SigningKey::es256("key-1").token(&good), 401),
        ("for less", but("scope", json!("mail")), 403),
    ] {
        let answer = place.call(&token)?;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        let code = if status == 403 { "insufficient_scope" } else { "invalid_token" };
        assert!(challenge.contains(&format!("error=\"{code}\"")), "{what}: {challenge}");
        assert_eq!(place.runs()?, 0, "{what}");
    }
    assert_eq!(call(place.up.mcp_url("till")?, "refund", "a", &[])?.status, 401);
    assert_eq!(place.runs()?, 0);

    ran(&place.call(&issuer.token(&good))?.json(), "did a")?;
    assert_eq!(place.runs()?, 1);
    let token = issuer.token(&good);
    let headers = place.server.headers();
    assert!(!headers.iter().any(|line| line.contains(&token[..40].to_ascii_lowercase())), "{headers:?}");
    assert!(headers.contains(&"authorization: bearer of-our-own".to_owned()), "{headers:?}");
    Ok(())
}

#[test]
fn a_key_that_is_rotated() -> Result<()> {
    let issuer = Issuer::start();
    let place = Place::trusting(&issuer, &json!({ "audience": AUDIENCE }))?;
    let claims = issuer.claims(AUDIENCE, now()?);
    let old = issuer.token(&claims);
    assert_eq!(place.call(&old)?.status, 200);
    issuer.rotate(SigningKey::rsa("key-2", "RS256"));
    assert_eq!(place.call(&issuer.token(&claims))?.status, 200);
    assert_eq!(place.call(&old)?.status, 401);
    assert_eq!(place.runs()?, 2);
    Ok(())
}

#[test]
fn an_issuer_that_cannot_be_asked() -> Result<()> {
    let issuer = Issuer::start();
    issuer.set_down(true);
    let place = Place::trusting(&issuer, &json!({ "audience": AUDIENCE }))?;
    let token = issuer.token(&issuer.claims(AUDIENCE, now()?));
    let answer = place.call(&token)?;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(place.runs()?, 0);
    issuer.set_down(false);
    assert_eq!(place.call(&token)?.status, 200);
    assert_eq!(place.runs()?, 1);
    Ok(())
}

/// RFC 9728: what a client finds that knows nothing but the server's address, and what its token has to be for.
#[test]
fn the_way_in_is_described() -> Result<()> {
    let issuer = Issuer::start();
    let place = Place::trusting(&issuer, &json!({ "scopes": ["tools"] }))?;
    let url = place.up.mcp_url("till")?.to_owned();
    let missing = call(&url, "refund", "a", &[])?;
    assert_eq!(missing.status, 401);
    let challenge = missing.header("www-authenticate").context("no challenge")?;
    let (_, rest) = challenge.split_once("resource_metadata=\"").context("no metadata")?;
    let metadata = rest.split('"').next().context("no metadata")?;
    let base = url.strip_suffix("/servers/till/mcp").context("another address")?;
    assert_eq!(metadata, format!("{base}/.well-known/oauth-protected-resource/servers/till/mcp"));
    assert!(challenge.contains("scope=\"tools\""), "{challenge}");

    let described = Request::get(metadata).send()?;
    assert_eq!((described.status, described.header("content-type")), (200, Some("application/json")));
    let document = described.json();
    assert_eq!(document["resource"], json!(url));
    assert_eq!(document["authorization_servers"], json!([issuer.url()]));
    assert_eq!(document["scopes_supported"], json!(["tools"]));
    assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    let root = Request::get(&format!("{base}/.well-known/oauth-protected-resource")).send()?;
    assert_eq!((root.status, &root.json()["resource"]), (200, &json!(base)));
    assert_eq!(Request::post(metadata, "application/json", "{}").send()?.status, 405);
    for (header, value) in [("host", "evil.test"), ("origin", "https://evil.test")] {
        assert_eq!(Request::get(metadata).header(header, value).send()?.status, 403, "{header}");
    }
    assert_eq!(Request::get(&metadata.replace("till", "nobody")).send()?.status, 404);

    // Without an audience of its own, a token is for the very server.
    let resource = document["resource"].as_str().context("no resource")?;
    assert_eq!(
        place.call(&issuer.token(&issuer.claims(&resource.replace("till", "other"), now()?)))?.status,
        401
    );
    assert_eq!(place.runs()?, 0);
    ran(&place.call(&issuer.token(&issuer.claims(resource, now()?)))?.json(), "did a")?;
    assert_eq!(place.runs()?, 1);
    Ok(())
}
