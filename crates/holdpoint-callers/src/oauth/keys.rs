//! The issuer's keys, kept for minutes.

use super::{
    fetch::{Fetcher, Place},
    jwk::{Algorithm, Key, KeySet},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::OwnedMutexGuard, time::Instant};

/// Older keys are asked for again when the next token comes.
const REFRESH_AFTER: Duration = Duration::from_mins(5);
/// Keys that could not be confirmed for so long open nothing: one of them may have been taken back.
const TRUSTED_FOR: Duration = Duration::from_mins(15);
/// The issuer may be asked so often at once, whatever tokens name; failures count.
const ASKED_AT_ONCE_MAX: u32 = 3;
/// One more each time.
const ASKED_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct IssuerKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fetcher: Fetcher,
    place: Place,
    current: Mutex<Option<Trusted>>,
    /// Whoever holds it asks the issuer; those who wait for it take what came of that.
    asking: Arc<tokio::sync::Mutex<Asking>>,
}

#[derive(Clone, Debug)]
struct Trusted {
    since: Instant,
    keys: Arc<KeySet>,
}

#[derive(Debug)]
struct Asking {
    left: u32,
    refilled: Instant,
    last: Option<Asked>,
}

/// One question to the issuer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// When the answer was there.
    at: Instant,
    came: Came,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Keys,
    Nothing,
}

/// There is no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer does not publish it.
    Unknown,
    /// The issuer cannot be asked.
    Unreachable,
}

impl IssuerKeys {
    pub(super) fn new(fetcher: Fetcher, place: Place) -> Self {
        let asking = Asking { left: ASKED_AT_ONCE_MAX, refilled: Instant::now(), last: None };
        let asking = Arc::new(tokio::sync::Mutex::new(asking));
        Self(Arc::new(Shared { fetcher, place, current: Mutex::new(None), asking }))
    }

    /// The key that a token names.
    pub(super) async fn find(&self, id: &str, algorithm: Algorithm) -> Result<Arc<Key>, NoKey> {
        let came_at = Instant::now();
        let trusted = self.0.trusted();
        let key = trusted.as_ref().and_then(|trusted| trusted.keys.find(id, algorithm));
        let is_fresh = trusted.is_some_and(|trusted| trusted.since.elapsed() < REFRESH_AFTER);
        let last = match key {
            Some(key) if is_fresh => return Ok(key),
            // Somebody is asking already, and until that is answered these keys are good.
            Some(key) => match Arc::clone(&self.0.asking).try_lock_owned() {
                Ok(asking) => self.ask(asking, came_at).await,
                Err(_) => return Ok(key),
            },
            None => self.ask(Arc::clone(&self.0.asking).lock_owned().await, came_at).await,
        };
        match (self.0.trusted().map(|trusted| trusted.keys.find(id, algorithm)), last) {
            (Some(Some(key)), _) => Ok(key),
            (Some(None), Some(Came::Keys)) => Err(NoKey::Unknown),
            // It may be new, or never have been: that cannot be told.
            (Some(None), Some(Came::Nothing) | None) | (None, _) => Err(NoKey::Unreachable),
        }
    }

    /// Asks the issuer, unless that was done since `came_at`, or too often. What came of it the last time. A question that
    /// was begun is asked to its end, whoever leaves: or strangers who leave early could use up all questions there are.
    async fn ask(&self, mut asking: OwnedMutexGuard<Asking>, came_at: Instant) -> Option<Came> {
        if asking.last.is_some_and(|asked| asked.at > came_at) || !asking.may_ask() {
            return asking.last.map(|asked| asked.came);
        }
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move { shared.ask(asking).await }).await.ok()
    }
}

impl Shared {
    fn trusted(&self) -> Option<Trusted> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|trusted| trusted.since.elapsed() < TRUSTED_FOR)
    }

    async fn ask(&self, mut asking: OwnedMutexGuard<Asking>) -> Came {
        let since = Instant::now();
        let came = match self.fetcher.keys(&self.place).await {
            Ok(keys) => {
                let trusted = Trusted { since, keys: Arc::new(keys) };
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(trusted);
                Came::Keys
            }
            Err(error) => {
                let causes =
                    std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
                let chain = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
                tracing::error!("the OAuth issuer's keys cannot be had: {chain}");
                Came::Nothing
            }
        };
        asking.last = Some(Asked { at: Instant::now(), came });
        came
    }
}

impl Asking {
    fn may_ask(&mut self) -> bool {
        while self.left < ASKED_AT_ONCE_MAX && self.refilled.elapsed() >= ASKED_EVERY {
            self.left += 1;
            self.refilled += ASKED_EVERY;
        }
        if self.left == ASKED_AT_ONCE_MAX {
            self.refilled = Instant::now();
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}
