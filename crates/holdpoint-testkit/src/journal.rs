use crate::{ScriptedFault, lock};
use async_trait::async_trait;
use holdpoint_core::{
    EffectId, EffectKey, EffectRun, Found, HeldCall, HoldId, HoldState, Identity, Journal, JournalError,
    Liveness, Moved, NewEffect, NewHold, Opened, Owner, ServerName, Settled, Step, Taken, TaskId, Ticket,
};
use jiff::Timestamp;
use rows::{Rows, operation_of};
use std::{collections::HashMap, sync::Mutex};

mod operations;
mod rows;
mod tickets;

/// One kind of call to a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Journal::find`]
    Find,
    /// [`Journal::open`]
    Open,
    /// [`Step::Claim`]
    Claim,
    /// [`Step::Dispatch`]
    Dispatch,
    /// [`Step::Finish`]
    Finish,
    /// [`Step::Lose`]
    Lose,
    /// [`Step::End`]
    End,
    /// [`Step::Deliver`]
    Deliver,
    /// [`Step::TakeUp`]
    TakeUp,
    /// [`Step::Resolve`]
    Resolve,
    /// [`Journal::get`]
    Get,
    /// [`Journal::live`]
    Live,
    /// [`Journal::withdrawn`]
    Withdrawn,
    /// [`Journal::effect`] and [`Journal::effects`]
    Effect,
    /// [`Journal::take_effect`]
    TakeEffect,
    /// [`Journal::settle`]
    Settle,
    /// [`Journal::liveness`]
    Liveness,
    /// [`holdpoint_core::TicketBook::open_ticket`]
    OpenTicket,
    /// [`holdpoint_core::TicketBook::ticket`]
    Ticket,
    /// [`holdpoint_core::TicketStep::Answer`]
    AnswerTicket,
    /// [`holdpoint_core::TicketStep::GoOn`]
    GoOnWithTicket,
    /// [`holdpoint_core::TicketStep::Cancel`]
    CancelTicket,
    /// [`holdpoint_core::TicketBook::forget_tickets`]
    ForgetTickets,
    /// [`holdpoint_core::OperationBook::open_operation`]
    OpenOperation,
    /// What reads of [`holdpoint_core::OperationBook`].
    Operation,
    /// [`holdpoint_core::OperationBook::advance_operation`]
    AdvanceOperation,
    /// [`holdpoint_core::OperationBook::forget_operations`]
    ForgetOperations,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done.
    Refused,
    /// It is done, and yet an error comes back.
    ReplyLost,
}

/// The journal's contract in memory, exactly, with faults on request.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rows: Rows,
    faults: HashMap<Operation, Fault>,
    calls: HashMap<Operation, usize>,
    dead: Vec<Owner>,
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes every `operation` fail from now on.
    pub fn fail(&self, operation: Operation, fault: Fault) {
        lock(&self.inner).faults.insert(operation, fault);
    }

    /// Ends all faults.
    pub fn repair(&self) {
        lock(&self.inner).faults.clear();
    }

    /// Says that a process has ended. All others are alive.
    pub fn bury(&self, owner: &str) {
        lock(&self.inner).dead.push(Owner(owner.into()));
    }

    /// Damages the latest hold behind the journal's back.
    pub fn tamper(&self, damage: impl FnOnce(&mut HeldCall)) {
        lock(&self.inner).rows.holds.last_mut().map(damage).expect("there is a hold");
    }

    /// How often `operation` was called, failures included.
    pub fn calls(&self, operation: Operation) -> usize {
        lock(&self.inner).calls.get(&operation).copied().unwrap_or(0)
    }

    /// Every hold, ended ones included, in the order they were opened.
    pub fn holds(&self) -> Vec<HeldCall> {
        lock(&self.inner).rows.holds.clone()
    }

    /// Every effect, void ones included, in the order they were taken.
    pub fn runs(&self) -> Vec<EffectRun> {
        lock(&self.inner).rows.effects.clone()
    }

    /// Every ticket, in the order they were opened.
    pub fn tickets(&self) -> Vec<Ticket> {
        lock(&self.inner).rows.tickets.clone()
    }

    /// Every operation, in the order they were opened.
    pub fn operations(&self) -> Vec<holdpoint_core::Operation> {
        lock(&self.inner).rows.operations.clone()
    }

    /// The states of all holds, in the order they were opened.
    pub fn states(&self) -> Vec<HoldState> {
        lock(&self.inner).rows.holds.iter().map(|row| row.state).collect()
    }

    /// Runs `work` as `operation`, with the fault that is set for it.
    fn run<T>(&self, operation: Operation, work: impl FnOnce(&mut Rows) -> T) -> Result<T, JournalError> {
        let mut inner = lock(&self.inner);
        *inner.calls.entry(operation).or_default() += 1;
        let fault = inner.faults.get(&operation).copied();
        if fault == Some(Fault::Refused) {
            return Err(JournalError(Box::new(ScriptedFault)));
        }
        let done = work(&mut inner.rows);
        match fault {
            Some(Fault::ReplyLost | Fault::Refused) => Err(JournalError(Box::new(ScriptedFault))),
            None => Ok(done),
        }
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn find(&self, identity: &Identity, task: &TaskId) -> Result<Found, JournalError> {
        self.run(Operation::Find, |rows| rows.find(identity, task))
    }

    async fn open(&self, new: NewHold) -> Result<Opened, JournalError> {
        self.run(Operation::Open, |rows| rows.open(new))
    }

    async fn advance(&self, id: HoldId, step: Step, at: Timestamp) -> Result<Moved, JournalError> {
        self.run(operation_of(&step), |rows| rows.advance(id, step, at))
    }

    async fn get(&self, id: HoldId) -> Result<Option<HeldCall>, JournalError> {
        self.run(Operation::Get, |rows| rows.holds.iter().find(|row| row.id == id).cloned())
    }

    async fn live(&self, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        self.run(Operation::Live, |rows| rows.live(limit))
    }

    async fn withdrawn(&self, since: Timestamp, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        self.run(Operation::Withdrawn, |rows| rows.withdrawn(since, limit))
    }

    async fn effect(&self, server: &ServerName, key: &EffectKey) -> Result<Option<EffectRun>, JournalError> {
        self.run(Operation::Effect, |rows| rows.effect(server, key).cloned())
    }

    async fn take_effect(&self, new: NewEffect) -> Result<Taken, JournalError> {
        self.run(Operation::TakeEffect, |rows| rows.take_effect(new))
    }

    async fn settle(&self, id: EffectId, settled: Settled, at: Timestamp) -> Result<Moved, JournalError> {
        self.run(Operation::Settle, |rows| rows.settle(id, settled, at))
    }

    async fn effects(&self, limit: usize) -> Result<Vec<EffectRun>, JournalError> {
        self.run(Operation::Effect, |rows| rows.all_effects(limit))
    }

    async fn liveness(&self, owner: &Owner) -> Result<Liveness, JournalError> {
        self.run(Operation::Liveness, |_| ())?;
        let dead = lock(&self.inner).dead.contains(owner);
        Ok(if dead { Liveness::Gone } else { Liveness::Alive })
    }
}
