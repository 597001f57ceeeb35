use crate::{
    Approver, CallDigest, Clock, Completion, Continued, Definitions, Delivery, Grounds, HoldId, Interest,
    Journal, Onlooker, Owner, PermittedCall, Plan, PlanError, Policy, Probe, Proposed, Receipt, Recorder,
    Rejection, Standing, StoredResult, Ticket, ToolCall, Unavailable, asking::Asking, flight::Flights, hold,
    once,
};
use jiff::Timestamp;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// What a gate is made of. Whoever fills this in decides whom the gate trusts.
#[derive(Debug)]
pub struct GateParts {
    /// What is to be done with each call.
    pub policy: Arc<dyn Policy>,
    /// Gate.
    pub approver: Arc<dyn Approver>,
    /// The durable record of holds.
    pub journal: Arc<dyn Journal>,
    /// The evidence.
    pub recorder: Arc<dyn Recorder>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// This run of this process.
    pub owner: Owner,
    /// The bounds.
    pub limits: HoldLimits,
}

/// The bounds of waiting.
#[derive(Clone, Copy, Debug)]
pub struct HoldLimits {
    /// How long one call waits where neither its entry nor its adapter says otherwise.
    pub patience: Duration,
    /// How many calls of this process may wait at once.
    pub held_max: usize,
    /// Results larger than this are not kept for a caller that left.
    pub result_bytes_max: usize,
    /// How long a result is kept for a caller that left; after that the same call is a new one.
    pub result_kept: Duration,
}

/// On what terms somebody calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// How long the caller can wait, unless the call's entry says otherwise.
    pub patience: Duration,
    /// The most that the caller can wait, whatever the entry says; `None`: there is no such bound.
    pub at_most: Option<Duration>,
    /// Whether the caller is still there.
    pub interest: Interest,
    /// Reads the tool's definition again before a held call runs; `None` where tools have none.
    pub definitions: Option<Arc<dyn Definitions>>,
    /// Hears what the call waits for; `None` where nobody listens.
    pub onlooker: Option<Arc<dyn Onlooker>>,
    /// Says whether the caller may still call; `None` where that cannot change.
    pub standing: Option<Arc<dyn Standing>>,
    /// Calls read-only tools of the same server; `None` where nobody can.
    pub probe: Option<Arc<dyn Probe>>,
}

impl Caller {
    /// A caller that stays, of tools without definitions.
    #[must_use]
    pub fn staying(patience: Duration) -> Self {
        Self {
            patience,
            at_most: None,
            interest: Interest::always(),
            definitions: None,
            onlooker: None,
            standing: None,
            probe: None,
        }
    }
}

/// What [`Gate::admit`] lets through.
#[derive(Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "made once per call and taken apart at once")]
pub enum Admission {
    /// Run it, once.
    Run(PermittedCall),
    /// It ran already, for this same approval, and its result was never delivered.
    Replay(StoredResult, Delivery),
}

/// The kernel.
#[derive(Debug)]
pub struct Gate {
    pub(crate) parts: GateParts,
    pub(crate) flights: Flights,
    pub(crate) asking: Asking,
    held: AtomicUsize,
    closed: watch::Sender<Doors>,
}

/// Whether calls are still taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doors {
    Open,
    Closed,
}

impl Gate {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: GateParts) -> Self {
        Self {
            parts,
            flights: Flights::default(),
            asking: Asking::default(),
            held: AtomicUsize::new(0),
            closed: watch::Sender::new(Doors::Open),
        }
    }

    /// Takes no more calls. Those that wait for a person are told so, and stay in the journal; those that run are let
    /// finish.
    pub fn close(&self) {
        self.closed.send_replace(Doors::Closed);
    }

    /// Resolves once [`Self::close`] was called.
    pub(crate) async fn closing(&self) {
        let mut closed = self.closed.subscribe();
        if closed.wait_for(|doors| *doors == Doors::Closed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn doors(&self) -> Doors {
        *self.closed.borrow()
    }

    /// Whether [`Self::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.doors() == Doors::Closed
    }

    /// The time, as the gate sees it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// How many calls of this process wait for a person.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Decides whether `call` may run, for a caller that stays. Anything but a clear yes is a refusal.
    ///
    /// # Errors
    /// Says why the call must not run.
    pub async fn admit(&self, call: ToolCall) -> Result<Admission, Rejection> {
        self.admit_for(call, Caller::staying(self.parts.limits.patience)).await
    }

    /// Decides whether `call` may run, on the terms of its `caller`. The future may be dropped at any time: at
    /// worst an approval is lost, and nothing runs.
    ///
    /// # Errors
    /// Says why the call must not run.
    pub async fn admit_for(&self, call: ToolCall, caller: Caller) -> Result<Admission, Rejection> {
        if self.doors() == Doors::Closed {
            return Err(Rejection::Unavailable { what: Unavailable::Stopping, thread: None });
        }
        match self.parts.policy.plan(&call).map_err(unfit)? {
            Plan::Deny(entry) => Err(Rejection::DeniedByConfig { entry, problem: None }),
            Plan::Pass(entry) => {
                Ok(Admission::Run(self.permit(call, None, Grounds::Passed(entry), Completion::unrecorded())))
            }
            // The digest would not cover them, and nobody could see what is approved.
            Plan::PassOnce(entry, _) if call.arguments.is_unread() => Err(unread(entry)),
            Plan::Gate(ask) if call.arguments.is_unread() => Err(unread(ask.entry)),
            Plan::PassOnce(entry, effect) => Box::pin(once::admit(self, call, entry, &effect, caller)).await,
            Plan::Gate(ask) => Box::new(hold::GatedCall::new(self, call, *ask, caller)).admit().await,
        }
    }

    /// Decides about `call` as far as that takes no person. What waits for one is on record when this returns, and whoever
    /// lives then goes on with it by [`Self::admit_held`].
    ///
    /// # Errors
    /// Says why the call must not run.
    pub async fn propose(&self, call: ToolCall, caller: Caller) -> Result<Proposed, Rejection> {
        if self.doors() == Doors::Closed {
            return Err(Rejection::Unavailable { what: Unavailable::Stopping, thread: None });
        }
        match self.parts.policy.plan(&call).map_err(unfit)? {
            Plan::Gate(ask) if call.arguments.is_unread() => Err(unread(ask.entry)),
            Plan::Gate(ask) => Box::new(hold::GatedCall::new(self, call, *ask, caller)).propose().await,
            Plan::Deny(_) | Plan::Pass(_) | Plan::PassOnce(..) => {
                self.admit_for(call, caller).await.map(Proposed::Admitted)
            }
        }
    }

    /// Goes on with a call that `hold` holds, on the terms of its `caller`, whose patience is what counts. Nothing is asked
    /// anew: where the hold has ended, that is the answer.
    ///
    /// # Errors
    /// Says why the call must not run.
    pub async fn admit_held(
        &self,
        call: ToolCall,
        hold: HoldId,
        caller: Caller,
    ) -> Result<Admission, Rejection> {
        let gated = self.still_gated(call, caller)?;
        Box::pin(gated.admit_held(hold)).await
    }

    /// The permit to tell a tool, once, what the caller of `ticket` said to its answer, if the call is still what was
    /// approved.
    ///
    /// # Errors
    /// Says why the tool must not be told.
    pub async fn continue_run(
        &self,
        ticket: &Ticket,
        call: ToolCall,
        caller: Caller,
    ) -> Result<Continued, Rejection> {
        let gated = self.still_gated(call, caller)?;
        Box::pin(gated.continue_run(ticket)).await
    }

    /// A call that was put before a person, and would be again.
    fn still_gated(&self, call: ToolCall, caller: Caller) -> Result<Box<hold::GatedCall<'_>>, Rejection> {
        if self.doors() == Doors::Closed {
            return Err(Rejection::Unavailable { what: Unavailable::Stopping, thread: None });
        }
        match self.parts.policy.plan(&call).map_err(unfit)? {
            Plan::Gate(ask) if call.arguments.is_unread() => Err(unread(ask.entry)),
            Plan::Gate(mut ask) => {
                ask.patience = None;
                Ok(Box::new(hold::GatedCall::new(self, call, *ask, caller)))
            }
            Plan::Deny(entry) => Err(Rejection::DeniedByConfig { entry, problem: None }),
            Plan::Pass(entry) | Plan::PassOnce(entry, _) => {
                let problem = "nobody is asked about it any more; send it again".to_owned();
                Err(Rejection::DeniedByConfig { entry, problem: Some(problem) })
            }
        }
    }

    /// The only place where a permit is made.
    pub(crate) fn permit(
        &self,
        call: ToolCall,
        digest: Option<CallDigest>,
        grounds: Grounds,
        completion: Completion,
    ) -> PermittedCall {
        let at = self.parts.clock.now();
        let receipt = Receipt { digest, grounds, policy: self.parts.policy.revision(), at };
        PermittedCall::new(call, receipt, completion)
    }

    /// A place among those that wait; `None`: all are taken.
    pub(crate) fn slot(&self) -> Option<Slot<'_>> {
        let slot = Slot(&self.held);
        let waiting = self.held.fetch_add(1, Ordering::AcqRel);
        (waiting < self.parts.limits.held_max).then_some(slot)
    }
}

pub(crate) struct Slot<'a>(&'a AtomicUsize);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn unread(entry: crate::EntryName) -> Rejection {
    let problem = "its arguments were not read; send it again".to_owned();
    Rejection::DeniedByConfig { entry, problem: Some(problem) }
}

pub(crate) fn unfit(error: PlanError) -> Rejection {
    Rejection::DeniedByConfig { entry: error.entry, problem: Some(error.problem) }
}
