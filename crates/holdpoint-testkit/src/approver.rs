use crate::{ScriptedFault, lock};
use async_trait::async_trait;
use holdpoint_core::{
    Answer, Approval, ApprovalToken, Approver, ApproverError, Ask, Hold, Redemption, Refusal, Repeat,
    Revised, Submission, TaskId, ThreadId,
};
use jiff::Timestamp;
use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};
use tokio::sync::watch;

/// What Gate says at once.
#[derive(Clone, Debug)]
pub enum SubmitScript {
    /// `allow`
    Allow,
    /// `reject`
    Reject(Option<String>),
    /// `pending_review`; what happens when nothing is scripted.
    Hold,
    /// No usable answer.
    Fail,
    /// A thread is opened, and the answer is lost.
    ReplyLost,
    /// No answer, ever.
    Hang,
}

/// What Gate says to another proposal.
#[derive(Clone, Debug)]
pub enum ReviseScript {
    /// It waits; what happens when nothing is scripted and the thread is open.
    Hold,
    /// The rules reject it.
    Reject(Option<String>),
    /// The thread is closed; what happens when nothing is scripted and it was decided.
    Closed,
    /// No usable answer.
    Fail,
    /// It waits, and the answer is lost.
    ReplyLost,
    /// No answer, ever.
    Hang,
}

/// How a thread is decided.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Approved, with a fresh token that is good once.
    Approve,
    /// Approved, with what is given here.
    ApproveWith {
        /// The token.
        token: Option<String>,
        /// When it stops working.
        expires_at: Option<Timestamp>,
        /// Which thread the answer names; `None`: the one that was asked about.
        thread: Option<ThreadId>,
    },
    /// This proposal of the thread is approved, with a fresh token; asked about another one, it is about something else.
    ApproveProposal {
        /// Which.
        revision: u32,
    },
    /// Rejected, with the reviewer's words.
    Reject(Option<String>),
    /// Closed undecided.
    Expire,
    /// The reviewer wants another proposal.
    RequestChanges(Option<String>),
    /// The decision is about something else.
    OtherPayload,
    /// Reading the decision fails.
    Fail,
}

/// What Gate says of a token.
#[derive(Clone, Debug)]
pub enum RedeemScript {
    /// It vouches for it, whatever it is.
    Valid,
    /// The same, after some time.
    ValidAfter(Duration),
    /// It does not.
    Refuse(Refusal),
    /// No usable answer; the token may be used up.
    Fail,
    /// No answer, ever.
    Hang,
}

/// One submission as it arrived.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// What was asked.
    pub ask: Ask,
    /// For which job.
    pub task: TaskId,
    /// What makes a repetition the same.
    pub repeat: Repeat,
}

/// Gate behind the kernel's port, without a wire.
///
/// Unscripted it behaves like a Gate that sends everything to review: threads `THR-1`, `THR-2`, …; the same
/// [`Repeat`] finds its thread again; an approval brings a token that is valid once, for its task.
#[derive(Debug)]
pub struct ScriptedApprover {
    inner: Mutex<Inner>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    submit_scripts: VecDeque<SubmitScript>,
    redeem_scripts: VecDeque<RedeemScript>,
    revise_scripts: VecDeque<ReviseScript>,
    revised: Vec<(Hold, Submitted)>,
    verdicts: HashMap<ThreadId, Verdict>,
    verdict_for_all: Option<Verdict>,
    submitted: Vec<Submitted>,
    opened: Vec<(Repeat, Hold)>,
    waits: usize,
    waiting: usize,
    tokens: HashMap<String, (TaskId, bool)>,
    redeemed: Vec<(TaskId, String)>,
}

impl ScriptedApprover {
    /// A Gate that sends everything to review.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Mutex::default(), changes: watch::Sender::new(()) }
    }

    /// What to say to the next submission that is not scripted yet.
    pub fn on_submit(&self, script: SubmitScript) {
        self.change(|inner| inner.submit_scripts.push_back(script));
    }

    /// What to say to the next redemption that is not scripted yet.
    pub fn on_redeem(&self, script: RedeemScript) {
        self.change(|inner| inner.redeem_scripts.push_back(script));
    }

    /// What to say to the next proposal that is not scripted yet.
    pub fn on_revise(&self, script: ReviseScript) {
        self.change(|inner| inner.revise_scripts.push_back(script));
    }

    /// All further proposals so far, each with the hold that it follows.
    pub fn revised(&self) -> Vec<(Hold, Submitted)> {
        lock(&self.inner).revised.clone()
    }

    /// Decides one thread, now or before it is opened.
    pub fn decide(&self, thread: impl Into<std::sync::Arc<str>>, verdict: Verdict) {
        let thread = ThreadId::new(thread);
        self.change(|inner| inner.verdicts.insert(thread, verdict));
    }

    /// Decides every thread that has no decision of its own, now and later.
    pub fn decide_all(&self, verdict: Verdict) {
        self.change(|inner| inner.verdict_for_all = Some(verdict));
    }

    /// All submissions so far.
    pub fn submitted(&self) -> Vec<Submitted> {
        lock(&self.inner).submitted.clone()
    }

    /// All threads so far.
    pub fn opened(&self) -> Vec<Hold> {
        lock(&self.inner).opened.iter().map(|(_, hold)| hold.clone()).collect()
    }

    /// How often anybody started to wait.
    pub fn waits(&self) -> usize {
        lock(&self.inner).waits
    }

    /// All redemptions so far: task and token.
    pub fn redeemed(&self) -> Vec<(TaskId, String)> {
        lock(&self.inner).redeemed.clone()
    }

    /// Resolves when exactly `count` waits are going on.
    pub async fn until_waiting(&self, count: usize) {
        self.until(|inner| (inner.waiting == count).then_some(())).await;
    }

    /// Resolves when `count` submissions have arrived.
    pub async fn until_submitted(&self, count: usize) {
        self.until(|inner| (inner.submitted.len() >= count).then_some(())).await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut lock(&self.inner));
        self.changes.send_replace(());
        changed
    }

    async fn until<T>(&self, mut reached: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(value) = reached(&mut lock(&self.inner)) {
                return value;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Default for ScriptedApprover {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Approver for ScriptedApprover {
    async fn submit(&self, ask: &Ask, task: &TaskId, repeat: Repeat) -> Result<Submission, ApproverError> {
        let (script, hold) = self.change(|inner| {
            inner.submitted.push(Submitted { ask: ask.clone(), task: task.clone(), repeat });
            let script = inner.submit_scripts.pop_front().unwrap_or(SubmitScript::Hold);
            let hold = matches!(script, SubmitScript::Hold | SubmitScript::ReplyLost)
                .then(|| inner.open(ask, task, repeat));
            (script, hold)
        });
        match (script, hold) {
            (SubmitScript::Allow, _) => Ok(Submission::Allowed),
            (SubmitScript::Reject(message), _) => Ok(Submission::Rejected { message }),
            (SubmitScript::Hold, Some(hold)) => Ok(Submission::Held(hold)),
            (SubmitScript::Hang, _) => std::future::pending().await,
            (SubmitScript::Fail | SubmitScript::ReplyLost | SubmitScript::Hold, _) => Err(fault()),
        }
    }

    async fn revise(&self, ask: &Ask, before: &Hold, repeat: Repeat) -> Result<Revised, ApproverError> {
        let submitted = Submitted { ask: ask.clone(), task: before.task.clone(), repeat };
        let script = self.change(|inner| {
            inner.revised.push((before.clone(), submitted));
            // The reviewer's wish is met, for all that is known.
            if matches!(inner.verdicts.get(&before.thread), Some(Verdict::RequestChanges(_))) {
                inner.verdicts.remove(&before.thread);
            }
            let scripted = inner.revise_scripts.pop_front();
            scripted.unwrap_or_else(|| inner.takes_a_revision(before))
        });
        match script {
            ReviseScript::Hold => Ok(Revised::Held(Hold {
                binding: ask.payload.get().to_owned(),
                revision: before.revision + 1,
                ..before.clone()
            })),
            ReviseScript::Reject(message) => Ok(Revised::Rejected { message }),
            ReviseScript::Closed => Ok(Revised::Closed),
            ReviseScript::Fail | ReviseScript::ReplyLost => Err(fault()),
            ReviseScript::Hang => std::future::pending().await,
        }
    }

    async fn wait(&self, hold: &Hold, patience: Duration) -> Result<Answer, ApproverError> {
        self.change(|inner| {
            inner.waits += 1;
            inner.waiting += 1;
        });
        let _waiting = Waiting(self);
        let decided = self.until(|inner| {
            let verdict = inner.verdicts.get(&hold.thread).or(inner.verdict_for_all.as_ref())?.clone();
            Some(inner.answer(hold, verdict))
        });
        tokio::time::timeout(patience, decided).await.unwrap_or(Ok(Answer::StillHeld))
    }

    async fn redeem(&self, task: &TaskId, token: &ApprovalToken) -> Result<Redemption, ApproverError> {
        let script = self.change(|inner| {
            inner.redeemed.push((task.clone(), token.expose().to_owned()));
            let scripted = inner.redeem_scripts.pop_front();
            scripted.unwrap_or_else(|| inner.spend(task, token.expose()))
        });
        match script {
            RedeemScript::Valid => Ok(Redemption::Valid),
            RedeemScript::ValidAfter(time) => {
                tokio::time::sleep(time).await;
                Ok(Redemption::Valid)
            }
            RedeemScript::Refuse(refusal) => Ok(Redemption::Refused(refusal)),
            RedeemScript::Fail => Err(fault()),
            RedeemScript::Hang => std::future::pending().await,
        }
    }
}

impl Inner {
    fn open(&mut self, ask: &Ask, task: &TaskId, repeat: Repeat) -> Hold {
        if let Some((_, hold)) = self.opened.iter().find(|(known, _)| *known == repeat) {
            return hold.clone();
        }
        let hold = Hold {
            task: task.clone(),
            thread: ThreadId::new(format!("THR-{}", self.opened.len() + 1)),
            binding: ask.payload.get().to_owned(),
            review_url: None,
            revision: 0,
        };
        self.opened.push((repeat, hold.clone()));
        hold
    }

    fn answer(&mut self, hold: &Hold, verdict: Verdict) -> Result<Answer, ApproverError> {
        match verdict {
            Verdict::Approve => {
                let token = format!("token-{}", self.tokens.len() + 1);
                self.tokens.insert(token.clone(), (hold.task.clone(), false));
                Ok(approved(hold.clone(), Some(token), None))
            }
            Verdict::ApproveProposal { revision } if revision == hold.revision => {
                self.answer(hold, Verdict::Approve)
            }
            Verdict::ApproveWith { token, expires_at, thread } => {
                let thread = thread.unwrap_or_else(|| hold.thread.clone());
                Ok(approved(Hold { thread, ..hold.clone() }, token, expires_at))
            }
            Verdict::Reject(message) => Ok(Answer::Rejected { message }),
            Verdict::Expire => Ok(Answer::Expired { message: None }),
            Verdict::RequestChanges(message) => Ok(Answer::ChangesRequested { message }),
            Verdict::ApproveProposal { .. } | Verdict::OtherPayload => Ok(Answer::OtherPayload),
            Verdict::Fail => Err(fault()),
        }
    }

    fn takes_a_revision(&self, before: &Hold) -> ReviseScript {
        match self.verdicts.get(&before.thread) {
            Some(Verdict::Approve | Verdict::ApproveWith { .. } | Verdict::Reject(_) | Verdict::Expire) => {
                ReviseScript::Closed
            }
            Some(
                Verdict::ApproveProposal { .. }
                | Verdict::RequestChanges(_)
                | Verdict::OtherPayload
                | Verdict::Fail,
            )
            | None => ReviseScript::Hold,
        }
    }

    fn spend(&mut self, task: &TaskId, token: &str) -> RedeemScript {
        match self.tokens.get_mut(token) {
            Some((issued_for, used)) if issued_for == task => {
                if std::mem::replace(used, true) {
                    RedeemScript::Refuse(Refusal::Used)
                } else {
                    RedeemScript::Valid
                }
            }
            Some(_) | None => RedeemScript::Refuse(Refusal::Invalid),
        }
    }
}

/// One wait that goes on; ends also when its future is dropped.
struct Waiting<'a>(&'a ScriptedApprover);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.change(|inner| inner.waiting -= 1);
    }
}

fn approved(hold: Hold, token: Option<String>, expires_at: Option<Timestamp>) -> Answer {
    Answer::Approved(Approval { hold, token: token.map(ApprovalToken::new), expires_at, message: None })
}

fn fault() -> ApproverError {
    ApproverError(Box::new(ScriptedFault))
}
