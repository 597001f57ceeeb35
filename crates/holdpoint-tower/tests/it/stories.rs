//! The whole story of each ending, step by step.

use crate::house::{House, PATIENCE, Says, ScriptedProbe, asking, mark, pay, refund};
use holdpoint_core::{Caller, Interest, Outcome, Refusal, StoredResult, Tokens};
use holdpoint_testkit::{RedeemScript, ReviseScript, SubmitScript, Verdict};
use std::{future::Future, pin::Pin, time::Duration};

const FEW_SECONDS: Duration = Duration::from_secs(5);

/// What it is called, how it comes about, and its steps.
type Ending = (&'static str, Pin<Box<dyn Future<Output = House>>>, &'static str);

#[tokio::test(start_paused = true)]
async fn calls_that_do_not_run() {
    let no_token = Verdict::ApproveWith { token: None, expires_at: None, thread: None };
    let used = RedeemScript::Refuse(Refusal::Used);
    let endings: Vec<Ending> = vec![
        ("no", Box::pin(said_at_once(SubmitScript::Reject(None))), "Proposed Refused"),
        ("no answer", Box::pin(said_at_once(SubmitScript::Fail)), "Proposed Refused"),
        ("rejected", Box::pin(decided(Verdict::Reject(None))), "Proposed Held Decided Refused"),
        ("expired", Box::pin(decided(Verdict::Expire)), "Proposed Held Decided Refused"),
        ("another", Box::pin(decided(Verdict::OtherPayload)), "Proposed Held Decided Refused"),
        ("unread", Box::pin(decided(Verdict::Fail)), "Proposed Held Refused"),
        ("no token", Box::pin(decided(no_token)), "Proposed Held Decided Refused"),
        ("used", Box::pin(redeemed(used)), "Proposed Held Decided Redeemed Refused"),
        ("lost", Box::pin(redeemed(RedeemScript::Fail)), "Proposed Held Decided Redeemed Refused"),
        (
            "revised",
            Box::pin(revised(ReviseScript::Hold)),
            "Proposed Held Decided Refused Proposed Held Refused",
        ),
        (
            "closed",
            Box::pin(revised(ReviseScript::Closed)),
            "Proposed Held Decided Refused Proposed Held Refused",
        ),
        (
            "revised, and no",
            Box::pin(revised(ReviseScript::Reject(None))),
            "Proposed Held Decided Refused Proposed Refused",
        ),
        ("cancelled", Box::pin(cancelled()), "Proposed Held Withdrawn Refused"),
        ("cancelled early", Box::pin(cancelled_early()), "Proposed Withdrawn Refused"),
        (
            "cancelled too late",
            Box::pin(cancelled_too_late()),
            "Proposed Held Decided Redeemed TooLate Withdrawn Refused",
        ),
        ("edited", Box::pin(edited()), "Proposed Held Decided Refused"),
    ];
    have_their_stories(endings).await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_run() {
    let replaced = RedeemScript::Refuse(Refusal::Invalid);
    let endings: Vec<Ending> = vec![
        ("allowed", Box::pin(said_at_once(SubmitScript::Allow)), "Proposed Allowed"),
        (
            "approved",
            Box::pin(decided(Verdict::Approve)),
            "Proposed Held Decided Redeemed Dispatching Completed",
        ),
        (
            "replaced",
            Box::pin(redeemed(replaced)),
            "Proposed Held Decided Redeemed Redeemed Dispatching Completed",
        ),
        ("joined", Box::pin(joined()), "Proposed Held Refused Joined Decided Redeemed Dispatching Completed"),
        ("collected", Box::pin(collected()), "Proposed Held Decided Dispatching Completed Joined"),
        ("lost", Box::pin(lost()), "Proposed Held Decided Dispatching OutcomeUnknown Joined Refused"),
        ("unsent", Box::pin(unsent()), "Proposed Held Decided Dispatching Resolved"),
        ("passed once", Box::pin(passed_once()), "Dispatching Completed"),
        (
            "it happened",
            Box::pin(found_out()),
            "Proposed Held Decided Dispatching OutcomeUnknown Joined Resolved Refused",
        ),
    ];
    have_their_stories(endings).await;
}

async fn have_their_stories(endings: Vec<Ending>) {
    for (ending, house, story) in endings {
        assert_eq!(house.await.recorder.steps().join(" "), story, "{ending}");
    }
}

fn approving(tokens: Tokens) -> House {
    let house = House::with(tokens, Some(FEW_SECONDS));
    house.approver.decide_all(Verdict::Approve);
    house
}

async fn said_at_once(script: SubmitScript) -> House {
    let house = House::new();
    house.approver.on_submit(script);
    house.call(pay(1)).await;
    house
}

async fn decided(verdict: Verdict) -> House {
    let house = House::with(Tokens::Required, Some(FEW_SECONDS));
    house.approver.decide_all(verdict);
    house.call(pay(1)).await;
    house
}

async fn redeemed(script: RedeemScript) -> House {
    let house = approving(Tokens::Required);
    house.approver.on_redeem(script);
    house.call(pay(1)).await;
    house
}

async fn revised(script: ReviseScript) -> House {
    let house = House::with(Tokens::Required, Some(FEW_SECONDS));
    house.approver.decide("THR-1", Verdict::RequestChanges(None));
    house.call(pay(1)).await;
    house.approver.on_revise(script);
    house.call(pay(2)).await;
    house
}

async fn cancelled() -> House {
    let house = House::new();
    let (handle, interest) = Interest::pair();
    let held = house.spawn_as(pay(1), Caller { interest, ..Caller::staying(PATIENCE) });
    house.approver.until_waiting(1).await;
    handle.cancel();
    held.await.unwrap();
    house
}

async fn cancelled_early() -> House {
    let house = House::new();
    let (handle, interest) = Interest::pair();
    handle.cancel();
    house.call_as(pay(1), Caller { interest, ..Caller::staying(PATIENCE) }).await;
    house
}

async fn cancelled_too_late() -> House {
    let house = approving(Tokens::Required);
    house.approver.on_redeem(RedeemScript::ValidAfter(Duration::from_secs(1)));
    let (handle, interest) = Interest::pair();
    let held = house.spawn_as(pay(1), Caller { interest, ..Caller::staying(PATIENCE) });
    tokio::time::sleep(Duration::from_millis(500)).await;
    handle.cancel();
    held.await.unwrap();
    assert_eq!(house.ran().len(), 0);
    house
}

async fn edited() -> House {
    let house = House::new();
    let held = house.spawn(pay(1));
    house.approver.until_waiting(1).await;
    house.policy.edit(|terms| terms.says = Says::Deny);
    house.approver.decide_all(Verdict::Approve);
    held.await.unwrap();
    house
}

async fn joined() -> House {
    let house = House::with(Tokens::Required, Some(FEW_SECONDS));
    house.call(pay(1)).await;
    house.approver.decide_all(Verdict::Approve);
    house.call(pay(1)).await;
    house
}

async fn collected() -> House {
    let house = approving(Tokens::Off);
    drop(house.begin(pay(1)).await.unwrap().finish(Outcome::succeeded(*b"kept")).await);
    house.call(pay(1)).await;
    house
}

async fn lost() -> House {
    let house = approving(Tokens::Off);
    house.begin(pay(1)).await.unwrap().lose().await;
    house.call(pay(1)).await;
    house
}

async fn unsent() -> House {
    let house = approving(Tokens::Off);
    house.begin(pay(1)).await.unwrap().unsent(StoredResult::new(*b"no")).await;
    house
}

async fn passed_once() -> House {
    let house = House::new();
    house.call(mark("o1")).await;
    house
}

async fn found_out() -> House {
    let house = approving(Tokens::Off);
    house.policy.edit(|terms| terms.settles_within = Some(Duration::ZERO));
    house.begin(refund("o1", 1)).await.unwrap().lose().await;
    house.call_as(refund("o1", 1), asking(&ScriptedProbe::saying(Some("happened")))).await;
    house
}
