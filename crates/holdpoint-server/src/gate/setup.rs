use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdpoint_api::declare::GateDeclaration;
use holdpoint_store::{AppliedDeclaration, Store, StoreError};

use crate::rules::RuleBook;

/// The declaration in force, compiled.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Counts from 1; 0 before anything was declared.
    revision: i64,
    pub(crate) rules: RuleBook,
    pub(crate) declaration: Arc<GateDeclaration>,
}

/// Why there is no setup; then nothing can be decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Written by a version that compiled it.
    #[error("the declaration in force (revision {0}) has rules this version cannot read")]
    Unreadable(i64),
}

/// Compiles a declaration once, and again when the store has another one.
#[derive(Debug, Default)]
pub(crate) struct SetupCache(RwLock<Option<Arc<Setup>>>);

impl SetupCache {
    pub(crate) async fn current(&self, store: &dyn Store) -> Result<Arc<Setup>, SetupError> {
        let applied = store.declaration().await?;
        let revision = applied.as_ref().map_or(0, |applied| applied.revision);
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(setup) = known.as_ref().filter(|setup| setup.revision == revision) {
                return Ok(Arc::clone(setup));
            }
        }
        let setup = Arc::new(Setup::compile(applied.as_deref(), revision)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&setup));
        Ok(setup)
    }
}

impl Setup {
    fn compile(applied: Option<&AppliedDeclaration>, revision: i64) -> Result<Self, SetupError> {
        let declaration = applied.map(|applied| Arc::clone(&applied.declaration)).unwrap_or_default();
        let rules = RuleBook::compile(&declaration).map_err(|_| SetupError::Unreadable(revision))?;
        Ok(Self { revision, rules, declaration })
    }

    pub(crate) fn poll_after_seconds(&self) -> u64 {
        let hint = self.declaration.poll_after.get();
        hint.as_secs().saturating_add(u64::from(hint.subsec_nanos() > 0)).max(1)
    }

    pub(crate) fn review_ttl(&self) -> Option<Duration> {
        self.declaration.review_ttl.map(holdpoint_api::declare::HumaneDuration::get)
    }
}
