//! A server at a URL, over streamable HTTP.

use super::{ANSWER_BYTES_MAX, Wire};
use crate::{
    catalog::ListError,
    http::answer_in,
    protocol::{ACCEPT_EITHER, JSON, METHOD, PROTOCOL_VERSION, SESSION_ID},
    upstream::{ServerAddress, ServerAddressError, Upstream, UpstreamBody},
};
use async_trait::async_trait;
use bytes::Bytes;
use holdpoint_core::{Principal, ServerName};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub(super) struct Web {
    upstream: Upstream,
    principal: Principal,
    /// With session and revision as soon as they are known.
    headers: Mutex<HeaderMap>,
}

impl Web {
    pub(super) fn new(address: ServerAddress) -> Result<Self, ServerAddressError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, ACCEPT_EITHER);
        headers.insert(header::CONTENT_TYPE, JSON);
        let (upstream, principal) =
            (Upstream::new(address, &ServerName::new("server"))?, Principal::new("holdpoint"));
        Ok(Self { upstream, principal, headers: Mutex::new(headers) })
    }

    /// A session is given back.
    pub(super) async fn end(self) {
        let headers = self.headers();
        if headers.contains_key(SESSION_ID) {
            let _server_may_keep_it =
                self.upstream.send(&self.principal, Method::DELETE, headers, Bytes::new()).await;
        }
    }

    fn headers(&self) -> HeaderMap {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn post(&self, headers: HeaderMap, message: Vec<u8>) -> Result<Response<UpstreamBody>, ListError> {
        let response = self.upstream.send(&self.principal, Method::POST, headers, message.into()).await;
        let response = response.map_err(|error| {
            tracing::debug!(why = error.chain(), "a tool server gave no answer");
            ListError::Unreachable
        })?;
        if let Some(session) = response.headers().get(SESSION_ID) {
            let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
            headers.insert(SESSION_ID, session.clone());
        }
        Ok(response)
    }
}

#[async_trait]
impl Wire for Web {
    async fn ask(&self, method: &'static str, id: &str, request: Vec<u8>) -> Result<String, ListError> {
        let mut headers = self.headers();
        if headers.contains_key(PROTOCOL_VERSION) {
            headers.insert(METHOD, HeaderValue::from_static(method));
        }
        answer_in(self.post(headers, request).await?, id, ANSWER_BYTES_MAX).await
    }

    async fn tell(&self, message: Vec<u8>) -> Result<(), ListError> {
        let response = self.post(self.headers(), message).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(ListError::Refused { status: Some(status.as_u16()), error: None })
    }

    fn speak(&self, revision: &str) {
        if let Ok(revision) = HeaderValue::from_str(revision) {
            self.headers.lock().unwrap_or_else(PoisonError::into_inner).insert(PROTOCOL_VERSION, revision);
        }
    }
}
