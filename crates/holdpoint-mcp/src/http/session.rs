//! What is known of each session: whose it is, which tools its server has, which calls wait in it.

use crate::{
    Guard,
    catalog::{Catalog, Schemas},
    message::{CallFrame, Cancellation, IdKey, Reason},
    random,
    waiting::Client,
};
use holdpoint_core::{Interest, InterestHandle, Principal, TaskId};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// More sessions than this and the oldest in which no call waits is forgotten, of the same principal where there is one: its
/// tools are read again, and whoever uses it next owns it. A session with a call that waits is kept, or its cancellation would not find it; there are at
/// most as many of them as calls that wait, which are fewer.
const SESSIONS_MAX: usize = 4_096;

#[derive(Debug)]
pub(super) struct Session {
    key: Key,
    principal: Principal,
    pub(super) catalog: Arc<Catalog>,
    /// For calls that name no task. Not the session's own id: that is a key to it, and reviewers see tasks.
    pub(super) task: Option<TaskId>,
    /// What its client said of itself when it opened the session.
    client: Option<Client>,
    /// Since when the server's tools are what they are.
    epoch: AtomicU64,
    waiting: Mutex<HashMap<IdKey, Vec<Arc<Held>>>>,
}

/// With an id from the server, or one for all requests of a principal that name none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Named(Box<str>),
    Unnamed(Principal),
}

/// A tool call under way.
#[derive(Debug)]
pub(super) struct Held {
    handle: InterestHandle,
    modern: bool,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Withdrawn,
    /// The server has it.
    Running,
}

/// A call known in its session, as long as this lives.
#[derive(Debug)]
pub(super) struct Registered {
    session: Arc<Session>,
    id: IdKey,
    pub(super) held: Arc<Held>,
}

#[derive(Debug)]
pub(super) struct Sessions {
    guard: Guard,
    schemas: Arc<Schemas>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_key: HashMap<Key, Arc<Session>>,
    oldest_first: VecDeque<Key>,
}

impl Sessions {
    pub(super) fn new(guard: Guard, schemas: Arc<Schemas>) -> Self {
        Self { guard, schemas, known: Mutex::default() }
    }

    /// The session of this id for `principal`; `None`: it is somebody else's.
    pub(super) fn of(&self, id: Option<&str>, principal: &Principal) -> Option<Arc<Session>> {
        let key = id.map_or_else(|| Key::Unnamed(principal.clone()), |id| Key::Named(id.into()));
        let mut known = lock(&self.known);
        if let Some(session) = known.by_key.get(&key) {
            return (session.principal == *principal).then(|| Arc::clone(session));
        }
        let session = Arc::new(self.session(key.clone(), principal.clone()));
        known.insert(key, Arc::clone(&session));
        Some(session)
    }

    /// The server opened a session in its answer to a request of `from`, in which the client said what it is.
    pub(super) fn opened(&self, id: &str, from: &Session, client: Option<Client>) {
        let key = Key::Named(id.into());
        let mut known = lock(&self.known);
        if !known.by_key.contains_key(&key) {
            let session = Session { client, ..self.session(key.clone(), from.principal.clone()) };
            known.insert(key, Arc::new(session));
        }
    }

    /// The client ends the session. What waits in it still can be withdrawn: the server may refuse to end it.
    pub(super) fn forget(&self, session: &Session) {
        let mut known = lock(&self.known);
        if !known.is_idle(&session.key) {
            return;
        }
        known.by_key.remove(&session.key);
        known.oldest_first.retain(|key| *key != session.key);
    }

    fn session(&self, key: Key, principal: Principal) -> Session {
        let task = match &key {
            Key::Named(_) => Some(TaskId::new(format!("session-{}", random::token()))),
            Key::Unnamed(_) => None,
        };
        let catalog = Arc::new(self.guard.catalog(&self.schemas));
        Session {
            key,
            principal,
            catalog,
            task,
            client: None,
            epoch: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }
}

impl Known {
    fn insert(&mut self, key: Key, session: Arc<Session>) {
        if self.by_key.len() >= SESSIONS_MAX
            && let Some(oldest) = self.oldest_idle(&session.principal)
            && let Some(oldest) = self.oldest_first.remove(oldest)
        {
            self.by_key.remove(&oldest);
        }
        self.oldest_first.push_back(key.clone());
        self.by_key.insert(key, session);
    }

    /// Who opens more than there is room for loses sessions of their own, not those of others.
    fn oldest_idle(&self, principal: &Principal) -> Option<usize> {
        let is_theirs = |key: &Key| self.by_key.get(key).is_some_and(|other| other.principal == *principal);
        let mut keys = self.oldest_first.iter();
        let own = keys.position(|key| is_theirs(key) && self.is_idle(key));
        own.or_else(|| self.oldest_first.iter().position(|key| self.is_idle(key)))
    }

    /// Whether nobody could want to withdraw anything in the session.
    fn is_idle(&self, key: &Key) -> bool {
        self.by_key.get(key).is_none_or(|session| lock(&session.waiting).is_empty())
    }
}

impl Session {
    pub(super) const fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(super) const fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// The server, or all of it that runs, may be another one since the last time.
    pub(super) fn note_epoch(&self, epoch: u64) {
        if self.epoch.swap(epoch, Ordering::AcqRel) != epoch {
            self.catalog.mark_stale();
        }
    }

    pub(super) fn register(self: &Arc<Self>, frame: &CallFrame) -> (Registered, Interest) {
        let id = &frame.id;
        let (handle, interest) = Interest::pair();
        let held = Arc::new(Held { handle, modern: frame.modern, stage: Mutex::new(Stage::Waiting) });
        lock(&self.waiting).entry(id.clone()).or_default().push(Arc::clone(&held));
        (Registered { session: Arc::clone(self), id: id.clone(), held }, interest)
    }

    /// Withdraws what waits under `id`; `false`: the server has it, or nobody does. Without sessions two clients of one
    /// principal may use one id; then both calls are withdrawn, since nothing may run for a call that was cancelled.
    pub(super) fn cancel(&self, cancellation: &Cancellation) -> bool {
        let waiting = lock(&self.waiting).get(&cancellation.request).cloned().unwrap_or_default();
        let withdrawn = waiting.iter().filter(|held| held.give_up(cancellation.reason)).count();
        withdrawn > 0 && withdrawn == waiting.len()
    }
}

impl Held {
    /// Nothing runs for this request any more. `false`: too late, the server has it.
    pub(super) fn give_up(&self, reason: Reason) -> bool {
        let mut stage = lock(&self.stage);
        if *stage == Stage::Waiting {
            *stage = Stage::Withdrawn;
            reason.tell(&self.handle, self.modern);
        }
        *stage == Stage::Withdrawn
    }

    /// The client is lost; the hold stays.
    pub(super) fn gone(&self) {
        self.handle.gone();
    }

    /// From here on the server has the call; `false`: it was withdrawn before.
    pub(super) fn begin(&self) -> bool {
        let mut stage = lock(&self.stage);
        if *stage == Stage::Waiting {
            *stage = Stage::Running;
        }
        *stage == Stage::Running
    }

    pub(super) fn is_waiting(&self) -> bool {
        *lock(&self.stage) == Stage::Waiting
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut waiting = lock(&self.session.waiting);
        if let Some(calls) = waiting.get_mut(&self.id) {
            calls.retain(|held| !Arc::ptr_eq(held, &self.held));
            if calls.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
