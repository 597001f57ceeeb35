//! Gate over HTTP.

mod admin;
mod agent;
mod caller;
mod guard;
mod refuse;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;

pub use self::admin::wire;
pub(crate) use self::guard::Guard;
use crate::gate::GateServer;
use crate::inbox;

/// Everything a Gate serves: the agent API, the inbox, the admin API.
///
/// Every route answers only to the hosts the Gate knows itself by, and never to pages of other origins.
pub fn router(gate: Arc<GateServer>) -> Router {
    let csrf = CsrfLayer::new();
    let csrf = match csrf.clone().add_trusted_origin(gate.public.origin.clone()) {
        Ok(csrf) => csrf,
        // The origin was read from a URL; without it the layer is stricter, never looser.
        Err(_) => csrf,
    };
    Router::new()
        .route("/health", get(async || "ok"))
        .merge(agent::routes())
        .merge(admin::routes())
        .merge(inbox::routes())
        .fallback(async || (StatusCode::NOT_FOUND, "no such page"))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "not with this method"))
        .layer(DefaultBodyLimit::max(gate.options.limits.body.body_bytes))
        .layer(csrf)
        .layer(middleware::from_fn_with_state(Arc::clone(&gate), admit))
        .layer(CatchPanicLayer::custom(|panic| after_panic(&panic)))
        .with_state(gate)
}

async fn admit(State(gate): State<Arc<GateServer>>, request: Request, next: Next) -> Response {
    let mut response = match gate.guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(stranger) => (StatusCode::FORBIDDEN, stranger.to_string()).into_response(),
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn after_panic(panic: &Box<dyn Any + Send>) -> Response {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no words");
    tracing::error!(panic = words, "a handler panicked; its caller got a 500");
    (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong in this Gate; its log says what")
        .into_response()
}
