//! How often Gate is asked, as pure functions.

use std::time::Duration;
use tokio::time::Instant;

/// How often Gate is asked about a hold, and how many polls go on at once.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Where Gate recommends nothing.
    pub interval: Duration,
    /// No recommendation below this is followed.
    pub interval_min: Duration,
    /// No recommendation above this is followed.
    pub interval_max: Duration,
    /// After the first failure in a row; doubled with each further one.
    pub backoff: Duration,
    /// At most this between two attempts.
    pub backoff_max: Duration,
    /// What one long poll asks for at most. Below a minute, at which many load balancers give up.
    pub long_poll_max: Duration,
    /// Long polls at once; holds beyond are polled at intervals, and take their turn.
    pub long_polls_max: usize,
    /// Other polls at once.
    pub polls_max: usize,
    /// What one poll of Gate's feed asks for at most, where Gate has one. A feed that hangs is noticed after this and
    /// [`Timeouts::long_poll_grace`](crate::Timeouts::long_poll_grace).
    pub feed_poll_max: Duration,
    /// Between two polls of the feed, so that a flood of news comes in few answers.
    pub feed_gap: Duration,
    /// Between two times that the feed has every hold read.
    pub resync_gap: Duration,
    /// While the feed works, each hold is read again after at most this, in case the feed keeps something back.
    pub reread: Duration,
    /// At most so many of these reads per second; with many holds each waits longer for its turn.
    pub rereads_per_second: u32,
    /// Between two early reads of one hold, however often the bell rings for it.
    pub wake_gap: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            interval_min: Duration::from_secs(1),
            interval_max: Duration::from_mins(1),
            backoff: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            long_poll_max: Duration::from_secs(50),
            long_polls_max: 64,
            polls_max: 64,
            feed_poll_max: Duration::from_secs(20),
            feed_gap: Duration::from_millis(5),
            resync_gap: Duration::from_secs(10),
            reread: Duration::from_mins(5),
            rereads_per_second: 10,
            wake_gap: Duration::from_secs(1),
        }
    }
}

impl Pace {
    /// The time to the next poll of a pending thread. `luck` is between 0 and 1.
    pub(crate) fn next(&self, recommended_seconds: Option<u64>, luck: f64) -> Duration {
        let recommended = recommended_seconds.map_or(self.interval, Duration::from_secs);
        jittered(recommended.clamp(self.interval_min, self.interval_max.max(self.interval_min)), luck)
    }

    /// The time to the next read of a pending thread while the feed works, of so many `threads`. Anything from half of
    /// the whole on, so that holds that began together do not stay together.
    pub(crate) fn next_reread(&self, threads: usize, luck: f64) -> Duration {
        let seconds = u32::try_from(threads).unwrap_or(u32::MAX) / self.rereads_per_second.max(1);
        self.reread.max(Duration::from_secs(seconds.into())).mul_f64(0.5 + 0.5 * luck)
    }

    /// The time to the next attempt after the `failures`th failure in a row.
    pub(crate) fn after_failure(&self, failures: u32, retry_after: Option<Duration>, luck: f64) -> Duration {
        let doubled = self.backoff.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let backoff = jittered(doubled.min(self.backoff_max), luck);
        retry_after.map_or(backoff, |asked| backoff.max(asked))
    }
}

/// When something may happen that happens at most once per `gap`, when `last` it did or will: now, at the end of the
/// gap, or when it will anyway.
pub(crate) fn once_per(gap: Duration, last: Option<Instant>, now: Instant) -> Instant {
    match last {
        Some(coming) if coming > now => coming,
        Some(last) => now.max(last + gap),
        None => now,
    }
}

/// Something between 0 and 1 that two processes do not have in common. Spreads load; nothing secret depends on it.
pub(crate) fn luck() -> f64 {
    getrandom::u64()
        .map_or(0.5, |bits| f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX))
}

/// 10 % more or less.
fn jittered(duration: Duration, luck: f64) -> Duration {
    duration.mul_f64(0.9 + 0.2 * luck)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(duration: Duration) -> f64 {
        duration.as_secs_f64()
    }

    #[test]
    fn recommendations_are_followed_within_bounds() {
        let pace = Pace::default();
        for (recommended, expected) in [(None, 5.0), (Some(0), 1.0), (Some(7), 7.0), (Some(u64::MAX), 60.0)] {
            assert!((seconds(pace.next(recommended, 0.5)) - expected).abs() < 1e-6, "{recommended:?}");
        }
        assert!((seconds(pace.next(Some(10), 0.0)) - 9.0).abs() < 1e-6);
        assert!((seconds(pace.next(Some(10), 1.0)) - 11.0).abs() < 1e-6);
    }

    #[test]
    fn failures_back_off_and_retry_after_is_a_floor() {
        let pace = Pace::default();
        let after = |failures, asked| seconds(pace.after_failure(failures, asked, 0.5));
        assert!((after(1, None) - 0.25).abs() < 1e-6);
        assert!((after(3, None) - 1.0).abs() < 1e-6);
        assert!((after(u32::MAX, None) - 30.0).abs() < 1e-6);
        assert!((after(1, Some(Duration::from_secs(9))) - 9.0).abs() < 1e-6);
        assert!((after(9, Some(Duration::from_secs(1))) - 30.0).abs() < 1e-6);
    }

    #[test]
    fn rereads_are_few_however_many_threads_wait() {
        let pace = Pace::default();
        for (threads, luck, expected) in
            [(1, 1.0, 300.0), (3_000, 1.0, 300.0), (10_000, 1.0, 1_000.0), (10_000, 0.0, 500.0)]
        {
            assert!((seconds(pace.next_reread(threads, luck)) - expected).abs() < 1e-6, "{threads}");
        }
    }

    #[test]
    fn what_happens_once_per_gap_does_not_run_away() {
        let gap = Duration::from_secs(10);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut last = None;
        for (now, expected) in [(0, 0), (1, 10), (5, 10), (9, 10), (10, 20), (15, 20), (40, 40), (41, 50)] {
            last = Some(once_per(gap, last, at(now)));
            assert_eq!(last, Some(at(expected)), "{now}");
        }
    }

    #[test]
    fn luck_stays_in_range_and_varies() {
        let drawn: Vec<f64> = (0..64).map(|_| luck()).collect();
        assert!(drawn.iter().all(|luck| (0.0..=1.0).contains(luck)));
        assert!(drawn.windows(2).any(|pair| pair.first() != pair.last()));
    }
}
