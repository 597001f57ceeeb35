//! Tickets in the model, and how they are compared.

use std::sync::Arc;

use holdpoint_core::{
    HoldId, Journal, Moved, NewTicket, Owner, Principal, ServerName, StoredResult, Ticket, TicketId,
    TicketRequest, TicketStep,
};
use proptest::prelude::*;

use super::rows::{Outcome, Rows};
use super::{LATEST, at};

/// Few numbers, so that they are taken.
const NAMES: u8 = 3;
const PRINCIPALS: u8 = 2;
/// Longer than a history takes, or not.
const KEPT_SECONDS: i64 = 60;

#[derive(Clone, Debug)]
pub(super) enum TicketAction {
    /// For the hold that is so many before the latest.
    Open {
        name: u8,
        by: u8,
        back: usize,
        kept: i64,
    },
    /// Decided in a round that is so many off the ticket's own.
    Advance {
        name: u8,
        off: u32,
        step: TicketStep,
    },
    Forget {
        limit: usize,
    },
}

#[derive(Clone, Debug)]
pub(super) struct ModelTicket {
    name: u8,
    by: u8,
    /// Its place in the model.
    hold: usize,
    ticket: Ticket,
}

impl Rows {
    pub(super) fn apply_to_tickets(&mut self, action: &TicketAction) -> Outcome {
        match action {
            TicketAction::Open { name, by, back, kept } => {
                let hold = self.holds.len().checked_sub(back + 1);
                let is_taken = self.tickets.iter().any(|row| row.name == *name);
                let Some(hold) = hold.filter(|_| !is_taken) else {
                    return Outcome::Refused;
                };
                // Its number in the journal is filled in where it is compared.
                let ticket = new_ticket(*name, *by, HoldId(0), self.now, *kept).opened();
                self.tickets.push(ModelTicket { name: *name, by: *by, hold, ticket });
                Outcome::Ticket
            }
            TicketAction::Advance { name, off, step } => {
                let now = at(self.now);
                let row = self.tickets.iter_mut().find(|row| row.name == *name);
                let fits = |row: &&mut ModelTicket| *off == 0 && step.from().contains(&row.ticket.state);
                let Some(ModelTicket { ticket, .. }) = row.filter(fits) else {
                    return Outcome::NotMoved;
                };
                (ticket.state, ticket.round, ticket.changed_at) = (step.to(), ticket.round + 1, now);
                ticket.owner = None;
                match step {
                    TicketStep::Answer { answer, expires_at } => {
                        (ticket.answer, ticket.expires_at) = (Some(answer.clone()), *expires_at);
                    }
                    TicketStep::GoOn { owner } => ticket.owner = Some(owner.clone()),
                    TicketStep::Cancel => {}
                }
                Outcome::Moved
            }
            TicketAction::Forget { limit } => {
                let now = at(self.now);
                let mut expired: Vec<_> =
                    self.tickets.iter().filter(|row| row.ticket.expires_at <= now).collect();
                expired.sort_by_key(|row| (row.ticket.expires_at, row.name));
                let expired: Vec<_> = expired.into_iter().take(*limit).map(|row| row.name).collect();
                self.tickets.retain(|row| !expired.contains(&row.name));
                Outcome::Forgot(expired.len() as u64)
            }
        }
    }

    /// The round that a ticket is in; 0: there is none.
    fn round_of(&self, name: u8) -> u32 {
        self.tickets.iter().find(|row| row.name == name).map_or(0, |row| row.ticket.round)
    }

    pub(super) fn promising_for_tickets(&self) -> Vec<TicketAction> {
        let steps = [answer(KEPT_SECONDS), go_on("a"), TicketStep::Cancel];
        let advance = |row: &ModelTicket| -> Vec<_> {
            let fits = steps.iter().filter(|step| step.from().contains(&row.ticket.state));
            fits.map(|step| TicketAction::Advance { name: row.name, off: 0, step: step.clone() }).collect()
        };
        let mut promising: Vec<_> = self.tickets.iter().flat_map(advance).collect();
        if !self.holds.is_empty() {
            let new = (0..NAMES).filter(|name| self.tickets.iter().all(|row| row.name != *name));
            promising.extend(new.take(1).map(|name| TicketAction::Open {
                name,
                by: 0,
                back: 0,
                kept: KEPT_SECONDS,
            }));
        }
        promising
    }
}

pub(super) fn actions() -> impl Strategy<Value = TicketAction> {
    prop_oneof![
        3 => (0..NAMES, 0..PRINCIPALS, 0..LATEST, 0..KEPT_SECONDS)
            .prop_map(|(name, by, back, kept)| TicketAction::Open { name, by, back, kept }),
        6 => (0..NAMES, prop_oneof![3 => Just(0_u32), 1 => 1_u32..3], steps())
            .prop_map(|(name, off, step)| TicketAction::Advance { name, off, step }),
        1 => (0_usize..3).prop_map(|limit| TicketAction::Forget { limit }),
    ]
}

fn steps() -> impl Strategy<Value = TicketStep> {
    prop_oneof![
        3 => (0..KEPT_SECONDS).prop_map(answer),
        3 => prop::sample::select(vec!["a", "b"]).prop_map(go_on),
        1 => Just(TicketStep::Cancel),
    ]
}

fn answer(until: i64) -> TicketStep {
    TicketStep::Answer { answer: StoredResult::new(until.to_string().into_bytes()), expires_at: at(until) }
}

fn go_on(owner: &str) -> TicketStep {
    TicketStep::GoOn { owner: Owner(owner.into()) }
}

/// What the journal says to `action`; `rows` are the model's after it.
pub(super) async fn play(
    journal: &dyn Journal,
    rows: &Rows,
    before: &Rows,
    holds: &[HoldId],
    action: &TicketAction,
) -> Outcome {
    match action {
        TicketAction::Open { name, by, back, kept } => {
            let known = holds.len().checked_sub(back + 1).map(|place| holds[place]);
            // A hold that never was.
            let hold = known.unwrap_or(HoldId(i64::MAX));
            match journal.open_ticket(new_ticket(*name, *by, hold, rows.now, *kept)).await {
                Ok(_ticket) => Outcome::Ticket,
                Err(_) => Outcome::Refused,
            }
        }
        TicketAction::Advance { name, off, step } => {
            let round = before.round_of(*name) + off;
            match journal.advance_ticket(&id(*name), round, step.clone(), at(rows.now)).await {
                Ok(Moved::Yes) => Outcome::Moved,
                Ok(Moved::No) => Outcome::NotMoved,
                Err(error) => panic_at(&error),
            }
        }
        TicketAction::Forget { limit } => {
            Outcome::Forgot(journal.forget_tickets(at(rows.now), *limit).await.expect("an answer"))
        }
    }
}

#[expect(clippy::panic, reason = "a journal that gives no answer fails the test")]
fn panic_at(error: &holdpoint_core::JournalError) -> Outcome {
    panic!("no answer: {error}")
}

pub(super) async fn compare(journal: &dyn Journal, rows: &Rows, holds: &[HoldId]) {
    for (name, by) in (0..NAMES).flat_map(|name| (0..PRINCIPALS).map(move |by| (name, by))) {
        let found = journal.ticket(&principal(by), &server(), &id(name)).await.expect("an answer");
        let row = rows.tickets.iter().find(|row| (row.name, row.by) == (name, by));
        let expected = row.map(|row| Ticket { hold: holds[row.hold], ..row.ticket.clone() });
        assert_eq!(found, expected, "ticket {name} of {by}");
        let elsewhere = ServerName::new("elsewhere");
        assert_eq!(journal.ticket(&principal(by), &elsewhere, &id(name)).await.expect("an answer"), None);
    }
}

fn new_ticket(name: u8, by: u8, hold: HoldId, now: i64, kept: i64) -> NewTicket {
    NewTicket {
        id: id(name),
        principal: principal(by),
        server: server(),
        hold,
        request: TicketRequest::new(Arc::<[u8]>::from([name, 0, 255])),
        at: at(now),
        expires_at: at(now + kept),
    }
}

fn id(name: u8) -> TicketId {
    TicketId::new(format!("ticket {name}"))
}

fn principal(by: u8) -> Principal {
    Principal::new(if by == 0 { "ann" } else { "eve" })
}

fn server() -> ServerName {
    ServerName::new("payments")
}
