//! Who in this process goes on with an operation: one driver for each, and whoever waits for it. Each caller has so many places,
//! and no more.

use holdpoint_core::{Interest, InterestHandle, OperationId, Principal, Rejection};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

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
pub(crate) struct Desk(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    seats: HashMap<OperationId, Arc<Seat>>,
    /// Seats, and places that are kept for one, of each caller.
    of_callers: HashMap<Principal, usize>,
    /// Of all of them.
    taken: usize,
}

/// A place that is kept for a question until it has its seat.
#[derive(Debug)]
pub(crate) struct Place<'d> {
    desk: &'d Desk,
    principal: Principal,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// This caller has all of its own.
    Caller,
    /// All callers together have all there are.
    Desk,
}

/// One operation that is being gone on with.
#[derive(Debug)]
pub(crate) struct Seat {
    principal: Principal,
    handle: InterestHandle,
    now: Mutex<Now>,
    changed: Notify,
}

#[derive(Debug)]
struct Now {
    stage: Stage,
    waiters: usize,
    /// Whether its caller knows its number, and comes back.
    told: bool,
}

/// Somebody who waits for the end.
#[derive(Debug)]
pub(crate) struct Waiter {
    seat: Arc<Seat>,
}

/// A place at the desk.
pub(crate) enum Entered {
    /// It was free: drive.
    Driver(Arc<Seat>, Interest),
    /// Somebody drives.
    Taken(Arc<Seat>),
}

impl Desk {
    /// Keeps one of the places that `principal` may have, and all callers together.
    pub(crate) fn place(
        &self,
        principal: &Principal,
        of_caller_max: usize,
        of_all_max: usize,
    ) -> Result<Place<'_>, Full> {
        let mut places = lock(&self.0);
        if places.of_callers.get(principal).is_some_and(|taken| *taken >= of_caller_max) {
            return Err(Full::Caller);
        }
        if places.taken >= of_all_max {
            return Err(Full::Desk);
        }
        places.take(principal);
        drop(places);
        Ok(Place { desk: self, principal: principal.clone() })
    }

    /// `told`: the caller knows the number, so that the driver stays when nobody waits. Also where no place was kept: what is on
    /// record already has to be gone on with.
    pub(crate) fn enter(&self, principal: &Principal, id: &OperationId, told: bool) -> Entered {
        let mut places = lock(&self.0);
        if let Some(seat) = places.seats.get(id) {
            // With the desk in hand: a driver that leaves afterwards sees it.
            if told {
                lock(&seat.now).told = true;
            }
            return Entered::Taken(Arc::clone(seat));
        }
        let (handle, interest) = Interest::pair();
        let now = Mutex::new(Now { stage: Stage::Asking, waiters: 0, told });
        places.take(principal);
        let seat = Arc::new(Seat { principal: principal.clone(), handle, now, changed: Notify::new() });
        places.seats.insert(id.clone(), Arc::clone(&seat));
        Entered::Driver(seat, interest)
    }

    pub(crate) fn seat(&self, id: &OperationId) -> Option<Arc<Seat>> {
        lock(&self.0).seats.get(id).cloned()
    }

    /// The driver is done. Taken from the desk before anybody hears of it, so that who comes now finds the place free.
    pub(crate) fn leave(&self, id: &OperationId, seat: &Seat, last: Stage) {
        let mut places = lock(&self.0);
        if places.seats.remove(id).is_some() {
            places.free(&seat.principal);
        }
        drop(places);
        seat.is_at(last);
    }
}

impl Places {
    fn take(&mut self, principal: &Principal) {
        self.taken = self.taken.saturating_add(1);
        let its = self.of_callers.entry(principal.clone()).or_default();
        *its = its.saturating_add(1);
    }

    fn free(&mut self, principal: &Principal) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(its) = self.of_callers.get_mut(principal) {
            *its = its.saturating_sub(1);
            if *its == 0 {
                self.of_callers.remove(principal);
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.desk.0).free(&self.principal);
    }
}

impl Seat {
    pub(crate) fn attend(self: Arc<Self>) -> Waiter {
        lock(&self.now).waiters += 1;
        Waiter { seat: self }
    }

    /// Whose operation it is.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(crate) fn is_at(&self, stage: Stage) {
        lock(&self.now).stage = stage;
        self.changed.notify_waiters();
    }

    /// The caller withdrew.
    pub(crate) fn cancel(&self) {
        self.handle.cancel();
    }

    fn stage_if(&self, is_it: fn(&Stage) -> bool) -> Option<Stage> {
        let now = lock(&self.now);
        is_it(&now.stage).then(|| now.stage.clone())
    }

    /// The caller knows the number: the driver stays when nobody waits.
    pub(crate) fn tell(&self) {
        lock(&self.now).told = true;
    }

    pub(crate) fn is_told(&self) -> bool {
        lock(&self.now).told
    }
}

impl Waiter {
    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Resolves when the driver is gone, saying what it left.
    pub(crate) async fn over(&self) -> Stage {
        self.until(|stage| matches!(stage, Stage::Over | Stage::NotYet(_))).await
    }

    /// Resolves when Gate has answered.
    pub(crate) async fn asked(&self) {
        let _asked = self.until(|stage| !matches!(stage, Stage::Asking)).await;
    }

    async fn until(&self, is_it: fn(&Stage) -> bool) -> Stage {
        loop {
            // Before the look, so that what changes after it is noticed.
            let changed = self.seat.changed.notified();
            if let Some(stage) = self.seat.stage_if(is_it) {
                return stage;
            }
            changed.await;
        }
    }
}

impl Drop for Waiter {
    /// Nobody waits any more, and nobody knows the number: an approval that comes now would be nobody's.
    fn drop(&mut self) {
        let mut now = lock(&self.seat.now);
        now.waiters = now.waiters.saturating_sub(1);
        if now.waiters == 0 && !now.told {
            self.seat.handle.gone();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
