//! The tool server that conformance is measured against, on `rmcp`, dual-era.
//!
//! It has what the public conformance suite looks for, by the names that the suite uses. A handler serves one session, or
//! one request of the stateless era; what they share is in [`Shared`].

#![expect(
    deprecated,
    reason = "logging, sampling and roots are still in the revisions that the fixture speaks"
)]

use std::collections::HashSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientCapabilities, CompleteRequestParams,
    CompleteResult, CreateTaskResult, GetPromptRequestParams, GetPromptResponse, GetTaskParams,
    GetTaskResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ServerConfig,
    SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
    UpdateTaskParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::task_manager::TaskManager;
use rmcp::{ErrorData, ServiceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::broadcast;

mod asking;
mod http;
mod jobs;
mod process;
mod texts;
mod tools;

pub use http::serve as http;
pub use process::{FixtureServer, begun, over_stdio, ran};

/// One side of the fixture. Cheap to clone.
#[derive(Clone)]
pub struct Fixture(Arc<Shared>);

struct Shared {
    runs: Option<PathBuf>,
    tasks: TaskManager,
    /// States of calls that wait for answers; a state that is not here was not ours.
    states: Mutex<HashSet<String>>,
    changes: broadcast::Sender<Change>,
}

/// What may change while somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Tools,
    Prompts,
}

type Context = RequestContext<RoleServer>;

impl std::fmt::Debug for Fixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixture").field("runs", &self.0.runs).finish_non_exhaustive()
    }
}

/// Serves one client over this process's pipes, until it leaves.
pub async fn stdio(fixture: Fixture) -> Result<()> {
    let running = fixture.serve(rmcp::transport::stdio()).await.context("no client")?;
    running.waiting().await.context("the session broke off")?;
    Ok(())
}

impl Fixture {
    /// `runs`: the file that gets a line for each tool that ran.
    #[must_use]
    pub fn new(runs: Option<PathBuf>) -> Self {
        let (changes, _) = broadcast::channel(64);
        let (tasks, states) = (TaskManager::new(), Mutex::default());
        Self(Arc::new(Shared { runs, tasks, states, changes }))
    }

    /// On record before the tool does anything.
    fn note_run(&self, call: &CallToolRequestParams) -> Result<(), ErrorData> {
        let Some(path) = &self.0.runs else {
            return Ok(());
        };
        let goes_on = call.input_responses.is_some();
        let line =
            json!({ "tool": call.name, "arguments": call.arguments, "goes_on": goes_on }).to_string() + "\n";
        let file = std::fs::File::options().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|error| ErrorData::internal_error(format!("cannot record the run: {error}"), None))
    }

    /// A state that nobody can make up.
    fn new_state(&self) -> Result<String, ErrorData> {
        let random = getrandom::u64();
        let random = random.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        let state = format!("state-{random:016x}");
        lock(&self.0.states).insert(state.clone());
        Ok(state)
    }

    /// Takes back a state; each is good for one round.
    fn redeem_state(&self, state: Option<&str>) -> Result<(), ErrorData> {
        let ours = state.is_some_and(|state| lock(&self.0.states).remove(state));
        if ours { Ok(()) } else { Err(ErrorData::invalid_params("this state is not ours", None)) }
    }

    async fn changed(&self, change: Change, context: &Context) {
        let _nobody_may_listen = self.0.changes.send(change);
        if !is_stateless(context) {
            let _client_may_be_gone = match change {
                Change::Tools => context.peer.notify_tool_list_changed().await,
                Change::Prompts => context.peer.notify_prompt_list_changed().await,
            };
        }
    }
}

/// Whether the request is of the era without sessions.
fn is_stateless(context: &Context) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

fn capabilities(context: &Context) -> ClientCapabilities {
    context.client_capabilities().unwrap_or_default()
}

/// A value of the protocol, as it stands on the wire.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// A result of the protocol; in the handshake era `rmcp` takes the kind off again.
fn result<T: DeserializeOwned>(mut value: Value) -> Result<T, ErrorData> {
    value["resultType"] = "complete".into();
    typed(value)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let config = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {
                "tools": { "listChanged": true },
                "prompts": { "listChanged": true },
                "resources": { "subscribe": true, "listChanged": true },
                "completions": {},
                "logging": {},
                "extensions": { "io.modelcontextprotocol/tasks": {} },
            },
            "serverInfo": { "name": "holdpoint-e2e-fixture", "version": "1.0.0" },
            "instructions": "For tests.",
        });
        typed(config).unwrap_or_default()
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        result(json!({ "tools": tools::list() }))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let tool = tools::list().into_iter().find(|tool| tool["name"] == name)?;
        serde_json::from_value(tool).ok()
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        self.note_run(&call)?;
        tools::call(self, &call, &context).await
    }

    async fn get_task(&self, task: GetTaskParams, _: Context) -> Result<GetTaskResult, ErrorData> {
        self.0.tasks.get_task(&task.task_id).map(GetTaskResult::new)
    }

    async fn update_task(&self, update: UpdateTaskParams, _: Context) -> Result<(), ErrorData> {
        self.0.tasks.update_task(&update.task_id, update.input_responses)
    }

    async fn cancel_task(&self, task: CancelTaskParams, _: Context) -> Result<(), ErrorData> {
        self.0.tasks.cancel_task(&task.task_id)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        result(json!({ "prompts": texts::prompts() }))
    }

    async fn get_prompt(
        &self,
        asked: GetPromptRequestParams,
        context: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        texts::prompt(&asked, &context)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        result(json!({ "resources": texts::resources() }))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        result(json!({ "resourceTemplates": texts::templates() }))
    }

    async fn read_resource(
        &self,
        asked: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        texts::resource(&asked.uri)
    }

    async fn complete(&self, asked: CompleteRequestParams, _: Context) -> Result<CompleteResult, ErrorData> {
        let values: Vec<_> = ["test", "testing", "tested"]
            .into_iter()
            .filter(|value| value.starts_with(&asked.argument.value))
            .collect();
        result(json!({ "completion": { "values": values, "total": values.len(), "hasMore": false } }))
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.0.changes.subscribe();
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            let accepted = context.accepted();
            let sink = context.sink();
            let _client_may_be_gone = match change {
                Ok(Change::Tools) if accepted.tools_list_changed == Some(true) => {
                    sink.notify_tool_list_changed().await
                }
                Ok(Change::Prompts) if accepted.prompts_list_changed == Some(true) => {
                    sink.notify_prompt_list_changed().await
                }
                Ok(Change::Tools | Change::Prompts) | Err(broadcast::error::RecvError::Lagged(_)) => Ok(()),
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            };
        }
    }
}

impl From<jobs::Job> for CallToolResponse {
    fn from(job: jobs::Job) -> Self {
        match job {
            jobs::Job::Task(task) => Self::Task(CreateTaskResult::new(task)),
            jobs::Job::Done(result) => Self::Complete(result),
        }
    }
}
