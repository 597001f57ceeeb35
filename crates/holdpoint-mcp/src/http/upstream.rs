//! The way to the server.

use super::{
    HttpOptionsError,
    body::{self, ProxyBody},
    checks::{METHOD, PROTOCOL_VERSION, SESSION_ID},
    sse::Events,
};
use crate::{
    catalog::{ListError, ToolSource},
    guard::list_request,
    message::{IdKey, Object},
    random, reply,
};
use async_trait::async_trait;
use bytes::Bytes;
use holdpoint_core::ServerName;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
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
/// One page of tools.
const PAGE_BYTES_MAX: usize = 16 << 20;

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

/// Asks for the tools in the name of a request: same session, same revision.
#[derive(Debug)]
pub(super) struct Listing {
    upstream: Upstream,
    headers: HeaderMap,
    protocol: String,
    id: String,
}

impl Listing {
    pub(super) fn new(upstream: &Upstream, caller: &HeaderMap, protocol: String) -> Self {
        let mut headers = HeaderMap::new();
        for name in [SESSION_ID, PROTOCOL_VERSION] {
            if let Some(value) = caller.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(header::ACCEPT, accept);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if !protocol.is_empty() {
            headers.insert(METHOD, HeaderValue::from_static("tools/list"));
        }
        Self { upstream: upstream.clone(), headers, protocol, id: format!("holdpoint-{}", random::token()) }
    }
}

#[async_trait]
impl ToolSource for Listing {
    async fn page(&self, cursor: Option<&str>) -> Result<String, ListError> {
        let request = list_request(&self.id, cursor, &self.protocol);
        let response = self.upstream.send(Method::POST, self.headers.clone(), request.into()).await;
        let (parts, body) = response.map_err(|_| ListError::Unreachable)?.into_parts();
        if parts.status.is_success() && body::is_stream(&parts.headers) {
            let id = IdKey::Text(self.id.as_str().into());
            let mut events = Events::new(body, PAGE_BYTES_MAX);
            while let Some(event) = events.next().await.map_err(|_| ListError::Unreadable)? {
                if let Some(data) = event.data()
                    && is_answer_to(&data, &id)
                {
                    return Ok(data);
                }
            }
            return Err(ListError::Unreadable);
        }
        let body = body::collect_text(body, &parts.headers, PAGE_BYTES_MAX).await;
        let body = body.ok_or(ListError::Unreadable)?;
        if parts.status.is_success() {
            return Ok(body);
        }
        Err(ListError::Refused { status: Some(parts.status.as_u16()), error: reply::fragment_from(&body) })
    }
}

/// Whether `message` is the answer to the request `id`.
pub(super) fn is_answer_to(message: &str, id: &IdKey) -> bool {
    let Ok(object) = Object::read_leniently(message) else {
        return false;
    };
    object.get("method").is_none()
        && object.get("id").and_then(|raw| IdKey::read(raw.get())).is_some_and(|answered| answered == *id)
}
