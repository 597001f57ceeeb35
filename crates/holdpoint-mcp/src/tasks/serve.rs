//! `tasks/get`, `tasks/update` and `tasks/cancel` about tasks of ours.

use super::{
    Line, OwnRequest, Stored, TaskRequest, Tasks, Verb,
    again::WentOn,
    driver::{Driver, Noted},
    latest::Latest,
    wire::{self, Status},
};
use crate::{
    message::{INTERNAL_ERROR, INVALID_PARAMS},
    reply,
};
use holdpoint_core::{HeldCall, HoldState, JournalError, Principal, Rejection, Ticket, TicketState};
use std::sync::Arc;

/// Why a request about a task is answered with an error.
enum Refused {
    /// There is no such task, for this principal.
    Unknown,
    /// The journal cannot be used now.
    Journal(JournalError),
    /// The server was asked about its task, and did not answer.
    NoAnswer,
    /// It cannot be told in time whether the call was withdrawn.
    NotYet,
    /// What the client said to the server's questions cannot be passed on.
    Input(String),
}

impl From<JournalError> for Refused {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl Tasks {
    /// The answer to a request about a task of ours.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        request: &TaskRequest<'_>,
        principal: &Principal,
        line: impl FnOnce(&Stored) -> Arc<dyn Line>,
    ) -> Vec<u8> {
        let answered = match self.find(request, principal).await {
            Ok((ticket, stored)) => {
                let line = line(&stored);
                match request.verb {
                    Verb::Get => self.get(request, &ticket, &stored, line).await,
                    Verb::Update => self.update(request, &ticket, &stored, line).await,
                    Verb::Cancel => self.cancel(request, &ticket, &stored, line).await,
                }
            }
            Err(refused) => Err(refused),
        };
        match answered {
            Ok(fragment) => reply::answer(request.id_raw, &fragment),
            Err(refused) => refusal(request.id_raw, refused),
        }
    }

    async fn find(
        &self,
        request: &TaskRequest<'_>,
        principal: &Principal,
    ) -> Result<(Ticket, Stored), Refused> {
        let tickets = self.guard.gate.tickets();
        let ticket = tickets.find(principal, &self.guard.server, &request.ticket()).await?;
        let ticket = ticket.ok_or(Refused::Unknown)?;
        let stored = Stored::read(&ticket.request)
            .ok_or_else(|| JournalError("the message of a task cannot be read".into()))?;
        Ok((ticket, stored))
    }

    async fn get(
        self: &Arc<Self>,
        request: &TaskRequest<'_>,
        ticket: &Ticket,
        stored: &Stored,
        line: Arc<dyn Line>,
    ) -> Result<Vec<u8>, Refused> {
        match ticket.state {
            TicketState::Open => {
                let held = self.guard.gate.tickets().hold(ticket).await?;
                self.resume(ticket, &held, stored, line);
                Ok(wire::told(ticket, &Status::Working(&wire::waiting_for(&held))))
            }
            TicketState::Cancelled => Ok(wire::told(ticket, &Status::Cancelled)),
            TicketState::Continuing => Ok(self.continuing(ticket, stored).await?),
            TicketState::Answered => self.answered(request, ticket, &line).await,
        }
    }

    /// Sees to it that somebody drives an open ticket.
    fn resume(
        self: &Arc<Self>,
        ticket: &Ticket,
        held: &HeldCall,
        stored: &Stored,
        line: Arc<dyn Line>,
    ) -> Option<Arc<Driver>> {
        if let Some(driver) = self.drivers.of(&ticket.id) {
            return Some(driver);
        }
        let call = self.guard.call_again(&*stored.call()?, held)?;
        self.drive(ticket, call, stored, line)
    }

    async fn answered(
        &self,
        request: &TaskRequest<'_>,
        ticket: &Ticket,
        line: &Arc<dyn Line>,
    ) -> Result<Vec<u8>, Refused> {
        // Not noted, the same call sent again collects the same answer once more, which runs nothing.
        let _once_more = self.guard.gate.tickets().collected(ticket).await;
        Ok(match latest(ticket)? {
            Latest::Result(result) => wire::told(ticket, &Status::Completed(result)),
            Latest::Error(error) => wire::told(ticket, &Status::Failed(error)),
            Latest::Asks { requests, .. } => wire::told(ticket, &Status::InputRequired(requests)),
            Latest::AtServer(task) => {
                let told = self.ask_server(request, &task, line).await?;
                under_our_id(&told, ticket).unwrap_or(told)
            }
        })
    }

    async fn ask_server(
        &self,
        request: &TaskRequest<'_>,
        task: &str,
        line: &Arc<dyn Line>,
    ) -> Result<Vec<u8>, Refused> {
        let params = request.params_for(task).ok_or(Refused::NoAnswer)?;
        let own = OwnRequest { verb: request.verb, task: task.to_owned(), params };
        line.ask(own).await.ok_or(Refused::NoAnswer)
    }

    async fn update(
        self: &Arc<Self>,
        request: &TaskRequest<'_>,
        ticket: &Ticket,
        stored: &Stored,
        line: Arc<dyn Line>,
    ) -> Result<Vec<u8>, Refused> {
        match ticket.state {
            TicketState::Open => {
                let held = self.guard.gate.tickets().hold(ticket).await?;
                self.resume(ticket, &held, stored, line);
            }
            TicketState::Answered => match latest(ticket)? {
                Latest::AtServer(task) => return self.ask_server(request, &task, &line).await,
                Latest::Asks { state, .. } => match self.go_on(request, ticket, stored, state, line).await {
                    Ok(WentOn::Here | WentOn::Elsewhere) => {}
                    Err(rejection) => return Err(Refused::Input(rejection)),
                },
                // Nobody waits for it.
                Latest::Result(_) | Latest::Error(_) => {}
            },
            TicketState::Continuing | TicketState::Cancelled => {}
        }
        Ok(wire::acknowledged())
    }

    /// Whether a later approval would still run the call of `ticket`.
    async fn still_waits(&self, ticket: &Ticket) -> Result<bool, JournalError> {
        let tickets = self.guard.gate.tickets();
        let now = tickets.find(&ticket.principal, &ticket.server, &ticket.id).await?;
        if now.is_none_or(|now| now.state != TicketState::Open) {
            return Ok(false);
        }
        Ok(tickets.hold(ticket).await?.state == HoldState::Pending)
    }

    async fn cancel(
        self: &Arc<Self>,
        request: &TaskRequest<'_>,
        ticket: &Ticket,
        stored: &Stored,
        line: Arc<dyn Line>,
    ) -> Result<Vec<u8>, Refused> {
        match ticket.state {
            TicketState::Open => {
                let held = self.guard.gate.tickets().hold(ticket).await?;
                let driver = self.resume(ticket, &held, stored, line).ok_or(Refused::NotYet)?;
                driver.cancel();
                // Acknowledged before that, a crash could bring the call back.
                if driver.noted().await == Noted::NotYet || self.still_waits(ticket).await? {
                    return Err(Refused::NotYet);
                }
            }
            TicketState::Answered => match latest(ticket)? {
                Latest::AtServer(task) => return self.ask_server(request, &task, &line).await,
                Latest::Asks { .. } => {
                    // `No`: somebody goes on with it at this moment.
                    let _too_late = self.guard.gate.tickets().cancel(ticket).await?;
                }
                Latest::Result(_) | Latest::Error(_) => {}
            },
            TicketState::Continuing | TicketState::Cancelled => {}
        }
        Ok(wire::acknowledged())
    }
}

fn latest(ticket: &Ticket) -> Result<Latest<'_>, Refused> {
    let answer = ticket.answer.as_ref().and_then(|answer| Latest::read(answer.as_bytes()));
    answer.ok_or_else(|| JournalError("the answer of a task cannot be read".into()).into())
}

/// What the server says of its task, as of ours. `None`: it says nothing of it.
fn under_our_id(told: &[u8], ticket: &Ticket) -> Option<Vec<u8>> {
    let result = std::str::from_utf8(told).ok()?.strip_prefix(r#""result":"#)?;
    let id = serde_json::Value::from(ticket.id.as_str()).to_string();
    Some([r#""result":"#, &wire::with_value(result, "taskId", &id)?].concat().into_bytes())
}

fn refusal(id: &str, refused: Refused) -> Vec<u8> {
    let (code, problem) = match refused {
        Refused::Unknown => (INVALID_PARAMS, "unknown task".to_owned()),
        Refused::Journal(error) => {
            tracing::error!(%error, "a task could not be looked up");
            (INTERNAL_ERROR, "the task cannot be looked up now; ask again later".to_owned())
        }
        Refused::NoAnswer => (INTERNAL_ERROR, "the tool server gave no answer about its task".to_owned()),
        Refused::NotYet => {
            (INTERNAL_ERROR, "it is not certain yet that the call was withdrawn; ask again".to_owned())
        }
        Refused::Input(problem) => (INVALID_PARAMS, problem),
    };
    reply::error(Some(id), code, &problem)
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self::Input(rejection.to_string())
    }
}
