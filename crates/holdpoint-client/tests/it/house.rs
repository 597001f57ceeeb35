//! The kernel over the real client, before a scripted Gate, with a counted tool behind it.

use crate::setup::{approver, ask};
use holdpoint_client::GateApprover;
use holdpoint_core::{
    Arguments, Ask, Caller, Effect, Gate, GateParts, HoldLimits, Interest, InterestHandle, NoRecord, Owner,
    Plan, PlanError, Policy, PolicyRevision, Principal, Recorder, Rejection, Secrets, ServerName, TaskId,
    ToolCall, ToolName, ToolWarning,
};
use holdpoint_testkit::{Decision, ManualClock, MemoryJournal, ScriptedGate};
use holdpoint_tower::{Attended, GateLayer, GateService, Refuse, RunOnce};
use serde_json::value::RawValue;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;
use tower::{Layer as _, ServiceExt as _, service_fn, util::BoxCloneService};

/// Long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// For calls that are not decided.
pub(crate) const SHORT: Duration = Duration::from_millis(150);

/// Everything is gated, with the arguments as payload.
#[derive(Debug)]
struct HousePolicy;

impl Policy for HousePolicy {
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError> {
        let payload = call.arguments.raw().map_or_else(|| "{}".to_owned(), ToString::to_string);
        let payload = RawValue::from_string(payload).expect("JSON");
        let secrets = Secrets::new(["4242424242424242".to_owned()]);
        let effect: Option<Effect> = None;
        let asked = Ask { payload, secrets, effect, tool_name: call.tool.as_str().to_owned(), ..ask() };
        Ok(Plan::Gate(Box::new(asked)))
    }

    fn revision(&self) -> PolicyRevision {
        PolicyRevision::new("r1")
    }
}

type Tool = BoxCloneService<ToolCall, String, Infallible>;
type Reject = fn(&Rejection) -> String;
type Kept = fn(&[u8]) -> String;
type Gated = GateService<RunOnce<Tool, fn(&String) -> Vec<u8>>, Refuse<Reject, Kept>>;

pub(crate) struct House {
    pub(crate) scripted: ScriptedGate,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) gate: Arc<Gate>,
    runs: Arc<Mutex<Vec<String>>>,
    service: Gated,
}

impl House {
    pub(crate) async fn new() -> Self {
        let scripted = ScriptedGate::start().await;
        let way = Arc::new(approver(&scripted));
        Self::over(scripted, way, Arc::new(NoRecord), Arc::new(ManualClock::new()))
    }

    pub(crate) fn over(
        scripted: ScriptedGate,
        approver: Arc<GateApprover>,
        recorder: Arc<dyn Recorder>,
        clock: Arc<ManualClock>,
    ) -> Self {
        let journal = Arc::new(MemoryJournal::new());
        let gate = Arc::new(Gate::new(GateParts {
            policy: Arc::new(HousePolicy),
            approver,
            journal: Arc::clone(&journal) as _,
            recorder,
            clock,
            owner: Owner("house".into()),
            limits: HoldLimits {
                patience: PATIENCE,
                held_max: 16,
                result_bytes_max: 1024,
                result_kept: Duration::from_hours(1),
            },
        }));
        let runs = Arc::new(Mutex::new(Vec::new()));
        let told: Refuse<Reject, Kept> = Refuse(
            |rejection| rejection.status().to_owned(),
            |kept| String::from_utf8(kept.to_vec()).expect("UTF-8"),
        );
        let encode: fn(&String) -> Vec<u8> = |answer| answer.clone().into_bytes();
        let service = GateLayer::new(Arc::clone(&gate), told).layer(RunOnce::new(counted(&runs), encode));
        Self { scripted, journal, gate, runs, service }
    }

    /// What the caller is told: the tool's answer, or the refusal's status.
    pub(crate) async fn call(&self, call: ToolCall, patience: Duration) -> String {
        let attended = Attended { call, caller: Some(Caller::staying(patience)) };
        self.service.clone().oneshot(attended).await.expect("infallible")
    }

    pub(crate) fn spawn(&self, call: ToolCall) -> JoinHandle<String> {
        self.spawn_with(call, Interest::always())
    }

    /// The same for a caller that may withdraw.
    pub(crate) fn spawn_attended(&self, call: ToolCall) -> (InterestHandle, JoinHandle<String>) {
        let (handle, interest) = Interest::pair();
        (handle, self.spawn_with(call, interest))
    }

    fn spawn_with(&self, call: ToolCall, interest: Interest) -> JoinHandle<String> {
        let attended = Attended { call, caller: Some(Caller { interest, ..Caller::staying(PATIENCE) }) };
        let service = self.service.clone();
        tokio::spawn(async move { service.oneshot(attended).await.expect("infallible") })
    }

    /// A call whose reviewer asks for changes.
    pub(crate) async fn sent_back(&self, call: ToolCall, words: &str) {
        let waiting = self.spawn(call);
        let thread = self.thread(0).await;
        self.scripted.decide(&thread, Decision::RequestChanges(words.to_owned()));
        assert_eq!(waiting.await.expect("a task"), "changes_requested");
    }

    /// The same in the thread that is there, whose reviewer asked before.
    pub(crate) async fn sent_back_again(&self, call: ToolCall, words: &str) {
        let waiting = self.spawn(call);
        let thread = self.thread(0).await;
        self.scripted.until_revised(&thread, 1).await;
        self.scripted.decide(&thread, Decision::RequestChanges(words.to_owned()));
        assert_eq!(waiting.await.expect("a task"), "changes_requested");
    }

    /// The id of a thread, as soon as it is there.
    pub(crate) async fn thread(&self, number: usize) -> String {
        self.scripted.until_threads(number + 1).await;
        self.scripted.threads().swap_remove(number)
    }

    /// The arguments of every run.
    pub(crate) fn ran(&self) -> Vec<String> {
        self.runs.lock().expect("no panics").clone()
    }
}

fn counted(runs: &Arc<Mutex<Vec<String>>>) -> Tool {
    let runs = Arc::clone(runs);
    BoxCloneService::new(service_fn(move |call: ToolCall| {
        let arguments = call.arguments.raw().map_or_else(String::new, ToString::to_string);
        runs.lock().expect("no panics").push(arguments);
        async move { Ok::<_, Infallible>("ran".to_owned()) }
    }))
}

pub(crate) fn pay(amount: u32) -> ToolCall {
    ToolCall {
        principal: Principal::new("local"),
        server: ServerName::new("bank"),
        tool: ToolName::new("pay"),
        arguments: Arguments::parse(paid(amount).as_str()).expect("arguments"),
        extra: serde_json::Map::new(),
        definition: None,
        warning: ToolWarning::None,
        task: TaskId::new("task-1"),
    }
}

/// The arguments of [`pay`].
pub(crate) fn paid(amount: u32) -> String {
    format!(r#"{{"amount":{amount}.00}}"#)
}
