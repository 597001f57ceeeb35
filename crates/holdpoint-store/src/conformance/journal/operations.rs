use std::sync::Arc;

use holdpoint_core::{
    Journal, Moved, NewOperation, OpenedOperation, Operation, OperationChange, OperationContent, OperationId,
    OperationOf, OperationState, Owner, Principal, TaskId, ThreadId,
};

use super::{Processes, at, owner};

fn id(name: &str) -> OperationId {
    OperationId::new(name)
}

fn change(state: OperationState, owner: Option<&Owner>, seconds: i64) -> OperationChange {
    OperationChange {
        state,
        thread: Some(ThreadId::new("THR-1")),
        content: OperationContent::new(&b"{\"\0\xff"[..]),
        owner: owner.cloned(),
        expires_at: at(seconds + 100),
    }
}

fn new_operation(name: &str, seconds: i64) -> NewOperation {
    NewOperation {
        id: id(name),
        principal: Principal::new("ann"),
        task: TaskId::new("task-1"),
        now: OperationChange { thread: None, ..change(OperationState::Asked, None, seconds) },
        at: at(seconds),
    }
}

async fn opened(journal: &dyn Journal, name: &str, seconds: i64) -> Operation {
    match journal.open_operation(new_operation(name, seconds)).await.unwrap() {
        OpenedOperation::Mine(operation) => operation,
        OpenedOperation::There(there) => panic!("{there:?} is there already"),
    }
}

async fn read(journal: &dyn Journal, name: &str) -> Option<Operation> {
    journal.operation(&id(name)).await.unwrap()
}

async fn moved(
    journal: &dyn Journal,
    name: &str,
    round: u32,
    change: OperationChange,
    seconds: i64,
) -> Moved {
    journal.advance_operation(&id(name), round, change, at(seconds)).await.unwrap()
}

pub(super) async fn an_operation_is_opened_once(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    assert_eq!(read(&*journal, "o").await, None);
    let first = opened(&*journal, "o", 1).await;
    assert_eq!(first, new_operation("o", 1).opened());
    assert_eq!((first.round, first.now.state), (0, OperationState::Asked));
    let again = NewOperation { principal: Principal::new("bob"), ..new_operation("o", 2) };
    assert_eq!(journal.open_operation(again).await.unwrap(), OpenedOperation::There(first.clone()));
    processes.end(&owner("one")).await;
    let journal = processes.start(&owner("two")).await;
    assert_eq!(read(&*journal, "o").await, Some(first));
    assert_eq!(read(&*journal, "O").await, None);
    assert_eq!(read(&*journal, "\0").await, None);
}

pub(super) async fn an_operation_changes_from_its_own_round_only(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let before = opened(&*journal, "o", 1).await;
    let other = opened(&*journal, "p", 1).await;
    let me = owner("one");
    for (round, state) in (0_u32..).zip(OperationState::ALL) {
        let becomes = change(state, Some(&me), 2);
        let stands = read(&*journal, "o").await;
        for wrong in [round.wrapping_sub(1), round + 1, round + 7] {
            assert_eq!(moved(&*journal, "o", wrong, becomes.clone(), 3).await, Moved::No, "{state:?}");
        }
        assert_eq!(read(&*journal, "o").await, stands, "who was refused has left nothing");
        assert_eq!(moved(&*journal, "o", round, becomes.clone(), 3).await, Moved::Yes, "{state:?}");
        let stale = change(OperationState::Answered, None, 4);
        assert_eq!(moved(&*journal, "o", round, stale, 4).await, Moved::No, "{state:?} twice");
        let after = read(&*journal, "o").await.unwrap();
        assert_eq!((after.round, &after.now), (round + 1, &becomes));
        assert_eq!((after.opened_at, after.changed_at), (before.opened_at, at(3)));
    }
    assert_eq!(moved(&*journal, "nobody", 0, change(OperationState::Answered, None, 2), 3).await, Moved::No);
    assert_eq!(read(&*journal, "p").await, Some(other));
}

/// Nobody would ever go on with it.
pub(super) async fn only_what_has_an_owner_waits_or_runs(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let before = opened(&*journal, "o", 1).await;
    let me = owner("one");
    for state in OperationState::ALL {
        let needs_owner = matches!(state, OperationState::Waiting | OperationState::Running);
        let name = state.as_str();
        let ownerless =
            NewOperation { now: change(state, None, 1), ..new_operation(&format!("{name} of nobody"), 1) };
        assert_eq!(journal.open_operation(ownerless.clone()).await.is_err(), needs_owner, "{name}");
        assert_eq!(journal.operation(&ownerless.id).await.unwrap().is_none(), needs_owner, "{name}");
        let owned = NewOperation { now: change(state, Some(&me), 1), ..new_operation(name, 1) };
        journal.open_operation(owned).await.unwrap();
        if needs_owner {
            let refused = journal.advance_operation(&before.id, 0, change(state, None, 2), at(3)).await;
            refused.expect_err(name);
        }
    }
    assert_eq!(read(&*journal, "o").await, Some(before));
}

/// Whoever comes later is told what it has become. It may become what it began as, and is the same operation still.
pub(super) async fn an_operation_that_was_changed_is_there_as_it_is(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let (ann, thread, me) = (Principal::new("ann"), ThreadId::new("THR-1"), owner("one"));
    let before = opened(&*journal, "o", 1).await;
    let becomes = change(OperationState::Waiting, Some(&me), 2);
    assert_eq!(moved(&*journal, "o", 0, becomes.clone(), 3).await, Moved::Yes);
    let there = journal.open_operation(new_operation("o", 4)).await.unwrap();
    let stands = Operation { round: 1, now: becomes, changed_at: at(3), ..before.clone() };
    assert_eq!(there, OpenedOperation::There(stands.clone()), "with its review, its owner and its times");
    assert_eq!(read(&*journal, "o").await, Some(stands));
    let anew = OperationChange { thread: None, ..change(OperationState::Asked, None, 5) };
    assert_eq!(moved(&*journal, "o", 1, anew.clone(), 5).await, Moved::Yes);
    let stands = Operation { round: 2, now: anew, changed_at: at(5), ..before };
    assert_eq!(read(&*journal, "o").await, Some(stands));
    assert_eq!(journal.latest_operation(&ann, OperationOf::Thread(&thread)).await.unwrap(), None);
    assert!(journal.operation_owners().await.unwrap().is_empty());
    assert!(journal.operations_of(&me, 10).await.unwrap().is_empty());
}

pub(super) async fn the_latest_operation_of_a_thread_or_task_is_found(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let thread = ThreadId::new("THR-1");
    let (ann, bob, task) = (Principal::new("ann"), Principal::new("bob"), TaskId::new("task-1"));
    let of_thread = OperationOf::Thread(&thread);
    assert_eq!(journal.latest_operation(&ann, of_thread).await.unwrap(), None);
    // As names are sorted nowhere, in one instant, and by a clock that is put back.
    for (name, seconds) in [("b", 1), ("c", 3), ("Z", 3), ("é", 3), ("a", 2)] {
        opened(&*journal, name, seconds).await;
        let becomes = change(OperationState::Asked, None, seconds);
        assert_eq!(moved(&*journal, name, 0, becomes, 9).await, Moved::Yes);
        let found = journal.latest_operation(&ann, of_thread).await.unwrap();
        assert_eq!(found.map(|operation| operation.id), Some(id(name)), "what was opened last");
    }
    assert_eq!(moved(&*journal, "b", 1, change(OperationState::Asked, None, 1), 10).await, Moved::Yes);
    opened(&*journal, "later", 2).await;
    let hers = NewOperation { principal: bob.clone(), ..new_operation("bobs", 8) };
    journal.open_operation(hers).await.unwrap();
    let found = |found: Option<Operation>| found.map(|operation| operation.id);
    assert_eq!(found(journal.latest_operation(&ann, of_thread).await.unwrap()), Some(id("a")));
    assert_eq!(found(journal.latest_operation(&bob, of_thread).await.unwrap()), None);
    let of_task = OperationOf::Task(&task);
    assert_eq!(found(journal.latest_operation(&ann, of_task).await.unwrap()), Some(id("later")));
    assert_eq!(found(journal.latest_operation(&bob, of_task).await.unwrap()), Some(id("bobs")));
    let other = TaskId::new("task-2");
    assert_eq!(journal.latest_operation(&ann, OperationOf::Task(&other)).await.unwrap(), None);
}

pub(super) async fn what_an_owner_left_is_found(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let (one, two) = (owner("one"), owner("two"));
    for (name, owner, seconds) in [
        ("a", Some(&one), 5),
        ("b", Some(&one), 3),
        ("c", Some(&two), 4),
        ("d", None, 1),
        ("e", Some(&one), 4),
        // In one instant: as they were opened.
        ("Z", Some(&one), 5),
        ("A", Some(&one), 5),
    ] {
        opened(&*journal, name, 1).await;
        let becomes = change(OperationState::Answered, owner, 2);
        assert_eq!(moved(&*journal, name, 0, becomes, seconds).await, Moved::Yes);
    }
    let mut owners = journal.operation_owners().await.unwrap();
    owners.sort_by_key(|owner| Arc::clone(&owner.0));
    assert_eq!(owners, [one.clone(), two]);
    let its = [id("b"), id("e"), id("a"), id("Z"), id("A")];
    assert_eq!(journal.operations_of(&one, 10).await.unwrap(), its);
    assert_eq!(journal.operations_of(&one, 2).await.unwrap(), its[..2]);
    assert!(journal.operations_of(&owner("nobody"), 10).await.unwrap().is_empty());
}

pub(super) async fn expired_operations_are_forgotten(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    for (name, seconds) in [("a", 3), ("b", 1), ("c", 2), ("d", 4)] {
        opened(&*journal, name, seconds).await;
    }
    assert_eq!(journal.forget_operations(at(100), 10).await.unwrap(), 0);
    assert_eq!(journal.forget_operations(at(103), 2).await.unwrap(), 2);
    assert_eq!(read(&*journal, "b").await, None);
    assert_eq!(read(&*journal, "c").await, None);
    assert_eq!(journal.forget_operations(at(103), 10).await.unwrap(), 1);
    assert!(read(&*journal, "d").await.is_some());
    // Its number is free again.
    opened(&*journal, "b", 5).await;
}

pub(super) async fn of_many_that_open_an_operation_one_does(processes: &impl Processes) {
    const MANY: i64 = 16;
    let mut journals = Vec::new();
    for name in ["one", "two", "three"] {
        journals.push(processes.start(&owner(name)).await);
    }
    for round in 0..6 {
        let name = format!("o{round}");
        let tries = (0..MANY).zip(journals.iter().cycle()).map(|(seconds, journal)| {
            let (journal, new) = (Arc::clone(journal), new_operation(&name, seconds));
            tokio::spawn(async move { journal.open_operation(new).await.unwrap() })
        });
        let (mut mine, mut there) = (Vec::new(), Vec::new());
        for tried in tries.collect::<Vec<_>>() {
            match tried.await.unwrap() {
                OpenedOperation::Mine(operation) => mine.push(operation),
                OpenedOperation::There(operation) => there.push(operation),
            }
        }
        assert_eq!(mine.len(), 1, "round {round}");
        assert!(there.iter().all(|there| *there == mine[0]), "all are told of the one: {there:?}");
        assert_eq!(read(&*journals[1], &name).await.as_ref(), mine.first());
    }
}

pub(super) async fn of_many_that_change_an_operation_one_does(processes: &impl Processes) {
    const MANY: usize = 16;
    let mut journals = Vec::new();
    for name in ["one", "two", "three"] {
        journals.push(processes.start(&owner(name)).await);
    }
    for round in 0..6 {
        let name = format!("o{round}");
        opened(&*journals[0], &name, 1).await;
        let tries = (0..MANY).map(|which| {
            let journal = Arc::clone(&journals[which % journals.len()]);
            let (name, becomes) = (name.clone(), change(OperationState::Running, Some(&owner("one")), 2));
            tokio::spawn(async move { moved(&*journal, &name, 0, becomes, 3).await })
        });
        let mut yes = 0;
        for tried in tries.collect::<Vec<_>>() {
            yes += usize::from(tried.await.unwrap() == Moved::Yes);
        }
        assert_eq!(yes, 1, "round {round}");
        assert_eq!(read(&*journals[1], &name).await.unwrap().round, 1);
    }
}
