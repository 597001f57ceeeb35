//! Who is looking.
//!
//! The session's secret lives in a cookie that scripts cannot read and other sites cannot send (`SameSite=Strict`).
//! So a link to a thread that is followed from another site comes without it, although its follower is signed in: the
//! answer then is a page that goes to the same address once more, from here.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};

use super::failure::PageFailure;
use crate::gate::{GateServer, Visitor};
use crate::options::{PublicUrl, Transport};

impl FromRequestParts<Arc<GateServer>> for Visitor {
    type Rejection = PageFailure;

    async fn from_request_parts(parts: &mut Parts, gate: &Arc<GateServer>) -> Result<Self, PageFailure> {
        let name = cookie_name(&gate.public);
        if let Some(unverified) = cookie(&parts.headers, &name)
            && let Some(visitor) = gate.visitor(unverified).await?
        {
            return Ok(visitor);
        }
        Err(match parts.method {
            Method::GET | Method::HEAD if from_elsewhere(&parts.headers) => PageFailure::ComeAgain,
            Method::GET | Method::HEAD => PageFailure::SignIn,
            _ => PageFailure::Unauthorized,
        })
    }
}

fn from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    matches!(site, Some(b"cross-site" | b"same-site"))
}

fn cookie<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Browsers share cookies between the ports of a host, so the port tells two Gates on one machine apart.
pub(super) fn cookie_name(public: &PublicUrl) -> String {
    match public.secure {
        Transport::Https => "__Host-holdpoint".to_owned(),
        Transport::Http => format!("holdpoint-{}", public.port),
    }
}

/// The header that sets the cookie; an empty `value` takes it away.
pub(super) fn set_cookie(public: &PublicUrl, value: &str, seconds: u64) -> String {
    let name = cookie_name(public);
    let secure = match public.secure {
        Transport::Https => "; Secure",
        Transport::Http => "",
    };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}
