//! What was approved is what runs.

use crate::house::{House, call};
use holdpoint_core::{Caller, DefinitionDigest};
use holdpoint_testkit::{FixedDefinitions, Verdict};
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn the_bytes_that_were_asked_about_run_even_if_the_caller_spells_them_otherwise_later() {
    let house = House::with(holdpoint_core::Tokens::Required, Some(std::time::Duration::from_secs(5)));
    let first = r#"{"amount":5,"to":"a"}"#;
    assert!(house.call(call("pay", first)).await.starts_with("pending"));
    house.approver.decide_all(Verdict::Approve);
    assert_eq!(house.call(call("pay", r#"{ "to" : "a", "amount" : 5 }"#)).await, "ran pay");
    assert_eq!(house.ran(), [first]);
    assert_eq!(house.approver.submitted().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_arguments_are_another_question() {
    let house = House::with(holdpoint_core::Tokens::Required, Some(std::time::Duration::from_secs(5)));
    assert!(house.call(call("pay", r#"{"n":9007199254740992}"#)).await.starts_with("pending"));
    house.approver.decide("THR-1", Verdict::Approve);
    assert!(house.call(call("pay", r#"{"n":9007199254740993}"#)).await.starts_with("pending"));
    assert_eq!(house.ran().len(), 0);
    assert_eq!(house.approver.opened().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_changed_since_the_question_refuses() {
    let was = DefinitionDigest::from_bytes([1; 32]);
    for (now, runs) in [(Some(was), 1), (Some(DefinitionDigest::from_bytes([2; 32])), 0), (None, 0)] {
        let house = House::new();
        let definitions = Arc::new(FixedDefinitions::new(Some(was)));
        let mut asked = call("pay", "{}");
        asked.definition = Some(was);
        let caller =
            Caller { definitions: Some(definitions.clone()), ..Caller::staying(crate::house::PATIENCE) };
        let held = house.spawn_as(asked, caller);
        house.approver.until_waiting(1).await;
        definitions.set(now);
        house.approver.decide_all(Verdict::Approve);
        let told = held.await.unwrap();
        assert_eq!(told.starts_with("mismatch"), runs == 0, "{told}");
        assert_eq!(house.ran().len(), runs);
        assert_eq!(house.approver.redeemed().len(), runs, "no token is used up for a call that cannot run");
    }
}

/// The hold was opened under one definition; whoever joins it later under another does not get its approval.
#[tokio::test(start_paused = true)]
async fn joining_under_another_definition_refuses() {
    let house = House::with(holdpoint_core::Tokens::Required, Some(std::time::Duration::from_secs(5)));
    let [was, is] = [[1; 32], [2; 32]].map(DefinitionDigest::from_bytes);
    let mut asked = call("pay", "{}");
    asked.definition = Some(was);
    assert!(house.call(asked.clone()).await.starts_with("pending"));
    house.approver.decide_all(Verdict::Approve);
    asked.definition = Some(is);
    assert!(house.call(asked).await.starts_with("mismatch"));
    assert_eq!(house.ran().len(), 0);
}
