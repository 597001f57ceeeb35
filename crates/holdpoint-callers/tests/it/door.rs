//! A door with one server behind it.

use holdpoint_callers::{Callers, KeyRing, Known, OAuth, OAuthSettings, Refusal, Resource, Strangers};
use holdpoint_core::{Clock as _, Principal, ServerName};
use holdpoint_testkit::{Issuer, ManualClock};
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

pub(crate) const AUDIENCE: &str = "holdpoint";
pub(crate) const URL: &str = "https://holdpoint.example/servers/payments/mcp";

pub(crate) struct Door {
    pub(crate) folder: TempDir,
    pub(crate) keys: KeyRing,
    pub(crate) callers: Callers,
    pub(crate) clock: Arc<ManualClock>,
}

/// What the tests' issuer is trusted for.
pub(crate) fn settings(issuer: &Issuer) -> OAuthSettings {
    OAuthSettings {
        issuer: issuer.url(),
        audiences: vec![AUDIENCE.to_owned()],
        jwks_url: Some(issuer.keys_url()),
        scopes: Vec::new(),
    }
}

pub(crate) fn resource() -> Resource {
    Resource::new(ServerName::new("payments"), URL.to_owned())
}

impl Door {
    /// Keys only, and nobody without.
    pub(crate) fn new() -> Self {
        Self::with(None, Strangers::Refused)
    }

    pub(crate) fn open_to(stranger: &str) -> Self {
        Self::with(None, Strangers::Are(Principal::new(stranger)))
    }

    pub(crate) fn oauth(settings: OAuthSettings) -> Self {
        Self::with(Some(settings), Strangers::Refused)
    }

    fn with(oauth: Option<OAuthSettings>, strangers: Strangers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyRing::new(folder.path());
        let clock = Arc::new(ManualClock::new());
        let oauth = oauth.map(|settings| OAuth::new(settings, Arc::clone(&clock) as _).unwrap());
        let callers = Callers::new(keys.clone(), oauth, strangers);
        Self { folder, keys, callers, clock }
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// The key of a new caller, as its holder has it.
    pub(crate) fn key(&self, name: &str) -> String {
        let random = std::array::from_fn(|at| u8::try_from(at).unwrap() ^ name.as_bytes()[0]);
        let (key, _) = self.keys.create(name, None, &random, Timestamp::UNIX_EPOCH).unwrap();
        key.expose().to_owned()
    }

    pub(crate) async fn knock(&self, headers: &HeaderMap) -> Result<Known, Refusal> {
        self.callers.authenticate(headers, &resource()).await
    }

    pub(crate) async fn bearer(&self, token: &str) -> Result<Known, Refusal> {
        self.knock(&authorization(&format!("Bearer {token}"))).await
    }

    /// Who comes in with it.
    pub(crate) async fn principal(&self, token: &str) -> String {
        self.bearer(token).await.unwrap().principal.as_str().to_owned()
    }
}

pub(crate) fn authorization(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
}

/// Lets time pass that nobody waits for. It runs by itself again after that: sockets need it.
pub(crate) async fn later(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}
