//! How calls would wait, said of each kind of client before there is one.

use super::{LinkFirst, Waiting, Waits, choose, client::Client};
use std::time::Duration;

/// What a client says that has to do with waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Of revision 2026-07-28, and takes tasks.
    Tasks,
    /// Of revision 2026-07-28, and opens links.
    Links,
    /// Of revision 2026-07-28, and neither.
    Stateless,
    /// Older, and asks for progress.
    Progress,
    /// Older, and says nothing.
    Silent,
}

/// How its calls would wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsAs {
    /// As a task.
    Task,
    /// In legs.
    Legs {
        /// How long each is.
        leg: Duration,
        /// How many there are at most.
        most: u8,
        /// Whether its user is shown the review first.
        link: bool,
    },
    /// As long as the request stays open.
    Held {
        /// For so long at most.
        patience: Duration,
    },
}

impl ClientKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Tasks, Self::Links, Self::Stateless, Self::Progress, Self::Silent];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Links => "links",
            Self::Stateless => "stateless",
            Self::Progress => "progress",
            Self::Silent => "silent",
        }
    }

    /// How calls of such a client, of which nothing else is known, wait. `entry`: how long the call's entry lets it wait, where
    /// it says so.
    #[must_use]
    pub fn waits_as(self, waits: &Waits, entry: Option<Duration>) -> WaitsAs {
        let client = match self {
            Self::Tasks => Client::stateless(true, false),
            Self::Links => Client::stateless(false, true),
            Self::Stateless => Client::stateless(false, false),
            Self::Progress | Self::Silent => Client::unknown(),
        };
        let chosen = choose(waits, &client, self == Self::Progress);
        let (own, at_most) = chosen.patience();
        match chosen {
            Waiting::Task => WaitsAs::Task,
            Waiting::Legs { leg, most, link } => WaitsAs::Legs { leg, most, link: link == LinkFirst::Yes },
            Waiting::Hold { .. } | Waiting::Bounded { .. } => {
                let patience = entry.unwrap_or(own);
                WaitsAs::Held { patience: at_most.map_or(patience, |most| patience.min(most)) }
            }
        }
    }
}
