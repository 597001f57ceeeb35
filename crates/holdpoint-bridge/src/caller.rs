use holdpoint_core::Principal;
use std::time::Duration;

/// Whose request it is. Whoever makes one says whom the bridge trusts.
#[derive(Clone, Debug)]
pub struct BridgeCaller {
    /// The principal.
    pub principal: Principal,
    /// For how long what was presented is good; `None`: until it is revoked.
    pub good_for: Option<Duration>,
}

impl BridgeCaller {
    /// What was presented is good until it is revoked.
    #[must_use]
    pub const fn standing(principal: Principal) -> Self {
        Self { principal, good_for: None }
    }
}
