//! What calls find, in memory: live holds and how many have ended, by identity; proposals to revise, by task.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use holdpoint_core::{Found, HeldCall, HoldState, Identity, TaskId};
use holdpoint_store::StoreError;
use sqlx::SqliteConnection;

use super::rows::{self, HoldRow, Proposer, identity, is_live, may_revise, query_holds};
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
    index: Index,
}

#[derive(Debug, Default)]
struct Index {
    calls: HashMap<Identity, Entry>,
    /// Each proposer's latest hold that ended `changes_requested`, while its thread has no later one.
    to_revise: HashMap<TaskId, Vec<HeldCall>>,
}

#[derive(Debug, Default)]
struct Entry {
    /// In a box: most have ended.
    live: Option<Box<HeldCall>>,
    ended: u64,
}

impl Shared {
    pub(super) fn new(watch: WalWatch) -> Self {
        Self { watch, published: RwLock::default() }
    }

    /// What is known of `identity`, if nobody committed since the index was brought up to date.
    pub(super) fn find(&self, identity: &Identity, task: &TaskId) -> Option<Found> {
        let published = self.published.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.watch.state()?;
        if published.state != Some(now) {
            return None;
        }
        let (live, ended) = match published.index.calls.get(identity) {
            Some(entry) => (entry.live.clone(), entry.ended),
            None => (None, 0),
        };
        Some(Found { live, ended, revises: published.index.to_revise(identity, task).cloned().map(Box::new) })
    }
}

impl AsRef<WalWatch> for Shared {
    fn as_ref(&self) -> &WalWatch {
        &self.watch
    }
}

impl Index {
    fn to_revise(&self, identity: &Identity, task: &TaskId) -> Option<&HeldCall> {
        let of_task = self.to_revise.get(task)?;
        let proposer = Proposer::new(identity, task);
        of_task.iter().find(|hold| Proposer::of(hold) == proposer && may_revise(hold, identity.digest))
    }

    fn apply(&mut self, changes: Changes) {
        for hold in changes.holds {
            self.supersede(&hold);
            self.put(hold);
        }
        for (identity, ended) in changes.recounted {
            self.calls.entry(identity).or_default().ended = ended;
        }
        for (proposer, hold) in changes.to_revise {
            let of_task = self.to_revise.entry(proposer.task.clone()).or_default();
            of_task.retain(|earlier| Proposer::of(earlier) != proposer);
            of_task.extend(hold);
        }
    }

    /// An ended hold is counted when it is first seen ended. What changes one after that is followed by a recount.
    fn put(&mut self, hold: HeldCall) {
        let entry = self.calls.entry(hold.identity.clone()).or_default();
        if is_live(hold.state, hold.delivered) {
            entry.live = Some(Box::new(hold));
        } else {
            entry.ended += 1;
            if entry.live.as_ref().is_some_and(|live| live.id == hold.id) {
                entry.live = None;
            }
        }
    }

    /// The thread of an earlier proposal has a later one.
    fn supersede(&mut self, by: &HeldCall) {
        if let Some(of_task) = self.to_revise.get_mut(&by.hold.task) {
            of_task.retain(|earlier| {
                earlier.hold.thread != by.hold.thread || earlier.hold.revision >= by.hold.revision
            });
            if of_task.is_empty() {
                self.to_revise.remove(&by.hold.task);
            }
        }
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
    Whole { version: i64, index: Index },
    /// What is not as it was.
    Changes { version: i64, changes: Changes },
}

#[derive(Debug, Default)]
struct Changes {
    /// Holds that changed, each as it is now, in the order in which they changed.
    holds: Vec<HeldCall>,
    /// Identities whose ended holds cannot be counted one by one.
    recounted: Vec<(Identity, u64)>,
    /// Proposers that a reviewer asked for another proposal.
    to_revise: Vec<(Proposer, Option<HeldCall>)>,
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
            Some(Update::Changes { version, changes }) => {
                published.index.apply(changes);
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

async fn changes_since(connection: &mut SqliteConnection, version: i64) -> Result<Update, WriteError> {
    let rows =
        query_holds!("WHERE version > $1 ORDER BY version", version).fetch_all(&mut *connection).await?;
    let latest = rows.iter().map(|row| row.version).max().unwrap_or(version);
    let holds = rows.into_iter().map(HeldCall::try_from).collect::<Result<Vec<_>, StoreError>>()?;
    let mut changes = Changes::default();
    let asked_again = holds.iter().filter(|hold| hold.state == HoldState::ChangesRequested);
    for proposer in asked_again.map(Proposer::of).collect::<HashSet<_>>() {
        let hold = rows::to_revise(connection, &proposer).await?;
        changes.to_revise.push((proposer, hold));
    }
    // Whether these were seen ended before they were taken up, and counted, is not known any more.
    let taken_up = holds.iter().filter(|hold| hold.taken_up_by.is_some());
    for identity in taken_up.map(|hold| hold.identity.clone()).collect::<HashSet<_>>() {
        let ended = rows::ended_of(connection, &identity).await?;
        changes.recounted.push((identity, ended));
    }
    changes.holds = holds;
    Ok(Update::Changes { version: latest, changes })
}

async fn whole(connection: &mut SqliteConnection) -> Result<Update, WriteError> {
    let mut index = Index::default();
    let counts = sqlx::query!(
        r#"SELECT principal, server, tool, digest, count(*) AS "ended!: i64" FROM holds
        WHERE state IN ('rejected', 'expired', 'cancelled', 'changes_requested', 'void') OR delivered = 1
        GROUP BY principal, server, tool, digest"#
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in counts {
        let identity = identity("holds", 0, row.principal, row.server, row.tool, row.digest)?;
        index.calls.entry(identity).or_default().ended = u64::try_from(row.ended).unwrap_or_default();
    }
    let live: Vec<HoldRow> = query_holds!(
        "WHERE state IN ('pending', 'approved', 'dispatched', 'unknown') OR (state = 'done' AND delivered = 0)"
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in live {
        index.put(HeldCall::try_from(row)?);
    }
    let to_revise: Vec<HoldRow> = query_holds!(
        "WHERE id IN (SELECT max(id) FROM holds WHERE state = 'changes_requested'
                GROUP BY task_id, principal, server, tool)
            AND NOT EXISTS (SELECT 1 FROM holds AS later WHERE later.task_id = holds.task_id
                AND later.thread_id = holds.thread_id AND later.revision > holds.revision)"
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in to_revise {
        let hold = HeldCall::try_from(row)?;
        index.to_revise.entry(hold.hold.task.clone()).or_default().push(hold);
    }
    let version = sqlx::query_scalar!(r#"SELECT coalesce(max(version), 0) AS "version!: i64" FROM holds"#)
        .fetch_one(connection)
        .await?;
    Ok(Update::Whole { version, index })
}
