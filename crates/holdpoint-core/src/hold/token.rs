//! What a reviewer's yes brings along: whether it is good, and using it up.

use super::GatedCall;
use crate::{Answer, Approval, ApprovalToken, ApproverError, Flaw, HeldCall, Redemption, Refusal, Tokens};
use jiff::Timestamp;
use std::time::Duration;

/// For a token in the place of one that another process revoked.
const FRESH_TOKEN_WITHIN: Duration = Duration::from_secs(5);

impl GatedCall<'_> {
    /// Each reading of an approval revokes the token that the one before brought, and another process that waits for
    /// the same thread may have read it after us. A token that was refused as *invalid* is therefore replaced, once: the
    /// claim is ours, so nobody reads it any more.
    pub(super) async fn spend(
        &self,
        held: &HeldCall,
        token: ApprovalToken,
    ) -> Result<Redemption, ApproverError> {
        let approver = &self.gate.parts.approver;
        let refused = match approver.redeem(&held.hold.task, &token).await? {
            Redemption::Refused(Refusal::Invalid) => Redemption::Refused(Refusal::Invalid),
            settled @ (Redemption::Valid | Redemption::Refused(Refusal::Expired | Refusal::Used)) => {
                return Ok(settled);
            }
        };
        let Ok(Answer::Approved(fresh)) = approver.wait(&held.hold, FRESH_TOKEN_WITHIN).await else {
            return Ok(refused);
        };
        match proof(self.ask.tokens, held, fresh, self.gate.parts.clock.now()) {
            Ok(Some(fresh)) => approver.redeem(&held.hold.task, &fresh).await,
            Ok(None) | Err(_) => Ok(refused),
        }
    }
}

/// Whether the approval answers this hold and brings what it must bring: the token to redeem, if one is needed.
pub(super) fn proof(
    tokens: Tokens,
    held: &HeldCall,
    approval: Approval,
    now: Timestamp,
) -> Result<Option<ApprovalToken>, Flaw> {
    if approval.hold.thread != held.hold.thread || approval.hold.task != held.hold.task {
        return Err(Flaw::OtherThread);
    }
    match (tokens, approval.token) {
        (Tokens::Off, _) | (Tokens::Optional, None) => Ok(None),
        (Tokens::Required, None) => Err(Flaw::Missing),
        (Tokens::Required | Tokens::Optional, Some(_))
            if approval.expires_at.is_some_and(|expires_at| expires_at <= now) =>
        {
            Err(Flaw::Expired)
        }
        (Tokens::Required | Tokens::Optional, Some(token)) => Ok(Some(token)),
    }
}
