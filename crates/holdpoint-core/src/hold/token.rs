//! What a reviewer's yes brings along: whether it is good, and using it up.

use super::GatedCall;
use crate::{
    Answer, Approval, ApprovalToken, Flaw, HeldCall, Hold, Redemption, Refusal, Tokens, Unavailable, What,
};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
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
    ) -> Result<Redemption, Unavailable> {
        let approver = &self.gate.parts.approver;
        let refused = match self.redeem_one(held, &token).await? {
            Redemption::Refused(Refusal::Invalid) => Redemption::Refused(Refusal::Invalid),
            settled @ (Redemption::Valid | Redemption::Refused(Refusal::Expired | Refusal::Used)) => {
                return Ok(settled);
            }
        };
        let Ok(Answer::Approved(fresh)) = approver.wait(&held.hold, FRESH_TOKEN_WITHIN).await else {
            return Ok(refused);
        };
        match proof(self.ask.tokens, held, fresh, self.gate.parts.clock.now()) {
            Ok(Some(fresh)) => self.redeem_one(held, &fresh).await,
            Ok(None) | Err(_) => Ok(refused),
        }
    }

    /// On record either way: that a token was used up without an answer is what an auditor wants to know.
    async fn redeem_one(&self, held: &HeldCall, token: &ApprovalToken) -> Result<Redemption, Unavailable> {
        let answer = self.gate.parts.approver.redeem(&held.hold.task, token).await;
        let hash = Sha256::digest(token.expose().as_bytes()).into();
        let what = What::Redeemed { hold: &held.hold, token: hash, answer: answer.as_ref().ok().copied() };
        let recorded = self.record(what).await;
        let redemption = answer.map_err(|_| Unavailable::Redemption)?;
        recorded.map(|()| redemption).map_err(|_| Unavailable::Record)
    }
}

/// Whether the approval answers this hold and brings what it must bring: the token to redeem, if one is needed.
pub(super) fn proof(
    tokens: Tokens,
    held: &HeldCall,
    approval: Approval,
    now: Timestamp,
) -> Result<Option<ApprovalToken>, Flaw> {
    let proposal = |hold: &Hold| (hold.task.clone(), hold.thread.clone(), hold.revision);
    if proposal(&approval.hold) != proposal(&held.hold) {
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
