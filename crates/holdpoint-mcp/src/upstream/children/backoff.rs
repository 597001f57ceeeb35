//! When a server whose child ended early may be started again.

use super::ChildLimits;
use crate::random;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Doublings beyond this do not matter any more.
const DOUBLINGS_MAX: u32 = 20;

#[derive(Debug, Default)]
pub(super) struct Backoff(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    down_until: Option<Instant>,
}

/// Nothing is started before its time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the tool server ended and is not started again for another {} ms", .0.as_millis())]
pub(super) struct Down(Duration);

impl Backoff {
    pub(super) fn check(&self) -> Result<(), Down> {
        let left = self.lock().down_until.map(|until| until.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if !left.is_zero() => Err(Down(left)),
            Some(_) | None => Ok(()),
        }
    }

    /// A child ended that nobody had told to, or did not start.
    pub(super) fn failed(&self, lived: Duration, limits: &ChildLimits) {
        let mut state = self.lock();
        state.failures = if lived >= limits.stable { 0 } else { state.failures.min(DOUBLINGS_MAX) };
        let doubled = limits.down_first.saturating_mul(1 << state.failures).min(limits.down_max);
        // Between half of it and all, so that servers that failed together do not start together.
        let down = doubled.mul_f64(0.5 + random::fraction() / 2.0);
        state.failures += 1;
        state.down_until = Some(Instant::now() + down);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
