use std::sync::Arc;

use holdpoint_core::{
    EffectState, Ending, HeldCall, HoldState, Journal, Moved, Opened, Ran, Resolution, Settled, Step, Taken,
};

use super::super::race;
use super::{
    Processes, at, claim, dispatch, end, finish, got, identity, key, new_effect, new_hold, opened, owner,
    proposal, same, step, take_up, task, with_effect,
};

/// Each race is run again, since one round may be lucky.
const ROUNDS: u8 = 4;

async fn two(processes: &impl Processes) -> [Arc<dyn Journal>; 2] {
    [processes.start(&owner("one")).await, processes.start(&owner("two")).await]
}

/// What racers run, on one journal or the other by turns.
async fn compete<T, Fut>(
    journals: &[Arc<dyn Journal>; 2],
    run: impl Fn(usize, Arc<dyn Journal>) -> Fut,
) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let [one, two] = journals;
    race(|racer| run(racer, Arc::clone(if racer % 2 == 0 { one } else { two }))).await
}

fn winners(moved: &[Moved]) -> usize {
    moved.iter().filter(|moved| **moved == Moved::Yes).count()
}

fn mine(opened: &[Opened]) -> Vec<HeldCall> {
    opened
        .iter()
        .filter_map(|opened| match opened {
            Opened::Mine(hold) => Some(hold.clone()),
            Opened::Joined(_) | Opened::Spent => None,
        })
        .collect()
}

pub(super) async fn of_many_that_open_claim_and_run_one_does(processes: &impl Processes) {
    let journals = two(processes).await;
    for round in 0..ROUNDS {
        let opened =
            compete(&journals, |_, journal| async move { journal.open(new_hold(round, 0)).await.unwrap() })
                .await;
        assert!(!opened.iter().any(|opened| matches!(opened, Opened::Spent)), "nothing has ended");
        let [hold] = mine(&opened).try_into().expect("one was opened");
        let moved = compete(&journals, |racer, journal| async move {
            let name = racer.to_string();
            let claimed = journal.advance(hold.id, claim(&name), at(1)).await.unwrap();
            let ran = journal.advance(hold.id, dispatch(&name), at(1)).await.unwrap();
            assert_eq!(claimed, ran, "claimed and could not run, or ran without a claim");
            ran
        })
        .await;
        assert_eq!(winners(&moved), 1);
        for journal in &journals {
            let live = journal.find(&identity(round), &task()).await.unwrap().live.unwrap();
            assert_eq!((live.id, live.state), (hold.id, HoldState::Dispatched));
        }
    }
}

/// Different calls for one thread, each with a revision of its own.
pub(super) async fn of_many_calls_for_one_thread_one_gets_it(processes: &impl Processes) {
    let journals = two(processes).await;
    for round in 0..ROUNDS {
        let opened = compete(&journals, |racer, journal| async move {
            let which = u8::try_from(racer).unwrap();
            let revision = u32::from(which % 3);
            journal.open(proposal(which, &format!("THR-{round}"), revision, 0)).await.unwrap()
        })
        .await;
        assert_eq!(mine(&opened).len(), 1);
        assert!(
            !opened.iter().any(|opened| matches!(opened, Opened::Joined(_))),
            "no two calls are the same"
        );
        for hold in mine(&opened) {
            step(&*journals[0], hold.id, end(Ending::Void), 1).await;
        }
    }
}

/// Calls with and without holds.
pub(super) async fn of_many_that_take_an_effect_one_has_it(processes: &impl Processes) {
    let journals = two(processes).await;
    for round in 0..ROUNDS {
        let name = format!("refund {round}");
        let mut holds = Vec::new();
        for racer in 0..u8::try_from(super::super::RACERS).unwrap() {
            let hold = opened(&*journals[0], with_effect(racer, &name, i64::from(round))).await;
            step(&*journals[0], hold.id, claim("one"), 1).await;
            holds.push(hold.id);
        }
        let moved = compete(&journals, |racer, journal| {
            let (id, new) = (holds[racer], new_effect(200, &name, 2));
            async move {
                if racer % 3 == 0 {
                    match journal.take_effect(new).await.unwrap() {
                        Taken::Mine(_) => Moved::Yes,
                        Taken::Theirs(_) => Moved::No,
                    }
                } else {
                    journal.advance(id, dispatch("one"), at(2)).await.unwrap()
                }
            }
        })
        .await;
        assert_eq!(winners(&moved), 1);
        let run = journals[1].effect(&identity(1).server, &key(&name)).await.unwrap().unwrap();
        let dispatched: Vec<_> = journals[1].live(1000).await.unwrap();
        let dispatched: Vec<_> = dispatched
            .iter()
            .filter(|hold| holds.contains(&hold.id) && hold.state == HoldState::Dispatched)
            .map(|hold| hold.id)
            .collect();
        assert_eq!(dispatched, run.hold.into_iter().collect::<Vec<_>>());
        for id in holds {
            let _dispatched_one = journals[0].advance(id, end(Ending::Void), at(3)).await.unwrap();
            let _other_ones =
                journals[0].advance(id, Step::Resolve(Resolution::DidNotRun), at(3)).await.unwrap();
        }
    }
}

pub(super) async fn of_many_that_take_up_a_thread_one_revises(processes: &impl Processes) {
    let journals = two(processes).await;
    for round in 0..ROUNDS {
        let hold = opened(&*journals[0], new_hold(round, 0)).await;
        step(&*journals[0], hold.id, end(Ending::ChangesRequested), 1).await;
        let moved = compete(&journals, |racer, journal| async move {
            let call = u8::try_from(racer / 4).unwrap();
            (call, journal.advance(hold.id, take_up(call), at(2)).await.unwrap())
        })
        .await;
        let taken_up_by = got(&*journals[1], hold.id).await.taken_up_by.unwrap();
        for (call, moved) in moved {
            let is_it = identity(call).digest == taken_up_by;
            assert_eq!(moved == Moved::Yes, is_it, "the same call may, as often as it wants");
        }
    }
}

/// The tool answers, a person resolves, a read-only tool tells: in either order of hold and effect, at once.
pub(super) async fn of_many_that_settle_and_resolve_one_does(processes: &impl Processes) {
    let journals = two(processes).await;
    for round in 0..ROUNDS {
        let name = format!("refund {round}");
        let hold = opened(&*journals[0], with_effect(round, &name, 0)).await;
        for way in [claim("one"), dispatch("one")] {
            step(&*journals[0], hold.id, way, 1).await;
        }
        let run = journals[0].effect(&identity(1).server, &key(&name)).await.unwrap().unwrap();
        let moved = compete(&journals, |racer, journal| async move {
            match racer % 4 {
                0 => journal.settle(run.id, Settled::Void, at(2)).await.unwrap(),
                1 => journal.advance(hold.id, Step::Resolve(Resolution::Ran), at(2)).await.unwrap(),
                2 => journal.advance(hold.id, finish(Ran::Succeeded), at(2)).await.unwrap(),
                _ => journal.settle(run.id, Settled::Done, at(2)).await.unwrap(),
            }
        })
        .await;
        assert_eq!(winners(&moved), 1);
        let after = got(&*journals[1], hold.id).await.state;
        let effect = journals[1].effect(&identity(1).server, &key(&name)).await.unwrap();
        match effect.map(|run| run.state) {
            Some(EffectState::Done) => assert_eq!(after, HoldState::Done),
            None => assert_eq!(after, HoldState::Void),
            other => panic!("{other:?} with a hold that is {after:?}"),
        }
    }
}

pub(super) async fn what_another_process_wrote_is_found_at_once(processes: &impl Processes) {
    let [one, two] = two(processes).await;
    for round in 0..100_u8 {
        let (writes, reads) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let hold = opened(&**writes, new_hold(round, 0)).await;
        same(&reads.find(&identity(round), &task()).await.unwrap().live.unwrap(), &hold);
        step(&**reads, hold.id, end(Ending::Expired), 1).await;
        let found = writes.find(&identity(round), &task()).await.unwrap();
        assert!(found.live.is_none() && found.ended == 1);
    }
}
