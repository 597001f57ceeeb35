//! Takes Gate's webhooks, and makes nothing of them but a ring at the door.

use crate::{Doorbell, GateApprover};
use bytes::Bytes;
use holdpoint_api::{
    Limits,
    headers::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP},
    webhook::{SignatureError, Signed, WebhookBody, WebhookSecret},
};
use holdpoint_core::Clock;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashSet, VecDeque},
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Deliveries that are remembered, so that a replay rings nothing. Past it the oldest is forgotten, whose replay would
/// cost one read of one decision.
const REMEMBERED_MAX: usize = 1024;
/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// The longest delivery id that is remembered, in bytes.
const ID_BYTES_MAX: usize = 256;

/// Receives webhooks for a [`GateApprover`].
///
/// 1. A webhook is never believed: of its body the thread's id is used, and nothing comes of it but that Gate is asked
///    about that thread now instead of later; at most once per [`Pace::wake_gap`](crate::Pace::wake_gap) and thread.
/// 2. With a secret, a delivery without a fitting, fresh signature rings nothing. Without one, anybody who can reach the
///    receiver may ring, and who rings learns nothing: an unknown thread gets the same answer as a known one.
/// 3. The same delivery rings once. Lost ones cost time only: whoever waits polls all the same.
#[derive(Clone, Debug)]
pub struct WebhookReceiver(Arc<Receiver>);

#[derive(Debug)]
struct Receiver {
    doorbell: Doorbell,
    secret: Option<WebhookSecret>,
    clock: Arc<dyn Clock>,
    remembered: Mutex<Remembered>,
}

/// Deliveries that rang, by their digest; the oldest in front.
#[derive(Debug, Default)]
struct Remembered {
    known: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It rang, or would have if somebody waited.
    Taken,
    NoPost,
    TooLarge,
    TooSlow,
    /// A secret is set, and this does not come from whoever shares it.
    NotSigned,
    Malformed,
}

impl GateApprover {
    /// What takes Gate's webhooks for this approver. With a secret only signed ones count; `clock` tells how old they
    /// are.
    #[must_use]
    pub fn webhook_receiver(&self, secret: Option<WebhookSecret>, clock: Arc<dyn Clock>) -> WebhookReceiver {
        let remembered = Mutex::default();
        WebhookReceiver(Arc::new(Receiver { doorbell: self.doorbell(), secret, clock, remembered }))
    }
}

impl WebhookReceiver {
    /// Answers one delivery, whatever path it came in at: 204 when it was taken, 405, 413, 408, 401 or 400 when not.
    pub async fn receive<B>(&self, request: Request<B>) -> Response<Bytes>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let verdict = match self.read(&parts.method, body).await {
            Ok(body) => self.take(&parts.headers, &body),
            Err(verdict) => verdict,
        };
        tracing::debug!(?verdict, "webhook received");
        verdict.response()
    }

    async fn read<B>(&self, method: &Method, body: B) -> Result<Bytes, Verdict>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if method != Method::POST {
            return Err(Verdict::NoPost);
        }
        let announced = body.size_hint().lower();
        if usize::try_from(announced).map_or(true, |bytes| bytes > Limits::WEBHOOK_BYTES) {
            return Err(Verdict::TooLarge);
        }
        let read = Limited::new(body, Limits::WEBHOOK_BYTES).collect();
        match tokio::time::timeout(BODY_TIME_MAX, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Verdict::TooLarge),
            Ok(Err(_broken)) => Err(Verdict::Malformed),
            Err(_elapsed) => Err(Verdict::TooSlow),
        }
    }

    /// The signature first: nothing is read of a body from nobody knows whom.
    fn take(&self, headers: &HeaderMap, body: &[u8]) -> Verdict {
        if let Some(secret) = &self.0.secret
            && let Err(error) = self.check_signature(secret, headers, body)
        {
            tracing::debug!(%error, "a webhook was refused");
            return Verdict::NotSigned;
        }
        if !is_json(headers) {
            return Verdict::Malformed;
        }
        let Ok(WebhookBody { thread_id, .. }) = serde_json::from_slice(body) else {
            return Verdict::Malformed;
        };
        let first = match one(headers, WEBHOOK_ID).filter(|id| id.len() <= ID_BYTES_MAX) {
            Some(id) => self.remember(id, &thread_id),
            None => true,
        };
        if first {
            self.0.doorbell.wake(&thread_id);
        }
        Verdict::Taken
    }

    fn check_signature(
        &self,
        secret: &WebhookSecret,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), SignatureError> {
        let id = one(headers, WEBHOOK_ID).ok_or(SignatureError::Id)?;
        let timestamp = one(headers, WEBHOOK_TIMESTAMP).ok_or(SignatureError::Timestamp)?;
        let signatures = one(headers, WEBHOOK_SIGNATURE).ok_or(SignatureError::Signature)?;
        secret.verify(&Signed { id, timestamp, signatures, body }, self.0.clock.now())
    }

    /// Whether this delivery is new. The thread belongs to it: where nothing is signed, somebody who takes another
    /// delivery's id must not silence it.
    fn remember(&self, id: &str, thread: &str) -> bool {
        let digest: [u8; 32] =
            Sha256::new().chain_update(id).chain_update([0]).chain_update(thread).finalize().into();
        let mut remembered = self.0.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if !remembered.known.insert(digest) {
            return false;
        }
        remembered.order.push_back(digest);
        if remembered.order.len() > REMEMBERED_MAX
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.known.remove(&oldest);
        }
        true
    }
}

impl Verdict {
    const fn status(self) -> StatusCode {
        match self {
            Self::Taken => StatusCode::NO_CONTENT,
            Self::NoPost => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NotSigned => StatusCode::UNAUTHORIZED,
            Self::Malformed => StatusCode::BAD_REQUEST,
        }
    }

    fn response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.status();
        if self == Self::NoPost {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// The value of a header that is there once. Of two, which one counts would be a guess.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_json(headers: &HeaderMap) -> bool {
    one(headers, header::CONTENT_TYPE.as_str())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
