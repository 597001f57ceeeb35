//! A loopback HTTP server around one function.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Listens on a free port, says so in one line, and serves until killed.
pub(crate) async fn serve<F, Fut, B>(path: &str, handler: F) -> Result<()>
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<B>> + Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = listen().await?;
    announce(listener.local_addr().context("no local address")?, path)?;
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        let handler = handler.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = handler(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            // A load client that goes away in the middle is no error here.
            let _ended = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// A free port on loopback.
pub(crate) async fn listen() -> Result<TcpListener> {
    TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on loopback")
}

/// The line for which the parent waits.
pub(crate) fn announce(address: SocketAddr, path: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, r#"{{"event":"ready","url":"http://{address}{path}"}}"#)
        .and_then(|()| stdout.flush())
        .context("nobody waits for us")
}
