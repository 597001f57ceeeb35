//! What calls find, in memory: live holds and how many have ended, by identity.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use holdpoint_core::{Found, HeldCall, Identity};
use holdpoint_store::StoreError;
use sqlx::SqliteConnection;

use super::rows::{HoldRow, identity, is_live, query_holds};
use crate::error::WriteError;
use crate::wal::{WalState, WalWatch};
use crate::writer::Mirror;

/// What finders see.
#[derive(Debug)]
pub(super) struct Shared {
    watch: WalWatch,
    published: RwLock<Published>,
}

#[derive(Debug, Default)]
struct Published {
    /// The state of the database that `index` belongs to.
    state: Option<WalState>,
    index: HashMap<Identity, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    live: Option<HeldCall>,
    ended: u64,
}

impl Shared {
    pub(super) fn new(watch: WalWatch) -> Self {
        Self { watch, published: RwLock::default() }
    }

    /// What is known of `identity`, if nobody committed since the index was brought up to date.
    pub(super) fn find(&self, identity: &Identity) -> Option<Found> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.watch.state()?;
        if published.state != Some(now) {
            return None;
        }
        Some(match published.index.get(identity) {
            Some(entry) => Found { live: entry.live.clone(), ended: entry.ended },
            None => Found { live: None, ended: 0 },
        })
    }
}

impl AsRef<WalWatch> for Shared {
    fn as_ref(&self) -> &WalWatch {
        &self.watch
    }
}

/// The writer's side of it.
#[derive(Debug)]
pub(super) struct IndexMirror {
    shared: Arc<Shared>,
    /// How far the published index has read.
    version: Option<i64>,
    /// Set when rows may have changed since.
    stale: bool,
    /// What the running batch will publish.
    update: Option<Update>,
}

#[derive(Debug)]
enum Update {
    /// Everything, anew.
    Whole { version: i64, index: HashMap<Identity, Entry> },
    /// Holds that changed, each as it is now.
    Changes { version: i64, holds: Vec<HeldCall> },
}

impl IndexMirror {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, version: None, stale: true, update: None }
    }

    /// Says that a row is not what it was.
    pub(super) fn changed(&mut self) {
        self.stale = true;
    }
}

/// The journal has no write frequent enough to be shared.
#[derive(Debug)]
pub(super) enum NoBulk {}

impl Mirror for IndexMirror {
    type Bulk = NoBulk;

    async fn write_bulk(&mut self, _: &mut SqliteConnection, _: Vec<NoBulk>) -> Result<(), WriteError> {
        Ok(())
    }

    async fn refresh(&mut self, _: &mut SqliteConnection) -> Result<(), WriteError> {
        self.stale = true;
        Ok(())
    }

    async fn settle(&mut self, connection: &mut SqliteConnection) -> Result<(), WriteError> {
        if self.stale {
            self.update = Some(match self.version {
                Some(version) => changes_since(connection, version).await?,
                None => whole(connection).await?,
            });
        }
        Ok(())
    }

    fn publish(&mut self, state: Option<WalState>) {
        let mut published = self.shared.published.write().unwrap_or_else(PoisonError::into_inner);
        published.state = state;
        match self.update.take() {
            Some(Update::Whole { version, index }) => {
                published.index = index;
                self.version = Some(version);
            }
            Some(Update::Changes { version, holds }) => {
                for hold in holds {
                    apply(&mut published.index, hold);
                }
                self.version = Some(version);
            }
            None => {}
        }
        self.stale = false;
    }

    /// The published index stays true of its state; the next batch reads what changed since.
    fn discard(&mut self) {
        self.update = None;
        self.stale = true;
    }
}

/// An ended hold never changes again, so it is seen once as ended, and counted once.
fn apply(index: &mut HashMap<Identity, Entry>, hold: HeldCall) {
    let entry = index.entry(hold.identity.clone()).or_default();
    if is_live(hold.state, hold.delivered) {
        entry.live = Some(hold);
    } else {
        entry.ended += 1;
        if entry.live.as_ref().is_some_and(|live| live.id == hold.id) {
            entry.live = None;
        }
    }
}

async fn changes_since(connection: &mut SqliteConnection, version: i64) -> Result<Update, WriteError> {
    let rows = query_holds!("WHERE version > $1 ORDER BY version", version).fetch_all(connection).await?;
    let latest = rows.iter().map(|row| row.version).max().unwrap_or(version);
    let holds = rows.into_iter().map(HeldCall::try_from).collect::<Result<_, StoreError>>()?;
    Ok(Update::Changes { version: latest, holds })
}

async fn whole(connection: &mut SqliteConnection) -> Result<Update, WriteError> {
    let mut index: HashMap<Identity, Entry> = HashMap::new();
    let counts = sqlx::query!(
        r#"SELECT principal, server, tool, digest, count(*) AS "ended!: i64" FROM holds
        WHERE state IN ('rejected', 'expired', 'cancelled', 'changes_requested', 'void') OR delivered = 1
        GROUP BY principal, server, tool, digest"#
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in counts {
        let identity = identity(0, row.principal, row.server, row.tool, row.digest)?;
        index.entry(identity).or_default().ended = u64::try_from(row.ended).unwrap_or_default();
    }
    let live: Vec<HoldRow> = query_holds!(
        "WHERE state IN ('pending', 'approved', 'dispatched', 'unknown') OR (state = 'done' AND delivered = 0)"
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in live {
        apply(&mut index, HeldCall::try_from(row)?);
    }
    let version = sqlx::query_scalar!(r#"SELECT coalesce(max(version), 0) AS "version!: i64" FROM holds"#)
        .fetch_one(connection)
        .await?;
    Ok(Update::Whole { version, index })
}
