//! One request over HTTP: exactly one attempt, bounded in time and size.

use crate::{ClientError, ClientSettings, GateUrl, SetupError, Timeouts};
use bytes::Bytes;
use holdpoint_api::{
    DecisionChanges, Limits,
    headers::{GATE_DECISION_FEED, GATE_LONG_POLL},
    paths,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error, ResponseFuture, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::de::DeserializeOwned;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What is read of a body that only accompanies a failure.
const FAILURE_BYTES_MAX: usize = 16 * 1024;
/// The longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);
/// Enough for every call that waits and every call that asks at once.
const IDLE_CONNECTIONS_MAX: usize = 1024;
const IDLE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Wire {
    http: HttpClient,
    url: GateUrl,
    validate: Uri,
    authorization: HeaderValue,
    timeouts: Timeouts,
    pub(crate) request_bytes_max: usize,
    answer_bytes_max: usize,
    /// What Gate announced; 0: nothing.
    long_poll_seconds: AtomicU64,
    /// Whether Gate announced a feed that we can read.
    has_feed: AtomicBool,
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// An answer whose body was read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Wire {
    pub(crate) fn new(settings: ClientSettings) -> Result<Self, SetupError> {
        let ClientSettings { url, key, timeouts, request_bytes_max, answer_bytes_max } = settings;
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose()));
        if let Ok(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self {
            http: http_client(&url, timeouts)?,
            validate: url.join(paths::VALIDATE).map_err(|error| SetupError::Http(Box::new(error)))?,
            url,
            authorization: authorization.map_err(|_| SetupError::Key)?,
            timeouts,
            request_bytes_max,
            answer_bytes_max,
            long_poll_seconds: AtomicU64::new(0),
            has_feed: AtomicBool::new(false),
        })
    }

    /// How long a poll may wait at Gate; `None`: this Gate never said that it can, so it may not be ours.
    pub(crate) fn long_poll(&self) -> Option<Duration> {
        let seconds = self.long_poll_seconds.load(Ordering::Relaxed);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// Whether this Gate said that it has a feed of decisions.
    pub(crate) fn has_feed(&self) -> bool {
        self.has_feed.load(Ordering::Relaxed)
    }

    pub(crate) async fn get(&self, path: &str, wait: Option<Duration>) -> Result<Reply, ClientError> {
        let within =
            wait.map_or(self.timeouts.total, |wait| wait.saturating_add(self.timeouts.long_poll_grace));
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri(&self.url, path)?;
        let response = self.send(request);
        self.take(response, within).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        body: Bytes,
        header: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Reply, ClientError> {
        let response = {
            let mut request = posting(uri(&self.url, path)?, body);
            request.headers_mut().extend(header);
            self.send(request)
        };
        self.take(response, self.timeouts.total).await
    }

    pub(crate) async fn validate(&self, body: Bytes) -> Result<Reply, ClientError> {
        let response = self.send(posting(self.validate.clone(), body));
        self.take(response, self.timeouts.total).await
    }

    /// Nothing is sent before the response is waited for. Not `async`: a request that a future keeps is moved with it.
    fn send(&self, mut request: Request<Full<Bytes>>) -> ResponseFuture {
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(ACCEPT, JSON);
        self.http.request(request)
    }

    async fn take(&self, response: ResponseFuture, within: Duration) -> Result<Reply, ClientError> {
        let whole = tokio::time::timeout(within, self.exchange(response)).await;
        whole.unwrap_or(Err(ClientError::TimedOut))
    }

    async fn exchange(&self, response: ResponseFuture) -> Result<Reply, ClientError> {
        let response = response.await.map_err(transport)?;
        self.note_announcements(response.headers());
        let (parts, body) = response.into_parts();
        let retry_after = retry_after(&parts.headers);
        let body = if parts.status.is_success() {
            read(body, self.answer_bytes_max).await?
        } else {
            // The status alone says that it failed; of validations the body says why.
            read(body, FAILURE_BYTES_MAX).await.unwrap_or_default()
        };
        Ok(Reply { status: parts.status, retry_after, body })
    }

    fn note_announcements(&self, headers: &HeaderMap) {
        let number = |name| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        if let Some(seconds) = number(GATE_LONG_POLL) {
            self.long_poll_seconds.store(seconds.min(Limits::LONG_POLL_SECONDS), Ordering::Relaxed);
        }
        if let Some(version) = number(GATE_DECISION_FEED) {
            self.has_feed.store(version == DecisionChanges::VERSION, Ordering::Relaxed);
        }
    }
}

impl Reply {
    /// The body of a 2xx.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        self.check_success()?;
        serde_json::from_slice(&self.body).map_err(|error| unreadable(&error))
    }

    pub(crate) fn check_success(&self) -> Result<(), ClientError> {
        if self.status.is_success() { Ok(()) } else { Err(self.failure()) }
    }

    pub(crate) fn failure(&self) -> ClientError {
        ClientError::Status { status: self.status.as_u16(), retry_after: self.retry_after }
    }
}

/// The one HTTP client. What it does not do matters most: no redirects, no retries, no proxy from the environment.
///
/// One retry is left in the layers below: a request that was queued on a connection that turned out closed is moved
/// to another one. Nothing of it was sent then (`hyper` hands back only messages it never started).
fn http_client(url: &GateUrl, timeouts: Timeouts) -> Result<HttpClient, SetupError> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(timeouts.connect));
    // Named here, so that it does not matter what the process installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(|error| SetupError::Http(Box::new(error)))?;
    let builder = HttpsConnectorBuilder::new();
    let connector = if url.is_encrypted() {
        // The system decides whom to trust: Gate may have a certificate of the house.
        let tls = tls.try_with_platform_verifier().map_err(|error| SetupError::Http(Box::new(error)))?;
        builder.with_tls_config(tls.with_no_client_auth()).https_only()
    } else {
        // No TLS will be spoken: do not spend start-up time and memory on the system's root certificates.
        let nobody = tls.with_root_certificates(rustls::RootCertStore::empty());
        builder.with_tls_config(nobody.with_no_client_auth()).https_or_http()
    };
    Ok(Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .pool_timer(TokioTimer::new())
        .build(connector.enable_http1().wrap_connector(tcp)))
}

fn uri(url: &GateUrl, path: &str) -> Result<Uri, ClientError> {
    url.join(path).map_err(|error| ClientError::Assemble(Box::new(error)))
}

fn posting(uri: Uri, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    request.headers_mut().insert(CONTENT_TYPE, JSON);
    request
}

async fn read(mut body: Incoming, bytes_max: usize) -> Result<Bytes, ClientError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(ClientError::AnswerTooLarge(bytes_max));
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ClientError::Broken(Box::new(error)))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len().saturating_add(data.len()) > bytes_max {
            return Err(ClientError::AnswerTooLarge(bytes_max));
        }
        if whole.is_empty() && data.len() == announced {
            // Most answers come in one piece, which is not copied.
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

fn transport(error: Error) -> ClientError {
    if error.is_connect() {
        ClientError::Unreachable(Box::new(error))
    } else {
        ClientError::Broken(Box::new(error))
    }
}

/// Where reading stopped, and no more: the error's own text quotes what it read.
pub(crate) fn unreadable(error: &serde_json::Error) -> ClientError {
    ClientError::Unreadable { line: error.line(), column: error.column() }
}

/// The number form only; a date would need a clock that agrees with Gate's.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
