//! Approvals that come too late: for calls that were withdrawn while a reviewer looked at them.

use super::Shared;
use holdpoint_core::{Answer, Approver as _, Event, Facts, HeldCall, Hold, Secrets, What};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::task::JoinSet;

/// Withdrawn calls whose decision is watched for at once.
const WATCHES_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Watches(Mutex<State>);

#[derive(Debug)]
enum State {
    Open(JoinSet<()>),
    Ended,
}

impl Default for Watches {
    fn default() -> Self {
        Self(Mutex::new(State::Open(JoinSet::new())))
    }
}

impl Watches {
    /// Ends all, and begins none any more.
    pub(super) fn end(&self) {
        *self.lock() = State::Ended;
    }

    fn begin(&self, watch: impl Future<Output = ()> + Send + 'static) {
        match &mut *self.lock() {
            State::Ended => {}
            State::Open(watches) => {
                while watches.try_join_next().is_some() {}
                if watches.len() < WATCHES_MAX {
                    watches.spawn(watch);
                } else {
                    tracing::warn!(
                        "too many withdrawn calls are watched: an approval of one more will not be told"
                    );
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Waits for the decision about a withdrawn call, beside all other waits.
    pub(super) fn watch(self: &Arc<Self>, hold: Hold, facts: Facts) {
        let (approver, within) = (Arc::clone(&self.approver), self.options.watched_for);
        let timeline = Arc::downgrade(self);
        self.watches.begin(async move {
            match approver.wait(&hold, within).await {
                // The token goes with the answer, unused.
                Ok(Answer::Approved(_)) => came_too_late(&timeline, &hold, &facts).await,
                Ok(
                    Answer::Rejected { .. }
                    | Answer::Expired { .. }
                    | Answer::ChangesRequested { .. }
                    | Answer::OtherPayload
                    | Answer::StillHeld,
                ) => {}
                Err(error) => {
                    tracing::debug!(thread = %hold.thread, %error, "a withdrawn call is watched no longer");
                }
            }
        });
    }
}

async fn came_too_late(timeline: &Weak<Shared>, hold: &Hold, facts: &Facts) {
    let Some(timeline) = timeline.upgrade() else {
        return;
    };
    let event = Event { at: timeline.clock.now(), facts, what: What::TooLate { hold } };
    if let Err(error) = timeline.evidence.record(event).await {
        // Nothing ran and nothing will: there is nothing to refuse.
        tracing::error!(thread = %hold.thread, %error, "an approval that came too late is not on record");
    }
    timeline.post.add(timeline.teller.too_late(facts, hold));
}

/// For a watch that may take a day.
pub(super) fn without_secrets(facts: &Facts) -> Facts {
    Facts { secrets: Secrets::default(), ..facts.clone() }
}

/// What the journal knows of a call that was withdrawn before a restart.
pub(super) fn facts_of(held: &HeldCall) -> Facts {
    Facts {
        principal: held.identity.principal.clone(),
        server: held.identity.server.clone(),
        tool: held.identity.tool.clone(),
        task: held.hold.task.clone(),
        digest: held.identity.digest,
        definition: held.definition,
        policy: held.policy.clone(),
        effect: held.effect.clone(),
        secrets: Secrets::default(),
    }
}
