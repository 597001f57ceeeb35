//! What reviewers are told of a call that they decided about.

use crate::{
    house::{House, PATIENCE, SHORT, pay},
    setup::{approver, pace, settings},
};
use holdpoint_client::{Closed, Excerpts, GateApprover, GateClient, LocalKey, Timeline, TimelineOptions};
use holdpoint_core::{
    Admission, Caller, Event, Facts, HeldCall, Journal as _, Outcome, PermittedCall, Ran, Recorder as _,
    Secrets, ToolCall, What,
};
use holdpoint_testkit::{Decision, Endpoint, ManualClock, MemoryRecorder, Recorded, Script, ScriptedGate};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const GRACE: Duration = Duration::from_secs(10);

/// A house whose calls are told of.
struct Told {
    house: House,
    timeline: Timeline,
    evidence: Arc<MemoryRecorder>,
}

fn options() -> TimelineOptions {
    TimelineOptions {
        excerpts: Excerpts::Kept,
        watched_for: PATIENCE,
        pauses: [Duration::from_millis(5), Duration::from_millis(10)],
    }
}

async fn told() -> Told {
    told_with(options()).await
}

async fn told_with(options: TimelineOptions) -> Told {
    let gate = ScriptedGate::start().await;
    gate.announce_long_poll(Some(60));
    let way = Arc::new(approver(&gate));
    let (evidence, clock) = (Arc::new(MemoryRecorder::new()), Arc::new(ManualClock::new()));
    let timeline =
        Timeline::start(Arc::clone(&way), Arc::clone(&evidence) as _, Arc::clone(&clock) as _, options);
    let house = House::over(gate, way, Arc::new(timeline.clone()), clock);
    Told { house, timeline, evidence }
}

impl Told {
    /// A permit for a call that somebody approved, through the kernel itself.
    async fn permitted(&self, call: ToolCall) -> PermittedCall {
        let number = self.house.scripted.threads().len();
        let gate = Arc::clone(&self.house.gate);
        let admitted = tokio::spawn(async move { gate.admit_for(call, Caller::staying(PATIENCE)).await });
        let thread = self.house.thread(number).await;
        self.house.scripted.decide(&thread, Decision::Approve);
        match admitted.await.expect("a task") {
            Ok(Admission::Run(permitted)) => permitted,
            other => panic!("{other:?}"),
        }
    }

    /// All events, once everything is posted.
    async fn events(&self) -> Vec<Value> {
        assert_eq!(self.timeline.close(GRACE).await, Closed::Empty);
        self.posted()
    }

    async fn withdrawn(&self) -> Vec<HeldCall> {
        self.house.journal.withdrawn(Timestamp::MIN, 10).await.expect("a journal")
    }

    fn posted(&self) -> Vec<Value> {
        self.house.scripted.recorded_at(Endpoint::Events).iter().map(Recorded::json).collect()
    }

    async fn until_posted(&self, event_type: &str) {
        let mut count = 0;
        while !self.posted().iter().any(|event| event["event_type"] == event_type) {
            count += 1;
            self.house.scripted.until_count(Endpoint::Events, count).await;
        }
    }
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_type"].as_str().expect("a type")).collect()
}

#[tokio::test]
async fn an_approved_call_is_told_from_request_to_result() {
    let told = told().await;
    let running = told.house.spawn(pay(500));
    let thread = told.house.thread(0).await;
    told.house.scripted.decide(&thread, Decision::Approve);
    assert_eq!(running.await.expect("a task"), "ran");

    let events = told.events().await;
    assert_eq!(types(&events), ["task.started", "tool.requested", "tool.completed"]);
    let [_, requested, completed] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        requested["event_summary"],
        "The agent wants to call `pay` (server `bank`) and waits for a decision."
    );
    let summary = completed["event_summary"].as_str().expect("a sentence");
    assert!(summary.starts_with("`pay` (server `bank`) ran, and answered after ") && summary.ends_with("s."));
    let payload = &completed["payload"];
    assert_eq!((&payload["thread_id"], &payload["tool"]), (&json!(thread), &json!("pay")));
    assert_eq!((&payload["server"], &payload["result_bytes"]), (&json!("bank"), &json!(3)));
    assert_eq!(
        (&payload["receipt"]["grounds"], &payload["receipt"]["policy"]),
        (&json!("approved"), &json!("r1"))
    );
    let at = payload["receipt"]["at"].as_str().expect("an instant");
    assert!(at.parse::<Timestamp>().is_ok(), "{at}");
    assert!(payload["duration_ms"].is_u64() && payload["dropped_before"].is_null());
    assert_eq!(payload["digest"], requested["payload"]["digest"]);
    assert_eq!(told.timeline.dropped(), 0);
    for event in told.house.scripted.recorded_at(Endpoint::Events) {
        assert_eq!(event.target, "/api/agent/tasks/task-1/events");
    }
}

#[tokio::test]
async fn a_task_begins_once() {
    let told = told().await;
    for amount in [1, 2] {
        told.permitted(pay(amount))
            .await
            .into_parts()
            .2
            .finish(Outcome::succeeded(*b"ok"))
            .await
            .delivered()
            .await;
    }
    let events = told.events().await;
    let expected = ["task.started", "tool.requested", "tool.completed", "tool.requested", "tool.completed"];
    assert_eq!(types(&events), expected);
}

/// Whoever runs Gate cannot try out guesses at what is masked, or at a short result.
#[tokio::test]
async fn digests_that_leave_are_keyed_and_results_stay() {
    let told = told().await;
    let call = pay(500);
    let digest = call.digest().to_string();
    let (_, _, completion) = told.permitted(call).await.into_parts();
    let outcome = Outcome::succeeded(*b"pin 1234").with_excerpt(Some("pin 1234".to_owned()));
    completion.finish(outcome).await.delivered().await;
    let events = told.events().await;
    let completed = events.last().expect("events");
    assert!(completed["payload"]["result_excerpt"].is_null(), "nobody asked for it");
    let result = completed["payload"]["result_digest"].as_str().expect("a digest");
    assert!(result.starts_with("hmac-sha256:"), "{result}");
    assert!(!events.iter().any(|event| event.to_string().contains(&digest)));

    let elsewhere = told_with_key([9; 32]).await;
    let (_, _, completion) = elsewhere.permitted(pay(500)).await.into_parts();
    completion.finish(Outcome::succeeded(*b"pin 1234")).await.delivered().await;
    let other = elsewhere.events().await;
    for field in ["result_digest", "digest"] {
        let [ours, theirs] =
            [&events, &other].map(|events| &events.last().expect("events")["payload"][field]);
        assert_ne!(ours, theirs, "{field}");
    }
}

async fn told_with_key(key: [u8; 32]) -> Told {
    let gate = ScriptedGate::start().await;
    let client = GateClient::new(settings(&gate.url())).expect("a client");
    let way = Arc::new(GateApprover::with_pace(client, LocalKey::new(&key), pace()));
    let (evidence, clock) = (Arc::new(MemoryRecorder::new()), Arc::new(ManualClock::new()));
    let timeline =
        Timeline::start(Arc::clone(&way), Arc::clone(&evidence) as _, Arc::clone(&clock) as _, options());
    let house = House::over(gate, way, Arc::new(timeline.clone()), clock);
    Told { house, timeline, evidence }
}

#[tokio::test]
async fn excerpts_are_told_where_that_is_configured_redacted_and_bounded() {
    let told = told_with(TimelineOptions { excerpts: Excerpts::Told, ..options() }).await;
    for (number, excerpt) in
        ["card 4242424242424242 charged".to_owned(), "ä".repeat(3000)].into_iter().enumerate()
    {
        let call = pay(u32::try_from(number).expect("small"));
        let (_, _, completion) = told.permitted(call).await.into_parts();
        completion.finish(Outcome::succeeded(*b"ok").with_excerpt(Some(excerpt))).await.delivered().await;
    }
    let events = told.events().await;
    let completed: Vec<_> = events.iter().filter(|event| event["event_type"] == "tool.completed").collect();
    let [first, second] = completed[..] else { panic!("{events:?}") };
    assert_eq!(first["payload"]["result_excerpt"], "card [redacted] charged");
    assert_eq!(first["payload"]["result_excerpt_cut"], false);
    assert_eq!(second["payload"]["result_excerpt"], "ä".repeat(2000));
    assert_eq!(second["payload"]["result_excerpt_cut"], true);
}

#[tokio::test]
async fn a_failure_and_a_lost_answer_are_told_as_what_they_are() {
    let told = told().await;
    let (_, _, completion) = told.permitted(pay(1)).await.into_parts();
    let outcome = Outcome::failed(*b"no");
    assert_eq!(outcome.ran, Ran::Failed);
    completion.finish(outcome).await.delivered().await;
    told.permitted(pay(2)).await.into_parts().2.lose().await;
    told.permitted(pay(3)).await.into_parts().2.unsent(holdpoint_core::StoredResult::new(*b"x")).await;
    let events = told.events().await;
    let outcomes: Vec<_> = types(&events).into_iter().filter(|name| *name != "tool.requested").collect();
    assert_eq!(outcomes, ["task.started", "tool.failed", "tool.outcome_unknown", "tool.resolved"]);
    let last = events.last().expect("events");
    assert_eq!(last["event_summary"], "The proxy knows that `pay` (server `bank`) did not run.");
    assert_eq!(last["payload"]["resolution"], "did_not_run");
}

#[tokio::test]
async fn an_approval_that_does_not_hold_up_is_told() {
    let told = told().await;
    told.house
        .scripted
        .script(Endpoint::Validate, Script::status(400, r#"{"valid":false,"reason":"expired"}"#));
    let refused = told.house.spawn(pay(500));
    let thread = told.house.thread(0).await;
    told.house.scripted.decide(&thread, Decision::Approve);
    assert_eq!(refused.await.expect("a task"), "token_invalid");
    let events = told.events().await;
    assert_eq!(types(&events), ["task.started", "tool.requested", "tool.not_run"]);
    let payload = &events.last().expect("events")["payload"];
    assert_eq!((&payload["status"], &payload["thread_id"]), (&json!("token_invalid"), &json!(thread)));
    assert!(told.house.ran().is_empty());
}

#[tokio::test]
async fn a_decision_about_something_else_is_told() {
    let told = told().await;
    let refused = told.house.spawn(pay(500));
    let thread = told.house.thread(0).await;
    told.house.scripted.script_all(
        Endpoint::Decisions,
        Some(Script::edited(|answer| answer["payload_digest"] = json!("sha256:00"))),
    );
    told.house.scripted.decide(&thread, Decision::Approve);
    assert_eq!(refused.await.expect("a task"), "mismatch");
    let events = told.events().await;
    assert_eq!(types(&events).last(), Some(&"tool.not_run"));
    assert!(told.house.ran().is_empty());
}

/// What the reviewer decided, or what is still open, is nothing to tell the reviewer.
#[tokio::test]
async fn what_the_reviewer_knows_is_not_told() {
    let told = told().await;
    assert_eq!(told.house.call(pay(1), SHORT).await, "pending");
    told.house.scripted.decide(&told.house.thread(0).await, Decision::Reject("no".to_owned()));
    assert_eq!(told.house.call(pay(1), PATIENCE).await, "rejected");
    let events = told.events().await;
    assert_eq!(types(&events), ["task.started", "tool.requested"]);
}

#[tokio::test]
async fn calls_that_need_nobody_tell_nothing() {
    let told = told().await;
    told.house.scripted.set_initial(holdpoint_testkit::Initial::Allow);
    assert_eq!(told.house.call(pay(1), PATIENCE).await, "ran");
    assert!(told.events().await.is_empty());
}

#[tokio::test]
async fn an_approval_of_a_withdrawn_call_is_too_late_and_its_token_is_never_used() {
    let told = told().await;
    let (handle, call) = told.house.spawn_attended(pay(500));
    let thread = told.house.thread(0).await;
    told.house.scripted.until_kept_waiting(1).await;
    handle.cancel();
    assert_eq!(call.await.expect("a task"), "cancelled");
    told.until_posted("tool.withdrawn").await;
    told.house.scripted.decide(&thread, Decision::Approve);
    told.until_posted("tool.too_late").await;

    let events = told.events().await;
    assert_eq!(types(&events), ["task.started", "tool.requested", "tool.withdrawn", "tool.too_late"]);
    assert_eq!(
        told.evidence.steps().last().map(String::as_str),
        Some("TooLate"),
        "{:?}",
        told.evidence.steps()
    );
    assert_eq!((told.house.scripted.count(Endpoint::Validate), told.house.ran()), (0, vec![]));
}

#[tokio::test]
async fn other_decisions_about_a_withdrawn_call_end_the_watch() {
    let told = told().await;
    let (handle, call) = told.house.spawn_attended(pay(500));
    let thread = told.house.thread(0).await;
    told.house.scripted.until_kept_waiting(1).await;
    handle.cancel();
    assert_eq!(call.await.expect("a task"), "cancelled");
    told.house.scripted.until_kept_waiting(1).await;
    told.house.scripted.decide(&thread, Decision::Reject("no".to_owned()));
    told.house.scripted.until_kept_waiting(0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!types(&told.events().await).contains(&"tool.too_late"));
    assert!(!told.evidence.steps().contains(&"TooLate".to_owned()));
}

#[tokio::test]
async fn a_watch_survives_a_restart() {
    let before = told().await;
    let (handle, call) = before.house.spawn_attended(pay(500));
    let thread = before.house.thread(0).await;
    handle.cancel();
    assert_eq!(call.await.expect("a task"), "cancelled");
    assert_eq!(before.timeline.close(GRACE).await, Closed::Empty);
    before.house.scripted.until_kept_waiting(0).await;

    let withdrawn = before.withdrawn().await;
    let evidence = Arc::new(MemoryRecorder::new());
    let after = Timeline::start(
        Arc::new(approver(&before.house.scripted)),
        Arc::clone(&evidence) as _,
        Arc::new(ManualClock::new()),
        options(),
    );
    after.resume(withdrawn);
    before.house.scripted.decide(&thread, Decision::Approve);
    before.until_posted("tool.too_late").await;
    assert_eq!(evidence.steps(), ["TooLate"]);
    assert_eq!(before.house.scripted.count(Endpoint::Validate), 0);
}

/// The kernel tells by itself of an approval that came while the call was being withdrawn.
#[tokio::test]
async fn what_was_told_as_too_late_is_not_watched_for() {
    let told = told().await;
    let (handle, call) = told.house.spawn_attended(pay(500));
    told.house.thread(0).await;
    told.house.scripted.until_kept_waiting(1).await;
    handle.cancel();
    assert_eq!(call.await.expect("a task"), "cancelled");
    told.until_posted("tool.withdrawn").await;
    let held = told.withdrawn().await.pop().expect("a hold");
    let facts = Facts {
        principal: held.identity.principal,
        server: held.identity.server,
        tool: held.identity.tool,
        task: held.hold.task.clone(),
        digest: held.identity.digest,
        definition: None,
        policy: held.policy,
        effect: None,
        secrets: Secrets::default(),
    };
    for what in [What::TooLate { hold: &held.hold }, What::Withdrawn { hold: &held.hold }] {
        let event = Event { at: Timestamp::UNIX_EPOCH, facts: &facts, what };
        told.timeline.record(event).await.expect("recorded");
    }
    let events = told.events().await;
    assert_eq!(
        types(&events),
        ["task.started", "tool.requested", "tool.withdrawn", "tool.too_late"],
        "not withdrawn a second time"
    );
}

#[tokio::test]
async fn a_watch_ends_with_its_time() {
    let told = told_with(TimelineOptions { watched_for: SHORT, ..options() }).await;
    let (handle, call) = told.house.spawn_attended(pay(500));
    let thread = told.house.thread(0).await;
    told.house.scripted.until_kept_waiting(1).await;
    handle.cancel();
    assert_eq!(call.await.expect("a task"), "cancelled");
    told.until_posted("tool.withdrawn").await;
    tokio::time::sleep(2 * SHORT).await;
    told.house.scripted.until_kept_waiting(0).await;
    told.house.scripted.decide(&thread, Decision::Approve);
    tokio::time::sleep(SHORT).await;
    assert!(!types(&told.events().await).contains(&"tool.too_late"));
}

#[tokio::test]
async fn watches_are_bounded() {
    const WATCHES_MAX: usize = 1024;
    let told = told().await;
    let (handle, call) = told.house.spawn_attended(pay(500));
    let thread = told.house.thread(0).await;
    told.house.scripted.until_kept_waiting(1).await;
    handle.cancel();
    assert_eq!(call.await.expect("a task"), "cancelled");
    let held = told.withdrawn().await.pop().expect("a hold");
    told.timeline.resume(vec![held; WATCHES_MAX + 10]);
    told.house.scripted.decide(&thread, Decision::Approve);
    let too_late = || told.evidence.steps().iter().filter(|step| *step == "TooLate").count();
    while too_late() < WATCHES_MAX {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(too_late(), WATCHES_MAX);
    assert_eq!(told.house.scripted.count(Endpoint::Validate), 0);
}

#[tokio::test]
async fn an_event_is_posted_again_only_when_gate_did_not_take_it() {
    for (script, posts) in [
        (Script::status(503, "starting"), 2),
        (Script::status(429, "slowly"), 2),
        (Script::close().after_effect(), 1),
        (Script::cut(1), 1),
        (Script::status(400, "no"), 1),
        (Script::status(401, "no"), 1),
    ] {
        let told = told().await;
        told.house.scripted.script(Endpoint::Events, script.clone());
        assert_eq!(told.house.call(pay(1), SHORT).await, "pending");
        let events = told.events().await;
        let begun = types(&events).into_iter().filter(|name| *name == "task.started").count();
        assert_eq!(begun, posts, "{script:?}");
        let last = events.last().expect("events");
        let (missing, told_of) = if posts == 1 { (1, json!(1)) } else { (0, json!(null)) };
        assert_eq!(
            (told.timeline.dropped(), &last["payload"]["dropped_before"]),
            (missing, &told_of),
            "{script:?}"
        );
    }
}

#[tokio::test]
async fn an_event_is_tried_three_times() {
    let told = told().await;
    told.house.scripted.script_all(Endpoint::Events, Some(Script::status(503, "down")));
    assert_eq!(told.house.call(pay(1), SHORT).await, "pending");
    let events = told.events().await;
    assert_eq!(events.len(), 6);
    assert_eq!(events.last().expect("events")["payload"]["dropped_before"], 1);
    assert_eq!(told.timeline.dropped(), 2);
}

/// A Gate that takes no events delays no call and changes no answer; what does not fit into the queue is counted.
#[tokio::test]
async fn a_gate_that_hangs_costs_drops_and_nothing_else() {
    const CALLS: u32 = 600;
    let told = told().await;
    told.house.scripted.script_all(Endpoint::Events, Some(Script::hang()));
    let started = Instant::now();
    for amount in 0..CALLS {
        let permitted = told.permitted(pay(amount)).await;
        permitted.into_parts().2.finish(Outcome::succeeded(*b"ok")).await.delivered().await;
    }
    let took = started.elapsed();
    assert!(took < Duration::from_mins(1), "{took:?}");
    // Two for each call and one for the task; the queue has room for 1024, and one is on its way.
    let all = u64::from(2 * CALLS + 1);
    assert!(told.timeline.dropped() >= all - 1024 - 1);
    let closing = Instant::now();
    let Closed::Undelivered { events } = told.timeline.close(Duration::from_millis(50)).await else {
        panic!("nothing was posted")
    };
    assert!(closing.elapsed() < Duration::from_secs(5) && events > 0);
    assert_eq!(told.timeline.dropped(), all);
}

#[tokio::test]
async fn a_closed_timeline_takes_nothing_and_stops_nothing() {
    let told = told().await;
    assert_eq!(told.timeline.close(GRACE).await, Closed::Empty);
    assert_eq!(told.timeline.close(GRACE).await, Closed::Empty);
    let running = told.house.spawn(pay(500));
    told.house.scripted.decide(&told.house.thread(0).await, Decision::Approve);
    assert_eq!(running.await.expect("a task"), "ran");
    assert_eq!((told.posted().len(), told.timeline.dropped()), (0, 3));
}

/// The evidence comes first: what it refuses is refused, and told to nobody.
#[tokio::test]
async fn what_the_evidence_refuses_is_not_told() {
    let told = told().await;
    told.evidence.fail("Held");
    assert_eq!(told.house.call(pay(500), PATIENCE).await, "unavailable");
    assert!(told.events().await.is_empty());
    assert!(told.house.ran().is_empty());
}
