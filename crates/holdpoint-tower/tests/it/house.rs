//! A gate with a counted tool behind it.

use holdpoint_core::{
    Approver, Arguments, Ask, Caller, EntryName, Gate, GateParts, HoldLimits, Journal, Owner, Plan,
    PlanError, Policy, PolicyRevision, Principal, Recorder, Rejection, Secrets, ServerName, TaskId, Tokens,
    ToolCall, ToolName,
};
use holdpoint_testkit::{ManualClock, MemoryJournal, MemoryRecorder, ScriptedApprover};
use holdpoint_tower::{Attended, GateLayer, GateService, Refuse, RunOnce};
use serde_json::value::RawValue;
use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};

pub(crate) const PATIENCE: Duration = Duration::from_mins(15);
pub(crate) const HELD_MAX: usize = 4;
pub(crate) const RESULT_MAX: usize = 64;
pub(crate) const RESULT_KEPT: Duration = Duration::from_hours(24);

/// `balance` passes, `wipe` is denied, `misfit` does not fit, everything else is gated.
#[derive(Debug)]
pub(crate) struct HousePolicy {
    pub(crate) tokens: Tokens,
    pub(crate) patience: Option<Duration>,
    pub(crate) denies_all: AtomicBool,
}

impl Policy for HousePolicy {
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError> {
        let entry = EntryName::new("entry");
        if self.denies_all.load(Ordering::SeqCst) {
            return Ok(Plan::Deny(entry));
        }
        match call.tool.as_str() {
            "balance" => Ok(Plan::Pass(entry)),
            "wipe" => Ok(Plan::Deny(entry)),
            "misfit" => Err(PlanError { entry, problem: "argument `amount` is missing".into() }),
            tool => Ok(Plan::Gate(Box::new(Ask {
                entry,
                workflow_name: "House".into(),
                task_label: "label".into(),
                tool_name: tool.into(),
                subject: "subject".into(),
                preview: None,
                risk_level: None,
                summary: vec![],
                payload: RawValue::from_string(
                    call.arguments.raw().map_or("{}".into(), std::string::ToString::to_string),
                )
                .unwrap(),
                tokens: self.tokens,
                patience: self.patience,
                effect: None,
                secrets: Secrets::default(),
            }))),
        }
    }

    fn revision(&self) -> PolicyRevision {
        PolicyRevision::new("r1")
    }
}

/// What processes may share: Gate, the journal, the tool's record.
type Parts = (Arc<ScriptedApprover>, Arc<MemoryJournal>, Arc<Mutex<Vec<ToolCall>>>);
type Tool = BoxCloneService<ToolCall, String, Infallible>;
type Reject = fn(&Rejection) -> String;
type Kept = fn(&[u8]) -> String;
pub(crate) type Gated = GateService<RunOnce<Tool, fn(&String) -> Vec<u8>>, Refuse<Reject, Kept>>;

/// One process: a gate over a journal and a Gate that may be shared with others.
pub(crate) struct House {
    pub(crate) approver: Arc<ScriptedApprover>,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) recorder: Arc<MemoryRecorder>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) policy: Arc<HousePolicy>,
    pub(crate) gate: Arc<Gate>,
    runs: Arc<Mutex<Vec<ToolCall>>>,
    service: Gated,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(Tokens::Required, None)
    }

    pub(crate) fn with(tokens: Tokens, patience: Option<Duration>) -> Self {
        let parts = (Arc::new(ScriptedApprover::new()), Arc::new(MemoryJournal::new()), Arc::default());
        Self::build(tokens, patience, parts, Arc::new(ManualClock::new()), "one")
    }

    /// The same house after a restart, or its neighbour: same Gate, same journal, same tool, another process.
    pub(crate) fn again(&self, owner: &str) -> Self {
        let parts = (Arc::clone(&self.approver), Arc::clone(&self.journal), Arc::clone(&self.runs));
        Self::build(self.policy.tokens, self.policy.patience, parts, Arc::clone(&self.clock), owner)
    }

    /// A neighbour that reaches Gate by a way of its own.
    pub(crate) fn neighbour_over(&self, way: Arc<dyn Approver>) -> Self {
        let parts = (Arc::clone(&self.approver), Arc::clone(&self.journal), Arc::clone(&self.runs));
        let (policy, clock) = (Arc::clone(&self.policy), Arc::clone(&self.clock));
        Self::wire(policy, way, parts, clock, "neighbour")
    }

    fn build(
        tokens: Tokens,
        patience: Option<Duration>,
        parts: Parts,
        clock: Arc<ManualClock>,
        owner: &str,
    ) -> Self {
        let policy = Arc::new(HousePolicy { tokens, patience, denies_all: AtomicBool::new(false) });
        let way = parts.0.clone();
        Self::wire(policy, way, parts, clock, owner)
    }

    fn wire(
        policy: Arc<HousePolicy>,
        way: Arc<dyn Approver>,
        (approver, journal, runs): Parts,
        clock: Arc<ManualClock>,
        owner: &str,
    ) -> Self {
        let recorder = Arc::new(MemoryRecorder::new());
        let gate = Arc::new(Gate::new(GateParts {
            policy: policy.clone(),
            approver: way,
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            recorder: Arc::clone(&recorder) as Arc<dyn Recorder>,
            clock: clock.clone(),
            owner: Owner(owner.into()),
            limits: HoldLimits {
                patience: PATIENCE,
                held_max: HELD_MAX,
                result_bytes_max: RESULT_MAX,
                result_kept: RESULT_KEPT,
            },
        }));
        let service = layered(&gate, counted(&runs));
        Self { approver, journal, recorder, clock, policy, gate, runs, service }
    }

    /// What the caller sees.
    pub(crate) async fn call(&self, call: ToolCall) -> String {
        self.service.clone().oneshot(call.into()).await.unwrap()
    }

    pub(crate) async fn call_as(&self, call: ToolCall, caller: Caller) -> String {
        self.service.clone().oneshot(Attended { call, caller: Some(caller) }).await.unwrap()
    }

    pub(crate) fn spawn(&self, call: ToolCall) -> tokio::task::JoinHandle<String> {
        let service = self.service.clone();
        tokio::spawn(async move { service.oneshot(call.into()).await.unwrap() })
    }

    pub(crate) fn spawn_as(&self, call: ToolCall, caller: Caller) -> tokio::task::JoinHandle<String> {
        let service = self.service.clone();
        tokio::spawn(async move { service.oneshot(Attended { call, caller: Some(caller) }).await.unwrap() })
    }

    /// The raw arguments of every run.
    pub(crate) fn ran(&self) -> Vec<String> {
        let runs = self.runs.lock().unwrap();
        runs.iter()
            .map(|call| call.arguments.raw().map_or("absent".into(), std::string::ToString::to_string))
            .collect()
    }
}

pub(crate) fn layered(gate: &Arc<Gate>, tool: Tool) -> Gated {
    let told: Refuse<Reject, Kept> = Refuse(
        |rejection| format!("{}: {rejection}", rejection.status()),
        |kept| String::from_utf8(kept.to_vec()).unwrap(),
    );
    let encode: fn(&String) -> Vec<u8> = |answer| answer.clone().into_bytes();
    GateLayer::new(Arc::clone(gate), told).layer(RunOnce::new(tool, encode))
}

fn counted(runs: &Arc<Mutex<Vec<ToolCall>>>) -> Tool {
    let runs = Arc::clone(runs);
    BoxCloneService::new(service_fn(move |call: ToolCall| {
        let text = match call.arguments.as_map().and_then(|map| map.get("size")) {
            Some(size) => "x".repeat(size.as_u64().unwrap().try_into().unwrap()),
            None => format!("ran {}", call.tool),
        };
        runs.lock().unwrap().push(call);
        async move { Ok::<_, Infallible>(text) }
    }))
}

pub(crate) fn call(tool: &str, arguments: &str) -> ToolCall {
    ToolCall {
        principal: Principal::new("local"),
        server: ServerName::new("bank"),
        tool: ToolName::new(tool),
        arguments: Arguments::parse(arguments).unwrap(),
        extra: serde_json::Map::new(),
        definition: None,
        task: TaskId::new("task-1"),
    }
}

pub(crate) fn pay(amount: u32) -> ToolCall {
    call("pay", &format!(r#"{{"amount":{amount}}}"#))
}
