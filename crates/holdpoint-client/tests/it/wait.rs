//! Waiting: how decisions arrive, what is ridden out, what ends it.

use crate::setup::{approver, ask, cause, held, pace, paced, task};
use holdpoint_client::{ClientError, DecisionOf, GateApprover, Pace};
use holdpoint_core::{Answer, Approver, CallDigest, Hold, Repeat, Submission};
use holdpoint_testkit::{Decision, Endpoint, Script, ScriptedGate};
use serde_json::json;
use std::{future::Future, time::Duration};

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(150);

/// A pace at which nothing but a doorbell or a long poll brings a second poll within a test.
fn asleep() -> Pace {
    let hour = Duration::from_hours(1);
    Pace {
        interval: hour,
        interval_min: hour,
        interval_max: hour,
        backoff: hour,
        backoff_max: hour,
        ..pace()
    }
}

async fn several(approver: &GateApprover, count: u8) -> Vec<Hold> {
    let mut holds = Vec::new();
    for number in 0..count {
        let repeat = Repeat { digest: CallDigest::from_bytes([number; 32]), ended: 0 };
        match approver.submit(&ask(), &task(), repeat).await {
            Ok(Submission::Held(hold)) => holds.push(hold),
            other => panic!("{other:?}"),
        }
    }
    holds
}

/// Runs both until the wait is over, which must not be before the other is.
async fn while_waiting<T>(wait: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    tokio::join!(wait, other).0
}

#[tokio::test]
async fn each_decision_is_its_own_answer() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let holds = several(&approver, 3).await;
    let [yes, no, late] = &holds[..] else { panic!("three holds") };
    gate.decide(yes.thread.as_str(), Decision::Approve);
    gate.decide(no.thread.as_str(), Decision::Reject("too much".to_owned()));
    gate.decide(late.thread.as_str(), Decision::Expire);

    let Ok(Answer::Approved(approval)) = approver.wait(yes, PATIENCE).await else { panic!("approved") };
    assert_eq!(approval.hold, *yes);
    assert!(approval.token.is_some() && approval.expires_at.is_some());
    assert_eq!(approval.message.as_deref(), Some("looks good"));
    let rejected = approver.wait(no, PATIENCE).await;
    assert!(
        matches!(&rejected, Ok(Answer::Rejected { message: Some(words) }) if words == "too much"),
        "{rejected:?}"
    );
    let expired = approver.wait(late, PATIENCE).await;
    assert!(matches!(&expired, Ok(Answer::Expired { message: Some(_) })), "{expired:?}");
    assert_eq!(gate.count(Endpoint::Decisions), 3, "the first poll comes at once, and was enough");
}

#[tokio::test]
async fn without_tokens_an_approval_has_none() {
    let gate = ScriptedGate::start().await;
    gate.issue_tokens(false);
    let approver = approver(&gate);
    let hold = held(&approver).await;
    gate.decide(hold.thread.as_str(), Decision::Approve);
    let answer = approver.wait(&hold, PATIENCE).await;
    assert!(matches!(&answer, Ok(Answer::Approved(approval)) if approval.token.is_none()), "{answer:?}");
}

#[tokio::test]
async fn a_decision_about_something_else_permits_nothing() {
    let edits = [
        ("payload_digest", json!("sha256:00")),
        ("payload_digest", json!(holdpoint_api::payload_digest("{}"))),
        ("revision_id", json!("rev-002")),
    ];
    for decision in [Decision::Approve, Decision::Reject("no".to_owned())] {
        for (field, value) in edits.clone() {
            let gate = ScriptedGate::start().await;
            let approver = approver(&gate);
            let hold = held(&approver).await;
            gate.decide(hold.thread.as_str(), decision.clone());
            gate.script(Endpoint::Decisions, Script::edited(move |answer| answer[field] = value.clone()));
            let answer = approver.wait(&hold, PATIENCE).await;
            assert!(matches!(answer, Ok(Answer::OtherPayload)), "{field}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn the_revision_that_was_asked_about_is_the_one_approved() {
    for (decided_on, covered) in [(json!("rev-1"), true), (json!("rev-2"), false), (json!(null), false)] {
        let gate = ScriptedGate::start().await;
        let approver = approver(&gate);
        gate.script(Endpoint::Requests, Script::edited(|answer| answer["revision_id"] = json!("rev-1")));
        let hold = held(&approver).await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
        gate.script(
            Endpoint::Decisions,
            Script::edited(move |answer| answer["revision_id"] = decided_on.clone()),
        );
        let answer = approver.wait(&hold, PATIENCE).await;
        assert_eq!(matches!(answer, Ok(Answer::Approved(_))), covered, "{answer:?}");
        assert_eq!(matches!(answer, Ok(Answer::OtherPayload)), !covered, "{answer:?}");
    }
}

/// Words on an open thread are a reviewer's only where the Gate tells states; elsewhere they may be "please wait".
#[tokio::test]
async fn a_reviewer_who_asks_for_changes_ends_the_wait() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let hold = held(&approver).await;
    let words = |answer: &mut serde_json::Value| answer["message"] = json!("half of it, please");
    gate.script(Endpoint::Decisions, Script::edited(words));
    let answer = approver.wait(&hold, PATIENCE).await;
    assert!(
        matches!(&answer, Ok(Answer::ChangesRequested { message: Some(said) }) if said == "half of it, please"),
        "{answer:?}"
    );

    let hosted = move |answer: &mut serde_json::Value| {
        words(answer);
        answer["thread_state"] = json!(null);
    };
    gate.script_all(Endpoint::Decisions, Some(Script::edited(hosted)));
    let answer = approver.wait(&hold, SHORT).await;
    assert!(matches!(answer, Ok(Answer::StillHeld)), "{answer:?}");
}

#[tokio::test]
async fn a_binding_we_did_not_write_is_refused_without_asking() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let mut hold = held(&approver).await;
    for binding in ["", "sha256:", "sha256:XYZ", "md5:00", &hold.binding.to_uppercase()] {
        hold.binding = binding.to_owned();
        let error = approver.wait(&hold, PATIENCE).await.expect_err("unreadable");
        assert!(matches!(cause(&error), ClientError::Binding), "{error:?}");
    }
    assert_eq!(gate.count(Endpoint::Decisions), 0);
}

#[tokio::test]
async fn patience_ends_a_wait_without_deciding_anything() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let hold = held(&approver).await;
    let answer = approver.wait(&hold, SHORT).await;
    assert!(matches!(answer, Ok(Answer::StillHeld)), "{answer:?}");
    assert!(gate.count(Endpoint::Decisions) > 1, "it asked more than once");
    assert!(matches!(approver.wait(&hold, Duration::ZERO).await, Ok(Answer::StillHeld)));
}

#[tokio::test]
async fn passing_failures_are_ridden_out() {
    let failures = [
        Script::close(),
        Script::hang(),
        Script::cut(20),
        Script::cut(100),
        Script::bytes("not HTTP at all"),
        Script::status(500, ""),
        Script::status(503, "<html>"),
        Script::status(429, "").with_header("retry-after", "0"),
    ];
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let hold = held(&approver).await;
    let count = failures.len();
    for failure in failures {
        gate.script(Endpoint::Decisions, failure);
    }
    let decide = async {
        gate.until_count(Endpoint::Decisions, count).await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
    };
    let answer = while_waiting(approver.wait(&hold, PATIENCE), decide).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
}

#[tokio::test]
async fn a_gate_that_comes_back_is_noticed() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let hold = held(&approver).await;
    let restart = async {
        gate.until_count(Endpoint::Decisions, 2).await;
        gate.go_down().await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
        gate.come_up().await;
    };
    let answer = while_waiting(approver.wait(&hold, PATIENCE), restart).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
}

#[tokio::test]
async fn a_failure_that_lasts_is_an_error_when_patience_ends() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let hold = held(&approver).await;
    gate.script_all(Endpoint::Decisions, Some(Script::status(503, "")));
    let error = approver.wait(&hold, SHORT).await.expect_err("the last thing known is a failure");
    assert!(matches!(cause(&error), ClientError::Status { status: 503, .. }), "{error:?}");

    gate.go_down().await;
    let error = approver.wait(&hold, SHORT).await.expect_err("down");
    assert!(matches!(cause(&error), ClientError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let hold = held(&approver).await;
    gate.script_all(Endpoint::Decisions, Some(Script::status(429, "").with_header("retry-after", "60")));
    approver.wait(&hold, SHORT).await.expect_err("the last thing known is a failure");
    assert_eq!(gate.count(Endpoint::Decisions), 1);
}

#[tokio::test]
async fn what_waiting_does_not_heal_ends_the_wait() {
    let elsewhere = ScriptedGate::start().await;
    let scripts = [
        ("400", Script::status(400, "")),
        ("401", Script::status(401, "")),
        ("403", Script::status(403, "")),
        ("404", Script::status(404, "")),
        ("redirect", Script::redirect(&elsewhere.url())),
        ("HTML", Script::ok("<html>approved</html>")),
        ("nothing", Script::ok("")),
        ("huge", Script::huge(8192)),
        ("unknown status", Script::edited(|answer| answer["status"] = json!("maybe"))),
        ("initial status", Script::edited(|answer| answer["status"] = json!("allow"))),
        ("status twice", Script::ok(r#"{"status":"rejected","status":"approved"}"#)),
        ("other thread", Script::edited(|answer| answer["thread_id"] = json!("THR-2"))),
        ("other task", Script::edited(|answer| answer["task_id"] = json!("task-2"))),
        ("token no text", Script::edited(|answer| answer["approval_token"] = json!(7))),
        ("token impossible", Script::edited(|answer| answer["approval_token"] = json!("a b"))),
        ("state contradicts", Script::edited(|answer| answer["thread_state"] = json!("needs_review"))),
    ];
    for (name, script) in scripts {
        let gate = ScriptedGate::start().await;
        let approver = approver(&gate);
        let hold = held(&approver).await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
        gate.script(Endpoint::Decisions, script);
        let answer = approver.wait(&hold, PATIENCE).await;
        assert!(answer.is_err(), "{name}: {answer:?}");
        assert_eq!(gate.count(Endpoint::Decisions), 1, "{name}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_doorbell_ends_the_sleep() {
    let gate = ScriptedGate::start().await;
    let approver = paced(&gate, asleep());
    let hold = held(&approver).await;
    let doorbell = approver.doorbell();
    doorbell.wake("nobody waits for this");
    let ring = async {
        gate.until_count(Endpoint::Decisions, 1).await;
        // Somebody else's whole poll later, the first one is back and the hold asleep.
        approver.client().decision(DecisionOf::Thread(hold.thread.as_str()), None).await.expect("pending");
        gate.decide(hold.thread.as_str(), Decision::Approve);
        doorbell.wake(hold.thread.as_str());
    };
    let answer = while_waiting(approver.wait(&hold, PATIENCE), ring).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
}

/// Rung while a poll is on its way back without the decision, the bell must not be lost.
#[tokio::test]
async fn a_doorbell_during_a_poll_brings_another() {
    let gate = ScriptedGate::start().await;
    let approver = paced(&gate, asleep());
    let hold = held(&approver).await;
    gate.script(Endpoint::Decisions, Script::hang());
    let ring = async {
        gate.until_kept_waiting(1).await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
        approver.doorbell().wake(hold.thread.as_str());
    };
    let answer = while_waiting(approver.wait(&hold, PATIENCE), ring).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
    assert_eq!(gate.count(Endpoint::Decisions), 2);
}

#[tokio::test]
async fn where_announced_a_long_poll_brings_the_decision() {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(60));
    let approver = paced(&gate, asleep());
    let hold = held(&approver).await;
    let decide = async {
        gate.until_kept_waiting(1).await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
    };
    let answer = while_waiting(approver.wait(&hold, PATIENCE), decide).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
    let polls = gate.recorded_at(Endpoint::Decisions);
    assert_eq!(polls.len(), 1);
    assert!(polls.iter().all(|poll| poll.target.ends_with("&wait=50")), "{polls:?}");
}

/// The answer to the first poll may be what says that this Gate can wait: as after a restart.
#[tokio::test]
async fn a_wait_turns_into_a_long_poll_once_announced() {
    let gate = ScriptedGate::start().await;
    let hold = held(&approver(&gate)).await;
    gate.announce_long_poll(Some(60));
    let approver = paced(&gate, asleep());
    let decide = async {
        gate.until_kept_waiting(1).await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
    };
    let answer = while_waiting(approver.wait(&hold, PATIENCE), decide).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
    assert_eq!(gate.count(Endpoint::Decisions), 2);
}

#[tokio::test]
async fn nothing_asks_to_wait_where_nothing_was_announced() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let hold = held(&approver).await;
    approver.wait(&hold, SHORT).await.expect("still held");
    assert!(gate.recorded_at(Endpoint::Decisions).iter().all(|poll| !poll.target.contains("wait")));
}

/// A Gate that announces waiting and answers at once must not be asked in a busy loop.
#[tokio::test]
async fn long_polls_that_return_at_once_are_paced() {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(60));
    let approver = approver(&gate);
    let hold = held(&approver).await;
    gate.script_all(Endpoint::Decisions, Some(Script::edited(|_| ())));
    approver.wait(&hold, Duration::from_millis(200)).await.expect("still held");
    let polls = gate.count(Endpoint::Decisions);
    assert!((2..=13).contains(&polls), "{polls} polls in 200 ms, at least 18 ms apart");
}

#[tokio::test]
async fn long_polls_are_bounded_and_every_hold_gets_its_answer() {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(60));
    let approver = paced(&gate, Pace { long_polls_max: 2, ..pace() });
    let holds = several(&approver, 5).await;
    let decide = async {
        gate.until_kept_waiting(2).await;
        // Those without a place are polled at intervals meanwhile.
        gate.until_count(Endpoint::Decisions, 12).await;
        assert_eq!(gate.kept_waiting(), 2);
        for hold in holds.iter().rev() {
            gate.decide(hold.thread.as_str(), Decision::Approve);
        }
    };
    let waits = futures_util::future::join_all(holds.iter().map(|hold| approver.wait(hold, PATIENCE)));
    for answer in while_waiting(waits, decide).await {
        assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn long_polls_take_turns() {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(1));
    let approver = paced(&gate, Pace { long_polls_max: 1, ..asleep() });
    let holds = several(&approver, 2).await;
    let three_long_polls = async {
        loop {
            let polls = gate.recorded_at(Endpoint::Decisions);
            let long: Vec<&str> = polls
                .iter()
                .map(|poll| poll.target.as_str())
                .filter(|target| target.contains("wait"))
                .collect();
            if let [first, second, third, ..] = long[..] {
                assert_ne!(first, second);
                assert_eq!(first, third);
                return;
            }
            gate.until_count(Endpoint::Decisions, polls.len() + 1).await;
        }
    };
    let waits = futures_util::future::join_all(holds.iter().map(|hold| approver.wait(hold, PATIENCE)));
    tokio::select! {
        answers = waits => panic!("{answers:?}"),
        () = three_long_polls => {}
    }
}

#[tokio::test]
async fn a_wait_that_is_dropped_stops_polling() {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(60));
    let approver = approver(&gate);
    let holds = several(&approver, 2).await;
    let [leaves, stays] = &holds[..] else { panic!("two holds") };
    let leaves = approver.wait(leaves, PATIENCE);
    let rest = async {
        gate.until_kept_waiting(2).await;
    };
    tokio::select! {
        answer = leaves => panic!("{answer:?}"),
        answer = approver.wait(stays, PATIENCE) => panic!("{answer:?}"),
        () = rest => {}
    }
    tokio::time::timeout(PATIENCE, gate.until_kept_waiting(0)).await.expect("the long polls are given up");
    let polls = gate.count(Endpoint::Decisions);
    gate.decide(stays.thread.as_str(), Decision::Approve);
    let answer = approver.wait(stays, PATIENCE).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
    assert_eq!(gate.count(Endpoint::Decisions), polls + 1);
}

/// Two polls of an approved thread would revoke each other's token.
#[tokio::test]
async fn two_waits_for_one_thread_share_a_poll_and_a_token() {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(60));
    let approver = approver(&gate);
    let hold = held(&approver).await;
    let decide = async {
        gate.until_kept_waiting(1).await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
    };
    let waits = async { tokio::join!(approver.wait(&hold, PATIENCE), approver.wait(&hold, PATIENCE)) };
    let (Ok(Answer::Approved(first)), Ok(Answer::Approved(second))) = while_waiting(waits, decide).await
    else {
        panic!("two approvals")
    };
    let tokens = [first, second].map(|approval| approval.token.expect("a token"));
    assert_eq!(tokens[0].expose(), tokens[1].expose());
    assert_eq!(gate.count(Endpoint::Decisions), 1);
}

/// Patience ends while a poll is on its way; the next wait takes its answer instead of asking beside it.
#[tokio::test]
async fn a_wait_right_after_another_adopts_the_poll_on_its_way() {
    let gate = ScriptedGate::start().await;
    let approver = paced(&gate, asleep());
    let hold = held(&approver).await;
    gate.script(Endpoint::Decisions, Script::hang());
    let first = async {
        tokio::select! {
            answer = approver.wait(&hold, PATIENCE) => panic!("{answer:?}"),
            () = gate.until_kept_waiting(1) => {}
        }
    };
    first.await;
    let second = approver.wait(&hold, Duration::from_millis(50)).await;
    assert!(matches!(second, Ok(Answer::StillHeld)), "{second:?}");
    assert_eq!(gate.count(Endpoint::Decisions), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_holds_are_decided_at_once() {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(60));
    let approver = approver(&gate);
    let holds = several(&approver, 200).await;
    let decide = async {
        gate.until_kept_waiting(64).await;
        for hold in &holds {
            gate.decide(hold.thread.as_str(), Decision::Approve);
        }
    };
    let waits = futures_util::future::join_all(holds.iter().map(|hold| approver.wait(hold, PATIENCE)));
    for (answer, hold) in while_waiting(waits, decide).await.into_iter().zip(&holds) {
        let Ok(Answer::Approved(approval)) = answer else { panic!("{answer:?}") };
        assert_eq!(approval.hold, *hold);
    }
}
