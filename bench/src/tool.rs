//! The tool server, over HTTP and over stdio.

use std::io::{BufRead as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};

use crate::answer::{Message, answer};
use crate::process::wall_clock_ns;
use crate::serve::serve;

/// Names of sessions that this server gave out; it keeps none of them.
static NEXT_SESSION: AtomicU64 = AtomicU64::new(1);

/// `tool-http [--sessions]`: `POST /mcp`, answered as JSON; with a session for each client that shakes hands.
pub(crate) async fn http(arguments: &[String]) -> Result<()> {
    let sessions = arguments.iter().any(|argument| argument == "--sessions");
    serve("/mcp", move |request| async move {
        let received_ns = wall_clock_ns();
        if sessions && request.method() == http::Method::DELETE {
            return empty(StatusCode::OK);
        }
        if request.method() != http::Method::POST {
            return empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let Ok(body) = request.into_body().collect().await else {
            return empty(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        match answer(&body, received_ns) {
            None => empty(StatusCode::ACCEPTED),
            Some(text) => {
                let mut response = Response::new(Full::new(Bytes::from(text)));
                response
                    .headers_mut()
                    .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                if sessions && is_handshake(&body) {
                    let session = NEXT_SESSION.fetch_add(1, Ordering::Relaxed);
                    response.headers_mut().insert("mcp-session-id", http::HeaderValue::from(session));
                }
                response
            }
        }
    })
    .await
}

fn is_handshake(body: &[u8]) -> bool {
    serde_json::from_slice::<Message<'_>>(body).is_ok_and(|message| message.method == "initialize")
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// One message per line; answers are flushed when no further message waits.
pub(crate) fn stdio() -> Result<()> {
    // Not by its path: Node.js gives its children sockets, which cannot be opened.
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("no standard input")?;
    let mut reader = std::io::BufReader::new(std::fs::File::from(stdin));
    let mut writer = std::io::BufWriter::new(std::io::stdout().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).context("cannot read")? == 0 {
            return Ok(());
        }
        if let Some(text) = answer(&line, wall_clock_ns()) {
            writeln!(writer, "{text}").context("cannot write")?;
        }
        if !reader.buffer().contains(&b'\n') {
            writer.flush().context("cannot write")?;
        }
    }
}
