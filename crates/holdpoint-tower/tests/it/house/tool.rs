//! The tool behind the gate, and the notes that are taken in front of it.

use holdpoint_core::{
    Arguments, PermittedCall, Principal, Receipt, ServerName, TaskId, ToolCall, ToolName, ToolWarning,
};
use holdpoint_tower::RunOnce;
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tower::{Service, service_fn, util::BoxCloneService};

pub(crate) type Tool = BoxCloneService<ToolCall, String, Infallible>;
pub(crate) type Permitted = RunOnce<Tool, fn(&String) -> Vec<u8>>;

/// Every run that ever was, of all processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    calls: Arc<Mutex<Vec<ToolCall>>>,
    receipts: Arc<Mutex<Vec<Receipt>>>,
}

impl Runs {
    /// The raw arguments of every run.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        calls
            .iter()
            .map(|call| call.arguments.raw().map_or("absent".into(), std::string::ToString::to_string))
            .collect()
    }

    /// Why each of them was permitted.
    pub(crate) fn receipts(&self) -> Vec<Receipt> {
        self.receipts.lock().unwrap().clone()
    }

    pub(crate) fn note_run(&self, call: ToolCall) {
        self.calls.lock().unwrap().push(call);
    }

    pub(crate) fn note_receipt(&self, receipt: Receipt) {
        self.receipts.lock().unwrap().push(receipt);
    }

    /// Answers at once: with as many letters as `size` says, else that it ran.
    pub(crate) fn tool(&self) -> Tool {
        let runs = self.clone();
        BoxCloneService::new(service_fn(move |call: ToolCall| {
            let text = answer(&call);
            runs.note_run(call);
            async move { Ok::<_, Infallible>(text) }
        }))
    }
}

pub(crate) fn answer(call: &ToolCall) -> String {
    match call.arguments.as_map().and_then(|map| map.get("size")) {
        Some(size) => "x".repeat(size.as_u64().unwrap().try_into().unwrap()),
        None => format!("ran {}", call.tool),
    }
}

/// Keeps the receipt of each permit, and passes it on.
#[derive(Clone)]
pub(crate) struct Noted {
    pub(crate) runs: Runs,
    pub(crate) tool: Permitted,
}

impl Service<PermittedCall> for Noted {
    type Response = String;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<String, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.tool.poll_ready(context)
    }

    fn call(&mut self, permitted: PermittedCall) -> Self::Future {
        self.runs.note_receipt(permitted.receipt().clone());
        self.tool.call(permitted)
    }
}

pub(crate) fn call(tool: &str, arguments: &str) -> ToolCall {
    ToolCall {
        principal: Principal::new("local"),
        server: ServerName::new("bank"),
        tool: ToolName::new(tool),
        arguments: Arguments::parse(arguments).unwrap(),
        extra: serde_json::Map::new(),
        definition: None,
        warning: ToolWarning::None,
        task: TaskId::new("task-1"),
    }
}

pub(crate) fn pay(amount: u32) -> ToolCall {
    call("pay", &format!(r#"{{"amount":{amount}}}"#))
}

/// A person is asked about it; its effect is `refund:ORDER`.
pub(crate) fn refund(order: &str, amount: u32) -> ToolCall {
    call("refund", &format!(r#"{{"order":"{order}","amount":{amount}}}"#))
}

/// Nobody is asked about it; the same effect.
pub(crate) fn mark(order: &str) -> ToolCall {
    call("mark", &format!(r#"{{"order":"{order}"}}"#))
}
