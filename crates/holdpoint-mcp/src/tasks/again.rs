//! An approved run whose tool asked for input: it goes on, once per answer.

use super::{
    Line, Ran, Stored, TaskRequest, Tasks,
    driver::Entered,
    latest::Latest,
    run_id,
    wire::{self, Status},
};
use crate::{
    message::{CallFrame, Object},
    reply,
};
use holdpoint_core::{
    Continued, Interest, JournalError, Liveness, Moved, PermittedCall, Rejection, Ticket, TicketId,
    TicketState,
};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Who goes on with a run.
#[derive(Debug)]
pub(super) enum WentOn {
    /// This process.
    Here,
    /// Another one was faster, or another answer.
    Elsewhere,
}

impl Tasks {
    /// Sends what the client said to the server's questions, as another leg of the run that was approved. The error says
    /// why not.
    pub(super) async fn go_on(
        self: &Arc<Self>,
        request: &TaskRequest<'_>,
        ticket: &Ticket,
        stored: &Stored,
        state: Option<&str>,
        line: Arc<dyn Line>,
    ) -> Result<WentOn, String> {
        let params = Object::read(request.params.get()).map_err(|flaw| format!("`params` {flaw}"))?;
        let said = params.get("inputResponses").map(RawValue::get);
        let said = said.ok_or("`params.inputResponses` is missing")?;
        let mut members = vec![("inputResponses", said)];
        members.extend(state.map(|state| ("requestState", state)));
        let unsent = || "the call cannot be continued".to_owned();
        let id = run_id();
        let frame = stored.with_input(&id, &members).and_then(|leg| leg.frame()).ok_or_else(unsent)?;
        let held = self.guard.gate.tickets().hold(ticket).await.map_err(|_| unsent())?;
        let call = stored.call().and_then(|message| self.guard.call_again(&message, &held));
        let caller = self.caller(ticket, Interest::always(), &line);
        // Before it is on record that somebody goes on: without a place it would look as if that had died.
        let round = ticket.round.saturating_add(1);
        let Some((_, _, leg)) = self.place(leg_of(ticket, round)) else {
            return Ok(WentOn::Elsewhere);
        };
        let continued = self.guard.gate.continue_run(ticket, call.ok_or_else(unsent)?, caller).await;
        match continued.map_err(|rejection: Rejection| rejection.to_string())? {
            Continued::Run(permitted) => {
                let ticket = Ticket { state: TicketState::Continuing, round, ..ticket.clone() };
                self.run_leg(ticket, permitted, Arc::new(frame), line, leg);
                Ok(WentOn::Here)
            }
            Continued::ByAnother => Ok(WentOn::Elsewhere),
        }
    }

    fn run_leg(
        self: &Arc<Self>,
        ticket: Ticket,
        permitted: PermittedCall,
        frame: Arc<CallFrame>,
        line: Arc<dyn Line>,
        leg: Entered,
    ) {
        let tasks = Arc::clone(self);
        self.running.spawn(async move {
            let Ran { fragment, delivery } = line.run(permitted, Arc::clone(&frame)).await;
            drop(delivery);
            match tasks.keep(&ticket, &frame, fragment).await {
                Ok(Moved::Yes | Moved::No) => {}
                Err(error) => tracing::error!(%error, "what came of a task could not be put on record"),
            }
            drop(leg);
        });
    }

    /// A run that goes on somewhere; or whose end nobody will ever hear of.
    pub(super) async fn continuing(&self, ticket: &Ticket, stored: &Stored) -> Result<Vec<u8>, JournalError> {
        const AT_IT: Status<'_> = Status::Working("The tool has the input.");
        let tickets = self.guard.gate.tickets();
        let goes_on = if tickets.is_ours(ticket) {
            self.drivers.of(&leg_of(ticket, ticket.round)).is_some()
        } else {
            tickets.liveness(ticket).await? == Liveness::Alive
        };
        let Some(frame) = stored.frame().filter(|_| !goes_on) else {
            return Ok(wire::told(ticket, &AT_IT));
        };
        let lost = reply::lost_fragment(&frame);
        Ok(match self.keep(ticket, &frame, lost.clone()).await? {
            Moved::Yes => match Latest::read(&lost) {
                Some(Latest::Result(result)) => wire::told(ticket, &Status::Completed(result)),
                Some(Latest::Error(_) | Latest::AtServer(_) | Latest::Asks { .. }) | None => {
                    wire::told(ticket, &AT_IT)
                }
            },
            // It came to something after all: the next look tells what.
            Moved::No => wire::told(ticket, &AT_IT),
        })
    }
}

/// The place of one leg among the drivers.
fn leg_of(ticket: &Ticket, round: u32) -> TicketId {
    TicketId::new(format!("{}#{round}", ticket.id))
}
