//! A question whose answer is lost: how often it travels, and what comes of it.

use crate::setup::{TASK, approver, cause, client, held, settings, submit};
use holdpoint_api::{RequestBody, TaskId};
use holdpoint_client::{ClientError, GateApprover, GateClient, LocalKey};
use holdpoint_core::Submission;
use holdpoint_testkit::{Endpoint, Script, ScriptedGate};
use std::{
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

/// Ways to lose the answer after Gate took the question.
fn losses() -> [(&'static str, Script); 8] {
    [
        ("closed", Script::close().after_effect()),
        ("no answer", Script::hang().after_effect()),
        ("cut at once", Script::cut(1)),
        ("cut within the head", Script::cut(30)),
        ("cut within the body", Script::cut(90)),
        ("502 after the effect", Script::status(502, "<html>bad gateway</html>").after_effect()),
        ("500 after the effect", Script::status(500, r#"{"status":"allow"}"#).after_effect()),
        ("not HTTP", Script::bytes("allow\r\n\r\n").after_effect()),
    ]
}

#[tokio::test]
async fn our_gate_is_asked_once_more_with_the_same_key_and_bytes() {
    for (name, loss) in losses() {
        let gate = ScriptedGate::start().await;
        gate.announce_long_poll(Some(60));
        let approver = approver(&gate);
        approver
            .client()
            .decision(holdpoint_client::DecisionOf::Thread("THR-0"), None)
            .await
            .expect_err("none yet");
        gate.script(Endpoint::Requests, loss);

        let hold = held(&approver).await;
        assert_eq!(gate.threads(), [hold.thread.as_str()], "{name}");
        let sent = gate.recorded_at(Endpoint::Requests);
        let [first, second] = &sent[..] else { panic!("{name}: {} posts", sent.len()) };
        assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"), "{name}");
        assert_eq!(first.body, second.body, "{name}");
        assert_eq!(
            gate.count(Endpoint::Decisions),
            1,
            "{name}: the key is enough, nothing has to be looked up"
        );
    }
}

#[tokio::test]
async fn a_gate_that_says_who_it_is_only_now_is_believed() {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(60));
    gate.script(Endpoint::Requests, Script::close().after_effect());
    let hold = held(&approver(&gate)).await;
    assert_eq!(gate.threads(), [hold.thread.as_str()]);
    assert_eq!((gate.count(Endpoint::Requests), gate.count(Endpoint::Decisions)), (2, 1));
}

/// Another Gate may have made a thread; the one it shows may be an older one. Nothing is claimed, nothing re-sent.
#[tokio::test]
async fn another_gate_is_not_asked_again_when_a_thread_is_there() {
    for (name, loss) in losses() {
        let gate = ScriptedGate::start().await;
        gate.script(Endpoint::Requests, loss);
        let error = submit(&approver(&gate)).await.expect_err(name);
        assert!(matches!(cause(&error), ClientError::OutcomeUnknown(_)), "{name}: {error:?}");
        assert_eq!(gate.count(Endpoint::Requests), 1, "{name}");
        let polls = gate.recorded_at(Endpoint::Decisions);
        assert_eq!(
            polls.iter().map(|poll| poll.target.as_str()).collect::<Vec<_>>(),
            [format!("/api/agent/decisions?task_id={TASK}")],
            "{name}"
        );
    }
}

#[tokio::test]
async fn another_gate_is_asked_once_more_when_it_has_no_thread() {
    let gate = ScriptedGate::start().await;
    gate.script(Endpoint::Requests, Script::status(503, "starting"));
    let hold = held(&approver(&gate)).await;
    assert_eq!(gate.threads(), [hold.thread.as_str()]);
    assert_eq!((gate.count(Endpoint::Requests), gate.count(Endpoint::Decisions)), (2, 1));
}

#[tokio::test]
async fn a_question_travels_twice_at_most() {
    for announced in [None, Some(60)] {
        let gate = ScriptedGate::start().await;
        gate.announce_long_poll(announced);
        gate.script_all(Endpoint::Requests, Some(Script::status(503, "down")));
        let error = submit(&approver(&gate)).await.expect_err("down");
        assert!(matches!(cause(&error), ClientError::OutcomeUnknown(_)), "{error:?}");
        assert_eq!(gate.count(Endpoint::Requests), 2);
    }
}

#[tokio::test]
async fn nothing_is_resent_when_finding_out_fails() {
    for script in
        [Script::close(), Script::status(500, ""), Script::status(401, ""), Script::ok("{}"), Script::hang()]
    {
        let gate = ScriptedGate::start().await;
        gate.script(Endpoint::Requests, Script::close());
        gate.script(Endpoint::Decisions, script);
        let error = submit(&approver(&gate)).await.expect_err("unknown");
        assert!(matches!(cause(&error), ClientError::OutcomeUnknown(_)), "{error:?}");
        assert_eq!(gate.count(Endpoint::Requests), 1);
    }
}

#[tokio::test]
async fn the_plain_client_sends_a_request_once() {
    let body = br#"{"workflow_name":"w","task_label":"l","tool_name":"t","subject":"s"}"#;
    let body = RequestBody::parse(body, &holdpoint_api::Limits::DEFAULT).expect("a request");
    let task = TaskId::parse(TASK).expect("a task id");
    for (name, loss) in losses() {
        let gate = ScriptedGate::start().await;
        gate.announce_long_poll(Some(60));
        gate.script(Endpoint::Requests, loss);
        let answer = client(&gate).request(&task, &body, Some("key")).await;
        assert!(answer.is_err(), "{name}: {answer:?}");
        assert_eq!(gate.count(Endpoint::Requests), 1, "{name}");
    }
}

/// A connection that Gate closed while it lay idle is no reason to lose a question.
#[tokio::test]
async fn a_gate_that_restarts_is_found_again() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    held(&approver).await;
    gate.go_down().await;
    gate.come_up().await;
    assert!(matches!(submit(&approver).await, Ok(Submission::Held(_))));
    assert_eq!(gate.threads().len(), 1);
}

#[tokio::test]
async fn a_refused_connection_is_told_at_once() {
    let closed =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address");
    let client = GateClient::new(settings(&format!("http://{closed}"))).expect("a client");
    let approver = GateApprover::new(client, LocalKey::new(&[0; 32]));
    let started = Instant::now();
    let error = submit(&approver).await.expect_err("nobody is there");
    assert!(matches!(cause(&error), ClientError::Unreachable(_)), "{error:?}");
    assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
}
