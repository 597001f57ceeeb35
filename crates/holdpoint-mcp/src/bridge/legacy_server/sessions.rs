//! Whose session is whose.

use super::session::Session;
use crate::bridge::wire;
use holdpoint_core::Principal;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;

/// More sessions than this with one server, and the one that was not used for the longest time ends, of the same principal
/// where there is one. One with a request under way is kept.
const SESSIONS_MAX: usize = 256;
/// What a client says that names itself in no way.
const NOBODY: &str = r#"{"name":"unknown","version":"0"}"#;

/// Who a client says it is and what it can do, raw. Two clients of one principal may be able to do different things, and a
/// server goes by what it was told in the handshake.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) info: Box<str>,
    pub(super) capabilities: Box<str>,
}

impl Client {
    /// `None`: it cannot be told to a server.
    pub(super) fn new(info: Option<&str>, capabilities: &str) -> Option<Self> {
        let capabilities = wire::without_tasks(capabilities).ok()?.into();
        let info = info.filter(|raw| raw.starts_with('{')).unwrap_or(NOBODY).into();
        Some(Self { info, capabilities })
    }
}

/// The place of one session. Locked while it is opened, so that two requests do not open two.
pub(super) type Slot = Arc<tokio::sync::Mutex<Option<Arc<Session>>>>;

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<(Principal, Client), (Slot, Instant)>>);

impl Sessions {
    /// `None`: there is no room, since requests are under way in every session.
    pub(super) fn slot(&self, principal: &Principal, client: &Client) -> Option<Slot> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (principal.clone(), client.clone());
        if !known.contains_key(&key) && known.len() >= SESSIONS_MAX {
            let idle = known.iter().filter(|(_, (slot, _))| is_idle(slot));
            let least = idle.min_by_key(|((whose, _), (_, used))| (whose != principal, *used));
            let oldest = least.map(|(key, _)| key.clone())?;
            known.remove(&oldest);
        }
        let (slot, used) = known.entry(key).or_insert_with(|| (Slot::default(), Instant::now()));
        *used = Instant::now();
        Some(Arc::clone(slot))
    }
}

/// Nobody opens the session, and no request is under way in it.
fn is_idle(slot: &Slot) -> bool {
    slot.try_lock().is_ok_and(|session| session.as_ref().is_none_or(|session| session.is_idle()))
}
