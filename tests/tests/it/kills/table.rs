//! Which deaths are died.

use holdpoint_e2e::Route;
use std::fmt;

/// What kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Held, approved, with a token.
    Approved,
    /// Held, approved, without one.
    Tokenless,
    /// Held, changes asked for, proposed anew, approved.
    Revised,
    /// Held, approved, with an effect.
    GatedOnce,
    /// Not asked about, with an effect.
    PassedOnce,
    /// Allowed by Gate's rules, with an effect.
    AllowedOnce,
    /// Held, rejected.
    Rejected,
    /// Held, withdrawn, approved too late.
    Withdrawn,
    /// Held, approved, and the tool's answer never comes.
    Lost,
}

impl Flow {
    pub(super) const ALL: [Self; 9] = [
        Self::Approved,
        Self::Tokenless,
        Self::Revised,
        Self::GatedOnce,
        Self::PassedOnce,
        Self::AllowedOnce,
        Self::Rejected,
        Self::Withdrawn,
        Self::Lost,
    ];

    pub(super) const fn tool(self) -> &'static str {
        match self {
            Self::Approved | Self::Revised | Self::Rejected | Self::Withdrawn | Self::Lost => "gated",
            Self::Tokenless => "tokenless",
            Self::GatedOnce => "gated_once",
            Self::PassedOnce => "pass_once",
            Self::AllowedOnce => "allowed_once",
        }
    }

    /// Points of the kernel's ports that such a call passes.
    const fn points(self) -> &'static [&'static str] {
        match self {
            Self::Approved => &[
                "journal.find",
                "journal.open",
                "journal.claim",
                "journal.dispatch",
                "journal.finish",
                "journal.deliver",
                "approver.submit",
                "approver.wait",
                "approver.redeem",
                "record.proposed",
                "record.held",
                "record.decided",
                "record.redeemed",
                "record.dispatching",
                "record.completed",
            ],
            Self::Tokenless => &[
                "journal.open",
                "journal.claim",
                "journal.dispatch",
                "journal.finish",
                "journal.deliver",
                "approver.wait",
                "record.dispatching",
            ],
            Self::Revised => &[
                "journal.end",
                "journal.find#2",
                "journal.take_up",
                "approver.revise",
                "journal.open#2",
                "record.held#2",
                "journal.claim",
                "journal.dispatch",
            ],
            Self::GatedOnce => &[
                "journal.effect",
                "journal.claim",
                "approver.redeem",
                "journal.dispatch",
                "journal.finish",
                "record.completed",
            ],
            Self::PassedOnce => &[
                "journal.effect",
                "journal.take_effect",
                "journal.settle",
                "record.dispatching",
                "record.completed",
            ],
            Self::AllowedOnce => &[
                "approver.submit",
                "journal.take_effect",
                "journal.settle",
                "record.allowed",
                "record.dispatching",
                "record.completed",
            ],
            Self::Rejected => &["journal.end", "record.decided", "record.refused"],
            Self::Withdrawn => &["journal.end", "record.withdrawn"],
            Self::Lost => &["journal.lose", "record.outcome_unknown"],
        }
    }

    /// Deaths one after the other.
    const fn twice(self) -> &'static [[&'static str; 2]] {
        match self {
            Self::Approved => &[
                ["journal.open:after", "record.joined:before"],
                ["journal.open:after", "record.joined:after"],
                ["journal.claim:after", "journal.liveness:before"],
                ["journal.claim:after", "journal.liveness:after"],
                ["journal.claim:after", "journal.claim:after"],
                ["journal.claim:after", "approver.redeem:after"],
                ["approver.redeem:after", "journal.end:after"],
                ["journal.dispatch:after", "journal.liveness:after"],
                ["journal.dispatch:after", "record.refused:before"],
                ["journal.finish:after", "journal.deliver:before"],
                ["approver.submit:after", "approver.submit:after"],
            ],
            Self::Tokenless => &[
                ["journal.claim:after", "journal.claim:after"],
                ["journal.claim:after", "journal.dispatch:after"],
                ["approver.submit:after", "journal.open:after"],
            ],
            Self::Revised => &[
                ["approver.revise:after", "approver.revise:after"],
                ["journal.take_up:after", "approver.revise:after"],
            ],
            Self::GatedOnce => &[["journal.claim:after", "journal.dispatch:after"]],
            Self::PassedOnce | Self::AllowedOnce | Self::Rejected | Self::Withdrawn | Self::Lost => &[],
        }
    }

    /// Whether the tool can do the killing.
    const fn reaches_the_tool(self) -> bool {
        match self {
            Self::Approved | Self::Tokenless | Self::GatedOnce | Self::PassedOnce | Self::AllowedOnce => true,
            Self::Revised | Self::Rejected | Self::Withdrawn | Self::Lost => false,
        }
    }
}

const HARMS: [&str; 4] = ["kill_unrun", "kill_received", "kill_logged", "kill_answered"];

/// Which journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Sqlite,
    Postgres,
}

/// Who kills the proxy, and when.
#[derive(Clone, Debug)]
pub(super) enum Deaths {
    /// It does it itself, in one life after the other.
    At(Vec<String>),
    /// The tool does.
    ByTool(&'static str),
}

/// One story to play.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) flow: Flow,
    pub(super) route: Route,
    pub(super) store: Store,
    pub(super) deaths: Deaths,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flow, route, store, deaths } = self;
        write!(f, "{flow:?} {route:?} {store:?} {deaths:?}")
    }
}

/// All stories of one kind. On PostgreSQL not every moment again: into a step is a matter of the database, and before a
/// step is after the one before it.
pub(super) fn cells(flow: Flow, route: Route) -> impl Iterator<Item = Cell> {
    [Store::Sqlite, Store::Postgres].into_iter().flat_map(move |store| {
        let moments: &[&str] = match (store, route) {
            // The proxy ends by itself once its tool server has gone: a moment later it cannot be killed any more.
            _ if flow == Flow::Lost => &["before", "after"],
            (Store::Sqlite, _) => &["before", "after", "+250"],
            (Store::Postgres, Route::Stdio) => &["before", "after"],
            (Store::Postgres, Route::Http) => &["after"],
        };
        let once = flow
            .points()
            .iter()
            .flat_map(|point| moments.iter().map(move |when| vec![format!("{point}:{when}")]));
        let twice = flow.twice().iter().map(|deaths| deaths.map(str::to_owned).to_vec());
        let by_tool = HARMS.into_iter().filter(move |_| flow.reaches_the_tool()).map(Deaths::ByTool);
        let deaths = once.chain(twice).map(Deaths::At).chain(by_tool);
        deaths.map(move |deaths| Cell { flow, route, store, deaths })
    })
}
