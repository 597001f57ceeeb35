//! Ways to Gate on which something happens.

use crate::house::House;
use holdpoint_core::{
    Answer, ApprovalToken, Approver, ApproverError, Ask, Hold, Redemption, Repeat, Revised, Submission,
    TaskId,
};
use holdpoint_testkit::ScriptedApprover;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// A line on which what is asked may take long.
#[derive(Debug)]
struct SlowLine {
    gate: Arc<ScriptedApprover>,
    arrives: Arc<Notify>,
}

/// What is asked on it arrives when it is told to.
pub(crate) fn slow_line(house: &House) -> (Arc<dyn Approver>, Arc<Notify>) {
    let arrives = Arc::new(Notify::new());
    let line = SlowLine { gate: Arc::clone(&house.approver), arrives: Arc::clone(&arrives) };
    (Arc::new(line), arrives)
}

#[async_trait::async_trait]
impl Approver for SlowLine {
    async fn submit(&self, ask: &Ask, task: &TaskId, repeat: Repeat) -> Result<Submission, ApproverError> {
        self.arrives.notified().await;
        self.gate.submit(ask, task, repeat).await
    }

    async fn revise(&self, ask: &Ask, before: &Hold, repeat: Repeat) -> Result<Revised, ApproverError> {
        self.arrives.notified().await;
        self.gate.revise(ask, before, repeat).await
    }

    async fn wait(&self, hold: &Hold, patience: Duration) -> Result<Answer, ApproverError> {
        self.gate.wait(hold, patience).await
    }

    async fn redeem(&self, task: &TaskId, token: &ApprovalToken) -> Result<Redemption, ApproverError> {
        self.gate.redeem(task, token).await
    }
}
