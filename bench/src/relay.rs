//! The bare relay: the least that a gate in the path can do.

use ::http::{Method, Request};
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::answer::Message;

pub(crate) mod http;
pub(crate) mod http_to_stdio;
pub(crate) mod stdio;
pub(crate) mod stdio_to_http;

type HttpClient = Client<HttpConnector, Full<Bytes>>;

fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// One question over a kept connection.
#[derive(Clone)]
struct Gate {
    client: HttpClient,
    url: ::http::Uri,
}

impl Gate {
    fn new(base: &str) -> Result<Self> {
        let url = format!("{base}/api/agent/tasks/bench/requests");
        Ok(Self { client: client(), url: url.parse().context("bad gate address")? })
    }

    /// Asks about a `tools/call`; everything else needs no permission.
    async fn permits(&self, body: &[u8]) -> Result<bool> {
        let message: Message<'_> = serde_json::from_slice(body).context("not JSON-RPC")?;
        if message.method != "tools/call" {
            return Ok(true);
        }
        let params = message.params.map_or("null", |params| params.get());
        let question =
            format!(r#"{{"workflow_name":"bench","tool_name":"echo","subject":"echo","payload":{params}}}"#);
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header("content-type", "application/json")
            .header("authorization", "Bearer sg_bench")
            .body(Full::new(Bytes::from(question)))?;
        let response = self.client.request(request).await.context("Gate does not answer")?;
        if !response.status().is_success() {
            bail!("Gate answered {}", response.status());
        }
        let answer = response.into_body().collect().await?.to_bytes();
        Ok(answer.as_ref() == br#"{"status":"allow"}"#)
    }
}

/// The value after `--gate`, if any.
fn gate(arguments: &[String]) -> Result<Option<Gate>> {
    option(arguments, "--gate").map(Gate::new).transpose()
}

fn option<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).map(String::as_str)
}
