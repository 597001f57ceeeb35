//! A call that Gate is asked about: found, asked, held, joined, approved, recorded.

mod kept;
mod token;

use crate::{
    Admission, Answer, Approval, Arguments, Ask, Caller, Completion, Delivery, Ending, Flaw, Gate, Grounds,
    HeldCall, Hold, HoldId, HoldState, Identity, Mismatch, Moved, NewHold, Opened, Plan, Redemption,
    Rejection, Repeat, Stance, Step, Submission, ThreadId, ToolCall, Unavailable,
    asking::Place,
    flight::{Flight, Landing, Seat},
    gate::unfit,
};
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};
use token::proof;
use tokio::sync::watch;

/// A claim this old belongs to a process that died between claim and run; a redemption takes seconds at most.
const CLAIM_STALE: SignedDuration = SignedDuration::from_secs(30);
/// How long to leave a hold alone that somebody else is moving.
const PAUSE: Duration = Duration::from_millis(50);

/// One call on its way through [`Gate::admit_for`].
pub(crate) struct GatedCall<'a> {
    gate: &'a Gate,
    call: ToolCall,
    identity: Identity,
    ask: Ask,
    caller: Caller,
    until: Timestamp,
}

/// What one look at the hold came to.
#[expect(clippy::large_enum_variant, reason = "made a few times per held call and taken apart at once")]
enum Turn {
    Admitted(Admission),
    /// Somebody else moved the hold; look again.
    Again(HoldId, ThreadId),
    /// There is nothing to collect any more; the call is a new one.
    Over,
}

/// Whether this call has waited for an identical one to be asked about.
#[derive(Clone, Copy)]
enum Followed {
    Nobody,
    Somebody,
}

/// What a reviewer's yes came to.
enum Yes {
    Run(Grounds),
    /// Somebody else has claimed it.
    Taken,
    No(Ending, Rejection),
}

impl<'a> GatedCall<'a> {
    pub(crate) fn new(gate: &'a Gate, call: ToolCall, ask: Ask, caller: Caller) -> Self {
        let patience = SignedDuration::try_from(ask.patience.unwrap_or(caller.patience));
        let until = gate.parts.clock.now().saturating_add(patience.unwrap_or(SignedDuration::MAX));
        let until = until.unwrap_or(Timestamp::MAX);
        Self { identity: Identity::from(&call), gate, call, ask, caller, until }
    }

    pub(crate) async fn decide(mut self) -> Result<Admission, Rejection> {
        let mut joined = None;
        let mut followed = Followed::Nobody;
        loop {
            let found = self.gate.parts.journal.find(&self.identity).await;
            let found = found.map_err(|_| unrecordable(None))?;
            let held = match (found.live, joined.take()) {
                (Some(held), _) => held,
                (None, Some(id)) => {
                    if let Some(admission) = self.ended(id).await? {
                        return Ok(admission);
                    }
                    continue;
                }
                (None, None) => {
                    // Until the hold is open, so that nobody asks the same beside us.
                    let _asking = match (self.gate.asking.enter(&self.identity), followed) {
                        (Place::First(asking), _) => Some(asking),
                        (Place::Behind(first), Followed::Nobody) => {
                            self.follow(first).await?;
                            followed = Followed::Somebody;
                            continue;
                        }
                        // Gate decided that one by itself, and decides this one by itself: no need to queue.
                        (Place::Behind(_), Followed::Somebody) => None,
                    };
                    match self.submit(found.ended).await? {
                        Submission::Allowed => return Ok(self.allowed()),
                        Submission::Rejected { message } => {
                            return Err(Rejection::Rejected { thread: None, message });
                        }
                        Submission::Held(hold) => self.open(hold).await?,
                    }
                }
            };
            match self.turn(held).await? {
                Turn::Admitted(admission) => return Ok(admission),
                Turn::Again(id, thread) => {
                    joined = Some(id);
                    self.pause(thread).await?;
                }
                Turn::Over => {}
            }
        }
    }

    /// Waits until the identical call that is being asked about is held, or needs nobody.
    async fn follow(&mut self, mut first: watch::Receiver<()>) -> Result<(), Rejection> {
        let remaining = self.remaining();
        tokio::select! {
            biased;
            _stance = self.caller.interest.ended() => Err(Rejection::Cancelled { thread: None }),
            // The sender says nothing; it goes.
            _gone = first.changed() => Ok(()),
            () = self.gate.parts.clock.sleep(remaining) => {
                Err(Rejection::Unavailable { what: Unavailable::Ask, thread: None })
            }
        }
    }

    async fn submit(&self, ended: u64) -> Result<Submission, Rejection> {
        let repeat = Repeat { digest: self.identity.digest, ended };
        let submission = self.gate.parts.approver.submit(&self.ask, &self.call.task, repeat).await;
        if self.caller.interest.stance() == Stance::Cancelled {
            let thread = self.withdraw(submission.ok()).await?;
            return Err(Rejection::Cancelled { thread });
        }
        submission.map_err(|_| Rejection::Unavailable { what: Unavailable::Ask, thread: None })
    }

    /// Withdrawn while Gate was asked. The thread goes on record as one that leads nowhere: Gate would hand it out again
    /// for the same question, and the next call would run on the approval of this one.
    async fn withdraw(&self, submission: Option<Submission>) -> Result<Option<ThreadId>, Rejection> {
        let Some(Submission::Held(asked)) = submission else {
            return Ok(None);
        };
        let thread = asked.thread.clone();
        match self.record(asked).await? {
            Opened::Mine(held) => self.end(&held, Ending::Cancelled).await?,
            // Others wait for it.
            Opened::Joined(_) | Opened::Spent => {}
        }
        Ok(Some(thread))
    }

    fn allowed(self) -> Admission {
        let grounds = Grounds::Allowed(self.ask.entry);
        Admission::Run(self.gate.permit(
            self.call,
            Some(self.identity.digest),
            grounds,
            Completion::unrecorded(),
        ))
    }

    async fn open(&self, hold: Hold) -> Result<HeldCall, Rejection> {
        let thread = hold.thread.clone();
        match self.record(hold).await? {
            Opened::Mine(call) | Opened::Joined(call) => Ok(call),
            // Another process asked the same, and was through with it before our question arrived. Without tokens its
            // approval would do for a second run; asked again, the question counts the hold that ended.
            Opened::Spent => Err(Rejection::Unavailable { what: Unavailable::Ask, thread: Some(thread) }),
        }
    }

    async fn record(&self, hold: Hold) -> Result<Opened, Rejection> {
        let thread = hold.thread.clone();
        let opened = self.gate.parts.journal.open(NewHold {
            identity: self.identity.clone(),
            hold,
            arguments: self.call.arguments.raw().cloned(),
            definition: self.call.definition,
            policy: self.gate.parts.policy.revision(),
            at: self.gate.parts.clock.now(),
        });
        opened.await.map_err(|_| unrecordable(Some(thread)))
    }

    async fn turn(&mut self, held: HeldCall) -> Result<Turn, Rejection> {
        match held.state {
            // Somebody is about to redeem it; reading the decision now would revoke the token in their hands.
            HoldState::Approved if self.is_claimed(&held) => Ok(Turn::Again(held.id, held.hold.thread)),
            HoldState::Pending | HoldState::Approved => {
                if let Some(onlooker) = &self.caller.onlooker {
                    onlooker.waits_for(&held.hold);
                }
                match self.gate.flights.enter(held.id) {
                    Seat::Driver(flight) => self.drive(held, flight).await,
                    Seat::Passenger(landing) => self.ride(&held, landing).await,
                }
            }
            HoldState::Dispatched => match self.gate.flights.passenger(held.id) {
                Some(landing) => self.ride(&held, landing).await,
                None => Err(Rejection::OutcomeUnknown { thread: held.hold.thread }),
            },
            HoldState::Unknown => Err(Rejection::OutcomeUnknown { thread: held.hold.thread }),
            HoldState::Done => self.collect(held).await,
            // Not live: no journal may hand these out, and nothing runs for them.
            HoldState::Rejected
            | HoldState::Expired
            | HoldState::Cancelled
            | HoldState::ChangesRequested
            | HoldState::Void => Err(unrecordable(Some(held.hold.thread))),
        }
    }

    /// Whether the owner of the claim may still be alive.
    fn is_claimed(&self, held: &HeldCall) -> bool {
        let stale_before = self.gate.parts.clock.now() - CLAIM_STALE;
        held.claim.as_ref().is_some_and(|(_, at)| *at >= stale_before)
    }

    /// Another call of this process drives the hold.
    async fn ride(
        &mut self,
        held: &HeldCall,
        mut landing: watch::Receiver<Landing>,
    ) -> Result<Turn, Rejection> {
        let remaining = self.remaining();
        let landed = tokio::select! {
            biased;
            stance = self.caller.interest.ended() => return Err(left(held, stance)),
            landed = landing.wait_for(|landing| !matches!(landing, Landing::Flying)) => {
                landed.map_or(Landing::Left, |landing| landing.clone())
            }
            () = self.gate.parts.clock.sleep(remaining) => return Err(pending(held)),
        };
        match landed {
            Landing::Ran(result) => Ok(Turn::Admitted(Admission::Replay(result, Delivery::nothing()))),
            Landing::Refused(rejection) => Err(rejection),
            Landing::Left | Landing::Flying => Ok(Turn::Again(held.id, held.hold.thread.clone())),
        }
    }

    /// Waits for the decision, acts on it, and tells those who ride along how it ended.
    async fn drive(&mut self, held: HeldCall, mut flight: Flight) -> Result<Turn, Rejection> {
        let Some(slot) = self.gate.slot() else {
            return Err(Rejection::Busy { thread: held.hold.thread });
        };
        let remaining = self.remaining();
        let answer = tokio::select! {
            biased;
            stance = self.caller.interest.ended() => {
                if stance == Stance::Cancelled && !flight.has_passengers() {
                    self.end(&held, Ending::Cancelled).await?;
                }
                return Err(left(&held, stance));
            }
            answer = self.gate.parts.approver.wait(&held.hold, remaining) => answer,
        };
        drop(slot);
        let thread = held.hold.thread.clone();
        let (ending, rejection) = match answer {
            Err(_) => {
                return Err(Rejection::Unavailable { what: Unavailable::Decision, thread: Some(thread) });
            }
            Ok(Answer::StillHeld) => return Err(pending(&held)),
            Ok(Answer::Approved(approval)) => match self.redeem(&held, approval).await {
                Yes::Run(grounds) => return self.run(&held, grounds, flight).map(Turn::Admitted),
                Yes::Taken => return Ok(Turn::Again(held.id, thread)),
                Yes::No(ending, rejection) => (ending, rejection),
            },
            Ok(Answer::Rejected { message }) => {
                (Ending::Rejected, Rejection::Rejected { thread: Some(thread), message })
            }
            Ok(Answer::Expired { message }) => (Ending::Expired, Rejection::Expired { thread, message }),
            Ok(Answer::ChangesRequested { message }) => {
                (Ending::ChangesRequested, Rejection::ChangesRequested { thread, message })
            }
            Ok(Answer::OtherPayload) => {
                (Ending::Void, Rejection::Mismatch { thread, what: Mismatch::Payload })
            }
        };
        self.end(&held, ending).await?;
        // Who rides along did not cancel: with the flight left, they ask anew.
        if ending != Ending::Cancelled {
            flight.land(Landing::Refused(rejection.clone()));
        }
        Err(rejection)
    }

    /// From a reviewer's yes to `dispatched`: about this call, unchanged on our side, claimed, redeemed, recorded.
    /// In that order, so that the approval of another call is never used up here.
    async fn redeem(&self, held: &HeldCall, approval: Approval) -> Yes {
        let parts = &self.gate.parts;
        let thread = &held.hold.thread;
        let now = parts.clock.now();
        let token = match proof(self.ask.tokens, held, approval, now) {
            Ok(token) => token,
            Err(flaw) => return void(Rejection::TokenInvalid { thread: thread.clone(), flaw }),
        };
        if let Err(rejection) = self.recheck(held).await {
            return void(rejection);
        }
        let unavailable = |what| void(Rejection::Unavailable { what, thread: Some(thread.clone()) });
        let claim = Step::Claim { owner: parts.owner.clone(), stale_before: now - CLAIM_STALE };
        match parts.journal.advance(held.id, claim, now).await {
            Ok(Moved::Yes) => {}
            Ok(Moved::No) => return Yes::Taken,
            Err(_) => return unavailable(Unavailable::Journal),
        }
        let grounds = match token {
            None => Grounds::ApprovedWithoutToken(thread.clone()),
            Some(token) => match self.spend(held, token).await {
                Ok(Redemption::Valid) => Grounds::Approved(thread.clone()),
                Ok(Redemption::Refused(refusal)) => {
                    let flaw = Flaw::Refused(refusal);
                    return void(Rejection::TokenInvalid { thread: thread.clone(), flaw });
                }
                Err(_) => return unavailable(Unavailable::Redemption),
            },
        };
        if self.caller.interest.stance() == Stance::Cancelled {
            return Yes::No(Ending::Cancelled, Rejection::Cancelled { thread: Some(thread.clone()) });
        }
        let dispatch = Step::Dispatch { owner: parts.owner.clone() };
        match parts.journal.advance(held.id, dispatch, parts.clock.now()).await {
            Ok(Moved::Yes) => Yes::Run(grounds),
            Ok(Moved::No) => Yes::Taken,
            Err(_) => unavailable(Unavailable::Journal),
        }
    }

    /// What was true when Gate was asked must still be true: our configuration does not deny the call by now, and
    /// the tool is still the one that was described.
    async fn recheck(&self, held: &HeldCall) -> Result<(), Rejection> {
        if let Plan::Deny(entry) = self.gate.parts.policy.plan(&self.call).map_err(unfit)? {
            return Err(Rejection::DeniedByConfig { entry, problem: None });
        }
        let current = match &self.caller.definitions {
            Some(definitions) => definitions.current(&self.call.server, &self.call.tool).await,
            None => self.call.definition,
        };
        if current == held.definition && (current.is_some() || self.caller.definitions.is_none()) {
            return Ok(());
        }
        Err(Rejection::Mismatch { thread: held.hold.thread.clone(), what: Mismatch::Definition })
    }

    async fn end(&self, held: &HeldCall, ending: Ending) -> Result<(), Rejection> {
        let parts = &self.gate.parts;
        match parts.journal.advance(held.id, Step::End(ending), parts.clock.now()).await {
            // `No`: somebody else ended it first, which comes to the same: nothing runs here.
            Ok(Moved::Yes | Moved::No) => Ok(()),
            Err(_) => Err(unrecordable(Some(held.hold.thread.clone()))),
        }
    }

    /// The bytes that were frozen when Gate was asked are the bytes that run, even if this caller spelt the same
    /// arguments in another order.
    fn run(&self, held: &HeldCall, grounds: Grounds, flight: Flight) -> Result<Admission, Rejection> {
        let parts = &self.gate.parts;
        let mut call = self.call.clone();
        if call.arguments.raw() != held.arguments.as_ref() {
            let frozen = held.arguments.clone().map_or(Ok(Arguments::absent()), Arguments::parse);
            call.arguments = frozen.map_err(|_| unrecordable(Some(held.hold.thread.clone())))?;
        }
        let (journal, clock) = (Arc::clone(&parts.journal), Arc::clone(&parts.clock));
        let completion = Completion::of_hold(held.id, flight, journal, clock, parts.limits.result_bytes_max);
        Ok(Admission::Run(self.gate.permit(call, Some(self.identity.digest), grounds, completion)))
    }

    /// Somebody else is moving the hold: leave it alone for a moment, or for good when patience is over.
    async fn pause(&mut self, thread: ThreadId) -> Result<(), Rejection> {
        let remaining = self.remaining();
        if remaining.is_zero() {
            return Err(Rejection::Pending { thread, review_url: None });
        }
        self.gate.parts.clock.sleep(remaining.min(PAUSE)).await;
        Ok(())
    }

    fn remaining(&self) -> Duration {
        self.until.duration_since(self.gate.parts.clock.now()).try_into().unwrap_or(Duration::ZERO)
    }
}

fn void(rejection: Rejection) -> Yes {
    Yes::No(Ending::Void, rejection)
}

fn unrecordable(thread: Option<ThreadId>) -> Rejection {
    Rejection::Unavailable { what: Unavailable::Journal, thread }
}

fn pending(held: &HeldCall) -> Rejection {
    Rejection::Pending { thread: held.hold.thread.clone(), review_url: held.hold.review_url.clone() }
}

fn left(held: &HeldCall, stance: Stance) -> Rejection {
    match stance {
        Stance::Cancelled => Rejection::Cancelled { thread: Some(held.hold.thread.clone()) },
        Stance::Gone | Stance::Waiting => pending(held),
    }
}
