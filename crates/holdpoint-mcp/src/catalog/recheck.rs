//! The kernel's questions to the server while a call is decided.

use super::{Catalog, PROBE_BYTES_MAX, ToolSource};
use crate::{message::Object, outcome};
use async_trait::async_trait;
use holdpoint_core::{
    DefinitionDigest, Definitions, Probe, Question, Ran, ServerName, ToolName, check_unambiguous,
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// How long finding out about an effect may take, with reading the tool's definition again.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the server of one call, in the name of that call.
#[derive(Debug)]
pub(crate) struct AtServer {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) source: Arc<dyn ToolSource>,
}

/// The definition as the server states it at the moment a held call is about to run.
#[async_trait]
impl Definitions for AtServer {
    async fn current(&self, _server: &ServerName, tool: &ToolName) -> Option<DefinitionDigest> {
        self.catalog.mark_stale();
        match self.catalog.accepted(&*self.source, tool.as_str()).await {
            Ok(tool) => Some(tool.digest),
            Err(why) => {
                tracing::warn!(?why, %tool, "an approved call does not run: its tool could not be confirmed");
                None
            }
        }
    }
}

/// A read-only tool that the operator named. It is no call of a client's, so nobody is asked about it.
#[async_trait]
impl Probe for AtServer {
    async fn ask(&self, server: &ServerName, question: Question) -> Option<Value> {
        if *server != self.catalog.server {
            return None;
        }
        let told = match tokio::time::timeout(PROBE_TIMEOUT, self.probe(&question)).await {
            Ok(told) => told,
            Err(_) => Err("the tool server took too long"),
        };
        told.inspect_err(
            |why| tracing::warn!(tool = %question.tool, why, "whether an effect happened cannot be told"),
        )
        .ok()
    }
}

impl AtServer {
    /// The `result`; nothing is taken from a tool that may have become another one, or from an answer with two readings.
    async fn probe(&self, question: &Question) -> Result<Value, &'static str> {
        self.catalog.mark_stale();
        let tool = self.catalog.accepted(&*self.source, question.tool.as_str()).await;
        let tool = tool.map_err(|_| "the read-only tool could not be confirmed")?;
        let arguments: Value =
            serde_json::from_str(question.arguments.get()).map_err(|_| "the question is not JSON")?;
        if !arguments.is_object() {
            return Err("the question is not an object");
        }
        let fits = self.catalog.validate(&tool, Some(&arguments));
        fits.map_err(|_| "the question does not fit the read-only tool")?;
        let answer = self.source.probe(question).await.map_err(|_| "the tool server gave no answer")?;
        if answer.len() > PROBE_BYTES_MAX {
            return Err("the answer is too large");
        }
        let answer = Object::read(&answer).map_err(|_| "the answer has no single reading")?;
        let error = answer.get("error").filter(|error| error.get() != "null");
        let (None, Some(result)) = (error, answer.get("result")) else {
            return Err("the tool server refused the question");
        };
        match outcome::ran_of(result) {
            Ran::Succeeded => check_unambiguous(result.get()).map_err(|_| "the answer has no single reading"),
            Ran::Failed => Err("the read-only tool failed"),
        }
    }
}
