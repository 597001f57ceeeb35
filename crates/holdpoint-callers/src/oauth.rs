//! Access tokens of one issuer, as JSON Web Tokens.

mod fetch;
mod jwk;
mod keys;
mod token;

use crate::{Known, Refusal, Resource};
use fetch::{Fetcher, Place};
use holdpoint_core::{Clock, Principal};
use keys::{IssuerKeys, NoKey};
use std::sync::Arc;
use token::{Claims, Unverified};

/// Whose tokens count, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthSettings {
    /// The issuer's identifier, letter for letter as it is in the tokens.
    pub issuer: String,
    /// Whom tokens must be for, one of these; empty: the server's own address as callers use it (RFC 8707).
    pub audiences: Vec<String>,
    /// Where the issuer's keys are; `None`: where its metadata says (RFC 8414, `OpenID` Connect Discovery).
    pub jwks_url: Option<String>,
    /// What a token must be good for, all of these.
    pub scopes: Vec<String>,
}

/// An issuer, and the keys that it publishes.
#[derive(Debug)]
pub struct OAuth {
    settings: OAuthSettings,
    keys: IssuerKeys,
    clock: Arc<dyn Clock>,
}

/// The issuer cannot be asked for its keys.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// Neither https, nor http on this machine.
    #[error("`{0}` is neither an https address nor an http address of this machine")]
    Address(String),
    /// The TLS library refuses to start.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl OAuth {
    /// Nothing is asked yet.
    pub fn new(settings: OAuthSettings, clock: Arc<dyn Clock>) -> Result<Self, OAuthError> {
        let fetcher = Fetcher::new()?;
        let place = match &settings.jwks_url {
            Some(url) => Place::keys(url)?,
            None => Place::of_issuer(&settings.issuer)?,
        };
        Ok(Self { keys: IssuerKeys::new(fetcher, place), settings, clock })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    pub(crate) fn scopes(&self) -> &[String] {
        &self.settings.scopes
    }

    /// Whether a principal is one of this issuer's.
    pub(crate) fn names(&self, principal: &Principal) -> bool {
        principal
            .as_str()
            .strip_prefix("oauth:")
            .and_then(|rest| rest.strip_prefix(self.issuer()))
            .is_some_and(|rest| rest.starts_with('#'))
    }

    /// Whose token it is.
    pub(crate) async fn check(&self, token: &str, resource: &Resource) -> Result<Known, Refusal> {
        let unverified = Unverified::read(token).map_err(Refusal::Invalid)?;
        let key = match self.keys.find(unverified.kid(), unverified.algorithm()).await {
            Ok(key) => key,
            Err(NoKey::Unknown) => return Err(Refusal::Invalid("the issuer has no such key")),
            Err(NoKey::Unreachable) => return Err(Refusal::Unavailable),
        };
        let claims = unverified.verified(&key).map_err(Refusal::Invalid)?;
        self.admit(&claims, resource)
    }

    fn admit(&self, claims: &Claims, resource: &Resource) -> Result<Known, Refusal> {
        if claims.issuer() != self.issuer() {
            return Err(Refusal::Invalid("the token is of another issuer"));
        }
        let audiences = &self.settings.audiences;
        let for_us = |audience: &str| {
            let own = audiences.is_empty() && audience == resource.url();
            own || audiences.iter().any(|ours| ours == audience)
        };
        if !claims.audiences().any(for_us) {
            return Err(Refusal::Invalid("the token is for somebody else"));
        }
        let good_for = claims.good_for(self.clock.now()).map_err(Refusal::Invalid)?;
        let subject = claims.subject().map_err(Refusal::Invalid)?;
        if !self.settings.scopes.iter().all(|scope| claims.scopes().any(|granted| granted == scope)) {
            return Err(Refusal::Scope);
        }
        // An issuer's identifier has no `#`, so where it ends is plain.
        let principal = Principal::new(format!("oauth:{}#{subject}", self.issuer()));
        Ok(Known { principal, good_for: Some(good_for) })
    }
}
