use std::fmt;
use std::time::Duration;

use holdpoint_api::{Limits, SecretHash};
use url::Url;

use crate::random::{self, NoRandomness};

/// What a Gate has to be told before it can answer.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where browsers and agents reach it: scheme, host and port.
    pub public_url: Url,
    /// Whose Gate it is, for webhooks.
    pub tenant_id: String,
    /// Opens the admin API; without one there is none.
    pub admin_token: Option<AdminToken>,
    /// Host names it answers to, beside loopback and the public URL's.
    pub allowed_hosts: Vec<String>,
    /// How long somebody stays signed in.
    pub session_ttl: Duration,
    /// How long a sign-in link works.
    pub link_ttl: Duration,
    /// How much of everything.
    pub limits: ServerLimits,
}

impl Options {
    /// The usual settings for a Gate at `public_url`.
    #[must_use]
    pub fn new(public_url: Url) -> Self {
        Self {
            public_url,
            tenant_id: "local".to_owned(),
            admin_token: None,
            allowed_hosts: Vec::new(),
            session_ttl: Duration::from_hours(7 * 24),
            link_ttl: Duration::from_mins(15),
            limits: ServerLimits::default(),
        }
    }
}

/// How much of everything. Past each limit there is an answer that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// What one body may hold.
    pub body: Limits,
    /// Threads an agent may open at once; as many calls can be held before the rate below counts. Flooding reviewers
    /// is an attack on them.
    pub threads_burst: u32,
    /// Threads an agent may open per minute, after its burst; more than 60 000 count as that.
    pub threads_per_minute: u32,
    /// Polls that may wait at the same time; further ones are answered at once.
    pub waiters_max: usize,
    /// Polls of the feed of decisions that may wait at the same time, one per client that holds calls; further ones are
    /// answered at once.
    pub feeds_max: usize,
    /// Browser pages that may be kept up to date at the same time.
    pub live_max: usize,
    /// Threads on one page of the inbox.
    pub threads_shown: u32,
    /// Lines of a task's history on a thread's page.
    pub timeline_shown: u32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            body: Limits::DEFAULT,
            threads_burst: 1_000,
            threads_per_minute: 120,
            waiters_max: 4_096,
            feeds_max: 4_096,
            live_max: 256,
            threads_shown: 200,
            timeline_shown: 300,
        }
    }
}

/// The secret of the admin API. Compared in constant time, over hashes; `Debug` hides it.
#[derive(Clone)]
pub struct AdminToken(SecretHash);

/// Why a text is no admin token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an admin token has at least {ADMIN_TOKEN_CHARACTERS_MIN} visible ASCII characters")]
pub struct AdminTokenError;

const ADMIN_TOKEN_CHARACTERS_MIN: usize = 32;

impl AdminToken {
    /// Makes a new token: what opens the API, and its text, to be kept where only the operator can read it.
    pub fn generate() -> Result<(Self, String), NoRandomness> {
        let text = random::secret_text()?;
        Ok((Self(SecretHash::of(&text)), text))
    }

    /// Takes a token that was made before.
    pub fn parse(text: &str) -> Result<Self, AdminTokenError> {
        if text.len() < ADMIN_TOKEN_CHARACTERS_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AdminTokenError);
        }
        Ok(Self(SecretHash::of(text)))
    }

    pub(crate) fn opens(&self, text: &str) -> bool {
        self.0 == SecretHash::of(text)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// What is wrong with [`Options`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not a place a browser can go to.
    #[error("`{0}` is no address of a web server: http or https with a host and nothing behind it")]
    PublicUrl(String),
    /// Not a host name.
    #[error("`{0}` is no host name")]
    Host(String),
}

/// The public URL, taken apart once.
#[derive(Debug, Clone)]
pub(crate) struct PublicUrl {
    /// Scheme, host and port, as browsers write an origin.
    pub(crate) origin: String,
    pub(crate) host: String,
    pub(crate) secure: Transport,
    pub(crate) port: u16,
}

/// Whether what goes between browser and Gate is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Https,
    Http,
}

impl PublicUrl {
    pub(crate) fn parse(url: &Url) -> Result<Self, OptionsError> {
        let wrong = || OptionsError::PublicUrl(url.to_string());
        let secure = match url.scheme() {
            "https" => Transport::Https,
            "http" => Transport::Http,
            _ => return Err(wrong()),
        };
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if !plain || !anonymous {
            return Err(wrong());
        }
        Ok(Self {
            origin: url.origin().ascii_serialization(),
            host: url.host_str().ok_or_else(wrong)?.to_ascii_lowercase(),
            secure,
            port: url.port_or_known_default().ok_or_else(wrong)?,
        })
    }

    pub(crate) fn thread(&self, thread: &str) -> String {
        format!("{}/threads/{thread}", self.origin)
    }
}
