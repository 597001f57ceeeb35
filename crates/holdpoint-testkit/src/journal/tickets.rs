//! Tickets, as plainly as they can be put.

use super::{MemoryJournal, Operation, rows::Rows};
use crate::ScriptedFault;
use async_trait::async_trait;
use holdpoint_core::{
    JournalError, Moved, NewTicket, Principal, ServerName, Ticket, TicketBook, TicketId, TicketStep,
};
use jiff::Timestamp;

#[async_trait]
impl TicketBook for MemoryJournal {
    async fn open_ticket(&self, new: NewTicket) -> Result<Ticket, JournalError> {
        self.run(Operation::OpenTicket, |rows| rows.open_ticket(new))?
            .ok_or_else(|| JournalError(Box::new(ScriptedFault)))
    }

    async fn ticket(
        &self,
        principal: &Principal,
        server: &ServerName,
        id: &TicketId,
    ) -> Result<Option<Ticket>, JournalError> {
        self.run(Operation::Ticket, |rows| {
            let of = |row: &&Ticket| row.id == *id && row.principal == *principal && row.server == *server;
            rows.tickets.iter().find(of).cloned()
        })
    }

    async fn advance_ticket(
        &self,
        id: &TicketId,
        round: u32,
        step: TicketStep,
        at: Timestamp,
    ) -> Result<Moved, JournalError> {
        let operation = match &step {
            TicketStep::Answer { .. } => Operation::AnswerTicket,
            TicketStep::GoOn { .. } => Operation::GoOnWithTicket,
            TicketStep::Cancel => Operation::CancelTicket,
        };
        self.run(operation, |rows| rows.advance_ticket(id, round, step, at))
    }

    async fn forget_tickets(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError> {
        self.run(Operation::ForgetTickets, |rows| rows.forget_tickets(now, limit))
    }
}

impl Rows {
    fn open_ticket(&mut self, new: NewTicket) -> Option<Ticket> {
        let is_new = self.tickets.iter().all(|row| row.id != new.id);
        let has_hold = self.holds.iter().any(|row| row.id == new.hold);
        let ticket = (is_new && has_hold).then(|| new.opened())?;
        self.tickets.push(ticket.clone());
        Some(ticket)
    }

    fn advance_ticket(&mut self, id: &TicketId, round: u32, step: TicketStep, at: Timestamp) -> Moved {
        let here =
            |row: &&mut Ticket| row.id == *id && row.round == round && step.from().contains(&row.state);
        let Some(row) = self.tickets.iter_mut().find(here) else {
            return Moved::No;
        };
        row.state = step.to();
        row.round += 1;
        row.changed_at = at;
        row.owner = None;
        match step {
            TicketStep::Answer { answer, expires_at } => {
                row.answer = Some(answer);
                row.expires_at = expires_at;
            }
            TicketStep::GoOn { owner } => row.owner = Some(owner),
            TicketStep::Cancel => {}
        }
        Moved::Yes
    }

    fn forget_tickets(&mut self, now: Timestamp, limit: usize) -> u64 {
        let mut expired: Vec<_> = self.tickets.iter().filter(|row| row.expires_at <= now).collect();
        expired.sort_by_key(|row| (row.expires_at, row.id.as_str()));
        let expired: Vec<_> = expired.into_iter().take(limit).map(|row| row.id.clone()).collect();
        self.tickets.retain(|row| !expired.contains(&row.id));
        expired.len() as u64
    }
}
