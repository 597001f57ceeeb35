//! Calls that wait as tasks: the `io.modelcontextprotocol/tasks` extension of revision 2026-07-28 (SEP-2663), served from
//! the journal.
//!
//! ```text
//! tools/call ─► kernel ─┬─ needs no person ─► answered as ever
//!                       └─ held ─► ticket (durable) ─► `resultType: "task"`
//!                                     │ a driver of this process waits, and runs the call once
//!                                     ▼
//! tasks/get ─► ticket ─► working · input_required · completed · failed · cancelled
//! ```
//!
//! # Rules
//! 1. A task's id is told only once its ticket is durable. It is random, and good for one principal at one server: for
//!    everybody else it is as unknown as any other.
//! 2. A client that leaves after it has the id has not cancelled anything; `tasks/cancel` does. Before the call was
//!    dispatched that withdraws the approval, after it nothing is taken back.
//! 3. A ticket whose driver died is taken up by whoever is asked about it next, and joins its own hold: what was approved
//!    meanwhile runs once. What was sent and never answered is told as unknown, and never sent again.
//! 4. What a person or a rule refused is a tool result with `isError`, in a task that is *completed*; only an error of the
//!    server makes it *failed*.
//! 5. Where the server itself answers with a task, its state is told under our id. Where it asks for input, the answers
//!    continue the approved run, once each; its `requestState` stays here.
//!
//! # Not guaranteed
//! That a run can be stopped: a cancellation that comes after the dispatch changes nothing but, where the server has a task
//! of its own, is passed on to it. `notifications/tasks`: clients poll.

mod advertise;
mod again;
mod driver;
mod latest;
mod serve;
mod stored;
mod theirs;
mod wire;

pub(crate) use advertise::{advertised, without_our_tasks};
pub(crate) use latest::Latest;
pub(crate) use stored::Stored;
pub(crate) use wire::{TaskRequest, Verb};

use crate::{
    Guard,
    message::{CallFrame, INVALID_PARAMS, Single, text_of},
    random, reply,
};
use async_trait::async_trait;
use driver::Drivers;
use holdpoint_core::{
    Admission, Caller, Definitions, Delivery, HeldCall, PermittedCall, Principal, Probe, Proposed, Rejection,
    Stance, Standing, Ticket, TicketId, ToolCall, Unavailable,
};
use serde_json::value::RawValue;
use std::{fmt, sync::Arc, time::Duration};
use tokio_util::task::TaskTracker;

/// Ids of tasks start with this; others are the server's.
const PREFIX: &str = "holdpoint-task-";
/// Ids under which calls run for tasks start with this.
const RUN: &str = "holdpoint-run-";
/// How long a task that nobody decides about is kept. Its answer is kept as long as any result, from when it came.
const KEPT: Duration = Duration::from_hours(7 * 24);
/// How often clients should ask.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long Gate's first word may take.
const PROPOSED_WITHIN: Duration = Duration::from_secs(50);

/// What came of a run, whole.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The `result` or `error` member.
    pub(crate) fragment: Vec<u8>,
    /// Whom to tell that it is kept elsewhere.
    pub(crate) delivery: Option<Delivery>,
}

impl Ran {
    /// What a whole message says of a run. `None`: nothing.
    pub(crate) fn read(message: &[u8], delivery: Option<Delivery>) -> Option<Self> {
        let fragment = reply::fragment_from(std::str::from_utf8(message).ok()?)?;
        Some(Self { fragment, delivery })
    }
}

/// An id under which a call runs for a task; the client's own is answered by then.
pub(crate) fn run_id() -> String {
    format!("{RUN}{}", random::token())
}

/// Whether a raw id, or a progress token, is one of [`run_id`].
pub(crate) fn is_of_a_run(raw: &RawValue) -> bool {
    text_of(raw).is_some_and(|id| id.starts_with(RUN))
}

/// What a line has in it that speaks of such a run.
pub(crate) const RUN_MARK: &[u8] = RUN.as_bytes();

/// The way of one front to its server, in the name of one client.
#[async_trait]
pub(crate) trait Line: fmt::Debug + Send + Sync {
    /// Sends a call, once, and records what came of it.
    async fn run(&self, permitted: PermittedCall, frame: Arc<CallFrame>) -> Ran;

    /// Asks the server about a task of its own; the `result` or `error` member of its answer. `None`: there is none.
    async fn ask(&self, request: OwnRequest) -> Option<Vec<u8>>;

    /// Reads tools' definitions again.
    fn definitions(&self) -> Arc<dyn Definitions>;

    /// Calls read-only tools.
    fn probe(&self) -> Arc<dyn Probe>;

    /// Says whether the client may still call.
    fn standing(&self) -> Option<Arc<dyn Standing>>;
}

/// A request of ours about a task of the server.
#[derive(Debug)]
pub(crate) struct OwnRequest {
    pub(crate) verb: Verb,
    /// The server's id of the task.
    pub(crate) task: String,
    /// The raw `params`.
    pub(crate) params: String,
}

/// What a call came to whose client takes tasks.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made once per call and taken apart at once")]
pub(crate) enum Opened {
    /// It needs no person.
    Admitted(Admission),
    /// It does not run.
    Refused(Rejection),
    /// The answer: a task.
    Task(Vec<u8>),
}

/// The tasks of one server.
#[derive(Debug)]
pub(crate) struct Tasks {
    guard: Guard,
    drivers: Drivers,
    theirs: theirs::Theirs,
    /// What the front waits for before it ends.
    running: TaskTracker,
}

impl Tasks {
    pub(crate) fn new(guard: Guard, running: TaskTracker) -> Self {
        Self { guard, drivers: Drivers::default(), theirs: theirs::Theirs::default(), running }
    }

    /// Decides about a call as far as that takes no person; what waits for one becomes a task.
    pub(crate) async fn propose(
        self: &Arc<Self>,
        call: ToolCall,
        caller: Caller,
        frame: &CallFrame,
        stored: Stored,
        line: Arc<dyn Line>,
    ) -> Opened {
        let interest = caller.interest.clone();
        let caller = Caller { patience: PROPOSED_WITHIN, at_most: Some(PROPOSED_WITHIN), ..caller };
        let held = match self.guard.gate.propose(call.clone(), caller).await {
            Ok(Proposed::Held(held)) => held,
            Ok(Proposed::Admitted(admission)) => return Opened::Admitted(admission),
            Err(rejection) => return Opened::Refused(rejection),
        };
        let Some(ticket) = self.open(&held, &stored).await else {
            let thread = Some(held.hold.thread);
            return Opened::Refused(Rejection::Unavailable { what: Unavailable::Journal, thread });
        };
        // Who left before it could hear of the task withdrew the call.
        let stance = interest.stance();
        let driver = self.drive(&ticket, call, &stored, line);
        if stance == Stance::Cancelled {
            if let Some(driver) = driver {
                driver.cancel();
            }
            return Opened::Refused(Rejection::Cancelled { thread: Some(held.hold.thread) });
        }
        let result = wire::created(&ticket, &wire::waiting_for(&held));
        Opened::Task(reply::answer(&frame.id_raw, &result))
    }

    async fn open(&self, held: &HeldCall, stored: &Stored) -> Option<Ticket> {
        let id = TicketId::new(format!("{PREFIX}{}", random::unguessable()?));
        let opened = self.guard.gate.tickets().open(held, id, stored.request(), KEPT).await;
        opened.inspect_err(|error| tracing::error!(%error, "a task could not be put on record")).ok()
    }

    /// Remembers whose the task is that the server made of an approved call, if `answer` says so.
    pub(crate) fn note_theirs(&self, principal: &Principal, answer: &str) {
        self.theirs.note(principal, answer);
    }

    /// The answer to a request about a task that the server made of another principal's call: the same as of none.
    pub(crate) fn of_another(&self, principal: &Principal, messages: &[Single<'_>]) -> Option<Vec<u8>> {
        let id = self.theirs.first_of_another(principal, messages)?;
        Some(reply::error(Some(id), INVALID_PARAMS, "unknown task"))
    }

    /// The client is gone for good: what waits is left to whoever asks about it next.
    pub(crate) fn leave(&self) {
        self.drivers.leave();
    }
}
