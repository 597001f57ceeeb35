//! Tells Gate what became of the calls that a person decides about, so that the reviewer's thread shows it.
//!
//! # Rules
//! 1. A call never waits for this: what is to be told is queued, and one task posts it, in order.
//! 2. Only calls that a person has to decide about are told of; those that pass, or that rules allow, cost nothing.
//! 3. An event is posted again only when Gate did not take it, never when an answer is lost. So none is there twice, and some
//!    may be missing: they are counted, and the next event says how many.
//! 4. What leaves as a digest is keyed: a bare digest of a call, or of a result, could be searched for at leisure.
//! 5. The approval of a call that was withdrawn is read, told, and never redeemed.
//!
//! # Not guaranteed
//! That Gate has every event. The evidence is the recorder behind this one.

mod line;
mod post;
mod story;
mod watch;

use crate::GateApprover;
use async_trait::async_trait;
use holdpoint_core::{Clock, Decision, Event, HeldCall, RecordError, Recorder, What};
use line::Teller;
use post::Post;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use story::{Begins, Stories, Withdrawal};
use watch::Watches;

/// How much is told, and how long.
#[derive(Clone, Copy, Debug)]
pub struct TimelineOptions {
    /// Whether pieces of results are told.
    pub excerpts: Excerpts,
    /// How long a withdrawn call's decision is watched for.
    pub watched_for: Duration,
    /// Before an event that Gate did not take is posted again; as often as there are pauses.
    pub pauses: [Duration; 2],
}

/// Whether pieces of results go to Gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excerpts {
    /// They stay here; Gate is told a keyed digest and the size.
    Kept,
    /// They are told, as redacted as they come.
    Told,
}

impl Default for TimelineOptions {
    fn default() -> Self {
        Self {
            excerpts: Excerpts::Kept,
            watched_for: Duration::from_hours(24),
            pauses: [Duration::from_millis(250), Duration::from_secs(2)],
        }
    }
}

/// A [`Recorder`] in front of another one: what that one has recorded is told to Gate as well.
///
/// It fails when the one behind it fails, and never for a reason of its own. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Timeline(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    evidence: Arc<dyn Recorder>,
    approver: Arc<GateApprover>,
    clock: Arc<dyn Clock>,
    options: TimelineOptions,
    teller: Teller,
    stories: Mutex<Stories>,
    post: Post,
    watches: Watches,
}

/// What is left when a timeline is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Everything that was queued was posted, or given up for a reason of its own.
    Empty,
    /// Time was over.
    Undelivered {
        /// How many events were still queued.
        events: u64,
    },
}

impl Timeline {
    /// Must be called within a tokio runtime. `evidence` records each step first.
    #[must_use]
    pub fn start(
        approver: Arc<GateApprover>,
        evidence: Arc<dyn Recorder>,
        clock: Arc<dyn Clock>,
        options: TimelineOptions,
    ) -> Self {
        let post = Post::start(approver.client().clone(), options.pauses);
        let teller = Teller { key: approver.key().clone(), excerpts: options.excerpts };
        Self(Arc::new(Shared {
            evidence,
            approver,
            clock,
            options,
            teller,
            stories: Mutex::default(),
            post,
            watches: Watches::default(),
        }))
    }

    /// Events that may not have reached Gate, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.post.dropped()
    }

    /// Watches for the decisions about calls that were withdrawn before this process began: after a restart. An approval
    /// that was told before the restart may be told again.
    pub fn resume(&self, withdrawn: Vec<HeldCall>) {
        for held in withdrawn {
            let facts = watch::facts_of(&held);
            self.0.watch(held.hold, facts);
        }
    }

    /// Stops watching, takes nothing more, and posts what is queued, for `grace` at most.
    pub async fn close(&self, grace: Duration) -> Closed {
        self.0.watches.end();
        match self.0.post.close(grace).await {
            0 => Closed::Empty,
            events => Closed::Undelivered { events },
        }
    }
}

#[async_trait]
impl Recorder for Timeline {
    async fn record(&self, event: Event<'_>) -> Result<(), RecordError> {
        self.0.evidence.record(event).await?;
        self.0.tell(event);
        Ok(())
    }
}

impl Shared {
    /// Queues what a reviewer wants to know of a step; most steps are none of it.
    fn tell(self: &Arc<Self>, event: Event<'_>) {
        let Event { at, facts, what } = event;
        let teller = &self.teller;
        match what {
            What::Held { hold, .. } => {
                let begins = self.stories().begin(facts);
                if begins == Begins::Task {
                    self.post.add(teller.started(facts, hold));
                }
                self.post.add(teller.requested(facts, hold));
            }
            What::Decided { hold, decision: Decision::Approved | Decision::OtherPayload, .. } => {
                self.stories().decided(facts, &hold.thread);
            }
            What::Dispatching { grounds, .. } | What::GoingOn { grounds, .. } => {
                self.stories().dispatching(facts, grounds, at);
            }
            What::Completed { thread: Some(thread), ran, took, result, excerpt } => {
                let receipt = self.stories().ran(facts);
                let told = line::Answered { ran, took, result, excerpt };
                self.post.add(teller.completed(facts, thread, receipt, told));
            }
            What::OutcomeUnknown { thread: Some(thread), took } => {
                let receipt = self.stories().ran(facts);
                self.post.add(teller.outcome_unknown(facts, thread, receipt, took));
            }
            What::Refused(rejection) => {
                let refused = self.stories().refused(facts, rejection);
                if let Some(thread) = refused {
                    self.post.add(teller.not_run(facts, &thread, rejection));
                }
            }
            What::TooLate { hold } => {
                self.stories().too_late(facts, &hold.thread);
                self.post.add(teller.too_late(facts, hold));
            }
            What::Withdrawn { hold } => {
                let withdrawal = self.stories().withdrawn(facts, &hold.thread);
                match withdrawal {
                    Withdrawal::AfterTheDecision => {}
                    Withdrawal::Open => {
                        self.post.add(teller.withdrawn(facts, hold));
                        self.watch(hold.clone(), watch::without_secrets(facts));
                    }
                }
            }
            What::Resolved { thread: Some(thread), resolution, by } => {
                self.post.add(teller.resolved(facts, thread, resolution, by));
            }
            What::Proposed
            | What::Joined { .. }
            | What::Allowed
            | What::Redeemed { .. }
            | What::Decided {
                decision: Decision::Rejected | Decision::Expired | Decision::ChangesRequested,
                ..
            }
            | What::Completed { thread: None, .. }
            | What::OutcomeUnknown { thread: None, .. }
            | What::Resolved { thread: None, .. } => {}
        }
    }

    fn stories(&self) -> MutexGuard<'_, Stories> {
        self.stories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
