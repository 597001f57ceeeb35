//! The tool server, over HTTP and over stdio.

use std::io::{BufRead as _, Write as _};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};

use crate::answer::answer;
use crate::process::wall_clock_ns;
use crate::serve::serve;

/// `POST /mcp`, answered as JSON.
pub(crate) async fn http() -> Result<()> {
    serve("/mcp", |request| async move {
        let received_ns = wall_clock_ns();
        if request.method() != http::Method::POST {
            return empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let Ok(body) = request.into_body().collect().await else {
            return empty(StatusCode::BAD_REQUEST);
        };
        match answer(&body.to_bytes(), received_ns) {
            None => empty(StatusCode::ACCEPTED),
            Some(text) => {
                let mut response = Response::new(Full::new(Bytes::from(text)));
                response
                    .headers_mut()
                    .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                response
            }
        }
    })
    .await
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// One message per line; answers are flushed when no further message waits.
pub(crate) fn stdio() -> Result<()> {
    let mut reader = std::io::BufReader::new(std::fs::File::open("/dev/stdin").context("no stdin")?);
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
