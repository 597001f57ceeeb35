//! Times, states and risks in words.

use holdpoint_api::RiskLevel;
use holdpoint_store::{Decider, OpenState, ThreadState};
use jiff::Timestamp;

/// An instant, as people read it.
#[derive(Debug, Clone)]
pub(super) struct When {
    /// For machines.
    pub(super) machine: String,
    /// To the second, in UTC.
    pub(super) exact: String,
    /// How long ago.
    pub(super) age: String,
}

impl When {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self {
            machine: at.to_string(),
            exact: at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            age: age(now.duration_since(at).as_secs()),
        }
    }
}

fn age(seconds: i64) -> String {
    match seconds {
        ..60 => "just now".to_owned(),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "1 day ago".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// When something that waits will expire.
#[derive(Debug, Clone)]
pub(super) struct Expires {
    pub(super) class: &'static str,
    pub(super) words: String,
}

/// Less than this is worth a colour.
const SOON_SECONDS: i64 = 15 * 60;

impl Expires {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let seconds = at.duration_since(now).as_secs();
        let rounded = |unit: i64| (seconds + unit / 2) / unit;
        let words = match seconds {
            ..1 => "now".to_owned(),
            1..60 => format!("in {seconds} s"),
            60..3_600 => format!("in {} min", rounded(60)),
            3_600..172_800 => format!("in {} h", rounded(3_600)),
            _ => format!("in {} days", rounded(86_400)),
        };
        Self { class: if seconds < SOON_SECONDS { "expires soon" } else { "expires" }, words }
    }
}

/// A word with a colour; the word says it all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Badge {
    pub(super) class: &'static str,
    pub(super) words: &'static str,
}

pub(super) fn risk(level: Option<RiskLevel>) -> Badge {
    match level {
        Some(RiskLevel::Critical) => Badge { class: "risk-critical", words: "critical risk" },
        Some(RiskLevel::High) => Badge { class: "risk-high", words: "high risk" },
        Some(RiskLevel::Medium) => Badge { class: "risk-medium", words: "medium risk" },
        Some(RiskLevel::Low) => Badge { class: "risk-low", words: "low risk" },
        None => Badge { class: "risk-none", words: "risk not given" },
    }
}

pub(super) fn state(state: &ThreadState) -> Badge {
    match state {
        ThreadState::Open(OpenState::NeedsReview) => Badge { class: "state-open", words: "needs review" },
        ThreadState::Open(OpenState::Escalated) => Badge { class: "state-escalated", words: "escalated" },
        ThreadState::Approved(_) => Badge { class: "state-approved", words: "approved" },
        ThreadState::Rejected(_) => Badge { class: "state-rejected", words: "rejected" },
        ThreadState::Expired { .. } => Badge { class: "state-expired", words: "expired" },
    }
}

pub(super) fn decider(by: &Decider) -> &str {
    match by {
        Decider::Person(name) => name,
        Decider::Rules => "the rules of this Gate",
    }
}
