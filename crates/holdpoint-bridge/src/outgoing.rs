//! One connection for one request. Nothing is pooled, followed or tried again: what failed before there was a connection was
//! not sent, and everything else may have been.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};
use tower_service::Service;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Outgoing {
    reach: Reach,
    /// Made when it is first needed: the system's root certificates take time and memory.
    connector: OnceLock<HttpsConnector<HttpConnector<Resolver>>>,
}

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Any.
    Everywhere,
    /// Those of the public Internet.
    PublicOnly,
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
pub(crate) struct NoConnection(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Why there is no usable response. The request may have been read.
#[derive(Debug, thiserror::Error)]
#[error("no response")]
pub(crate) struct NoResponse(#[source] hyper::Error);

/// A connection that nothing was sent over yet.
pub(crate) struct Connection(http1::SendRequest<Full<Bytes>>);

impl Outgoing {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, connector: OnceLock::new() }
    }

    /// Connects, and shakes hands.
    pub(crate) async fn connect(&self, uri: &Uri) -> Result<Connection, NoConnection> {
        let connecting = async {
            self.check_literal(uri)?;
            let stream = self.connector()?.call(uri.clone()).await.map_err(NoConnection)?;
            let shaken = http1::handshake(stream).await;
            let (sender, connection) = shaken.map_err(|error| NoConnection(Box::new(error)))?;
            // Ends with the response, or when whoever waits for it goes.
            tokio::spawn(connection);
            Ok(Connection(sender))
        };
        let connected = tokio::time::timeout(CONNECT_WITHIN, connecting).await;
        connected.map_err(|elapsed| NoConnection(Box::new(elapsed)))?
    }

    /// An address that stands in the URL itself is looked up nowhere.
    fn check_literal(&self, uri: &Uri) -> Result<(), NoConnection> {
        let host = uri.host().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        match (self.reach, literal) {
            (Reach::PublicOnly, Some(ip)) if !is_public(ip) => Err(NoConnection(Box::new(not_public()))),
            (Reach::PublicOnly | Reach::Everywhere, _) => Ok(()),
        }
    }

    fn connector(&self) -> Result<HttpsConnector<HttpConnector<Resolver>>, NoConnection> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector.clone());
        }
        let mut tcp = HttpConnector::new_with_resolver(Resolver(self.reach));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        // Named here, so that it does not matter what the process installed.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.map_err(|error| NoConnection(Box::new(error)))?;
        // The system decides whom to trust: a target may have a certificate of the house.
        let tls = tls.try_with_platform_verifier().map_err(|error| NoConnection(Box::new(error)))?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(self.connector.get_or_init(|| connector).clone())
    }
}

impl Connection {
    /// Sends `request`, whose URI names the host, and waits for the head of the response.
    pub(crate) async fn send(
        mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, NoResponse> {
        let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
        if let Some(host) = host.and_then(|host| HeaderValue::try_from(host).ok()) {
            request.headers_mut().insert(header::HOST, host);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        self.0.send_request(request).await.map_err(NoResponse)
    }
}

/// Looks names up when a connection is made, so that what was checked is what is connected to.
#[derive(Clone, Copy, Debug)]
struct Resolver(Reach);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self(reach) = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable = |address: &SocketAddr| match reach {
                Reach::Everywhere => true,
                Reach::PublicOnly => is_public(address.ip()),
            };
            let usable: Vec<_> = found.filter(usable).collect();
            if usable.is_empty() { Err(not_public()) } else { Ok(usable.into_iter()) }
        })
    }
}

fn not_public() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "the host has no address that is public; `bridge.callbacks.private_addresses` allows others",
    )
}

/// Whether an address is one of the public Internet: none that the registries of special-purpose addresses (RFC 6890) list as
/// not globally reachable, or that leads to one.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let segments = ip.segments();
    // NAT64 and 6to4 lead to the address that they carry.
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] = segments {
        return is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    match segments {
        // Teredo, ORCHID, benchmarking; documentation.
        [0x2001, 0..0x200 | 0xdb8, ..] | [0x3fff, 0..0x1000, ..] => false,
        // Of the rest, what is assigned at all.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}
