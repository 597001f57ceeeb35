use std::sync::Arc;

use holdpoint_core::{
    Ending, HoldId, Journal, Moved, NewTicket, Principal, ServerName, StoredResult, Ticket, TicketId,
    TicketRequest, TicketState, TicketStep,
};

use super::{Processes, at, end, identity, new_hold, opened, owner, step};

fn id(name: &str) -> TicketId {
    TicketId::new(name)
}

fn new_ticket(name: &str, hold: HoldId, seconds: i64) -> NewTicket {
    let identity = identity(1);
    NewTicket {
        id: id(name),
        principal: identity.principal,
        server: identity.server,
        hold,
        request: TicketRequest::new(&b"{\"\0\xff"[..]),
        at: at(seconds),
        expires_at: at(seconds + 100),
    }
}

fn answer(text: &'static str, seconds: i64) -> TicketStep {
    TicketStep::Answer { answer: StoredResult::new(text.as_bytes()), expires_at: at(seconds) }
}

fn go_on() -> TicketStep {
    TicketStep::GoOn { owner: owner("one") }
}

async fn read(journal: &dyn Journal, name: &str) -> Option<Ticket> {
    let identity = identity(1);
    journal.ticket(&identity.principal, &identity.server, &id(name)).await.unwrap()
}

async fn moved(journal: &dyn Journal, ticket: &Ticket, step: TicketStep, seconds: i64) -> Moved {
    journal.advance_ticket(&ticket.id, ticket.round, step, at(seconds)).await.unwrap()
}

/// The steps that lead to `state`.
fn way_to(state: TicketState) -> Vec<TicketStep> {
    match state {
        TicketState::Open => vec![],
        TicketState::Answered => vec![answer("1", 100)],
        TicketState::Continuing => vec![answer("1", 100), go_on()],
        TicketState::Cancelled => vec![TicketStep::Cancel],
    }
}

async fn hold(journal: &dyn Journal) -> HoldId {
    opened(journal, new_hold(1, 0)).await.id
}

pub(super) async fn a_ticket_is_read_back_by_its_principal_alone(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let hold = hold(&*journal).await;
    let ticket = journal.open_ticket(new_ticket("t", hold, 1)).await.unwrap();
    assert_eq!((ticket.state, ticket.round, ticket.hold), (TicketState::Open, 0, hold));
    assert_eq!(ticket, new_ticket("t", hold, 1).opened());
    processes.end(&owner("one")).await;
    let journal = processes.start(&owner("two")).await;
    assert_eq!(read(&*journal, "t").await, Some(ticket));
    for (principal, server, name) in
        [("bob", "payments", "t"), ("ann", "mail", "t"), ("ann", "payments", "T"), ("ann", "payments", "\0")]
    {
        let found = journal.ticket(&Principal::new(principal), &ServerName::new(server), &id(name)).await;
        assert_eq!(found.unwrap(), None, "{principal} {server} {name:?}");
    }
}

pub(super) async fn a_ticket_needs_a_number_of_its_own_and_a_hold(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let hold = hold(&*journal).await;
    let first = journal.open_ticket(new_ticket("t", hold, 1)).await.unwrap();
    assert!(journal.open_ticket(new_ticket("t", hold, 2)).await.is_err());
    assert!(journal.open_ticket(new_ticket("u", HoldId(4711), 2)).await.is_err());
    assert_eq!(read(&*journal, "t").await, Some(first));
    assert_eq!(read(&*journal, "u").await, None);
    journal.open_ticket(new_ticket("u", hold, 2)).await.unwrap();
}

pub(super) async fn only_the_steps_of_a_tickets_diagram_are_made(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let hold = hold(&*journal).await;
    let mut number = 0;
    for state in TicketState::ALL {
        for tried in [answer("2", 300), go_on(), TicketStep::Cancel] {
            number += 1;
            let name = format!("t{number}");
            let mut ticket = journal.open_ticket(new_ticket(&name, hold, 1)).await.unwrap();
            for way in way_to(state) {
                assert_eq!(moved(&*journal, &ticket, way, 2).await, Moved::Yes);
                ticket = read(&*journal, &name).await.unwrap();
            }
            assert_eq!(ticket.state, state);
            let late = Ticket { round: ticket.round + 1, ..ticket.clone() };
            assert_eq!(moved(&*journal, &late, tried.clone(), 3).await, Moved::No, "another round");
            let expected = if tried.from().contains(&state) { Moved::Yes } else { Moved::No };
            assert_eq!(moved(&*journal, &ticket, tried.clone(), 3).await, expected, "{state:?} {tried:?}");
            let after = read(&*journal, &name).await.unwrap();
            if expected == Moved::No {
                assert_eq!(after, ticket, "{state:?} {tried:?}");
                continue;
            }
            assert_eq!((after.state, after.round), (tried.to(), ticket.round + 1));
            assert_eq!((after.opened_at, after.changed_at), (at(1), at(3)));
            match tried {
                TicketStep::Answer { answer, expires_at } => {
                    assert_eq!(
                        (after.answer, after.expires_at, after.owner),
                        (Some(answer), expires_at, None)
                    );
                }
                TicketStep::GoOn { owner } => {
                    assert_eq!((after.owner, after.answer), (Some(owner), ticket.answer));
                }
                TicketStep::Cancel => assert_eq!(after.owner, None),
            }
        }
    }
}

pub(super) async fn expired_tickets_are_forgotten(processes: &impl Processes) {
    let journal = processes.start(&owner("one")).await;
    let hold = hold(&*journal).await;
    for (name, seconds) in [("a", 3), ("b", 1), ("c", 2), ("d", 50)] {
        journal.open_ticket(new_ticket(name, hold, seconds)).await.unwrap();
    }
    // It outlives its hold.
    step(&*journal, hold, end(Ending::Rejected), 4).await;
    assert_eq!(journal.forget_tickets(at(100), 10).await.unwrap(), 0);
    assert_eq!(journal.forget_tickets(at(103), 2).await.unwrap(), 2, "the oldest first");
    assert!(read(&*journal, "a").await.is_some() && read(&*journal, "c").await.is_none());
    assert_eq!(journal.forget_tickets(at(103), 10).await.unwrap(), 1);
    let ticket = read(&*journal, "d").await.unwrap();
    assert_eq!(moved(&*journal, &ticket, answer("1", 110), 60).await, Moved::Yes);
    assert_eq!(journal.forget_tickets(at(110), 10).await.unwrap(), 1, "its answer is kept for less");
    assert!(read(&*journal, "d").await.is_none());
}

pub(super) async fn of_many_that_go_on_with_a_ticket_one_does(processes: &impl Processes) {
    let journals: [Arc<dyn Journal>; 2] =
        [processes.start(&owner("one")).await, processes.start(&owner("two")).await];
    let hold = hold(&*journals[0]).await;
    let mut ticket = journals[0].open_ticket(new_ticket("t", hold, 1)).await.unwrap();
    for (tried, round) in
        [(answer("1", 100), 1), (go_on(), 2), (answer("2", 100), 3), (TicketStep::Cancel, 4)]
    {
        let steps = (0..super::super::RACERS).map(|racer| {
            let (journal, tried) = (Arc::clone(&journals[racer % 2]), tried.clone());
            let ticket = ticket.clone();
            tokio::spawn(async move { moved(&*journal, &ticket, tried, 2).await })
        });
        let mut won = 0;
        for racer in steps.collect::<Vec<_>>() {
            won += usize::from(racer.await.unwrap() == Moved::Yes);
        }
        assert_eq!(won, 1, "{tried:?}");
        ticket = read(&*journals[1], "t").await.unwrap();
        assert_eq!(ticket.round, round);
    }
}
