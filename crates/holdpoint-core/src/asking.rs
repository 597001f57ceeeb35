//! Identical calls that arrive at once are asked about once: one goes ahead, the others wait until its hold is open.
//!
//! Gate finds a repeated question again by its key, but only within one task, and the same call may come from two. This
//! covers one process; two that share a journal may still ask twice, and then one of the threads leads nowhere.

use crate::Identity;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

type Board = Mutex<HashMap<Identity, watch::Receiver<()>>>;

/// All calls of this process that Gate is being asked about.
#[derive(Debug, Default)]
pub(crate) struct Asking(Arc<Board>);

/// Where a call stands among those that are identical.
#[derive(Debug)]
pub(crate) enum Place {
    First(First),
    /// Its channel closes when the first is through.
    Behind(watch::Receiver<()>),
}

/// The first of the identical calls. Dropped, the next may ask.
#[derive(Debug)]
pub(crate) struct First {
    identity: Identity,
    board: Arc<Board>,
    _sender: watch::Sender<()>,
}

impl Asking {
    pub(crate) fn enter(&self, identity: &Identity) -> Place {
        match lock(&self.0).entry(identity.clone()) {
            Entry::Occupied(entry) => Place::Behind(entry.get().clone()),
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(());
                entry.insert(receiver);
                Place::First(First {
                    identity: identity.clone(),
                    board: Arc::clone(&self.0),
                    _sender: sender,
                })
            }
        }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        lock(&self.board).remove(&self.identity);
    }
}

fn lock(board: &Board) -> MutexGuard<'_, HashMap<Identity, watch::Receiver<()>>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
