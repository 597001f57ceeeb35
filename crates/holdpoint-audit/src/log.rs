//! The log as the rest of the process sees it: a queue, and a thread that writes.

mod writer;

use crate::{
    AppendError, AuditKey, OpenError, RECORD_BYTES_MAX, SignedHead,
    body::{Kind, Resolver, Said},
    chain::{Chain, Draft},
    folder::Folder,
    line::is_plain,
};
use holdpoint_core::{Clock, Owner, Principal};
use jiff::Timestamp;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::sync::{Notify, mpsc, oneshot};
use writer::Writer;

/// Records that may wait to be written.
const QUEUE_MAX: usize = 4096;
/// So long a record waits for a place among them, and is then answered [`AppendError::Full`]. A disk that pauses under load
/// delays calls; one that has stopped refuses them.
const PLACE_WITHIN: Duration = Duration::from_secs(5);
/// So long records that nobody waits for gather before they are written. Written one by one, they cost a fifth of the time
/// that a call takes here.
const GATHER: Duration = Duration::from_millis(4);
const ROTATE_BYTES: u64 = 64 * 1024 * 1024;
const SIGN_EVERY: u32 = 256;
const QUIET: Duration = Duration::from_secs(10);

/// What became of a caller's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It was made.
    Created,
    /// It counts no more.
    Revoked,
}

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// This run of this process: 1 to 128 letters, digits, `.`, `_`, `-`.
    pub owner: Owner,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// A file that is larger is retired before the next record.
    pub rotate_bytes: u64,
    /// After so many records of this process there is a checkpoint.
    pub sign_every: u32,
    /// So long after the last record there is one, too.
    pub quiet: Duration,
}

impl Options {
    /// Files of 64 MiB; a checkpoint after 256 records, or 10 s after the last one.
    #[must_use]
    pub fn new(owner: Owner, clock: Arc<dyn Clock>) -> Self {
        Self { owner, clock, rotate_bytes: ROTATE_BYTES, sign_every: SIGN_EVERY, quiet: QUIET }
    }
}

/// An open log. Its clones are the same log; it is to be closed once, at the end.
///
/// As a [`holdpoint_core::Recorder`] it returns once the record is on the disk for a hold, a decision, a dispatch, an outcome
/// and a resolution. The other steps are queued in order and written within milliseconds, and are on the disk with the next
/// of those, or with the next checkpoint.
#[derive(Clone, Debug)]
pub struct AuditLog {
    queue: mpsc::Sender<Job>,
    /// The thread that writes.
    writer: thread::Thread,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
}

/// What the writer tells everybody.
#[derive(Debug, Default)]
struct Health {
    has_failed: AtomicBool,
    /// A record has waited for its place in vain, since the last write.
    is_full: AtomicBool,
    /// Counts writes, so that one can tell whether there was another.
    writes: AtomicU64,
    unsigned: Notify,
}

/// What becomes of a record that could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfNot {
    /// It is about something that does not happen then.
    Dropped,
    /// It is about something that has happened: it is written later.
    Kept,
}

/// What is asked of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// In its place in the log, and on the disk soon.
    Queued,
    /// On the disk; if that fails, it is written as soon as that is possible, since it has happened.
    OnDiskOrLater,
    /// On the disk; if that fails, what it is about does not happen.
    OnDiskOrNever,
}

/// Who waits for it.
type Answer<T> = oneshot::Sender<Result<T, AppendError>>;

#[derive(Debug)]
enum Job {
    Append { draft: Draft, if_not: IfNot, answer: Option<Answer<()>> },
    Sign(Option<Answer<SignedHead>>),
    Close(oneshot::Sender<()>),
}

impl Job {
    fn is_waited_for(&self) -> bool {
        match self {
            Self::Append { answer, .. } => answer.is_some(),
            Self::Sign(answer) => answer.is_some(),
            Self::Close(_) => true,
        }
    }
}

impl AuditLog {
    /// Opens the log in `folder`, or begins one; what a crash left of a line is moved aside.
    pub async fn open(folder: &Path, key: AuditKey, options: Options) -> Result<Self, OpenError> {
        let Options { owner, clock, rotate_bytes, sign_every, quiet } = options;
        if !is_plain(&owner.0) {
            return Err(OpenError::Owner(owner.0.to_string()));
        }
        let limits = (rotate_bytes, sign_every);
        let mut chain = Chain::new(Folder::new(folder), key, Arc::clone(&clock), owner.0.clone(), limits);
        let opened = tokio::task::spawn_blocking(move || chain.open().map(|()| chain)).await;
        let chain = opened.map_err(|error| OpenError::Thread(std::io::Error::other(error)))??;
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let health = Arc::new(Health::default());
        let writer = Writer::new(chain, jobs, Arc::clone(&health));
        let thread = thread::Builder::new().name("audit-log".to_owned()).spawn(move || writer.run());
        let writer = thread.map_err(OpenError::Thread)?.thread().clone();
        tokio::spawn(sign_when_quiet(queue.downgrade(), Arc::clone(&health), Arc::clone(&clock), quiet));
        Ok(Self { queue, writer, health, clock })
    }

    /// Signs what is there, unless it is signed already, and says how far it goes: to be kept where nobody who can write to
    /// the folder can.
    pub async fn checkpoint(&self) -> Result<SignedHead, AppendError> {
        let (answer, signed) = oneshot::channel();
        self.send(Job::Sign(Some(answer))).await?;
        signed.await.map_err(|_| AppendError::Closed)?
    }

    /// Puts on record that a person gave somebody a key, or took it away. On the disk when this returns.
    ///
    /// # Errors
    /// It is not on record.
    pub async fn key_changed(
        &self,
        at: Timestamp,
        change: KeyChange,
        principal: &Principal,
        person: &str,
    ) -> Result<(), AppendError> {
        let kind = match change {
            KeyChange::Created => Kind::CallerCreated,
            KeyChange::Revoked => Kind::CallerRevoked,
        };
        let said = Said {
            principal: Some(principal.as_str().into()),
            by: Some(Resolver::Person),
            name: Some(person.into()),
            ..Said::new(kind)
        };
        self.append(at, said.members(), Demand::OnDiskOrNever).await
    }

    /// Writes and signs what is left. After that every record is refused.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.queue.send(Job::Close(answer)).await.is_ok() {
            self.writer.unpark();
            let _closed_either_way = closed.await;
        }
    }

    /// `members`: see [`crate::body::Body::members`].
    pub(crate) async fn append(
        &self,
        at: Timestamp,
        members: String,
        demand: Demand,
    ) -> Result<(), AppendError> {
        if members.is_empty() || members.len() > RECORD_BYTES_MAX {
            return Err(AppendError::TooLong(members.len()));
        }
        let draft = Draft { at, members };
        // Whoever would not wait for a log that works hears that this one does not.
        let waits = demand != Demand::Queued || self.health.has_failed.load(Ordering::Acquire);
        let if_not = match demand {
            Demand::Queued | Demand::OnDiskOrLater => IfNot::Kept,
            Demand::OnDiskOrNever => IfNot::Dropped,
        };
        if !waits {
            return self.send(Job::Append { draft, if_not, answer: None }).await;
        }
        let (answer, written) = oneshot::channel();
        self.send(Job::Append { draft, if_not, answer: Some(answer) }).await?;
        written.await.map_err(|_| AppendError::Closed)?
    }

    async fn send(&self, job: Job) -> Result<(), AppendError> {
        let is_waited_for = job.is_waited_for();
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(AppendError::Closed),
            Err(mpsc::error::TrySendError::Full(job)) => tokio::select! {
                place = self.queue.reserve() => place.map_err(|_| AppendError::Closed)?.send(job),
                () = self.clock.sleep(PLACE_WITHIN) => return Err(self.full()),
            },
        }
        if is_waited_for {
            self.writer.unpark();
        }
        Ok(())
    }

    fn full(&self) -> AppendError {
        if !self.health.is_full.swap(true, Ordering::AcqRel) {
            tracing::error!("{}; calls are refused until it is faster", AppendError::Full);
        }
        AppendError::Full
    }
}

/// Has a checkpoint written when nothing was for a while.
async fn sign_when_quiet(
    queue: mpsc::WeakSender<Job>,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
    quiet: Duration,
) {
    loop {
        health.unsigned.notified().await;
        loop {
            let seen = health.writes.load(Ordering::Acquire);
            clock.sleep(quiet).await;
            if seen == health.writes.load(Ordering::Acquire) {
                break;
            }
        }
        let Some(queue) = queue.upgrade() else {
            return;
        };
        match queue.try_send(Job::Sign(None)) {
            // Full: there is something to write, so this comes round again.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}
