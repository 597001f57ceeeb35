use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdpoint_api::TaskId;
use tokio::sync::{broadcast, watch};

use crate::{AgentId, ThreadId};

/// Changes that may wait for a slow listener; past it the listener is told that everything changed.
const PENDING_MAX: usize = 1024;

/// Announces what changed, after it was committed. It carries no data: whoever hears it reads the store.
///
/// Ringing costs the same however many wait for other threads and agents: they are found by what they wait for.
#[derive(Debug, Clone)]
pub struct Bell {
    changes: broadcast::Sender<Change>,
    ears: Arc<Ears>,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A thread.
    Thread {
        /// Which.
        id: ThreadId,
        /// Whose it is.
        agent: AgentId,
        /// Who ought to know.
        concerns: Concerns,
    },
    /// An agent told something about its task.
    Task(AgentId, TaskId),
    /// Agents or the applied declaration.
    Setup,
    /// Anything: read again whatever you wait for.
    Everything,
}

/// Who ought to know of a change to a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concerns {
    /// Its agent, and whoever looks at it: decided, expired, changes asked for, revised.
    Agent,
    /// Only whoever looks at it: opened, a token used.
    Onlookers,
}

/// One listener's place at the [`Bell`], for every change.
#[derive(Debug)]
pub struct Listener {
    changes: broadcast::Receiver<Change>,
}

/// One listener's place at the [`Bell`], for one thread or for the news of one agent.
#[derive(Debug)]
pub struct Ear {
    ears: Arc<Ears>,
    of: Topic,
    rung: watch::Receiver<()>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Topic {
    Thread(ThreadId),
    NewsOf(AgentId),
}

#[derive(Debug, Default)]
struct Ears(Mutex<HashMap<Topic, watch::Sender<()>>>);

impl Default for Bell {
    fn default() -> Self {
        Self { changes: broadcast::Sender::new(PENDING_MAX), ears: Arc::default() }
    }
}

impl Bell {
    /// Hears every change from now on. Listen first, then read, then wait: so no change is missed.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener { changes: self.changes.subscribe() }
    }

    /// Hears whatever happens to `thread` from now on.
    #[must_use]
    pub fn listen_to_thread(&self, thread: &ThreadId) -> Ear {
        self.ear(Topic::Thread(thread.clone()))
    }

    /// Hears from now on whatever concerns `agent`, of all its threads.
    #[must_use]
    pub fn listen_to_agent(&self, agent: AgentId) -> Ear {
        self.ear(Topic::NewsOf(agent))
    }

    /// Announces a change. For back ends, after the commit.
    pub fn ring(&self, change: Change) {
        match &change {
            Change::Thread { id, agent, concerns } => {
                let ears = self.ears.lock();
                ears.ring(&Topic::Thread(id.clone()));
                match concerns {
                    Concerns::Agent => ears.ring(&Topic::NewsOf(*agent)),
                    Concerns::Onlookers => {}
                }
            }
            Change::Everything => self.ears.lock().ring_all(),
            Change::Task(..) | Change::Setup => {}
        }
        // Nobody listening is no failure.
        let _ = self.changes.send(change);
    }

    fn ear(&self, of: Topic) -> Ear {
        let rung = self.ears.lock().subscribe(of.clone());
        Ear { ears: Arc::clone(&self.ears), of, rung }
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
}

impl Ear {
    /// Waits until what it listens to may have changed since it was made, or since this last returned.
    pub async fn rung(&mut self) {
        if self.rung.changed().await.is_err() {
            // Cannot be: the sender stays until the last ear of its topic is gone.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.ears.lock().leave(&self.of);
    }
}

impl Ears {
    fn lock(&self) -> Locked<'_> {
        Locked(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Locked<'a>(MutexGuard<'a, HashMap<Topic, watch::Sender<()>>>);

impl Locked<'_> {
    fn subscribe(&mut self, topic: Topic) -> watch::Receiver<()> {
        self.0.entry(topic).or_default().subscribe()
    }

    fn ring(&self, topic: &Topic) {
        if let Some(sender) = self.0.get(topic) {
            sender.send_replace(());
        }
    }

    fn ring_all(&self) {
        for sender in self.0.values() {
            sender.send_replace(());
        }
    }

    /// One of the ears of `topic` goes. It still counts as a receiver while it does.
    fn leave(&mut self, topic: &Topic) {
        if self.0.get(topic).is_some_and(|sender| sender.receiver_count() <= 1) {
            self.0.remove(topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn change(id: &str, agent: i64, concerns: Concerns) -> Change {
        Change::Thread { id: ThreadId::new(id), agent: AgentId(agent), concerns }
    }

    fn is_rung(ear: &mut Ear) -> bool {
        ear.rung().now_or_never().is_some()
    }

    #[test]
    fn ears_hear_what_they_listen_to_and_leave_nothing_behind() {
        let bell = Bell::default();
        bell.ring(change("THR-1", 1, Concerns::Agent));
        let mut thread = bell.listen_to_thread(&ThreadId::new("THR-1"));
        let mut again = bell.listen_to_thread(&ThreadId::new("THR-1"));
        let mut agent = bell.listen_to_agent(AgentId(1));
        let mut other = bell.listen_to_agent(AgentId(2));
        let all = [&mut thread, &mut again, &mut agent, &mut other];
        assert_eq!(all.map(is_rung), [false; 4], "what was before is not heard");
        bell.ring(change("THR-1", 1, Concerns::Onlookers));
        assert_eq!(
            [&mut thread, &mut again, &mut agent, &mut other].map(is_rung),
            [true, true, false, false]
        );
        bell.ring(change("THR-2", 1, Concerns::Agent));
        bell.ring(change("THR-3", 1, Concerns::Agent));
        assert_eq!(
            [&mut thread, &mut again, &mut agent, &mut other].map(is_rung),
            [false, false, true, false]
        );
        assert!(!is_rung(&mut agent), "several rings in one moment are one");
        bell.ring(Change::Everything);
        assert_eq!([&mut thread, &mut again, &mut agent, &mut other].map(is_rung), [true; 4]);
        drop((thread, other));
        assert_eq!(bell.ears.lock().0.len(), 2);
        bell.ring(change("THR-1", 1, Concerns::Agent));
        assert!(is_rung(&mut again) && is_rung(&mut agent));
        drop((again, agent));
        assert!(bell.ears.lock().0.is_empty());
    }
}
