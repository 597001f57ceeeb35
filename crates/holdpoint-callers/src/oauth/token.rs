//! One token, first unverified, then as its issuer signed it: RFC 7515, 7519, 8725, 9068.

use super::jwk::{Algorithm, Key};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Number;
use std::time::Duration;

/// How far the issuer's clock may be from ours.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// `OpenID` Connect Core, section 2.
const SUBJECT_BYTES_MAX: usize = 255;
/// What a token for bearers calls itself, if it does. A signed logout or event is no token.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

const UNREADABLE: &str = "this is no access token that can be read here";

/// A token that says things that nobody has vouched for yet.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    algorithm: Algorithm,
    kid: String,
    /// Header and payload, as they were signed.
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

/// What the issuer signed.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    exp: Number,
    nbf: Option<Number>,
    iat: Option<Number>,
    scope: Option<String>,
    /// The same at issuers that have it from elsewhere.
    scp: Option<OneOrMany>,
    /// Only whoever holds another key may use it, which cannot be checked here.
    cnf: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'a> Unverified<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or(UNREADABLE)?;
        let (header, payload) = signed.split_once('.').ok_or(UNREADABLE)?;
        if payload.contains('.') {
            return Err(UNREADABLE);
        }
        let header: Header = object(header)?;
        let algorithm =
            Algorithm::read(&header.alg).ok_or("tokens that are signed like this are not accepted")?;
        let typ = header.typ.map(|typ| typ.to_ascii_lowercase());
        if typ.is_some_and(|typ| !TYPES.contains(&typ.as_str())) {
            return Err("this is signed, but no access token");
        }
        if header.crit.is_some() {
            return Err("the token needs something that is not known here");
        }
        let kid = header.kid.ok_or("the token does not say which key it was signed with")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| UNREADABLE)?;
        Ok(Self { algorithm, kid, signed, payload, signature })
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn verified(self, key: &Key) -> Result<Claims, &'static str> {
        let message = self.signed.as_bytes();
        key.verify(self.algorithm, message, &self.signature).map_err(|_| "the token's signature is wrong")?;
        object(self.payload)
    }
}

impl Claims {
    pub(super) fn issuer(&self) -> &str {
        &self.iss
    }

    pub(super) fn audiences(&self) -> impl Iterator<Item = &str> {
        self.aud.iter()
    }

    /// Fit for a principal.
    pub(super) fn subject(&self) -> Result<&str, &'static str> {
        let fits = !self.sub.is_empty() && self.sub.len() <= SUBJECT_BYTES_MAX;
        if fits && !self.sub.chars().any(char::is_control) {
            Ok(&self.sub)
        } else {
            Err("the token's subject cannot be used")
        }
    }

    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        let listed = self.scp.iter().flat_map(OneOrMany::iter);
        self.scope.iter().map(String::as_str).chain(listed).flat_map(|scopes| scopes.split(' '))
    }

    /// For how long from `now` on.
    pub(super) fn good_for(&self, now: Timestamp) -> Result<Duration, &'static str> {
        if self.cnf.is_some() {
            return Err("the token is bound to a key, which cannot be checked here");
        }
        let expires = time(&self.exp)?;
        if now >= late(expires) {
            return Err("the token has expired");
        }
        for since in [&self.nbf, &self.iat].into_iter().flatten() {
            if late(now) < time(since)? {
                return Err("the token is not good yet");
            }
        }
        Ok(Duration::try_from(expires.duration_since(now)).unwrap_or(Duration::ZERO))
    }
}

impl OneOrMany {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        };
        texts.iter().map(String::as_str)
    }
}

fn late(time: Timestamp) -> Timestamp {
    time.saturating_add(SKEW).unwrap_or(Timestamp::MAX)
}

/// `NumericDate` of RFC 7519: seconds, perhaps with a fraction.
fn time(seconds: &Number) -> Result<Timestamp, &'static str> {
    let whole = seconds.as_i64().map(SignedDuration::from_secs);
    let since = whole.or_else(|| SignedDuration::try_from_secs_f64(seconds.as_f64()?).ok());
    since
        .and_then(|since| Timestamp::UNIX_EPOCH.checked_add(since).ok())
        .ok_or("the token's times cannot be used")
}

/// A JSON object in base64url. serde would take an array for a struct as well.
fn object<T: DeserializeOwned>(part: &str) -> Result<T, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| UNREADABLE)?;
    let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
    let read = if is_object { serde_json::from_slice(&bytes).ok() } else { None };
    read.ok_or(UNREADABLE)
}
