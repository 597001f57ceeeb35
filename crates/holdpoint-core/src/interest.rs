//! Whether anybody still wants the answer.

use tokio::sync::watch;

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
pub struct Interest(Option<watch::Receiver<Stance>>);

/// The caller's end of an [`Interest`]. Dropping it says nothing: only [`Self::gone`] and [`Self::cancel`] do.
#[derive(Debug)]
pub struct InterestHandle(watch::Sender<Stance>);

impl Interest {
    /// Somebody waits, however long it takes.
    #[must_use]
    pub fn always() -> Self {
        Self(None)
    }

    /// A caller that may leave.
    #[must_use]
    pub fn pair() -> (InterestHandle, Self) {
        let (sender, receiver) = watch::channel(Stance::Waiting);
        (InterestHandle(sender), Self(Some(receiver)))
    }

    /// What the caller is doing now.
    #[must_use]
    pub fn stance(&self) -> Stance {
        self.0.as_ref().map_or(Stance::Waiting, |receiver| *receiver.borrow())
    }

    /// Resolves when the caller has left, saying how. Never resolves while it waits.
    pub async fn ended(&mut self) -> Stance {
        if let Some(receiver) = &mut self.0
            && let Ok(stance) = receiver.wait_for(|stance| *stance != Stance::Waiting).await
        {
            return *stance;
        }
        std::future::pending().await
    }
}

impl InterestHandle {
    /// The caller is lost. Does not undo a cancellation.
    pub fn gone(&self) {
        self.0.send_if_modified(|stance| {
            let waiting = *stance == Stance::Waiting;
            if waiting {
                *stance = Stance::Gone;
            }
            waiting
        });
    }

    /// The caller withdrew the call.
    pub fn cancel(&self) {
        self.0.send_replace(Stance::Cancelled);
    }
}
