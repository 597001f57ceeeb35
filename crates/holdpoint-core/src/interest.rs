//! Whether anybody still wants the answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What the caller of a held call is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Waiting for the answer.
    Waiting,
    /// Lost. The hold stays; whoever sends the same call again joins it.
    Gone,
    /// Withdrew the call. Nothing may run for it, whatever is decided later.
    Cancelled,
}

/// Told to [`crate::Gate::admit_while`]; changes at most once.
#[derive(Clone, Debug)]
pub struct Interest(Option<Arc<Told>>);

/// The caller's end of an [`Interest`]. Dropping it says nothing: only [`Self::gone`] and [`Self::cancel`] do.
#[derive(Debug)]
pub struct InterestHandle(Arc<Told>);

/// A few dozen bytes, where a `watch` channel has some hundreds: there is one for each call that waits.
#[derive(Debug)]
struct Told {
    stance: Mutex<Stance>,
    changed: Notify,
}

impl Told {
    fn stance(&self) -> MutexGuard<'_, Stance> {
        self.stance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interest {
    /// Somebody waits, however long it takes.
    #[must_use]
    pub fn always() -> Self {
        Self(None)
    }

    /// A caller that may leave.
    #[must_use]
    pub fn pair() -> (InterestHandle, Self) {
        let told = Arc::new(Told { stance: Mutex::new(Stance::Waiting), changed: Notify::new() });
        (InterestHandle(Arc::clone(&told)), Self(Some(told)))
    }

    /// What the caller is doing now.
    #[must_use]
    pub fn stance(&self) -> Stance {
        self.0.as_ref().map_or(Stance::Waiting, |told| *told.stance())
    }

    /// Resolves when the caller has left, saying how. Never resolves while it waits.
    pub async fn ended(&mut self) -> Stance {
        let Some(told) = &self.0 else {
            return std::future::pending().await;
        };
        loop {
            // Before the look, so that what changes after it is noticed.
            let changed = told.changed.notified();
            match self.stance() {
                Stance::Waiting => changed.await,
                left => return left,
            }
        }
    }
}

impl InterestHandle {
    /// The caller is lost. Does not undo a cancellation.
    pub fn gone(&self) {
        let mut stance = self.0.stance();
        if *stance == Stance::Waiting {
            *stance = Stance::Gone;
            drop(stance);
            self.0.changed.notify_waiters();
        }
    }

    /// The caller withdrew the call.
    pub fn cancel(&self) {
        *self.0.stance() = Stance::Cancelled;
        self.0.changed.notify_waiters();
    }
}
