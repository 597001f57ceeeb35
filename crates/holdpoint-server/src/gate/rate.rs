use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdpoint_store::AgentId;
use jiff::Timestamp;

/// How many threads each agent may open: a burst, then so many per minute.
#[derive(Debug)]
pub(crate) struct ThreadRate {
    burst: u32,
    per_minute: u32,
    buckets: Mutex<HashMap<AgentId, Bucket>>,
}

/// Whether an agent may open a thread now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Open,
    /// Not before this much time.
    Later(Duration),
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of a minute that were saved up; one thread costs `60_000 / per_minute` of them.
    saved_ms: u64,
    filled_at: Timestamp,
}

impl ThreadRate {
    pub(crate) fn new(burst: u32, per_minute: u32) -> Self {
        Self { burst: burst.max(1), per_minute: per_minute.max(1), buckets: Mutex::default() }
    }

    pub(crate) fn take(&self, agent: AgentId, now: Timestamp) -> Admission {
        let price = 60_000 / u64::from(self.per_minute).min(60_000);
        let full = price.saturating_mul(u64::from(self.burst));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(agent).or_insert(Bucket { saved_ms: full, filled_at: now });
        // A clock that went back gives nothing and takes nothing.
        let passed = u64::try_from(now.duration_since(bucket.filled_at).as_millis()).unwrap_or(0);
        bucket.saved_ms = bucket.saved_ms.saturating_add(passed).min(full);
        bucket.filled_at = now;
        match bucket.saved_ms.checked_sub(price) {
            Some(left) => {
                bucket.saved_ms = left;
                Admission::Open
            }
            None => Admission::Later(Duration::from_millis(price - bucket.saved_ms)),
        }
    }
}
