//! Who waits for a ticket's hold and runs its call: one driver for each ticket, in this process.

use super::{KEPT, Line, Ran, Stored, Tasks, latest::Latest};
use crate::{
    message::CallFrame,
    reply::{self, Ended},
};
use holdpoint_core::{
    Admission, Caller, HoldState, Interest, InterestHandle, Kept, Moved, Rejection, StoredResult, Ticket,
    TicketId, ToolCall, Unavailable,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// So many tasks of one server are driven at once; others wait until they are asked about.
const DRIVERS_MAX: usize = 10_000;
/// How long a cancellation may take to be noted.
const CANCELLED_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Drivers(Mutex<HashMap<TicketId, Arc<Driver>>>);

/// One ticket's driver.
#[derive(Debug)]
pub(super) struct Driver {
    handle: InterestHandle,
    stage: Mutex<Stage>,
    /// Closes with the driver.
    ended: watch::Receiver<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Withdrawn,
    /// The server may have it.
    Running,
}

impl Drivers {
    pub(super) fn of(&self, id: &TicketId) -> Option<Arc<Driver>> {
        lock(&self.0).get(id).cloned()
    }

    /// A place for a new driver; `None`: there is one, or too many.
    fn enter(&self, id: &TicketId) -> Option<(Arc<Driver>, Interest, watch::Sender<()>)> {
        let mut drivers = lock(&self.0);
        if drivers.contains_key(id) || drivers.len() >= DRIVERS_MAX {
            return None;
        }
        let (handle, interest) = Interest::pair();
        let (ending, ended) = watch::channel(());
        let driver = Arc::new(Driver { handle, stage: Mutex::new(Stage::Waiting), ended });
        drivers.insert(id.clone(), Arc::clone(&driver));
        Some((driver, interest, ending))
    }

    pub(super) fn leave(&self) {
        for driver in lock(&self.0).values() {
            driver.handle.gone();
        }
    }
}

impl Driver {
    /// Withdraws the call, unless the server may have it.
    pub(super) fn cancel(&self) {
        let mut stage = lock(&self.stage);
        if *stage == Stage::Waiting {
            *stage = Stage::Withdrawn;
            self.handle.cancel();
        }
    }

    /// From here on the server may have the call.
    fn begin(&self) -> Begun {
        let mut stage = lock(&self.stage);
        match *stage {
            Stage::Waiting | Stage::Running => {
                *stage = Stage::Running;
                Begun::Yes
            }
            Stage::Withdrawn => Begun::Withdrawn,
        }
    }

    fn is_running(&self) -> bool {
        *lock(&self.stage) == Stage::Running
    }

    /// Resolves when the driver has ended, or will not end soon because the call runs.
    pub(super) async fn noted(&self) -> Noted {
        if self.is_running() {
            return Noted::Yes;
        }
        let mut ended = self.ended.clone();
        match tokio::time::timeout(CANCELLED_WITHIN, ended.changed()).await {
            Ok(_ended) => Noted::Yes,
            Err(_late) => Noted::NotYet,
        }
    }
}

enum Begun {
    Yes,
    Withdrawn,
}

/// Whether a cancellation has been acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    Yes,
    NotYet,
}

/// What driving came to.
enum Drove {
    /// The task has its answer, or the first of them.
    Answer(Ran),
    /// The caller withdrew it.
    Withdrawn,
    /// Nothing is decided: whoever is asked about the task next drives on.
    Later,
}

impl Tasks {
    /// Starts a driver, unless there is one; the one there is now.
    pub(super) fn drive(
        self: &Arc<Self>,
        ticket: &Ticket,
        call: ToolCall,
        stored: &Stored,
        line: Arc<dyn Line>,
    ) -> Option<Arc<Driver>> {
        let Some((driver, interest, entered)) = self.place(ticket.id.clone()) else {
            return self.drivers.of(&ticket.id);
        };
        let frame = Arc::new(stored.frame()?);
        let (own, ticket) = (Arc::clone(&driver), ticket.clone());
        self.running.spawn(async move {
            let tasks = Arc::clone(&entered.tasks);
            let caller = tasks.caller(&ticket, interest, &line);
            let drove = tasks.wait_and_run(&ticket, call, caller, &frame, &own, &line).await;
            tasks.note(&ticket, &frame, drove).await;
            drop(entered);
        });
        Some(driver)
    }

    /// A driver's place; `None`: it is taken, or there are too many.
    pub(super) fn place(self: &Arc<Self>, id: TicketId) -> Option<(Arc<Driver>, Interest, Entered)> {
        let (driver, interest, ending) = self.drivers.enter(&id)?;
        Some((driver, interest, Entered { tasks: Arc::clone(self), id, _ending: ending }))
    }

    /// Who waits for a ticket: as long as it lives.
    pub(super) fn caller(&self, ticket: &Ticket, interest: Interest, line: &Arc<dyn Line>) -> Caller {
        let left = ticket.expires_at.duration_since(self.guard.gate.now());
        Caller {
            patience: left.try_into().unwrap_or(KEPT),
            at_most: None,
            interest,
            definitions: Some(line.definitions()),
            onlooker: None,
            standing: line.standing(),
            probe: Some(line.probe()),
        }
    }

    async fn wait_and_run(
        &self,
        ticket: &Ticket,
        call: ToolCall,
        caller: Caller,
        frame: &Arc<CallFrame>,
        driver: &Driver,
        line: &Arc<dyn Line>,
    ) -> Drove {
        let permitted = match self.guard.gate.admit_held(call, ticket.hold, caller).await {
            Ok(Admission::Run(permitted)) => permitted,
            Ok(Admission::Replay(result, delivery)) => {
                let fragment = reply::replayed_fragment(frame, &result).into_owned();
                return Drove::Answer(Ran { fragment, delivery: Some(delivery) });
            }
            Err(rejection) => return self.refused(ticket, frame, &rejection).await,
        };
        match driver.begin() {
            Begun::Yes => Drove::Answer(line.run(permitted, Arc::clone(frame)).await),
            Begun::Withdrawn => {
                let (_call, _receipt, completion) = permitted.into_parts();
                // Whoever rides along has not cancelled anything.
                let told = reply::fragment_of(frame, &Ended::NotSent);
                completion.unsent(StoredResult::new(told)).await;
                Drove::Withdrawn
            }
        }
    }

    async fn refused(&self, ticket: &Ticket, frame: &CallFrame, rejection: &Rejection) -> Drove {
        match rejection {
            // The hold is still there, or what became of it is told by the next look at it.
            Rejection::Pending { .. }
            | Rejection::Busy { .. }
            | Rejection::Unavailable {
                what:
                    Unavailable::Ask
                    | Unavailable::Decision
                    | Unavailable::Journal
                    | Unavailable::Record
                    | Unavailable::Stopping,
                ..
            } => Drove::Later,
            Rejection::Cancelled { .. } => self.withdrawn(ticket).await,
            Rejection::DeniedByConfig { .. }
            | Rejection::Rejected { .. }
            | Rejection::Expired { .. }
            | Rejection::ChangesRequested { .. }
            | Rejection::Unavailable { what: Unavailable::Redemption, .. }
            | Rejection::TokenInvalid { .. }
            | Rejection::Mismatch { .. }
            | Rejection::OutcomeUnknown { .. }
            | Rejection::AlreadyDone { .. } => {
                let fragment = reply::rejected_fragment(frame, rejection);
                Drove::Answer(Ran { fragment, delivery: None })
            }
        }
    }

    /// Withdrawn here; but another process may have been faster with the run.
    async fn withdrawn(&self, ticket: &Ticket) -> Drove {
        let Ok(held) = self.guard.gate.tickets().hold(ticket).await else {
            return Drove::Later;
        };
        match held.state {
            HoldState::Pending
            | HoldState::Cancelled
            | HoldState::Void
            | HoldState::Rejected
            | HoldState::Expired
            | HoldState::ChangesRequested => Drove::Withdrawn,
            HoldState::Approved | HoldState::Dispatched | HoldState::Done | HoldState::Unknown => {
                Drove::Later
            }
        }
    }

    /// Puts on record what driving came to.
    async fn note(&self, ticket: &Ticket, frame: &CallFrame, drove: Drove) {
        let noted = match drove {
            Drove::Answer(Ran { fragment, delivery }) => {
                let noted = self.keep(ticket, frame, fragment).await;
                // Kept with the ticket now, or with the hold until the next look.
                drop(delivery);
                noted
            }
            Drove::Withdrawn => self.guard.gate.tickets().cancel(ticket).await,
            Drove::Later => return,
        };
        match noted {
            // `No`: another process has noted the same.
            Ok(Moved::Yes | Moved::No) => {}
            Err(error) => tracing::error!(%error, "what came of a task could not be put on record"),
        }
    }

    pub(super) async fn keep(
        &self,
        ticket: &Ticket,
        frame: &CallFrame,
        fragment: Vec<u8>,
    ) -> Result<Moved, holdpoint_core::JournalError> {
        let tickets = self.guard.gate.tickets();
        let fragment = if fragment.len() > tickets.answer_bytes_max() {
            reply::fragment_of(frame, &Ended::AnswerTooLarge)
        } else {
            fragment
        };
        let kept = match Latest::read(&fragment) {
            Some(Latest::AtServer(_) | Latest::Asks { .. }) => Kept::AsTicket,
            Some(Latest::Result(_) | Latest::Error(_)) | None => Kept::AsResults,
        };
        tickets.answer(ticket, StoredResult::new(fragment), kept).await
    }
}

/// A driver's place, however the driver ends.
pub(super) struct Entered {
    tasks: Arc<Tasks>,
    id: TicketId,
    _ending: watch::Sender<()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        lock(&self.tasks.drivers.0).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
