use crate::{ScriptedFault, lock};
use async_trait::async_trait;
use holdpoint_core::{
    Found, HeldCall, HoldId, HoldState, Identity, Journal, JournalError, Moved, NewHold, Opened, Step,
};
use jiff::Timestamp;
use std::{collections::HashMap, sync::Mutex};

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
    /// [`Step::Resolve`]
    Resolve,
    /// [`Journal::get`]
    Get,
    /// [`Journal::live`]
    Live,
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
    rows: Vec<HeldCall>,
    faults: HashMap<Operation, Fault>,
    calls: HashMap<Operation, usize>,
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

    /// How often `operation` was called, failures included.
    pub fn calls(&self, operation: Operation) -> usize {
        lock(&self.inner).calls.get(&operation).copied().unwrap_or(0)
    }

    /// Every hold, ended ones included, in the order they were opened.
    pub fn holds(&self) -> Vec<HeldCall> {
        lock(&self.inner).rows.clone()
    }

    /// The states of all holds, in the order they were opened.
    pub fn states(&self) -> Vec<HoldState> {
        lock(&self.inner).rows.iter().map(|row| row.state).collect()
    }

    /// Runs `work` as `operation`, with the fault that is set for it.
    fn run<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut Vec<HeldCall>) -> T,
    ) -> Result<T, JournalError> {
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
    async fn find(&self, identity: &Identity) -> Result<Found, JournalError> {
        self.run(Operation::Find, |rows| {
            let (live, ended): (Vec<_>, Vec<_>) =
                rows.iter().filter(|row| row.identity == *identity).partition(|row| is_live(row));
            Found { live: live.first().map(|row| (*row).clone()), ended: ended.len() as u64 }
        })
    }

    async fn open(&self, new: NewHold) -> Result<Opened, JournalError> {
        self.run(Operation::Open, |rows| {
            if let Some(first) = rows.iter().find(|row| row.identity == new.identity && is_live(row)) {
                return Opened::Joined(first.clone());
            }
            if rows.iter().any(|row| row.hold.task == new.hold.task && row.hold.thread == new.hold.thread) {
                return Opened::Spent;
            }
            let row = HeldCall {
                id: HoldId(i64::try_from(rows.len()).unwrap_or(i64::MAX).saturating_add(1)),
                state: HoldState::Pending,
                identity: new.identity,
                hold: new.hold,
                arguments: new.arguments,
                definition: new.definition,
                policy: new.policy,
                opened_at: new.at,
                claim: None,
                result: None,
                delivered: false,
            };
            rows.push(row.clone());
            Opened::Mine(row)
        })
    }

    async fn advance(&self, id: HoldId, step: Step, at: Timestamp) -> Result<Moved, JournalError> {
        self.run(operation_of(&step), |rows| match rows.iter_mut().find(|row| row.id == id) {
            Some(row) if may_step(row, &step) => {
                take_step(row, step, at);
                Moved::Yes
            }
            Some(_) | None => Moved::No,
        })
    }

    async fn get(&self, id: HoldId) -> Result<Option<HeldCall>, JournalError> {
        self.run(Operation::Get, |rows| rows.iter().find(|row| row.id == id).cloned())
    }

    async fn live(&self, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        self.run(Operation::Live, |rows| {
            rows.iter().filter(|row| is_live(row)).take(limit).cloned().collect()
        })
    }
}

fn is_live(row: &HeldCall) -> bool {
    match row.state {
        HoldState::Pending | HoldState::Approved | HoldState::Dispatched | HoldState::Unknown => true,
        HoldState::Done => !row.delivered,
        HoldState::Rejected
        | HoldState::Expired
        | HoldState::Cancelled
        | HoldState::ChangesRequested
        | HoldState::Void => false,
    }
}

fn may_step(row: &HeldCall, step: &Step) -> bool {
    step.from().contains(&row.state)
        && match step {
            Step::Claim { stale_before, .. } => {
                row.state == HoldState::Pending || row.claim.as_ref().is_some_and(|(_, at)| at < stale_before)
            }
            Step::Dispatch { owner } => row.claim.as_ref().is_some_and(|(claimed_by, _)| claimed_by == owner),
            Step::Deliver => !row.delivered,
            Step::Finish { .. } | Step::Lose | Step::End(_) | Step::Resolve(_) => true,
        }
}

fn take_step(row: &mut HeldCall, step: Step, at: Timestamp) {
    row.state = step.to();
    match step {
        Step::Claim { owner, .. } => row.claim = Some((owner, at)),
        Step::Finish { result } => row.result = result,
        Step::Deliver => {
            row.delivered = true;
            row.result = None;
        }
        Step::Dispatch { .. } | Step::Lose | Step::End(_) | Step::Resolve(_) => {}
    }
}

const fn operation_of(step: &Step) -> Operation {
    match step {
        Step::Claim { .. } => Operation::Claim,
        Step::Dispatch { .. } => Operation::Dispatch,
        Step::Finish { .. } => Operation::Finish,
        Step::Lose => Operation::Lose,
        Step::End(_) => Operation::End,
        Step::Deliver => Operation::Deliver,
        Step::Resolve(_) => Operation::Resolve,
    }
}
