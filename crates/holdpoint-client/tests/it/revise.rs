//! Another proposal in the same thread: whenever the reviewer decides, what was approved is what runs.

use crate::{
    house::{House, PATIENCE, SHORT, paid, pay},
    setup::{PAYLOAD, TASK, approver, ask, cause, held, repeat},
};
use holdpoint_client::ClientError;
use holdpoint_core::{Answer, Approver, Ask, Hold, Repeat, Revised};
use holdpoint_testkit::{
    Decision, Endpoint, Fault, Initial, Moment, Operation, Recorded, Script, ScriptedGate,
};
use serde_json::{json, value::RawValue};

/// When the reviewer decides, seen from the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// After the wish for changes, before the revision arrives.
    BeforeItArrives,
    /// It is there; its 201 is not.
    BeforeItIsTaken,
    /// Its 201 is there; nobody has asked what became of it.
    BeforeThePoll,
    /// The poll found it pending.
    AfterThePoll,
}

const MOMENTS: [When; 4] =
    [When::BeforeItArrives, When::BeforeItIsTaken, When::BeforeThePoll, When::AfterThePoll];

/// How Gate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    /// Like ours.
    Additive,
    /// Like the hosted service: only what the reference names.
    Plain,
}

/// What the revised call comes to.
#[derive(Debug, PartialEq, Eq)]
enum ComesTo {
    Run,
    Refusal,
    /// The question is asked anew, in a thread of its own.
    AnotherThread,
}

fn expected(fields: Fields, when: When, decision: &Decision) -> ComesTo {
    match (fields, when, decision) {
        (_, When::BeforeItArrives, _) => ComesTo::AnotherThread,
        (_, _, Decision::Reject(_)) => ComesTo::Refusal,
        (Fields::Additive, _, _) | (Fields::Plain, When::AfterThePoll, _) => ComesTo::Run,
        // It may have been the first proposal that was approved.
        (Fields::Plain, When::BeforeItIsTaken | When::BeforeThePoll, _) => ComesTo::AnotherThread,
    }
}

fn speak(gate: &ScriptedGate, fields: Fields) {
    if fields == Fields::Plain {
        gate.name_digests(false);
        gate.name_revisions(false);
    }
    gate.announce_long_poll((fields == Fields::Additive).then_some(60));
}

fn decide_at(gate: &ScriptedGate, thread: &str, when: When, decision: Decision) {
    let (endpoint, moment) = match when {
        When::BeforeItArrives => (Endpoint::Events, Moment::Before),
        When::BeforeItIsTaken => (Endpoint::Events, Moment::After),
        When::BeforeThePoll => (Endpoint::Decisions, Moment::Before),
        When::AfterThePoll => (Endpoint::Decisions, Moment::After),
    };
    gate.script(endpoint, Script::honest().meanwhile(moment, thread, decision));
}

#[tokio::test]
async fn at_the_worst_moment_only_what_was_approved_runs() {
    for fields in [Fields::Additive, Fields::Plain] {
        for decision in [Decision::Approve, Decision::Reject("no".to_owned())] {
            for when in MOMENTS {
                let case = format!("{fields:?} {when:?} {decision:?}");
                let house = House::new().await;
                speak(&house.scripted, fields);
                house.sent_back(pay(500), "half of it, please").await;
                let thread = house.thread(0).await;
                if fields == Fields::Plain {
                    // The hosted service tells no states; only this test's first step needs one.
                    house.scripted.name_states(false);
                }
                decide_at(&house.scripted, &thread, when, decision.clone());

                let comes = expected(fields, when, &decision);
                let patience = if comes == ComesTo::AnotherThread { SHORT } else { PATIENCE };
                let told = house.call(pay(250), patience).await;
                match comes {
                    ComesTo::Run => {
                        assert_eq!((told.as_str(), house.ran()), ("ran", vec![paid(250)]), "{case}");
                    }

                    ComesTo::Refusal => {
                        assert_eq!((told.as_str(), house.ran()), ("rejected", vec![]), "{case}");
                        assert_eq!(house.scripted.threads().len(), 1, "{case}");
                    }
                    ComesTo::AnotherThread => {
                        assert_eq!((told.as_str(), house.ran()), ("pending", vec![]), "{case}");
                        let fresh = house.thread(1).await;
                        house.scripted.decide(&fresh, Decision::Approve);
                        assert_eq!(house.call(pay(250), PATIENCE).await, "ran", "{case}");
                        assert_eq!(house.ran(), [paid(250)], "{case}");
                    }
                }
                assert_eq!(house.scripted.count(Endpoint::Events), 1, "{case}");
            }
        }
    }
}

/// Some Gate may take a revision of a closed thread for a remark, and say 201.
#[tokio::test]
async fn a_revision_that_was_taken_for_a_remark_lets_nothing_run() {
    for fields in [Fields::Additive, Fields::Plain] {
        let house = House::new().await;
        speak(&house.scripted, fields);
        house.sent_back(pay(500), "half of it, please").await;
        let thread = house.thread(0).await;
        house.scripted.decide(&thread, Decision::Approve);
        house.scripted.script(Endpoint::Events, Script::status(201, ""));
        assert_eq!(house.call(pay(250), SHORT).await, "pending", "{fields:?}");
        assert_eq!((house.ran(), house.scripted.threads().len()), (vec![], 2), "{fields:?}");
        // Nor does the first proposal run on it.
        assert_eq!(house.call(pay(500), SHORT).await, "pending", "{fields:?}");
        assert!(house.ran().is_empty(), "{fields:?}");
    }
}

#[tokio::test]
async fn the_rules_may_reject_a_revision() {
    let house = House::new().await;
    house.sent_back(pay(500), "half of it, please").await;
    house.scripted.set_initial(Initial::Reject);
    assert_eq!(house.call(pay(9000), PATIENCE).await, "rejected");
    assert!(house.ran().is_empty());
}

/// A process that dies between the 201 and the journal finds its revision again, and nobody decides twice.
#[tokio::test]
async fn a_revision_that_is_there_already_is_the_same_revision() {
    let house = House::new().await;
    speak(&house.scripted, Fields::Additive);
    house.sent_back(pay(500), "half of it, please").await;
    house.journal.fail(Operation::Open, Fault::Refused);
    assert_eq!(house.call(pay(250), PATIENCE).await, "unavailable");
    house.journal.repair();
    house.scripted.decide(&house.thread(0).await, Decision::Approve);
    assert_eq!(house.call(pay(250), PATIENCE).await, "ran");
    assert_eq!((house.ran(), house.scripted.threads().len()), (vec![paid(250)], 1));
    let events = house.scripted.recorded_at(Endpoint::Events);
    let [first, again] = &events[..] else { panic!("{} events", events.len()) };
    assert_eq!(first.body, again.body);
}

#[tokio::test]
async fn a_second_wish_for_changes_is_answered_by_a_second_revision() {
    let house = House::new().await;
    speak(&house.scripted, Fields::Additive);
    house.sent_back(pay(500), "less").await;
    // The same words again: our Gate forgets them with the revision, so they are a new wish.
    house.sent_back_again(pay(250), "less").await;
    let last = house.spawn(pay(100));
    let thread = house.thread(0).await;
    house.scripted.until_revised(&thread, 2).await;
    house.scripted.decide(&thread, Decision::Approve);
    assert_eq!(last.await.expect("a task"), "ran");
    assert_eq!((house.ran(), house.scripted.threads().len()), (vec![paid(100)], 1));
    let ids: Vec<_> = house.scripted.recorded_at(Endpoint::Events).iter().map(revision_id).collect();
    let [second, third] = &ids[..] else { panic!("{ids:?}") };
    assert!(second.starts_with("rev-2-") && third.starts_with("rev-3-"), "{ids:?}");
}

/// A Gate that goes on showing the words does not ask again with them.
#[tokio::test]
async fn words_that_were_heard_before_are_no_new_wish() {
    let gate = ScriptedGate::start().await;
    gate.name_revisions(false);
    gate.keep_feedback(true);
    let approver = approver(&gate);
    let first = held(&approver).await;
    gate.decide(first.thread.as_str(), Decision::RequestChanges("less, please".to_owned()));
    assert!(matches!(approver.wait(&first, PATIENCE).await, Ok(Answer::ChangesRequested { .. })));

    let hold = revised(&approver, &asking(r#"{"amount":250}"#), &first).await;
    let waited = approver.wait(&hold, SHORT).await;
    assert!(matches!(waited, Ok(Answer::StillHeld)), "{waited:?}");
    assert!(gate.count(Endpoint::Decisions) < 20, "the old words are no reason to poll without a pause");

    gate.decide(first.thread.as_str(), Decision::RequestChanges("less still".to_owned()));
    let waited = approver.wait(&hold, PATIENCE).await;
    assert!(
        matches!(&waited, Ok(Answer::ChangesRequested { message: Some(words) }) if words == "less still"),
        "{waited:?}"
    );
    gate.decide(first.thread.as_str(), Decision::Approve);
    assert!(matches!(approver.wait(&hold, PATIENCE).await, Ok(Answer::Approved(_))));
}

#[tokio::test]
async fn a_revision_says_everything_anew_with_the_payloads_own_bytes() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let before = held(&approver).await;
    let bare = Ask { preview: None, summary: vec![], ..ask() };
    let hold = revised(&approver, &bare, &before).await;
    assert_eq!((hold.revision, &hold.thread, &hold.task), (1, &before.thread, &before.task));

    let event = gate.recorded_at(Endpoint::Events).pop().expect("one event");
    assert_eq!(event.target, format!("/api/agent/tasks/{TASK}/events"));
    let text = String::from_utf8(event.body.clone()).expect("UTF-8");
    assert!(text.contains(PAYLOAD), "the payload was written anew: {text}");
    let mut fields = event.json();
    let id = fields["payload"]["revision"]["revision_id"].take();
    assert_eq!(
        hold.binding,
        format!("{}#{}", holdpoint_api::payload_digest(PAYLOAD), id.as_str().expect("an id"))
    );
    fields["payload"]["revision"]["request_payload"].take();
    assert_eq!(fields["event_type"], format!("revision.{TASK}.{}", before.thread));
    assert_eq!(
        fields["payload"]["revision"],
        json!({
            "revision_id": null, "workflow_name": "Customer Support", "task_label": "Refund request",
            "tool_name": "issue_refund", "subject": "Issue refund of $500", "preview": "", "risk_level": "high",
            "summary": [], "request_payload": null,
        }),
        "a preview that is left out would stay as it was"
    );
}

#[tokio::test]
async fn the_revisions_id_names_the_proposal_and_tells_nothing() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let before = held(&approver).await;
    let later = Hold { revision: 1, ..before.clone() };
    for (ask, before, ended) in [
        (ask(), &before, 0),
        (ask(), &before, 0),
        (asking("{}"), &before, 0),
        (ask(), &before, 1),
        (ask(), &later, 0),
    ] {
        let repeat = Repeat { ended, ..repeat(0) };
        approver.revise(&ask, before, repeat).await.expect("an answer");
    }
    let ids: Vec<String> = gate.recorded_at(Endpoint::Events).iter().map(revision_id).collect();
    let [first, again, payload, ended, number] = &ids[..] else { panic!("{ids:?}") };
    assert_eq!(first, again);
    let mut distinct = vec![first, payload, ended, number];
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 4, "{ids:?}");
    assert!(!first.contains(&repeat(0).digest.to_string().chars().take(16).collect::<String>()));
}

#[tokio::test]
async fn our_gate_gets_a_lost_revision_once_more() {
    for loss in [
        Script::close(),
        Script::close().after_effect(),
        Script::status(502, "").after_effect(),
        Script::cut(1),
    ] {
        let gate = ScriptedGate::start().await;
        gate.announce_long_poll(Some(60));
        let approver = approver(&gate);
        let before = held(&approver).await;
        gate.script(Endpoint::Events, loss.clone());
        revised(&approver, &asking("{}"), &before).await;
        let sent = gate.recorded_at(Endpoint::Events);
        let [first, second] = &sent[..] else { panic!("{loss:?}: {} posts", sent.len()) };
        assert_eq!(first.body, second.body);
    }
}

#[tokio::test]
async fn a_revision_travels_twice_at_most() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let before = held(&approver).await;
    gate.script_all(Endpoint::Events, Some(Script::status(503, "down")));
    let error = approver.revise(&asking("{}"), &before, repeat(0)).await.expect_err("down");
    assert!(matches!(cause(&error), ClientError::Status { status: 503, .. }), "{error:?}");
    assert_eq!((gate.count(Endpoint::Events), gate.count(Endpoint::Decisions)), (2, 0));
}

/// A first copy that is only late could overwrite a later revision there: the thread is not relied on any more.
#[tokio::test]
async fn another_gate_whose_answer_is_lost_is_asked_anew() {
    for loss in [Script::close(), Script::close().after_effect(), Script::status(500, "").after_effect()] {
        let house = House::new().await;
        speak(&house.scripted, Fields::Plain);
        house.sent_back(pay(500), "less").await;
        house.scripted.script(Endpoint::Events, loss);
        assert_eq!(house.call(pay(250), SHORT).await, "pending");
        assert_eq!((house.scripted.count(Endpoint::Events), house.scripted.threads().len()), (1, 2));
        house.scripted.decide(&house.thread(0).await, Decision::Approve);
        assert_eq!(house.call(pay(250), SHORT).await, "pending", "the old thread leads nowhere");
        assert!(house.ran().is_empty());
    }
}

#[tokio::test]
async fn what_is_not_about_the_revision_is_not_taken_for_it() {
    let edits = [
        ("another payload", json!({ "payload_digest": "sha256:00" })),
        ("another revision", json!({ "revision_id": "rev-2-0000000000000000" })),
        ("expired", json!({ "status": "rejected", "thread_state": "expired" })),
        ("rejected before", json!({ "status": "rejected", "revision_id": "initial" })),
    ];
    for (name, edit) in edits {
        let gate = ScriptedGate::start().await;
        let approver = approver(&gate);
        let before = held(&approver).await;
        let fields = edit.as_object().expect("an object").clone();
        gate.script(
            Endpoint::Decisions,
            Script::edited(move |answer| answer.as_object_mut().expect("an object").extend(fields.clone())),
        );
        let revised = approver.revise(&asking("{}"), &before, repeat(0)).await;
        assert!(matches!(revised, Ok(Revised::Closed)), "{name}: {revised:?}");
    }
}

#[tokio::test]
async fn doubtful_answers_are_errors() {
    for (endpoint, script) in [
        (Endpoint::Events, Script::status(401, "")),
        (Endpoint::Events, Script::status(403, "")),
        (Endpoint::Events, Script::status(413, "")),
        (Endpoint::Events, Script::status(429, "")),
        (Endpoint::Events, Script::redirect("http://127.0.0.1:9/")),
        (Endpoint::Decisions, Script::status(404, "")),
        (Endpoint::Decisions, Script::close()),
        (Endpoint::Decisions, Script::ok("{}")),
        (Endpoint::Decisions, Script::ok(r#"{"status":"allow"}"#)),
        (Endpoint::Decisions, Script::ok(r#"{"status":"APPROVED"}"#)),
        (Endpoint::Decisions, Script::edited(|answer| answer["thread_id"] = json!("THR-0"))),
    ] {
        let gate = ScriptedGate::start().await;
        let approver = approver(&gate);
        let before = held(&approver).await;
        gate.script(endpoint, script);
        let revised = approver.revise(&asking("{}"), &before, repeat(0)).await;
        assert!(revised.is_err(), "{revised:?}");
    }
}

async fn revised(approver: &impl Approver, ask: &Ask, before: &Hold) -> Hold {
    match approver.revise(ask, before, repeat(0)).await {
        Ok(Revised::Held(hold)) => hold,
        other => panic!("{other:?}"),
    }
}

fn asking(payload: &str) -> Ask {
    Ask { payload: RawValue::from_string(payload.to_owned()).expect("JSON"), ..ask() }
}

fn revision_id(event: &Recorded) -> String {
    let event = event.json();
    let id = event.pointer("/payload/revision/revision_id").and_then(serde_json::Value::as_str);
    id.expect("an id").to_owned()
}
