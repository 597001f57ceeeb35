//! From the headers of a request to the principal it is of.

use crate::{KeyRing, OAuth, Refusal, Resource};
use async_trait::async_trait;
use holdpoint_api::CallerKey;
use holdpoint_core::{Principal, Standing, StillThere};
use http::{HeaderMap, HeaderValue, header};
use std::time::Duration;

/// Longer credentials are none.
const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// Who may call.
#[derive(Debug)]
pub struct Callers {
    keys: KeyRing,
    oauth: Option<OAuth>,
    strangers: Strangers,
}

/// What becomes of a request that brings no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// It is told to bring some.
    Refused,
    /// It is this principal's: whoever reaches the listener is on the same machine.
    Are(Principal),
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The principal.
    pub principal: Principal,
    /// For how long what was presented is good; `None`: until it is revoked.
    pub good_for: Option<Duration>,
}

/// What a request brings. Not checked.
enum Presented<'a> {
    Key(&'a str),
    Token(&'a str),
}

impl Callers {
    /// Those with a key of `keys`, and those with a token of `oauth`'s issuer.
    #[must_use]
    pub const fn new(keys: KeyRing, oauth: Option<OAuth>, strangers: Strangers) -> Self {
        Self { keys, oauth, strangers }
    }

    /// Who sent a request with these headers to `resource`.
    ///
    /// # Errors
    /// Nobody who may call it, or it cannot be told.
    pub async fn authenticate(&self, headers: &HeaderMap, resource: &Resource) -> Result<Known, Refusal> {
        match (presented(headers)?, &self.oauth) {
            (None, _) => match &self.strangers {
                Strangers::Refused => Err(Refusal::Missing),
                Strangers::Are(principal) => Ok(Known { principal: principal.clone(), good_for: None }),
            },
            (Some(Presented::Key(key)), _) => self.with_key(key, resource).await,
            (Some(Presented::Token(token)), Some(oauth)) => oauth.check(token, resource).await,
            (Some(Presented::Token(_)), None) => Err(Refusal::Invalid("this is no key of a caller")),
        }
    }

    async fn with_key(&self, key: &str, resource: &Resource) -> Result<Known, Refusal> {
        let key = CallerKey::parse(key).map_err(|_| Refusal::Invalid("this key is mistyped or cut off"))?;
        let found = self.keys.find(&key).await.map_err(|error| Refusal::unavailable(&error))?;
        let caller = found.ok_or(Refusal::Invalid("this key is not known, or was revoked"))?;
        if !caller.may_call(resource.server()) {
            return Err(Refusal::OtherServer);
        }
        Ok(Known { principal: caller.principal(), good_for: None })
    }

    /// The scopes and the place that a challenge names.
    pub(crate) const fn oauth(&self) -> Option<&OAuth> {
        self.oauth.as_ref()
    }
}

#[async_trait]
impl Standing for Callers {
    async fn is_still(&self, principal: &Principal) -> StillThere {
        let admitted = match &self.strangers {
            Strangers::Are(stranger) => stranger == principal,
            Strangers::Refused => false,
        };
        let issued = self.oauth.as_ref().is_some_and(|oauth| oauth.names(principal));
        if admitted || issued {
            return StillThere::Yes;
        }
        match self.keys.stands(principal).await {
            Ok(standing) => standing,
            Err(error) => {
                tracing::error!(%error, "cannot tell whether a caller may still call, so its call does not run");
                StillThere::No
            }
        }
    }
}

/// The one `Authorization` header. Another scheme is no reason to take a request for one without credentials.
fn presented(headers: &HeaderMap) -> Result<Option<Presented<'_>>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(Refusal::Malformed("send one Authorization header")),
    };
    let token = bearer(value).ok_or(Refusal::Invalid("send `Authorization: Bearer` and a key or token"))?;
    Ok(Some(if token.starts_with(CallerKey::PREFIX) {
        Presented::Key(token)
    } else {
        Presented::Token(token)
    }))
}

/// The `b64token` of RFC 6750, section 2.1.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let usable = !token.is_empty() && token.len() <= CREDENTIAL_BYTES_MAX && token.bytes().all(plain);
    (scheme.eq_ignore_ascii_case("bearer") && usable).then_some(token)
}
