//! What is kept of a client between its requests, since the server keeps nothing.

use super::params::ParamHeaders;
use crate::{bridge::wire, message::IdKey, random};
use holdpoint_core::Principal;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// More sessions than this, and the one that was not used for the longest time ends, of the same principal where there is one;
/// its client is told by a 404 and opens another. One with a request under way is kept.
const SESSIONS_MAX: usize = 1_024;
/// More subscriptions than this in one session are not taken up.
const URIS_MAX: usize = 1_024;
/// How long an answer to `resources/subscribe` waits for the server to listen.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(2);

/// One client's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: Box<str>,
    pub(super) principal: Principal,
    /// Raw, as the client introduced itself.
    pub(super) client: Box<str>,
    pub(super) capabilities: Box<str>,
    /// Raw, the server's capabilities.
    pub(super) offered: Box<str>,
    pub(super) params: ParamHeaders,
    pub(super) uris: watch::Sender<BTreeSet<String>>,
    /// What the server listens for by now; `None`: nobody listens.
    pub(super) heard: watch::Sender<Option<BTreeSet<String>>>,
    pub(super) over: CancellationToken,
    level: Mutex<Option<Box<str>>>,
    asked: Mutex<HashMap<IdKey, oneshot::Sender<String>>>,
    calls: Mutex<HashMap<IdKey, CancellationToken>>,
    listener: Mutex<Option<CancellationToken>>,
    used: Mutex<Instant>,
}

impl Session {
    /// `None`: there is no randomness for an id that nobody guesses.
    pub(super) fn new(principal: Principal, client: Box<str>, capabilities: Box<str>) -> Option<Self> {
        Some(Self {
            id: random::secret()?.into(),
            principal,
            client,
            capabilities,
            offered: "{}".into(),
            params: ParamHeaders::default(),
            uris: watch::Sender::default(),
            heard: watch::Sender::default(),
            over: CancellationToken::new(),
            level: Mutex::default(),
            asked: Mutex::default(),
            calls: Mutex::default(),
            listener: Mutex::default(),
            used: Mutex::new(Instant::now()),
        })
    }

    pub(super) fn level(&self) -> Option<Box<str>> {
        lock(&self.level).clone()
    }

    pub(super) fn set_level(&self, level: &str) {
        *lock(&self.level) = Some(level.into());
    }

    /// Subscribes to a resource, or no longer. Where somebody listens, the server does as well when this returns.
    pub(super) async fn subscribe(&self, uri: String, on: bool) {
        self.uris.send_modify(|uris| {
            if !on {
                uris.remove(&uri);
            } else if uris.len() < URIS_MAX {
                uris.insert(uri.clone());
            }
        });
        if on {
            let mut heard = self.heard.subscribe();
            let listening = heard.wait_for(|heard| heard.as_ref().is_none_or(|uris| uris.contains(&uri)));
            let _too_slow = tokio::time::timeout(SUBSCRIBE_MAX, listening).await;
        }
    }

    /// A request of the server's, by our id; and where its answer comes.
    pub(super) fn ask(&self) -> (String, IdKey, oneshot::Receiver<String>) {
        let id = format!("holdpoint-{}", random::token());
        let key = IdKey::Text(id.as_str().into());
        let (sender, answer) = oneshot::channel();
        lock(&self.asked).insert(key.clone(), sender);
        (id, key, answer)
    }

    pub(super) fn forget_question(&self, id: &IdKey) {
        lock(&self.asked).remove(id);
    }

    /// The client answered.
    pub(super) fn answered(&self, id: Option<&IdKey>, text: &str) {
        let waiting = id.and_then(|id| lock(&self.asked).remove(id));
        if let Some(waiting) = waiting {
            let _nobody_waits = waiting.send(text.to_owned());
        }
    }

    /// A request is under way, until the token is given back.
    pub(super) fn begin(&self, id: &IdKey) -> CancellationToken {
        let token = self.over.child_token();
        lock(&self.calls).insert(id.clone(), token.clone());
        token
    }

    pub(super) fn finish(&self, id: &IdKey) {
        lock(&self.calls).remove(id);
        *lock(&self.used) = Instant::now();
    }

    /// `notifications/cancelled`.
    pub(super) fn cancel(&self, params: Option<&str>) {
        let id = params.and_then(|params| wire::raw_in(params, "requestId")).and_then(IdKey::read);
        if let Some(token) = id.and_then(|id| lock(&self.calls).get(&id).cloned()) {
            token.cancel();
        }
    }

    /// Somebody listens to the session; who did before does no longer.
    pub(super) fn listen(&self) -> CancellationToken {
        let token = self.over.child_token();
        if let Some(before) = lock(&self.listener).replace(token.clone()) {
            before.cancel();
        }
        token
    }

    fn is_idle(&self) -> bool {
        lock(&self.calls).is_empty()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Box<str>, Arc<Session>>>);

impl Sessions {
    /// The session of this id, if it is `principal`'s.
    pub(super) fn of(&self, id: &str, principal: &Principal) -> Option<Arc<Session>> {
        let session = lock(&self.0).get(id).filter(|session| session.principal == *principal).cloned()?;
        *lock(&session.used) = Instant::now();
        Some(session)
    }

    /// `false`: there is no room, since requests are under way in every one.
    pub(super) fn insert(&self, session: Arc<Session>) -> bool {
        let mut sessions = lock(&self.0);
        if sessions.len() >= SESSIONS_MAX {
            let idle = sessions.values().filter(|session| session.is_idle());
            // A call that waits at the gate is not under way here, so others must not be able to end its session.
            let least = idle.min_by_key(|other| (other.principal != session.principal, *lock(&other.used)));
            let Some(oldest) = least.map(Arc::clone) else {
                return false;
            };
            oldest.over.cancel();
            sessions.remove(&oldest.id);
        }
        sessions.insert(session.id.clone(), session);
        true
    }

    /// The client has no more use for it.
    pub(super) fn end(&self, session: &Session) {
        session.over.cancel();
        lock(&self.0).remove(&session.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
