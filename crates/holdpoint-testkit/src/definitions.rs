use crate::lock;
use async_trait::async_trait;
use holdpoint_core::{DefinitionDigest, Definitions, ServerName, ToolName};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Says the same of every tool.
#[derive(Debug)]
pub struct FixedDefinitions {
    digest: Mutex<Option<DefinitionDigest>>,
    reads: AtomicUsize,
}

impl FixedDefinitions {
    /// What to say; `None`: there is no such tool, or it cannot be told.
    #[must_use]
    pub fn new(digest: Option<DefinitionDigest>) -> Self {
        Self { digest: Mutex::new(digest), reads: AtomicUsize::new(0) }
    }

    /// The server changed its mind.
    pub fn set(&self, digest: Option<DefinitionDigest>) {
        *lock(&self.digest) = digest;
    }

    /// How often it was asked.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Definitions for FixedDefinitions {
    async fn current(&self, _server: &ServerName, _tool: &ToolName) -> Option<DefinitionDigest> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        *lock(&self.digest)
    }
}
