//! A client before a scripted Gate, in a hurry.

use holdpoint_api::ApiKey;
use holdpoint_client::{
    ClientError, ClientSettings, GateApprover, GateClient, GateUrl, LocalKey, Pace, PlainHttp, Timeouts,
};
use holdpoint_core::{
    Approver as _, ApproverError, Ask, CallDigest, EntryName, Hold, Repeat, RiskLevel, Secrets, Submission,
    TaskId, Tokens,
};
use holdpoint_testkit::ScriptedGate;
use serde_json::value::RawValue;
use std::time::Duration;

/// Long enough for a busy machine, short enough for a test that waits for it.
pub(crate) const TOTAL: Duration = Duration::from_millis(400);
pub(crate) const TASK: &str = "task-abc-123";
pub(crate) const PAYLOAD: &str = r#"{"amount":500.00,"order":"ord_8821"}"#;

pub(crate) fn settings(url: &str) -> ClientSettings {
    let url = GateUrl::parse(url, PlainHttp::LoopbackOnly).expect("a loopback URL");
    let key = ApiKey::foreign(ScriptedGate::KEY).expect("a key");
    let timeouts = Timeouts { connect: TOTAL, total: TOTAL, long_poll_grace: TOTAL };
    ClientSettings { timeouts, answer_bytes_max: 4096, ..ClientSettings::new(url, key) }
}

pub(crate) fn client(gate: &ScriptedGate) -> GateClient {
    GateClient::new(settings(&gate.url())).expect("a client")
}

pub(crate) fn approver(gate: &ScriptedGate) -> GateApprover {
    paced(gate, pace())
}

pub(crate) fn paced(gate: &ScriptedGate, pace: Pace) -> GateApprover {
    GateApprover::with_pace(client(gate), LocalKey::new(&[7; 32]), pace)
}

pub(crate) fn pace() -> Pace {
    Pace {
        interval: Duration::from_millis(20),
        interval_min: Duration::from_millis(20),
        interval_max: Duration::from_millis(20),
        backoff: Duration::from_millis(10),
        backoff_max: Duration::from_millis(40),
        long_poll_max: Duration::from_secs(50),
        long_polls_max: 64,
        polls_max: 64,
        ..Pace::default()
    }
}

pub(crate) fn ask() -> Ask {
    Ask {
        entry: EntryName::new("refunds"),
        workflow_name: "Customer Support".to_owned(),
        task_label: "Refund request".to_owned(),
        tool_name: "issue_refund".to_owned(),
        subject: "Issue refund of $500".to_owned(),
        preview: Some("Item never \"arrived\"".to_owned()),
        risk_level: Some(RiskLevel::High),
        summary: vec!["Order placed 14 days ago".to_owned()],
        images: Vec::new(),
        payload: RawValue::from_string(PAYLOAD.to_owned()).expect("JSON"),
        tokens: Tokens::Required,
        patience: None,
        effect: None,
        secrets: Secrets::default(),
    }
}

pub(crate) fn task() -> TaskId {
    TaskId::new(TASK)
}

pub(crate) fn repeat(ended: u64) -> Repeat {
    Repeat { digest: CallDigest::from_bytes([3; 32]), ended }
}

pub(crate) async fn submit(approver: &GateApprover) -> Result<Submission, ApproverError> {
    approver.submit(&ask(), &task(), repeat(0)).await
}

/// A thread that waits for its decision.
pub(crate) async fn held(approver: &GateApprover) -> Hold {
    match submit(approver).await {
        Ok(Submission::Held(hold)) => hold,
        other => panic!("{other:?}"),
    }
}

/// The client's error below the kernel's.
pub(crate) fn cause(error: &ApproverError) -> &ClientError {
    let cause: &(dyn std::error::Error + 'static) = &*error.0;
    cause
        .downcast_ref::<ClientError>()
        .or_else(|| cause.downcast_ref::<std::sync::Arc<ClientError>>().map(|shared| &**shared))
        .expect("a client error")
}

/// Everything an error says, the way a log would show it.
pub(crate) fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        said.extend([": ", &error.to_string()]);
        next = error.source();
    }
    said
}
