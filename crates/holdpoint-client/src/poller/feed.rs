//! The one poll of Gate's feed, where Gate has one: what is known of it, and when the next is due.

use crate::{
    ClientError, Pace,
    pace::{luck, once_per},
};
use holdpoint_api::DecisionChanges;
use std::time::Duration;
use tokio::time::Instant;

/// The feed as it stands. It outlives the task, so that the next one goes on after the same cursor.
#[derive(Debug)]
pub(super) struct Feed {
    /// After what to ask; `None`: nothing was heard yet.
    cursor: Option<String>,
    health: Health,
    phase: Phase,
    /// When every thread was last read because the feed said so, or will be.
    resynced_at: Option<Instant>,
}

/// Whether the feed may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It was not heard yet.
    Starting,
    /// Its last poll brought an answer.
    Live,
    /// So many polls in a row failed.
    Down(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle { from: Option<Instant> },
    Polling,
}

/// A poll of the feed to be sent.
#[derive(Debug)]
pub(super) struct FeedPoll {
    pub(super) after: Option<String>,
    pub(super) wait: Duration,
}

/// A poll of the feed that came back.
#[derive(Debug)]
pub(super) struct FeedPolled {
    pub(super) poll: FeedPoll,
    pub(super) took: Duration,
    pub(super) answer: Result<DecisionChanges, ClientError>,
}

/// What an answer of the feed means for the threads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It speaks again, and missed nothing: threads may sleep long.
    Back(Vec<String>),
    /// Something happened to these.
    Of(Vec<String>),
    /// Something may have happened to any: read all, not before this.
    OfAny(Instant),
    /// It fell silent: poll each thread by itself.
    Silent,
    /// It is still silent.
    StillSilent,
}

impl Default for Feed {
    fn default() -> Self {
        Self { cursor: None, health: Health::Starting, phase: Phase::Idle { from: None }, resynced_at: None }
    }
}

impl Feed {
    pub(super) const fn health(&self) -> Health {
        self.health
    }

    /// The poll that was on its way went with its task.
    pub(super) fn forget_poll(&mut self) {
        self.phase = Phase::Idle { from: None };
    }

    /// The poll to send now, if one is due.
    pub(super) fn start(&mut self, now: Instant, pace: &Pace) -> Option<FeedPoll> {
        match self.phase {
            Phase::Idle { from } if from.is_none_or(|from| from <= now) => {
                self.phase = Phase::Polling;
                Some(FeedPoll { after: self.cursor.clone(), wait: pace.feed_poll_max })
            }
            Phase::Idle { .. } | Phase::Polling => None,
        }
    }

    /// When the next poll is due, if none is on its way.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle { from } => from,
            Phase::Polling => None,
        }
    }

    /// Takes in what a poll brought.
    pub(super) fn hear(&mut self, polled: FeedPolled, pace: &Pace) -> News {
        let now = Instant::now();
        let FeedPolled { poll, took, answer } = polled;
        let before = self.health;
        match answer {
            Ok(changes) => {
                self.health = Health::Live;
                let moved = poll.after.as_deref() != Some(changes.cursor.as_str());
                // An answer that comes early and says nothing must not turn into a busy loop.
                let idle = !moved && took < poll.wait / 2;
                let pause = if idle { pace.next(None, luck()) } else { pace.feed_gap };
                self.phase = Phase::Idle { from: Some(now + pause) };
                self.cursor = Some(changes.cursor);
                if changes.resync || poll.after.is_none() {
                    let not_before = once_per(pace.resync_gap, self.resynced_at, now);
                    self.resynced_at = Some(not_before);
                    return News::OfAny(not_before);
                }
                match before {
                    Health::Live => News::Of(changes.threads),
                    Health::Starting | Health::Down(_) => {
                        tracing::info!("gate's feed of decisions is back");
                        News::Back(changes.threads)
                    }
                }
            }
            Err(error) => {
                let failures = match before {
                    Health::Down(failures) => failures.saturating_add(1),
                    Health::Starting | Health::Live => 1,
                };
                self.health = Health::Down(failures);
                let pause = pace.after_failure(failures, error.retry_after(), luck());
                self.phase = Phase::Idle { from: Some(now + pause) };
                if failures > 1 {
                    return News::StillSilent;
                }
                tracing::warn!(%error, "gate's feed of decisions cannot be read for now; each hold is polled");
                News::Silent
            }
        }
    }
}
