//! What an operator does from the command line. The same calls reach a Gate that runs, over its admin API, and one that
//! does not, by opening its data folder and asking its router in this process.

use crate::{
    data::{DataFolder, Ownership, RunningServer},
    embedded::EmbeddedGate,
};
use anyhow::{Context, Result, bail};
use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Write as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// A way to Gate.
pub(crate) enum Admin {
    Running(RunningServer),
    Here(Box<EmbeddedGate>),
}

/// An answer that is no success.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) problem: Value,
}

impl Refused {
    fn text(&self) -> String {
        let field = |name: &str| self.problem.get(name).and_then(Value::as_str);
        let mut text = field("error").unwrap_or("Gate refused without a reason").to_owned();
        for mistake in self.problem.get("mistakes").and_then(Value::as_array).into_iter().flatten() {
            let _infallible =
                write!(text, "\n  {}", mistake.as_str().map_or_else(|| mistake.to_string(), str::to_owned));
        }
        if let Some(hint) = field("hint") {
            let _infallible = write!(text, "\n  hint: {hint}");
        }
        text
    }
}

impl Admin {
    pub(crate) async fn open(data: &DataFolder) -> Result<Self> {
        match data.own_gate()? {
            Ownership::Running(server) => Ok(Self::Running(server)),
            Ownership::Ours(lock) => {
                let gate = EmbeddedGate::open(data, lock, "http://127.0.0.1", None, CancellationToken::new());
                Ok(Self::Here(Box::new(gate.await?)))
            }
        }
    }

    /// Sends one call; anything but a success is a [`Refused`].
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<T> {
        let token = match self {
            Self::Running(server) => &server.admin_token,
            Self::Here(gate) => &gate.admin_token,
        };
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        let (status, bytes) = match self {
            Self::Running(server) => over_http(server, request, text).await?,
            Self::Here(gate) => {
                let request = request.header(header::HOST, "127.0.0.1").body(Body::from(text))?;
                let response = gate.router().oneshot(request).await?;
                (response.status(), response.into_body().collect().await?.to_bytes())
            }
        };
        if status.is_success() {
            return serde_json::from_slice(&bytes).context("Gate's answer cannot be read");
        }
        let problem = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| serde_json::json!({ "error": String::from_utf8_lossy(&bytes).trim() }));
        Err(Refused { status, problem }.into())
    }

    /// Waits for the last writes.
    pub(crate) async fn close(self) {
        match self {
            Self::Running(_) => {}
            Self::Here(gate) => gate.close().await,
        }
    }
}

async fn over_http(
    server: &RunningServer,
    request: http::request::Builder,
    body: String,
) -> Result<(StatusCode, hyper::body::Bytes)> {
    let address = server.url.strip_prefix("http://").unwrap_or(&server.url);
    let gone = || {
        format!(
            "process {} at {} does not answer\n  hint: is it stopping? Try again in a moment",
            server.pid, server.url
        )
    };
    let stream = TcpStream::connect(address).await.with_context(gone)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(gone)?;
    let connection = tokio::spawn(connection);
    let request = request.header(header::HOST, address).body(Full::new(hyper::body::Bytes::from(body)))?;
    let response = sender.send_request(request).await.with_context(gone)?;
    let status = response.status();
    let bytes = response.into_body().collect().await.with_context(gone)?.to_bytes();
    drop(sender);
    connection.abort();
    if status == StatusCode::UNAUTHORIZED {
        bail!("{}", gone());
    }
    Ok((status, bytes))
}
