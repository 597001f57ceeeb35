//! What a server says of its tools, read by ourselves: which exist, what their arguments must look like, whether they
//! are still the accepted ones.

mod params;
mod recheck;
mod schema;

use crate::{
    message::{Object, text_of},
    pins::{Pinned, Pins},
    reply::{self, Ended},
};
use async_trait::async_trait;
use holdpoint_core::{
    DefinitionDigest, Question, ServerName, ToolName, ToolWarning, check_unambiguous, definition_digest,
};
pub(crate) use params::ParamHeader;
pub(crate) use recheck::AtServer;
pub(crate) use schema::Schemas;
use serde_json::{Value, value::RawValue};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

const PAGES_MAX: usize = 1_000;
const TOOLS_MAX: usize = 20_000;
/// All pages of one list.
const LIST_BYTES_MAX: usize = 64 << 20;
/// The largest answer to a call of our own that is taken in.
pub(crate) const PROBE_BYTES_MAX: usize = 1 << 20;
/// How long the server has for one page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks the server, in the name and with the protocol members of the call that needs to know.
#[async_trait]
pub(crate) trait ToolSource: fmt::Debug + Send + Sync {
    /// The raw answer to `tools/list` with `cursor`.
    async fn page(&self, cursor: Option<&str>) -> Result<String, ListError>;

    /// The raw answer to a call of a read-only tool of which no client knows; at most [`PROBE_BYTES_MAX`] of it are taken.
    async fn probe(&self, question: &Question) -> Result<String, ListError>;
}

/// Why the tools are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListError {
    #[error("the tool server could not be asked for its tools")]
    Unreachable,
    #[error("the tool server took too long to list its tools")]
    TooSlow,
    #[error("the tool server refused to list its tools")]
    Refused {
        /// The HTTP status, where there is one.
        status: Option<u16>,
        /// The raw `error` member of its answer.
        error: Option<Vec<u8>>,
    },
    #[error("the tool server's list of tools cannot be read")]
    Unreadable,
    #[error("the tool server lists too many tools")]
    TooMany,
}

/// One tool as its server states it.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: ToolName,
    pub(crate) digest: DefinitionDigest,
    pub(crate) warning: ToolWarning,
    definition: Value,
    accepted: AtomicBool,
    /// Looked up by calls of the stateless era over HTTP only.
    param_headers: OnceLock<Arc<[ParamHeader]>>,
}

impl Tool {
    /// As its server states it.
    pub(crate) const fn definition(&self) -> &Value {
        &self.definition
    }

    /// What its arguments must be like.
    pub(crate) fn input_schema(&self) -> Option<&Value> {
        self.definition.get("inputSchema")
    }

    /// Which of its arguments a call repeats in headers.
    fn param_headers(&self) -> &Arc<[ParamHeader]> {
        self.param_headers.get_or_init(|| params::of(self.input_schema()).into())
    }

    /// Whether a call repeats any of its arguments in headers.
    pub(crate) fn repeats_arguments(&self) -> bool {
        !self.param_headers().is_empty()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Listed {
    Tool(Arc<Tool>),
    /// Listed, but not in a way that two readers understand alike.
    Unusable(&'static str),
}

#[derive(Debug)]
pub(crate) struct Listing {
    tools: HashMap<Box<str>, Listed>,
    generation: u64,
}

/// The tools of one session with one server.
#[derive(Debug)]
pub(crate) struct Catalog {
    server: ServerName,
    pins: Arc<dyn Pins>,
    schemas: Arc<Schemas>,
    listing: Mutex<Option<Arc<Listing>>>,
    generation: AtomicU64,
    /// One reader at a time; the others take what it found.
    reading: tokio::sync::Mutex<()>,
}

/// Why a call of a tool goes no further.
#[derive(Debug)]
pub(crate) enum NoTool {
    /// The server has no such tool.
    Unknown,
    /// The server's tools are not known.
    Unlisted(ListError),
    Ended(Ended),
}

impl Catalog {
    pub(crate) fn new(server: ServerName, pins: Arc<dyn Pins>, schemas: Arc<Schemas>) -> Self {
        let (listing, generation) = (Mutex::new(None), AtomicU64::new(0));
        Self { server, pins, schemas, listing, generation, reading: tokio::sync::Mutex::default() }
    }

    /// What was read does not count any more.
    pub(crate) fn mark_stale(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A tool that can be called without asking anybody else first. Never waits.
    pub(crate) fn at_hand(&self, name: &str) -> Option<Arc<Tool>> {
        match self.fresh()?.tools.get(name)? {
            Listed::Tool(tool) if tool.accepted.load(Ordering::Acquire) => Some(Arc::clone(tool)),
            Listed::Tool(_) | Listed::Unusable(_) => None,
        }
    }

    /// The accepted tool of this name.
    pub(crate) async fn accepted(&self, source: &dyn ToolSource, name: &str) -> Result<Arc<Tool>, NoTool> {
        match self.at_hand(name) {
            Some(tool) => Ok(tool),
            None => Box::pin(self.look_up(source, name)).await,
        }
    }

    async fn look_up(&self, source: &dyn ToolSource, name: &str) -> Result<Arc<Tool>, NoTool> {
        let known = self.fresh().is_some();
        let mut found = self.read(source).await.map_err(NoTool::Unlisted)?.tools.get(name).cloned();
        if found.is_none() && known {
            // A server need not say that it has a new tool.
            self.mark_stale();
            found = self.read(source).await.map_err(NoTool::Unlisted)?.tools.get(name).cloned();
        }
        match found {
            None => Err(NoTool::Unknown),
            Some(Listed::Unusable(why)) => Err(NoTool::Ended(Ended::DefinitionUnusable(why.into()))),
            Some(Listed::Tool(tool)) => self.check(&tool).await.map(|()| tool).map_err(NoTool::Ended),
        }
    }

    /// What a call of this tool repeats in headers, as it was last listed.
    pub(crate) fn param_headers(&self, name: &str) -> Arc<[ParamHeader]> {
        let listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match listing.and_then(|listing| listing.tools.get(name).cloned()) {
            Some(Listed::Tool(tool)) => Arc::clone(tool.param_headers()),
            Some(Listed::Unusable(_)) | None => Arc::default(),
        }
    }

    async fn check(&self, tool: &Tool) -> Result<(), Ended> {
        match self.pins.check(&self.server, &tool.name, &tool.definition, tool.digest).await {
            Ok(Pinned::Same | Pinned::New) => {
                tool.accepted.store(true, Ordering::Release);
                Ok(())
            }
            Ok(Pinned::Changed) => Err(Ended::DefinitionChanged { tool: tool.name.to_string() }),
            Err(error) => {
                tracing::error!(%error, server = %self.server, "a tool's definition could not be compared");
                Err(Ended::Unavailable("The accepted definition of the tool could not be read".into()))
            }
        }
    }

    /// Whether `arguments`, an object, fit the tool.
    pub(crate) fn validate(&self, tool: &Tool, arguments: Option<&Value>) -> Result<(), Ended> {
        self.schemas.validate(tool.digest, tool.input_schema(), arguments)
    }

    fn fresh(&self) -> Option<Arc<Listing>> {
        let listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (listing.generation == self.generation.load(Ordering::Acquire)).then_some(listing)
    }

    async fn read(&self, source: &dyn ToolSource) -> Result<Arc<Listing>, ListError> {
        let _reading = self.reading.lock().await;
        if let Some(listing) = self.fresh() {
            return Ok(listing);
        }
        // Noted before reading: what changes meanwhile makes this listing stale at once.
        let generation = self.generation.load(Ordering::Acquire);
        let before = self.listing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tools = read_all(source, before.as_deref()).await?;
        let listing = Arc::new(Listing { tools, generation });
        *self.listing.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&listing));
        Ok(listing)
    }
}

/// All pages.
pub(crate) async fn read_all(
    source: &dyn ToolSource,
    before: Option<&Listing>,
) -> Result<HashMap<Box<str>, Listed>, ListError> {
    let mut tools = HashMap::new();
    let mut cursor: Option<String> = None;
    let mut bytes_left = LIST_BYTES_MAX;
    for _ in 0..PAGES_MAX {
        let page = tokio::time::timeout(PAGE_TIMEOUT, source.page(cursor.as_deref()));
        let page = page.await.map_err(|_| ListError::TooSlow)??;
        bytes_left = bytes_left.checked_sub(page.len()).ok_or(ListError::TooMany)?;
        cursor = read_page(&page, before, &mut tools)?;
        if tools.len() > TOOLS_MAX {
            return Err(ListError::TooMany);
        }
        if cursor.is_none() {
            return Ok(tools);
        }
    }
    Err(ListError::TooMany)
}

/// Takes the tools of one page; returns the cursor of the next.
fn read_page(
    page: &str,
    before: Option<&Listing>,
    tools: &mut HashMap<Box<str>, Listed>,
) -> Result<Option<String>, ListError> {
    let answer = Object::read(page).map_err(|_| ListError::Unreadable)?;
    let Some(result) = answer.get("result") else {
        return Err(ListError::Refused { status: None, error: reply::fragment_from(page) });
    };
    let result = Object::read(result.get()).map_err(|_| ListError::Unreadable)?;
    let listed = result.get("tools").ok_or(ListError::Unreadable)?;
    let listed: Vec<&RawValue> = serde_json::from_str(listed.get()).map_err(|_| ListError::Unreadable)?;
    for raw in listed {
        let object = Object::read_leniently(raw.get()).map_err(|_| ListError::Unreadable)?;
        let name = object.get("name").and_then(text_of).ok_or(ListError::Unreadable)?;
        let twice = tools.contains_key(&*name);
        let entry =
            if twice { Listed::Unusable("it is listed twice") } else { read_tool(&name, raw, before) };
        tools.insert(name.into(), entry);
    }
    match result.get("nextCursor").filter(|cursor| cursor.get() != "null") {
        None => Ok(None),
        Some(cursor) => text_of(cursor).map(|cursor| Some(cursor.into_owned())).ok_or(ListError::Unreadable),
    }
}

fn read_tool(name: &str, raw: &RawValue, before: Option<&Listing>) -> Listed {
    let Ok(definition) = check_unambiguous(raw.get()) else {
        return Listed::Unusable("its definition has no single reading");
    };
    let digest = definition_digest(&definition);
    match before.and_then(|before| before.tools.get(name)) {
        // Nothing changed: what was found out about it stands.
        Some(Listed::Tool(tool)) if tool.digest == digest => Listed::Tool(Arc::clone(tool)),
        Some(Listed::Tool(_) | Listed::Unusable(_)) | None => {
            let (name, accepted) = (ToolName::new(name), AtomicBool::new(false));
            let param_headers = OnceLock::new();
            let warning = warning_of(&definition);
            Listed::Tool(Arc::new(Tool { name, digest, warning, definition, accepted, param_headers }))
        }
    }
}

/// MCP 2025-06-18, `ToolAnnotations`. What is there and is no plain no is a yes: it only makes a decision stricter.
fn warning_of(definition: &Value) -> ToolWarning {
    match definition.pointer("/annotations/destructiveHint") {
        None | Some(Value::Null | Value::Bool(false)) => ToolWarning::None,
        Some(
            Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
        ) => ToolWarning::Destructive,
    }
}

#[cfg(test)]
mod tests;
