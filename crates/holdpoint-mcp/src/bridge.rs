//! Between the two eras of MCP: clients and servers that open with a handshake (2024-11-05 to 2025-11-25), and those
//! that do not (2026-07-28). Off unless the configuration says which era the server speaks; then whoever speaks the
//! other one is translated, and everybody else passes untouched.
//!
//! # Rules
//! 1. One request in, at most one request of that kind out. A tool call is never sent again: not after an expired session,
//!    not after a lost answer. What continues a call by the protocol's own means (`inputResponses`) goes on with it.
//! 2. `name` and `arguments` of a call cross with their own bytes; only `_meta`, the id and the members that continue a
//!    call are put in or taken out (see [`crate::message::Splice`]).
//! 3. What is kept for one principal is never another's: sessions, calls that wait for input, handles to them
//!    (CVE-2026-25536 is of this kind). Handles cannot be guessed, and are good for one use.
//! 4. What has no counterpart in the other era is said, not guessed: an error, or a tool result with `isError`.
//!
//! # Not translated
//! Batches; resuming a broken stream; tasks of either kind; `roots/list_changed`; completion of URL elicitations.

mod answer;
mod legacy_server;
mod modern_server;
mod wire;

use crate::upstream::{SendError, Upstream, UpstreamBody};
use bytes::Bytes;
use holdpoint_core::Principal;
use http::{HeaderMap, Method, Response};
use legacy_server::LegacyServer;
use modern_server::ModernServer;
use std::{fmt, pin::Pin, sync::Arc};

/// Which era of MCP a server speaks, where its clients may speak the other one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Era {
    /// Not said: client and server negotiate, and nothing is translated.
    #[default]
    Auto,
    /// With a handshake, 2024-11-05 to 2025-11-25. Clients of 2026-07-28 are translated.
    Legacy,
    /// Stateless, 2026-07-28. Clients that open with a handshake are translated.
    Modern,
}

/// A server that clients of the other era can talk to. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Bridge {
    ModernServer(Arc<ModernServer>),
    LegacyServer(Arc<LegacyServer>),
}

/// A response, or none.
type Sent = Result<Response<UpstreamBody>, SendError>;
type Sending = Pin<Box<dyn Future<Output = Sent> + Send>>;

/// The server behind a bridge. An object and not an `Upstream`: a type that contains itself is one whose `Send` the compiler
/// works out anew in every place.
#[derive(Clone, Debug)]
struct Inner(Arc<dyn Server>);

trait Server: fmt::Debug + Send + Sync {
    fn send(&self, principal: &Principal, method: Method, headers: HeaderMap, body: Bytes) -> Sending;
}

impl Server for Upstream {
    fn send(&self, principal: &Principal, method: Method, headers: HeaderMap, body: Bytes) -> Sending {
        let (server, principal) = (self.clone(), principal.clone());
        Box::pin(async move { Self::send(&server, &principal, method, headers, body).await })
    }
}

impl Inner {
    /// Sends once.
    fn send(&self, principal: &Principal, method: Method, headers: HeaderMap, body: Bytes) -> Sending {
        self.0.send(principal, method, headers, body)
    }
}

impl Upstream {
    /// The same server for clients of both eras.
    #[must_use]
    pub(crate) fn bridged(self, era: Era) -> Self {
        match era {
            Era::Auto => self,
            Era::Legacy => {
                Self::Bridge(Bridge::LegacyServer(Arc::new(LegacyServer::new(Inner(Arc::new(self))))))
            }
            Era::Modern => {
                Self::Bridge(Bridge::ModernServer(Arc::new(ModernServer::new(Inner(Arc::new(self))))))
            }
        }
    }
}

impl Bridge {
    /// Answers one request. Boxed, since a bridge has an upstream of its own.
    pub(crate) fn send(
        &self,
        principal: &Principal,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Sending {
        let (bridge, principal) = (self.clone(), principal.clone());
        Box::pin(async move {
            match bridge {
                Self::ModernServer(server) => server.send(principal, method, headers, body).await,
                Self::LegacyServer(server) => server.send(principal, method, headers, body).await,
            }
        })
    }
}
