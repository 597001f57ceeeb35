//! A call whose caller does not wait: asked about in one step, gone on with in another, by whoever lives then.

use super::{Asked, GatedCall, Turn, pending, unrecordable};
use crate::{
    Admission, Completion, EffectId, Ending, Grounds, HeldCall, HoldId, HoldState, Mismatch, Moved,
    PermittedCall, Rejection, Stance, Ticket, TicketStep, Unavailable, What,
};

/// What proposing a call came to.
#[derive(Debug)]
#[must_use]
pub enum Proposed {
    /// It needs no person, or not any more.
    Admitted(Admission),
    /// It waits for one; that is on record.
    Held(HeldCall),
}

/// What going on with a run came to whose tool asked for more.
#[derive(Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "made once per answer and taken apart at once")]
pub enum Continued {
    /// Send it, once.
    Run(PermittedCall),
    /// Somebody else has gone on with it.
    ByAnother,
}

impl GatedCall<'_> {
    /// Decides as far as that takes no person, and puts a refusal on record.
    pub(crate) async fn propose(mut self: Box<Self>) -> Result<Proposed, Rejection> {
        let proposed = self.decide_or_hold().await;
        self.recorded(proposed).await
    }

    /// Goes on with the call that `id` holds, and puts a refusal on record.
    pub(crate) async fn admit_held(mut self: Box<Self>, id: HoldId) -> Result<Admission, Rejection> {
        let decided = self.go_on(id).await;
        Box::pin(self.recorded(decided)).await
    }

    async fn recorded<T>(&self, decided: Result<T, Rejection>) -> Result<T, Rejection> {
        if let Err(rejection) = &decided {
            // Nothing runs either way.
            let _refused_already = self.record(What::Refused(rejection)).await;
        }
        decided
    }

    async fn decide_or_hold(&mut self) -> Result<Proposed, Rejection> {
        loop {
            let held = match self.look().await? {
                Asked::Held(held) => held,
                Asked::Allowed => return self.allowed().await.map(Proposed::Admitted),
            };
            if let HoldState::Pending | HoldState::Approved | HoldState::Dispatched = held.state {
                return self.unless_withdrawn(*held).await.map(Proposed::Held);
            }
            match Box::pin(self.turn(held)).await? {
                Turn::Admitted(admission) => return Ok(Proposed::Admitted(admission)),
                Turn::Again(id, thread) => self.pause(id, thread).await?,
                Turn::Over => {}
            }
        }
    }

    /// Withdrawn while Gate was asked: nobody will ever hear of the hold.
    async fn unless_withdrawn(&self, held: HeldCall) -> Result<HeldCall, Rejection> {
        match self.caller.interest.stance() {
            Stance::Waiting => Ok(held),
            Stance::Cancelled => Err(self.withdraw_held(&held).await?),
            Stance::Gone => Err(pending(&held)),
        }
    }

    /// Only this hold decides: what it came to is what the call came to, and nothing is asked anew.
    async fn go_on(&mut self, id: HoldId) -> Result<Admission, Rejection> {
        loop {
            let held = Box::new(self.held(id).await?);
            let (thread, effect) = (held.hold.thread.clone(), held.effect.clone());
            if self.caller.interest.stance() == Stance::Cancelled {
                return Err(Box::pin(self.withdraw_held(&held)).await?);
            }
            if is_over(&held) {
                let nothing_ran = match held.state {
                    HoldState::Void => {
                        Rejection::Unavailable { what: Unavailable::Redemption, thread: Some(thread) }
                    }
                    HoldState::Pending
                    | HoldState::Approved
                    | HoldState::Dispatched
                    | HoldState::Done
                    | HoldState::Unknown
                    | HoldState::Rejected
                    | HoldState::Expired
                    | HoldState::Cancelled
                    | HoldState::ChangesRequested => Rejection::Cancelled { thread: Some(thread) },
                };
                return Box::pin(self.ended(id)).await?.ok_or(nothing_ran);
            }
            match self.turn(held).await? {
                Turn::Admitted(admission) => return Ok(admission),
                Turn::Again(id, thread) => Box::pin(self.pause(id, thread)).await?,
                Turn::Over => return Err(Rejection::AlreadyDone { effect, thread: Some(thread) }),
            }
        }
    }

    /// The hold, if it is still that of this call.
    async fn held(&self, id: HoldId) -> Result<HeldCall, Rejection> {
        let held = self.gate.parts.journal.get(id).await.map_err(|_| unrecordable(None))?;
        let mut held = held.ok_or_else(|| unrecordable(None))?;
        if held.identity == self.identity {
            // The same names, once.
            held.identity = self.identity.clone();
            return Ok(held);
        }
        // The server is another one now, say: so is the call.
        Err(Rejection::Mismatch { thread: held.hold.thread, what: Mismatch::Configuration })
    }

    /// The last caller withdrew. Who waits for the same hold in this process has not.
    async fn withdraw_held(&self, held: &HeldCall) -> Result<Rejection, Rejection> {
        if self.gate.flights.passenger(held.id).is_none() {
            let (Moved::Yes | Moved::No) = self.end(held, Ending::Cancelled, None).await?;
        }
        Ok(Rejection::Cancelled { thread: Some(held.hold.thread.clone()) })
    }

    /// Goes on with a run, and puts a refusal on record.
    pub(crate) async fn continue_run(self: Box<Self>, ticket: &Ticket) -> Result<Continued, Rejection> {
        let continued = self.permit_more(ticket).await;
        self.recorded(continued).await
    }

    /// The permit to tell the tool what the caller said to its answer: once per answer, of a call that is still what was
    /// approved.
    async fn permit_more(&self, ticket: &Ticket) -> Result<Continued, Rejection> {
        let held = self.held(ticket.hold).await?;
        let thread = held.hold.thread.clone();
        if held.state != HoldState::Done {
            return Err(unrecordable(Some(thread)));
        }
        self.recheck(&held).await?;
        let call = self.frozen(&held)?;
        let effect = self.effect_of(&held).await?;
        let step = TicketStep::GoOn { owner: self.gate.parts.owner.clone() };
        match self.gate.tickets().step(ticket, step).await {
            Ok(Moved::Yes) => {}
            Ok(Moved::No) => return Ok(Continued::ByAnother),
            Err(_) => return Err(unrecordable(Some(thread))),
        }
        let grounds = Grounds::Approved(thread.clone());
        self.record(What::GoingOn { id: held.id, grounds: &grounds }).await?;
        let completion = Completion::of_more(self.gate, self.facts.clone(), thread, effect);
        Ok(Continued::Run(self.gate.permit(call, Some(self.identity.digest), grounds, completion)))
    }

    /// The effect that the run took, while nobody knows whether it was had.
    async fn effect_of(&self, held: &HeldCall) -> Result<Option<EffectId>, Rejection> {
        let Some(once) = self.once() else {
            return Ok(None);
        };
        Ok(once.look().await?.filter(|run| run.hold == Some(held.id)).map(|run| run.id))
    }
}

/// Nothing can come of it any more, or the answer is with somebody.
fn is_over(held: &HeldCall) -> bool {
    match held.state {
        HoldState::Pending | HoldState::Approved | HoldState::Dispatched | HoldState::Unknown => false,
        HoldState::Done => held.delivered,
        HoldState::Rejected
        | HoldState::Expired
        | HoldState::Cancelled
        | HoldState::ChangesRequested
        | HoldState::Void => true,
    }
}
