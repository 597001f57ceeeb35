//! What an auditor reads about one call.

use crate::setup::{Place, facts, hold, with_effect};
use holdpoint_audit::{render, story};
use holdpoint_core::{
    Decision, Facts, Grounds, HoldId, Rejection, Resolution, Resolver, Secrets, ThreadId, What,
};
use std::time::Duration;

#[tokio::test]
async fn the_story_of_a_call_reads_from_proposal_to_outcome() {
    let place = Place::new();
    let desk = place.open_as("process-1", |options| options.rotate_bytes = 1500).await;
    let call = Facts {
        effect: Some(holdpoint_core::EffectKey::new("refund:7")),
        secrets: Secrets::new(vec!["4242424242424242".to_owned()]),
        ..facts(1)
    };
    let hold = hold("THR-1");
    desk.record(&facts(2), What::Proposed).await.unwrap();
    desk.record(&call, What::Proposed).await.unwrap();
    desk.clock.pass(35);
    desk.record(&call, What::Held { id: HoldId(1), hold: &hold }).await.unwrap();
    desk.record(&facts(2), What::Allowed).await.unwrap();
    desk.clock.pass(45_000);
    let pending = Rejection::Pending { thread: ThreadId::new("THR-1"), review_url: None };
    desk.record(&call, What::Refused(&pending)).await.unwrap();
    desk.clock.pass(7_325_000);
    desk.record(&call, What::Joined { id: HoldId(1), hold: &hold }).await.unwrap();
    let words = "ok\u{202e}\u{1b}[2J\nfor 4242424242424242 \"only\"";
    let what = What::Decided { hold: &hold, decision: Decision::Approved, message: Some(words) };
    desk.record(&call, what).await.unwrap();
    desk.clock.pass(120);
    desk.redeemed(&call, &hold).await;
    desk.dispatching(&call, Some(1), &Grounds::Approved(ThreadId::new("THR-1"))).await;
    let (thread, took) = (ThreadId::new("THR-1"), Duration::from_millis(2500));
    desk.clock.pass(2500);
    desk.record(&call, What::OutcomeUnknown { thread: Some(&thread), took }).await.unwrap();
    desk.clock.pass(100_000);
    let (resolution, by) = (Resolution::Ran, Resolver::Person("bob"));
    desk.record(&call, What::Resolved { thread: Some(&thread), resolution, by }).await.unwrap();
    desk.log.close().await;
    place.verify_sound();

    insta::assert_snapshot!(render(&story(&place.folder(), "THR-1").unwrap()), @r#"
    review THR-1
      caller  alice
      server  payments
      tool    issue_refund
      task    order 7
      effect  refund:7
      call    0101010101010101010101010101010101010101010101010101010101010101
      policy  p1
      2026-01-01T00:00:00.000Z        0 ms  proposed
      2026-01-01T00:00:00.035Z       35 ms  waits for a person (hold 1) at http://gate/threads/THR-1
      2026-01-01T00:00:45.035Z      45.0 s  refused: pending
      2026-01-01T02:02:50.035Z   2 h 2 min  sent again, and joined (hold 1) at http://gate/threads/THR-1
      2026-01-01T02:02:50.035Z        0 ms  approved, saying "ok\u{202e}\u{1b}[2J\nfor [redacted] \"only\""
      2026-01-01T02:02:50.155Z      120 ms  token redeemed
      2026-01-01T02:02:50.155Z        0 ms  sent to the tool: approved, and the token was redeemed
      2026-01-01T02:02:52.655Z       2.5 s  the tool's answer is lost: it may have run
      2026-01-01T02:04:32.655Z  1 min 40 s  `bob` says it ran
    "#);
}

#[tokio::test]
async fn the_story_of_a_run_that_a_tool_answered() {
    let place = Place::new();
    let desk = place.open().await;
    desk.approved(&with_effect(1, "refund:7"), 1, "THR-1").await;
    desk.approved(&facts(2), 2, "THR-2").await;
    desk.log.close().await;
    let entries = story(&place.folder(), "THR-1").unwrap();
    assert_eq!(entries.len(), 6);
    assert_eq!((entries[0].file.as_str(), entries[0].line), ("current.jsonl", 3));
    assert_eq!(entries[0].text, place.lines()[2]);
    let text = render(&entries);
    assert!(text.ends_with("the tool succeeded after 42 ms, 11 bytes, saying \"refunded\"\n"), "{text}");
    assert_eq!(render(&story(&place.folder(), "THR-9").unwrap()), "nothing is on record about this review\n");
}
