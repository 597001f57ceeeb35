//! What answers mean for the threads they are about.

use super::{
    Board, Phase, Thread, Watched,
    feed::{FeedPolled, Health, News},
};
use crate::{ClientError, client::asks_for_changes, pace::luck};
use holdpoint_api::{DecisionAnswer, DecisionStatus, ThreadState};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// A poll that came back.
pub(super) struct Polled {
    pub(super) thread: Arc<str>,
    pub(super) number: u64,
    pub(super) wait: Option<Duration>,
    pub(super) took: Duration,
    pub(super) answer: Result<DecisionAnswer, ClientError>,
}

/// How long to leave a thread alone.
struct Pause {
    poll: Duration,
    long_poll: Duration,
}

impl Board {
    /// Takes in what a poll brought.
    pub(super) fn settle(&self, polled: Polled) {
        let Polled { thread: id, number, wait, took, answer } = polled;
        let mut watched = self.lock();
        let relies_on_feed = self.relies_on_feed(&watched);
        let threads = watched.threads.len();
        let Some(thread) = watched.threads.get_mut(&id) else {
            return;
        };
        if !matches!(thread.phase, Phase::Polling { number: current, .. } if current == number) {
            return;
        }
        let outcome = match answer {
            Ok(answer) if is_decided(&answer) => Ok(answer),
            Err(error) if !error.is_passing() => {
                tracing::warn!(thread = ?id, %error, "waiting for a decision is pointless");
                Err(Arc::new(error))
            }
            _ if thread.waiters.is_empty() => {
                watched.forget(&id);
                return;
            }
            Ok(pending) => {
                thread.still_pending(pending.recommended_poll_after_seconds);
                let pause = if relies_on_feed {
                    Pause::both(self.pace.next_reread(threads, luck()))
                } else {
                    let interval = self.interval_of(thread);
                    // A long poll that comes back early without a decision must not turn into a busy loop.
                    let early = wait.is_some_and(|wait| took < wait / 2);
                    Pause { poll: interval, long_poll: if early { interval } else { Duration::ZERO } }
                };
                watched.pause(&id, &pause);
                return;
            }
            Err(error) => {
                let failures = thread.failures.saturating_add(1);
                let pause = self.pace.after_failure(failures, error.retry_after(), luck());
                if failures == 1 {
                    tracing::warn!(thread = ?id, %error, "a decision cannot be read for now");
                }
                thread.failed(error, failures);
                watched.pause(&id, &Pause::both(pause));
                return;
            }
        };
        let waiters = watched.forget(&id).map(|thread| thread.waiters).unwrap_or_default();
        drop(watched);
        for (_, waiter) in waiters {
            // `Err`: that one left meanwhile.
            let _left = waiter.send(outcome.clone());
        }
    }

    /// Takes in what a poll of the feed brought. Names that nobody waits for mean nothing.
    pub(super) fn hear(&self, polled: FeedPolled) {
        let mut watched = self.lock();
        match watched.feed.hear(polled, &self.pace) {
            News::Of(threads) => watched.ring_all(&threads, self),
            News::Back(threads) => {
                self.rest_long(&mut watched);
                watched.ring_all(&threads, self);
            }
            News::OfAny(not_before) => {
                let all: Vec<Arc<str>> = watched.threads.keys().map(Arc::clone).collect();
                for id in all {
                    watched.read_by(&id, not_before);
                }
            }
            News::Silent => self.rest_short(&mut watched),
            News::StillSilent => {}
        }
    }

    fn relies_on_feed(&self, watched: &Watched) -> bool {
        self.client.has_feed() && watched.feed.health() == Health::Live
    }

    /// The feed speaks again: nothing but it has to wake those that rest.
    fn rest_long(&self, watched: &mut Watched) {
        let (now, threads) = (Instant::now(), watched.threads.len());
        for id in watched.resting() {
            let until = now + self.pace.next_reread(threads, luck());
            watched.sleep(&id, until, until);
        }
    }

    /// The feed is silent: back to polling each thread.
    fn rest_short(&self, watched: &mut Watched) {
        let now = Instant::now();
        for id in watched.resting() {
            let Some(thread) = watched.threads.get(&id) else { continue };
            let until = now + self.interval_of(thread);
            watched.sleep(&id, until, until);
        }
    }

    fn interval_of(&self, thread: &Thread) -> Duration {
        self.pace.next(thread.poll_after_seconds, luck())
    }
}

impl Watched {
    fn ring_all(&mut self, threads: &[String], board: &Board) {
        for thread in threads {
            self.ring(thread, &board.pace);
        }
    }

    fn resting(&self) -> Vec<Arc<str>> {
        let resting = |thread: &Thread| thread.resting && matches!(thread.phase, Phase::Idle(_));
        self.threads.iter().filter(|(_, thread)| resting(thread)).map(|(id, _)| Arc::clone(id)).collect()
    }

    fn pause(&mut self, id: &Arc<str>, pause: &Pause) {
        let now = Instant::now();
        let Some(thread) = self.threads.get_mut(id) else { return };
        let rung = thread.rung.take();
        thread.resting &= rung.is_none();
        let [due, long_from] = [pause.poll, pause.long_poll]
            .map(|pause| rung.map_or(now + pause, |at| at.clamp(now, now + pause)));
        self.sleep(id, due, long_from);
    }
}

impl Thread {
    fn still_pending(&mut self, poll_after_seconds: Option<u64>) {
        self.failures = 0;
        self.last_failure = None;
        self.resting = true;
        self.poll_after_seconds = poll_after_seconds;
    }

    fn failed(&mut self, error: ClientError, failures: u32) {
        self.failures = failures;
        self.last_failure = Some(Arc::new(error));
        self.resting = false;
    }
}

impl Pause {
    const fn both(pause: Duration) -> Self {
        Self { poll: pause, long_poll: pause }
    }
}

/// Whether the answer is one to act on, rather than to wait on for.
fn is_decided(answer: &DecisionAnswer) -> bool {
    match answer.status {
        DecisionStatus::PendingReview => {
            answer.thread_state == Some(ThreadState::Expired) || asks_for_changes(answer)
        }
        // Unknown words never get here; if one did, its reader refuses it.
        DecisionStatus::Approved | DecisionStatus::Rejected | DecisionStatus::Unknown(_) => true,
    }
}
