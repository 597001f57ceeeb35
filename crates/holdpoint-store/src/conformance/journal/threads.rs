use holdpoint_core::{Ending, HoldId, Journal, NewHold, Opened, Principal, TaskId};

use super::{
    Processes, end, identity, new_hold, opened, owner, proposal, refused, same, step, take_up, task,
};

async fn is_spent(journal: &dyn Journal, new: NewHold) -> bool {
    match journal.open(new).await.unwrap() {
        Opened::Spent => true,
        Opened::Mine(_) | Opened::Joined(_) => false,
    }
}

async fn to_revise(journal: &dyn Journal, which: u8) -> Option<HoldId> {
    journal.find(&identity(which), &task()).await.unwrap().revises.map(|hold| hold.id)
}

/// Also over another process, and for another call: what was decided was not about that one.
pub(super) async fn a_revision_has_one_hold(processes: &impl Processes) {
    let (one, two) = (processes.start(&owner("one")).await, processes.start(&owner("two")).await);
    let hold = opened(&*one, new_hold(1, 0)).await;
    let foreign = NewHold { identity: identity(2), ..new_hold(1, 0) };
    assert!(matches!(two.open(new_hold(1, 0)).await.unwrap(), Opened::Joined(_)));
    assert!(is_spent(&*two, foreign.clone()).await);
    step(&*one, hold.id, end(Ending::Cancelled), 1).await;
    for journal in [&one, &two] {
        assert!(is_spent(&**journal, new_hold(1, 0)).await);
        assert!(is_spent(&**journal, foreign.clone()).await);
    }
    opened(&*two, new_hold(1, 1)).await;
    let mut other_task = foreign;
    other_task.hold.task = TaskId::new("task-2");
    opened(&*one, other_task).await;
}

pub(super) async fn a_thread_has_one_live_hold(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let first = opened(&*journal, proposal(1, "THR-1", 0, 0)).await;
    assert!(is_spent(&*journal, proposal(2, "THR-1", 1, 1)).await, "the first one lives");
    step(&*journal, first.id, end(Ending::ChangesRequested), 2).await;
    let second = opened(&*journal, proposal(2, "THR-1", 1, 3)).await;
    assert!(is_spent(&*journal, proposal(3, "THR-1", 2, 4)).await);
    step(&*journal, second.id, end(Ending::Rejected), 5).await;
    assert!(is_spent(&*journal, proposal(3, "THR-1", 1, 6)).await);
    opened(&*journal, proposal(3, "THR-1", 2, 7)).await;
}

pub(super) async fn another_proposal_is_found(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let hold = opened(&*journal, proposal(1, "THR-1", 0, 0)).await;
    assert_eq!(to_revise(&*journal, 2).await, None);
    step(&*journal, hold.id, end(Ending::ChangesRequested), 1).await;
    let found = journal.find(&identity(2), &task()).await.unwrap();
    assert_eq!((found.live.is_none(), found.ended), (true, 0));
    same(&found.revises.unwrap(), &journal.get(hold.id).await.unwrap().unwrap());
    // Not for another job, and not for anybody else.
    assert!(journal.find(&identity(2), &TaskId::new("task-2")).await.unwrap().revises.is_none());
    let mut bob = identity(2);
    bob.principal = Principal::new("bob");
    assert!(journal.find(&bob, &task()).await.unwrap().revises.is_none());
    // Its own repetition revises it as well as any other call.
    let again = journal.find(&identity(1), &task()).await.unwrap();
    assert_eq!((again.ended, again.revises.map(|hold| hold.id)), (1, Some(hold.id)));
    opened(&*journal, proposal(2, "THR-1", 1, 2)).await;
    for which in 1..4 {
        assert_eq!(to_revise(&*journal, which).await, None, "the thread has a later hold");
    }
}

pub(super) async fn a_thread_is_taken_up_by_one_call(processes: &impl Processes) {
    let (one, two) = (processes.start(&owner("one")).await, processes.start(&owner("two")).await);
    let hold = opened(&*one, proposal(1, "THR-1", 0, 0)).await;
    refused(&*one, hold.id, take_up(2), 1).await;
    step(&*one, hold.id, end(Ending::ChangesRequested), 2).await;
    assert_eq!((to_revise(&*two, 2).await, to_revise(&*two, 3).await), (Some(hold.id), Some(hold.id)));
    step(&*one, hold.id, take_up(2), 3).await;
    for journal in [&one, &two] {
        assert_eq!((to_revise(&**journal, 2).await, to_revise(&**journal, 3).await), (Some(hold.id), None));
        refused(&**journal, hold.id, take_up(3), 4).await;
        step(&**journal, hold.id, take_up(2), 5).await;
        let found = journal.find(&identity(1), &task()).await.unwrap();
        assert_eq!((found.ended, found.live.is_none()), (1, true), "it ended once");
    }
    refused(&*one, hold.id, end(Ending::Rejected), 6).await;
}

pub(super) async fn the_latest_request_for_changes_counts(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let first = opened(&*journal, proposal(1, "THR-1", 0, 0)).await;
    step(&*journal, first.id, end(Ending::ChangesRequested), 1).await;
    let second = opened(&*journal, proposal(2, "THR-2", 0, 2)).await;
    assert_eq!(to_revise(&*journal, 3).await, Some(first.id));
    step(&*journal, second.id, end(Ending::ChangesRequested), 3).await;
    assert_eq!(to_revise(&*journal, 3).await, Some(second.id));
    step(&*journal, second.id, take_up(3), 4).await;
    assert_eq!(
        to_revise(&*journal, 4).await,
        None,
        "the latest is taken, and the one before is not the latest"
    );
    let third = opened(&*journal, proposal(3, "THR-2", 1, 5)).await;
    assert_eq!(to_revise(&*journal, 3).await, None);
    step(&*journal, third.id, end(Ending::ChangesRequested), 6).await;
    assert_eq!(to_revise(&*journal, 4).await, Some(third.id));
}
