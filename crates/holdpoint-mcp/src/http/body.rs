//! Bodies in and out.

use super::{
    checks::{self, Refusal},
    leash::Leash,
};
use crate::{
    catalog::Catalog,
    upstream::{UpstreamBody, UpstreamBodyError},
};
use bytes::{Bytes, BytesMut};
use holdpoint_core::Delivery;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Of a body that is too large, no more than this is taken in.
const DRAIN_BYTES_MAX: usize = 256 << 20;
const DRAIN_IDLE: Duration = Duration::from_millis(250);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The body of every response of [`super::HttpProxy`].
#[derive(Debug)]
pub struct ProxyBody {
    kind: Kind,
    /// Says that a call is under way as long as its answer is not taken.
    under_way: Option<TaskTrackerToken>,
    /// Ends it before its time.
    leash: Option<Leash>,
}

impl ProxyBody {
    const fn new(kind: Kind) -> Self {
        Self { kind, under_way: None, leash: None }
    }

    pub(super) fn on(mut self, leash: Option<Leash>) -> Self {
        self.leash = leash;
        self
    }

    pub(super) fn under_way(mut self, token: TaskTrackerToken) -> Self {
        self.under_way = Some(token);
        self
    }
}

impl ProxyBody {
    /// Whom to tell that the answer in it was delivered, where somebody else delivers it.
    pub(super) fn take_delivery(&mut self) -> Option<Delivery> {
        match &mut self.kind {
            Kind::Pieces(pieces) => pieces.deliveries.pop(),
            Kind::Whole(_) | Kind::Upstream(_) | Kind::Watched(..) => None,
        }
    }
}

#[derive(Debug)]
enum Kind {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
    /// A stream in which the server may say that its tools changed.
    Watched(UpstreamBody, Arc<Catalog>),
    Pieces(Pieces),
}

/// What is written to the client of a held call.
#[derive(Debug)]
pub(super) enum Piece {
    Part(Bytes),
    /// The answer; and whom to tell when it is out.
    Answer(Bytes, Option<Delivery>),
}

#[derive(Debug)]
struct Pieces {
    source: mpsc::Receiver<Piece>,
    /// Of the answers that were given to the connection: one, but for a batch.
    deliveries: Vec<Delivery>,
}

impl Drop for ProxyBody {
    /// The connection took the answer and is done with us.
    fn drop(&mut self) {
        let under_way = self.under_way.take();
        if let Kind::Pieces(pieces) = &mut self.kind
            && !pieces.deliveries.is_empty()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let deliveries = std::mem::take(&mut pieces.deliveries);
            runtime.spawn(async move {
                for delivery in deliveries {
                    delivery.delivered().await;
                }
                drop(under_way);
            });
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        if self.leash.as_mut().is_some_and(|leash| leash.poll(context).is_ready()) {
            // Between two frames: a reader sees a stream that ends.
            self.leash = None;
            self.kind = Kind::Whole(None);
        }
        match &mut self.kind {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Upstream(body) => Pin::new(body).poll_frame(context),
            Kind::Watched(body, catalog) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                if let Some(Ok(frame)) = &frame
                    && frame
                        .data_ref()
                        .is_some_and(|data| memchr::memmem::find(data, b"list_changed").is_some())
                {
                    catalog.mark_stale();
                }
                Poll::Ready(frame)
            }
            Kind::Pieces(pieces) => Poll::Ready(match ready!(pieces.source.poll_recv(context)) {
                None => None,
                Some(Piece::Part(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Piece::Answer(bytes, delivery)) => {
                    pieces.deliveries.extend(delivery);
                    Some(Ok(Frame::data(bytes)))
                }
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Upstream(body) | Kind::Watched(body, _) => body.is_end_stream(),
            Kind::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Upstream(body) | Kind::Watched(body, _) => body.size_hint(),
            Kind::Pieces(_) => SizeHint::default(),
        }
    }
}

impl Piece {
    /// Its bytes, and whom to tell when they are out.
    pub(super) fn into_parts(self) -> (Bytes, Option<Delivery>) {
        match self {
            Self::Part(bytes) => (bytes, None),
            Self::Answer(bytes, delivery) => (bytes, delivery),
        }
    }
}

/// A response of the server with another body.
pub(super) fn whole(mut parts: http::response::Parts, body: Bytes) -> Response<ProxyBody> {
    checks::strip_hop(&mut parts.headers);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.version = http::Version::default();
    parts.extensions.clear();
    Response::from_parts(parts, ProxyBody::new(Kind::Whole(Some(body))))
}

/// A response of the server, as it is.
pub(super) fn pass(response: Response<UpstreamBody>, catalog: Option<&Arc<Catalog>>) -> Response<ProxyBody> {
    let (mut parts, body) = response.into_parts();
    checks::strip_hop(&mut parts.headers);
    parts.version = http::Version::default();
    parts.extensions.clear();
    let kind = match catalog.filter(|_| is_stream(&parts.headers)) {
        Some(catalog) => Kind::Watched(body, Arc::clone(catalog)),
        None => Kind::Upstream(body),
    };
    Response::from_parts(parts, ProxyBody::new(kind))
}

pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

/// A message of our own.
pub(super) fn json(status: StatusCode, message: Vec<u8>) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::new(Kind::Whole(Some(message.into()))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A line for people.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::new(Kind::Whole(Some(Bytes::from_static(text.as_bytes())))));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

pub(super) fn empty(status: StatusCode) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::new(Kind::Whole(None)));
    *response.status_mut() = status;
    response
}

/// A response whose body comes piece by piece.
pub(super) fn pieces(
    status: StatusCode,
    headers: HeaderMap,
    source: mpsc::Receiver<Piece>,
) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::new(Kind::Pieces(Pieces { source, deliveries: Vec::new() })));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The headers of a stream that we open ourselves.
pub(crate) fn stream_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers
}

/// The headers of one JSON message.
pub(crate) fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)])
}

/// The body of a request, in one buffer. What is left of one that is too large is taken in and thrown away, up to a
/// bound: a connection that is closed on bytes that nobody read is reset, and the client never sees why.
pub(super) async fn collect_or_drain<B>(
    mut body: B,
    headers: &HeaderMap,
    bytes_max: usize,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let collected = collect(&mut body, headers, bytes_max).await;
    // Who sends `Expect` waits for our word before it sends anything.
    if matches!(&collected, Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, _)))
        && !headers.contains_key(header::EXPECT)
    {
        drain(&mut body).await;
    }
    collected
}

async fn drain<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut left = DRAIN_BYTES_MAX;
    // Who sends nothing waits for the answer.
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(DRAIN_IDLE, next_frame(body)).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// The whole body, in one buffer.
pub(super) async fn collect<B>(mut body: B, headers: &HeaderMap, bytes_max: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    const TOO_LARGE: Refusal =
        Refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than is taken here\n");
    let stated =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if stated.is_some_and(|length| length > bytes_max) {
        return Err(TOO_LARGE);
    }
    let mut whole = Bytes::new();
    let mut gathered = BytesMut::new();
    while let Some(frame) = next_frame(&mut body).await {
        let frame = frame.map_err(|_| Refusal(StatusCode::BAD_REQUEST, "the body did not arrive whole\n"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len().saturating_add(gathered.len()).saturating_add(data.len()) > bytes_max {
            return Err(TOO_LARGE);
        }
        if whole.is_empty() && gathered.is_empty() {
            // Most bodies come in one piece, which is not copied.
            whole = data;
        } else {
            if gathered.is_empty() {
                gathered.reserve(stated.unwrap_or(0).max(whole.len().saturating_add(data.len())));
                gathered.extend_from_slice(&std::mem::take(&mut whole));
            }
            gathered.extend_from_slice(&data);
        }
    }
    Ok(if gathered.is_empty() { whole } else { gathered.freeze() })
}

/// Why an answer is not there in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    TooLarge,
    BrokenOff,
}

/// The whole body of an answer.
pub(crate) async fn collect_answer(
    body: UpstreamBody,
    headers: &HeaderMap,
    bytes_max: usize,
) -> Result<Bytes, Cut> {
    collect(body, headers, bytes_max).await.map_err(|Refusal(status, _)| match status {
        StatusCode::PAYLOAD_TOO_LARGE => Cut::TooLarge,
        _ => Cut::BrokenOff,
    })
}

/// The whole body as text.
pub(crate) async fn collect_text(
    body: UpstreamBody,
    headers: &HeaderMap,
    bytes_max: usize,
) -> Option<String> {
    let bytes = collect(body, headers, bytes_max).await.ok()?;
    String::from_utf8(bytes.into()).ok()
}

pub(super) async fn next_frame<B>(body: &mut B) -> Option<Result<Frame<Bytes>, B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}
