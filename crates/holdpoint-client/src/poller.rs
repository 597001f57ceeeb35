//! One task polls for all holds of a client.
//!
//! Where Gate has a feed, one poll of it waits for all of them, and a thread is read when it was just registered, when
//! the feed names it, and now and then in case the feed keeps something back. Elsewhere, and while the feed is silent,
//! each thread is polled: by long poll where Gate can and there is room, else at intervals.

use crate::{ClientError, GateClient, Pace, pace::once_per};
use feed::Feed;
use holdpoint_api::DecisionAnswer;
use schedule::{Schedule, Sleep};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};

mod feed;
mod run;
mod schedule;
mod settle;

/// A failure that several waiters are told of.
type SharedError = Arc<ClientError>;
type Outcome = Result<DecisionAnswer, SharedError>;

/// Holds are registered here; the task starts with the first and ends with the last.
#[derive(Debug)]
pub(crate) struct Poller(Arc<Board>);

#[derive(Debug)]
struct Board {
    client: GateClient,
    pace: Pace,
    watched: Mutex<Watched>,
    /// Something on the board changed that the task should look at.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Watched {
    threads: HashMap<Arc<str>, Thread>,
    /// Exactly the threads whose phase is [`Phase::Idle`].
    schedule: Schedule,
    feed: Feed,
    /// Counts waiters and polls, so that each has a number of its own.
    numbers: u64,
    task: Option<JoinHandle<()>>,
}

/// One thread that somebody waits for. Two waiters share its polls: at our Gate each poll of an approved thread
/// revokes the token that the one before brought.
#[derive(Debug)]
struct Thread {
    waiters: Vec<(u64, oneshot::Sender<Outcome>)>,
    phase: Phase,
    /// When its last long poll began, as a number: the smallest is next.
    turn: u64,
    failures: u32,
    last_failure: Option<SharedError>,
    /// The bell rang during a poll, which may have missed what it rang for: when to poll again.
    rung: Option<Instant>,
    /// When the bell last had it read, or will.
    woken: Option<Instant>,
    /// It was found pending and nothing was heard since: only time will have it read again.
    resting: bool,
    /// What Gate recommended last.
    poll_after_seconds: Option<u64>,
}

#[derive(Debug)]
enum Phase {
    Idle(Sleep),
    /// Is being asked about.
    Polling {
        number: u64,
        /// Dropped with the thread, it ends a long poll.
        abandon: Option<oneshot::Sender<()>>,
    },
}

/// Ends a sleep early: what a webhook is good for.
#[derive(Clone, Debug)]
pub struct Doorbell(Arc<Board>);

/// Somebody who waits for a thread; dropped, nobody does.
#[derive(Debug)]
pub(crate) struct Waiter {
    board: Arc<Board>,
    thread: Arc<str>,
    number: u64,
    outcome: oneshot::Receiver<Outcome>,
}

impl Poller {
    pub(crate) fn new(client: GateClient, pace: Pace) -> Self {
        Self(Arc::new(Board { client, pace, watched: Mutex::default(), changed: Notify::new() }))
    }

    pub(crate) fn doorbell(&self) -> Doorbell {
        Doorbell(Arc::clone(&self.0))
    }

    /// Must be called within a tokio runtime. The first poll happens at once.
    pub(crate) fn register(&self, thread: &str) -> Waiter {
        let (sender, outcome) = oneshot::channel();
        let thread: Arc<str> = thread.into();
        let mut guard = self.0.lock();
        let watched = &mut *guard;
        let number = watched.number();
        match watched.threads.entry(Arc::clone(&thread)) {
            Entry::Occupied(mut entry) => entry.get_mut().waiters.push((number, sender)),
            Entry::Vacant(entry) => {
                let now = Instant::now();
                let sleep = Sleep { due: now, long_from: now, turn: 0 };
                watched.schedule.add(entry.key(), sleep);
                entry.insert(Thread::new(number, sender, sleep));
            }
        }
        if watched.task.as_ref().is_none_or(JoinHandle::is_finished) {
            watched.task = Some(tokio::spawn(run::run(Arc::clone(&self.0))));
        }
        drop(guard);
        self.0.changed.notify_one();
        Waiter { board: Arc::clone(&self.0), thread, number, outcome }
    }
}

impl Doorbell {
    /// Reads the decision of `thread` now, if anybody waits for it, and not more often than
    /// [`Pace::wake_gap`](crate::Pace::wake_gap). The caller need not be believed: nothing but a poll comes of it.
    pub fn wake(&self, thread: &str) {
        self.0.lock().ring(thread, &self.0.pace);
        self.0.changed.notify_one();
    }
}

impl Waiter {
    /// Resolves with a decision, or with a failure that waiting does not heal.
    pub(crate) async fn decided(&mut self) -> Outcome {
        (&mut self.outcome).await.unwrap_or_else(|_| Err(Arc::new(ClientError::Stopped)))
    }

    /// Why the last poll failed, if it did.
    pub(crate) fn last_failure(&self) -> Option<SharedError> {
        self.board.lock().threads.get(&self.thread)?.last_failure.clone()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut watched = self.board.lock();
        let Some(thread) = watched.threads.get_mut(&self.thread) else {
            return;
        };
        thread.waiters.retain(|(number, _)| *number != self.number);
        let short_poll_goes_on = matches!(thread.phase, Phase::Polling { abandon: None, .. });
        // A short poll is let finish: whoever waits again before it does gets its answer, instead of asking a second
        // time beside it and revoking its token.
        if thread.waiters.is_empty() && !short_poll_goes_on {
            watched.forget(&self.thread);
            drop(watched);
            self.board.changed.notify_one();
        }
    }
}

impl Thread {
    fn new(number: u64, waiter: oneshot::Sender<Outcome>, sleep: Sleep) -> Self {
        Self {
            waiters: vec![(number, waiter)],
            phase: Phase::Idle(sleep),
            turn: sleep.turn,
            failures: 0,
            last_failure: None,
            rung: None,
            woken: None,
            resting: false,
            poll_after_seconds: None,
        }
    }

    /// When to read after a ring that comes now: at once, unless another ring had it read just before.
    fn hear_ring(&mut self, pace: &Pace) -> Instant {
        let at = once_per(pace.wake_gap, self.woken, Instant::now());
        self.woken = Some(at);
        at
    }
}

impl Watched {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn forget(&mut self, id: &Arc<str>) -> Option<Thread> {
        let thread = self.threads.remove(id)?;
        if let Phase::Idle(sleep) = thread.phase {
            self.schedule.remove(id, sleep);
        }
        Some(thread)
    }

    fn ring(&mut self, id: &str, pace: &Pace) {
        let Some(id) = self.threads.get_key_value(id).map(|(id, _)| Arc::clone(id)) else { return };
        if let Some(thread) = self.threads.get_mut(&id) {
            let at = thread.hear_ring(pace);
            self.read_by(&id, at);
        }
    }

    /// Has a thread read at `at`, if it would not be before.
    fn read_by(&mut self, id: &Arc<str>, at: Instant) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        thread.resting = false;
        match thread.phase {
            Phase::Idle(Sleep { due, long_from, .. }) => self.sleep(id, due.min(at), long_from.min(at)),
            Phase::Polling { .. } => thread.rung = Some(thread.rung.map_or(at, |earlier| earlier.min(at))),
        }
    }

    /// Leaves a thread alone until then.
    fn sleep(&mut self, id: &Arc<str>, due: Instant, long_from: Instant) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        if let Phase::Idle(sleep) = thread.phase {
            self.schedule.remove(id, sleep);
        }
        let sleep = Sleep { due, long_from, turn: thread.turn };
        thread.phase = Phase::Idle(sleep);
        self.schedule.add(id, sleep);
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ten thousand holds occupy here is theirs times this, their ids and channels, and three places in trees.
    #[test]
    fn a_hold_is_small() {
        let tree_places = 3 * 2 * size_of::<(Instant, Arc<str>)>();
        let channel = 2 * size_of::<Outcome>();
        let hold = size_of::<(Arc<str>, Thread)>() + size_of::<Waiter>() + tree_places + 2 * channel;
        assert!(hold < 2048, "{hold} bytes");
    }
}
