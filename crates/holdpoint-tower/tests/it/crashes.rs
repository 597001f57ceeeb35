//! A process that dies, or is overtaken by others, at every point where it meets the world: one approval still runs at
//! most once, and one effect too. The matrix of kills of a real process is in the end-to-end tests.

use crate::house::{House, Runs, Stop, mark, pay, refund};
use holdpoint_core::{
    Admission, Caller, Grounds, HoldState, Outcome, Probe, Question, ServerName, ThreadId, Tokens, ToolCall,
};
use holdpoint_testkit::{SubmitScript, Verdict};
use serde_json::Value;
use std::{collections::HashSet, sync::Arc, time::Duration};

const SETTLES: Duration = Duration::from_mins(5);
/// Longer than a claim of somebody who lives.
const LONG_ENOUGH: Duration = Duration::from_secs(40);
/// Far more than any call meets.
const POINTS_MAX: usize = 200;
/// The shortest way: look into the journal, and put on record what was there. Each is a point before and a point after.
const POINTS_MIN: usize = 4;
const TRIES: usize = 5;

/// What kind of call it is that is stopped.
#[derive(Clone, Copy, Debug)]
enum Flow {
    Held(Tokens),
    Allowed,
    Revised(Tokens),
    EffectHeld(Tokens),
    EffectAllowed,
    EffectPassed,
    /// Its answer is there already.
    Collected,
    /// Whether it happened is found out first.
    FoundOut,
    /// Somebody who is dead has claimed it.
    TakenOver,
}

impl Flow {
    const ALL: [Self; 14] = [
        Self::Held(Tokens::Required),
        Self::Held(Tokens::Optional),
        Self::Held(Tokens::Off),
        Self::Allowed,
        Self::Revised(Tokens::Required),
        Self::Revised(Tokens::Off),
        Self::EffectHeld(Tokens::Required),
        Self::EffectHeld(Tokens::Off),
        Self::EffectAllowed,
        Self::EffectPassed,
        Self::Collected,
        Self::FoundOut,
        Self::TakenOver,
        Self::EffectHeld(Tokens::Optional),
    ];

    fn call(self) -> ToolCall {
        match self {
            Self::Held(_) | Self::Allowed | Self::Collected | Self::TakenOver => pay(1),
            Self::Revised(_) => pay(2),
            Self::EffectHeld(_) | Self::EffectAllowed | Self::FoundOut => refund("o1", 1),
            Self::EffectPassed => mark("o1"),
        }
    }

    const fn has_effect(self) -> bool {
        match self {
            Self::EffectHeld(_) | Self::EffectAllowed | Self::EffectPassed | Self::FoundOut => true,
            Self::Held(_) | Self::Allowed | Self::Revised(_) | Self::Collected | Self::TakenOver => false,
        }
    }

    async fn house(self) -> House {
        let tokens = match self {
            Self::Held(tokens) | Self::Revised(tokens) | Self::EffectHeld(tokens) => tokens,
            Self::Allowed
            | Self::EffectAllowed
            | Self::EffectPassed
            | Self::Collected
            | Self::FoundOut
            | Self::TakenOver => Tokens::Required,
        };
        let house = House::with(tokens, None);
        house.policy.edit(|terms| terms.settles_within = Some(SETTLES));
        house.approver.decide_all(Verdict::Approve);
        match self {
            Self::Held(_) | Self::EffectHeld(_) | Self::EffectPassed => {}
            Self::Allowed | Self::EffectAllowed => {
                (0..POINTS_MAX).for_each(|_| house.approver.on_submit(SubmitScript::Allow));
            }
            Self::Revised(_) => {
                house.approver.decide("THR-1", Verdict::RequestChanges(None));
                assert!(house.call(pay(1)).await.starts_with("changes_requested"));
            }
            Self::Collected => {
                drop(house.begin(pay(1)).await.unwrap().finish(Outcome::succeeded(*b"ran pay")).await);
            }
            Self::FoundOut => {
                // It never reached the tool.
                let before = Stop::process(&house, "before", usize::MAX).1;
                let admission = before.gate.admit(refund("o1", 1)).await;
                let Ok(Admission::Run(permitted)) = admission else { unreachable!("{admission:?}") };
                permitted.into_parts().2.lose().await;
                tokio::time::sleep(SETTLES).await;
            }
            Self::TakenOver => {
                // Dies at the redemption, with the claim.
                house.approver.on_redeem(holdpoint_testkit::RedeemScript::Hang);
                let before = house.again("before");
                let dies = before.spawn(pay(1));
                tokio::time::sleep(Duration::from_secs(1)).await;
                dies.abort();
                assert_eq!(house.journal.states(), [HoldState::Approved]);
                house.journal.bury("before");
            }
        }
        house
    }
}

/// Knows what happened.
#[derive(Debug)]
struct Truth(Runs);

#[async_trait::async_trait]
impl Probe for Truth {
    async fn ask(&self, _: &ServerName, _: Question) -> Option<Value> {
        Some(if self.0.arguments().is_empty() { "did not happen" } else { "happened" }.into())
    }
}

fn caller(house: &House) -> Caller {
    Caller { probe: Some(Arc::new(Truth(house.runs.clone()))), ..Caller::staying(LONG_ENOUGH) }
}

/// One approval has let one call run, one effect was had once, and every run has its grounds.
fn holds_up(house: &House, place: &str) {
    let mut threads: HashSet<ThreadId> = HashSet::new();
    let mut allowed = 0;
    for receipt in house.runs.receipts() {
        match receipt.grounds {
            Grounds::Approved(thread) | Grounds::ApprovedWithoutToken(thread) => {
                assert!(threads.insert(thread), "{place}: one approval, two runs");
            }
            Grounds::Allowed(_) => allowed += 1,
            Grounds::Passed(_) => {}
        }
    }
    assert!(allowed <= house.approver.submitted().len(), "{place}");
    let runs = house.ran();
    assert!(runs.len() <= house.runs.receipts().len(), "{place}");
    assert!(runs.iter().filter(|run| run.contains("o1")).count() <= 1, "{place}: one effect, {runs:?}");
}

/// Whoever comes back after a death gets an answer: the run's, or that it is not known.
async fn comes_back(house: &House, after: &House, flow: Flow, place: &str) {
    let runs_before = house.ran().len();
    let mut told = String::new();
    for _ in 0..TRIES {
        told = after.call_as(flow.call(), caller(house)).await;
        if !told.starts_with("outcome_unknown") {
            break;
        }
        tokio::time::sleep(SETTLES).await;
    }
    let in_doubt = house.journal.states().contains(&HoldState::Dispatched);
    if in_doubt && !flow.has_effect() {
        assert!(told.starts_with("outcome_unknown"), "{place}: {told}");
        assert_eq!(house.ran().len(), runs_before, "{place}: nobody knows whether it ran");
    } else {
        assert!(told.starts_with("ran") || told.starts_with("already_done"), "{place}: {told}");
        assert!(!house.ran().is_empty(), "{place}");
    }
}

/// Runs the call in a process of its own that stops at that point. `false`: it has fewer points.
async fn dies_at(house: &House, owner: &'static str, flow: Flow, point: usize) -> bool {
    let (stop, process) = Stop::process(house, owner, point);
    let mut call = process.spawn_as(flow.call(), caller(house));
    let died = tokio::select! {
        biased;
        () = stop.reached() => true,
        _told = &mut call => false,
    };
    if died {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    house.journal.bury(owner);
    died
}

#[tokio::test(start_paused = true)]
async fn killed_at_every_point() {
    for flow in Flow::ALL {
        let mut points = 0;
        for point in 0..POINTS_MAX {
            let house = flow.house().await;
            if !dies_at(&house, "dies", flow, point).await {
                break;
            }
            points += 1;
            let place = format!("{flow:?} at {point}");
            holds_up(&house, &place);
            comes_back(&house, &house.again("after"), flow, &place).await;
            holds_up(&house, &place);
        }
        assert!((POINTS_MIN..POINTS_MAX).contains(&points), "{flow:?}: {points} points");
    }
}

/// And the one that takes over dies as well.
#[tokio::test(start_paused = true)]
async fn killed_twice_at_every_point() {
    for flow in [Flow::Held(Tokens::Off), Flow::Revised(Tokens::Required), Flow::EffectHeld(Tokens::Required)]
    {
        let mut pairs = 0;
        for first in 0..POINTS_MAX {
            let mut died = false;
            for second in 0..POINTS_MAX {
                let house = flow.house().await;
                died = dies_at(&house, "dies", flow, first).await;
                if !died || !dies_at(&house, "dies too", flow, second).await {
                    break;
                }
                pairs += 1;
                let place = format!("{flow:?} at {first} and {second}");
                comes_back(&house, &house.again("after"), flow, &place).await;
                holds_up(&house, &place);
            }
            if !died {
                break;
            }
        }
        assert!(pairs > POINTS_MIN * POINTS_MIN, "{flow:?}: {pairs} pairs");
    }
}

/// Who acts while the process stands still.
#[derive(Clone, Copy, Debug)]
enum Other {
    /// The same call in another process.
    Neighbour,
    /// The same call in the same process.
    Ours,
    /// Another call with the same effect, in another process.
    SameEffect,
    /// Another call that wants to revise the same thread.
    SameThread,
}

#[tokio::test(start_paused = true)]
async fn overtaken_at_every_point() {
    for flow in Flow::ALL {
        for other in [Other::Neighbour, Other::Ours, Other::SameEffect, Other::SameThread] {
            let mut points = 0;
            for point in 0..POINTS_MAX {
                let house = flow.house().await;
                let (stop, process) = Stop::process(&house, "slow", point);
                let mut call = process.spawn_as(flow.call(), caller(&house));
                tokio::select! {
                    biased;
                    () = stop.reached() => {}
                    _told = &mut call => break,
                }
                points += 1;
                let neighbour = house.again("fast");
                let fast = match other {
                    Other::Neighbour => neighbour.call_as(flow.call(), caller(&house)).await,
                    Other::Ours => process.call_as(flow.call(), caller(&house)).await,
                    Other::SameEffect => neighbour.call_as(refund("o1", 9), caller(&house)).await,
                    Other::SameThread => neighbour.call_as(pay(9), caller(&house)).await,
                };
                stop.go_on();
                let slow = call.await.unwrap();
                let place = format!("{flow:?}, {other:?} at {point}: {fast} / {slow}");
                if let (Other::SameEffect, true) = (other, flow.has_effect()) {
                    let both = fast.starts_with("ran") && slow.starts_with("ran");
                    assert!(!both, "{place}");
                }
                holds_up(&house, &place);
            }
            assert!((POINTS_MIN..POINTS_MAX).contains(&points), "{flow:?} {other:?}: {points} points");
        }
    }
}
