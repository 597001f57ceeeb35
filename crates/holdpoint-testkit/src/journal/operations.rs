//! Operations, as plainly as they can be put.

use super::{MemoryJournal, Operation, rows::Rows};
use async_trait::async_trait;
use holdpoint_core::{
    JournalError, Moved, NewOperation, OpenedOperation, Operation as Row, OperationBook, OperationChange,
    OperationId, OperationOf, Owner, Principal,
};
use jiff::Timestamp;

#[async_trait]
impl OperationBook for MemoryJournal {
    async fn open_operation(&self, new: NewOperation) -> Result<OpenedOperation, JournalError> {
        new.now.check()?;
        self.run(Operation::OpenOperation, |rows| rows.open_operation(new))
    }

    async fn operation(&self, id: &OperationId) -> Result<Option<Row>, JournalError> {
        self.run(Operation::Operation, |rows| rows.operations.iter().find(|row| row.id == *id).cloned())
    }

    async fn latest_operation(
        &self,
        principal: &Principal,
        of: OperationOf<'_>,
    ) -> Result<Option<Row>, JournalError> {
        let is_it = |row: &&Row| match of {
            OperationOf::Thread(thread) => row.now.thread.as_ref() == Some(thread),
            OperationOf::Task(task) => row.task == *task,
        };
        self.run(Operation::Operation, |rows| {
            // They are in the order in which they were opened.
            rows.operations.iter().rev().filter(is_it).find(|row| row.principal == *principal).cloned()
        })
    }

    async fn advance_operation(
        &self,
        id: &OperationId,
        round: u32,
        change: OperationChange,
        at: Timestamp,
    ) -> Result<Moved, JournalError> {
        change.check()?;
        self.run(Operation::AdvanceOperation, |rows| rows.advance_operation(id, round, change, at))
    }

    async fn operation_owners(&self) -> Result<Vec<Owner>, JournalError> {
        self.run(Operation::Operation, |rows| {
            let mut owners: Vec<Owner> = Vec::new();
            for owner in rows.operations.iter().filter_map(|row| row.now.owner.clone()) {
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
            owners
        })
    }

    async fn operations_of(&self, owner: &Owner, limit: usize) -> Result<Vec<OperationId>, JournalError> {
        self.run(Operation::Operation, |rows| {
            let its = rows.operations.iter().filter(|row| row.now.owner.as_ref() == Some(owner));
            let mut its: Vec<_> = its.collect();
            its.sort_by_key(|row| row.changed_at);
            its.into_iter().take(limit).map(|row| row.id.clone()).collect()
        })
    }

    async fn forget_operations(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError> {
        self.run(Operation::ForgetOperations, |rows| rows.forget_operations(now, limit))
    }
}

impl Rows {
    fn open_operation(&mut self, new: NewOperation) -> OpenedOperation {
        if let Some(there) = self.operations.iter().find(|row| row.id == new.id) {
            return OpenedOperation::There(there.clone());
        }
        let opened = new.opened();
        self.operations.push(opened.clone());
        OpenedOperation::Mine(opened)
    }

    fn advance_operation(
        &mut self,
        id: &OperationId,
        round: u32,
        change: OperationChange,
        at: Timestamp,
    ) -> Moved {
        let here = |row: &&mut Row| row.id == *id && row.round == round;
        let Some(row) = self.operations.iter_mut().find(here) else {
            return Moved::No;
        };
        row.round += 1;
        row.now = change;
        row.changed_at = at;
        Moved::Yes
    }

    fn forget_operations(&mut self, now: Timestamp, limit: usize) -> u64 {
        let mut expired: Vec<_> = self.operations.iter().filter(|row| row.now.expires_at <= now).collect();
        expired.sort_by_key(|row| row.now.expires_at);
        let expired: Vec<_> = expired.into_iter().take(limit).map(|row| row.id.clone()).collect();
        self.operations.retain(|row| !expired.contains(&row.id));
        expired.len() as u64
    }
}
