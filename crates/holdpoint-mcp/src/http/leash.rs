//! How long a stream may go on that answers no call: no longer than what it was opened with is good for.

use holdpoint_core::{Principal, Standing, StillThere};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// So soon a stream ends after its caller's key was revoked.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Resolves when the stream has to end.
pub(super) struct Leash(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Leash {
    /// `None`: it may go on for as long as both ends want.
    pub(super) fn new(
        principal: &Principal,
        until: Option<Instant>,
        standing: Option<&Arc<dyn Standing>>,
    ) -> Option<Self> {
        if until.is_none() && standing.is_none() {
            return None;
        }
        let (principal, standing) = (principal.clone(), standing.cloned());
        Some(Self(Box::pin(async move {
            tokio::select! {
                () = over(until) => tracing::debug!("a stream ends with the token that opened it"),
                () = revoked(&principal, standing.as_deref()) => {
                    tracing::info!(%principal, "a stream ends: its caller may not call any more");
                }
            }
        })))
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Leash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leash")
    }
}

async fn over(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn revoked(principal: &Principal, standing: Option<&dyn Standing>) {
    let Some(standing) = standing else {
        return std::future::pending().await;
    };
    while standing.is_still(principal).await == StillThere::Yes {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
