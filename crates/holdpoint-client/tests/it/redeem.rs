//! A token is spent in one attempt, and only a clear yes is one.

use crate::setup::{approver, cause, held, task};
use holdpoint_client::{ClientError, GateApprover};
use holdpoint_core::{Answer, Approval, ApprovalToken, Approver, ApproverError, Redemption, Refusal, TaskId};
use holdpoint_testkit::{Decision, Endpoint, Script, ScriptedGate};
use std::time::Duration;

async fn approved(gate: &ScriptedGate, approver: &GateApprover) -> Approval {
    let hold = held(approver).await;
    gate.decide(hold.thread.as_str(), Decision::Approve);
    match approver.wait(&hold, Duration::from_secs(5)).await {
        Ok(Answer::Approved(approval)) => approval,
        other => panic!("{other:?}"),
    }
}

fn refused(answer: Result<Redemption, ApproverError>) -> Refusal {
    match answer {
        Ok(Redemption::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_valid_once_and_for_its_task_only() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let token = approved(&gate, &approver).await.token.expect("a token");

    assert_eq!(refused(approver.redeem(&TaskId::new("other"), &token).await), Refusal::Invalid);
    assert!(matches!(approver.redeem(&task(), &token).await, Ok(Redemption::Valid)));
    assert_eq!(refused(approver.redeem(&task(), &token).await), Refusal::Used);
    let unknown = ApprovalToken::new("sgt_never_issued");
    assert_eq!(refused(approver.redeem(&task(), &unknown).await), Refusal::Invalid);
    gate.script(Endpoint::Validate, Script::status(400, r#"{"valid":false,"reason":"expired"}"#));
    assert_eq!(refused(approver.redeem(&task(), &unknown).await), Refusal::Expired);
}

#[tokio::test]
async fn every_other_answer_is_an_error_after_one_request() {
    let elsewhere = ScriptedGate::start().await;
    let scripts = [
        ("valid as text", Script::ok(r#"{"valid":"true"}"#)),
        ("valid as number", Script::ok(r#"{"valid":1}"#)),
        ("valid null", Script::ok(r#"{"valid":null}"#)),
        ("valid missing", Script::ok("{}")),
        ("valid nested", Script::ok(r#"[{"valid":true}]"#)),
        ("just true", Script::ok("true")),
        ("both ways", Script::ok(r#"{"valid":false,"valid":true}"#)),
        ("valid with a reason", Script::ok(r#"{"valid":true,"reason":"used"}"#)),
        ("200 and not valid", Script::ok(r#"{"valid":false,"reason":"used"}"#)),
        ("HTML", Script::ok("<html>true</html>")),
        ("nothing", Script::status(204, "")),
        ("huge", Script::ok(&format!(r#"{{"valid":true,"x":"{}"}}"#, "x".repeat(8192)))),
        ("400 and valid", Script::status(400, r#"{"valid":true}"#)),
        ("400 without a reason", Script::status(400, r#"{"valid":false}"#)),
        ("400 with an unknown reason", Script::status(400, r#"{"valid":false,"reason":"mood"}"#)),
        ("400 in plain text", Script::status(400, "signature is required")),
        ("401", Script::status(401, r#"{"valid":true}"#)),
        ("403", Script::status(403, r#"{"valid":true}"#)),
        ("404", Script::status(404, r#"{"valid":true}"#)),
        ("429", Script::status(429, r#"{"valid":true}"#)),
        ("500", Script::status(500, r#"{"valid":true}"#)),
        ("503", Script::status(503, r#"{"valid":true}"#)),
        ("redirect", Script::redirect(&elsewhere.url())),
        ("no answer", Script::hang()),
        ("closed", Script::close()),
        ("closed after the effect", Script::close().after_effect()),
        ("not HTTP", Script::bytes("true")),
        ("cut within the head", Script::cut(30)),
        ("cut before the end", Script::cut(55)),
    ];
    for (name, script) in scripts {
        let gate = ScriptedGate::start().await;
        let approver = approver(&gate);
        let token = approved(&gate, &approver).await.token.expect("a token");
        gate.script(Endpoint::Validate, script);
        let answer = approver.redeem(&task(), &token).await;
        assert!(answer.is_err(), "{name}: {answer:?}");
        assert_eq!(gate.count(Endpoint::Validate), 1, "{name}");
    }
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
}

/// A Gate that hangs up on a warm connection instead of answering: the layers below must not try another one.
#[tokio::test]
async fn a_reused_connection_that_breaks_is_not_replaced() {
    for _ in 0..20 {
        let gate = ScriptedGate::start().await;
        let approver = approver(&gate);
        let token = approved(&gate, &approver).await.token.expect("a token");
        let connections = gate.connections();
        gate.script(Endpoint::Validate, Script::close().after_effect());
        approver.redeem(&task(), &token).await.expect_err("no answer");
        assert_eq!((gate.count(Endpoint::Validate), gate.connections()), (1, connections));
    }
}

#[tokio::test]
async fn a_gate_that_is_down_is_not_tried_twice() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let token = approved(&gate, &approver).await.token.expect("a token");
    gate.go_down().await;
    approver.redeem(&task(), &token).await.expect_err("down");
    gate.come_up().await;
    assert_eq!(gate.count(Endpoint::Validate), 0);
    assert!(matches!(approver.redeem(&task(), &token).await, Ok(Redemption::Valid)));
}

#[tokio::test]
async fn an_impossible_token_is_not_sent() {
    let gate = ScriptedGate::start().await;
    for text in ["", "two words", "line\nbreak", &"x".repeat(9000)] {
        let error = approver(&gate).redeem(&task(), &ApprovalToken::new(text)).await.expect_err("impossible");
        assert!(matches!(cause(&error), ClientError::Token), "{error:?}");
    }
    assert_eq!(gate.connections(), 0);
}
