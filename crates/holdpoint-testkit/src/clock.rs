use crate::lock;
use async_trait::async_trait;
use holdpoint_core::Clock;
use jiff::{SignedDuration, Timestamp};
use std::{sync::Mutex, time::Duration};
use tokio::time::Instant;

/// A clock that starts at 2026-01-01T00:00:00Z, runs with tokio's time, and can be moved by hand.
///
/// Under `#[tokio::test(start_paused = true)]` it stands still except for what is slept, here or elsewhere.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    now_at_start: Mutex<Timestamp>,
}

impl ManualClock {
    const FIRST: Timestamp = Timestamp::constant(1_767_225_600, 0);

    /// A clock at its first moment.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), now_at_start: Mutex::new(Self::FIRST) }
    }

    /// Moves the wall clock, forwards or backwards. Sleepers do not notice, as with a real one.
    pub fn shift(&self, by: SignedDuration) {
        let mut at_start = lock(&self.now_at_start);
        *at_start = at_start.saturating_add(by).unwrap_or(Timestamp::MAX);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        lock(&self.now_at_start).saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
