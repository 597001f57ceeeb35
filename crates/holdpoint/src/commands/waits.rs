//! How a call would wait for a person, for each kind of client.

use holdpoint_mcp::{ClientKind, Waits, WaitsAs};
use serde_json::{Value, json};
use std::time::Duration;

/// One kind of client, and how its calls wait.
pub(super) type Way = (ClientKind, WaitsAs);

pub(super) fn of(waits: Waits, entry: Option<Duration>) -> Vec<Way> {
    ClientKind::ALL.into_iter().map(|kind| (kind, kind.waits_as(&waits, entry))).collect()
}

pub(super) fn text(ways: &[Way]) -> String {
    if ways.is_empty() {
        return String::new();
    }
    let lines = ways.iter().map(|(kind, waits)| format!("\n  {:<26} {}", client(*kind), said(*waits)));
    format!("\n\nUntil a person decides, a call waits{}", lines.collect::<String>())
}

pub(super) fn json(ways: &[Way]) -> Value {
    let of_one = |(kind, waits): &Way| {
        let kind = kind.as_str();
        match waits {
            WaitsAs::Task => json!({ "client": kind, "as": "task" }),
            WaitsAs::Legs { leg, most, link } => {
                json!({ "client": kind, "as": "legs", "leg_s": leg.as_secs_f64(), "legs_max": most, "link": link })
            }
            WaitsAs::Held { patience } => {
                json!({ "client": kind, "as": "held", "patience_s": patience.as_secs_f64() })
            }
        }
    };
    ways.iter().map(of_one).collect()
}

const fn client(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::Tasks => "2026-07-28, takes tasks",
        ClientKind::Links => "2026-07-28, opens links",
        ClientKind::Stateless => "2026-07-28",
        ClientKind::Progress => "older, asks for progress",
        ClientKind::Silent => "older",
    }
}

fn said(waits: WaitsAs) -> String {
    match waits {
        WaitsAs::Task => "as a task: it is answered at once, and asks when it likes".to_owned(),
        WaitsAs::Legs { leg, most, link } => {
            let link = if link { ", its user is shown the review first" } else { "" };
            format!("in legs of {} s, {most} at most{link}", leg.as_secs_f64())
        }
        WaitsAs::Held { patience } => format!("held open, {} s at most", patience.as_secs_f64()),
    }
}
