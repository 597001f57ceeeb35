use std::fmt::Debug;

use jiff::Timestamp;

/// Where Gate takes the time from, so that a test can move it past an expiry.
pub trait Clock: Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}
