//! The scenes. Each is played from the start, on a stage of its own.

use super::{
    Shown,
    stage::{Set, Stage},
};
use crate::demo::ledger::{LOSES_REPLIES, SWAPPED};
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use holdpoint_client::GateApprover;
use holdpoint_core::{
    Answer, ApprovalToken, Approver, ApproverError, Ask, Hold, Redemption, Repeat, Revised, Submission,
    TaskId,
};
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::process::{Child, Command};

type Scene = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = Result<Shown>> + 'a>>;

/// In the order in which they are played.
pub(super) const ALL: [Scene; 7] = [
    |stage| Box::pin(reply_lost(stage)),
    |stage| Box::pin(arguments_changed(stage)),
    |stage| Box::pin(token_replayed(stage)),
    |stage| Box::pin(gate_gone(stage)),
    |stage| Box::pin(definition_swapped(stage)),
    |stage| Box::pin(two_agents(stage)),
    |stage| Box::pin(process_killed(stage)),
];

fn refund(order: &str, amount: u32) -> Value {
    json!({ "order_id": order, "amount": amount, "reason": "arrived broken" })
}

async fn reply_lost(stage: &Stage) -> Result<Shown> {
    let set = stage.scene("reply-lost")?;
    set.flag(LOSES_REPLIES)?;
    let mut told = Vec::new();
    let mut proxy = set.proxy().await?;
    told.push(proxy.call_approved(&set, &refund("A-1", 40)).await?);
    proxy.end().await?;
    // The agent tries again, as agents do; the tool server is back.
    let mut proxy = set.proxy().await?;
    told.push(proxy.call(&refund("A-1", 40)).await?);
    proxy.end().await?;
    Ok(Shown {
        title: "The tool pays, and its reply is lost",
        elsewhere: "the agent sees an error, calls again, and the refund is paid twice",
        here: "nothing runs again until a person said what happened",
        told,
        runs: set.runs(),
        promised: 1,
    })
}

async fn arguments_changed(stage: &Stage) -> Result<Shown> {
    let set = stage.scene("arguments-changed")?;
    let mut proxy = set.proxy().await?;
    let mut told = vec![proxy.agent.call_once("refund", &refund("A-2", 40)).await?.status];
    stage.approve_next().await?;
    // Approved by now. Another amount is another question.
    told.push(proxy.agent.call_once("refund", &refund("A-2", 4000)).await?.status);
    proxy.end().await?;
    Ok(Shown {
        title: "The arguments change after the approval",
        elsewhere: "40 was approved, 4000 is paid",
        here: "the approval of 40 is good for 40 and nothing else; 4000 waits for its own",
        told,
        runs: set.runs(),
        promised: 0,
    })
}

async fn token_replayed(stage: &Stage) -> Result<Shown> {
    let set = stage.scene("token-replayed")?;
    let mut proxy = set.proxy_through(|approver| Arc::new(Replaying::new(approver))).await?;
    let mut told = vec![proxy.call_approved(&set, &refund("A-3", 40)).await?];
    told.push(proxy.call_approved(&set, &refund("A-4", 40)).await?);
    proxy.end().await?;
    Ok(Shown {
        title: "The token of one approval comes a second time, with another call",
        elsewhere: "a token that is only read, or never checked, opens the door twice",
        here: "Gate has used it up, and the call that it came with is refused",
        told,
        runs: set.runs(),
        promised: 1,
    })
}

async fn gate_gone(stage: &Stage) -> Result<Shown> {
    let set = stage.scene("gate-gone")?;
    let mut proxy = set.proxy_without_gate().await?;
    let told = vec![proxy.call(&refund("A-5", 40)).await?];
    proxy.end().await?;
    Ok(Shown {
        title: "Nobody answers where Gate should be",
        elsewhere: "the check times out, and the call goes through",
        here: "what nobody could be asked about does not run",
        told,
        runs: set.runs(),
        promised: 0,
    })
}

async fn definition_swapped(stage: &Stage) -> Result<Shown> {
    let set = stage.scene("definition-swapped")?;
    let mut proxy = set.proxy().await?;
    let mut told = vec![proxy.agent.call_once("refund", &refund("A-6", 40)).await?.status];
    set.flag(SWAPPED)?;
    stage.approve_next().await?;
    told.push(proxy.call(&refund("A-6", 40)).await?);
    proxy.end().await?;
    Ok(Shown {
        title: "The tool becomes another one after the approval",
        elsewhere: "the reviewer approved what the tool was, and what it is now runs",
        here: "a tool that is not the one that was described does not run",
        told,
        runs: set.runs(),
        promised: 0,
    })
}

async fn two_agents(stage: &Stage) -> Result<Shown> {
    let set = stage.scene("two-agents")?;
    let (mut one, mut two) = (set.proxy().await?, set.proxy().await?);
    // Other words, other call: only the effect is the same. Both are asked, and both are approved.
    let (first, second) = (refund("A-7", 40), json!({ "order_id": "A-7", "amount": 40, "reason": "late" }));
    let approvals = async {
        // Only once both wait: the first to run would have the effect before the other is asked.
        while stage.waiting().await? < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stage.approve_next().await?;
        stage.approve_next().await
    };
    let (first, second, approved) =
        tokio::join!(one.agent.call("refund", &first), two.agent.call("refund", &second), approvals);
    approved?;
    let mut told = vec![first?.status, second?.status];
    // Which of them was first is chance.
    told.sort_by_key(|status| status != "ran");
    one.end().await?;
    two.end().await?;
    Ok(Shown {
        title: "Two agents want the same effect, and both are approved",
        elsewhere: "two calls, two approvals, two refunds of one order",
        here: "the effect has a name (`refund:A-7`), and a name is had once",
        told,
        runs: set.runs(),
        promised: 1,
    })
}

async fn process_killed(stage: &Stage) -> Result<Shown> {
    let set = stage.scene("process-killed")?;
    let call = refund("A-8", 40);
    killed_in_between(&set, &call).await?;
    let (mut child, mut agent) = set.proxy_process().await?;
    let mut told = vec!["nothing (killed)".to_owned()];
    told.push(agent.call("refund", &call).await?.status);
    drop(agent);
    child.wait().await.context("the proxy did not end")?;
    Ok(Shown {
        title: "The process is killed between the approval and the run",
        elsewhere: "the approval is lost with the process, or is used again after the restart",
        here: "the journal has the hold; the same call joins it and runs, once",
        told,
        runs: set.runs(),
        promised: 1,
    })
}

/// Holds a call in a process of its own, stops that process, approves, and kills it before it can hear of that.
async fn killed_in_between(set: &Set<'_>, call: &Value) -> Result<()> {
    let (mut child, mut agent) = set.proxy_process().await?;
    let held = async {
        // Gate knows of it a moment before the journal does; killed in that moment, the process leaves no hold to join.
        while set.stage().waiting().await? == 0 || !set.has_held() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        signal(&child, "-STOP").await?;
        set.stage().approve_next().await?;
        signal(&child, "-KILL").await
    };
    tokio::select! {
        // Killed, it cannot answer.
        _cut_off = agent.call("refund", call) => {}
        done = held => done?,
    }
    child.wait().await.context("the proxy did not end")?;
    Ok(())
}

async fn signal(child: &Child, signal: &str) -> Result<()> {
    let id = child.id().context("the proxy is gone")?;
    let sent = Command::new("kill").args([signal, &id.to_string()]).status().await;
    sent.context("cannot run `kill`")?;
    Ok(())
}

/// A way to Gate on which somebody has kept the first token, and puts it into every later answer.
#[derive(Debug)]
struct Replaying {
    gate: Arc<GateApprover>,
    kept: Mutex<Option<String>>,
}

impl Replaying {
    fn new(gate: Arc<GateApprover>) -> Self {
        Self { gate, kept: Mutex::new(None) }
    }
}

#[async_trait]
impl Approver for Replaying {
    async fn submit(&self, ask: &Ask, task: &TaskId, repeat: Repeat) -> Result<Submission, ApproverError> {
        self.gate.submit(ask, task, repeat).await
    }

    async fn revise(&self, ask: &Ask, before: &Hold, repeat: Repeat) -> Result<Revised, ApproverError> {
        self.gate.revise(ask, before, repeat).await
    }

    async fn wait(&self, hold: &Hold, patience: Duration) -> Result<Answer, ApproverError> {
        let mut answer = self.gate.wait(hold, patience).await?;
        if let Answer::Approved(approval) = &mut answer {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            match &*kept {
                Some(old) => approval.token = Some(ApprovalToken::new(old.clone())),
                None => *kept = approval.token.as_ref().map(|token| token.expose().to_owned()),
            }
        }
        Ok(answer)
    }

    async fn redeem(&self, task: &TaskId, token: &ApprovalToken) -> Result<Redemption, ApproverError> {
        self.gate.redeem(task, token).await
    }
}
