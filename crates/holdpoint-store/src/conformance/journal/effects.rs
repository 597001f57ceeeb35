use holdpoint_core::{
    EffectId, EffectRun, EffectState, Ending, HoldState, Identity, Journal, Moved, NewEffect, Ran,
    Resolution, ServerName, Settled, Step, Taken,
};

use super::{
    Processes, at, claim, dispatch, end, finish, got, identity, key, new_effect, new_hold, opened, owner,
    refused, step, task, with_effect,
};

async fn had(journal: &dyn Journal, name: &str) -> Option<EffectRun> {
    journal.effect(&identity(1).server, &key(name)).await.unwrap()
}

async fn state_of(journal: &dyn Journal, name: &str) -> Option<EffectState> {
    had(journal, name).await.map(|run| run.state)
}

async fn taken(journal: &dyn Journal, new: NewEffect) -> EffectId {
    match journal.take_effect(new).await.unwrap() {
        Taken::Mine(id) => id,
        Taken::Theirs(run) => panic!("{run:?} has it"),
    }
}

async fn settle(journal: &dyn Journal, id: EffectId, settled: Settled, seconds: i64) -> Moved {
    journal.settle(id, settled, at(seconds)).await.unwrap()
}

pub(super) async fn an_effect_is_had_once(processes: &impl Processes) {
    let (one, two) = (processes.start(&owner("one")).await, processes.start(&owner("two")).await);
    assert!(had(&*one, "refund 1").await.is_none());
    let id = taken(&*one, new_effect(1, "refund 1", 0)).await;
    let Identity { principal, server, tool, digest } = identity(1);
    let run = EffectRun {
        id,
        key: key("refund 1"),
        state: EffectState::Taken,
        principal,
        server,
        tool,
        digest,
        task: task(),
        thread: None,
        hold: None,
        owner: owner("one"),
        taken_at: at(0),
        changed_at: at(0),
    };
    for journal in [&one, &two] {
        assert_eq!(had(&**journal, "refund 1").await.as_ref(), Some(&run));
        let Taken::Theirs(theirs) = journal.take_effect(new_effect(2, "refund 1", 1)).await.unwrap() else {
            panic!("it was had twice");
        };
        assert_eq!(theirs, run);
    }
    // Another name, or the same name at another server, is another effect.
    taken(&*two, new_effect(1, "refund 2", 1)).await;
    let mut elsewhere = new_effect(1, "refund 1", 1);
    elsewhere.identity.server = ServerName::new("stock");
    taken(&*two, elsewhere).await;
}

pub(super) async fn a_hold_takes_its_effect_with_its_dispatch(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let hold = opened(&*journal, with_effect(1, "refund 1", 0)).await;
    let rival = opened(&*journal, with_effect(2, "refund 1", 0)).await;
    for id in [hold.id, rival.id] {
        step(&*journal, id, claim("one"), 1).await;
    }
    assert!(had(&*journal, "refund 1").await.is_none(), "an approval takes nothing");
    refused(&*journal, hold.id, dispatch("two"), 2).await;
    assert!(had(&*journal, "refund 1").await.is_none(), "nor does what does not run");
    step(&*journal, hold.id, dispatch("one"), 2).await;
    let run = had(&*journal, "refund 1").await.unwrap();
    assert_eq!((run.state, run.hold, run.taken_at), (EffectState::Taken, Some(hold.id), at(2)));
    assert_eq!((run.thread, run.owner, run.task), (Some(hold.hold.thread), owner("one"), task()));
    assert_eq!((run.digest, run.tool), (identity(1).digest, identity(1).tool));
    refused(&*journal, rival.id, dispatch("one"), 3).await;
    assert_eq!(got(&*journal, rival.id).await.state, HoldState::Approved);
    // Nor is it free for a call without a hold, until it is found that nothing ran.
    assert!(matches!(journal.take_effect(new_effect(3, "refund 1", 4)).await.unwrap(), Taken::Theirs(_)));
    step(&*journal, hold.id, Step::Resolve(Resolution::DidNotRun), 5).await;
    assert!(had(&*journal, "refund 1").await.is_none());
    step(&*journal, rival.id, dispatch("one"), 6).await;
    assert_eq!(had(&*journal, "refund 1").await.unwrap().hold, Some(rival.id));
    // A call without a hold stands in a hold's way too.
    taken(&*journal, new_effect(3, "refund 3", 7)).await;
    let late = opened(&*journal, with_effect(4, "refund 3", 7)).await;
    step(&*journal, late.id, claim("one"), 8).await;
    refused(&*journal, late.id, dispatch("one"), 8).await;
    step(&*journal, late.id, end(Ending::Void), 9).await;
}

pub(super) async fn what_a_run_comes_to_settles_its_effect(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let without = opened(&*journal, new_hold(99, 0)).await;
    for way in [claim("one"), dispatch("one"), finish(Ran::Succeeded)] {
        step(&*journal, without.id, way, 1).await;
    }
    assert_eq!(journal.effects(10).await.unwrap(), [], "a hold without an effect takes none");
    let cases = [
        (vec![finish(Ran::Succeeded)], Some(EffectState::Done)),
        (vec![finish(Ran::Failed)], Some(EffectState::Unknown)),
        (vec![Step::Lose], Some(EffectState::Unknown)),
        (vec![Step::Lose, Step::Resolve(Resolution::Ran)], Some(EffectState::Done)),
        (vec![Step::Lose, Step::Resolve(Resolution::DidNotRun)], None),
        (vec![Step::Resolve(Resolution::Ran)], Some(EffectState::Done)),
        (vec![Step::Resolve(Resolution::DidNotRun)], None),
    ];
    for ((steps, expected), which) in cases.into_iter().zip(1..) {
        let name = format!("refund {which}");
        let hold = opened(&*journal, with_effect(which, &name, 0)).await;
        for way in [claim("one"), dispatch("one")].into_iter().chain(steps.clone()) {
            step(&*journal, hold.id, way, 3).await;
        }
        assert_eq!(state_of(&*journal, &name).await, expected, "{steps:?}");
    }
}

pub(super) async fn settling_an_effect_resolves_its_hold(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let cases = [
        (Settled::Done, HoldState::Done, Some(EffectState::Done)),
        (Settled::Void, HoldState::Void, None),
        (Settled::Unknown, HoldState::Dispatched, Some(EffectState::Unknown)),
    ];
    for ((settled, expected, effect), which) in cases.into_iter().zip(1..) {
        let name = format!("refund {which}");
        let hold = opened(&*journal, with_effect(which, &name, 0)).await;
        for way in [claim("one"), dispatch("one")] {
            step(&*journal, hold.id, way, 1).await;
        }
        let run = had(&*journal, &name).await.unwrap();
        assert_eq!(settle(&*journal, run.id, settled, 2).await, Moved::Yes);
        assert_eq!(got(&*journal, hold.id).await.state, expected);
        assert_eq!(state_of(&*journal, &name).await, effect);
        let found = journal.find(&identity(which), &task()).await.unwrap();
        assert_eq!(found.live.is_none(), expected == HoldState::Void, "a call finds what is true now");
    }
    // A run that comes back after all.
    let hold = journal.find(&identity(3), &task()).await.unwrap().live.unwrap();
    step(&*journal, hold.id, finish(Ran::Succeeded), 3).await;
    assert_eq!(state_of(&*journal, "refund 3").await, Some(EffectState::Done));
    // A tool that said that it failed: its caller has the answer, and it turns out later that nothing happened.
    let hold = opened(&*journal, with_effect(4, "refund 4", 0)).await;
    for way in [claim("one"), dispatch("one"), finish(Ran::Failed)] {
        step(&*journal, hold.id, way, 1).await;
    }
    let run = had(&*journal, "refund 4").await.unwrap();
    assert_eq!(settle(&*journal, run.id, Settled::Void, 2).await, Moved::Yes);
    let after = got(&*journal, hold.id).await;
    assert!(after.state == HoldState::Done && after.result.is_some(), "the caller's answer stays");
}

pub(super) async fn what_came_of_an_effect_stays(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let all = [Settled::Done, Settled::Unknown, Settled::Void];
    let mut round = 0;
    for (first, reached) in
        [(None, EffectState::Taken)].into_iter().chain(all.map(|settled| (Some(settled), settled.to())))
    {
        for then in all {
            round += 1;
            let id = taken(&*journal, new_effect(1, &format!("refund {round}"), round)).await;
            if let Some(first) = first {
                assert_eq!(settle(&*journal, id, first, round).await, Moved::Yes);
            }
            let expected = if then.from().contains(&reached) { Moved::Yes } else { Moved::No };
            assert_eq!(settle(&*journal, id, then, round).await, expected, "{reached:?} {then:?}");
        }
    }
    assert_eq!(settle(&*journal, EffectId(999), Settled::Done, 1).await, Moved::No);
}

pub(super) async fn effects_are_listed_by_what_a_person_has_to_do(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    for (name, settled) in [
        ("done", Some(Settled::Done)),
        ("void", Some(Settled::Void)),
        ("unknown", Some(Settled::Unknown)),
        ("taken", None),
        ("unknown later", Some(Settled::Unknown)),
        ("taken later", None),
        ("done later", Some(Settled::Done)),
    ] {
        let seconds = i64::try_from(journal.effects(100).await.unwrap().len()).unwrap();
        let id = taken(&*journal, new_effect(1, name, seconds)).await;
        if let Some(settled) = settled {
            assert_eq!(settle(&*journal, id, settled, seconds + 1).await, Moved::Yes);
        }
    }
    let listed = async |limit| -> Vec<String> {
        journal.effects(limit).await.unwrap().iter().map(|run| run.key.as_str().to_owned()).collect()
    };
    let all = ["unknown later", "unknown", "taken later", "taken", "done later", "done"];
    assert_eq!(listed(100).await, all);
    assert_eq!(listed(3).await, &all[..3]);
}
