//! HTTP to HTTP: the body is read, the answer streams through.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::{Gate, HttpClient, client, gate, option};
use crate::serve::serve as serve_http;

type Body = BoxBody<Bytes, hyper::Error>;

#[derive(Clone)]
struct Relay {
    client: HttpClient,
    upstream: Uri,
    gate: Option<Gate>,
}

/// `relay-http --upstream URL [--gate URL]`
pub(crate) async fn serve(arguments: &[String]) -> Result<()> {
    let upstream = option(arguments, "--upstream").context("--upstream URL")?;
    let relay = Relay {
        client: client(),
        upstream: upstream.parse().context("bad upstream address")?,
        gate: gate(arguments)?,
    };
    serve_http("/mcp", move |request| {
        let relay = relay.clone();
        async move {
            relay.forward(request).await.unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                refusal(StatusCode::BAD_GATEWAY)
            })
        }
    })
    .await
}

impl Relay {
    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.context("cannot read the call")?.to_bytes();
        if let Some(gate) = &self.gate
            && !gate.permits(&body).await?
        {
            return Ok(refusal(StatusCode::FORBIDDEN));
        }
        head.uri = self.upstream.clone();
        head.headers.remove(http::header::HOST);
        head.headers.remove(http::header::CONTENT_LENGTH);
        let request = Request::from_parts(head, Full::new(body));
        let response = self.client.request(request).await.context("the tool does not answer")?;
        Ok(response.map(BodyExt::boxed))
    }
}

fn refusal(status: StatusCode) -> Response<Body> {
    let body = Full::default().map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
