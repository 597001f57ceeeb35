//! Who may have a question gone on with: each caller so many at once.

use crate::{
    BridgeOptions,
    desk::{Full, Place, Seat},
    inner::{Inner, Row},
    problem::Problem,
};
use holdpoint_core::Principal;
use std::sync::Arc;

impl Inner {
    /// A place for one more question of this caller.
    pub(crate) fn place(&self, principal: &Principal) -> Result<Place<'_>, Problem> {
        let BridgeOptions { open_max, driven_max, .. } = self.parts.options;
        self.desk.place(principal, open_max, driven_max).map_err(|full| match full {
            Full::Caller => Problem::too_many_open(open_max),
            Full::Desk => Problem::too_many_open_here(),
        })
    }

    /// The seat of an operation whose caller is here; `place` is what was kept for it.
    pub(crate) fn seat(
        self: &Arc<Self>,
        row: &Row,
        told: bool,
        place: Option<Place<'_>>,
    ) -> Result<Arc<Seat>, Problem> {
        let principal = &row.operation.principal;
        let _kept = match place {
            None if self.desk.seat(row.id()).is_none() => Some(self.place(principal)?),
            kept => kept,
        };
        Ok(self.drive(principal, row.id(), told))
    }
}
