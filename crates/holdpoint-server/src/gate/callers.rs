use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::FutureExt;
use holdpoint_api::{ApiKey, SecretHash};
use holdpoint_store::{Agent, Change, Listener, Store, StoreError};
use tokio::sync::Mutex;

use super::{GateError, GateServer};
use crate::random;

/// Keys that live in this process only, for the proxies embedded in it. Never written down.
#[derive(Debug, Default)]
pub(crate) struct EphemeralKeys {
    names: RwLock<HashMap<[u8; 32], String>>,
    agents: Mutex<Option<AgentsByName>>,
}

/// All agents as of the last change.
#[derive(Debug)]
struct AgentsByName {
    changes: Listener,
    agents: HashMap<String, Arc<Agent>>,
}

impl EphemeralKeys {
    fn name_of(&self, key: &SecretHash) -> Option<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(key.as_bytes()).cloned()
    }

    fn add(&self, key: &SecretHash, agent: &str) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.insert(*key.as_bytes(), agent.to_owned());
    }

    /// The agent as it is now. The store answers by key only from memory, so the list is kept until the bell rings.
    async fn agent(&self, store: &dyn Store, name: &str) -> Result<Option<Arc<Agent>>, StoreError> {
        let mut kept = self.agents.lock().await;
        if let Some(known) = kept.as_mut()
            && known.is_fresh()
        {
            return Ok(known.agents.get(name).cloned());
        }
        // Listen first, then read: what changes in between is heard.
        let changes = store.bell().listen();
        let agents = store.agents().await?;
        let agents = agents.into_iter().map(|agent| (agent.name.clone(), Arc::new(agent))).collect();
        let fresh = kept.insert(AgentsByName { changes, agents });
        Ok(fresh.agents.get(name).cloned())
    }
}

impl AgentsByName {
    fn is_fresh(&mut self) -> bool {
        // Unconstrained: with tokio's budget used up, a change that waits would look like none.
        while let Some(change) = tokio::task::coop::unconstrained(self.changes.next()).now_or_never() {
            match change {
                Some(Change::Thread { .. } | Change::Task(..)) => {}
                Some(Change::Setup | Change::Everything) | None => return false,
            }
        }
        true
    }
}

impl GateServer {
    /// A key for `agent` that works in this process only and is never written down.
    pub async fn ephemeral_key(&self, agent: &str) -> Result<ApiKey, GateError> {
        if self.ephemeral.agent(self.store(), agent).await?.is_none() {
            return Err(GateError::NoSuchAgent(agent.to_owned()));
        }
        let key = ApiKey::generate(&random::bytes()?);
        self.ephemeral.add(&key.hash(), agent);
        Ok(key)
    }

    /// The agent a key belongs to, in whatever state.
    pub(crate) async fn agent_of(&self, key: &SecretHash) -> Result<Option<Arc<Agent>>, StoreError> {
        match self.ephemeral.name_of(key) {
            Some(name) => self.ephemeral.agent(self.store(), &name).await,
            None => self.store().agent_by_key(*key).await,
        }
    }
}
