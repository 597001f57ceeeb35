//! Who sent a request, as somebody has checked.

use holdpoint_core::Principal;
use http::Extensions;
use std::time::Duration;
use tokio::time::Instant;

/// The caller of one request, after its credentials were checked.
///
/// It has no default and is converted from nothing, so that no path leads around the check: a resolver that swallows its
/// error and goes on as somebody is how CVE-2026-12773 let strangers in.
#[derive(Clone, Debug)]
pub struct Authenticated {
    principal: Principal,
    until: Option<Instant>,
}

/// When what a request was sent with is worth nothing any more.
#[derive(Clone, Copy, Debug)]
struct Until(Instant);

impl Authenticated {
    /// What was presented is good until it is revoked.
    #[must_use]
    pub const fn standing(principal: Principal) -> Self {
        Self { principal, until: None }
    }

    /// What was presented is good for `good_for` from now on: nobody waits for longer with it.
    #[must_use]
    pub fn expiring(principal: Principal, good_for: Duration) -> Self {
        Self { principal, until: Instant::now().checked_add(good_for) }
    }

    /// Until when what was presented is good, where that is known.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Notes in the request when it is over, and says whose it is.
    pub(super) fn admit(self, extensions: &mut Extensions) -> Principal {
        extensions.remove::<Until>();
        if let Some(until) = self.until {
            extensions.insert(Until(until));
        }
        self.principal
    }
}

/// The longest that a call may wait, whatever the configuration says of its tool. When the time is over its caller is told
/// to come back, and comes back with a fresh token: no call that waits with its request runs for a token that has expired
/// meanwhile.
pub(super) fn at_most(extensions: &Extensions, most: Option<Duration>) -> Option<Duration> {
    let left = extensions.get().map(|Until(until)| until.saturating_duration_since(Instant::now()));
    match (most, left) {
        (Some(most), Some(left)) => Some(most.min(left)),
        (most, left) => most.or(left),
    }
}
