//! Whose the tasks are that a server made of approved calls: to its principals, who may be one to the server, its ids are not each
//! other's.
//!
//! Known to this process, of the latest tasks only. What it does not know is the server's to keep apart, as without us.

use crate::message::{Object, Single, text_of};
use holdpoint_core::Principal;
use serde_json::value::RawValue;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// So many tasks are remembered; the oldest are forgotten first.
const KNOWN_MAX: usize = 10_000;
/// Longer ids are not remembered.
const ID_BYTES_MAX: usize = 256;

/// The tasks of a server that are known.
#[derive(Debug, Default)]
pub(super) struct Theirs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    owners: HashMap<Box<str>, Principal>,
    oldest_first: VecDeque<Box<str>>,
}

impl Theirs {
    /// Remembers the task that `answer` makes, if it makes one. Whoever had an id first keeps it.
    pub(super) fn note(&self, principal: &Principal, answer: &str) {
        let Some(id) = made_in(answer).filter(|id| id.len() <= ID_BYTES_MAX) else {
            return;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { owners, oldest_first } = &mut *known;
        if owners.contains_key(&id) {
            return;
        }
        owners.insert(id.clone(), principal.clone());
        oldest_first.push_back(id);
        if oldest_first.len() > KNOWN_MAX
            && let Some(oldest) = oldest_first.pop_front()
        {
            owners.remove(&oldest);
        }
    }

    /// The raw id of the first request that is about another principal's task.
    pub(super) fn first_of_another<'a>(
        &self,
        principal: &Principal,
        messages: &[Single<'a>],
    ) -> Option<&'a str> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.owners.is_empty() {
            return None;
        }
        messages.iter().find_map(|message| {
            let Single::Other { method, id, params: Some(params) } = message else {
                return None;
            };
            let object =
                Object::read_leniently(params.get()).ok().filter(|_| method.starts_with("tasks/"))?;
            let task = object.get("taskId").and_then(text_of)?;
            let is_anothers = known.owners.get(&*task).is_some_and(|owner| owner != principal);
            is_anothers.then(|| id.unwrap_or("null"))
        })
    }
}

/// The id of the task in a `CreateTaskResult`, of either kind.
fn made_in(answer: &str) -> Option<Box<str>> {
    let answer = Object::read_leniently(answer).ok()?;
    let result = Object::read_leniently(answer.get("result")?.get()).ok()?;
    let core = result.get("task").and_then(|task: &RawValue| Object::read_leniently(task.get()).ok());
    let id = match &core {
        Some(task) => task.get("taskId").and_then(text_of),
        None if result.get("resultType").and_then(text_of).is_some_and(|kind| kind == "task") => {
            result.get("taskId").and_then(text_of)
        }
        None => None,
    };
    id.map(|id| (&*id).into())
}
