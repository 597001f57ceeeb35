//! The task: starts polls that are due, takes in their answers, sleeps.

use super::{Board, Phase, Thread, Watched};
use crate::{ClientError, DecisionOf, client::asks_for_changes, pace::luck};
use futures_util::{StreamExt, future::Either, stream::FuturesUnordered};
use holdpoint_api::{DecisionAnswer, DecisionStatus, ThreadState};
use std::{collections::BinaryHeap, sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// A poll to be sent.
struct Poll {
    thread: Arc<str>,
    number: u64,
    /// How long it asks Gate to wait; `None`: not at all.
    wait: Option<Duration>,
    /// Resolves when nobody wants the answer of a long poll any more.
    abandoned: oneshot::Receiver<()>,
}

/// A poll that came back.
struct Polled {
    thread: Arc<str>,
    number: u64,
    wait: Option<Duration>,
    took: Duration,
    answer: Result<DecisionAnswer, ClientError>,
}

/// What there is to do.
enum Turn {
    Sleep {
        polls: Vec<Poll>,
        until: Option<Instant>,
    },
    /// Nobody waits any more.
    End,
}

pub(super) async fn run(board: Arc<Board>) {
    let mut polls = FuturesUnordered::new();
    let mut long_polls = 0;
    loop {
        let until = match board.turn(polls.len() - long_polls, long_polls) {
            Turn::End => return,
            Turn::Sleep { polls: started, until } => {
                long_polls += started.iter().filter(|poll| poll.wait.is_some()).count();
                polls.extend(started.into_iter().map(|poll| send(&board, poll)));
                until
            }
        };
        tokio::select! {
            Some((was_long, polled)) = polls.next() => {
                long_polls -= usize::from(was_long);
                if let Some(polled) = polled {
                    board.settle(polled);
                }
            }
            () = board.changed.notified() => {}
            () = sleep_until(until) => {}
        }
    }
}

/// Whether it was a long poll, and what came of it; `None`: nobody wants to know.
async fn send(board: &Board, poll: Poll) -> (bool, Option<Polled>) {
    let Poll { thread, number, wait, abandoned } = poll;
    let started = Instant::now();
    let answer = {
        let asked = std::pin::pin!(board.client.decision(DecisionOf::Thread(&thread), wait));
        match wait {
            None => asked.await,
            Some(_) => match futures_util::future::select(asked, abandoned).await {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => return (true, None),
            },
        }
    };
    (wait.is_some(), Some(Polled { thread, number, wait, took: started.elapsed(), answer }))
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl Board {
    /// Chooses what to poll. Long polls first, to whoever had none for the longest time; then what is due.
    fn turn(&self, short_polls: usize, long_polls: usize) -> Turn {
        let mut watched = self.lock();
        if watched.threads.is_empty() {
            watched.task = None;
            return Turn::End;
        }
        let now = Instant::now();
        let wait = self.client.long_poll().map(|announced| announced.min(self.pace.long_poll_max));
        let long_room = wait.map_or(0, |_| self.pace.long_polls_max.saturating_sub(long_polls));
        let short_room = self.pace.polls_max.saturating_sub(short_polls);

        let mut polls = Vec::new();
        for thread in watched.next_long(long_room, now) {
            polls.extend(watched.start(thread, wait));
        }
        for thread in watched.next_due(short_room, now) {
            polls.extend(watched.start(thread, None));
        }
        let long_left = long_room > polls.iter().filter(|poll| poll.wait.is_some()).count();
        let until = watched.wake_at(long_left, now);
        Turn::Sleep { polls, until }
    }

    /// Takes in what a poll brought.
    fn settle(&self, polled: Polled) {
        let Polled { thread: id, number, wait, took, answer } = polled;
        let mut watched = self.lock();
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
                watched.threads.remove(&id);
                return;
            }
            Ok(pending) => {
                // A long poll that comes back early without a decision must not turn into a busy loop.
                let early = wait.is_some_and(|wait| took < wait / 2);
                let interval = self.pace.next(pending.recommended_poll_after_seconds, luck());
                let long_after = if early { interval } else { Duration::ZERO };
                thread.still_pending(interval, long_after);
                return;
            }
            Err(error) => {
                let failures = thread.failures.saturating_add(1);
                let pause = self.pace.after_failure(failures, error.retry_after(), luck());
                if failures == 1 {
                    tracing::warn!(thread = ?id, %error, "a decision cannot be read for now");
                }
                thread.failed(error, failures, pause);
                return;
            }
        };
        let waiters = watched.threads.remove(&id).map(|thread| thread.waiters).unwrap_or_default();
        drop(watched);
        for (_, waiter) in waiters {
            // `Err`: that one left meanwhile.
            let _left = waiter.send(outcome.clone());
        }
    }
}

impl Watched {
    /// Up to `room` threads that may start a long poll now, those first that had none for the longest time.
    fn next_long(&self, room: usize, now: Instant) -> Vec<Arc<str>> {
        if room == 0 {
            return Vec::new();
        }
        let ready = self.threads.iter().filter_map(|(id, thread)| match thread.phase {
            Phase::Idle { long_from, .. } if long_from <= now => Some((thread.turn, id)),
            Phase::Idle { .. } | Phase::Polling { .. } => None,
        });
        smallest(ready, room)
    }

    /// Up to `room` threads that are due, the most overdue first.
    fn next_due(&self, room: usize, now: Instant) -> Vec<Arc<str>> {
        let ready = self.threads.iter().filter_map(|(id, thread)| match thread.phase {
            Phase::Idle { due, .. } if due <= now => Some((due, id)),
            Phase::Idle { .. } | Phase::Polling { .. } => None,
        });
        smallest(ready, room)
    }

    fn start(&mut self, id: Arc<str>, wait: Option<Duration>) -> Option<Poll> {
        let number = self.number();
        let thread = self.threads.get_mut(&id)?;
        let (abandon, abandoned) = oneshot::channel();
        let abandon = wait.map(|_| {
            thread.turn = number;
            abandon
        });
        thread.phase = Phase::Polling { number, abandon };
        Some(Poll { thread: id, number, wait, abandoned })
    }

    /// When something becomes due by itself. What is due already waits for room, which a poll makes by coming back.
    fn wake_at(&self, long_left: bool, now: Instant) -> Option<Instant> {
        let times = self.threads.values().filter_map(|thread| match thread.phase {
            Phase::Idle { due, long_from } => Some(if long_left { due.min(long_from) } else { due }),
            Phase::Polling { .. } => None,
        });
        times.filter(|at| *at > now).min()
    }
}

impl Thread {
    fn still_pending(&mut self, interval: Duration, long_after: Duration) {
        self.failures = 0;
        self.last_failure = None;
        self.sleep(interval, long_after);
    }

    fn failed(&mut self, error: ClientError, failures: u32, pause: Duration) {
        self.failures = failures;
        self.last_failure = Some(Arc::new(error));
        self.sleep(pause, pause);
    }

    fn sleep(&mut self, interval: Duration, long_after: Duration) {
        let now = Instant::now();
        let rung = std::mem::take(&mut self.rung);
        let [due, long_from] = [interval, long_after].map(|pause| if rung { now } else { now + pause });
        self.phase = Phase::Idle { due, long_from };
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

/// The ids with the `count` smallest keys, smallest first.
fn smallest<'a, K: Ord>(items: impl Iterator<Item = (K, &'a Arc<str>)>, count: usize) -> Vec<Arc<str>> {
    let mut kept = BinaryHeap::with_capacity(count.saturating_add(1).min(1024));
    for item in items {
        kept.push(item);
        if kept.len() > count {
            kept.pop();
        }
    }
    kept.into_sorted_vec().into_iter().map(|(_, id)| Arc::clone(id)).collect()
}
