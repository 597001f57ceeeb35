//! A process that stops at one of the points where it meets the world: before or after one call to Gate, the journal, the
//! evidence or the tool. There it dies, or others act before it goes on.

use super::{House, Ways, tool::answer};
use async_trait::async_trait;
use holdpoint_core::{
    Answer, ApprovalToken, Approver, ApproverError, Ask, EffectId, EffectKey, EffectRun, Event, Found,
    HeldCall, Hold, HoldId, Identity, Journal, JournalError, Liveness, Moved, NewEffect, NewHold,
    NewOperation, NewTicket, Opened, OpenedOperation, Operation, OperationBook, OperationChange, OperationId,
    OperationOf, Owner, Principal, RecordError, Recorder, Redemption, Repeat, Revised, ServerName, Settled,
    Step, Submission, Taken, TaskId, Ticket, TicketBook, TicketId, TicketStep, ToolCall,
};
use holdpoint_testkit::{MemoryJournal, MemoryRecorder, ScriptedApprover};
use jiff::Timestamp;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;
use tower::{service_fn, util::BoxCloneService};

/// The point at which a process stops, once.
#[derive(Debug)]
pub(crate) struct Stop {
    at: usize,
    passed: AtomicUsize,
    reached: Notify,
    goes_on: Notify,
}

impl Stop {
    /// Another process of `house`, which stops at its `at`th point.
    pub(crate) fn process(house: &House, owner: &'static str, at: usize) -> (Arc<Self>, House) {
        let stop = Arc::new(Self {
            at,
            passed: AtomicUsize::new(0),
            reached: Notify::new(),
            goes_on: Notify::new(),
        });
        let process = house.again_over(Ways {
            owner,
            approver: Arc::new(Behind { stop: Arc::clone(&stop), inner: Arc::clone(&house.approver) }),
            journal: Arc::new(Behind { stop: Arc::clone(&stop), inner: Arc::clone(&house.journal) }),
            recorder: Some(Arc::new(Behind {
                stop: Arc::clone(&stop),
                inner: Arc::new(MemoryRecorder::new()),
            })),
            tool: tool(house, &stop),
        });
        (stop, process)
    }

    /// Resolves when the process has stopped.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn go_on(&self) {
        self.goes_on.notify_one();
    }

    async fn point(&self) {
        if self.passed.fetch_add(1, Ordering::SeqCst) == self.at {
            self.reached.notify_one();
            self.goes_on.notified().await;
        }
    }

    async fn around<T>(&self, work: impl Future<Output = T>) -> T {
        self.point().await;
        let done = work.await;
        self.point().await;
        done
    }
}

fn tool(house: &House, stop: &Arc<Stop>) -> super::Tool {
    let (runs, stop) = (house.runs.clone(), Arc::clone(stop));
    BoxCloneService::new(service_fn(move |call: ToolCall| {
        let (runs, stop) = (runs.clone(), Arc::clone(&stop));
        async move {
            let text = answer(&call);
            stop.around(async { runs.note_run(call) }).await;
            Ok::<_, Infallible>(text)
        }
    }))
}

#[derive(Debug)]
struct Behind<T> {
    stop: Arc<Stop>,
    inner: Arc<T>,
}

#[async_trait]
impl Recorder for Behind<MemoryRecorder> {
    async fn record(&self, event: Event<'_>) -> Result<(), RecordError> {
        self.stop.around(self.inner.record(event)).await
    }
}

#[async_trait]
impl Approver for Behind<ScriptedApprover> {
    async fn submit(&self, ask: &Ask, task: &TaskId, repeat: Repeat) -> Result<Submission, ApproverError> {
        self.stop.around(self.inner.submit(ask, task, repeat)).await
    }

    async fn revise(&self, ask: &Ask, before: &Hold, repeat: Repeat) -> Result<Revised, ApproverError> {
        self.stop.around(self.inner.revise(ask, before, repeat)).await
    }

    async fn wait(&self, hold: &Hold, patience: Duration) -> Result<Answer, ApproverError> {
        self.stop.around(self.inner.wait(hold, patience)).await
    }

    async fn redeem(&self, task: &TaskId, token: &ApprovalToken) -> Result<Redemption, ApproverError> {
        self.stop.around(self.inner.redeem(task, token)).await
    }
}

#[async_trait]
impl TicketBook for Behind<MemoryJournal> {
    async fn open_ticket(&self, new: NewTicket) -> Result<Ticket, JournalError> {
        self.stop.around(self.inner.open_ticket(new)).await
    }

    async fn ticket(
        &self,
        principal: &Principal,
        server: &ServerName,
        id: &TicketId,
    ) -> Result<Option<Ticket>, JournalError> {
        self.stop.around(self.inner.ticket(principal, server, id)).await
    }

    async fn advance_ticket(
        &self,
        id: &TicketId,
        round: u32,
        step: TicketStep,
        at: Timestamp,
    ) -> Result<Moved, JournalError> {
        self.stop.around(self.inner.advance_ticket(id, round, step, at)).await
    }

    async fn forget_tickets(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError> {
        self.stop.around(self.inner.forget_tickets(now, limit)).await
    }
}

#[async_trait]
impl OperationBook for Behind<MemoryJournal> {
    async fn open_operation(&self, new: NewOperation) -> Result<OpenedOperation, JournalError> {
        self.stop.around(self.inner.open_operation(new)).await
    }

    async fn operation(&self, id: &OperationId) -> Result<Option<Operation>, JournalError> {
        self.stop.around(self.inner.operation(id)).await
    }

    async fn latest_operation(
        &self,
        principal: &Principal,
        of: OperationOf<'_>,
    ) -> Result<Option<Operation>, JournalError> {
        self.stop.around(self.inner.latest_operation(principal, of)).await
    }

    async fn advance_operation(
        &self,
        id: &OperationId,
        round: u32,
        change: OperationChange,
        at: Timestamp,
    ) -> Result<Moved, JournalError> {
        self.stop.around(self.inner.advance_operation(id, round, change, at)).await
    }

    async fn operation_owners(&self) -> Result<Vec<Owner>, JournalError> {
        self.stop.around(self.inner.operation_owners()).await
    }

    async fn operations_of(&self, owner: &Owner, limit: usize) -> Result<Vec<OperationId>, JournalError> {
        self.stop.around(self.inner.operations_of(owner, limit)).await
    }

    async fn forget_operations(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError> {
        self.stop.around(self.inner.forget_operations(now, limit)).await
    }
}

#[async_trait]
impl Journal for Behind<MemoryJournal> {
    async fn find(&self, identity: &Identity, task: &TaskId) -> Result<Found, JournalError> {
        self.stop.around(self.inner.find(identity, task)).await
    }

    async fn open(&self, new: NewHold) -> Result<Opened, JournalError> {
        self.stop.around(self.inner.open(new)).await
    }

    async fn advance(&self, id: HoldId, step: Step, at: Timestamp) -> Result<Moved, JournalError> {
        self.stop.around(self.inner.advance(id, step, at)).await
    }

    async fn get(&self, id: HoldId) -> Result<Option<HeldCall>, JournalError> {
        self.stop.around(self.inner.get(id)).await
    }

    async fn live(&self, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        self.stop.around(self.inner.live(limit)).await
    }

    async fn withdrawn(&self, since: Timestamp, limit: usize) -> Result<Vec<HeldCall>, JournalError> {
        self.stop.around(self.inner.withdrawn(since, limit)).await
    }

    async fn effect(&self, server: &ServerName, key: &EffectKey) -> Result<Option<EffectRun>, JournalError> {
        self.stop.around(self.inner.effect(server, key)).await
    }

    async fn take_effect(&self, new: NewEffect) -> Result<Taken, JournalError> {
        self.stop.around(self.inner.take_effect(new)).await
    }

    async fn settle(&self, id: EffectId, settled: Settled, at: Timestamp) -> Result<Moved, JournalError> {
        self.stop.around(self.inner.settle(id, settled, at)).await
    }

    async fn effects(&self, limit: usize) -> Result<Vec<EffectRun>, JournalError> {
        self.stop.around(self.inner.effects(limit)).await
    }

    async fn liveness(&self, owner: &Owner) -> Result<Liveness, JournalError> {
        self.stop.around(self.inner.liveness(owner)).await
    }
}
