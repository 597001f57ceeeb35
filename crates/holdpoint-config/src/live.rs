//! A policy that can be replaced while it is asked.

use crate::{
    policy::{Action, PolicySet},
    settings::{ServerCompat, WaitSettings},
};
use holdpoint_core::{Plan, PlanError, Policy, PolicyRevision, ToolCall};
use std::sync::{Arc, PoisonError, RwLock};

/// The policy in force. A call that is being planned meanwhile is planned by one policy from beginning to end.
#[derive(Debug)]
pub struct LivePolicy(RwLock<Arc<PolicySet>>);

impl LivePolicy {
    /// Puts `policy` in force.
    #[must_use]
    pub fn new(policy: PolicySet) -> Self {
        Self(RwLock::new(Arc::new(policy)))
    }

    /// Puts another policy in force.
    pub fn replace(&self, policy: PolicySet) {
        let policy = Arc::new(policy);
        // Nothing panics while it holds the lock, and either policy is whole.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// The policy in force now.
    #[must_use]
    pub fn current(&self) -> Arc<PolicySet> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// See [`PolicySet::action_of`].
    #[must_use]
    pub fn action_of(&self, server: &str, tool: &str) -> Action {
        self.current().action_of(server, tool)
    }

    /// See [`PolicySet::waits_of`].
    #[must_use]
    pub fn waits_of(&self, server: &str, tool: &str) -> WaitSettings {
        self.current().waits_of(server, tool)
    }

    /// See [`PolicySet::denies_method`].
    #[must_use]
    pub fn denies_method(&self, server: &str, method: &str) -> bool {
        self.current().denies_method(server, method)
    }

    /// See [`PolicySet::compat_of`].
    #[must_use]
    pub fn compat_of(&self, server: &str) -> Option<ServerCompat> {
        self.current().compat_of(server)
    }
}

impl Policy for LivePolicy {
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError> {
        self.current().plan(call)
    }

    fn revision(&self) -> PolicyRevision {
        self.current().revision()
    }
}
