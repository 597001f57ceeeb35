//! The tool server of a front, wherever it is: one request in, one response out, as streamable HTTP has them.

mod body;
mod web;

pub(crate) use body::UpstreamBody;
pub use body::UpstreamBodyError;
pub(crate) use web::WebServer;

use crate::bridge::Bridge;
use bytes::Bytes;
use holdpoint_core::Principal;
use http::{HeaderMap, Method, Response, Uri};

/// Where a tool server is.
#[derive(Clone, Debug)]
pub enum ServerAddress {
    /// At a URL.
    Http {
        /// `http://…` or `https://…`.
        url: Uri,
        /// What the server gets beside the client's headers: its own credentials, say.
        headers: HeaderMap,
    },
}

impl From<Uri> for ServerAddress {
    fn from(url: Uri) -> Self {
        Self::Http { url, headers: HeaderMap::new() }
    }
}

/// The address cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum ServerAddressError {
    /// Neither `http://…` nor `https://…`.
    #[error("`{0}` is not an http or https URL")]
    Url(Uri),
    /// The TLS library refuses to start.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A tool server. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// Speaks streamable HTTP itself.
    Web(Box<WebServer>),
    /// Another one, for clients of both eras.
    Bridge(Bridge),
}

impl Upstream {
    pub(crate) fn new(address: ServerAddress) -> Result<Self, ServerAddressError> {
        match address {
            ServerAddress::Http { url, headers } => {
                WebServer::new(url, headers).map(|server| Self::Web(Box::new(server)))
            }
        }
    }

    /// Sends once, for `principal`: what a server keeps of one is never another's. `headers` are the client's, stripped of
    /// what belongs to its hop.
    pub(crate) async fn send(
        &self,
        principal: &Principal,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<UpstreamBody>, SendError> {
        match self {
            Self::Web(server) => server.send(method, headers, body).await,
            Self::Bridge(bridge) => bridge.send(principal, method, headers, body).await,
        }
    }
}

/// No response came.
#[derive(Debug, thiserror::Error)]
#[error("the tool server gave no answer")]
pub(crate) struct SendError {
    pub(crate) reached: Reached,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// How far a request without a response got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// No byte of it went out, for certain.
    Nobody,
    /// The server may have read it.
    Maybe,
}

impl SendError {
    pub(crate) fn new(reached: Reached, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { reached, source: source.into() }
    }

    /// The same, of a request that goes on with one that the server read.
    pub(crate) fn maybe_reached(self) -> Self {
        Self { reached: Reached::Maybe, ..self }
    }

    /// The causes on one line.
    pub(crate) fn chain(&self) -> String {
        let first: &dyn std::error::Error = &*self.source;
        let causes = std::iter::successors(Some(first), |error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }
}
