//! A call that Gate is asked about: found, asked, held, joined, approved, recorded.

mod bound;
mod drive;
mod kept;
mod recheck;
mod revise;
mod token;
mod withdraw;

pub use withdraw::Withdrawal;

use crate::{
    Admission, Ask, Caller, Completion, Ending, Event, Facts, Found, Gate, Grounds, HeldCall, Hold, HoldId,
    HoldState, Identity, Liveness, Moved, NewHold, Opened, Rejection, Repeat, Stance, Step, Submission,
    ThreadId, ToolCall, Unavailable, What, asking::Place, flight::Seat, gate::Doors, once::Once,
};
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

pub use bound::{Continued, Proposed};

/// A claim this old belongs to a process that is stuck between claim and run; a redemption takes seconds at most.
const CLAIM_STALE: SignedDuration = SignedDuration::from_secs(30);
/// How long to leave a hold alone that somebody else is moving.
const PAUSE: Duration = Duration::from_millis(50);

/// One call on its way through [`Gate::admit_for`].
pub(crate) struct GatedCall<'a> {
    gate: &'a Gate,
    call: ToolCall,
    identity: Identity,
    ask: Ask,
    facts: Facts,
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

/// What asking came to.
enum Asked {
    /// No person is needed.
    Allowed,
    /// A person has to decide.
    Held(Box<HeldCall>),
}

/// Whether this call has waited for an identical one to be asked about.
#[derive(Clone, Copy)]
enum Followed {
    Nobody,
    Somebody,
}

impl<'a> GatedCall<'a> {
    pub(crate) fn new(gate: &'a Gate, call: ToolCall, ask: Ask, caller: Caller) -> Self {
        let patience = ask.patience.unwrap_or(caller.patience);
        let patience = caller.at_most.map_or(patience, |most| patience.min(most));
        let patience = SignedDuration::try_from(patience);
        let until = gate.parts.clock.now().saturating_add(patience.unwrap_or(SignedDuration::MAX));
        let until = until.unwrap_or(Timestamp::MAX);
        let identity = Identity::from(&call);
        let effect = ask.effect.as_ref().map(|effect| effect.key.clone());
        let policy = gate.parts.policy.revision();
        let facts = Facts::of(&call, identity.digest, policy, effect, ask.secrets.clone());
        Self { gate, call, identity, ask, facts, caller, until }
    }

    /// Decides, and puts a refusal on record.
    pub(crate) async fn admit(mut self: Box<Self>) -> Result<Admission, Rejection> {
        let decided = self.decide().await;
        if let Err(rejection) = &decided {
            // Nothing runs either way.
            let _refused_already = self.record(What::Refused(rejection)).await;
        }
        decided
    }

    /// Boxed is what happens to few calls: a future has room for all that could be under way in it, is made for every call, and
    /// is moved to where it stays.
    async fn decide(&mut self) -> Result<Admission, Rejection> {
        let mut joined = None;
        loop {
            let held = match joined.take() {
                None => match self.look().await? {
                    Asked::Allowed => return self.allowed().await,
                    Asked::Held(held) => held,
                },
                Some(id) => {
                    if let Some(held) = self.find().await?.live {
                        held
                    } else if let Some(admission) = Box::pin(self.ended(id)).await? {
                        return Ok(admission);
                    } else {
                        continue;
                    }
                }
            };
            match Box::pin(self.turn(held)).await? {
                Turn::Admitted(admission) => return Ok(admission),
                Turn::Again(id, thread) => {
                    joined = Some(id);
                    Box::pin(self.pause(id, thread)).await?;
                }
                Turn::Over => {}
            }
        }
    }

    async fn find(&self) -> Result<Found, Rejection> {
        let found = self.gate.parts.journal.find(&self.identity, &self.call.task).await;
        found.map_err(|_| unrecordable(None))
    }

    /// The hold of a call that has joined none yet: the one of an identical call, or one of its own.
    async fn look(&mut self) -> Result<Asked, Rejection> {
        let mut followed = Followed::Nobody;
        loop {
            // Before looking for a hold and until one is open, so that nobody asks the same beside us.
            let _asking = match (self.gate.asking.enter(&self.identity), followed) {
                (Place::First(asking), _) => Some(asking),
                (Place::Behind(first), Followed::Nobody) => {
                    Box::pin(self.follow(first)).await?;
                    followed = Followed::Somebody;
                    continue;
                }
                // Gate decided that one by itself, and decides this one by itself: no need to queue.
                (Place::Behind(_), Followed::Somebody) => None,
            };
            let found = self.find().await?;
            if let Some(held) = found.live {
                self.record(What::Joined { id: held.id, hold: &held.hold }).await?;
                return Ok(Asked::Held(held));
            }
            return Box::pin(self.ask(found.ended, found.revises)).await;
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

    /// Puts the call to Gate: as another proposal where a reviewer asked for one, else as a question of its own.
    async fn ask(&self, ended: u64, revises: Option<Box<HeldCall>>) -> Result<Asked, Rejection> {
        if let Some(once) = self.once() {
            Box::pin(once.free()).await?;
        }
        self.record(What::Proposed).await?;
        let repeat = Repeat { digest: self.identity.digest, ended };
        if let Some(before) = revises
            && let Some(held) = Box::pin(self.revise(&before, repeat)).await?
        {
            return Ok(Asked::Held(Box::new(held)));
        }
        match self.submit(repeat).await? {
            Submission::Allowed => Ok(Asked::Allowed),
            Submission::Rejected { message } => Err(Rejection::Rejected { thread: None, message }),
            Submission::Held(hold) => Box::pin(self.open(hold)).await.map(|held| Asked::Held(Box::new(held))),
        }
    }

    async fn submit(&self, repeat: Repeat) -> Result<Submission, Rejection> {
        let submission = self.gate.parts.approver.submit(&self.ask, &self.call.task, repeat).await;
        if self.caller.interest.stance() == Stance::Cancelled {
            let held = match submission {
                Ok(Submission::Held(hold)) => Some(hold),
                Ok(Submission::Allowed | Submission::Rejected { .. }) | Err(_) => None,
            };
            let thread = Box::pin(self.withdraw(held)).await?;
            return Err(Rejection::Cancelled { thread });
        }
        submission.map_err(|_| Rejection::Unavailable { what: Unavailable::Ask, thread: None })
    }

    /// Withdrawn while Gate was asked. The thread goes on record as one that leads nowhere: Gate would hand it out again
    /// for the same question, and the next call would run on the approval of this one.
    async fn withdraw(&self, asked: Option<Hold>) -> Result<Option<ThreadId>, Rejection> {
        let Some(asked) = asked else {
            return Ok(None);
        };
        let thread = asked.thread.clone();
        match self.write_down(asked).await? {
            Opened::Mine(held) => {
                let (Moved::Yes | Moved::No) = self.end(&held, Ending::Cancelled, None).await?;
            }
            // Others wait for it.
            Opened::Joined(_) | Opened::Spent => {}
        }
        Ok(Some(thread))
    }

    async fn allowed(&self) -> Result<Admission, Rejection> {
        let grounds = Grounds::Allowed(self.ask.entry.clone());
        self.record(What::Allowed).await?;
        let completion = match self.once() {
            Some(once) => Box::pin(once.take(self.identity.clone(), &grounds)).await?,
            None => Completion::unrecorded(),
        };
        let digest = Some(self.identity.digest);
        Ok(Admission::Run(self.gate.permit(self.call.clone(), digest, grounds, completion)))
    }

    async fn open(&self, asked: Hold) -> Result<HeldCall, Rejection> {
        let thread = asked.thread.clone();
        match self.write_down(asked).await? {
            Opened::Mine(held) => {
                self.record(What::Held { id: held.id, hold: &held.hold }).await?;
                Ok(held)
            }
            Opened::Joined(held) => Ok(held),
            // Another process asked the same, and was through with it before our question arrived. Without tokens its
            // approval would do for a second run; asked again, the question counts the hold that ended.
            Opened::Spent => Err(Rejection::Unavailable { what: Unavailable::Ask, thread: Some(thread) }),
        }
    }

    async fn write_down(&self, hold: Hold) -> Result<Opened, Rejection> {
        let thread = hold.thread.clone();
        let opened = self.gate.parts.journal.open(NewHold {
            identity: self.identity.clone(),
            hold,
            arguments: self.call.arguments.raw().cloned(),
            definition: self.call.definition,
            policy: self.facts.policy.clone(),
            question: self.ask.digest(),
            effect: self.facts.effect.clone(),
            at: self.gate.parts.clock.now(),
        });
        opened.await.map_err(|_| unrecordable(Some(thread)))
    }

    /// `held` is in a box: of thousands that wait, each has room for it once.
    async fn turn(&mut self, held: Box<HeldCall>) -> Result<Turn, Rejection> {
        match held.state {
            // Somebody is about to redeem it; reading the decision now would revoke the token in their hands.
            HoldState::Approved if self.is_claimed(&held).await? => {
                Ok(Turn::Again(held.id, held.hold.thread))
            }
            HoldState::Pending | HoldState::Approved => {
                if let Some(onlooker) = &self.caller.onlooker {
                    onlooker.waits_for(&held.hold);
                }
                match self.gate.flights.enter(held.id) {
                    Seat::Driver(flight) => self.drive(held, flight).await,
                    Seat::Passenger(landing) => Box::pin(self.ride(&held, landing)).await,
                }
            }
            HoldState::Dispatched => match self.gate.flights.passenger(held.id) {
                Some(landing) => Box::pin(self.ride(&held, landing)).await,
                None if self.runs_elsewhere(&held).await? => Ok(Turn::Again(held.id, held.hold.thread)),
                None => Box::pin(self.in_doubt(*held)).await,
            },
            HoldState::Unknown => Box::pin(self.in_doubt(*held)).await,
            HoldState::Done => Box::pin(self.collect(*held)).await,
            // Not live: no journal may hand these out, and nothing runs for them.
            HoldState::Rejected
            | HoldState::Expired
            | HoldState::Cancelled
            | HoldState::ChangesRequested
            | HoldState::Void => Err(unrecordable(Some(held.hold.thread))),
        }
    }

    /// It may have run. A read-only tool may be able to tell; else a person has to.
    async fn in_doubt(&self, held: HeldCall) -> Result<Turn, Rejection> {
        if let Some(once) = self.once()
            && let Some(run) = once.look().await?
            && run.hold == Some(held.id)
        {
            once.reconcile(run).await?;
            return Ok(Turn::Again(held.id, held.hold.thread));
        }
        Err(Rejection::OutcomeUnknown { thread: Some(held.hold.thread), effect: held.effect })
    }

    /// Whether the owner of the claim may still be alive.
    async fn is_claimed(&self, held: &HeldCall) -> Result<bool, Rejection> {
        let Some((owner, at)) = &held.claim else {
            return Ok(false);
        };
        let is_fresh = !is_stale(*at, self.gate.parts.clock.now());
        Ok(is_fresh && self.liveness(owner).await? == Liveness::Alive)
    }

    /// Whether another process is running it now.
    async fn runs_elsewhere(&self, held: &HeldCall) -> Result<bool, Rejection> {
        match &held.claim {
            Some((owner, _)) if *owner != self.gate.parts.owner => {
                Ok(self.liveness(owner).await? == Liveness::Alive)
            }
            Some(_) | None => Ok(false),
        }
    }

    async fn liveness(&self, owner: &crate::Owner) -> Result<Liveness, Rejection> {
        self.gate.parts.journal.liveness(owner).await.map_err(|_| unrecordable(None))
    }

    /// Ends the hold and puts it on record. `words` are the reviewer's.
    async fn end(&self, held: &HeldCall, ending: Ending, words: Option<&str>) -> Result<Moved, Rejection> {
        let parts = &self.gate.parts;
        let step = Step::End { ending, words: words.map(Arc::from) };
        let moved = parts.journal.advance(held.id, step, parts.clock.now()).await;
        let moved = moved.map_err(|_| unrecordable(Some(held.hold.thread.clone())))?;
        match ending {
            // It leads nowhere by now, whether or not that is on record.
            Ending::Cancelled => {
                let _withdrawn_already = self.record(What::Withdrawn { hold: &held.hold }).await;
            }
            Ending::Rejected | Ending::Expired | Ending::ChangesRequested | Ending::Void => {}
        }
        Ok(moved)
    }

    /// Somebody else is moving the hold: leave it alone for a moment, or for good when patience is over.
    async fn pause(&mut self, id: HoldId, thread: ThreadId) -> Result<(), Rejection> {
        let remaining = self.remaining();
        if remaining.is_zero() || self.gate.doors() == Doors::Closed {
            return Err(Rejection::Pending { thread, review_url: None });
        }
        self.gate.parts.clock.sleep(remaining.min(PAUSE)).await;
        match self.caller.interest.stance() {
            Stance::Waiting => Ok(()),
            Stance::Cancelled => {
                self.abandon(id).await?;
                Err(Rejection::Cancelled { thread: Some(thread) })
            }
            Stance::Gone => Err(Rejection::Pending { thread, review_url: None }),
        }
    }

    /// Withdrawn by a caller that did not drive the hold. Where nobody drives it any more, it was the last: an approval
    /// that comes later is not that of the next identical call.
    async fn abandon(&self, id: HoldId) -> Result<(), Rejection> {
        if self.gate.flights.passenger(id).is_some() {
            return Ok(());
        }
        let held = self.gate.parts.journal.get(id).await.map_err(|_| unrecordable(None))?;
        if let Some(held) = held.filter(|held| held.state == HoldState::Pending) {
            let (Moved::Yes | Moved::No) = self.end(&held, Ending::Cancelled, None).await?;
        }
        Ok(())
    }

    async fn record(&self, what: What<'_>) -> Result<(), Rejection> {
        let event = Event { at: self.gate.parts.clock.now(), facts: &self.facts, what };
        let recorded = self.gate.parts.recorder.record(event).await;
        recorded.map_err(|_| Rejection::Unavailable { what: Unavailable::Record, thread: None })
    }

    /// The call's effect, if it has one.
    fn once(&self) -> Option<Once<'_>> {
        let effect = self.ask.effect.as_ref()?;
        Some(Once { gate: self.gate, facts: &self.facts, effect, caller: &self.caller })
    }

    fn remaining(&self) -> Duration {
        self.until.duration_since(self.gate.parts.clock.now()).try_into().unwrap_or(Duration::ZERO)
    }
}

/// On either side: a clock that was set back must not keep a claim for longer.
fn is_stale(claimed_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(claimed_at).abs() > CLAIM_STALE
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
