//! The thread that writes: whatever queued up while the last write was under way goes into the next one.

use super::{Answer, GATHER, Health, IfNot, Job};
use crate::{
    AppendError, SignedHead, WriteError,
    body::{Kind, Said},
    chain::{Chain, Draft, Sign},
    folder::Durable,
};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// Records of one write.
const BATCH_MAX: usize = 1024;
/// And their bytes.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Records that are kept while nothing can be written; those beyond are counted.
const KEPT_MAX: usize = 4096;

pub(super) struct Writer {
    chain: Chain,
    jobs: mpsc::Receiver<Job>,
    health: Arc<Health>,
    /// What has happened and could not be written yet.
    kept: VecDeque<Draft>,
    /// How many more there were.
    lost: u64,
}

/// What is written at once.
struct Batch {
    drafts: Vec<Draft>,
    /// Beside each draft.
    waiting: Vec<(IfNot, Option<Answer<()>>)>,
    signing: Vec<Answer<SignedHead>>,
    closing: Vec<oneshot::Sender<()>>,
    bytes: usize,
    durable: Durable,
    sign: Sign,
}

impl Writer {
    pub(super) fn new(chain: Chain, jobs: mpsc::Receiver<Job>, health: Arc<Health>) -> Self {
        Self { chain, jobs, health, kept: VecDeque::new(), lost: 0 }
    }

    /// Until the log is closed, or nobody has it any more.
    pub(super) fn run(mut self) {
        let mut is_closed = false;
        while let Some(job) = self.jobs.blocking_recv() {
            if !job.is_waited_for() {
                // Whoever sends what it waits for ends this.
                thread::park_timeout(GATHER);
            }
            let batch = self.batch(job);
            is_closed |= !batch.closing.is_empty();
            self.write(batch);
        }
        if !is_closed {
            self.write(Batch { sign: Sign::Now, ..Batch::empty() });
        }
    }

    fn batch(&mut self, first: Job) -> Batch {
        let mut batch = Batch::empty();
        let mut next = Some(first);
        while let Some(job) = next {
            if batch.push(job) {
                // What is in the queue by now is still written.
                self.jobs.close();
            }
            let is_full = batch.drafts.len() >= BATCH_MAX || batch.bytes >= BATCH_BYTES_MAX;
            next = if is_full { None } else { self.jobs.try_recv().ok() };
        }
        batch
    }

    fn write(&mut self, mut batch: Batch) {
        let behind = self.kept.len();
        let mut drafts: Vec<Draft> = self.kept.drain(..).collect();
        drafts.append(&mut batch.drafts);
        if self.lost > 0 {
            let members = Said { lost: Some(self.lost), ..Said::new(Kind::Gap) }.members();
            drafts.insert(behind, Draft { at: self.chain.clock.now(), members });
        }
        match self.chain.append(&drafts, batch.durable, batch.sign) {
            Ok(written) => {
                self.lost = 0;
                self.health.is_full.store(false, Ordering::Release);
                self.health.writes.fetch_add(1, Ordering::AcqRel);
                if self.health.has_failed.swap(false, Ordering::AcqRel) {
                    tracing::info!("the audit log can be written again");
                }
                batch.succeeded(written.head.as_ref());
                if written.unsigned > 0 {
                    self.health.unsigned.notify_one();
                }
            }
            Err(error) => {
                let gaps = usize::from(self.lost > 0);
                self.failed(drafts, (behind, gaps), batch, error);
            }
        }
    }

    fn failed(
        &mut self,
        drafts: Vec<Draft>,
        (behind, gaps): (usize, usize),
        batch: Batch,
        error: WriteError,
    ) {
        if !self.health.has_failed.swap(true, Ordering::AcqRel) {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%cause, hint = error.hint(), "{error}; calls are refused until it can be written");
        }
        let error = AppendError::Write(Arc::new(error));
        let Batch { waiting, signing, closing, .. } = batch;
        let mut drafts = drafts.into_iter();
        self.kept.extend(drafts.by_ref().take(behind));
        let fresh = drafts.skip(gaps).zip(waiting);
        for (draft, (if_not, answer)) in fresh {
            match if_not {
                IfNot::Kept if self.kept.len() < KEPT_MAX => self.kept.push_back(draft),
                IfNot::Kept => self.lost += 1,
                IfNot::Dropped => {}
            }
            tell(answer, Err(error.clone()));
        }
        for answer in signing {
            tell(Some(answer), Err(error.clone()));
        }
        closing.into_iter().for_each(closed);
    }
}

impl Batch {
    fn empty() -> Self {
        Self {
            drafts: Vec::new(),
            waiting: Vec::new(),
            signing: Vec::new(),
            closing: Vec::new(),
            bytes: 0,
            durable: Durable::WithTheNext,
            sign: Sign::WhenDue,
        }
    }

    /// `true`: it is the last.
    fn push(&mut self, job: Job) -> bool {
        match job {
            Job::Append { draft, if_not, answer } => {
                self.bytes += draft.members.len();
                if answer.is_some() {
                    self.durable = Durable::Yes;
                }
                self.drafts.push(draft);
                self.waiting.push((if_not, answer));
                false
            }
            Job::Sign(answer) => {
                self.sign = Sign::Now;
                self.signing.extend(answer);
                false
            }
            Job::Close(answer) => {
                self.sign = Sign::Now;
                self.closing.push(answer);
                true
            }
        }
    }

    fn succeeded(self, head: Option<&SignedHead>) {
        self.waiting.into_iter().for_each(|(_, answer)| tell(answer, Ok(())));
        for answer in self.signing {
            // Asked to sign, the chain has signed.
            tell(Some(answer), head.cloned().ok_or(AppendError::Closed));
        }
        self.closing.into_iter().for_each(closed);
    }
}

/// Whoever has left does not hear it.
fn tell<T>(answer: Option<Answer<T>>, outcome: Result<T, AppendError>) {
    if let Some(answer) = answer {
        let _left = answer.send(outcome);
    }
}

fn closed(answer: oneshot::Sender<()>) {
    let _left = answer.send(());
}
