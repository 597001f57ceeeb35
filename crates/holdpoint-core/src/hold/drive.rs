//! From a hold to a permit: waiting for the decision, and acting on it.

use super::{CLAIM_STALE, GatedCall, Turn, left, pending, token::proof, unrecordable};
use crate::{
    Admission, Answer, Approval, ApprovalToken, Completion, Decision, Delivery, Ending, Event, Flaw, Grounds,
    HeldCall, Mismatch, Moved, Redemption, Refusal, Rejection, Resolution, Resolver, Stance, Step,
    Unavailable, What,
    flight::{Flight, Landing},
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// What a reviewer's yes came to.
enum Yes {
    Run(Grounds),
    /// Somebody else has claimed it.
    Taken,
    No(Ending, Rejection),
}

impl GatedCall<'_> {
    /// Another call of this process drives the hold.
    pub(super) async fn ride(
        &mut self,
        held: &HeldCall,
        mut landing: watch::Receiver<Landing>,
    ) -> Result<Turn, Rejection> {
        let remaining = self.remaining();
        let landed = tokio::select! {
            biased;
            stance = self.caller.interest.ended() => Err(stance),
            landed = landing.wait_for(|landing| !matches!(landing, Landing::Flying)) => {
                Ok(landed.map_or(Landing::Left, |landing| landing.clone()))
            }
            () = self.gate.closing() => return Err(pending(held)),
            () = self.gate.parts.clock.sleep(remaining) => return Err(pending(held)),
        };
        let landed = match landed {
            Ok(landed) => landed,
            Err(stance) => {
                if stance == Stance::Cancelled {
                    self.abandon(held.id).await?;
                }
                return Err(left(held, stance));
            }
        };
        match landed {
            Landing::Ran(result) => Ok(Turn::Admitted(Admission::Replay(result, Delivery::nothing()))),
            Landing::Refused(rejection) => Err(rejection),
            Landing::Left | Landing::Flying => Ok(Turn::Again(held.id, held.hold.thread.clone())),
        }
    }

    /// Waits for the decision, acts on it, and tells those who ride along how it ended.
    pub(super) async fn drive(&mut self, held: Box<HeldCall>, mut flight: Flight) -> Result<Turn, Rejection> {
        let Some(slot) = self.gate.slot() else {
            return Err(Rejection::Busy { thread: held.hold.thread });
        };
        let remaining = self.remaining();
        let answer = tokio::select! {
            biased;
            stance = self.caller.interest.ended() => {
                if stance == Stance::Cancelled && !flight.has_passengers() {
                    let ended = Box::pin(self.end(&held, Ending::Cancelled, None)).await;
                    let (Moved::Yes | Moved::No) = ended?;
                }
                return Err(left(&held, stance));
            }
            answer = self.gate.parts.approver.wait(&held.hold, remaining) => answer,
            () = self.gate.closing() => return Err(pending(&held)),
        };
        drop(slot);
        let thread = held.hold.thread.clone();
        let answer = answer.map_err(|_| Rejection::Unavailable {
            what: Unavailable::Decision,
            thread: Some(thread.clone()),
        })?;
        Box::pin(self.record_decision(&held, &answer)).await?;
        let (ending, rejection) = match answer {
            Answer::StillHeld => return Err(pending(&held)),
            Answer::Approved(approval) => match Box::pin(self.redeem(&held, approval)).await {
                Yes::Run(grounds) => return self.run(&held, grounds, flight).map(Turn::Admitted),
                Yes::Taken => return Ok(Turn::Again(held.id, thread)),
                Yes::No(ending, rejection) => (ending, rejection),
            },
            Answer::Rejected { message } => {
                (Ending::Rejected, Rejection::Rejected { thread: Some(thread), message })
            }
            Answer::Expired { message } => (Ending::Expired, Rejection::Expired { thread, message }),
            Answer::ChangesRequested { message } => {
                (Ending::ChangesRequested, Rejection::ChangesRequested { thread, message })
            }
            Answer::OtherPayload => (Ending::Void, Rejection::Mismatch { thread, what: Mismatch::Payload }),
        };
        match (Box::pin(self.end(&held, ending, rejection.message())).await?, &rejection) {
            // `No`: what could not be written may have been; nothing runs here, for certain.
            (Moved::Yes, _) | (Moved::No, Rejection::Unavailable { .. }) => {}
            // Another process has acted on another answer, and may have run it: this one's answer is that one's.
            (Moved::No, _) => return Ok(Turn::Again(held.id, held.hold.thread)),
        }
        // Who rides along did not cancel: with the flight left, they ask anew.
        if ending != Ending::Cancelled {
            flight.land(Landing::Refused(rejection.clone()));
        }
        Err(rejection)
    }

    async fn record_decision(&self, held: &HeldCall, answer: &Answer) -> Result<(), Rejection> {
        let (decision, message) = match answer {
            Answer::StillHeld => return Ok(()),
            Answer::Approved(approval) => (Decision::Approved, &approval.message),
            Answer::Rejected { message } => (Decision::Rejected, message),
            Answer::Expired { message } => (Decision::Expired, message),
            Answer::ChangesRequested { message } => (Decision::ChangesRequested, message),
            Answer::OtherPayload => (Decision::OtherPayload, &None),
        };
        self.record(What::Decided { hold: &held.hold, decision, message: message.as_deref() }).await
    }

    /// From a reviewer's yes to `dispatched`: about this call, unchanged on our side, claimed, redeemed, recorded.
    /// In that order, so that the approval of another call is never used up here.
    async fn redeem(&self, held: &HeldCall, approval: Approval) -> Yes {
        let thread = &held.hold.thread;
        let checked = self.checked(held, approval).await;
        // To refuse, too: a neighbour may have read the same approval, redeemed its token, and be about to run it.
        match self.claim(held).await {
            Ok(Moved::Yes) => {}
            Ok(Moved::No) => return Yes::Taken,
            Err(rejection) => return void(rejection),
        }
        if let Err(rejection) = self.record_take_over(held).await {
            return void(rejection);
        }
        let grounds = match checked {
            Err(rejection) => return void(rejection),
            Ok(None) => Grounds::ApprovedWithoutToken(thread.clone()),
            Ok(Some(token)) => match self.spend(held, token).await {
                Ok(Redemption::Valid) => Grounds::Approved(thread.clone()),
                Ok(Redemption::Refused(refusal)) => {
                    let flaw = Flaw::Refused(refusal);
                    return void(Rejection::TokenInvalid { thread: thread.clone(), flaw });
                }
                Err(what) => return void(Rejection::Unavailable { what, thread: Some(thread.clone()) }),
            },
        };
        if self.caller.interest.stance() == Stance::Cancelled {
            // The call is withdrawn either way.
            let _withdrawn_already = self.record(What::TooLate { hold: &held.hold }).await;
            return Yes::No(Ending::Cancelled, Rejection::Cancelled { thread: Some(thread.clone()) });
        }
        self.dispatch(held, grounds).await
    }

    /// The token to redeem, if one is needed, of an approval that is about this call as it still is.
    async fn checked(&self, held: &HeldCall, approval: Approval) -> Result<Option<ApprovalToken>, Rejection> {
        let token = proof(self.ask.tokens, held, approval, self.gate.parts.clock.now())
            .map_err(|flaw| Rejection::TokenInvalid { thread: held.hold.thread.clone(), flaw })?;
        self.recheck(held).await?;
        Ok(token)
    }

    async fn claim(&self, held: &HeldCall) -> Result<Moved, Rejection> {
        let parts = &self.gate.parts;
        let now = parts.clock.now();
        let stale_before = stale_before(held, now);
        let claim = Step::Claim { owner: parts.owner.clone(), stale_before };
        let claimed = parts.journal.advance(held.id, claim, now).await;
        claimed.map_err(|_| unrecordable(Some(held.hold.thread.clone())))
    }

    /// Durable in the journal and on record as evidence, before the tool sees a byte.
    async fn dispatch(&self, held: &HeldCall, grounds: Grounds) -> Yes {
        let parts = &self.gate.parts;
        let thread = Some(held.hold.thread.clone());
        let now = parts.clock.now();
        let what = What::Dispatching { id: Some(held.id), grounds: &grounds };
        let (dispatched, recorded) = tokio::join!(
            parts.journal.advance(held.id, Step::Dispatch { owner: parts.owner.clone() }, now),
            parts.recorder.record(Event { at: now, facts: &self.facts, what }),
        );
        match (dispatched, recorded) {
            (Ok(Moved::Yes), Ok(())) => Yes::Run(grounds),
            (Ok(Moved::Yes), Err(_)) => {
                // A write that fails leaves it dispatched: refused until a person says that nothing ran.
                let undo = Step::Resolve(Resolution::DidNotRun);
                let _unchanged = parts.journal.advance(held.id, undo, parts.clock.now()).await;
                void(Rejection::Unavailable { what: Unavailable::Record, thread })
            }
            (Ok(Moved::No), _) => self.not_dispatched(held).await,
            (Err(_), _) => void(unrecordable(thread)),
        }
    }

    /// Another process has the claim by now, or another call has had the effect.
    async fn not_dispatched(&self, held: &HeldCall) -> Yes {
        let Some(once) = self.once() else {
            return Yes::Taken;
        };
        match once.look().await {
            Ok(Some(run)) if run.hold != Some(held.id) => {
                // If it was given back meanwhile: this call's token is used up all the same.
                let (thread, flaw) = (held.hold.thread.clone(), Flaw::Refused(Refusal::Used));
                void(once.free().await.err().unwrap_or(Rejection::TokenInvalid { thread, flaw }))
            }
            Ok(Some(_) | None) => Yes::Taken,
            Err(rejection) => void(rejection),
        }
    }

    /// Whoever had the claim before may have put a dispatch on record, and died before the journal knew of it. The
    /// journal does not, so nothing was sent.
    async fn record_take_over(&self, held: &HeldCall) -> Result<(), Rejection> {
        if held.claim.is_none() {
            return Ok(());
        }
        let (thread, resolution) = (Some(&held.hold.thread), Resolution::DidNotRun);
        self.record(What::Resolved { thread, resolution, by: Resolver::Adapter }).await
    }

    fn run(&self, held: &HeldCall, grounds: Grounds, flight: Flight) -> Result<Admission, Rejection> {
        let call = self.frozen(held)?;
        let (facts, thread) = (self.facts.clone(), held.hold.thread.clone());
        let completion = Completion::of_hold(self.gate, facts, held.id, thread, flight);
        Ok(Admission::Run(self.gate.permit(call, Some(self.identity.digest), grounds, completion)))
    }
}

/// Claims older than this are dead.
fn stale_before(held: &HeldCall, now: Timestamp) -> Timestamp {
    match &held.claim {
        // A claim that lives is left alone before it comes to this; one that was made since then is younger.
        Some((_, at)) => at.saturating_add(SignedDuration::from_micros(1)).unwrap_or(Timestamp::MAX),
        None => now.saturating_sub(CLAIM_STALE).unwrap_or(Timestamp::MIN),
    }
}

fn void(rejection: Rejection) -> Yes {
    Yes::No(Ending::Void, rejection)
}
