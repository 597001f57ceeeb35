//! Tells open pages that something changed. It carries no data but thread ids: pages fetch themselves again, with
//! their own cookie.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use holdpoint_store::{Change, Listener};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use crate::gate::{GateServer, Visitor};

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// After this the browser connects again, and the session is looked at again.
const STREAM_ENDS_AFTER: Duration = Duration::from_mins(10);

struct Page {
    gate: Arc<GateServer>,
    listener: Listener,
    ends_at: tokio::time::Instant,
    greeted: bool,
    _permit: OwnedSemaphorePermit,
}

/// `Last-Event-ID` is not needed: every stream starts with `resync`, so a page that comes back fetches itself once.
pub(super) async fn stream(State(gate): State<Arc<GateServer>>, _: Visitor) -> Response {
    let Ok(permit) = Arc::clone(&gate.live).try_acquire_owned() else {
        let retry = [(header::RETRY_AFTER, "30")];
        return (StatusCode::SERVICE_UNAVAILABLE, retry, "too many pages are kept up to date")
            .into_response();
    };
    let listener = gate.store().bell().listen();
    let ends_at = tokio::time::Instant::now() + STREAM_ENDS_AFTER;
    let page = Page { gate, listener, ends_at, greeted: false, _permit: permit };
    let events = stream::unfold(page, |mut page| async {
        let event = page.next().await?;
        Some((Ok::<_, Infallible>(event), page))
    });
    let mut response =
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_EVERY)).into_response();
    // Proxies that collect answers before they pass them on would hold the news back.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

impl Page {
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            return Some(Event::default().event("resync").data("hello"));
        }
        loop {
            let change = tokio::select! {
                change = self.listener.next() => change?,
                () = self.gate.shutdown.cancelled() => return None,
                () = tokio::time::sleep_until(self.ends_at) => return None,
            };
            match change {
                Change::Thread { id, .. } => return Some(Event::default().event("thread").data(id.as_str())),
                Change::Task(..) => return Some(Event::default().event("task").data("changed")),
                Change::Everything => return Some(Event::default().event("resync").data("changed")),
                Change::Setup => {}
            }
        }
    }
}
