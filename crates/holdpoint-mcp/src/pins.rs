use async_trait::async_trait;
use holdpoint_core::{DefinitionDigest, ServerName, ToolName};
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

/// How a tool's definition compares with the one that was seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// It is the accepted one.
    Same,
    /// The tool was not known; this definition is the accepted one from now on.
    New,
    /// It is not the accepted one. Calls are refused until a person accepts it.
    Changed,
}

/// The pins cannot be read or written. Calls are refused.
#[derive(Debug, thiserror::Error)]
#[error("the accepted tool definitions cannot be read")]
pub struct PinsError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Which tool definitions were accepted. A server that changes what a tool does after it was accepted is the oldest
/// trick with tools (CVE-2025-54136).
#[async_trait]
pub trait Pins: fmt::Debug + Send + Sync {
    /// Compares, and accepts what was never seen.
    async fn check(
        &self,
        server: &ServerName,
        tool: &ToolName,
        definition: &Value,
        digest: DefinitionDigest,
    ) -> Result<Pinned, PinsError>;
}

/// Pins that last as long as the process.
#[derive(Debug, Default)]
pub struct MemoryPins(Mutex<HashMap<(ServerName, ToolName), DefinitionDigest>>);

impl MemoryPins {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts `digest` for a tool.
    pub fn accept(&self, server: ServerName, tool: ToolName, digest: DefinitionDigest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((server, tool), digest);
    }
}

#[async_trait]
impl Pins for MemoryPins {
    async fn check(
        &self,
        server: &ServerName,
        tool: &ToolName,
        _definition: &Value,
        digest: DefinitionDigest,
    ) -> Result<Pinned, PinsError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = known.insert((server.clone(), tool.clone()), digest);
        Ok(match first {
            None => Pinned::New,
            Some(accepted) if accepted == digest => Pinned::Same,
            Some(accepted) => {
                known.insert((server.clone(), tool.clone()), accepted);
                Pinned::Changed
            }
        })
    }
}
