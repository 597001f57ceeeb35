//! A question that nobody wants answered any more.

use super::GatedCall;
use crate::{Caller, Gate, HoldState, Plan, Rejection, ToolCall};
use std::time::Duration;

/// What became of the question that was open about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// What is decided later runs nothing, or there was no question.
    Withdrawn,
    /// Others wait for the answer, or it has come, or the journal cannot be written.
    StaysOpen,
}

impl Gate {
    /// Withdraws the question that is open about `call`, unless others of this process wait for its answer. Asks nobody, and
    /// runs nothing.
    pub async fn withdraw(&self, call: ToolCall) -> Withdrawal {
        let Ok(Plan::Gate(ask)) = self.parts.policy.plan(&call) else {
            return Withdrawal::StaysOpen;
        };
        let call = GatedCall::new(self, call, *ask, Caller::staying(Duration::ZERO));
        Box::pin(call.withdraw_open()).await.unwrap_or(Withdrawal::StaysOpen)
    }
}

impl GatedCall<'_> {
    async fn withdraw_open(&self) -> Result<Withdrawal, Rejection> {
        let find = || self.gate.parts.journal.find(&self.identity, &self.call.task);
        let Some(held) = find().await.map_err(|_| super::unrecordable(None))?.live else {
            return Ok(Withdrawal::Withdrawn);
        };
        if held.state != HoldState::Pending {
            return Ok(Withdrawal::StaysOpen);
        }
        self.abandon(held.id).await?;
        let left = find().await.map_err(|_| super::unrecordable(None))?.live;
        Ok(if left.is_some() { Withdrawal::StaysOpen } else { Withdrawal::Withdrawn })
    }
}
