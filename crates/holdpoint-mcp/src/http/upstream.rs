//! The way to the server.

use super::{
    HttpOptionsError,
    body::{self, ProxyBody},
};
use crate::message::{IdKey, Object};
use bytes::Bytes;
use holdpoint_core::ServerName;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// One server, with the connections that are kept open to it.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
}

impl Upstream {
    pub(crate) fn new(uri: Uri, headers: HeaderMap) -> Result<Self, HttpOptionsError> {
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
            return Err(HttpOptionsError::Upstream(uri));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // Named here, so that it does not matter what the process installed.
        let provider = rustls::crypto::ring::default_provider();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)
            .map_err(|error| HttpOptionsError::Tls(Box::new(error)))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { client, uri, headers })
    }

    /// Sends once. `headers` are the client's, stripped.
    pub(crate) async fn send(
        &self,
        method: Method,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Error> {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        self.client.request(request).await
    }
}

/// Nothing came back from the server.
pub(super) fn unreachable(server: &ServerName, error: &Error) -> Response<ProxyBody> {
    tracing::warn!(%server, error = %chain(error), "the tool server gave no answer");
    body::plain(StatusCode::BAD_GATEWAY, "the tool server gave no answer\n")
}

/// An error with its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether no byte of the request went out, for certain: there was no connection to send it on, or it was still waiting for
/// its turn on one that ended. Everything else may have been read, even what failed half-way.
pub(super) fn never_sent(error: &Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut causes = causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>());
    error.is_connect() || causes.any(hyper::Error::is_canceled)
}

/// Whether `message` is the answer to the request `id`.
pub(super) fn is_answer_to(message: &str, id: &IdKey) -> bool {
    let Ok(object) = Object::read_leniently(message) else {
        return false;
    };
    object.get("method").is_none()
        && object.get("id").and_then(|raw| IdKey::read(raw.get())).is_some_and(|answered| answered == *id)
}
