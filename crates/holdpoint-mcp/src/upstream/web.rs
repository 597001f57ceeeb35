//! A tool server that speaks streamable HTTP.

use super::{Reached, SendError, ServerAddressError, UpstreamBody};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
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
pub(crate) struct WebServer {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
}

impl WebServer {
    pub(super) fn new(uri: Uri, headers: HeaderMap) -> Result<Self, ServerAddressError> {
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
            return Err(ServerAddressError::Url(uri));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // Named here, so that it does not matter what the process installed.
        let provider = rustls::crypto::ring::default_provider();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)
            .map_err(|error| ServerAddressError::Tls(Box::new(error)))?
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
    pub(super) async fn send(
        &self,
        method: Method,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<UpstreamBody>, SendError> {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        match self.client.request(request).await {
            Ok(response) => Ok(response.map(UpstreamBody::Web)),
            Err(error) => Err(SendError::new(reached(&error), error)),
        }
    }
}

/// No byte went out, for certain, where there was no connection to send it on, or it was still waiting for its turn on one
/// that ended. Everything else may have been read, even what failed half-way.
fn reached(error: &Error) -> Reached {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut causes = causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>());
    if error.is_connect() || causes.any(hyper::Error::is_canceled) { Reached::Nobody } else { Reached::Maybe }
}
