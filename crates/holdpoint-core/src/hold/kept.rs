//! Results that are there already: whose they are, and how long.

use super::{GatedCall, Turn, left, unrecordable};
use crate::{
    Admission, Delivery, HeldCall, HoldId, HoldState, Rejection,
    flight::{Landing, Seat},
    once::in_doubt,
};
use jiff::SignedDuration;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// An answer that is not taken off our hands in this time may never be: whoever sends the call again gets it.
const DELIVERED_WITHIN: Duration = Duration::from_secs(2);

impl GatedCall<'_> {
    /// The call ran, and nobody got the answer.
    pub(super) async fn collect(&mut self, held: HeldCall) -> Result<Turn, Rejection> {
        let flight = match self.gate.flights.enter(held.id) {
            Seat::Driver(flight) => flight,
            Seat::Passenger(landing) => return self.after_delivery(held, landing).await,
        };
        let parts = &self.gate.parts;
        let ran_at = held.claim.as_ref().map_or(held.opened_at, |(_, at)| *at);
        let kept = SignedDuration::try_from(parts.limits.result_kept).unwrap_or(SignedDuration::MAX);
        let too_old = parts.clock.now().duration_since(ran_at) > kept;
        let delivery =
            Delivery::of_hold(held.id, flight, Arc::clone(&parts.journal), Arc::clone(&parts.clock));
        if too_old {
            // Not noted, it would be found here again and again.
            delivery.note().await.map_err(|_| unrecordable(Some(held.hold.thread)))?;
            return Ok(Turn::Over);
        }
        if let Some(result) = held.result {
            return Ok(Turn::Admitted(Admission::Replay(result, delivery)));
        }
        // Too large to keep, or never heard. Said once; after that the same call is a new one, and a person decides.
        delivery.delivered().await;
        Err(self.without_result(held).await?)
    }

    /// It ran or may have run, and there is no answer to hand out.
    async fn without_result(&self, held: HeldCall) -> Result<Rejection, Rejection> {
        if let Some(key) = &held.effect {
            let run = self.gate.parts.journal.effect(&held.identity.server, key).await;
            if let Some(run) = run.map_err(|_| unrecordable(None))? {
                return Ok(in_doubt(run));
            }
        }
        Ok(Rejection::OutcomeUnknown { thread: Some(held.hold.thread), effect: held.effect })
    }

    /// The answer is on its way to the call that it ran for. A client that has it may send the same call again before
    /// we have noted that, and means a new one: handing out the same answer would tell of a run that never was.
    async fn after_delivery(
        &mut self,
        held: HeldCall,
        mut landing: watch::Receiver<Landing>,
    ) -> Result<Turn, Rejection> {
        tokio::select! {
            biased;
            stance = self.caller.interest.ended() => return Err(left(&held, stance)),
            _ended = landing.wait_for(|landing| !matches!(landing, Landing::Flying)) => return Ok(Turn::Over),
            () = self.gate.parts.clock.sleep(DELIVERED_WITHIN) => {}
        }
        match held.result {
            Some(result) => Ok(Turn::Admitted(Admission::Replay(result, Delivery::nothing()))),
            None => Err(self.without_result(held).await?),
        }
    }

    /// The hold that this call had joined was brought to its end by another process. Its answer is this call's answer:
    /// a second question about the same call would be a second run for one proposal. `None`: nothing ran and nobody
    /// said no, so the question may be asked anew.
    pub(super) async fn ended(&self, id: HoldId) -> Result<Option<Admission>, Rejection> {
        let held = self.gate.parts.journal.get(id).await.map_err(|_| unrecordable(None))?;
        let Some(held) = held else {
            return Err(unrecordable(None));
        };
        let thread = held.hold.thread.clone();
        let message = held.words.as_deref().map(str::to_owned);
        match (held.state, &held.result) {
            (HoldState::Done, Some(result)) => {
                Ok(Some(Admission::Replay(result.clone(), Delivery::nothing())))
            }
            (HoldState::Rejected, _) => Err(Rejection::Rejected { thread: Some(thread), message }),
            (HoldState::Expired, _) => Err(Rejection::Expired { thread, message }),
            (HoldState::ChangesRequested, _) => Err(Rejection::ChangesRequested { thread, message }),
            (HoldState::Cancelled | HoldState::Void | HoldState::Pending | HoldState::Approved, _) => {
                Ok(None)
            }
            // It ran, once, for this call as for the one that was first and has the answer.
            (HoldState::Done, None) if held.delivered => {
                Err(Rejection::AlreadyDone { effect: held.effect, thread: Some(thread) })
            }
            // It ran or may have run, and there is no answer to hand out.
            (HoldState::Dispatched | HoldState::Unknown, _) | (HoldState::Done, None) => {
                Err(self.without_result(held).await?)
            }
        }
    }
}
