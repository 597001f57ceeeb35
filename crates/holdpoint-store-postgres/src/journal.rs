//! The middleware's journal.

mod effects;
mod keys;
mod operations;
mod rows;
mod steps;
mod tickets;

use std::sync::Arc;

use async_trait::async_trait;
use holdpoint_core::{
    EffectId, EffectKey, EffectRun, Found, HeldCall, HoldId, Identity, Journal, JournalError, Liveness,
    Moved, NewEffect, NewHold, Opened, Owner, ServerName, Settled, Step, Taken, TaskId,
};
use jiff::Timestamp;
use sqlx::migrate::Migrator;
use tokio::time::timeout;

use crate::OpenError;
use crate::error::Failure;
use crate::lease::Lease;
use crate::server::{ANSWER_WITHIN, Server};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/journal");

/// The journal in one PostgreSQL database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PostgresJournal {
    server: Server,
    lease: Arc<Lease>,
}

impl PostgresJournal {
    /// Opens, creates or migrates the journal in the schema `holdpoint` of the database at `url`, for the process `owner`.
    /// Its sessions live on the running tokio runtime.
    pub async fn open(url: &str, owner: Owner) -> Result<Self, OpenError> {
        let server = Server::open(url, &MIGRATIONS).await?;
        let lease = Arc::new(Lease::take(&server, owner).await?);
        Ok(Self { server, lease })
    }

    /// The key that all processes of this journal call `name`: `proposed`, if nobody asked for it before.
    pub async fn key(&self, name: &str, proposed: [u8; 32]) -> Result<[u8; 32], JournalError> {
        let mut session = self.server.session().await?;
        let key = timeout(ANSWER_WITHIN, keys::key(session.connection(), name, proposed)).await;
        Ok(session.heard(key)?)
    }

    /// Waits until every operation has its answer, then ends all sessions. From then on the owner is gone.
    pub async fn close(&self) {
        self.server.close().await;
        self.lease.end().await;
    }
}

#[async_trait]
impl Journal for PostgresJournal {
    async fn find(&self, identity: &Identity, task: &TaskId) -> Result<Found, JournalError> {
        let mut session = self.server.session().await?;
        let found = timeout(ANSWER_WITHIN, rows::find(session.connection(), identity, task)).await;
        Ok(session.heard(found)?)
    }

    async fn open(&self, new: NewHold) -> Result<Opened, JournalError> {
        let mut session = self.server.session().await?;
        let opened = timeout(ANSWER_WITHIN, steps::open(session.connection(), new)).await;
        Ok(session.heard(opened)?)
    }

    async fn advance(&self, id: HoldId, step: Step, at: Timestamp) -> Result<Moved, JournalError> {
        let mut session = self.server.session().await?;
        let moved = timeout(ANSWER_WITHIN, steps::advance(session.connection(), id, step, at)).await;
        Ok(session.heard(moved)?)
    }

    async fn get(&self, id: HoldId) -> Result<Option<HeldCall>, JournalError> {
        let mut session = self.server.session().await?;
        let hold = timeout(ANSWER_WITHIN, rows::get(session.connection(), id)).await;
        Ok(session.heard(hold)?)
    }

    async fn live(&self, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        let mut session = self.server.session().await?;
        let holds = timeout(ANSWER_WITHIN, rows::live(session.connection(), limit)).await;
        Ok(session.heard(holds)?)
    }

    async fn withdrawn(&self, since: Timestamp, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        let mut session = self.server.session().await?;
        let holds = timeout(ANSWER_WITHIN, rows::withdrawn(session.connection(), since, limit)).await;
        Ok(session.heard(holds)?)
    }

    async fn effect(&self, server: &ServerName, key: &EffectKey) -> Result<Option<EffectRun>, JournalError> {
        let mut session = self.server.session().await?;
        let run = timeout(ANSWER_WITHIN, effects::had_by(session.connection(), server, key)).await;
        Ok(session.heard(run)?)
    }

    async fn take_effect(&self, new: NewEffect) -> Result<Taken, JournalError> {
        let mut session = self.server.session().await?;
        let taken = timeout(ANSWER_WITHIN, effects::take(session.connection(), new)).await;
        Ok(session.heard(taken)?)
    }

    async fn settle(&self, id: EffectId, settled: Settled, at: Timestamp) -> Result<Moved, JournalError> {
        let mut session = self.server.session().await?;
        let moved = timeout(ANSWER_WITHIN, effects::settle(session.connection(), id, settled, at)).await;
        Ok(session.heard(moved)?)
    }

    async fn effects(&self, limit: usize) -> Result<Vec<EffectRun>, JournalError> {
        let mut session = self.server.session().await?;
        let runs = timeout(ANSWER_WITHIN, effects::all(session.connection(), limit)).await;
        Ok(session.heard(runs)?)
    }

    async fn liveness(&self, owner: &Owner) -> Result<Liveness, JournalError> {
        let mut session = self.server.session().await?;
        let liveness = timeout(ANSWER_WITHIN, self.lease.liveness(session.connection(), owner)).await;
        Ok(session.heard(liveness)?)
    }
}

impl From<Failure> for JournalError {
    fn from(failure: Failure) -> Self {
        Self(Box::new(failure))
    }
}
