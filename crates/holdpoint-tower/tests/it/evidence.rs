//! Every step of a call is on record, in order, and what cannot be recorded does not run.

use crate::house::{House, call, mark, pay, refund};
use holdpoint_core::{HoldState, Outcome, StoredResult, Tokens};
use holdpoint_testkit::{SubmitScript, Verdict};
use std::time::Duration;

const FEW_SECONDS: Duration = Duration::from_secs(5);

fn approving(tokens: Tokens) -> House {
    let house = House::with(tokens, Some(FEW_SECONDS));
    house.approver.decide_all(Verdict::Approve);
    house
}

/// What is refused before anybody is asked, and what runs unasked, is no part of it.
#[tokio::test]
async fn calls_that_nobody_is_asked_about_leave_no_story() {
    let house = House::new();
    for tool in ["balance", "wipe", "misfit"] {
        house.call(call(tool, "{}")).await;
    }
    assert!(house.recorder.steps().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_is_recorded_before_the_tool_runs() {
    for (call, story) in [
        (mark("o1"), &["Dispatching"][..]),
        (pay(1), &["Proposed", "Held", "Decided", "Redeemed", "Dispatching"]),
    ] {
        let house = approving(Tokens::Required);
        let running = house.begin(call).await.unwrap();
        assert_eq!(house.recorder.steps(), story);
        running.finish(Outcome::succeeded(*b"ran")).await.delivered().await;
    }
}

/// Whatever cannot be recorded before the tool runs: it runs zero times, and once when it can be.
#[tokio::test(start_paused = true)]
async fn a_recorder_that_fails_before_the_run_refuses() {
    for (step, state) in [
        ("Proposed", None),
        ("Held", Some(HoldState::Pending)),
        ("Decided", Some(HoldState::Pending)),
        ("Redeemed", Some(HoldState::Void)),
        ("Dispatching", Some(HoldState::Void)),
    ] {
        let house = approving(Tokens::Required);
        house.recorder.fail(step);
        let told = house.call(pay(1)).await;
        assert!(told.starts_with("unavailable: The call could not be recorded"), "{step}: {told}");
        assert_eq!(house.ran().len(), 0, "{step}");
        assert_eq!(house.journal.states(), Vec::from_iter(state), "{step}");
        house.recorder.repair();
        assert_eq!(house.call(pay(1)).await, "ran pay", "{step}");
        assert_eq!(house.ran().len(), 1, "{step}");
        let asked = usize::from(state == Some(HoldState::Void)) + 1;
        assert_eq!(house.approver.opened().len(), asked, "{step}: a used approval is not used again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_fails_refuses_those_who_join_or_are_allowed() {
    let house = House::with(Tokens::Required, Some(FEW_SECONDS));
    house.call(pay(1)).await;
    house.approver.decide_all(Verdict::Approve);
    house.recorder.fail("Joined");
    assert!(house.call(pay(1)).await.starts_with("unavailable"));
    assert_eq!((house.journal.states(), house.ran().len()), (vec![HoldState::Pending], 0));
    house.recorder.repair();
    assert_eq!(house.call(pay(1)).await, "ran pay");

    house.recorder.fail("Allowed");
    house.approver.on_submit(SubmitScript::Allow);
    assert!(house.call(pay(2)).await.starts_with("unavailable"));
    assert_eq!(house.ran().len(), 1);
}

/// An effect that was taken for a run that then could not be recorded is given back, or, failing that, stays taken.
#[tokio::test(start_paused = true)]
async fn an_effect_is_given_back_if_its_run_cannot_be_recorded() {
    use holdpoint_testkit::{Fault, Operation};
    for (call, script) in
        [(mark("o1"), None), (refund("o1", 1), Some(SubmitScript::Allow)), (refund("o1", 1), None)]
    {
        for settles in [true, false] {
            let house = approving(Tokens::Off);
            if let Some(script) = &script {
                house.approver.on_submit(script.clone());
            }
            house.recorder.fail("Dispatching");
            if !settles {
                house.journal.fail(Operation::Settle, Fault::Refused);
                house.journal.fail(Operation::Resolve, Fault::Refused);
            }
            assert!(house.call(call.clone()).await.starts_with("unavailable"));
            assert_eq!(house.ran().len(), 0);
            house.recorder.repair();
            house.journal.repair();
            let told = house.call(call.clone()).await;
            assert_eq!(told.starts_with("ran"), settles, "{told}");
            assert_eq!(told.starts_with("outcome_unknown"), !settles, "{told}");
            assert_eq!(house.ran().len(), usize::from(settles));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_fails_after_the_run_hides_nothing() {
    for call in [pay(1), mark("o1")] {
        let house = approving(Tokens::Required);
        house.recorder.fail("Completed");
        assert!(house.call(call).await.starts_with("ran"));
        assert_eq!(house.ran().len(), 1);
    }
    for step in ["OutcomeUnknown", "Resolved", "Refused", "Withdrawn"] {
        let house = approving(Tokens::Off);
        house.recorder.fail(step);
        house.begin(pay(1)).await.unwrap().lose().await;
        assert!(house.call(pay(1)).await.starts_with("outcome_unknown"), "{step}");
        house.begin(pay(2)).await.unwrap().unsent(StoredResult::new(*b"no")).await;
        assert_eq!(house.journal.states(), [HoldState::Unknown, HoldState::Void], "{step}");
        assert_eq!(house.ran().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_are_taken_out_of_what_people_are_shown() {
    let house = approving(Tokens::Off);
    let running = house.begin(call("pay", r#"{"card":"4111 1111","amount":1}"#)).await.unwrap();
    let excerpt = "charged 4111 1111, twice: 4111 1111".to_owned();
    running.finish(Outcome::succeeded(*b"ran").with_excerpt(Some(excerpt))).await.delivered().await;
    let story = house.recorder.story().pop().unwrap();
    assert!(story.contains("charged [redacted], twice: [redacted]"), "{story}");
    assert!(!story.contains("4111"), "{story}");
    // What the tool said of itself and how long it took are there too.
    assert!(story.contains("Succeeded") && story.contains("took"), "{story}");
}

/// Adapters that cut or escape a text take the values out first; and what they tell of a lost answer is what the next
/// identical call hears.
#[tokio::test(start_paused = true)]
async fn what_adapters_tell_is_what_the_kernel_would() {
    let house = approving(Tokens::Off);
    let running = house.begin(call("pay", r#"{"card":"4111 1111"}"#)).await.unwrap();
    assert!(running.is_recorded());
    assert_eq!(running.redacted("paid with 4111 1111"), "paid with [redacted]");
    let unknown = running.outcome_unknown();
    assert_eq!(unknown.thread().unwrap().as_str(), "THR-1");
    let digest = call("pay", r#"{"card":"4111 1111"}"#).digest();
    assert_eq!(
        format!("{running:?}"),
        format!("Completion(Some({digest:?}))"),
        "what it prints is no secret"
    );
    running.lose().await;
    let told = house.call(call("pay", r#"{"card":"4111 1111"}"#)).await;
    assert_eq!(told, crate::house::told(&unknown));

    let unasked = house.begin(call("balance", "{}")).await.unwrap();
    assert!(!unasked.is_recorded());
    assert_eq!(unasked.redacted("4111 1111"), "4111 1111");
    assert_eq!(unasked.outcome_unknown().thread(), None);
    assert_eq!(format!("{:?}", unasked.finish(Outcome::succeeded(*b"ran")).await), "Delivery(None)");
}

#[tokio::test(start_paused = true)]
async fn how_long_it_took_is_on_record() {
    for lost in [true, false] {
        let house = approving(Tokens::Off);
        let running = house.begin(pay(1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(7)).await;
        if lost {
            running.lose().await;
        } else {
            running.finish(Outcome::failed(*b"no")).await.delivered().await;
        }
        let story = house.recorder.story().pop().unwrap();
        assert!(story.contains("took: 7s") && story.contains("THR-1"), "{story}");
        // A clock that was set back takes no time.
        let running = house.begin(pay(2)).await.unwrap();
        house.clock.shift(jiff::SignedDuration::from_secs(-60));
        running.lose().await;
        assert!(house.recorder.story().pop().unwrap().contains("took: 0ns"));
    }
}
