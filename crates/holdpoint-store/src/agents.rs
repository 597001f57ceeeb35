use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdpoint_api::SecretHash;
use holdpoint_api::declare::GateDeclaration;
use jiff::Timestamp;

use crate::{AgentId, StoreError};

/// Somebody who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Given by the store.
    pub id: AgentId,
    /// Unique.
    pub name: String,
    /// The last characters of the key, by which people tell keys apart.
    pub key_hint: String,
    /// Whether it may ask now.
    pub state: AgentState,
    /// What the operator set.
    pub settings: AgentSettings,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Whether an agent may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// It may.
    Active,
    /// Not for now.
    Paused,
    /// Never again; the name stays taken, since the log speaks of it.
    Revoked,
}

/// What an operator sets of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Whether an approval comes with a one-time token.
    pub signed_tokens: bool,
    /// How long a token works; absent: the Gate's own default.
    pub token_ttl: Option<Duration>,
}

/// An agent to be made.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// Unique.
    pub name: String,
    /// What is kept of its key.
    pub key_hash: SecretHash,
    /// The key's last characters.
    pub key_hint: String,
    /// What the operator set.
    pub settings: AgentSettings,
    /// Who made it.
    pub by: String,
    /// When.
    pub now: Timestamp,
}

/// How making an agent went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateAgent {
    /// It is there.
    Created(Agent),
    /// The name is taken; nothing was changed.
    NameTaken,
}

/// How changing an agent went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentChange {
    /// It is changed.
    Changed(Agent),
    /// It was so already, or it is revoked.
    Unchanged(Agent),
    /// No agent of that name.
    NotFound,
}

/// A declaration as it was applied.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedDeclaration {
    /// Counts from 1.
    pub revision: i64,
    /// What was applied.
    pub declaration: Arc<GateDeclaration>,
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// How applying a declaration went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// It is in force as this revision.
    Applied(i64),
    /// It was in force already, as this revision.
    Unchanged(i64),
}

/// Who may ask, and what a Gate was told.
#[async_trait]
pub trait Agents: Send + Sync {
    /// Makes an agent.
    async fn create_agent(&self, agent: NewAgent) -> Result<CreateAgent, StoreError>;

    /// All agents, by name, revoked ones too.
    async fn agents(&self) -> Result<Vec<Agent>, StoreError>;

    /// The agent a key belongs to. On the path of every request: a back end answers it from memory, yet never with
    /// what was true before a committed change, whichever process made it.
    async fn agent_by_key(&self, key_hash: SecretHash) -> Result<Option<Arc<Agent>>, StoreError>;

    /// Gives an agent another key; the old one stops working. A revoked agent stays without.
    async fn regenerate_key(
        &self,
        name: &str,
        key_hash: SecretHash,
        key_hint: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<AgentChange, StoreError>;

    /// Pauses, resumes or revokes an agent. Nothing brings a revoked one back.
    async fn set_agent_state(
        &self,
        name: &str,
        state: AgentState,
        by: &str,
        now: Timestamp,
    ) -> Result<AgentChange, StoreError>;

    /// Changes what the operator set.
    async fn set_agent_settings(
        &self,
        name: &str,
        settings: AgentSettings,
        by: &str,
        now: Timestamp,
    ) -> Result<AgentChange, StoreError>;

    /// Puts a declaration in force, unless it is already.
    async fn apply_declaration(
        &self,
        declaration: &GateDeclaration,
        by: &str,
        now: Timestamp,
    ) -> Result<ApplyOutcome, StoreError>;

    /// The declaration in force. From memory, under the same promise as [`Agents::agent_by_key`].
    async fn declaration(&self) -> Result<Option<Arc<AppliedDeclaration>>, StoreError>;
}
