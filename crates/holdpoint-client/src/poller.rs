//! One task polls for all holds of a client.

use crate::{ClientError, GateClient, Pace};
use holdpoint_api::DecisionAnswer;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};

mod run;

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
    /// The doorbell rang during a poll, which may have missed what it rang for.
    rung: bool,
}

#[derive(Debug)]
enum Phase {
    /// Sleeps.
    Idle {
        /// When to ask again.
        due: Instant,
        /// When a long poll may begin, if there is room for one.
        long_from: Instant,
    },
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
        let mut watched = self.0.lock();
        let number = watched.number();
        match watched.threads.entry(Arc::clone(&thread)) {
            Entry::Occupied(mut entry) => entry.get_mut().waiters.push((number, sender)),
            Entry::Vacant(entry) => {
                entry.insert(Thread::new(number, sender));
            }
        }
        if watched.task.as_ref().is_none_or(JoinHandle::is_finished) {
            watched.task = Some(tokio::spawn(run::run(Arc::clone(&self.0))));
        }
        drop(watched);
        self.0.changed.notify_one();
        Waiter { board: Arc::clone(&self.0), thread, number, outcome }
    }
}

impl Doorbell {
    /// Reads the decision of `thread` now, if anybody waits for it. The caller need not be believed: nothing but a
    /// poll comes of it.
    pub fn wake(&self, thread: &str) {
        if let Some(known) = self.0.lock().threads.get_mut(thread) {
            match &mut known.phase {
                Phase::Idle { due, long_from } => {
                    *due = Instant::now();
                    *long_from = *due;
                }
                Phase::Polling { .. } => known.rung = true,
            }
        }
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
            watched.threads.remove(&self.thread);
            drop(watched);
            self.board.changed.notify_one();
        }
    }
}

impl Thread {
    fn new(number: u64, waiter: oneshot::Sender<Outcome>) -> Self {
        let now = Instant::now();
        Self {
            waiters: vec![(number, waiter)],
            phase: Phase::Idle { due: now, long_from: now },
            turn: 0,
            failures: 0,
            last_failure: None,
            rung: false,
        }
    }
}

impl Watched {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
