//! What of Gate's state is kept in memory: agents by key, and the declaration in force.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use holdpoint_api::SecretHash;
use holdpoint_store::{Agent, AppliedDeclaration, Bell, Change};
use sqlx::SqliteConnection;

use super::log::{LogInsert, insert_many};
use super::rows::{self, AgentRow, DeclarationRow};
use crate::error::WriteError;
use crate::wal::{WalState, WalWatch};
use crate::writer::Mirror;

/// The directory as it was in one state of the database.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    by_key: HashMap<[u8; 32], Arc<Agent>>,
    declaration: Option<Arc<AppliedDeclaration>>,
}

impl Snapshot {
    pub(super) fn agent(&self, key_hash: &SecretHash) -> Option<Arc<Agent>> {
        self.by_key.get(key_hash.as_bytes()).cloned()
    }

    pub(super) fn declaration(&self) -> Option<Arc<AppliedDeclaration>> {
        self.declaration.clone()
    }
}

/// What readers see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bell: Bell,
    pub(super) watch: WalWatch,
    published: RwLock<Published>,
}

#[derive(Debug, Default)]
struct Published {
    /// The state the snapshot belongs to.
    state: Option<WalState>,
    snapshot: Arc<Snapshot>,
}

impl Shared {
    pub(super) fn new(watch: WalWatch) -> Self {
        Self { bell: Bell::default(), watch, published: RwLock::default() }
    }

    /// The snapshot, if nothing was committed since it was taken.
    pub(super) fn current(&self) -> Option<Arc<Snapshot>> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.watch.state()?;
        (published.state == Some(now)).then(|| Arc::clone(&published.snapshot))
    }

    pub(super) fn is_current(&self) -> bool {
        self.current().is_some()
    }
}

/// The writer's side of it.
#[derive(Debug)]
pub(super) struct Directory {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    /// Set by jobs that change agents or the declaration.
    stale: bool,
    rings: Vec<Change>,
}

impl Directory {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, snapshot: Arc::default(), stale: true, rings: Vec::new() }
    }

    pub(super) fn ring(&mut self, change: Change) {
        self.rings.push(change);
    }

    /// Says that agents or the declaration are not what they were.
    pub(super) fn setup_changed(&mut self) {
        self.stale = true;
        self.rings.push(Change::Setup);
    }

    async fn load(&mut self, connection: &mut SqliteConnection) -> Result<(), WriteError> {
        let mut by_key = HashMap::new();
        for row in rows::agents(&mut *connection).await? {
            let AgentRow { key_hash, agent } = row;
            by_key.insert(*key_hash.as_bytes(), Arc::new(agent));
        }
        let declaration = match rows::latest_declaration(connection).await? {
            Some(row)
                if self.snapshot.declaration.as_ref().is_some_and(|known| known.revision == row.revision) =>
            {
                self.snapshot.declaration.clone()
            }
            Some(row) => Some(Arc::new(AppliedDeclaration::try_from(row)?)),
            None => None,
        };
        self.snapshot = Arc::new(Snapshot { by_key, declaration });
        self.stale = false;
        Ok(())
    }
}

impl Mirror for Directory {
    type Bulk = LogInsert;

    async fn write_bulk(
        &mut self,
        connection: &mut SqliteConnection,
        rows: Vec<LogInsert>,
    ) -> Result<(), WriteError> {
        insert_many(connection, rows).await
    }

    async fn refresh(&mut self, connection: &mut SqliteConnection) -> Result<(), WriteError> {
        self.rings.push(Change::Everything);
        self.load(connection).await
    }

    async fn settle(&mut self, connection: &mut SqliteConnection) -> Result<(), WriteError> {
        if self.stale { self.load(connection).await } else { Ok(()) }
    }

    fn publish(&mut self, state: Option<WalState>) {
        {
            let mut published = self.shared.published.write().unwrap_or_else(PoisonError::into_inner);
            *published = Published { state, snapshot: Arc::clone(&self.snapshot) };
        }
        for change in self.rings.drain(..) {
            self.shared.bell.ring(change);
        }
    }

    fn discard(&mut self) {
        self.stale = true;
        self.rings.clear();
    }
}

impl TryFrom<DeclarationRow> for AppliedDeclaration {
    type Error = holdpoint_store::StoreError;

    fn try_from(row: DeclarationRow) -> Result<Self, Self::Error> {
        let declaration = serde_json::from_str(&row.declaration)
            .map_err(|_| rows::impossible("declarations", &row.revision, "this is no declaration"))?;
        Ok(Self {
            revision: row.revision,
            declaration: Arc::new(declaration),
            by: row.applied_by,
            at: rows::instant("declarations", &row.revision, row.applied_at)?,
        })
    }
}
