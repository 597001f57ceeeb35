//! Sessions of the handshake era, each with its child.

use super::link::Link;
use holdpoint_core::Principal;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub(super) struct Sessions {
    known: Mutex<HashMap<Box<str>, Session>>,
    slots: Arc<Semaphore>,
}

#[derive(Debug)]
struct Session {
    principal: Principal,
    link: Arc<Link>,
}

impl Sessions {
    pub(super) fn new(sessions_max: usize) -> Self {
        Self { known: Mutex::default(), slots: Arc::new(Semaphore::new(sessions_max)) }
    }

    /// Room for one more child; `None`: there is none.
    pub(super) fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// The child of a session that has not ended, and is nobody else's.
    pub(super) fn find(&self, id: &str, principal: Option<&Principal>) -> Option<Arc<Link>> {
        let mut known = self.lock();
        let session = known.get(id)?;
        if session.link.is_over() {
            known.remove(id);
            return None;
        }
        let is_theirs = principal.is_none_or(|principal| session.principal == *principal);
        is_theirs.then(|| Arc::clone(&session.link))
    }

    /// Ends a session; `false`: there is none of this principal.
    pub(super) fn end(&self, id: &str, principal: &Principal) -> bool {
        let link = self.find(id, Some(principal));
        if let Some(link) = &link {
            self.lock().remove(id);
            link.stop.cancel();
        }
        link.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Session>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session whose child has not answered `initialize`. Dropped, it ends: its client never hears of it.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    sessions: &'a Sessions,
    id: Option<String>,
    link: Arc<Link>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(sessions: &'a Sessions, id: String, principal: &Principal, link: &Arc<Link>) -> Self {
        let session = Session { principal: principal.clone(), link: Arc::clone(link) };
        let mut known = sessions.lock();
        // Those whose child is gone, and that nobody has asked for since.
        known.retain(|_, session| !session.link.is_over());
        known.insert(id.as_str().into(), session);
        drop(known);
        Self { sessions, id: Some(id), link: Arc::clone(link) }
    }

    pub(super) fn opened(mut self) -> String {
        self.id.take().unwrap_or_default()
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.sessions.lock().remove(&*id);
            self.link.stop.cancel();
        }
    }
}

/// A session that does not end for want of use.
#[derive(Debug)]
pub(crate) struct Kept(Arc<Link>);

impl Kept {
    pub(super) fn new(link: Arc<Link>) -> Self {
        link.keep();
        Self(link)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.unkeep();
    }
}
