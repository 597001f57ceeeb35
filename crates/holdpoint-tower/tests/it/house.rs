//! A gate with a counted tool behind it.

mod line;
mod policy;
mod stop;
mod tool;

pub(crate) use line::slow_line;
pub(crate) use policy::{HousePolicy, Says, ScriptedProbe};
pub(crate) use stop::Stop;
pub(crate) use tool::{Noted, Runs, Tool, call, mark, pay, refund};

use holdpoint_core::{
    Admission, Approver, Caller, Completion, Gate, GateParts, HoldLimits, Journal, Owner, Recorder,
    Rejection, Tokens, ToolCall,
};
use holdpoint_testkit::{ManualClock, MemoryJournal, MemoryRecorder, ScriptedApprover};
use holdpoint_tower::{Attended, GateLayer, GateService, Refuse, RunOnce};
use std::{sync::Arc, time::Duration};
use tower::{Layer, ServiceExt};

pub(crate) const PATIENCE: Duration = Duration::from_mins(15);
pub(crate) const HELD_MAX: usize = 4;
pub(crate) const RESULT_MAX: usize = 64;
pub(crate) const RESULT_KEPT: Duration = Duration::from_hours(24);

type Reject = fn(&Rejection) -> String;
type Kept = fn(&[u8]) -> String;
pub(crate) type Gated = GateService<Noted, Refuse<Reject, Kept>>;

/// One process: a gate over a journal and a Gate that may be shared with others.
pub(crate) struct House {
    pub(crate) approver: Arc<ScriptedApprover>,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) recorder: Arc<MemoryRecorder>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) policy: Arc<HousePolicy>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) runs: Runs,
    service: Gated,
}

/// How a process reaches what it shares with others.
pub(crate) struct Ways {
    pub(crate) owner: &'static str,
    pub(crate) approver: Arc<dyn Approver>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) recorder: Option<Arc<dyn Recorder>>,
    pub(crate) tool: Tool,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(Tokens::Required, None)
    }

    pub(crate) fn with(tokens: Tokens, patience: Option<Duration>) -> Self {
        let (approver, journal) = (Arc::new(ScriptedApprover::new()), Arc::new(MemoryJournal::new()));
        let policy = Arc::new(HousePolicy::new(tokens, patience));
        let runs = Runs::default();
        let ways = Ways {
            owner: "one",
            approver: approver.clone(),
            journal: journal.clone(),
            recorder: None,
            tool: runs.tool(),
        };
        Self::wire(approver, journal, policy, Arc::new(ManualClock::new()), runs, ways)
    }

    /// The same house after a restart, or its neighbour: same Gate, same journal, same tool, another process.
    pub(crate) fn again(&self, owner: &'static str) -> Self {
        self.again_over(Ways { owner, ..self.ways() })
    }

    /// A neighbour that reaches Gate by a way of its own.
    pub(crate) fn neighbour_over(&self, way: Arc<dyn Approver>) -> Self {
        self.again_over(Ways { owner: "neighbour", approver: way, ..self.ways() })
    }

    pub(crate) fn ways(&self) -> Ways {
        Ways {
            owner: "one",
            approver: self.approver.clone(),
            journal: self.journal.clone(),
            recorder: None,
            tool: self.runs.tool(),
        }
    }

    pub(crate) fn again_over(&self, ways: Ways) -> Self {
        let (approver, journal) = (Arc::clone(&self.approver), Arc::clone(&self.journal));
        let (policy, clock) = (Arc::clone(&self.policy), Arc::clone(&self.clock));
        Self::wire(approver, journal, policy, clock, self.runs.clone(), ways)
    }

    fn wire(
        approver: Arc<ScriptedApprover>,
        journal: Arc<MemoryJournal>,
        policy: Arc<HousePolicy>,
        clock: Arc<ManualClock>,
        runs: Runs,
        ways: Ways,
    ) -> Self {
        let recorder = Arc::new(MemoryRecorder::new());
        let gate = Arc::new(Gate::new(GateParts {
            policy: policy.clone(),
            approver: ways.approver,
            journal: ways.journal,
            recorder: ways.recorder.unwrap_or_else(|| recorder.clone()),
            clock: clock.clone(),
            owner: Owner(ways.owner.into()),
            limits: HoldLimits {
                patience: PATIENCE,
                held_max: HELD_MAX,
                result_bytes_max: RESULT_MAX,
                result_kept: RESULT_KEPT,
            },
        }));
        let service = layered(&gate, ways.tool, &runs);
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

    /// The tool has the call, and what comes of that is up to the test. `Err`: what the caller is told instead.
    pub(crate) async fn begin(&self, call: ToolCall) -> Result<Completion, String> {
        self.begin_as(call, Caller::staying(PATIENCE)).await
    }

    pub(crate) async fn begin_as(&self, call: ToolCall, caller: Caller) -> Result<Completion, String> {
        match self.gate.admit_for(call, caller).await {
            Ok(Admission::Run(permitted)) => {
                let (call, receipt, completion) = permitted.into_parts();
                self.runs.note_run(call);
                self.runs.note_receipt(receipt);
                Ok(completion)
            }
            Ok(Admission::Replay(result, _)) => Err(String::from_utf8(result.as_bytes().to_vec()).unwrap()),
            Err(rejection) => Err(told(&rejection)),
        }
    }

    /// The raw arguments of every run.
    pub(crate) fn ran(&self) -> Vec<String> {
        self.runs.arguments()
    }
}

/// A caller that stays, with somebody to ask what happened.
pub(crate) fn asking(probe: &Arc<ScriptedProbe>) -> Caller {
    Caller { probe: Some(probe.clone()), ..Caller::staying(PATIENCE) }
}

pub(crate) fn told(rejection: &Rejection) -> String {
    format!("{}: {rejection}", rejection.status())
}

pub(crate) fn layered(gate: &Arc<Gate>, tool: Tool, runs: &Runs) -> Gated {
    let told: Refuse<Reject, Kept> = Refuse(told, |kept| String::from_utf8(kept.to_vec()).unwrap());
    let encode: fn(&String) -> Vec<u8> = |answer| answer.clone().into_bytes();
    GateLayer::new(Arc::clone(gate), told)
        .layer(Noted { runs: runs.clone(), tool: RunOnce::new(tool, encode) })
}
