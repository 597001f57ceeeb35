//! The tool server of a front, wherever it is: one request in, one response out, as streamable HTTP has them.

mod body;
mod children;
mod web;

pub(crate) use body::UpstreamBody;
pub use body::UpstreamBodyError;
pub(crate) use children::{ChildBody, Children, Kept};
pub use children::{ChildLimits, Launch, Launched};
pub(crate) use web::WebServer;

use crate::bridge::Bridge;
use crate::stdio::ChildCommand;
use bytes::Bytes;
use holdpoint_core::{Principal, ServerName};
use http::{HeaderMap, Method, Response, Uri};
use std::sync::Arc;

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
    /// In child processes of ours, which speak on their standard input and output.
    Command {
        /// How to start one.
        launch: Arc<dyn Launch>,
        /// What they may use.
        limits: ChildLimits,
    },
}

impl From<ChildCommand> for ServerAddress {
    fn from(command: ChildCommand) -> Self {
        Self::Command { launch: Arc::new(command), limits: ChildLimits::default() }
    }
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
    /// Speaks on pipes; we speak streamable HTTP for it.
    Children(Children),
}

impl Upstream {
    /// `server` is how the operator calls it.
    pub(crate) fn new(address: ServerAddress, server: &ServerName) -> Result<Self, ServerAddressError> {
        match address {
            ServerAddress::Http { url, headers } => {
                WebServer::new(url, headers).map(|server| Self::Web(Box::new(server)))
            }
            ServerAddress::Command { launch, limits } => {
                Ok(Self::Children(Children::new(server, launch, limits)))
            }
        }
    }

    /// Another number than before: what was read of the server's tools does not count any more. Asked of the server itself,
    /// as the two below, and not of a bridge to it.
    pub(crate) fn epoch(&self) -> u64 {
        match self {
            Self::Web(_) | Self::Bridge(_) => 0,
            Self::Children(children) => children.epoch(),
        }
    }

    /// As long as this lives, the session that the headers name does not end for want of use.
    pub(crate) fn keep(&self, headers: &HeaderMap) -> Option<Kept> {
        match self {
            Self::Web(_) | Self::Bridge(_) => None,
            Self::Children(children) => children.keep(headers),
        }
    }

    /// Who compares the headers that repeat arguments with the arguments of a call that nobody reads.
    pub(crate) const fn comparer(&self) -> Comparer {
        match self {
            Self::Web(_) => Comparer::Server,
            // Headers do not reach it.
            Self::Bridge(_) | Self::Children(_) => Comparer::Us,
        }
    }

    /// Ends what we started, and resolves when nothing of it is left.
    pub(crate) async fn stop(&self) {
        match self {
            Self::Web(_) | Self::Bridge(_) => {}
            Self::Children(children) => children.stop().await,
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
            Self::Bridge(bridge) => Box::pin(bridge.send(principal, method, headers, body)).await,
            Self::Children(children) => children.send(principal, method, headers, body).await,
        }
    }
}

/// Who compares headers with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparer {
    /// The tool server, which gets both.
    Server,
    /// Nobody does it after us.
    Us,
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
