//! Requests of our own, in the name of a call: same session, same revision.

use super::{body, checks, sse::Events};
use crate::{
    catalog::{ListError, PROBE_BYTES_MAX, ToolSource},
    guard::{list_request, probe_request},
    message::{IdKey, TOOLS_CALL, is_answer_to},
    protocol::{ACCEPT_EITHER, JSON, METHOD, NAME, PROTOCOL_VERSION, SESSION_ID},
    random, reply,
    upstream::{Upstream, UpstreamBody},
};
use async_trait::async_trait;
use holdpoint_core::{Principal, Question};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use std::sync::OnceLock;

/// One page of tools.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// Asks the server in the name of one call.
#[derive(Debug)]
pub(super) struct Own {
    upstream: Upstream,
    principal: Principal,
    /// Which session, and which revision.
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
    protocol: String,
    /// Ids of our own requests start with this; nobody can guess it. Most calls make none.
    id: OnceLock<String>,
}

impl Own {
    pub(super) fn new(
        upstream: &Upstream,
        principal: &Principal,
        caller: &HeaderMap,
        protocol: String,
    ) -> Self {
        let own = |name| caller.get(name).map(checks::own_value);
        Self {
            upstream: upstream.clone(),
            principal: principal.clone(),
            session: own(&SESSION_ID),
            version: own(&PROTOCOL_VERSION),
            protocol,
            id: OnceLock::new(),
        }
    }

    fn id(&self) -> &str {
        self.id.get_or_init(|| format!("holdpoint-{}", random::token()))
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.extend(self.session.clone().map(|session| (SESSION_ID, session)));
        headers.extend(self.version.clone().map(|version| (PROTOCOL_VERSION, version)));
        headers.insert(header::ACCEPT, ACCEPT_EITHER);
        headers.insert(header::CONTENT_TYPE, JSON);
        if !self.protocol.is_empty() {
            headers.insert(METHOD, HeaderValue::from_static("tools/list"));
        }
        headers
    }

    /// The answer to `request`, a message with the id `id`; of a body or an event at most `bytes_max` are taken.
    async fn ask(
        &self,
        headers: HeaderMap,
        id: &str,
        request: Vec<u8>,
        bytes_max: usize,
    ) -> Result<String, ListError> {
        let response = self.upstream.send(&self.principal, Method::POST, headers, request.into()).await;
        answer_in(response.map_err(|_| ListError::Unreachable)?, id, bytes_max).await
    }
}

/// The answer to a request of our own with the id `id`; of a body or an event at most `bytes_max` are taken.
pub(crate) async fn answer_in(
    response: Response<UpstreamBody>,
    id: &str,
    bytes_max: usize,
) -> Result<String, ListError> {
    let (parts, body) = response.into_parts();
    if parts.status.is_success() && body::is_stream(&parts.headers) {
        let id = IdKey::Text(id.into());
        let mut events = Events::new(body, bytes_max);
        while let Some(event) = events.next().await.map_err(|_| ListError::Unreadable)? {
            if let Some(data) = event.data().filter(|data| is_answer_to(data, &id)) {
                return Ok(data);
            }
        }
        return Err(ListError::Unreadable);
    }
    let body = body::collect_text(body, &parts.headers, bytes_max).await.ok_or(ListError::Unreadable)?;
    if parts.status.is_success() {
        return Ok(body);
    }
    Err(ListError::Refused { status: Some(parts.status.as_u16()), error: reply::fragment_from(&body) })
}

#[async_trait]
impl ToolSource for Own {
    async fn page(&self, cursor: Option<&str>) -> Result<String, ListError> {
        let request = list_request(self.id(), cursor, &self.protocol);
        self.ask(self.headers(), self.id(), request, PAGE_BYTES_MAX).await
    }

    async fn probe(&self, question: &Question) -> Result<String, ListError> {
        let id = format!("{}-{}", self.id(), random::token());
        let mut headers = self.headers();
        if !self.protocol.is_empty() {
            headers.insert(METHOD, HeaderValue::from_static(TOOLS_CALL));
            headers.insert(NAME, checks::encoded(question.tool.as_str()).ok_or(ListError::Unreachable)?);
        }
        let request = probe_request(&id, question, &self.protocol);
        let answer = self.ask(headers, &id, request, PROBE_BYTES_MAX).await?;
        // Who answers another question says nothing of this one.
        if is_answer_to(&answer, &IdKey::Text(id.into())) { Ok(answer) } else { Err(ListError::Unreadable) }
    }
}
