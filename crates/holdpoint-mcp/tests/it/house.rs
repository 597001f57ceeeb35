//! The kernel with everything scripted.

use async_trait::async_trait;
use holdpoint_core::{
    Answer, ApprovalToken, Approver, ApproverError, Ask, Effect, EffectKey, Event, Gate, GateParts, Hold,
    HoldLimits, Owner, Plan, PlanError, Policy, PolicyRevision, Principal, Question, Reconcile, RecordError,
    Recorder, Redemption, Repeat, Revised, Secrets, ServerName, Submission, TaskId, Tokens, ToolCall,
    ToolName, ToolWarning, Verdict, What,
};
use holdpoint_mcp::{
    Action, Compat, Guard, MemoryPins, Place, StateKey, ToolActions, Waits, http::Authenticated,
};
use holdpoint_testkit::{ManualClock, MemoryJournal, MemoryRecorder, ScriptedApprover};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

pub(crate) const REVIEW_URL: &str = "https://gate.example/threads/THR-1";

/// Says of each tool what it was told to; asks about the others.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    actions: Mutex<HashMap<String, Action>>,
    /// Whether calls that are asked about have an effect as well.
    pub(crate) effects: AtomicBool,
    /// How calls wait.
    pub(crate) waits: Mutex<Waits>,
    /// Methods that are denied.
    pub(crate) denied: Mutex<Vec<&'static str>>,
    /// Which clients lists of tools are written for.
    pub(crate) compat: Mutex<Compat>,
    /// Whether `read` tells if an effect happened.
    pub(crate) reconciles: AtomicBool,
}

impl Rules {
    pub(crate) fn set(&self, tool: &str, action: Action) {
        self.actions.lock().unwrap().insert(tool.into(), action);
    }

    fn of(&self, tool: &str) -> Action {
        self.actions.lock().unwrap().get(tool).copied().unwrap_or(Action::Gate)
    }

    /// Named after the path that the call is about.
    fn effect(&self, call: &ToolCall) -> Effect {
        let path = call.arguments.as_map().and_then(|map| map.get("path")?.as_str()).unwrap_or_default();
        let reconcile = self.reconciles.load(Ordering::Relaxed).then(|| Arc::new(Reads(path.into())) as _);
        Effect { key: EffectKey::new(format!("write:{path}")), reconcile }
    }
}

/// Asks `read` whether the path is there.
#[derive(Debug)]
struct Reads(String);

impl Reconcile for Reads {
    fn question(&self) -> Question {
        let arguments = format!("{{\"path\":\n\"{}\"}}", self.0);
        Question { tool: ToolName::new("read"), arguments: RawValue::from_string(arguments).unwrap() }
    }

    fn settles_within(&self) -> Duration {
        Duration::ZERO
    }

    fn verdict(&self, result: &Value) -> Verdict {
        match result["structuredContent"]["there"].as_bool() {
            Some(true) => Verdict::Happened,
            Some(false) => Verdict::DidNotHappen,
            None => Verdict::CannotTell,
        }
    }
}

impl ToolActions for Rules {
    fn action(&self, _: &ServerName, tool: &str) -> Action {
        self.of(tool)
    }

    fn waits(&self, _: &ServerName, _: &str) -> Waits {
        *self.waits.lock().unwrap()
    }

    fn denies(&self, _: &ServerName, method: &str) -> bool {
        self.denied.lock().unwrap().iter().any(|denied| denied.eq_ignore_ascii_case(method))
    }

    fn compat(&self, _: &ServerName) -> Compat {
        *self.compat.lock().unwrap()
    }
}

impl Policy for Rules {
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError> {
        let entry = holdpoint_core::EntryName::new("entry");
        Ok(match self.of(call.tool.as_str()) {
            Action::Pass => Plan::Pass(entry),
            Action::PassUnlessWarned if call.warning == ToolWarning::None => Plan::Pass(entry),
            Action::Once => Plan::PassOnce(entry, self.effect(call)),
            Action::Deny => Plan::Deny(entry),
            Action::Gate | Action::PassUnlessWarned => Plan::Gate(Box::new(Ask {
                entry,
                workflow_name: "w".into(),
                task_label: "l".into(),
                tool_name: call.tool.to_string(),
                subject: "s".into(),
                preview: None,
                risk_level: None,
                summary: Vec::new(),
                images: Vec::new(),
                payload: to_raw_value(&call.arguments.as_map()).unwrap(),
                tokens: Tokens::Required,
                patience: None,
                effect: self.effects.load(Ordering::Relaxed).then(|| self.effect(call)),
                secrets: Secrets::new(vec!["s3cret-value\nof two lines".to_owned()]),
            })),
        })
    }

    fn revision(&self) -> PolicyRevision {
        PolicyRevision::new("1")
    }
}

/// Gate with a page for each thread.
#[derive(Debug)]
struct WithPages(Arc<ScriptedApprover>, Arc<Mutex<Vec<Duration>>>);

#[async_trait]
impl Approver for WithPages {
    async fn submit(&self, ask: &Ask, task: &TaskId, repeat: Repeat) -> Result<Submission, ApproverError> {
        Ok(match self.0.submit(ask, task, repeat).await? {
            Submission::Held(hold) => Submission::Held(Hold { review_url: Some(REVIEW_URL.into()), ..hold }),
            other => other,
        })
    }

    async fn revise(&self, ask: &Ask, before: &Hold, repeat: Repeat) -> Result<Revised, ApproverError> {
        self.0.revise(ask, before, repeat).await
    }

    async fn wait(&self, hold: &Hold, patience: Duration) -> Result<Answer, ApproverError> {
        self.1.lock().unwrap().push(Duration::from_secs((patience + Duration::from_millis(500)).as_secs()));
        self.0.wait(hold, patience).await
    }

    async fn redeem(&self, task: &TaskId, token: &ApprovalToken) -> Result<Redemption, ApproverError> {
        self.0.redeem(task, token).await
    }
}

/// The evidence, with a stop before a call is dispatched.
#[derive(Debug)]
struct Paused {
    recorder: Arc<MemoryRecorder>,
    pause: Arc<Pause>,
}

/// Holds up calls that are about to be dispatched, where it is on.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    on: AtomicBool,
    reached: Notify,
    over: Notify,
}

impl Pause {
    pub(crate) fn on(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn over(&self) {
        self.on.store(false, Ordering::Relaxed);
        self.over.notify_one();
    }
}

#[async_trait]
impl Recorder for Paused {
    async fn record(&self, event: Event<'_>) -> Result<(), RecordError> {
        if matches!(event.what, What::Dispatching { .. }) && self.pause.on.load(Ordering::Relaxed) {
            self.pause.reached.notify_one();
            self.pause.over.notified().await;
        }
        self.recorder.record(event).await
    }
}

pub(crate) struct House {
    pub(crate) approver: Arc<ScriptedApprover>,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) recorder: Arc<MemoryRecorder>,
    pub(crate) pause: Arc<Pause>,
    /// What the kernel goes by.
    pub(crate) rules: Arc<Rules>,
    /// What the proxy looks up.
    pub(crate) actions: Arc<Rules>,
    pub(crate) pins: Arc<MemoryPins>,
    pub(crate) clock: Arc<ManualClock>,
    patiences: Arc<Mutex<Vec<Duration>>>,
    pub(crate) guard: Guard,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::around(Arc::new(ScriptedApprover::new()), Arc::new(MemoryJournal::new()), "house")
    }

    /// Another process with the same journal and the same Gate.
    pub(crate) fn again(&self, owner: &str) -> Self {
        Self::around(Arc::clone(&self.approver), Arc::clone(&self.journal), owner)
    }

    fn around(approver: Arc<ScriptedApprover>, journal: Arc<MemoryJournal>, owner: &str) -> Self {
        let (recorder, pause) = (Arc::new(MemoryRecorder::new()), Arc::new(Pause::default()));
        let (rules, actions, pins) =
            (Arc::new(Rules::default()), Arc::new(Rules::default()), Arc::new(MemoryPins::new()));
        let clock = Arc::new(ManualClock::new());
        let patiences: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let gate = Arc::new(Gate::new(GateParts {
            policy: Arc::clone(&rules) as _,
            approver: Arc::new(WithPages(Arc::clone(&approver), Arc::clone(&patiences))),
            journal: Arc::clone(&journal) as _,
            recorder: Arc::new(Paused { recorder: Arc::clone(&recorder), pause: Arc::clone(&pause) }),
            clock: Arc::clone(&clock) as _,
            owner: Owner(owner.into()),
            limits: HoldLimits {
                patience: Duration::from_mins(15),
                held_max: 64,
                result_bytes_max: 1 << 20,
                result_kept: Duration::from_hours(24),
            },
        }));
        let guard = Guard {
            server: ServerName::new("files"),
            place: Place::new("here"),
            gate,
            actions: Arc::clone(&actions) as _,
            pins: Arc::clone(&pins) as _,
            states: StateKey::new([7; 32]),
        };
        Self { approver, journal, recorder, pause, rules, actions, pins, clock, patiences, guard }
    }

    pub(crate) fn set(&self, tool: &str, action: Action) {
        self.rules.set(tool, action);
        self.actions.set(tool, action);
    }

    /// How long each wait was to be, to the second.
    pub(crate) fn patiences(&self) -> Vec<Duration> {
        self.patiences.lock().unwrap().clone()
    }

    pub(crate) fn principal() -> Principal {
        Principal::new("local")
    }

    pub(crate) fn caller() -> Authenticated {
        Authenticated::standing(Self::principal())
    }
}

/// The tools of every scripted server.
pub(crate) const TOOLS: &str = r#"[
  {"name":"write","inputSchema":{"type":"object","properties":{"path":{"type":"string"},"n":{"type":"number"}},"required":["path"]}},
  {"name":"read","inputSchema":{"type":"object"}},
  {"name":"t"}
]"#;

pub(crate) fn write_call(id: &str, path: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"write","arguments":{{"path":"{path}"}}}}}}"#
    )
}

pub(crate) fn result_of(id: &str, text: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#)
}

/// The status in the decision of a refusal.
pub(crate) fn status(answer: &str) -> String {
    let answer: serde_json::Value = serde_json::from_str(answer).expect(answer);
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["_meta"]["dev.holdpoint/decision"]["status"].as_str().expect("a status").to_owned()
}

/// The whole decision of a refusal.
pub(crate) fn decision(answer: &str) -> Value {
    let answer: Value = serde_json::from_str(answer).expect(answer);
    answer["result"]["_meta"]["dev.holdpoint/decision"].clone()
}

/// A tool that says it failed.
pub(crate) fn failure_of(id: &str, text: &str) -> String {
    result_of(id, text).replacen(r#""result":{"#, r#""result":{"isError":true,"#, 1)
}

pub(crate) fn code(answer: &str) -> i64 {
    let answer: serde_json::Value = serde_json::from_str(answer).expect(answer);
    answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {answer}"))
}
