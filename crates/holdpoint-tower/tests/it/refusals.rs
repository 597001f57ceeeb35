use crate::house::{House, Says, call, pay};
use holdpoint_core::{Caller, Interest, Refusal, Tokens};
use holdpoint_testkit::{Fault, Operation, RedeemScript, SubmitScript, Verdict};
use std::time::Duration;

fn one_second() -> Duration {
    Duration::from_secs(1)
}

#[tokio::test]
async fn a_clear_yes_runs_the_tool_once() {
    let house = House::new();
    house.approver.on_submit(SubmitScript::Allow);
    assert_eq!(house.call(pay(1)).await, "ran pay");
    house.approver.decide_all(Verdict::Approve);
    assert_eq!(house.call(pay(2)).await, "ran pay");
    assert_eq!(house.call(call("balance", "{}")).await, "ran balance");
    assert_eq!(house.ran(), [r#"{"amount":1}"#, r#"{"amount":2}"#, "{}"]);
    assert_eq!(house.approver.submitted().len(), 2, "a call that passes asks nobody");
    assert_eq!(house.journal.states().len(), 1, "only what a person decided is written down");
}

#[tokio::test]
async fn what_gate_says_at_once() {
    for (script, status) in [
        (SubmitScript::Reject(Some("over the limit".into())), "rejected"),
        (SubmitScript::Fail, "unavailable"),
        (SubmitScript::ReplyLost, "unavailable"),
    ] {
        let house = House::new();
        house.approver.on_submit(script.clone());
        let told = house.call(pay(1)).await;
        assert!(told.starts_with(status), "{script:?}: {told}");
        assert_eq!(house.ran().len(), 0, "{script:?}");
    }
}

#[tokio::test]
async fn what_a_reviewer_or_the_token_says() {
    let late = jiff::Timestamp::from_second(0).unwrap();
    let approve = |token: Option<&str>| Verdict::ApproveWith {
        token: token.map(Into::into),
        expires_at: None,
        thread: None,
    };
    for (verdict, redeem, status) in [
        (Verdict::Reject(Some("too much".into())), None, "rejected"),
        (Verdict::Expire, None, "expired"),
        (Verdict::RequestChanges(Some("half of it".into())), None, "changes_requested"),
        (Verdict::OtherPayload, None, "mismatch"),
        (Verdict::Fail, None, "unavailable"),
        (approve(None), None, "token_invalid"),
        (approve(Some("never issued")), None, "token_invalid"),
        (
            Verdict::ApproveWith { token: Some("t".into()), expires_at: Some(late), thread: None },
            None,
            "token_invalid",
        ),
        (
            Verdict::ApproveWith {
                token: Some("t".into()),
                expires_at: None,
                thread: Some(holdpoint_core::ThreadId::new("THR-OTHER")),
            },
            None,
            "token_invalid",
        ),
        (Verdict::Approve, Some(RedeemScript::Refuse(Refusal::Used)), "token_invalid"),
        (Verdict::Approve, Some(RedeemScript::Refuse(Refusal::Expired)), "token_invalid"),
        (Verdict::Approve, Some(RedeemScript::Refuse(Refusal::Invalid)), "token_invalid"),
        (Verdict::Approve, Some(RedeemScript::Fail), "unavailable"),
    ] {
        let house = House::new();
        house.approver.decide_all(verdict.clone());
        if let Some(script) = redeem.clone() {
            // The second for the token that replaces an invalid one.
            (0..2).for_each(|_| house.approver.on_redeem(script.clone()));
        }
        let told = house.call(pay(1)).await;
        assert!(told.starts_with(status), "{verdict:?} {redeem:?}: {told}");
        assert_eq!(house.ran().len(), 0, "{verdict:?} {redeem:?}");
    }
}

#[tokio::test]
async fn the_reviewers_words_reach_the_agent() {
    let house = House::new();
    house.approver.decide_all(Verdict::Reject(Some("ask finance first".into())));
    assert!(house.call(pay(1)).await.contains("ask finance first"));
    assert_eq!(house.ran().len(), 0);
}

#[tokio::test]
async fn the_approval_of_another_question_is_not_used_up() {
    let house = House::new();
    let thread = Some(holdpoint_core::ThreadId::new("THR-OTHER"));
    house.approver.decide_all(Verdict::ApproveWith {
        token: Some("theirs".into()),
        expires_at: None,
        thread,
    });
    assert!(house.call(pay(1)).await.starts_with("token_invalid"));
    assert_eq!((house.approver.redeemed().len(), house.ran().len()), (0, 0));
}

/// One that has just expired is not even tried, and one that is about to is.
#[tokio::test(start_paused = true)]
async fn an_expired_token_is_not_redeemed() {
    use holdpoint_core::Clock as _;
    for (seconds, redeemed) in [(0, 0), (1, 1)] {
        let house = House::new();
        let expires_at = house.clock.now() + jiff::SignedDuration::from_secs(seconds);
        house.approver.on_redeem(RedeemScript::Valid);
        house.approver.decide_all(Verdict::ApproveWith {
            token: Some("t".into()),
            expires_at: Some(expires_at),
            thread: None,
        });
        assert_eq!(house.call(pay(1)).await.starts_with("token_invalid"), redeemed == 0);
        assert_eq!((house.approver.redeemed().len(), house.ran().len()), (redeemed, redeemed));
    }
}

#[tokio::test]
async fn configuration_that_denies_or_does_not_fit_asks_nobody() {
    let house = House::new();
    for tool in ["wipe", "misfit"] {
        assert!(house.call(call(tool, "{}")).await.starts_with("denied_by_config"), "{tool}");
    }
    assert_eq!((house.approver.submitted().len(), house.ran().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_denies_by_the_time_of_the_approval_counts() {
    let house = House::new();
    let held = house.spawn(pay(1));
    house.approver.until_waiting(1).await;
    house.policy.edit(|terms| terms.says = Says::Deny);
    house.approver.decide_all(Verdict::Approve);
    assert!(held.await.unwrap().starts_with("denied_by_config"));
    assert_eq!((house.approver.redeemed().len(), house.ran().len()), (0, 0));
}

#[tokio::test]
async fn a_journal_that_fails_refuses_at_every_step() {
    for operation in [Operation::Find, Operation::Open, Operation::Claim, Operation::Dispatch] {
        for fault in [Fault::Refused, Fault::ReplyLost] {
            let house = House::new();
            house.approver.decide_all(Verdict::Approve);
            house.journal.fail(operation, fault);
            let told = house.call(pay(1)).await;
            assert!(told.starts_with("unavailable"), "{operation:?} {fault:?}: {told}");
            assert_eq!(house.ran().len(), 0, "{operation:?} {fault:?}");
        }
    }
}

/// The negative control of the test above: without a fault the same house runs the same call.
#[tokio::test]
async fn a_journal_that_fails_after_the_run_does_not_hide_the_result() {
    for operation in [Operation::Finish, Operation::Deliver] {
        let house = House::new();
        house.approver.decide_all(Verdict::Approve);
        house.journal.fail(operation, Fault::Refused);
        assert_eq!(house.call(pay(1)).await, "ran pay");
        house.call(pay(1)).await;
        assert_eq!(house.ran().len(), 1, "{operation:?}: the same approval must not run twice");
    }
}

#[tokio::test]
async fn without_tokens_only_if_the_configuration_says_so() {
    let no_token = Verdict::ApproveWith { token: None, expires_at: None, thread: None };
    for (tokens, runs) in [(Tokens::Required, 0), (Tokens::Optional, 1), (Tokens::Off, 1)] {
        let house = House::with(tokens, None);
        house.approver.decide_all(no_token.clone());
        house.call(pay(1)).await;
        assert_eq!(house.ran().len(), runs, "{tokens:?}");
    }
    let house = House::with(Tokens::Optional, None);
    house.approver.decide_all(Verdict::Approve);
    house.approver.on_redeem(RedeemScript::Refuse(Refusal::Used));
    assert!(house.call(pay(1)).await.starts_with("token_invalid"), "a token that is sent must be good");
    assert_eq!(house.ran().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_never_runs() {
    let house = House::new();
    let (handle, interest) = Interest::pair();
    let held = house.spawn_as(pay(1), Caller { interest, ..Caller::staying(crate::house::PATIENCE) });
    house.approver.until_waiting(1).await;
    handle.cancel();
    assert!(held.await.unwrap().starts_with("cancelled"));
    house.approver.decide("THR-1", Verdict::Approve);
    tokio::time::sleep(one_second()).await;
    assert_eq!((house.approver.redeemed().len(), house.ran().len()), (0, 0));

    // The same call, sent again, is a new question: the old approval is not its approval.
    let again = house.spawn(pay(1));
    house.approver.until_submitted(2).await;
    tokio::time::sleep(one_second()).await;
    assert_eq!(house.ran().len(), 0);
    assert_eq!(house.approver.opened().len(), 2);
    house.approver.decide("THR-2", Verdict::Approve);
    assert_eq!(again.await.unwrap(), "ran pay");
    assert_eq!(house.ran().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_cancelled_while_gate_is_asked_or_the_token_is_redeemed_never_runs() {
    for script in [SubmitScript::Allow, SubmitScript::Hold] {
        let house = House::new();
        let (handle, interest) = Interest::pair();
        handle.cancel();
        house.approver.on_submit(script);
        house.approver.decide_all(Verdict::Approve);
        let caller = Caller { interest, ..Caller::staying(crate::house::PATIENCE) };
        assert!(house.call_as(pay(1), caller).await.starts_with("cancelled"));
        assert_eq!(house.ran().len(), 0);
    }
    let house = House::new();
    let (handle, interest) = Interest::pair();
    house.approver.decide_all(Verdict::Approve);
    house.approver.on_redeem(RedeemScript::Hang);
    let caller = Caller { interest, ..Caller::staying(crate::house::PATIENCE) };
    let held = house.spawn_as(pay(1), caller);
    tokio::time::sleep(one_second()).await;
    handle.cancel();
    held.abort();
    assert_eq!(house.ran().len(), 0);
}

/// Withdrawn while Gate was asked, and approved all the same: that approval is not the next call's.
#[tokio::test(start_paused = true)]
async fn the_approval_of_a_call_cancelled_while_gate_was_asked_is_nobodys() {
    let house = House::new();
    let (handle, interest) = Interest::pair();
    handle.cancel();
    let caller = Caller { interest, ..Caller::staying(crate::house::PATIENCE) };
    assert!(house.call_as(pay(1), caller).await.starts_with("cancelled"));
    house.approver.decide("THR-1", Verdict::Approve);

    let again = house.spawn(pay(1));
    tokio::time::sleep(one_second()).await;
    assert_eq!((house.approver.opened().len(), house.ran().len()), (2, 0));
    house.approver.decide("THR-2", Verdict::Reject(None));
    assert!(again.await.unwrap().starts_with("rejected"));
    assert_eq!(house.ran().len(), 0);
}
