use crate::{
    BridgeCaller, BridgeParts, http,
    inner::{Becomes, Inner, Row},
    reply::Reply,
};
use ::http::{Method, Request};
use bytes::Bytes;
use holdpoint_core::{JournalError, Liveness, Moved, OperationState, Owner};
use http_body::Body;
use std::{sync::Arc, time::Duration};

/// How often to look for what other processes left.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How often operations are forgotten that nobody can ask about any more.
const LOOKS_PER_FORGETTING: u32 = 40;
const FORGOTTEN_MAX: usize = 100_000;
/// Taken over at one look.
const TAKEN_OVER_MAX: usize = 10_000;

/// The bridge. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bridge(Arc<Inner>);

impl Bridge {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: BridgeParts) -> Self {
        Self(Arc::new(Inner::new(parts)))
    }

    /// Whether a request for `path` is the bridge's to answer.
    #[must_use]
    pub fn serves(&self, path: &str) -> bool {
        http::serves(path, self.0.parts.agent.is_some())
    }

    /// What anybody may read who reaches the bridge; `None`: the rest.
    #[must_use]
    pub fn document(&self, method: &Method, path: &str) -> Option<Reply> {
        http::document(&self.0, method, path)
    }

    /// Answers a request of `caller`.
    pub async fn serve<B>(&self, request: Request<B>, caller: BridgeCaller) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        http::serve(&self.0, request, caller).await
    }

    /// Goes on with what processes left that have ended, until [`Self::stop`].
    pub async fn run(&self) {
        let mut looks: u32 = 0;
        loop {
            if let Err(error) = self.look(looks.is_multiple_of(LOOKS_PER_FORGETTING)).await {
                tracing::error!(%error, "the journal failed");
            }
            looks = looks.wrapping_add(1);
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = self.0.parts.clock.sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Takes nothing over any more, and delivers nothing.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Waits until nothing is under way any more. After the gate was closed, that is as long as the longest call to a target.
    pub async fn drain(&self) {
        self.0.running.close();
        self.0.running.wait().await;
    }

    async fn look(&self, forgets: bool) -> Result<(), JournalError> {
        let Inner { parts, .. } = &*self.0;
        if forgets {
            parts.journal.forget_operations(self.0.now(), FORGOTTEN_MAX).await?;
        }
        for owner in parts.journal.operation_owners().await? {
            let is_gone = owner != parts.owner && parts.journal.liveness(&owner).await? == Liveness::Gone;
            if is_gone {
                self.take_over(&owner).await?;
            }
        }
        Ok(())
    }

    async fn take_over(&self, owner: &Owner) -> Result<(), JournalError> {
        for operation in self.0.parts.journal.operations_of(owner, TAKEN_OVER_MAX).await? {
            let id = operation.id.clone();
            let Some(row) = self.0.row(operation) else {
                continue;
            };
            if row.state() == OperationState::Running {
                // Its driver finds out what came of it, and takes nothing over before.
                self.0.drive(&id, true);
                continue;
            }
            match self.own(row).await? {
                Moved::Yes => drop(self.0.drive(&id, true)),
                Moved::No => {}
            }
        }
        Ok(())
    }

    /// Makes a row this process's, unless somebody else changes it at the same time.
    async fn own(&self, row: Row) -> Result<Moved, JournalError> {
        let becomes = Becomes { owner: Some(self.0.parts.owner.clone()), ..Inner::becomes(&row) };
        self.0.write(&row, becomes).await
    }
}
