use async_trait::async_trait;
use holdpoint_core::Clock;
use jiff::Timestamp;
use std::time::Duration;

/// The time of this machine. The only place where the binary reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

/// Now, on this machine.
pub(crate) fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one clock that everything else is given")]
    Timestamp::now()
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
