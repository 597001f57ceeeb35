use holdpoint_api::TaskId;
use tokio::sync::broadcast;

use crate::{AgentId, ThreadId};

/// Changes that may wait for a slow listener; past it the listener is told that everything changed.
const PENDING_MAX: usize = 1024;

/// Announces what changed, after it was committed. It carries no data: whoever hears it reads the store.
#[derive(Debug, Clone)]
pub struct Bell {
    changes: broadcast::Sender<Change>,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This thread, in whatever way.
    Thread(ThreadId),
    /// An agent told something about its task.
    Task(AgentId, TaskId),
    /// Agents or the applied declaration.
    Setup,
    /// Anything: read again whatever you wait for.
    Everything,
}

/// One listener's place at the [`Bell`].
#[derive(Debug)]
pub struct Listener {
    changes: broadcast::Receiver<Change>,
}

impl Default for Bell {
    fn default() -> Self {
        Self { changes: broadcast::Sender::new(PENDING_MAX) }
    }
}

impl Bell {
    /// Hears every change from now on. Listen first, then read, then wait: so no change is missed.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener { changes: self.changes.subscribe() }
    }

    /// Announces a change. For back ends, after the commit.
    pub fn ring(&self, change: Change) {
        // Nobody listening is no failure.
        let _ = self.changes.send(change);
    }
}

impl Listener {
    /// The next change. A listener that fell behind hears [`Change::Everything`]; `None` when the store is gone.
    pub async fn next(&mut self) -> Option<Change> {
        match self.changes.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::Everything),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Waits until `thread` may have changed. False when the store is gone.
    pub async fn next_of(&mut self, thread: &ThreadId) -> bool {
        loop {
            match self.next().await {
                Some(Change::Thread(changed)) if changed != *thread => {}
                Some(Change::Setup | Change::Task(..)) => {}
                Some(Change::Thread(_) | Change::Everything) => return true,
                None => return false,
            }
        }
    }
}
