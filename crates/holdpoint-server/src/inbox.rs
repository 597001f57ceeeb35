//! The inbox: where people decide.
//!
//! 1. Every page works without JavaScript: links and plain forms. One script of ours adds live updates and keys.
//! 2. What agents sent is shown whole, escaped, the payload before the agent's own words.
//! 3. A form carries the revision it was shown with; a decision on another one does not count.
//! 4. Nothing is loaded from anywhere else, and the content security policy says so.

mod assets;
mod decide;
mod failure;
mod list;
mod live;
mod page;
mod payload;
mod session;
mod sign_in;
mod thread;
mod timeline;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, header};

use crate::gate::GateServer;

/// A note, a revision's id and a verdict fit into it many times over.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// `same-origin`, not `no-referrer`: with that, browsers send `Origin: null` with our own forms.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(crate) fn routes() -> Router<Arc<GateServer>> {
    Router::new()
        .route("/", get(list::show))
        .route("/threads/{thread_id}", get(thread::show))
        .route("/threads/{thread_id}/decision", post(decide::decide))
        .route("/images/{image_id}", get(thread::image))
        .route("/live", get(live::stream))
        .route("/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/assets/inbox.css", get(assets::style))
        .route("/assets/inbox.js", get(assets::script))
        .route("/assets/icon.svg", get(assets::icon))
        .route_layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .route_layer(middleware::from_fn(add_headers))
}

async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        // A handler that says something stricter is right.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
