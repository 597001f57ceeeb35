//! The one writer of a database.
//!
//! It takes whatever queued up while the last commit ran, does it in one transaction, and answers after the commit. So
//! the price of a durable commit is shared by all who wait for one, and a lone write pays it alone.
//!
//! - Within a batch each job sees what the jobs before it wrote, and nothing of other processes: the transaction holds
//!   the database's write lock from its start.
//! - A job that is refused is rolled back alone. A database that fails fails the whole batch.
//! - A caller that goes away does not take its job along.

mod batch;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use holdpoint_store::StoreError;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use self::batch::{Batch, Call, Job, Queued, Size};
use crate::error::{WriteError, database};
use crate::wal::{self, WalState, WalWatch, Written};

/// Jobs that may wait; past it the answer is [`StoreError::Overloaded`].
pub(crate) const QUEUE_MAX: usize = 4096;

/// Jobs of one commit.
const BATCH_MAX: usize = 256;

/// What a back end keeps in memory beside the database, and how it keeps it true.
pub(crate) trait Mirror: Send + 'static {
    /// A write so frequent that many of them share one statement.
    type Bulk: Send + fmt::Debug;

    /// Writes them all.
    fn write_bulk(
        &mut self,
        connection: &mut SqliteConnection,
        rows: Vec<Self::Bulk>,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Somebody else committed since the last batch: loads what may have changed. Within the batch's transaction.
    fn refresh(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Before the commit: loads what this batch's own writes changed, where that is simpler than tracking it.
    fn settle(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// After the commit: makes it visible. `state` names the committed state, unless it cannot be told.
    fn publish(&mut self, state: Option<WalState>);

    /// After a rollback: forgets what the batch did.
    fn discard(&mut self);
}

/// What a job works with.
pub(crate) struct Transaction<M> {
    pub(crate) connection: SqliteConnection,
    pub(crate) mirror: M,
}

pub(crate) type Answer<'t, T> = Pin<Box<dyn Future<Output = Result<T, WriteError>> + Send + 't>>;

/// The handle by which jobs reach the writer.
pub(crate) struct Writer<M: Mirror> {
    queue: mpsc::Sender<Queued<M>>,
}

impl<M: Mirror> Clone for Writer<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<M: Mirror> fmt::Debug for Writer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("waiting", &(QUEUE_MAX - self.queue.capacity()))
            .finish_non_exhaustive()
    }
}

impl<M: Mirror> Writer<M> {
    /// Starts the writer's task.
    pub(crate) fn start<W>(connection: SqliteConnection, watch: Arc<W>, mirror: M) -> Self
    where
        W: AsRef<WalWatch> + Send + Sync + 'static,
    {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let transaction = Transaction { connection, mirror };
        tokio::spawn(Task { jobs, transaction, watch, known: None, changes: None }.run());
        Self { queue }
    }

    /// Does a job of one statement: if that fails, it has changed nothing.
    pub(crate) async fn one<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Transaction<M>) -> Answer<'t, T> + Send + 'static,
    {
        self.submit(work, Size::OneStatement).await
    }

    /// Does a job of several statements, all or none of them.
    pub(crate) async fn many<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Transaction<M>) -> Answer<'t, T> + Send + 'static,
    {
        self.submit(work, Size::Several).await
    }

    /// Writes a row together with all others that wait.
    pub(crate) async fn bulk(&self, row: M::Bulk) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Queued::Bulk { row, reply })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits until everything queued before is committed, then closes the connection. Later jobs get
    /// [`StoreError::Closed`].
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.queue.send(Queued::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// Has the writer look for other processes' commits, when it comes to it.
    pub(crate) fn nudge(&self) {
        // When the queue is full the writer looks anyway, and when it is gone there is nobody to look.
        let _ = self.queue.try_send(Queued::Look(None));
    }

    /// The same, and waits until it has looked, for `within` at most. Once for all who wait.
    pub(crate) async fn look(&self, within: Duration) {
        let (looked, looking) = oneshot::channel();
        if self.queue.try_send(Queued::Look(Some(looked))).is_ok() {
            // Too late, or never: whoever asked looks in the file.
            let _ = tokio::time::timeout(within, looking).await;
        }
    }

    /// A handle that does not keep the writer alive.
    pub(crate) fn downgrade(&self) -> WeakWriter<M> {
        WeakWriter { queue: self.queue.downgrade() }
    }

    async fn submit<T, F>(&self, work: F, size: Size) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Transaction<M>) -> Answer<'t, T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Queued::Job(Box::new(Call { work: Some(work), value: None, reply, size })))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn enqueue(&self, job: Queued<M>) -> Result<(), StoreError> {
        self.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }
}

/// See [`Writer::downgrade`].
pub(crate) struct WeakWriter<M: Mirror> {
    queue: mpsc::WeakSender<Queued<M>>,
}

/// What became of a nudge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nudge {
    /// The writer will look, or is busy and will look anyway.
    Given,
    /// The writer is gone.
    Closed,
}

impl<M: Mirror> WeakWriter<M> {
    /// Has the writer look for other processes' commits.
    pub(crate) fn nudge(&self) -> Nudge {
        let Some(queue) = self.queue.upgrade() else { return Nudge::Closed };
        match queue.try_send(Queued::Look(None)) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Nudge::Given,
            Err(mpsc::error::TrySendError::Closed(_)) => Nudge::Closed,
        }
    }
}

struct Task<M: Mirror, W> {
    jobs: mpsc::Receiver<Queued<M>>,
    transaction: Transaction<M>,
    watch: Arc<W>,
    /// The state this process's last commit left, when that can be told.
    known: Option<WalState>,
    /// What SQLite counted on this connection up to the last commit.
    changes: Option<i64>,
}

/// Where a batch failed.
struct Failed {
    doing: &'static str,
    error: sqlx::Error,
}

impl<M: Mirror, W: AsRef<WalWatch>> Task<M, W> {
    async fn run(mut self) {
        loop {
            let Some(first) = self.jobs.recv().await else { break };
            let mut batch = Batch::new();
            batch.push(first);
            while batch.close.is_none() && batch.len() < BATCH_MAX {
                match self.jobs.try_recv() {
                    Ok(job) => batch.push(job),
                    Err(_) => break,
                }
            }
            if batch.len() > 0 {
                self.commit(&mut batch).await;
            } else if batch.look {
                self.look().await;
            }
            for looking in batch.looking.drain(..) {
                let _gone = looking.send(());
            }
            if let Some(closed) = batch.close {
                self.jobs.close();
                let _ = self.transaction.connection.close().await;
                let _ = closed.send(());
                return;
            }
        }
        let _ = self.transaction.connection.close().await;
    }

    async fn commit(&mut self, batch: &mut Batch<M>) {
        match self.attempt(batch).await {
            Ok(state) => {
                self.known = state;
                self.transaction.mirror.publish(state);
                batch.committed();
            }
            Err(Failed { doing, error }) => {
                // Some failures end the transaction by themselves; then there is nothing to roll back.
                let _ = sqlx::query("ROLLBACK").execute(&mut self.transaction.connection).await;
                self.known = None;
                self.changes = None;
                self.transaction.mirror.discard();
                batch.failed(doing, error);
            }
        }
    }

    /// Brings the mirror up to date without the write lock, so that looking never waits for another process.
    async fn look(&mut self) {
        let before = self.watch.as_ref().as_ref().state();
        if before.is_some() && before == self.known {
            return;
        }
        match self.read_what_changed().await {
            Ok(()) => {
                // What was read is one state of the database, and it has a name if no commit fell in between.
                let after = self.watch.as_ref().as_ref().state();
                self.known = if before == after { after } else { None };
                self.transaction.mirror.publish(self.known);
            }
            Err(Failed { doing, error }) => {
                tracing::error!(error = %error, doing, "the database could not be read");
                let _ = sqlx::query("ROLLBACK").execute(&mut self.transaction.connection).await;
                self.known = None;
                self.transaction.mirror.discard();
            }
        }
    }

    async fn read_what_changed(&mut self) -> Result<(), Failed> {
        self.execute("BEGIN").await?;
        let Transaction { connection, mirror } = &mut self.transaction;
        mirror.refresh(connection).await.map_err(fatal("load what changed"))?;
        mirror.settle(connection).await.map_err(fatal("load what changed"))?;
        self.execute("COMMIT").await
    }

    async fn attempt(&mut self, batch: &mut Batch<M>) -> Result<Option<WalState>, Failed> {
        let failed = |doing| move |error| Failed { doing, error };
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut self.transaction.connection)
            .await
            .map_err(failed("begin a transaction"))?;
        let before = self.watch.as_ref().as_ref().state();
        if before.is_none() || before != self.known {
            let Transaction { connection, mirror } = &mut self.transaction;
            mirror.refresh(connection).await.map_err(fatal("load what changed"))?;
        }
        if !batch.rows.is_empty() {
            let Transaction { connection, mirror } = &mut self.transaction;
            mirror.write_bulk(connection, std::mem::take(&mut batch.rows)).await.map_err(fatal("write"))?;
        }
        let mut rolled_back = false;
        while let Some(mut job) = batch.jobs.pop_front() {
            match self.run_job(job.as_mut()).await {
                Ok(Ok(())) => batch.done.push(job),
                Ok(Err(refused)) => {
                    rolled_back = true;
                    job.answer(Err(refused));
                }
                Err(failed) => {
                    batch.done.push(job);
                    return Err(failed);
                }
            }
        }
        let Transaction { connection, mirror } = &mut self.transaction;
        mirror.settle(connection).await.map_err(fatal("load what changed"))?;
        // One trip to the connection's thread for both; the count covers every statement up to the commit.
        let changes: i64 = sqlx::query_scalar("COMMIT; SELECT total_changes()")
            .fetch_one(connection)
            .await
            .map_err(failed("commit"))?;
        let written = match self.changes.replace(changes) {
            Some(earlier) if !rolled_back => {
                if changes == earlier {
                    Written::Nothing
                } else {
                    Written::OneCommit
                }
            }
            // After a rollback there is no telling whether the commit wrote a frame.
            Some(_) | None => Written::CannotTell,
        };
        Ok(wal::state_after_commit(before, written, self.watch.as_ref().as_ref().state()))
    }

    async fn run_job(&mut self, job: &mut dyn Job<M>) -> Result<Result<(), StoreError>, Failed> {
        let savepoint = matches!(job.size(), Size::Several);
        if savepoint {
            self.execute("SAVEPOINT job").await?;
        }
        match job.run(&mut self.transaction).await {
            Ok(()) => {
                if savepoint {
                    self.execute("RELEASE job").await?;
                }
                Ok(Ok(()))
            }
            Err(WriteError::Refused(error)) => {
                if savepoint {
                    self.execute("ROLLBACK TO job").await?;
                    self.execute("RELEASE job").await?;
                }
                Ok(Err(error))
            }
            Err(WriteError::Fatal(error)) => Err(Failed { doing: "write", error }),
        }
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), Failed> {
        match sqlx::query(sql).execute(&mut self.transaction.connection).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Failed { doing: "write", error }),
        }
    }
}

fn fatal(doing: &'static str) -> impl FnOnce(WriteError) -> Failed {
    move |error| match error {
        WriteError::Fatal(error) => Failed { doing, error },
        WriteError::Refused(error) => Failed { doing, error: sqlx::Error::Decode(Box::new(error)) },
    }
}

/// Reads outside the writer fail on their own.
pub(crate) fn reading(error: sqlx::Error) -> StoreError {
    database("read", error)
}
