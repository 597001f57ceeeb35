//! Asks an issuer for its keys, and nobody else.

use super::{OAuthError, jwk::KeySet};
use crate::metadata::{is_this_machine, split_origin};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use std::time::Duration;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// For all that it takes to have the keys.
const FETCHED_WITHIN: Duration = Duration::from_secs(10);
const DOCUMENT_BYTES_MAX: usize = 512 * 1024;

/// Where the keys are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// At this address.
    Keys(Uri),
    /// Where the issuer's metadata says: the first of these addresses that has any.
    Metadata { issuer: String, addresses: [Uri; 2] },
}

/// The keys could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("`{0}` did not answer in time")]
    Time(Uri),
    #[error("cannot reach `{url}`")]
    Unreachable { url: Uri, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("`{url}` answered {status}")]
    Status { url: Uri, status: StatusCode },
    #[error("`{0}` does not have what it should have")]
    Document(Uri),
    #[error("`{url}` is the metadata of another issuer than `{issuer}`")]
    OtherIssuer { url: Uri, issuer: String },
    #[error(
        "the issuer's keys are at `{0}`, another host than its own; write that as `jwks_url` if it is right"
    )]
    OtherHost(String),
}

#[derive(Deserialize)]
struct IssuerMetadata {
    issuer: String,
    jwks_uri: String,
}

/// Without redirects: they lead to hosts that nobody named.
#[derive(Clone, Debug)]
pub(super) struct Fetcher(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Place {
    pub(super) fn keys(url: &str) -> Result<Self, OAuthError> {
        address(url).map(Self::Keys)
    }

    /// RFC 8414, section 3, and `OpenID` Connect Discovery, section 4, which put the path at different ends.
    pub(super) fn of_issuer(issuer: &str) -> Result<Self, OAuthError> {
        let (origin, path) = split_origin(issuer);
        let oauth = address(&format!("{origin}/.well-known/oauth-authorization-server{path}"))?;
        let openid = address(&format!("{origin}{path}/.well-known/openid-configuration"))?;
        Ok(Self::Metadata { issuer: issuer.to_owned(), addresses: [oauth, openid] })
    }
}

impl Fetcher {
    pub(super) fn new() -> Result<Self, OAuthError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| OAuthError::Tls(Box::new(error)))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        // A few requests in minutes: no connection is worth keeping.
        Ok(Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)))
    }

    /// The keys that are published now.
    pub(super) async fn keys(&self, place: &Place) -> Result<KeySet, FetchError> {
        let (Place::Keys(first) | Place::Metadata { addresses: [first, _], .. }) = place;
        let fetched = tokio::time::timeout(FETCHED_WITHIN, self.keys_at(place)).await;
        fetched.unwrap_or_else(|_| Err(FetchError::Time(first.clone())))
    }

    async fn keys_at(&self, place: &Place) -> Result<KeySet, FetchError> {
        let url = match place {
            Place::Keys(url) => url.clone(),
            Place::Metadata { issuer, addresses } => self.discover(issuer, addresses).await?,
        };
        let bytes = self.document(&url).await?;
        KeySet::read(&bytes).ok_or(FetchError::Document(url))
    }

    async fn discover(&self, issuer: &str, [oauth, openid]: &[Uri; 2]) -> Result<Uri, FetchError> {
        let (url, bytes) = match self.document(oauth).await {
            Ok(bytes) => (oauth, bytes),
            Err(FetchError::Status { status, .. }) if status.is_client_error() => {
                (openid, self.document(openid).await?)
            }
            Err(error) => return Err(error),
        };
        let document: IssuerMetadata =
            serde_json::from_slice(&bytes).map_err(|_| FetchError::Document(url.clone()))?;
        // RFC 8414, section 3.3: or one issuer could speak for another.
        if document.issuer != issuer {
            return Err(FetchError::OtherIssuer { url: url.clone(), issuer: issuer.to_owned() });
        }
        let keys =
            address(&document.jwks_uri).map_err(|_| FetchError::OtherHost(document.jwks_uri.clone()))?;
        let same_host = keys.scheme() == url.scheme() && keys.authority() == url.authority();
        if same_host { Ok(keys) } else { Err(FetchError::OtherHost(document.jwks_uri)) }
    }

    async fn document(&self, url: &Uri) -> Result<Bytes, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url.clone();
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let unreachable = |source| FetchError::Unreachable { url: url.clone(), source };
        let response = self.0.request(request).await.map_err(|error| unreachable(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { url: url.clone(), status: response.status() });
        }
        let body = Limited::new(response.into_body(), DOCUMENT_BYTES_MAX).collect().await;
        Ok(body.map_err(unreachable)?.to_bytes())
    }
}

/// https, or http on this machine; nothing in it that is not an address.
fn address(url: &str) -> Result<Uri, OAuthError> {
    let refused = || OAuthError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let host = uri.host().ok_or_else(refused)?;
    let plain =
        uri.authority().is_some_and(|authority| !authority.as_str().contains('@')) && !url.contains('#');
    let safe = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_this_machine(host),
        Some(_) | None => false,
    };
    if plain && safe { Ok(uri) } else { Err(refused()) }
}
