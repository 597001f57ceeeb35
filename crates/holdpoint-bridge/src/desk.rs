//! Who in this process goes on with an operation: one driver for each, and whoever waits for it.

use holdpoint_core::{Interest, InterestHandle, OperationId, Rejection};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// How far a driver is.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Gate is being asked.
    Asking,
    /// A person has to decide.
    Held,
    /// What it is about may be happening.
    Running,
    /// The driver is gone; the row says what came of it.
    Over,
    /// The driver is gone, and nothing is decided.
    NotYet(Rejection),
}

#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<HashMap<OperationId, Arc<Seat>>>);

/// One operation that is being gone on with.
#[derive(Debug)]
pub(crate) struct Seat {
    handle: InterestHandle,
    stage: watch::Sender<Stage>,
    waiters: Mutex<Waiters>,
}

#[derive(Debug)]
struct Waiters {
    count: usize,
    /// Whether its caller knows its number, and comes back.
    told: bool,
}

/// Somebody who waits for the end.
#[derive(Debug)]
pub(crate) struct Waiter {
    seat: Arc<Seat>,
    stage: watch::Receiver<Stage>,
}

/// A place at the desk.
pub(crate) enum Entered {
    /// It was free: drive.
    Driver(Arc<Seat>, Interest),
    /// Somebody drives.
    Taken(Arc<Seat>),
}

impl Desk {
    /// `told`: the caller knows the number, so that the driver stays when nobody waits.
    pub(crate) fn enter(&self, id: &OperationId, told: bool) -> Entered {
        let mut seats = lock(&self.0);
        if let Some(seat) = seats.get(id) {
            // With the desk in hand: a driver that leaves afterwards sees it.
            if told {
                lock(&seat.waiters).told = true;
            }
            return Entered::Taken(Arc::clone(seat));
        }
        let (handle, interest) = Interest::pair();
        let waiters = Mutex::new(Waiters { count: 0, told });
        let seat = Arc::new(Seat { handle, stage: watch::Sender::new(Stage::Asking), waiters });
        seats.insert(id.clone(), Arc::clone(&seat));
        Entered::Driver(seat, interest)
    }

    pub(crate) fn seat(&self, id: &OperationId) -> Option<Arc<Seat>> {
        lock(&self.0).get(id).cloned()
    }

    /// The driver is done. Taken from the desk before anybody hears of it, so that who comes now finds the place free.
    pub(crate) fn leave(&self, id: &OperationId, seat: &Seat, last: Stage) {
        lock(&self.0).remove(id);
        seat.stage.send_replace(last);
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl Seat {
    pub(crate) fn attend(self: Arc<Self>) -> Waiter {
        lock(&self.waiters).count += 1;
        let stage = self.stage.subscribe();
        Waiter { seat: self, stage }
    }

    pub(crate) fn is_at(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// The caller withdrew.
    pub(crate) fn cancel(&self) {
        self.handle.cancel();
    }

    /// The caller knows the number: the driver stays when nobody waits.
    pub(crate) fn tell(&self) {
        lock(&self.waiters).told = true;
    }

    pub(crate) fn is_told(&self) -> bool {
        lock(&self.waiters).told
    }
}

impl Waiter {
    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Resolves when the driver is gone, saying what it left.
    pub(crate) async fn over(&mut self) -> Stage {
        let is_over = |stage: &Stage| matches!(stage, Stage::Over | Stage::NotYet(_));
        self.stage.wait_for(is_over).await.map_or(Stage::Over, |stage| stage.clone())
    }

    /// Resolves when Gate has answered.
    pub(crate) async fn asked(&mut self) {
        let is_asked = |stage: &Stage| !matches!(stage, Stage::Asking);
        // The sender is in the seat, which this keeps.
        let _asked = self.stage.wait_for(is_asked).await;
    }
}

impl Drop for Waiter {
    /// Nobody waits any more, and nobody knows the number: an approval that comes now would be nobody's.
    fn drop(&mut self) {
        let mut waiters = lock(&self.seat.waiters);
        waiters.count = waiters.count.saturating_sub(1);
        if waiters.count == 0 && !waiters.told {
            self.seat.handle.gone();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
