use super::{NewTicket, Ticket, TicketRequest, TicketState, TicketStep};
use crate::{
    Gate, HeldCall, HoldState, JournalError, Liveness, Moved, Principal, ServerName, Step, StoredResult,
    TicketId,
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The tickets of one gate's journal, at its time. See [`Gate::tickets`].
#[derive(Clone, Copy, Debug)]
pub struct Tickets<'a>(&'a Gate);

/// How long an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// As long as the gate keeps results: it is the last one.
    AsResults,
    /// As long as the ticket: more is to come.
    AsTicket,
}

impl Gate {
    /// What callers got that do not wait.
    #[must_use]
    pub const fn tickets(&self) -> Tickets<'_> {
        Tickets(self)
    }
}

impl Tickets<'_> {
    /// Opens a ticket for a caller of `held`, for so long.
    ///
    /// # Errors
    /// It is not on record: nobody may be told its number.
    pub async fn open(
        &self,
        held: &HeldCall,
        id: TicketId,
        request: TicketRequest,
        kept: Duration,
    ) -> Result<Ticket, JournalError> {
        let at = self.now();
        let new = NewTicket::of(held, id, request, at, after(at, kept));
        self.0.parts.journal.open_ticket(new).await
    }

    /// The ticket of this number; `None`: there is none that is this principal's, or not any more.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn find(
        &self,
        principal: &Principal,
        server: &ServerName,
        id: &TicketId,
    ) -> Result<Option<Ticket>, JournalError> {
        let ticket = self.0.parts.journal.ticket(principal, server, id).await?;
        let now = self.now();
        Ok(ticket.filter(|ticket| ticket.expires_at > now))
    }

    /// Says what came of it. What is larger than the gate keeps is the adapter's to replace.
    ///
    /// # Errors
    /// It may not be on record.
    pub async fn answer(
        &self,
        ticket: &Ticket,
        answer: StoredResult,
        kept: Kept,
    ) -> Result<Moved, JournalError> {
        let expires_at = match kept {
            Kept::AsResults => after(self.now(), self.0.parts.limits.result_kept),
            Kept::AsTicket => ticket.expires_at,
        };
        self.step(ticket, TicketStep::Answer { answer, expires_at }).await
    }

    /// Withdraws it.
    ///
    /// # Errors
    /// It may not be on record.
    pub async fn cancel(&self, ticket: &Ticket) -> Result<Moved, JournalError> {
        self.step(ticket, TicketStep::Cancel).await
    }

    /// The hold that it waits for.
    ///
    /// # Errors
    /// The journal cannot be read, or does not have it.
    pub async fn hold(&self, ticket: &Ticket) -> Result<HeldCall, JournalError> {
        let held = self.0.parts.journal.get(ticket.hold).await?;
        held.ok_or_else(|| JournalError("a ticket's hold is missing".into()))
    }

    /// The caller has the answer: the same call sent again is a new call. The ticket keeps its own copy.
    ///
    /// # Errors
    /// It may not be on record.
    pub async fn collected(&self, ticket: &Ticket) -> Result<(), JournalError> {
        let held = self.hold(ticket).await?;
        if held.state == HoldState::Done && !held.delivered {
            // `No`: somebody else noted it.
            let (Moved::Yes | Moved::No) =
                self.0.parts.journal.advance(held.id, Step::Deliver, self.now()).await?;
        }
        Ok(())
    }

    /// Whether whoever goes on with it may still come back with an answer.
    ///
    /// # Errors
    /// It cannot be told.
    pub async fn liveness(&self, ticket: &Ticket) -> Result<Liveness, JournalError> {
        match (&ticket.owner, ticket.state) {
            (Some(owner), TicketState::Continuing) => self.0.parts.journal.liveness(owner).await,
            (
                _,
                TicketState::Open | TicketState::Answered | TicketState::Cancelled | TicketState::Continuing,
            ) => Ok(Liveness::Gone),
        }
    }

    /// Whether this very run of this process goes on with it.
    #[must_use]
    pub fn is_ours(&self, ticket: &Ticket) -> bool {
        ticket.owner.as_ref() == Some(&self.0.parts.owner)
    }

    /// The largest answer that is kept.
    #[must_use]
    pub const fn answer_bytes_max(&self) -> usize {
        self.0.parts.limits.result_bytes_max
    }

    /// The time by the gate's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.parts.clock.now()
    }

    pub(crate) async fn step(&self, ticket: &Ticket, step: TicketStep) -> Result<Moved, JournalError> {
        self.0.parts.journal.advance_ticket(&ticket.id, ticket.round, step, self.now()).await
    }
}

pub(crate) fn after(at: Timestamp, kept: Duration) -> Timestamp {
    let kept = SignedDuration::try_from(kept).unwrap_or(SignedDuration::MAX);
    at.saturating_add(kept).unwrap_or(Timestamp::MAX)
}
