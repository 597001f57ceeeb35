//! What a request is told that is not let in: RFC 6750, section 3, and RFC 9728, section 5.1.

use crate::{Callers, Resource};
use http::{HeaderValue, Response, StatusCode, header};
use std::fmt::Write as _;

/// When to come back if it could not be told who calls, in seconds.
const RETRY_AFTER_SECONDS: &str = "5";

/// Why a request goes no further. Says nothing of keys or callers that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It brings no credentials, and here they are needed.
    Missing,
    /// It cannot be read.
    Malformed(&'static str),
    /// What it brings is worth nothing, or nothing any more.
    Invalid(&'static str),
    /// A token that is good for less.
    Scope,
    /// A key that is for other servers.
    OtherServer,
    /// It cannot be told now.
    Unavailable,
}

impl Refusal {
    /// It is for the operator to know why.
    pub(crate) fn unavailable(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let chain = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        tracing::error!("cannot tell who calls, so nobody is let in: {chain}");
        Self::Unavailable
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Missing | Self::Invalid(_) => StatusCode::UNAUTHORIZED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Scope | Self::OtherServer => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Missing => "send a key or an access token: `Authorization: Bearer ...`",
            Self::Malformed(why) | Self::Invalid(why) => why,
            Self::Scope => "the access token lacks a scope that is needed here",
            Self::OtherServer => "this key is not for this server",
            Self::Unavailable => "it cannot be told now who you are; nothing was run",
        }
    }

    /// The error codes of RFC 6750, section 3.1. A request without credentials is told none.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::OtherServer | Self::Unavailable => None,
            Self::Malformed(_) => Some("invalid_request"),
            Self::Invalid(_) => Some("invalid_token"),
            Self::Scope => Some("insufficient_scope"),
        }
    }
}

impl Callers {
    /// The answer to a request to `resource` that goes no further.
    #[must_use]
    pub fn refuse(&self, refusal: Refusal, resource: &Resource) -> Response<String> {
        let mut response = Response::new(format!("{}\n", refusal.text()));
        *response.status_mut() = refusal.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match refusal {
            Refusal::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
            }
            Refusal::OtherServer => {}
            Refusal::Missing | Refusal::Malformed(_) | Refusal::Invalid(_) | Refusal::Scope => {
                let challenge = HeaderValue::from_str(&self.challenge(refusal, resource));
                let plain = HeaderValue::from_static("Bearer realm=\"holdpoint\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge.unwrap_or(plain));
            }
        }
        response
    }

    fn challenge(&self, refusal: Refusal, resource: &Resource) -> String {
        let mut challenge = "Bearer realm=\"holdpoint\"".to_owned();
        let mut say = |name: &str, value: &str| {
            let value = value.replace('`', "'").replace(['"', '\\'], "");
            let _infallible = write!(challenge, ", {name}=\"{value}\"");
        };
        if let Some(code) = refusal.code() {
            say("error", code);
            say("error_description", refusal.text());
        }
        if let Some(oauth) = self.oauth() {
            if !oauth.scopes().is_empty() {
                say("scope", &oauth.scopes().join(" "));
            }
            say("resource_metadata", resource.metadata_url());
        }
        challenge
    }
}
