//! The task: starts polls that are due, takes in their answers, sleeps.

use super::{
    Board, Phase, Watched,
    feed::{FeedPoll, FeedPolled, Health},
    settle::Polled,
};
use crate::DecisionOf;
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, OptionFuture},
    stream::FuturesUnordered,
};
use std::{sync::Arc, time::Duration};
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

/// What there is to do.
enum Turn {
    Sleep {
        polls: Vec<Poll>,
        feed: Option<FeedPoll>,
        until: Option<Instant>,
    },
    /// Nobody waits any more.
    End,
}

pub(super) async fn run(board: Arc<Board>) {
    board.lock().feed.forget_poll();
    let mut polls = FuturesUnordered::new();
    let mut long_polls = 0;
    // At most one poll of the feed, and none where Gate has no feed.
    let mut feed = OptionFuture::from(None);
    loop {
        let until = match board.turn(polls.len() - long_polls, long_polls) {
            Turn::End => return,
            Turn::Sleep { polls: started, feed: feed_started, until } => {
                long_polls += started.iter().filter(|poll| poll.wait.is_some()).count();
                polls.extend(started.into_iter().map(|poll| send(&board, poll)));
                if let Some(poll) = feed_started {
                    feed = Some(listen(&board, poll).boxed()).into();
                }
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
            Some(polled) = &mut feed => {
                feed = None.into();
                board.hear(polled);
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

async fn listen(board: &Board, poll: FeedPoll) -> FeedPolled {
    let started = Instant::now();
    let answer = board.client.changes(poll.after.as_deref(), poll.wait).await;
    FeedPolled { poll, took: started.elapsed(), answer }
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
        let mut guard = self.lock();
        let watched = &mut *guard;
        if watched.threads.is_empty() {
            watched.task = None;
            return Turn::End;
        }
        let now = Instant::now();
        let has_feed = self.client.has_feed();
        let feed = if has_feed { watched.feed.start(now, &self.pace) } else { None };
        let wait = self.long_poll(watched.feed.health(), has_feed);
        let long_room = wait.map_or(0, |_| self.pace.long_polls_max.saturating_sub(long_polls));
        let short_room = self.pace.polls_max.saturating_sub(short_polls);

        let mut polls = Vec::new();
        while polls.len() < long_room
            && let Some(thread) = watched.next_long(now)
        {
            polls.extend(watched.start(thread, wait));
        }
        let long_left = long_room > polls.len();
        let both = polls.len() + short_room;
        while polls.len() < both
            && let Some(thread) = watched.schedule.next_due(now)
        {
            polls.extend(watched.start(thread, None));
        }
        let feed_due = watched.feed.due().filter(|_| has_feed);
        let until = watched.schedule.next(now, long_left).into_iter().chain(feed_due).min();
        Turn::Sleep { polls, feed, until }
    }

    /// What a long poll of one thread asks for, where there are any: while the feed works it waits for all of them.
    fn long_poll(&self, feed: Health, has_feed: bool) -> Option<Duration> {
        match feed {
            Health::Starting | Health::Live if has_feed => None,
            Health::Starting | Health::Live | Health::Down(_) => {
                self.client.long_poll().map(|announced| announced.min(self.pace.long_poll_max))
            }
        }
    }
}

impl Watched {
    fn next_long(&mut self, now: Instant) -> Option<Arc<str>> {
        let threads = &self.threads;
        self.schedule.next_long(now, |id| threads.get(id).map_or(0, |thread| thread.turn))
    }

    fn start(&mut self, id: Arc<str>, wait: Option<Duration>) -> Option<Poll> {
        let number = self.number();
        let thread = self.threads.get_mut(&id)?;
        if let Phase::Idle(sleep) = thread.phase {
            self.schedule.remove(&id, sleep);
        }
        let (abandon, abandoned) = oneshot::channel();
        let abandon = wait.map(|_| {
            thread.turn = number;
            abandon
        });
        thread.phase = Phase::Polling { number, abandon };
        Some(Poll { thread: id, number, wait, abandoned })
    }
}
