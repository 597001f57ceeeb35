use std::sync::Arc;

use holdpoint_core::{Ending, HoldId, HoldState, Journal, Liveness, Moved, Opened, Ran, Step, StoredResult};

use super::{
    Processes, at, claim, dispatch, end, finish, got, identity, key, new_hold, opened, owner, refused, same,
    step, task,
};

pub(super) async fn a_hold_is_read_back_as_it_was_written(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    assert!(journal.find(&identity(1), &task()).await.unwrap().live.is_none());
    let mut new = new_hold(1, 0);
    new.effect = Some(key("refund 4711"));
    new.hold.revision = 7;
    let hold = opened(&*journal, new.clone()).await;
    assert_eq!((&hold.hold, &hold.arguments, &hold.definition), (&new.hold, &new.arguments, &new.definition));
    assert_eq!((hold.state, hold.opened_at, &hold.policy), (HoldState::Pending, at(0), &new.policy));
    assert_eq!((hold.question, &hold.effect), (Some(new.question), &new.effect));
    assert!(!hold.delivered && hold.result.is_none() && hold.words.is_none() && hold.taken_up_by.is_none());
    same(&journal.find(&identity(1), &task()).await.unwrap().live.unwrap(), &hold);
    same(&got(&*journal, hold.id).await, &hold);
    same(journal.live(10).await.unwrap().first().unwrap(), &hold);
    assert!(journal.get(HoldId(999)).await.unwrap().is_none());
    assert!(journal.find(&identity(2), &task()).await.unwrap().live.is_none());
    assert_eq!(journal.advance(HoldId(999), claim("one"), at(1)).await.unwrap(), Moved::No);
}

pub(super) async fn what_may_be_missing_is_missing(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let mut without = new_hold(2, 5);
    (without.arguments, without.definition, without.hold.review_url) = (None, None, None);
    let hold = opened(&*journal, without).await;
    let read = got(&*journal, hold.id).await;
    assert!(read.arguments.is_none() && read.definition.is_none() && read.hold.review_url.is_none());
    opened(&*journal, new_hold(1, 9)).await;
    let ids: Vec<_> = journal.live(10).await.unwrap().iter().map(|hold| hold.identity.clone()).collect();
    assert_eq!(ids, [identity(2), identity(1)], "the oldest comes first");
    assert_eq!(journal.live(1).await.unwrap().len(), 1);
}

pub(super) async fn a_restart_forgets_nothing(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let ended = opened(&*journal, new_hold(1, 0)).await;
    step(&*journal, ended.id, end(Ending::Rejected), 1).await;
    let live = opened(&*journal, new_hold(1, 2)).await;
    step(&*journal, live.id, claim("one"), 3).await;
    let before = journal.find(&identity(1), &task()).await.unwrap();
    drop(journal);
    processes.end(&owner("one")).await;
    let journal = processes.start(&owner("two")).await;
    let after = journal.find(&identity(1), &task()).await.unwrap();
    assert_eq!((before.ended, after.ended), (1, 1));
    same(&after.live.unwrap(), &before.live.unwrap());
}

pub(super) async fn a_result_waits_for_its_caller_and_is_then_forgotten(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let hold = opened(&*journal, new_hold(1, 0)).await;
    step(&*journal, hold.id, claim("one"), 1).await;
    refused(&*journal, hold.id, dispatch("two"), 1).await;
    step(&*journal, hold.id, dispatch("one"), 1).await;
    refused(&*journal, hold.id, end(Ending::Cancelled), 1).await;
    step(&*journal, hold.id, finish(Ran::Succeeded), 2).await;
    let live = journal.find(&identity(1), &task()).await.unwrap().live.unwrap();
    let kept = Some(StoredResult::new(&b"42"[..]));
    assert_eq!((live.state, live.result, live.delivered), (HoldState::Done, kept, false));
    assert!(matches!(journal.open(new_hold(1, 2)).await.unwrap(), Opened::Joined(_)));
    step(&*journal, hold.id, Step::Deliver, 3).await;
    refused(&*journal, hold.id, Step::Deliver, 4).await;
    let found = journal.find(&identity(1), &task()).await.unwrap();
    assert!(found.live.is_none() && found.ended == 1);
    let kept = got(&*journal, hold.id).await;
    assert!(kept.delivered && kept.result.is_none());
    opened(&*journal, new_hold(1, 3)).await;
}

pub(super) async fn a_dead_owners_claim_is_taken_over_and_a_live_ones_is_not(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let hold = opened(&*journal, new_hold(1, 0)).await;
    let take = |name: &str, stale_before| Step::Claim { owner: owner(name), stale_before: at(stale_before) };
    step(&*journal, hold.id, take("a", 0), 10).await;
    refused(&*journal, hold.id, take("b", 10), 20).await;
    step(&*journal, hold.id, take("b", 11), 20).await;
    assert_eq!(got(&*journal, hold.id).await.claim, Some((owner("b"), at(20))));
    refused(&*journal, hold.id, dispatch("a"), 21).await;
    step(&*journal, hold.id, dispatch("b"), 21).await;
    // What may have run is never claimed.
    refused(&*journal, hold.id, take("c", 1000), 30).await;
}

pub(super) async fn the_reviewers_words_are_kept(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let endings =
        [Ending::Rejected, Ending::Expired, Ending::Cancelled, Ending::ChangesRequested, Ending::Void];
    for (ending, which) in endings.into_iter().zip(1..) {
        let hold = opened(&*journal, new_hold(which, 0)).await;
        let words: Arc<str> = format!("no, {which}\nbecause “…”").into();
        step(&*journal, hold.id, Step::End { ending, words: Some(Arc::clone(&words)) }, 1).await;
        assert_eq!(got(&*journal, hold.id).await.words, Some(words));
        refused(&*journal, hold.id, end(Ending::Rejected), 2).await;
    }
}

pub(super) async fn withdrawn_holds_are_listed(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let mut ids = Vec::new();
    for (which, ending) in
        [(1, Ending::Cancelled), (2, Ending::Void), (3, Ending::Cancelled), (4, Ending::Cancelled)]
    {
        let hold = opened(&*journal, new_hold(which, 0)).await;
        step(&*journal, hold.id, end(ending), i64::from(which)).await;
        ids.push(hold.id);
    }
    opened(&*journal, new_hold(5, 0)).await;
    let listed = async |since, limit| -> Vec<HoldId> {
        journal.withdrawn(at(since), limit).await.unwrap().iter().map(|hold| hold.id).collect()
    };
    let &[first, _, third, fourth] = ids.as_slice() else { panic!("{ids:?}") };
    assert_eq!(listed(0, 10).await, [first, third, fourth]);
    assert_eq!(listed(3, 10).await, [third, fourth]);
    assert_eq!(listed(0, 2).await, [first, third]);
    assert_eq!(listed(5, 10).await, []);
}

pub(super) async fn who_has_ended_is_gone(processes: &impl Processes) {
    let one: Arc<dyn Journal> = processes.start(&owner("one")).await;
    let two = processes.start(&owner("two")).await;
    for journal in [&one, &two] {
        for name in ["one", "two"] {
            assert_eq!(journal.liveness(&owner(name)).await.unwrap(), Liveness::Alive, "{name}");
        }
    }
    drop(two);
    processes.end(&owner("two")).await;
    assert_eq!(one.liveness(&owner("two")).await.unwrap(), Liveness::Gone);
    assert_eq!(one.liveness(&owner("one")).await.unwrap(), Liveness::Alive);
}
