//! A Gate that allows everything from memory: what is left is the price of asking.

use anyhow::Result;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};

use crate::serve::serve;

/// `allow` to every request; events are taken and forgotten.
pub(crate) async fn serve_stub() -> Result<()> {
    serve("", |request| async move {
        let asks = request.uri().path().ends_with("/requests");
        // The question is read to its end, so that the connection can be used again.
        let read = request.into_body().collect().await;
        let mut response =
            Response::new(Full::new(Bytes::from_static(if asks { br#"{"status":"allow"}"# } else { b"" })));
        if !asks {
            *response.status_mut() = StatusCode::CREATED;
        }
        if read.is_err() {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    })
    .await
}
