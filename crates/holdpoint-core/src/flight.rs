//! Identical calls of one process share one hold: one drives it, the others ride along.

use crate::{HoldId, Rejection, StoredResult};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// What the driver came to.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    /// The tool answered.
    Ran(StoredResult),
    /// It will not run.
    Refused(Rejection),
    /// The driver left; somebody else drives on.
    Left,
    /// Still up.
    Flying,
}

type Board = Mutex<HashMap<HoldId, watch::Receiver<Landing>>>;

/// All holds that a call of this process is driving.
#[derive(Debug, Default)]
pub(crate) struct Flights(Arc<Board>);

/// A place in a flight.
#[derive(Debug)]
pub(crate) enum Seat {
    Driver(Flight),
    Passenger(watch::Receiver<Landing>),
}

/// The driver's hold on a flight. Dropped, the flight is [`Landing::Left`].
#[derive(Debug)]
pub(crate) struct Flight {
    id: HoldId,
    board: Arc<Board>,
    sender: watch::Sender<Landing>,
}

impl Flights {
    pub(crate) fn enter(&self, id: HoldId) -> Seat {
        match lock(&self.0).entry(id) {
            Entry::Occupied(entry) => Seat::Passenger(entry.get().clone()),
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(Landing::Flying);
                entry.insert(receiver);
                Seat::Driver(Flight { id, board: Arc::clone(&self.0), sender })
            }
        }
    }

    pub(crate) fn passenger(&self, id: HoldId) -> Option<watch::Receiver<Landing>> {
        lock(&self.0).get(&id).cloned()
    }
}

impl Flight {
    /// The first landing counts.
    pub(crate) fn land(&mut self, landing: Landing) {
        lock(&self.board).remove(&self.id);
        self.sender.send_if_modified(|current| {
            let flying = matches!(current, Landing::Flying);
            if flying {
                *current = landing;
            }
            flying
        });
    }

    /// Lands, and keeps the place until what it landed with is delivered.
    pub(crate) fn land_for_delivery(self, landing: Landing) -> Self {
        let (sender, receiver) = watch::channel(Landing::Flying);
        lock(&self.board).insert(self.id, receiver);
        self.sender.send_replace(landing);
        Self { id: self.id, board: Arc::clone(&self.board), sender }
    }

    /// Whether other calls wait for this one. The board itself keeps one receiver.
    pub(crate) fn has_passengers(&self) -> bool {
        self.sender.receiver_count() > 1
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if matches!(*self.sender.borrow(), Landing::Flying) {
            self.land(Landing::Left);
        }
    }
}

fn lock(board: &Board) -> std::sync::MutexGuard<'_, HashMap<HoldId, watch::Receiver<Landing>>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
