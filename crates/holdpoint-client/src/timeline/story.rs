//! What has to be remembered of a call between its steps, within bounds: what is forgotten is told with less detail.

use holdpoint_core::{
    CallDigest, Facts, Grounds, Principal, Rejection, ServerName, TaskId, ThreadId, ToolName,
};
use jiff::Timestamp;
use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Calls between decision and outcome.
const CALLS_MAX: usize = 1024;
/// Tasks whose beginning was told. A task that is forgotten begins again.
const TASKS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Stories {
    calls: Recent<CallName, Story>,
    tasks: Recent<TaskId, ()>,
}

/// Which call, as far as this process tells calls apart. At most one of a name is held at a time.
type CallName = (Principal, ServerName, ToolName, CallDigest);

#[derive(Debug)]
struct Story {
    thread: ThreadId,
    receipt: Option<Receipt>,
    told_too_late: bool,
}

/// Why a call ran, and when that was decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) grounds: &'static str,
    pub(super) at: Timestamp,
}

/// What begins with a held call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    Task,
    CallOnly,
}

/// Whether a withdrawn call's decision is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withdrawal {
    Open,
    /// That it came too late was told.
    AfterTheDecision,
}

impl Stories {
    pub(super) fn begin(&mut self, facts: &Facts) -> Begins {
        self.calls.remove(&name(facts));
        if self.tasks.contains(&facts.task) {
            return Begins::CallOnly;
        }
        self.tasks.insert(facts.task.clone(), (), TASKS_MAX);
        Begins::Task
    }

    /// There is a decision that the call may run for, or a reviewer may think so.
    pub(super) fn decided(&mut self, facts: &Facts, thread: &ThreadId) {
        let story = Story { thread: thread.clone(), receipt: None, told_too_late: false };
        self.calls.insert(name(facts), story, CALLS_MAX);
    }

    pub(super) fn dispatching(&mut self, facts: &Facts, grounds: &Grounds, at: Timestamp) {
        let grounds = match grounds {
            Grounds::Approved(_) => "approved",
            Grounds::ApprovedWithoutToken(_) => "approved_without_token",
            // Nobody was asked: not a reviewer's call.
            Grounds::Passed(_) | Grounds::Allowed(_) => return,
        };
        if let Some(story) = self.calls.get_mut(&name(facts)) {
            story.receipt = Some(Receipt { grounds, at });
        }
    }

    pub(super) fn ran(&mut self, facts: &Facts) -> Option<Receipt> {
        self.calls.remove(&name(facts)).and_then(|story| story.receipt)
    }

    /// The review whose yes came to nothing, if that is what this refusal says. A refusal of somebody who only joined
    /// the call is none: it may run all the same.
    pub(super) fn refused(&mut self, facts: &Facts, rejection: &Rejection) -> Option<ThreadId> {
        let story = self.calls.get_mut(&name(facts))?;
        let is_this_review = rejection.thread() == Some(&story.thread);
        let came_to_nothing = match rejection {
            Rejection::TokenInvalid { .. } | Rejection::Mismatch { .. } | Rejection::Unavailable { .. } => {
                is_this_review
            }
            // Our configuration says no by now.
            Rejection::DeniedByConfig { .. } => true,
            // Of another call, which had the effect of this one, or may have had it.
            Rejection::AlreadyDone { .. } | Rejection::OutcomeUnknown { .. } => !is_this_review,
            // The reviewer knows, or it goes on.
            Rejection::Rejected { .. }
            | Rejection::Expired { .. }
            | Rejection::ChangesRequested { .. }
            | Rejection::Pending { .. }
            | Rejection::Busy { .. }
            | Rejection::Cancelled { .. } => false,
        };
        if !came_to_nothing {
            return None;
        }
        self.calls.remove(&name(facts)).map(|story| story.thread)
    }

    pub(super) fn too_late(&mut self, facts: &Facts, thread: &ThreadId) {
        let story = Story { thread: thread.clone(), receipt: None, told_too_late: true };
        self.calls.insert(name(facts), story, CALLS_MAX);
    }

    pub(super) fn withdrawn(&mut self, facts: &Facts, thread: &ThreadId) -> Withdrawal {
        match self.calls.remove(&name(facts)) {
            Some(story) if story.told_too_late && story.thread == *thread => Withdrawal::AfterTheDecision,
            Some(_) | None => Withdrawal::Open,
        }
    }
}

fn name(facts: &Facts) -> CallName {
    (facts.principal.clone(), facts.server.clone(), facts.tool.clone(), facts.digest)
}

/// A map that forgets what was put into it first.
#[derive(Debug)]
struct Recent<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    fn insert(&mut self, key: K, value: V, max: usize) {
        self.remove(&key);
        while self.order.len() >= max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.entries.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.entries.insert(key, value);
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.entries.remove(key)?;
        self.order.retain(|known| known != key);
        Some(value)
    }
}

#[cfg(test)]
mod tests;
