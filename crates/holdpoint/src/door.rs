//! The door of the proxies over HTTP: who comes in, and as whom.

use crate::{clock::SystemClock, data::DataFolder, hints::Hinted as _, proxy::LOCAL};
use anyhow::{Context as _, Result, bail};
use axum::body::Body;
use holdpoint_bridge::{BridgeCaller, CHECKS};
use holdpoint_callers::{
    Callers, KeyRing, KeyRingError, Known, OAuth, OAuthSettings, Resource, Strangers, is_this_machine,
    protected_resource_url,
};
use holdpoint_config::{CallerSettings, Credentials};
use holdpoint_core::{Principal, ServerName, Standing};
use holdpoint_mcp::http::Authenticated;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use std::{collections::HashMap, net::SocketAddr, sync::Arc};

/// Everything that is asked before a request reaches a proxy.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    callers: Arc<Callers>,
    resources: Arc<HashMap<ServerName, Resource>>,
    /// Protected resource metadata, by path. Empty without OAuth.
    documents: Arc<HashMap<String, String>>,
}

impl Door {
    /// The door of the configured servers, which callers reach below `public_url`.
    pub(crate) fn new<'n>(
        config: &CallerSettings,
        servers: impl Iterator<Item = &'n ServerName>,
        data: &DataFolder,
        public_url: &str,
    ) -> Result<Self> {
        let keys = KeyRing::new(data.path());
        // A file that cannot be read is told of now, not when the first caller comes.
        let callers = keys.list().hinted(KeyRingError::hint)?;
        let oauth = config.oauth.clone().map(|issuer| {
            let settings = OAuthSettings {
                issuer: issuer.issuer,
                audiences: issuer.audience.into_iter().collect(),
                jwks_url: issuer.jwks_url,
                scopes: issuer.scopes,
            };
            OAuth::new(settings, Arc::new(SystemClock))
        });
        let oauth = oauth.transpose().context("the OAuth issuer of `callers` cannot be used")?;
        let strangers = match config.credentials {
            Credentials::Required => Strangers::Refused,
            Credentials::Optional | Credentials::Unsaid => Strangers::Are(Principal::new(LOCAL)),
        };
        if strangers == Strangers::Refused && callers.is_empty() && oauth.is_none() {
            tracing::warn!(
                "callers need a key, and nobody has one; `holdpoint callers create NAME` makes one"
            );
        }
        let url = |name: &ServerName| format!("{public_url}/servers/{name}/mcp");
        let resource = |name: &ServerName| (name.clone(), Resource::new(name.clone(), url(name)));
        let checks = ServerName::new(CHECKS);
        let bridge = (checks.clone(), Resource::new(checks, format!("{public_url}/v1")));
        let resources: HashMap<_, _> = servers.map(resource).chain([bridge]).collect();
        let documents = oauth.as_ref().map(|oauth| documents(oauth, public_url, &resources));
        Ok(Self {
            callers: Arc::new(Callers::new(keys, oauth, strangers)),
            resources: Arc::new(resources),
            documents: Arc::new(documents.unwrap_or_default()),
        })
    }

    /// Says of a caller whose call waited whether it may still call.
    pub(crate) fn standing(&self) -> Arc<dyn Standing> {
        Arc::clone(&self.callers) as Arc<dyn Standing>
    }

    /// Who calls the server `name`, or what the request is told instead. The only place where a request gets its caller.
    pub(crate) async fn admit(
        &self,
        name: &ServerName,
        headers: &HeaderMap,
    ) -> Result<Authenticated, Response<Body>> {
        Ok(match self.known(name, headers).await? {
            Known { principal, good_for: None } => Authenticated::standing(principal),
            Known { principal, good_for: Some(good_for) } => Authenticated::expiring(principal, good_for),
        })
    }

    /// Who calls the bridge, or what the request is told instead.
    pub(crate) async fn admit_to_bridge(&self, headers: &HeaderMap) -> Result<BridgeCaller, Response<Body>> {
        let Known { principal, good_for } = self.known(&ServerName::new(CHECKS), headers).await?;
        Ok(BridgeCaller { principal, good_for })
    }

    async fn known(&self, name: &ServerName, headers: &HeaderMap) -> Result<Known, Response<Body>> {
        let Some(resource) = self.resources.get(name) else {
            return Err(not_found());
        };
        match self.callers.authenticate(headers, resource).await {
            Ok(known) => Ok(known),
            Err(refusal) => {
                tracing::debug!(server = %name, ?refusal, "a request was not let in");
                Err(self.callers.refuse(refusal, resource).map(Body::from))
            }
        }
    }

    /// The protected resource metadata at a path.
    pub(crate) fn metadata(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let document = self.documents.get(path)?;
        let mut response = Response::new(Body::from(document.clone()));
        let headers = response.headers_mut();
        if *method == Method::GET {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        } else {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            *response.body_mut() = Body::empty();
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        }
        Some(response)
    }
}

/// Of each server, and of all of them together for clients that look at the root.
fn documents(
    oauth: &OAuth,
    public_url: &str,
    resources: &HashMap<ServerName, Resource>,
) -> HashMap<String, String> {
    let path = |url: &str| url.parse::<http::Uri>().map(|url| url.path().to_owned()).unwrap_or_default();
    let each = resources.iter().map(|(name, resource)| {
        (path(resource.metadata_url()), oauth.metadata(resource.url(), &format!("Holdpoint: {name}")))
    });
    let root = (path(&protected_resource_url(public_url)), oauth.metadata(public_url, "Holdpoint"));
    each.chain([root]).collect()
}

/// Whoever reaches the proxies is somebody, or on this machine.
pub(crate) fn refuse_open_doors(
    config: &CallerSettings,
    listen: SocketAddr,
    public_url: Option<&str>,
) -> Result<()> {
    let hint = "write `callers: { required: true }` in holdpoint.yaml, and make a key with `holdpoint callers create NAME`";
    match config.credentials {
        Credentials::Required => {
            if !listen.ip().is_loopback() {
                tracing::warn!(
                    "keys and tokens cross the network to {listen} as they are; put a proxy with TLS in front of it"
                );
            }
            Ok(())
        }
        Credentials::Optional | Credentials::Unsaid if !listen.ip().is_loopback() => bail!(
            "`{listen}` is not an address of this machine alone, and callers of the servers are not asked for a key\n  \
             hint: {hint}; or listen on 127.0.0.1"
        ),
        Credentials::Unsaid if public_url.is_some_and(leads_outside) => bail!(
            "others reach the servers at `{}`, and callers are not asked for a key\n  hint: {hint}; or \
             `callers: {{ required: false }}`, if what stands in front lets nobody in that should not be",
            public_url.unwrap_or_default(),
        ),
        Credentials::Optional | Credentials::Unsaid => Ok(()),
    }
}

fn leads_outside(url: &str) -> bool {
    let uri: Option<http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    !is_this_machine(host)
}

fn not_found() -> Response<Body> {
    let mut response = Response::new(Body::from("there is no such server\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
