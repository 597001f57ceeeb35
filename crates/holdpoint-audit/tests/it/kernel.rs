//! What the kernel records adds up.

use crate::setup::{Place, findings};
use holdpoint_audit::AuditLog;
use holdpoint_core::{
    Admission, Arguments, Ask, Effect, EffectKey, EntryName, Gate, GateParts, HoldLimits, Outcome, Owner,
    Plan, PlanError, Policy, PolicyRevision, Principal, Rejection, Secrets, ServerName, TaskId, Tokens,
    ToolCall, ToolName, ToolWarning,
};
use holdpoint_testkit::{ManualClock, MemoryJournal, ScriptedApprover, SubmitScript, Verdict};
use serde_json::{Map, value::RawValue};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Asks about everything; every call of `refund` has the same effect. Callers wait for nothing, or for as long as it takes:
/// the log's own thread takes real time.
#[derive(Debug, Default)]
struct AskAlways {
    impatient: AtomicBool,
}

impl Policy for AskAlways {
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError> {
        let patience = Duration::from_secs(if self.impatient.load(Ordering::Relaxed) { 0 } else { 600 });
        let has_effect = call.tool.as_str() == "refund";
        Ok(Plan::Gate(Box::new(Ask {
            entry: EntryName::new("all"),
            workflow_name: String::new(),
            task_label: String::new(),
            tool_name: call.tool.to_string(),
            subject: String::new(),
            preview: None,
            risk_level: None,
            summary: Vec::new(),
            images: Vec::new(),
            payload: RawValue::from_string("{}".to_owned()).unwrap(),
            tokens: Tokens::Required,
            patience: Some(patience),
            effect: has_effect.then(|| Effect { key: EffectKey::new("refund:7"), reconcile: None }),
            secrets: Secrets::default(),
        })))
    }

    fn revision(&self) -> PolicyRevision {
        PolicyRevision::new("p1")
    }
}

fn gate(
    log: &AuditLog,
    policy: &Arc<AskAlways>,
    approver: &Arc<ScriptedApprover>,
    journal: &Arc<MemoryJournal>,
    owner: &str,
) -> Gate {
    let minute = Duration::from_mins(1);
    Gate::new(GateParts {
        policy: Arc::clone(policy) as Arc<_>,
        approver: Arc::clone(approver) as Arc<_>,
        journal: Arc::clone(journal) as Arc<_>,
        recorder: Arc::new(log.clone()),
        clock: Arc::new(ManualClock::new()),
        owner: Owner(owner.into()),
        limits: HoldLimits { patience: minute, held_max: 9, result_bytes_max: 99, result_kept: minute },
    })
}

fn call(tool: &str, arguments: &str) -> ToolCall {
    ToolCall {
        principal: Principal::new("alice"),
        server: ServerName::new("payments"),
        tool: ToolName::new(tool),
        arguments: Arguments::parse(arguments).unwrap(),
        extra: Map::new(),
        definition: None,
        warning: ToolWarning::None,
        task: TaskId::new("order 7"),
    }
}

async fn run(gate: &Gate, call: ToolCall) -> Result<(), Rejection> {
    match gate.admit(call).await? {
        Admission::Run(permitted) => {
            let (_, _, completion) = permitted.into_parts();
            completion.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
        }
        Admission::Replay(_, delivery) => delivery.delivered().await,
    }
    Ok(())
}

#[tokio::test]
async fn the_stories_of_the_kernel_are_sound() {
    let place = Place::new();
    let (one, other) = (place.open_as("one", |_| {}).await.log, place.open_as("other", |_| {}).await.log);
    let (approver, journal) = (Arc::new(ScriptedApprover::new()), Arc::new(MemoryJournal::new()));
    let policy = Arc::new(AskAlways::default());
    let (first, second) = (
        gate(&one, &policy, &approver, &journal, "one"),
        gate(&other, &policy, &approver, &journal, "other"),
    );

    policy.impatient.store(true, Ordering::Relaxed);
    assert_eq!(run(&first, call("pay", "{}")).await.unwrap_err().status(), "pending");
    policy.impatient.store(false, Ordering::Relaxed);
    // Nobody waits for the refusal's record; the other process must not be written before it.
    one.checkpoint().await.unwrap();
    approver.decide("THR-1", Verdict::Approve);
    run(&second, call("pay", "{}")).await.unwrap();
    approver.decide("THR-2", Verdict::Reject(Some("no".to_owned())));
    assert_eq!(run(&first, call("pay", "{}")).await.unwrap_err().status(), "rejected");
    approver.decide_all(Verdict::RequestChanges(Some("less".to_owned())));
    assert_eq!(run(&first, call("pay", "{\"n\":2}")).await.unwrap_err().status(), "changes_requested");
    approver.decide_all(Verdict::Approve);
    run(&second, call("pay", "{\"n\":1}")).await.unwrap();
    approver.on_submit(SubmitScript::Allow);
    run(&second, call("pay", "{\"n\":3}")).await.unwrap();

    // Two calls with one effect, both before a reviewer, both approved.
    approver.decide_all(Verdict::Expire);
    let (left, right) = tokio::join!(
        async {
            let told = run(&first, call("refund", "{\"n\":1}")).await;
            told.map_err(|rejection| rejection.status())
        },
        async {
            approver.decide_all(Verdict::Approve);
            let told = run(&second, call("refund", "{\"n\":2}")).await;
            told.map_err(|rejection| rejection.status())
        },
    );
    assert_eq!([left, right].iter().filter(|told| told.is_ok()).count(), 1, "{left:?} {right:?}");
    run(&first, call("refund", "{\"n\":1}")).await.unwrap_err();

    one.close().await;
    other.close().await;
    let report = place.verify();
    assert!(report.is_sound(), "{}", findings(&report).join("\n"));
    assert_eq!((report.runs, report.open_runs), (4, 0), "{report:?}");
    let story = holdpoint_audit::story(&place.folder(), "THR-1").unwrap();
    let words: Vec<String> = story
        .iter()
        .map(|entry| {
            let value: serde_json::Value = serde_json::from_str(&entry.text).unwrap();
            value["what"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        words,
        ["proposed", "held", "refused", "joined", "decided", "redeemed", "dispatching", "completed"]
    );
}
