use holdpoint_api::{ApiKey, Limits};
use http::{
    Uri,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};
use std::{fmt, time::Duration};
use url::{Host, Url};

/// Where Gate is, and on what terms it is spoken to.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Where.
    pub url: GateUrl,
    /// As whom.
    pub key: ApiKey,
    /// How long an answer may take.
    pub timeouts: Timeouts,
    /// The largest body that is sent.
    pub request_bytes_max: usize,
    /// The largest body that is read.
    pub answer_bytes_max: usize,
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// From the first byte sent to the last byte read.
    pub total: Duration,
    /// What a long poll may take beyond the wait it asked for.
    pub long_poll_grace: Duration,
}

impl ClientSettings {
    /// The usual terms.
    #[must_use]
    pub fn new(url: GateUrl, key: ApiKey) -> Self {
        Self {
            url,
            key,
            timeouts: Timeouts::default(),
            request_bytes_max: Limits::DEFAULT.body_bytes,
            answer_bytes_max: 1024 * 1024,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(15),
            long_poll_grace: Duration::from_secs(10),
        }
    }
}

/// Whether keys and payloads may travel unencrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// Within this machine.
    LoopbackOnly,
    /// Anywhere: the operator vouches for the network.
    Allowed,
}

/// The base URL of a Gate.
#[derive(Clone, PartialEq, Eq)]
pub struct GateUrl {
    /// Without a slash at its end.
    base: String,
    /// The same, taken apart once: hosts are not parsed again for every request.
    scheme: Scheme,
    authority: Authority,
    /// Where Gate lives below; empty at a root.
    below: String,
}

/// Why a text is no base URL of a Gate. It does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateUrlError {
    /// No URL at all.
    #[error("this is no URL")]
    Syntax(#[from] url::ParseError),
    /// Neither `https` nor `http`.
    #[error("gate's URL must start with `https://`")]
    Scheme,
    /// Plain HTTP to another machine.
    #[error(
        "gate's URL is plain HTTP to another machine: the key and every payload could be read on the way"
    )]
    PlainHttp,
    /// User and password.
    #[error("gate's URL must not hold a user or a password: the key goes into `STACKSONA_API_KEY`")]
    Credentials,
    /// A query or a fragment.
    #[error("gate's URL must not have a query or a fragment")]
    Query,
}

impl GateUrlError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Syntax(_) | Self::Scheme => {
                "set it to the URL Gate is reached at, such as https://gate.example.com"
            }
            Self::PlainHttp => "use https://, or reach Gate through a tunnel that ends on this machine",
            Self::Credentials | Self::Query => "remove that part of the URL",
        }
    }
}

impl GateUrl {
    /// Reads a base URL. A path is kept: Gate may live below one.
    pub fn parse(text: &str, plain_http: PlainHttp) -> Result<Self, GateUrlError> {
        let url = Url::parse(text)?;
        let encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(GateUrlError::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(GateUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(GateUrlError::Query);
        }
        if !encrypted && plain_http == PlainHttp::LoopbackOnly && !is_loopback(&url) {
            return Err(GateUrlError::PlainHttp);
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        let uri: Uri =
            base.parse().map_err(|_| GateUrlError::Syntax(url::ParseError::InvalidDomainCharacter))?;
        let Parts { scheme: Some(scheme), authority: Some(authority), .. } = uri.into_parts() else {
            return Err(GateUrlError::Scheme);
        };
        let below = url.path().trim_end_matches('/').to_owned();
        Ok(Self { base, scheme, authority, below })
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.base
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// `path` comes from [`holdpoint_api::paths`], which encodes whatever is not ours; with a query, if it has one.
    pub(crate) fn join(&self, path: &str) -> Result<Uri, http::Error> {
        let path = if self.below.is_empty() {
            PathAndQuery::try_from(path)?
        } else {
            PathAndQuery::try_from(format!("{}{path}", self.below))?
        };
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Ok(Uri::from_parts(parts)?)
    }
}

impl fmt::Debug for GateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GateUrl").field(&self.base).finish()
    }
}

impl fmt::Display for GateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
