//! The queue to Gate: bounded, in order, never in a call's way.

use super::line::Line;
use crate::{ClientError, GateClient};
use holdpoint_api::{EventBody, TaskId};
use serde_json::{json, value::to_raw_value};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
    time::Instant,
};

/// Events that wait to be posted. Each is about a kilobyte.
const QUEUE_MAX: usize = 1024;
/// How often losses are told in the log, at most.
const SAID_AGAIN_AFTER: Duration = Duration::from_mins(1);
/// The longest `Retry-After` that an event waits for; others wait behind it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Post {
    queue: Mutex<Option<mpsc::Sender<Line>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    queued: AtomicU64,
    dropped: AtomicU64,
    /// Of those dropped, the ones that no event has told of.
    untold: AtomicU64,
    /// When it was last said aloud.
    said: Mutex<Option<Instant>>,
}

impl Post {
    pub(super) fn start(client: GateClient, pauses: [Duration; 2]) -> Self {
        let (sender, lines) = mpsc::channel(QUEUE_MAX);
        let counts = Arc::<Counts>::default();
        let task = tokio::spawn(run(client, lines, Arc::clone(&counts), pauses));
        Self { queue: Mutex::new(Some(sender)), task: Mutex::new(Some(task)), counts }
    }

    /// Queues a line, or drops it.
    pub(super) fn add(&self, line: Line) {
        let why = match lock(&self.queue).as_ref().map(mpsc::Sender::try_reserve) {
            Some(Ok(room)) => {
                // Before it is queued: the task may have posted it before it was counted.
                self.counts.queued.fetch_add(1, Ordering::Relaxed);
                room.send(line);
                return;
            }
            Some(Err(TrySendError::Full(()) | TrySendError::Closed(()))) => "too many wait",
            None => "the timeline is closed",
        };
        self.counts.drop_events(1, 0, why);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Posts what is queued, for `grace` at most. How many events are left over.
    pub(super) async fn close(&self, grace: Duration) -> u64 {
        drop(lock(&self.queue).take());
        let task = lock(&self.task).take();
        let Some(mut task) = task else {
            return 0;
        };
        if tokio::time::timeout(grace, &mut task).await.is_ok() {
            return 0;
        }
        task.abort();
        let left = self.counts.queued.swap(0, Ordering::Relaxed);
        self.counts.drop_events(left, 0, "the time to post them is over");
        left
    }
}

impl Counts {
    /// Loudly only for the first of several in a row, and not again for a while: a burst drops thousands, and each event that
    /// gets through ends a row. `untold` had been dropped before, and would have been told now.
    fn drop_events(&self, events: u64, untold: u64, why: &'static str) {
        let dropped = self.dropped.fetch_add(events, Ordering::Relaxed).saturating_add(events);
        let before = self.untold.fetch_add(events.saturating_add(untold), Ordering::Relaxed);
        if before == 0 && untold == 0 && events > 0 && self.is_to_be_said() {
            tracing::warn!(dropped, why, "events for reviewers do not reach gate; they are on record here");
        }
    }

    fn is_to_be_said(&self) -> bool {
        let (mut said, now) = (lock(&self.said), Instant::now());
        let is_news = said.is_none_or(|said| now.duration_since(said) >= SAID_AGAIN_AFTER);
        if is_news {
            *said = Some(now);
        }
        is_news
    }
}

async fn run(
    client: GateClient,
    mut lines: mpsc::Receiver<Line>,
    counts: Arc<Counts>,
    pauses: [Duration; 2],
) {
    while let Some(mut line) = lines.recv().await {
        line.dropped_before = counts.untold.swap(0, Ordering::Relaxed);
        let untold = line.dropped_before;
        let posted = post(&client, line, pauses).await;
        counts.queued.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = posted {
            tracing::debug!(%error, "an event was not posted");
            counts.drop_events(1, untold, "gate does not take them");
        }
    }
}

async fn post(client: &GateClient, line: Line, pauses: [Duration; 2]) -> Result<(), ClientError> {
    let task = TaskId::parse(line.task.as_str())?;
    let event = body_of(line)?;
    let mut pauses = pauses.into_iter();
    loop {
        let error = match client.post_event(&task, &event).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match pauses.next() {
            Some(pause) if was_not_taken(&error) => {
                let asked = error.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
                tokio::time::sleep(pause.max(asked)).await;
            }
            Some(_) | None => return Err(error),
        }
    }
}

/// Whether Gate said so, or was not there to say anything. After a lost answer the event may be there, and is not
/// posted twice.
const fn was_not_taken(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable(_) => true,
        ClientError::Status { status, .. } => *status == 429 || *status >= 500,
        ClientError::TimedOut
        | ClientError::Broken(_)
        | ClientError::Unreadable { .. }
        | ClientError::AnswerTooLarge(_)
        | ClientError::UnknownStatus(_)
        | ClientError::Contradiction(_)
        | ClientError::RequestTooLarge(_)
        | ClientError::TaskId(_)
        | ClientError::Token
        | ClientError::Assemble(_)
        | ClientError::Binding
        | ClientError::OutcomeUnknown(_)
        | ClientError::Stopped => false,
    }
}

fn body_of(line: Line) -> Result<EventBody, ClientError> {
    let Line { event_type, summary, mut payload, dropped_before, .. } = line;
    if dropped_before > 0 {
        payload.insert("dropped_before".to_owned(), json!(dropped_before));
    }
    let payload = to_raw_value(&payload).map_err(|error| ClientError::Assemble(Box::new(error)))?;
    Ok(EventBody {
        event_type: event_type.to_owned(),
        event_summary: summary,
        payload: Some(payload),
        images: Vec::new(),
        extra: Vec::new(),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
