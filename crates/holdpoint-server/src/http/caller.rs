use std::sync::Arc;

use axum::extract::FromRequestParts;
use holdpoint_api::{ApiKey, SecretHash};
use holdpoint_store::{Agent, AgentState};
use http::request::Parts;
use http::{HeaderMap, header};

use crate::gate::{GateServer, Refusal};

/// An agent that proved who it is and may ask now. There is no other way to make one.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) agent: Arc<Agent>,
    key: SecretHash,
}

impl Caller {
    /// Looks again: after a wait the agent may have been paused, or its key changed.
    pub(super) async fn again(self, gate: &GateServer) -> Result<Self, Refusal> {
        admit(gate, self.key).await
    }
}

impl FromRequestParts<Arc<GateServer>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, gate: &Arc<GateServer>) -> Result<Self, Refusal> {
        let text = bearer(&parts.headers).ok_or(Refusal::Unauthorized)?;
        // The checksum spares the store what cannot be a key of ours.
        let key = ApiKey::parse(text).map_err(|_| Refusal::Unauthorized)?;
        admit(gate, key.hash()).await
    }
}

async fn admit(gate: &GateServer, key: SecretHash) -> Result<Caller, Refusal> {
    let agent = gate.agent_of(&key).await?.ok_or(Refusal::Unauthorized)?;
    match agent.state {
        AgentState::Active => Ok(Caller { agent, key }),
        AgentState::Paused => Err(Refusal::Forbidden("this agent is paused")),
        AgentState::Revoked => Err(Refusal::Forbidden("this agent is revoked")),
    }
}

/// The token of `Authorization: Bearer …`. Two such headers are none: which one counts would be a guess.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
