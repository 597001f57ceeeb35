//! Another proposal, in the thread whose reviewer asked for one.

use super::{GatedCall, unrecordable};
use crate::{HeldCall, Moved, Rejection, Repeat, Revised, Stance, Step, Unavailable};

impl GatedCall<'_> {
    /// `None`: the thread takes no more proposals, or it cannot be told which one its decision is about; ask anew.
    pub(super) async fn revise(
        &self,
        before: &HeldCall,
        repeat: Repeat,
    ) -> Result<Option<HeldCall>, Rejection> {
        let parts = &self.gate.parts;
        let thread = Some(before.hold.thread.clone());
        // One call revises a thread: a second one would take the reviewer's yes for itself.
        let take_up = Step::TakeUp { digest: self.identity.digest };
        match parts.journal.advance(before.id, take_up, parts.clock.now()).await {
            Ok(Moved::Yes) => {}
            Ok(Moved::No) => return Ok(None),
            Err(_) => return Err(unrecordable(thread)),
        }
        let revised = parts.approver.revise(&self.ask, &before.hold, repeat).await;
        if self.caller.interest.stance() == Stance::Cancelled {
            let held = match revised {
                Ok(Revised::Held(proposal)) => Some(proposal),
                Ok(Revised::Rejected { .. } | Revised::Closed) | Err(_) => None,
            };
            let thread = self.withdraw(held).await?;
            return Err(Rejection::Cancelled { thread });
        }
        let proposal = match revised {
            Ok(Revised::Held(proposal)) => proposal,
            Ok(Revised::Rejected { message }) => return Err(Rejection::Rejected { thread, message }),
            Ok(Revised::Closed) => return Ok(None),
            Err(_) => return Err(Rejection::Unavailable { what: Unavailable::Ask, thread }),
        };
        self.open(proposal).await.map(Some)
    }
}
