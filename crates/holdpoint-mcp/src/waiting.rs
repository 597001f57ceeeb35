//! How a call waits for a person, chosen for each request by what its client can do.
//!
//! ```text
//! stateless ─┬─ takes tasks ───────────────► task
//!            └─ else ──────────────────────► legs, with a link first where the client opens links
//! handshake ─┬─ kept alive by progress ────► hold, with progress
//!            └─ else ──────────────────────► bounded hold, then `pending`
//! ```
//!
//! # Rules
//! 1. What a client *can* do is what it declares: capabilities of the request or of its session, and a progress token. Its
//!    name is only believed about how long it waits.
//! 2. The configuration may say otherwise, for each server and tool. A mode that a client does not know is not used with it.
//! 3. Whatever the mode, the call is decided by the kernel and its hold is in the journal: a mode is only a way to wait.

mod client;
mod explained;
mod legs;
mod state;

pub(crate) use client::Client;
pub use explained::{ClientKind, WaitsAs};
pub(crate) use legs::{Comeback, GoesOn, Later, StillWaits, Turn};
pub use state::StateKey;
pub(crate) use state::{Question, Unsealed};

use client::Profile;
use std::time::Duration;

/// How the operator wants the calls of a tool to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// In which way.
    pub mode: WaitMode,
    /// How long a call waits, in all, before its caller is told to come back; `None`: as its client can.
    pub patience: Option<Duration>,
    /// The longest that one leg takes; `None`: as its client can.
    pub leg: Option<Duration>,
    /// What becomes of the review where the client's user does not want to open its link.
    pub declined: Declined,
}

/// In which way calls wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitMode {
    /// As suits the client.
    #[default]
    Auto,
    /// The request stays open, with progress where it asks for it.
    Hold,
    /// The same, for less than the shortest time-out that is known.
    Bounded,
    /// In legs, as `input_required` results that the client answers by itself. For clients of the stateless era.
    Legs,
    /// As a task that the client asks about. For clients that declare it.
    Task,
}

/// What becomes of a review whose link the client's user does not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Declined {
    /// It is withdrawn: an approval that comes later runs nothing, for nobody.
    #[default]
    Withdraw,
    /// It stays open: the same call sent again joins it.
    Leave,
}

/// In which way one call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The request stays open, with progress where it asks for it; then `pending`.
    Hold { patience: Duration },
    /// The same, for less than the client's time-out, whatever the call's entry says.
    Bounded { patience: Duration },
    /// In so many legs of this length; then `pending`.
    Legs { leg: Duration, most: u8, link: LinkFirst },
    /// As a task.
    Task,
}

impl Waiting {
    /// How long a call waits whose entry does not say, and how long any call does.
    pub(crate) const fn patience(&self) -> (Duration, Option<Duration>) {
        match self {
            Self::Hold { patience } => (*patience, None),
            Self::Bounded { patience } => (*patience, Some(*patience)),
            Self::Legs { leg, .. } => (*leg, Some(*leg)),
            Self::Task => (Duration::ZERO, Some(Duration::ZERO)),
        }
    }
}

/// Whether the client's user is shown where to approve, before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkFirst {
    Yes,
    No,
}

/// Clients answer so many `input_required` results by themselves: one more, for a link, is the most that any of them takes.
const LEGS_MAX: u8 = 9;

/// The way in which a call of `client` waits. `progress`: whether its request has a progress token.
pub(crate) fn choose(waits: &Waits, client: &Client, progress: bool) -> Waiting {
    let Profile { progress_keeps, with_progress, without_progress, leg } = *client.profile();
    let held = || {
        if progress && progress_keeps {
            Waiting::Hold { patience: waits.patience.unwrap_or(with_progress) }
        } else {
            Waiting::Bounded {
                patience: waits.patience.map_or(without_progress, |own| own.min(without_progress)),
            }
        }
    };
    let legs = || {
        let leg = waits.leg.unwrap_or(leg).min(waits.patience.unwrap_or(Duration::MAX)).max(LEG_MIN);
        let most = waits.patience.map_or(LEGS_MAX, |patience| legs_in(patience, leg));
        let link = if client.opens_links() { LinkFirst::Yes } else { LinkFirst::No };
        Waiting::Legs { leg, most, link }
    };
    match waits.mode {
        WaitMode::Hold => Waiting::Hold { patience: waits.patience.unwrap_or(with_progress) },
        WaitMode::Bounded => Waiting::Bounded { patience: waits.patience.unwrap_or(without_progress) },
        WaitMode::Auto | WaitMode::Task if client.takes_tasks() => Waiting::Task,
        WaitMode::Auto | WaitMode::Task | WaitMode::Legs if client.is_stateless() => legs(),
        WaitMode::Auto | WaitMode::Task | WaitMode::Legs => held(),
    }
}

/// A leg that takes no time would be asked for again at once.
const LEG_MIN: Duration = Duration::from_secs(1);

fn legs_in(patience: Duration, leg: Duration) -> u8 {
    let whole = patience.as_millis().div_ceil(leg.as_millis().max(1));
    u8::try_from(whole).unwrap_or(LEGS_MAX).clamp(1, LEGS_MAX)
}

#[cfg(test)]
mod tests;
