//! Streamable HTTP for the client of our own, as little as it needs.

use crate::{
    http::{Events, collect_text, is_stream},
    protocol::{ACCEPT_EITHER, JSON, PROTOCOL_VERSION, SESSION_ID},
    upstream::{SendError, ServerAddress, ServerAddressError, Upstream},
};
use bytes::Bytes;
use holdpoint_core::{Principal, ServerName};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use rmcp::{
    RoleClient,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use serde_json::Value;
use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::mpsc;

const BYTES_MAX: usize = 16 << 20;
const MESSAGES_MAX: usize = 64;

/// A request did not get through.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("the message cannot be written")]
    Encode(#[source] serde_json::Error),
    #[error("the server gave no answer")]
    NoAnswer(#[source] SendError),
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    #[error("the server's answer cannot be read")]
    Unreadable,
}

pub(super) struct HttpTransport {
    shared: Arc<Shared>,
    received: mpsc::Receiver<RxJsonRpcMessage<RoleClient>>,
}

struct Shared {
    upstream: Upstream,
    principal: Principal,
    /// With session and revision as soon as they are known.
    headers: Mutex<HeaderMap>,
    receiving: mpsc::Sender<RxJsonRpcMessage<RoleClient>>,
}

impl HttpTransport {
    pub(super) fn new(url: Uri, mut headers: HeaderMap) -> Result<Self, ServerAddressError> {
        headers.insert(header::ACCEPT, ACCEPT_EITHER);
        headers.insert(header::CONTENT_TYPE, JSON);
        let (receiving, received) = mpsc::channel(MESSAGES_MAX);
        let upstream = Upstream::new(ServerAddress::from(url), &ServerName::new("server"))?;
        let principal = Principal::new("holdpoint");
        let shared = Arc::new(Shared { upstream, principal, headers: Mutex::new(headers), receiving });
        Ok(Self { shared, received })
    }
}

impl Transport<RoleClient> for HttpTransport {
    type Error = TransportError;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), TransportError>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move { shared.post(message).await }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        self.received.recv().await
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        let headers = self.shared.headers();
        if headers.contains_key(SESSION_ID) {
            let _server_may_be_gone = self
                .shared
                .upstream
                .send(&self.shared.principal, Method::DELETE, headers, Bytes::new())
                .await;
        }
        self.received.close();
        Ok(())
    }
}

impl Shared {
    fn headers(&self) -> HeaderMap {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, name: HeaderName, value: HeaderValue) {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).insert(name, value);
    }

    async fn post(self: Arc<Self>, message: TxJsonRpcMessage<RoleClient>) -> Result<(), TransportError> {
        let body = serde_json::to_vec(&message).map_err(TransportError::Encode)?;
        let response = self.upstream.send(&self.principal, Method::POST, self.headers(), body.into()).await;
        let (parts, body) = response.map_err(TransportError::NoAnswer)?.into_parts();
        if let Some(session) = parts.headers.get(SESSION_ID) {
            self.note(SESSION_ID, session.clone());
        }
        if !parts.status.is_success() {
            return Err(TransportError::Status(parts.status.as_u16()));
        }
        if is_stream(&parts.headers) {
            // The answer may take as long as a person does; other messages must not wait for it.
            let shared = Arc::clone(&self);
            tokio::spawn(async move {
                let mut events = Events::new(body, BYTES_MAX);
                while let Ok(Some(event)) = events.next().await {
                    if let Some(data) = event.data()
                        && shared.received(&data).await.is_err()
                    {
                        return;
                    }
                }
            });
            return Ok(());
        }
        let text = collect_text(body, &parts.headers, BYTES_MAX).await.ok_or(TransportError::Unreadable)?;
        if text.trim().is_empty() { Ok(()) } else { self.received(&text).await }
    }

    async fn received(&self, text: &str) -> Result<(), TransportError> {
        let message: Value = serde_json::from_str(text).map_err(|_| TransportError::Unreadable)?;
        if let Some(version) = message.pointer("/result/protocolVersion").and_then(Value::as_str)
            && let Ok(version) = HeaderValue::from_str(version)
        {
            self.note(PROTOCOL_VERSION, version);
        }
        let message = serde_json::from_value(message).map_err(|_| TransportError::Unreadable)?;
        self.receiving.send(message).await.map_err(|_| TransportError::Unreadable)
    }
}
