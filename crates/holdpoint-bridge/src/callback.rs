//! Tells callers the last word at the address that they gave. The row is the outbox: it has an owner until the word arrived.

use crate::{
    inner::{ATTEMPTS_MAX, Becomes, Inner, Row, causes},
    options::{CallbackOptions, PrivateAddresses},
    problem::Problem,
    reply,
};
use bytes::Bytes;
use holdpoint_api::headers::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
use holdpoint_core::{JournalError, Moved, OperationId, OperationState};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_hours(1);
/// With these pauses, a day and some hours.
const DELIVERIES_MAX: u32 = 36;
/// For one delivery, after there is a connection.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
const URL_BYTES_MAX: usize = 4 * 1024;

/// What one delivery came to.
enum Delivered {
    Yes,
    /// The receiver wants no more.
    Gone,
    NotYet,
}

/// Whether `url` may be called back. The address of its host is checked when it is connected to.
pub(crate) fn check(url: &str, options: &CallbackOptions) -> Result<(), Problem> {
    let refuse = |detail: String| Err(Problem::bad_request(detail));
    if url.len() > URL_BYTES_MAX {
        return refuse(format!("the callback address is longer than {URL_BYTES_MAX} bytes"));
    }
    let Ok(parsed) = url::Url::parse(url) else {
        return refuse("the callback address is not a URL".to_owned());
    };
    // What is connected to is what is checked: readers of URLs do not agree about odd ones.
    let Some((uri, host)) = url.parse::<Uri>().ok().and_then(|uri| {
        let host = uri.host()?.to_ascii_lowercase();
        Some((uri, host))
    }) else {
        return refuse("the callback address is not a URL that can be sent to".to_owned());
    };
    let agrees = parsed.host_str().is_some_and(|parsed| parsed.eq_ignore_ascii_case(&host));
    let has_credentials = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if !agrees || has_credentials {
        return refuse("the callback address has a host that cannot be told for certain".to_owned());
    }
    let is_loopback = matches!(&*host, "localhost" | "127.0.0.1" | "[::1]");
    match (uri.scheme_str(), options.private_addresses) {
        (Some("https"), _) => {}
        (Some("http"), PrivateAddresses::Allowed) if is_loopback => {}
        _ => return refuse("a callback address begins with https://".to_owned()),
    }
    if options.secret.is_none() || !options.hosts.iter().any(|pattern| matches_host(pattern, &host)) {
        let host: String = host.chars().take(200).collect();
        return refuse(format!(
            "`{host}` is not among the hosts that may be called back (`bridge.callbacks.hosts`)"
        ));
    }
    Ok(())
}

fn matches_host(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    match pattern.strip_prefix("*.") {
        Some(end) => host.strip_suffix(end).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => pattern == host,
    }
}

impl Inner {
    /// Delivers the last word on an operation, if this process owes it to somebody. Goes on until it arrived, or it is
    /// too late.
    pub(crate) async fn deliver(&self, id: &OperationId) {
        loop {
            let row = match self.read(id).await {
                Ok(row) => row.filter(|row| self.owes(row)),
                Err(_) => None,
            };
            let Some(row) = row else {
                return;
            };
            let pause = match Box::pin(self.deliver_once(&row)).await {
                Ok(Some(pause)) => pause,
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, cause = causes(&error), "the journal failed");
                    PAUSE_MAX
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.parts.clock.sleep(pause) => {}
            }
        }
    }

    fn owes(&self, row: &Row) -> bool {
        row.state() == OperationState::Answered
            && row.content.callback.is_some()
            && row.operation.now.owner.as_ref() == Some(&self.parts.owner)
    }

    /// How long to wait before the next delivery; `None`: there is none.
    async fn deliver_once(&self, row: &Row) -> Result<Option<Duration>, JournalError> {
        let delivered = self.post(row).await;
        let mut row = row.clone();
        for _ in 0..ATTEMPTS_MAX {
            let attempts = row.content.callback.as_mut().map_or(0, |callback| {
                callback.attempts = callback.attempts.saturating_add(1);
                callback.attempts
            });
            let next = match delivered {
                Delivered::NotYet if attempts < DELIVERIES_MAX => Some(pause_after(attempts)),
                Delivered::NotYet => {
                    tracing::warn!(id = %row.id(), "a callback was not taken; nobody is told any more");
                    None
                }
                Delivered::Yes | Delivered::Gone => None,
            };
            let owner = next.and(row.operation.now.owner.clone());
            let becomes = Becomes { owner, ..Inner::becomes(&row) };
            match self.write(&row, becomes).await? {
                Moved::Yes => return Ok(next),
                // Somebody read the answer meanwhile, say.
                Moved::No => match self.read(row.id()).await {
                    Ok(Some(again)) if self.owes(&again) => row = again,
                    Ok(_) | Err(_) => return Ok(None),
                },
            }
        }
        Ok(None)
    }

    async fn post(&self, row: &Row) -> Delivered {
        let Some(request) = self.request(row) else {
            return Delivered::Gone;
        };
        let connection = match self.to_callbacks.connect(request.uri()).await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::info!(id = %row.id(), %error, cause = ?error, "a callback cannot be delivered yet");
                return Delivered::NotYet;
            }
        };
        match tokio::time::timeout(ANSWERED_WITHIN, connection.send(request)).await {
            Ok(Ok(response)) if response.status().is_success() => Delivered::Yes,
            Ok(Ok(response)) if response.status() == StatusCode::GONE => Delivered::Gone,
            Ok(Ok(response)) => {
                tracing::info!(id = %row.id(), status = %response.status(), "a callback was not taken yet");
                Delivered::NotYet
            }
            Ok(Err(error)) => {
                tracing::info!(id = %row.id(), %error, "a callback was not answered");
                Delivered::NotYet
            }
            Err(_elapsed) => Delivered::NotYet,
        }
    }

    /// The configuration decides anew each time whom to call.
    fn request(&self, row: &Row) -> Option<Request<Full<Bytes>>> {
        let options = &self.parts.options.callbacks;
        let url = &row.content.callback.as_ref()?.url;
        if let Err(problem) = check(url, options) {
            tracing::warn!(id = %row.id(), problem = problem.detail, "a callback is not delivered");
            return None;
        }
        let body = reply::decision_of(row)?.to_string();
        let id = row.id().to_string();
        let seconds = self.now().as_second();
        let signature = options.secret.as_ref()?.sign(&id, seconds, body.as_bytes());
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.parse().ok()?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(WEBHOOK_ID, HeaderValue::try_from(id).ok()?);
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(seconds));
        headers.insert(WEBHOOK_SIGNATURE, HeaderValue::try_from(signature).ok()?);
        Some(request)
    }
}

/// Twice as long each time, and some more or less, so that those who failed together do not come back together.
fn pause_after(attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1).min(16)));
    let mut luck = [0; 1];
    // Without randomness, everybody waits for as long.
    let percent = getrandom::fill(&mut luck).map_or(100, |()| 80 + u32::from(luck[0]) * 40 / 255);
    doubled.min(PAUSE_MAX).saturating_mul(percent) / 100
}
