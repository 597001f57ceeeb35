use crate::{
    BridgeCaller, BridgeParts, http,
    inner::{Becomes, Inner, Row, causes},
    reply::Reply,
};
use ::http::{Method, Request};
use bytes::Bytes;
use holdpoint_core::{JournalError, Liveness, Moved, OperationId, OperationState};
use http_body::Body;
use std::{collections::HashSet, sync::Arc, time::Duration};

/// How often to look for what other processes left.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How often operations are forgotten that nobody can ask about any more.
const LOOKS_PER_FORGETTING: u32 = 40;
pub(crate) const FORGOTTEN_MAX: usize = 100_000;
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
    pub fn serve<B>(&self, request: Request<B>, caller: BridgeCaller) -> impl Future<Output = Reply>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        http::serve(&self.0, request, caller)
    }

    /// Goes on with what processes left that have ended, until [`Self::stop`].
    pub async fn run(&self) {
        let mut looks: u32 = 0;
        let mut told_of = HashSet::new();
        loop {
            let forgets = looks.is_multiple_of(LOOKS_PER_FORGETTING);
            if forgets {
                told_of.clear();
            }
            if let Err(error) = self.look(forgets, &mut told_of).await {
                tracing::error!(%error, cause = causes(&error), "the journal failed");
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

    /// `told_of`: what the log says already that it cannot be taken over.
    async fn look(&self, forgets: bool, told_of: &mut HashSet<OperationId>) -> Result<(), JournalError> {
        let Inner { parts, .. } = &*self.0;
        if forgets {
            parts.journal.forget_operations(self.0.now(), FORGOTTEN_MAX).await?;
        }
        for owner in parts.journal.operation_owners().await? {
            let is_gone = owner != parts.owner && parts.journal.liveness(&owner).await? == Liveness::Gone;
            if !is_gone {
                continue;
            }
            for id in parts.journal.operations_of(&owner, TAKEN_OVER_MAX).await? {
                let Err(error) = self.take_over(&id).await else {
                    continue;
                };
                // Nothing is guessed: it stays as it is until it expires, whoever asks is told to come back, and the others are
                // taken over all the same.
                if told_of.insert(id.clone()) {
                    let (owner, cause) = (&*owner.0, causes(&error));
                    tracing::error!(%id, owner, cause, "what a process left cannot be gone on with");
                }
            }
        }
        Ok(())
    }

    async fn take_over(&self, id: &OperationId) -> Result<(), JournalError> {
        let Some(row) = self.0.find(id).await? else {
            return Ok(());
        };
        let principal = row.operation.principal.clone();
        // The driver of what runs finds out what came of it, and takes nothing over before.
        if row.state() == OperationState::Running || self.own(row).await? == Moved::Yes {
            self.0.drive(&principal, id, true);
        }
        Ok(())
    }

    /// Makes a row this process's, unless somebody else changes it at the same time.
    async fn own(&self, row: Row) -> Result<Moved, JournalError> {
        let becomes = Becomes { owner: Some(self.0.parts.owner.clone()), ..Inner::becomes(&row) };
        self.0.write(&row, becomes).await
    }
}
