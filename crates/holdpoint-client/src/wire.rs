//! One request over HTTP: exactly one attempt, bounded in time and size.

use crate::{ClientError, ClientSettings, GateUrl, SetupError, Timeouts};
use holdpoint_api::{
    DecisionChanges, Limits,
    headers::{GATE_DECISION_FEED, GATE_LONG_POLL},
    paths,
};
use reqwest::{
    Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use url::Url;

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
    http: reqwest::Client,
    url: GateUrl,
    validate: Url,
    authorization: HeaderValue,
    timeouts: Timeouts,
    pub(crate) request_bytes_max: usize,
    answer_bytes_max: usize,
    /// What Gate announced; 0: nothing.
    long_poll_seconds: AtomicU64,
    /// Whether Gate announced a feed that we can read.
    has_feed: AtomicBool,
}

/// An answer whose body was read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
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
            validate: url.join(paths::VALIDATE),
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
        let mut request = Request::new(Method::GET, self.url.join(path));
        if let Some(wait) = wait {
            *request.timeout_mut() = Some(wait.saturating_add(self.timeouts.long_poll_grace));
        }
        self.send(request).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        body: reqwest::Body,
        header: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Reply, ClientError> {
        let mut request = posting(self.url.join(path), body);
        request.headers_mut().extend(header);
        self.send(request).await
    }

    pub(crate) async fn validate(&self, body: Vec<u8>) -> Result<Reply, ClientError> {
        self.send(posting(self.validate.clone(), body.into())).await
    }

    async fn send(&self, mut request: Request) -> Result<Reply, ClientError> {
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(ACCEPT, JSON);
        let response = self.http.execute(request).await.map_err(transport)?;
        self.note_announcements(response.headers());
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let body = if status.is_success() {
            read(response, self.answer_bytes_max).await?
        } else {
            // The status alone says that it failed; of validations the body says why.
            read(response, FAILURE_BYTES_MAX).await.unwrap_or_default()
        };
        Ok(Reply { status, retry_after, body })
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
fn http_client(url: &GateUrl, timeouts: Timeouts) -> Result<reqwest::Client, SetupError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // `Err`: somebody else was faster, which serves as well.
        let _installed = rustls::crypto::ring::default_provider().install_default();
    }
    let builder = reqwest::Client::builder()
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.total)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
    let builder = if url.is_encrypted() {
        builder.https_only(true)
    } else {
        // No TLS will be spoken: do not spend start-up time and memory on the system's root certificates.
        builder.tls_certs_only([])
    };
    builder.build().map_err(|error| SetupError::Http(Box::new(error)))
}

fn posting(url: Url, body: reqwest::Body) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(CONTENT_TYPE, JSON);
    *request.body_mut() = Some(body);
    request
}

async fn read(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, ClientError> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(ClientError::AnswerTooLarge(bytes_max));
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len().saturating_add(chunk.len()) > bytes_max {
            return Err(ClientError::AnswerTooLarge(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn transport(error: reqwest::Error) -> ClientError {
    let error = error.without_url();
    if error.is_connect() {
        ClientError::Unreachable(Box::new(error))
    } else if error.is_timeout() {
        ClientError::TimedOut
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
