//! Logs whose chain is whole and whose story does not add up.

use crate::setup::{Desk, Place, facts, findings, hold, with_effect};
use holdpoint_core::{
    Decision, EntryName, Facts, Grounds, HoldId, Ran, Rejection, Resolution, Resolver, ThreadId, Unavailable,
    What,
};
use std::time::Duration;

async fn told(place: &Place, desk: &Desk) -> String {
    desk.log.checkpoint().await.unwrap();
    findings(&place.verify()).join("\n")
}

async fn held(desk: &Desk, facts: &Facts, id: i64, thread: &str) {
    desk.record(facts, What::Proposed).await.unwrap();
    desk.record(facts, What::Held { id: HoldId(id), hold: &hold(thread) }).await.unwrap();
}

fn approved(thread: &str) -> Grounds {
    Grounds::Approved(ThreadId::new(thread))
}

async fn refused(desk: &Desk, facts: &Facts, rejection: Rejection) {
    desk.record(facts, What::Refused(&rejection)).await.unwrap();
}

#[tokio::test]
async fn calls_and_runs_are_counted() {
    let place = Place::new();
    let desk = place.open().await;
    desk.approved(&facts(1), 1, "THR-1").await;
    held(&desk, &facts(2), 2, "THR-2").await;
    desk.decided(&facts(2), &hold("THR-2"), Decision::Rejected).await;
    let rejected = Rejection::Rejected { thread: Some(ThreadId::new("THR-2")), message: None };
    refused(&desk, &facts(2), rejected).await;
    desk.record(&facts(3), What::Proposed).await.unwrap();
    desk.record(&facts(3), What::Allowed).await.unwrap();
    let passed = Grounds::Passed(EntryName::new("refunds"));
    desk.dispatching(&with_effect(4, "refund:4"), None, &passed).await;
    desk.completed(&with_effect(4, "refund:4"), None).await;
    desk.dispatching(&with_effect(5, "refund:5"), None, &passed).await;
    desk.log.close().await;
    let report = place.verify_sound();
    assert_eq!((report.calls, report.runs, report.open_runs), (5, 4, 1));
}

#[tokio::test]
async fn a_run_without_an_approval_is_found() {
    let place = Place::new();
    let desk = place.open().await;
    held(&desk, &facts(1), 1, "THR-1").await;
    desk.decided(&facts(1), &hold("THR-1"), Decision::Rejected).await;
    desk.dispatching(&facts(1), Some(1), &approved("THR-1")).await;
    insta::assert_snapshot!(told(&place, &desk).await, @r"
    current.jsonl, line 6: the call of review THR-1 was sent to its tool, but no approval of it is on record before
    current.jsonl, line 6: the call of review THR-1 was sent to its tool, but no token was redeemed for it before
    ");
}

#[tokio::test]
async fn a_run_without_its_token_is_found() {
    let place = Place::new();
    let desk = place.open().await;
    held(&desk, &facts(1), 1, "THR-1").await;
    desk.decided(&facts(1), &hold("THR-1"), Decision::Approved).await;
    desk.dispatching(&facts(1), Some(1), &approved("THR-1")).await;
    insta::assert_snapshot!(told(&place, &desk).await, @"current.jsonl, line 6: the call of review THR-1 was sent to its tool, but no token was redeemed for it before");
}

#[tokio::test]
async fn a_run_on_the_approval_of_another_proposal_is_found() {
    let place = Place::new();
    let desk = place.open().await;
    held(&desk, &facts(1), 1, "THR-1").await;
    let mut second = hold("THR-1");
    second.revision = 1;
    desk.record(&facts(2), What::Held { id: HoldId(2), hold: &second }).await.unwrap();
    desk.decided(&facts(1), &hold("THR-1"), Decision::Approved).await;
    desk.redeemed(&facts(1), &hold("THR-1")).await;
    desk.dispatching(&facts(2), Some(2), &approved("THR-1")).await;
    assert!(
        told(&place, &desk)
            .await
            .contains("line 8: the call of review THR-1 was sent to its tool, but no approval")
    );
}

#[tokio::test]
async fn more_runs_than_approvals_are_found() {
    let place = Place::new();
    let desk = place.open().await;
    desk.approved(&facts(1), 1, "THR-1").await;
    desk.dispatching(&facts(1), Some(1), &approved("THR-1")).await;
    desk.completed(&facts(1), Some("THR-1")).await;
    insta::assert_snapshot!(told(&place, &desk).await, @"current.jsonl, line 9: more runs than approvals: the call of review THR-1 was sent to its tool before, at record 7");
}

/// A call that was sent, and whose tool asks for more.
async fn asked(desk: &Desk) {
    held(desk, &facts(1), 1, "THR-1").await;
    desk.decided(&facts(1), &hold("THR-1"), Decision::Approved).await;
    desk.redeemed(&facts(1), &hold("THR-1")).await;
    desk.dispatching(&facts(1), Some(1), &approved("THR-1")).await;
    desk.answered(&facts(1), Some("THR-1"), Ran::Failed).await;
}

#[tokio::test]
async fn what_a_tool_asks_for_is_the_same_run() {
    let place = Place::new();
    let desk = place.open().await;
    asked(&desk).await;
    for ran in [Ran::Failed, Ran::Succeeded] {
        desk.going_on(&facts(1), 1, &approved("THR-1")).await;
        desk.answered(&facts(1), Some("THR-1"), ran).await;
    }
    desk.log.close().await;
    let report = place.verify_sound();
    assert_eq!((report.calls, report.runs, report.open_runs), (1, 1, 0));
}

#[tokio::test]
async fn what_no_tool_asked_for_is_found() {
    let place = Place::new();
    let desk = place.open().await;
    asked(&desk).await;
    desk.going_on(&facts(1), 1, &approved("THR-1")).await;
    desk.going_on(&facts(1), 1, &approved("THR-1")).await;
    desk.completed(&facts(1), Some("THR-1")).await;
    desk.going_on(&facts(1), 1, &approved("THR-1")).await;
    desk.going_on(&facts(2), 2, &approved("THR-2")).await;
    insta::assert_snapshot!(told(&place, &desk).await, @"
    current.jsonl, line 10: the call of review THR-1 was gone on with, although its tool had asked for nothing since record 9
    current.jsonl, line 12: the call of review THR-1 was gone on with, although its tool had asked for nothing since record 10
    current.jsonl, line 13: the tool of review THR-2 was sent more of a call, but not the call itself before
    ");
}

#[tokio::test]
async fn an_effect_that_was_had_twice_is_found() {
    let place = Place::new();
    let desk = place.open().await;
    let passed = Grounds::Passed(EntryName::new("refunds"));
    for call in [1, 2] {
        desk.dispatching(&with_effect(call, "refund:7"), None, &passed).await;
        desk.completed(&with_effect(call, "refund:7"), None).await;
    }
    insta::assert_snapshot!(told(&place, &desk).await, @"current.jsonl, line 5: the effect `refund:7` may have been had twice: a call that has it was sent to its tool before, at record 3, and nobody said that it did not run");
}

#[tokio::test]
async fn an_effect_that_did_not_happen_may_be_had() {
    let place = Place::new();
    let desk = place.open().await;
    let passed = Grounds::Passed(EntryName::new("refunds"));
    let (first, second) = (with_effect(1, "refund:7"), with_effect(2, "refund:7"));
    desk.dispatching(&first, None, &passed).await;
    let took = Duration::from_secs(1);
    desk.record(&first, What::OutcomeUnknown { thread: None, took }).await.unwrap();
    desk.log.checkpoint().await.unwrap();
    assert_eq!(place.verify_sound().open_runs, 1);
    let (resolution, by) = (Resolution::DidNotRun, Resolver::Person("bob"));
    desk.record(&first, What::Resolved { thread: None, resolution, by }).await.unwrap();
    desk.dispatching(&second, None, &passed).await;
    desk.completed(&second, None).await;
    desk.log.close().await;
    let report = place.verify_sound();
    assert_eq!((report.runs, report.open_runs), (1, 0));
}

/// Two calls with one effect, both approved. Both dispatches are on record; the journal let one happen.
#[tokio::test]
async fn a_dispatch_that_the_journal_refused_is_no_run() {
    let place = Place::new();
    let (one, other) = (place.open_as("process-1", |_| {}).await, place.open_as("process-2", |_| {}).await);
    let (first, second) = (with_effect(1, "refund:7"), with_effect(2, "refund:7"));
    for (desk, facts, id, thread) in [(&one, &first, 1, "THR-1"), (&other, &second, 2, "THR-2")] {
        held(desk, facts, id, thread).await;
        desk.decided(facts, &hold(thread), Decision::Approved).await;
        desk.redeemed(facts, &hold(thread)).await;
        desk.dispatching(facts, Some(id), &approved(thread)).await;
    }
    // The later one won, and was quick.
    other.completed(&second, Some("THR-2")).await;
    other.log.checkpoint().await.unwrap();
    assert_eq!(place.verify().findings.len(), 1);
    let effect = Some(holdpoint_core::EffectKey::new("refund:7"));
    let done = Rejection::AlreadyDone { effect, thread: Some(ThreadId::new("THR-2")) };
    refused(&one, &first, done).await;
    one.log.close().await;
    let report = place.verify_sound();
    assert_eq!((report.runs, report.open_runs), (1, 0));
}

#[tokio::test]
async fn a_call_that_waits_elsewhere_does_not_hide_a_run() {
    let place = Place::new();
    let desk = place.open().await;
    desk.approved(&facts(1), 1, "THR-1").await;
    desk.dispatching(&facts(1), Some(1), &approved("THR-1")).await;
    let thread = ThreadId::new("THR-1");
    refused(&desk, &facts(1), Rejection::Pending { thread: thread.clone(), review_url: None }).await;
    refused(&desk, &facts(2), Rejection::Unavailable { what: Unavailable::Journal, thread: Some(thread) })
        .await;
    assert!(told(&place, &desk).await.contains("more runs than approvals"));
}

/// An identical call beside a slow run is told that it may have run; the run is one all the same.
#[tokio::test]
async fn a_call_that_is_refused_for_a_run_beside_it_does_not_unmake_the_run() {
    let place = Place::new();
    let desk = place.open().await;
    let call = with_effect(1, "refund:7");
    desk.record(&call, What::Proposed).await.unwrap();
    desk.record(&call, What::Allowed).await.unwrap();
    desk.dispatching(&call, None, &Grounds::Allowed(EntryName::new("refunds"))).await;
    let doubt = Rejection::OutcomeUnknown { thread: None, effect: call.effect.clone() };
    refused(&desk, &call, doubt).await;
    desk.completed(&call, None).await;
    held(&desk, &facts(2), 2, "THR-2").await;
    desk.decided(&facts(2), &hold("THR-2"), Decision::Approved).await;
    desk.redeemed(&facts(2), &hold("THR-2")).await;
    desk.dispatching(&facts(2), Some(2), &approved("THR-2")).await;
    let doubt = Rejection::OutcomeUnknown { thread: Some(ThreadId::new("THR-2")), effect: None };
    refused(&desk, &facts(2), doubt).await;
    desk.log.close().await;
    let report = place.verify_sound();
    assert_eq!((report.runs, report.open_runs), (2, 1));
}

#[tokio::test]
async fn an_answer_to_nothing_is_found() {
    let place = Place::new();
    let desk = place.open().await;
    desk.completed(&facts(1), Some("THR-1")).await;
    insta::assert_snapshot!(told(&place, &desk).await, @"current.jsonl, line 3: a tool's answer is on record, but not that the call was sent to it");
}
