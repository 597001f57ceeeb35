//! One listener for everything: `/servers/NAME/mcp` goes to the proxies, the rest to Gate.

use crate::{bridge::BridgeFront, webhooks::Doorbells};
use anyhow::{Context, Result};
use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{
    convert::Infallible,
    future::Future,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// How long open requests may take to end after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);
/// A client that sends its headers slower than this is not a client.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// Connections of agents and people. Those beyond wait to be accepted.
pub(crate) const CONNECTIONS_MAX: usize = 16_384;

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// What answers.
#[derive(Debug)]
pub(crate) struct Site<P> {
    /// How many may be connected at once.
    pub(crate) connections_max: usize,
    /// The proxies, by path.
    pub(crate) proxies: P,
    /// Gate's pages and API; `None` where Gate is elsewhere.
    pub(crate) gate: Option<axum::Router>,
    /// Where Gate's webhooks are received; `None` where nobody waits for them here.
    pub(crate) doorbells: Option<Doorbells>,
}

/// What answers under `/servers/`.
pub(crate) trait Proxies: Send + Sync + 'static {
    /// Answers `request` for the server `name`; gives it back if there is no such server.
    fn serve(
        &self,
        name: &str,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Body>, Request<Incoming>>> + Send;

    /// Answers a request that asks how to get in; `None`: it asks something else.
    fn describe(&self, request: &Request<Incoming>) -> Option<Response<Body>>;

    /// The bridge beside them.
    fn bridge(&self) -> Option<&BridgeFront> {
        None
    }
}

/// Binds, with an error that says what to do.
pub(crate) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => {
                "another program listens there; use --listen with another port, or port 0"
            }
            ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges; use --listen with a higher port"
            }
            ErrorKind::AddrNotAvailable => "this machine does not have that address; use 127.0.0.1",
            _ => "use --listen with another address",
        };
        anyhow::Error::new(error).context(format!("cannot listen on {address}\n  hint: {hint}"))
    })?;
    let bound = listener.local_addr().context("cannot tell the address that was bound")?;
    Ok((listener, bound))
}

/// Serves until `stop`, then lets open requests end.
pub(crate) async fn serve<P: Proxies>(listener: TcpListener, site: Site<P>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(site.connections_max));
    let site = Arc::new(site);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    let graceful = GracefulShutdown::new();
    loop {
        let accepting = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?.0, place))
        };
        let (stream, place) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepting => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: the connections that are open go on.
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        // Small answers must not wait for the next one; a socket that refuses this still works.
        let _best_effort = stream.set_nodelay(true);
        let site = Arc::clone(&site);
        let service = service_fn(move |request| {
            // In a box: hyper keeps room for what answers for as long as the answer's body goes on, which may be hours.
            if let Some(bridge) = site.proxies.bridge().filter(|bridge| bridge.serves(&request)).cloned() {
                return Box::pin(async move { Ok(bridge.answer(request).await) }) as Answering;
            }
            let site = Arc::clone(&site);
            Box::pin(async move { Ok(answer(&site, request).await) })
        });
        let connection = graceful.watch(server.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

async fn answer<P: Proxies>(site: &Site<P>, request: Request<Incoming>) -> Response<Body> {
    if let Some(response) = site.proxies.describe(&request) {
        return response;
    }
    let request = match server_name(request.uri().path()).map(str::to_owned) {
        Some(name) => match site.proxies.serve(&name, request).await {
            Ok(response) => return response,
            Err(request) => request,
        },
        None => request,
    };
    let request = match &site.doorbells {
        Some(doorbells) => match Box::pin(doorbells.answer(request)).await {
            Ok(response) => return response,
            Err(request) => request,
        },
        None => request,
    };
    match &site.gate {
        Some(gate) => match Box::pin(gate.clone().oneshot(request)).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => plain(StatusCode::NOT_FOUND, "nothing here; the servers are at /servers/NAME/mcp\n"),
    }
}

/// `NAME` of `/servers/NAME/mcp`.
fn server_name(path: &str) -> Option<&str> {
    path.strip_prefix("/servers/")?
        .strip_suffix("/mcp")
        .filter(|name| !name.is_empty() && !name.contains('/'))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
