//! When each thread that sleeps is asked about next. Nothing here costs more with more threads than a tree does.

use std::{collections::BTreeSet, sync::Arc};
use tokio::time::Instant;

/// Until when a thread is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sleep {
    /// When to ask again.
    pub(super) due: Instant,
    /// When a long poll may begin, if there is room for one.
    pub(super) long_from: Instant,
    /// When its last long poll began, as a number: the smallest is next.
    pub(super) turn: u64,
}

/// The threads that sleep, each under its [`Sleep`].
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeSet<(Instant, Arc<str>)>,
    /// May not begin a long poll yet.
    long_later: BTreeSet<(Instant, Arc<str>)>,
    /// May begin a long poll.
    long_ready: BTreeSet<(u64, Arc<str>)>,
}

impl Schedule {
    pub(super) fn add(&mut self, id: &Arc<str>, sleep: Sleep) {
        self.due.insert((sleep.due, Arc::clone(id)));
        self.long_later.insert((sleep.long_from, Arc::clone(id)));
    }

    pub(super) fn remove(&mut self, id: &Arc<str>, sleep: Sleep) {
        self.due.remove(&(sleep.due, Arc::clone(id)));
        if !self.long_later.remove(&(sleep.long_from, Arc::clone(id))) {
            self.long_ready.remove(&(sleep.turn, Arc::clone(id)));
        }
    }

    /// The thread that is most overdue, if one is due.
    pub(super) fn next_due(&self, now: Instant) -> Option<Arc<str>> {
        self.due.first().filter(|(due, _)| *due <= now).map(|(_, id)| Arc::clone(id))
    }

    /// Of the threads that may begin a long poll the one that had none for the longest time. `turn_of` is asked once for
    /// each that may since the last look.
    pub(super) fn next_long(&mut self, now: Instant, turn_of: impl Fn(&Arc<str>) -> u64) -> Option<Arc<str>> {
        while let Some((_, id)) = self.long_later.first().filter(|(from, _)| *from <= now).cloned() {
            self.long_later.pop_first();
            self.long_ready.insert((turn_of(&id), id));
        }
        self.long_ready.first().map(|(_, id)| Arc::clone(id))
    }

    /// When something becomes due by itself. What is due already waits for room, which a poll makes by coming back.
    pub(super) fn next(&self, now: Instant, room_for_long: bool) -> Option<Instant> {
        let due = self.due.first().map(|(due, _)| *due).filter(|due| *due > now);
        let long = self.long_later.first().map(|(from, _)| *from).filter(|_| room_for_long);
        due.into_iter().chain(long).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn threads_come_in_order_and_leave_nothing_behind() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let sleeps = [(at(3), at(0), 7), (at(1), at(2), 5), (at(2), at(0), 6)];
        let sleeps = sleeps.map(|(due, long_from, turn)| Sleep { due, long_from, turn });
        let ids: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).to_vec();
        let turn_of = |id: &Arc<str>| {
            ids.iter().zip(&sleeps).find(|(known, _)| *known == id).map_or(0, |(_, sleep)| sleep.turn)
        };
        let mut schedule = Schedule::default();
        for (id, sleep) in ids.iter().zip(sleeps) {
            schedule.add(id, sleep);
        }
        assert_eq!((schedule.next_due(now), schedule.next_due(at(2)).as_deref()), (None, Some("b")));
        assert_eq!(schedule.next_long(now, turn_of).as_deref(), Some("c"), "the smallest turn that may");
        assert_eq!(
            (schedule.next(now, true), schedule.next(now, false)),
            (Some(at(2)).min(Some(at(1))), Some(at(1)))
        );
        assert_eq!(schedule.next_long(at(2), turn_of).as_deref(), Some("b"));
        for (id, sleep) in ids.iter().zip(sleeps) {
            schedule.remove(id, sleep);
        }
        assert_eq!(schedule.next(now, true), None);
        assert_eq!((schedule.due.len(), schedule.long_later.len(), schedule.long_ready.len()), (0, 0, 0));
    }
}
