//! The feed: one poll waits for all holds, and whatever it says or keeps back, only Gate's decision counts.

use crate::setup::{approver, ask, held, pace, paced, task};
use holdpoint_client::{GateApprover, Pace};
use holdpoint_core::{Answer, Approver, CallDigest, Hold, Repeat, Submission};
use holdpoint_testkit::{Decision, Endpoint, Script, ScriptedGate};
use serde_json::json;
use std::{future::Future, time::Duration};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(10);
const HOURS: Duration = Duration::from_hours(5);

async fn gate_with_feed() -> ScriptedGate {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(60));
    gate.announce_feed(true);
    gate
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

/// Lets everything that is on its way arrive. Time stands still meanwhile but for this.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

fn reads(gate: &ScriptedGate) -> usize {
    gate.count(Endpoint::Decisions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_poll_waits_for_all_holds() {
    let gate = gate_with_feed().await;
    let approver = approver(&gate);
    let holds = several(&approver, 200).await;
    let decide = async {
        // Each was read once, some again when the feed began.
        gate.until_count(Endpoint::Decisions, holds.len()).await;
        gate.until_kept_waiting(1).await;
        for hold in &holds {
            gate.decide(hold.thread.as_str(), Decision::Approve);
        }
    };
    let waits = futures_util::future::join_all(holds.iter().map(|hold| approver.wait(hold, PATIENCE)));
    for (answer, hold) in while_waiting(waits, decide).await.into_iter().zip(&holds) {
        let Ok(Answer::Approved(approval)) = answer else { panic!("{answer:?}") };
        assert_eq!(approval.hold, *hold);
        assert!(approval.token.is_some());
    }
    let polls = gate.recorded_at(Endpoint::Decisions);
    assert!(polls.iter().all(|poll| !poll.target.contains("wait")), "no hold has a long poll of its own");
}

#[tokio::test(start_paused = true)]
async fn the_feed_brings_a_decision_at_once_and_a_hold_costs_next_to_nothing() {
    let gate = gate_with_feed().await;
    let approver = paced(&gate, Pace::default());
    let holds = several(&approver, 30).await;
    let idle = async {
        settled().await;
        let (read, fed) = (reads(&gate), gate.count(Endpoint::Changes));
        tokio::time::sleep(Duration::from_hours(1)).await;
        let (read, fed) = (reads(&gate) - read, gate.count(Endpoint::Changes) - fed);
        // Every hold again after 2.5 to 5 minutes; the feed every 20 seconds.
        assert!((30 * 11..=30 * 24).contains(&read), "{read} reads");
        assert!((170..=185).contains(&fed), "{fed} polls of the feed");
        let decided_at = Instant::now();
        for hold in &holds {
            gate.decide(hold.thread.as_str(), Decision::Approve);
        }
        decided_at
    };
    let waits = futures_util::future::join_all(holds.iter().map(|hold| approver.wait(hold, HOURS)));
    let (answers, decided_at) = tokio::join!(waits, idle);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Answer::Approved(_)))), "{answers:?}");
    assert!(decided_at.elapsed() < Duration::from_millis(100), "{:?}", decided_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn where_no_feed_is_announced_none_is_read() {
    let gate = ScriptedGate::start().await;
    let approver = paced(&gate, Pace::default());
    let hold = held(&approver).await;
    assert!(matches!(approver.wait(&hold, PATIENCE).await, Ok(Answer::StillHeld)));
    gate.announce_long_poll(Some(60));
    assert!(matches!(approver.wait(&hold, PATIENCE).await, Ok(Answer::StillHeld)));
    assert_eq!(gate.count(Endpoint::Changes), 0);
    assert!(reads(&gate) > 2);
}

/// Of a feed that keeps decisions to itself, the safety reading finds them within its time.
#[tokio::test(start_paused = true)]
async fn what_the_feed_keeps_back_is_found_by_reading_again() {
    let gate = gate_with_feed().await;
    let approver = paced(&gate, Pace::default());
    let holds = several(&approver, 20).await;
    let decide = async {
        settled().await;
        gate.mute_feed(true);
        for hold in &holds {
            gate.decide(hold.thread.as_str(), Decision::Approve);
        }
        Instant::now()
    };
    let waits = futures_util::future::join_all(holds.iter().map(|hold| approver.wait(hold, HOURS)));
    let (answers, decided_at) = tokio::join!(waits, decide);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Answer::Approved(_)))), "{answers:?}");
    let late = decided_at.elapsed();
    assert!((Duration::from_mins(2)..Duration::from_secs(301)).contains(&late), "{late:?}");
}

/// Names of nobody, of others and of what is not decided: nothing comes of them but a read, and few of those.
#[tokio::test(start_paused = true)]
async fn a_feed_that_lies_runs_nothing_and_is_not_obeyed_fast() {
    let gate = gate_with_feed().await;
    let approver = paced(&gate, Pace::default());
    let hold = held(&approver).await;
    let thread = hold.thread.as_str().to_owned();
    let lie = std::sync::atomic::AtomicU64::new(0);
    gate.script_all(
        Endpoint::Changes,
        Some(Script::edited(move |answer| {
            let number = lie.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            *answer = json!({ "cursor": format!("c{number}"), "threads": ["THR-0", "", "THR-99", thread] });
        })),
    );
    let answer = approver.wait(&hold, PATIENCE).await;
    assert!(matches!(answer, Ok(Answer::StillHeld)), "{answer:?}");
    let read = gate.recorded_at(Endpoint::Decisions);
    assert!((3..=14).contains(&read.len()), "{} reads in ten seconds", read.len());
    assert!(read.iter().all(|read| read.target.ends_with(hold.thread.as_str())), "only what is waited for");
}

/// The same news again and again, and a cursor that does not move, must not turn into a busy loop.
#[tokio::test(start_paused = true)]
async fn a_feed_that_stands_still_is_paced() {
    let gate = gate_with_feed().await;
    let approver = paced(&gate, Pace::default());
    let hold = held(&approver).await;
    let thread = hold.thread.as_str().to_owned();
    let stuck = move |answer: &mut serde_json::Value| *answer = json!({ "cursor": "c", "threads": [thread] });
    gate.script_all(Endpoint::Changes, Some(Script::edited(stuck)));
    assert!(matches!(approver.wait(&hold, Duration::from_mins(1)).await, Ok(Answer::StillHeld)));
    let fed = gate.count(Endpoint::Changes);
    assert!((10..=20).contains(&fed), "{fed} polls in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_always_starts_anew_has_holds_read_now_and_then() {
    let gate = gate_with_feed().await;
    let approver = paced(&gate, Pace::default());
    let hold = held(&approver).await;
    let anew = |answer: &mut serde_json::Value| answer["resync"] = json!(true);
    gate.script_all(Endpoint::Changes, Some(Script::edited(anew)));
    assert!(matches!(approver.wait(&hold, Duration::from_mins(1)).await, Ok(Answer::StillHeld)));
    assert!((5..=9).contains(&reads(&gate)), "{} reads in a minute", reads(&gate));
}

/// A cursor that Gate does not know any more: what happened meanwhile is found by reading all.
#[tokio::test(start_paused = true)]
async fn a_cursor_that_is_forgotten_loses_no_decision() {
    let gate = gate_with_feed().await;
    let approver = paced(&gate, Pace::default());
    let hold = held(&approver).await;
    gate.script(Endpoint::Changes, Script::edited(|answer| answer["cursor"] = json!("from-another-life")));
    let decide = async {
        settled().await;
        assert!(gate.recorded_at(Endpoint::Changes).iter().any(|poll| poll.target.contains("another-life")));
        gate.mute_feed(true);
        gate.decide(hold.thread.as_str(), Decision::Approve);
        gate.script(Endpoint::Changes, Script::edited(|answer| answer["cursor"] = json!("gone-again")));
    };
    let started = Instant::now();
    let answer = while_waiting(approver.wait(&hold, HOURS), decide).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
}

/// However the feed fails, holds are polled as where there is none, and rest again when it is back.
#[tokio::test(start_paused = true)]
async fn a_feed_that_fails_is_done_without_until_it_is_back() {
    let failures = [
        ("500", Script::status(500, "")),
        ("404", Script::status(404, "")),
        ("403", Script::status(403, "")),
        ("closed", Script::close()),
        ("hangs", Script::hang()),
        ("cut", Script::cut(40)),
        ("HTML", Script::ok("<html>")),
        ("no cursor", Script::ok(r#"{"threads":[]}"#)),
        ("empty cursor", Script::edited(|answer| answer["cursor"] = json!(""))),
        ("impossible cursor", Script::edited(|answer| answer["cursor"] = json!("a b"))),
        ("long cursor", Script::edited(|answer| answer["cursor"] = json!("c".repeat(129)))),
        ("threads no list", Script::edited(|answer| answer["threads"] = json!("THR-00000001"))),
        ("huge", Script::huge(8192)),
    ];
    for (name, failure) in failures {
        let gate = gate_with_feed().await;
        let approver = paced(&gate, Pace::default());
        let holds = several(&approver, 2).await;
        let [first, second] = &holds[..] else { panic!("two holds") };
        let story = async {
            settled().await;
            gate.mute_feed(true);
            gate.script_all(Endpoint::Changes, Some(failure));
            // The poll that waits ends; the ones after it fail.
            tokio::time::sleep(Duration::from_secs(21)).await;
            let failed_at = Instant::now();
            gate.decide(first.thread.as_str(), Decision::Approve);
            failed_at
        };
        let (answer, failed_at) = tokio::join!(approver.wait(first, HOURS), story);
        assert!(matches!(answer, Ok(Answer::Approved(_))), "{name}: {answer:?}");
        // A feed that hangs is noticed after its time and grace, then polls are five seconds apart.
        assert!(failed_at.elapsed() < Duration::from_secs(28), "{name}: {:?}", failed_at.elapsed());

        gate.script_all(Endpoint::Changes, None);
        let back = async {
            tokio::time::sleep(Duration::from_secs(90)).await;
            let read = reads(&gate);
            tokio::time::sleep(Duration::from_mins(1)).await;
            assert_eq!(reads(&gate), read, "{name}: it rests again");
            gate.mute_feed(false);
            gate.decide(second.thread.as_str(), Decision::Approve);
            Instant::now()
        };
        let (answer, decided_at) = tokio::join!(approver.wait(second, HOURS), back);
        assert!(matches!(answer, Ok(Answer::Approved(_))), "{name}: {answer:?}");
        assert!(decided_at.elapsed() < Duration::from_secs(1), "{name}: {:?}", decided_at.elapsed());
    }
}

#[tokio::test]
async fn a_decision_while_gate_was_down_is_found_when_it_is_back() {
    let gate = gate_with_feed().await;
    let approver = approver(&gate);
    let hold = held(&approver).await;
    let restart = async {
        gate.until_kept_waiting(1).await;
        gate.go_down().await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
        tokio::time::sleep(Duration::from_millis(50)).await;
        gate.come_up().await;
    };
    let answer = while_waiting(approver.wait(&hold, PATIENCE), restart).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
}

#[tokio::test]
async fn when_nobody_waits_the_feed_is_left_and_taken_up_again() {
    let gate = gate_with_feed().await;
    let approver = approver(&gate);
    let holds = several(&approver, 2).await;
    let [first, second] = &holds[..] else { panic!("two holds") };
    tokio::select! {
        answer = approver.wait(first, PATIENCE) => panic!("{answer:?}"),
        () = gate.until_kept_waiting(1) => {}
    }
    timeout(PATIENCE, gate.until_kept_waiting(0)).await.expect("the feed is left");
    let decide = async {
        gate.until_kept_waiting(1).await;
        gate.decide(second.thread.as_str(), Decision::Reject("no".to_owned()));
    };
    let answer = while_waiting(approver.wait(second, PATIENCE), decide).await;
    assert!(matches!(answer, Ok(Answer::Rejected { .. })), "{answer:?}");
    let polls = gate.recorded_at(Endpoint::Changes);
    assert_eq!(polls.iter().filter(|poll| !poll.target.contains("after=")).count(), 1, "{polls:?}");
}

/// The feed names a thread while it is being read: that read may have come before the decision.
#[tokio::test(start_paused = true)]
async fn news_during_a_read_bring_another() {
    let gate = gate_with_feed().await;
    let approver = paced(&gate, Pace { reread: HOURS, ..pace() });
    let hold = held(&approver).await;
    gate.script(Endpoint::Decisions, Script::edited(|answer| answer["status"] = json!("pending_review")));
    let decide = async {
        gate.until_count(Endpoint::Decisions, 1).await;
        gate.decide(hold.thread.as_str(), Decision::Approve);
    };
    let answer = while_waiting(approver.wait(&hold, PATIENCE), decide).await;
    assert!(matches!(answer, Ok(Answer::Approved(_))), "{answer:?}");
}
