//! Deaths on request, in debug builds only: what the kill matrix in `tests/` is driven with.
//!
//! `HOLDPOINT_DIE_AT=POINT[#N]:WHEN` makes the process kill itself with SIGKILL at the N-th (else the first) passage of a
//! point: `before` the operation began, `after` it was done and before anybody heard of it, or `+MICROSECONDS` into it.
//! The points are the operations of the kernel's ports, which are all that it ever waits for.

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use holdpoint_core::{
    Answer, ApprovalToken, Approver, ApproverError, Ask, EffectId, EffectKey, EffectRun, Event, Found,
    HeldCall, Hold, HoldId, Identity, Journal, JournalError, Liveness, Moved, NewEffect, NewHold,
    NewOperation, NewTicket, Opened, OpenedOperation, Operation, OperationBook, OperationChange, OperationId,
    OperationOf, OperationState, Owner, Principal, RecordError, Recorder, Redemption, Repeat, Revised,
    ServerName, Settled, Step, Submission, Taken, TaskId, Ticket, TicketBook, TicketId, TicketStep, What,
};
use jiff::Timestamp;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

const VARIABLE: &str = "HOLDPOINT_DIE_AT";

/// Where and when to die.
#[derive(Debug)]
pub(crate) struct DieAt {
    point: String,
    /// How many passages of the point are survived.
    spared: AtomicU32,
    when: When,
}

#[derive(Clone, Copy, Debug)]
enum When {
    Before,
    After,
    Into(Duration),
}

impl DieAt {
    /// As the environment says. Whatever cannot be read ends the process: a test that misspells its point must not pass.
    pub(crate) fn from_env() -> Result<Option<Arc<Self>>> {
        let Ok(text) = std::env::var(VARIABLE) else {
            return Ok(None);
        };
        let parsed = Self::parse(&text);
        let parsed = parsed
            .with_context(|| format!("{VARIABLE}=`{text}` is not POINT[#N]:before|after|+MICROSECONDS"))?;
        Ok(Some(Arc::new(parsed)))
    }

    fn parse(text: &str) -> Option<Self> {
        let (point, when) = text.split_once(':')?;
        let (point, passage) = point.split_once('#').unwrap_or((point, "1"));
        let when = match when {
            "before" => When::Before,
            "after" => When::After,
            micros => When::Into(Duration::from_micros(micros.strip_prefix('+')?.parse().ok()?)),
        };
        let spared = AtomicU32::new(passage.parse::<u32>().ok()?.checked_sub(1)?);
        Some(Self { point: point.to_owned(), spared, when })
    }

    async fn pass<T>(&self, point: &str, operation: impl Future<Output = T>) -> T {
        if point != self.point
            || self
                .spared
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok()
        {
            return operation.await;
        }
        match self.when {
            When::Before => die(),
            When::After => {
                let _done = operation.await;
                die()
            }
            When::Into(delay) => {
                std::thread::spawn(move || {
                    std::thread::sleep(delay);
                    die()
                });
                operation.await
            }
        }
    }
}

/// Nothing is run down or flushed; the thread that gets here does nothing more. At once: what other threads do meanwhile
/// is done after the point.
fn die() -> ! {
    #[cfg(unix)]
    let _killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    #[cfg(not(unix))]
    std::process::abort();
    #[cfg(unix)]
    loop {
        std::thread::park();
    }
}

/// A port that dies where it is told to.
#[derive(Debug)]
pub(crate) struct Mortal<P: ?Sized> {
    pub(crate) die_at: Arc<DieAt>,
    pub(crate) port: Arc<P>,
}

#[async_trait]
impl Journal for Mortal<dyn Journal> {
    async fn find(&self, identity: &Identity, task: &TaskId) -> Result<Found, JournalError> {
        self.die_at.pass("journal.find", self.port.find(identity, task)).await
    }

    async fn open(&self, new: NewHold) -> Result<Opened, JournalError> {
        self.die_at.pass("journal.open", self.port.open(new)).await
    }

    async fn advance(&self, id: HoldId, step: Step, at: Timestamp) -> Result<Moved, JournalError> {
        let point = match &step {
            Step::Claim { .. } => "journal.claim",
            Step::Dispatch { .. } => "journal.dispatch",
            Step::Finish { .. } => "journal.finish",
            Step::Lose => "journal.lose",
            Step::End { .. } => "journal.end",
            Step::Deliver => "journal.deliver",
            Step::TakeUp { .. } => "journal.take_up",
            Step::Resolve(_) => "journal.resolve",
        };
        self.die_at.pass(point, self.port.advance(id, step, at)).await
    }

    async fn get(&self, id: HoldId) -> Result<Option<HeldCall>, JournalError> {
        self.die_at.pass("journal.get", self.port.get(id)).await
    }

    async fn live(&self, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        self.port.live(limit).await
    }

    async fn withdrawn(&self, since: Timestamp, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        self.port.withdrawn(since, limit).await
    }

    async fn effect(&self, server: &ServerName, key: &EffectKey) -> Result<Option<EffectRun>, JournalError> {
        self.die_at.pass("journal.effect", self.port.effect(server, key)).await
    }

    async fn take_effect(&self, new: NewEffect) -> Result<Taken, JournalError> {
        self.die_at.pass("journal.take_effect", self.port.take_effect(new)).await
    }

    async fn settle(&self, id: EffectId, settled: Settled, at: Timestamp) -> Result<Moved, JournalError> {
        self.die_at.pass("journal.settle", self.port.settle(id, settled, at)).await
    }

    async fn effects(&self, limit: usize) -> Result<Vec<EffectRun>, JournalError> {
        self.port.effects(limit).await
    }

    async fn liveness(&self, owner: &Owner) -> Result<Liveness, JournalError> {
        self.die_at.pass("journal.liveness", self.port.liveness(owner)).await
    }
}

#[async_trait]
impl TicketBook for Mortal<dyn Journal> {
    async fn open_ticket(&self, new: NewTicket) -> Result<Ticket, JournalError> {
        self.die_at.pass("journal.open_ticket", self.port.open_ticket(new)).await
    }

    async fn ticket(
        &self,
        principal: &Principal,
        server: &ServerName,
        id: &TicketId,
    ) -> Result<Option<Ticket>, JournalError> {
        self.port.ticket(principal, server, id).await
    }

    async fn advance_ticket(
        &self,
        id: &TicketId,
        round: u32,
        step: TicketStep,
        at: Timestamp,
    ) -> Result<Moved, JournalError> {
        let point = match &step {
            TicketStep::Answer { .. } => "journal.answer_ticket",
            TicketStep::GoOn { .. } => "journal.go_on_with_ticket",
            TicketStep::Cancel => "journal.cancel_ticket",
        };
        self.die_at.pass(point, self.port.advance_ticket(id, round, step, at)).await
    }

    async fn forget_tickets(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError> {
        self.port.forget_tickets(now, limit).await
    }
}

#[async_trait]
impl OperationBook for Mortal<dyn Journal> {
    async fn open_operation(&self, new: NewOperation) -> Result<OpenedOperation, JournalError> {
        self.die_at.pass("journal.open_operation", self.port.open_operation(new)).await
    }

    async fn operation(&self, id: &OperationId) -> Result<Option<Operation>, JournalError> {
        self.port.operation(id).await
    }

    async fn latest_operation(
        &self,
        principal: &Principal,
        of: OperationOf<'_>,
    ) -> Result<Option<Operation>, JournalError> {
        self.port.latest_operation(principal, of).await
    }

    async fn advance_operation(
        &self,
        id: &OperationId,
        round: u32,
        change: OperationChange,
        at: Timestamp,
    ) -> Result<Moved, JournalError> {
        let point = match change.state {
            OperationState::Asked => "journal.ask_operation",
            OperationState::Waiting => "journal.tell_operation",
            OperationState::Running => "journal.run_operation",
            OperationState::Answered => "journal.answer_operation",
        };
        self.die_at.pass(point, self.port.advance_operation(id, round, change, at)).await
    }

    async fn operation_owners(&self) -> Result<Vec<Owner>, JournalError> {
        self.port.operation_owners().await
    }

    async fn operations_of(&self, owner: &Owner, limit: usize) -> Result<Vec<OperationId>, JournalError> {
        self.port.operations_of(owner, limit).await
    }

    async fn forget_operations(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError> {
        self.port.forget_operations(now, limit).await
    }
}

#[async_trait]
impl Approver for Mortal<dyn Approver> {
    async fn submit(&self, ask: &Ask, task: &TaskId, repeat: Repeat) -> Result<Submission, ApproverError> {
        self.die_at.pass("approver.submit", self.port.submit(ask, task, repeat)).await
    }

    async fn revise(&self, ask: &Ask, before: &Hold, repeat: Repeat) -> Result<Revised, ApproverError> {
        self.die_at.pass("approver.revise", self.port.revise(ask, before, repeat)).await
    }

    async fn wait(&self, hold: &Hold, patience: Duration) -> Result<Answer, ApproverError> {
        self.die_at.pass("approver.wait", self.port.wait(hold, patience)).await
    }

    async fn redeem(&self, task: &TaskId, token: &ApprovalToken) -> Result<Redemption, ApproverError> {
        self.die_at.pass("approver.redeem", self.port.redeem(task, token)).await
    }
}

#[async_trait]
impl Recorder for Mortal<dyn Recorder> {
    async fn record(&self, event: Event<'_>) -> Result<(), RecordError> {
        let point = match event.what {
            What::Proposed => "record.proposed",
            What::Held { .. } => "record.held",
            What::Joined { .. } => "record.joined",
            What::Allowed => "record.allowed",
            What::Decided { .. } => "record.decided",
            What::Redeemed { .. } => "record.redeemed",
            What::Dispatching { .. } => "record.dispatching",
            What::GoingOn { .. } => "record.going_on",
            What::Completed { .. } => "record.completed",
            What::OutcomeUnknown { .. } => "record.outcome_unknown",
            What::Refused(_) => "record.refused",
            What::Withdrawn { .. } => "record.withdrawn",
            What::TooLate { .. } => "record.too_late",
            What::Resolved { .. } => "record.resolved",
        };
        self.die_at.pass(point, self.port.record(event)).await
    }
}
