//! How often Gate is asked, as pure functions.

use std::time::Duration;

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
        }
    }
}

impl Pace {
    /// The time to the next poll of a pending thread. `luck` is between 0 and 1.
    pub(crate) fn next(&self, recommended_seconds: Option<u64>, luck: f64) -> Duration {
        let recommended = recommended_seconds.map_or(self.interval, Duration::from_secs);
        jittered(recommended.clamp(self.interval_min, self.interval_max.max(self.interval_min)), luck)
    }

    /// The time to the next attempt after the `failures`th failure in a row.
    pub(crate) fn after_failure(&self, failures: u32, retry_after: Option<Duration>, luck: f64) -> Duration {
        let doubled = self.backoff.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let backoff = jittered(doubled.min(self.backoff_max), luck);
        retry_after.map_or(backoff, |asked| backoff.max(asked))
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
    fn luck_stays_in_range_and_varies() {
        let drawn: Vec<f64> = (0..64).map(|_| luck()).collect();
        assert!(drawn.iter().all(|luck| (0.0..=1.0).contains(luck)));
        assert!(drawn.windows(2).any(|pair| pair.first() != pair.last()));
    }
}
