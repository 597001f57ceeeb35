//! Requests that wait here for their clients' answers.

use super::exchange::{Exchange, Question};
use crate::{
    bridge::wire::{self, Request},
    random,
};
use holdpoint_core::Principal;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// So many requests wait at once; the questions of further ones are refused to the server.
const PARKED_MAX: usize = 256;
/// And so many of one principal.
const PARKED_OF_ONE_MAX: usize = 32;
/// A request waits so long for its client, which may have to wait for a person.
pub(super) const PARKED_FOR: Duration = Duration::from_mins(30);

/// Whether a request goes on with one that waits.
pub(super) enum Continuing {
    No,
    Yes { handle: String, answers: Option<String> },
}

/// Reads the members that continue a request. One that has any is never sent as a request of its own.
pub(super) fn continuing(request: &Request<'_>) -> Result<Continuing, &'static str> {
    let Some(params) = request.params else {
        return Ok(Continuing::No);
    };
    let answers = wire::raw_in(params, "inputResponses").map(str::to_owned);
    match (wire::raw_in(params, "requestState"), answers) {
        (None, None) => Ok(Continuing::No),
        (None, Some(_)) => Err("`params.inputResponses` without the `requestState` that belongs to it"),
        (Some(_), answers) => match request.param("requestState") {
            Some(handle) => Ok(Continuing::Yes { handle, answers }),
            None => Err("`params.requestState` is not a string"),
        },
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct ParkedCall {
    pub(super) exchange: Exchange,
    pub(super) questions: Vec<Question>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Parked(Arc<Mutex<HashMap<Box<str>, ParkedCall>>>);

impl Parked {
    /// The handle that its client has to bring. The error gives it back: there is no room.
    pub(super) fn park(&self, call: Box<ParkedCall>) -> Result<String, Box<ParkedCall>> {
        let Some(handle) = random::secret() else {
            return Err(call);
        };
        {
            let mut waiting = self.lock();
            let principal = call.exchange.principal();
            let own = waiting.values().filter(|other| other.exchange.principal() == principal).count();
            if waiting.len() >= PARKED_MAX || own >= PARKED_OF_ONE_MAX {
                return Err(call);
            }
            waiting.insert(handle.as_str().into(), *call);
        }
        let (parked, expiring) = (self.clone(), handle.clone());
        tokio::spawn(async move {
            tokio::time::sleep(PARKED_FOR).await;
            // Dropped outside of the lock: that tells the server.
            let _expired = parked.lock().remove(&*expiring);
        });
        Ok(handle)
    }

    /// Takes what waits under `handle`, once: for the principal that it belongs to, and for the same request.
    pub(super) fn take(
        &self,
        handle: &str,
        principal: &Principal,
        request: &Request<'_>,
    ) -> Option<ParkedCall> {
        let mut waiting = self.lock();
        let call = waiting.get(handle)?;
        let belongs = call.exchange.principal() == principal && call.exchange.is_for(request);
        if belongs { waiting.remove(handle) } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, ParkedCall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
