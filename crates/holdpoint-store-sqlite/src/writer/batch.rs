//! What one commit is made of.

use std::collections::VecDeque;
use std::sync::Arc;

use holdpoint_store::StoreError;
use tokio::sync::oneshot;

use super::{Answer, Mirror, Transaction};

pub(super) enum Queued<M: Mirror> {
    Bulk {
        row: M::Bulk,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    Job(Box<dyn Job<M>>),
    /// With whoever waits for it.
    Look(Option<oneshot::Sender<()>>),
    Close(oneshot::Sender<()>),
}

/// Whether a failed job can leave something behind.
#[derive(Clone, Copy)]
pub(super) enum Size {
    OneStatement,
    Several,
}

/// A job whose answer's type is forgotten.
pub(super) trait Job<M>: Send {
    fn size(&self) -> Size;
    fn run<'t>(&'t mut self, transaction: &'t mut Transaction<M>) -> Answer<'t, ()>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

pub(super) struct Call<F, T> {
    pub(super) work: Option<F>,
    pub(super) value: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, StoreError>>,
    pub(super) size: Size,
}

impl<M, T, F> Job<M> for Call<F, T>
where
    M: Mirror,
    T: Send + 'static,
    F: for<'t> FnOnce(&'t mut Transaction<M>) -> Answer<'t, T> + Send,
{
    fn size(&self) -> Size {
        self.size
    }

    fn run<'t>(&'t mut self, transaction: &'t mut Transaction<M>) -> Answer<'t, ()> {
        Box::pin(async move {
            if let Some(work) = self.work.take() {
                self.value = Some(work(transaction).await?);
            }
            Ok(())
        })
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let answer = match (outcome, self.value) {
            (Ok(()), Some(value)) => Ok(value),
            (Ok(()), None) => Err(StoreError::Closed),
            (Err(error), _) => Err(error),
        };
        // A caller that went away does not mind.
        let _ = self.reply.send(answer);
    }
}

/// One commit's worth of jobs.
pub(super) struct Batch<M: Mirror> {
    pub(super) rows: Vec<M::Bulk>,
    pub(super) row_replies: Vec<oneshot::Sender<Result<(), StoreError>>>,
    pub(super) jobs: VecDeque<Box<dyn Job<M>>>,
    pub(super) done: Vec<Box<dyn Job<M>>>,
    pub(super) look: bool,
    /// Who waits for the look.
    pub(super) looking: Vec<oneshot::Sender<()>>,
    pub(super) close: Option<oneshot::Sender<()>>,
}

impl<M: Mirror> Batch<M> {
    pub(super) fn new() -> Self {
        Self {
            rows: Vec::new(),
            row_replies: Vec::new(),
            jobs: VecDeque::new(),
            done: Vec::new(),
            look: false,
            looking: Vec::new(),
            close: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.row_replies.len() + self.jobs.len()
    }

    pub(super) fn push(&mut self, queued: Queued<M>) {
        match queued {
            Queued::Bulk { row, reply } => {
                self.rows.push(row);
                self.row_replies.push(reply);
            }
            Queued::Job(job) => self.jobs.push_back(job),
            Queued::Look(waiting) => {
                self.look = true;
                self.looking.extend(waiting);
            }
            Queued::Close(reply) => self.close = Some(reply),
        }
    }

    /// The commit stands: every job that is still here did what it was to do.
    pub(super) fn committed(&mut self) {
        for reply in self.row_replies.drain(..) {
            let _ = reply.send(Ok(()));
        }
        for job in self.done.drain(..) {
            job.answer(Ok(()));
        }
    }

    /// Nothing of the batch stands.
    pub(super) fn failed(&mut self, doing: &'static str, error: sqlx::Error) {
        tracing::error!(error = %error, doing, jobs = self.len() + self.done.len(), "the database failed a batch");
        let source: Arc<dyn std::error::Error + Send + Sync> = Arc::new(error);
        let failure = || StoreError::Database { doing, source: Arc::clone(&source) };
        for reply in self.row_replies.drain(..) {
            let _ = reply.send(Err(failure()));
        }
        for job in self.done.drain(..).chain(self.jobs.drain(..)) {
            job.answer(Err(failure()));
        }
    }
}
