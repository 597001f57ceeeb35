//! What another configuration changes, in words for a log.

use crate::{
    policy::{Entry, Table},
    settings::{Config, GateSettings, WaitSettings},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

/// One thing that is different in another configuration. Holds no values of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A running process can take it over: it is in force as soon as the new policy is.
    InForce(String),
    /// A running process goes on as before.
    AtNextStart(String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InForce(what) => f.write_str(what),
            Self::AtNextStart(what) => write!(f, "{what} (at the next start)"),
        }
    }
}

/// What is different in `new`: first what calls come to, then what needs a restart.
#[must_use]
pub fn what_changed(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = defaults(&old.table, &new.table);
    changes.extend(waits(&old.table, &new.table));
    changes.extend(tools(&old.table, &new.table).into_iter().map(Change::InForce));
    changes.extend(settings(old, new).into_iter().map(Change::AtNextStart));
    changes
}

/// What holds for every tool that says nothing else.
fn defaults(old: &Table, new: &Table) -> Vec<Change> {
    let (old, new) = (&old.defaults, &new.defaults);
    let said = |said: Option<&str>| said.map_or_else(|| "not set".to_owned(), |said| format!("`{said}`"));
    let change = |name: &'static str| {
        Change::InForce(format!("{name}: {} → {}", said(old.get(name)), said(new.get(name))))
    };
    old.differing(new).into_iter().map(change).collect()
}

/// Servers whose calls wait in another way.
fn waits(old: &Table, new: &Table) -> Vec<Change> {
    let (old, new) = (&old.waits.servers, &new.waits.servers);
    let said =
        |waits: &HashMap<Box<str>, WaitSettings>, name: &str| waits.get(name).copied().unwrap_or_default();
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).map(|name| &**name).collect();
    let differs = names.into_iter().filter(|name| said(old, name) != said(new, name));
    differs.map(|name| Change::InForce(format!("server `{name}`: `hold`"))).collect()
}

fn tools(old: &Table, new: &Table) -> Vec<String> {
    let (old, new) = (by_name(old), by_name(new));
    let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
    let gone = gone.map(|(name, entry)| format!("tool `{name}`: no entry any more, was {}", action(entry)));
    let come = new.iter().filter_map(|(name, entry)| match old.get(name) {
        None => Some(format!("tool `{name}`: new entry, {}", action(entry))),
        Some(before) => altered(name, before, entry),
    });
    gone.chain(come).collect()
}

fn by_name(table: &Table) -> BTreeMap<&str, &Entry> {
    table.entries().map(|entry| (entry.name.as_str(), entry)).collect()
}

fn action(entry: &Entry) -> &str {
    entry.terms.get("action").unwrap_or("deny")
}

fn altered(name: &str, old: &Entry, new: &Entry) -> Option<String> {
    let differing = old.terms.differing(&new.terms);
    if differing.is_empty() {
        return None;
    }
    let keys = differing.into_iter().map(|key| match key {
        "action" => format!("{} → {}", action(old), action(new)),
        key => format!("`{key}`"),
    });
    Some(format!("tool `{name}`: {}", keys.collect::<Vec<_>>().join(", ")))
}

fn settings(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    for (name, server) in &new.servers {
        match old.servers.get(name) {
            None => changes.push(format!("server `{name}`: new")),
            Some(before) if before != server => changes.push(format!("server `{name}`: reached another way")),
            Some(_) => {}
        }
    }
    let gone = old.servers.keys().filter(|name| !new.servers.contains_key(*name));
    changes.extend(gone.map(|name| format!("server `{name}`: removed")));
    changes.extend(gate(old.gate.as_ref(), new.gate.as_ref()));
    let others = [
        ("callers", old.callers != new.callers),
        ("bridge", old.bridge != new.bridge),
        ("journal", old.journal != new.journal),
        ("audit.rotate_bytes", old.audit != new.audit),
        ("timeline.results", old.timeline != new.timeline),
        ("hold.held_max", old.hold.held_max != new.hold.held_max),
        ("hold.result_bytes_max", old.hold.result_bytes_max != new.hold.result_bytes_max),
        ("hold.result_kept", old.hold.result_kept != new.hold.result_kept),
        ("gate.yaml, or now by `holdpoint gate apply`", old.declaration != new.declaration),
    ];
    changes.extend(others.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()));
    changes
}

fn gate(old: Option<&GateSettings>, new: Option<&GateSettings>) -> Vec<String> {
    match (old, new) {
        (None, None) => Vec::new(),
        (None, Some(_)) => vec!["gate: another Gate instead of our own".to_owned()],
        (Some(_), None) => vec!["gate: our own Gate instead of another".to_owned()],
        (Some(old), Some(new)) => {
            let differs = [
                ("gate.url", old.url != new.url),
                ("gate.api_key", old.api_key != new.api_key),
                ("gate.webhook", old.webhook != new.webhook),
            ];
            differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
        }
    }
}
