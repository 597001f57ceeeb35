//! What is known of the client of a call: what it declares, and how long it waits.

use crate::{
    message::{CallMessage, Object, text_of},
    protocol::{CAPABILITIES_KEY, CLIENT_KEY, TASKS_EXTENSION},
};
use serde_json::value::RawValue;
use std::time::Duration;

/// How long a client waits. Measured, or read in its source; what clients say of themselves only picks the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// Whether progress keeps a request of it alive.
    pub(crate) progress_keeps: bool,
    /// How long a request can be held that is told about progress.
    pub(crate) with_progress: Duration,
    /// How long a request can be held that is not.
    pub(crate) without_progress: Duration,
    /// How long one leg can be.
    pub(crate) leg: Duration,
}

/// Below the 60 seconds that many clients give a request, whatever they are sent.
const BOUNDED: Duration = Duration::from_secs(50);
/// The same, with time for a round trip.
const LEG: Duration = Duration::from_secs(45);

const UNKNOWN: Profile = Profile {
    progress_keeps: true,
    with_progress: Duration::from_mins(15),
    without_progress: BOUNDED,
    leg: LEG,
};
/// Gives up after a minute or so, whatever it is sent.
const DEAF: Profile = Profile { progress_keeps: false, ..UNKNOWN };
/// Waits as long as it hears of progress, and has no other limit that matters.
const PATIENT: Profile = Profile { with_progress: Duration::from_hours(1), ..UNKNOWN };

/// Beginnings of names, in lower case.
const PROFILES: [(&str, Profile); 7] = [
    // Idle limits of 5 minutes over HTTP and 30 over stdio, reset by progress; about a day in all.
    ("claude-code", PATIENT),
    // 60 seconds or 4 minutes, and progress changes nothing.
    ("claude-ai", DEAF),
    ("claude-desktop", DEAF),
    ("codex", DEAF),
    // 10 minutes for a call, by default.
    (
        "gemini-cli",
        Profile {
            with_progress: Duration::from_mins(9),
            without_progress: Duration::from_mins(9),
            ..UNKNOWN
        },
    ),
    // No limit of its own.
    ("visual studio code", Profile { without_progress: Duration::from_mins(15), ..PATIENT }),
    // Undocumented; calls of more than a minute were seen to work.
    ("cursor", DEAF),
];

/// Who calls, as far as it matters for waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    era: Era,
    links: bool,
    tasks: bool,
    profile: Profile,
}

/// How client and server talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    /// Up to 2025-11-25: `initialize`, then a session.
    Handshake,
    /// From 2026-07-28: each request says all.
    Stateless,
}

impl Client {
    /// Of whom nothing is known.
    pub(crate) const fn unknown() -> Self {
        Self { era: Era::Handshake, links: false, tasks: false, profile: UNKNOWN }
    }

    /// Of the stateless era, of whom only this is known.
    pub(crate) const fn stateless(tasks: bool, links: bool) -> Self {
        Self { era: Era::Stateless, links, tasks, profile: UNKNOWN }
    }

    /// From the `params` of an `initialize` request.
    pub(crate) fn of_initialize(params: &RawValue) -> Self {
        let params = Object::read_leniently(params.get()).ok();
        let member = |name| params.as_ref().and_then(|params| params.get(name));
        Self::new(Era::Handshake, member("capabilities"), member("clientInfo"))
    }

    /// From the request itself, where it is of the stateless era; else the one of its `session`.
    pub(crate) fn of_call(message: &CallMessage<'_>, session: Option<&Self>) -> Self {
        if !message.is_modern() {
            return session.cloned().unwrap_or_else(Self::unknown);
        }
        let member =
            |name| message.meta.protocol.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        Self::new(Era::Stateless, member(CAPABILITIES_KEY), member(CLIENT_KEY))
    }

    fn new(era: Era, capabilities: Option<&RawValue>, info: Option<&RawValue>) -> Self {
        let capabilities = capabilities.and_then(object);
        let declares = |within: &str, name: &str| {
            let within = capabilities.as_ref().and_then(|all| all.get(within)).and_then(object);
            within.and_then(|within| within.get(name)).and_then(object).is_some()
        };
        let name = info.and_then(object).and_then(|info| info.get("name").and_then(text_of));
        let name = name.map(|name| name.to_lowercase()).unwrap_or_default();
        let profile = PROFILES.iter().find(|(start, _)| name.starts_with(start));
        Self {
            era,
            links: declares("elicitation", "url"),
            // A client of a session that declares it means another protocol.
            tasks: era == Era::Stateless && declares("extensions", TASKS_EXTENSION),
            profile: profile.map_or(UNKNOWN, |(_, profile)| *profile),
        }
    }

    pub(crate) fn is_stateless(&self) -> bool {
        self.era == Era::Stateless
    }

    /// Whether it shows its user a link when it is asked to.
    pub(crate) const fn opens_links(&self) -> bool {
        self.links
    }

    /// Whether this request may be answered with a task.
    pub(crate) const fn takes_tasks(&self) -> bool {
        self.tasks
    }

    pub(crate) const fn profile(&self) -> &Profile {
        &self.profile
    }
}

fn object(raw: &RawValue) -> Option<Object<'_>> {
    Object::read_leniently(raw.get()).ok()
}
