//! What a caller gets that does not wait: a ticket, under which the journal keeps the call and, later, what came of it.
//!
//! ```text
//!       answer              go on                 answer
//! open ────────► answered ─────────► continuing ─────────► answered
//!   │ cancel         │ cancel
//!   ▼                ▼
//! cancelled ◄────────┘
//! ```
//!
//! # Rules
//! 1. A ticket permits nothing. What runs for it runs by the approval of its hold, once, as for any caller.
//! 2. It is durable before anybody is told its number, and belongs to one principal at one server: to everybody else there
//!    is no such ticket.
//! 3. Each step names the round that it was decided in, so of any number that act on the same state one does.
//! 4. An answer that asks for more is *answered* too; only the adapter can tell. Going on with it happens once per answer.

use crate::{HeldCall, HoldId, JournalError, Moved, Owner, Principal, ServerName, StoredResult, TicketId};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{fmt, sync::Arc};

mod desk;

pub(crate) use desk::after;
pub use desk::{Kept, Tickets};

/// What the adapter needs to run the call of a ticket after a restart, in its own encoding.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketRequest(Arc<[u8]>);

impl TicketRequest {
    /// Takes the adapter's bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The adapter's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TicketRequest {
    /// How much, never what: it holds arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketRequest({} bytes)", self.0.len())
    }
}

/// Where a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketState {
    /// There is no answer yet.
    Open,
    /// The latest answer is there.
    Answered,
    /// An answer asked for more, and what the caller said to it is on its way to the tool.
    Continuing,
    /// The caller withdrew it before anything ran.
    Cancelled,
}

impl TicketState {
    /// Every state, in the order of the diagram.
    pub const ALL: [Self; 4] = [Self::Open, Self::Answered, Self::Continuing, Self::Cancelled];

    /// The word in the journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Continuing => "continuing",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A ticket to be opened.
#[derive(Clone, Debug)]
pub struct NewTicket {
    /// Its number, which nobody can guess.
    pub id: TicketId,
    /// Whose it is.
    pub principal: Principal,
    /// Whose tool it is about.
    pub server: ServerName,
    /// What it waits for.
    pub hold: HoldId,
    /// What is needed to run it.
    pub request: TicketRequest,
    /// When.
    pub at: Timestamp,
    /// From then on there is no such ticket.
    pub expires_at: Timestamp,
}

/// A ticket as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its number.
    pub id: TicketId,
    /// Whose it is.
    pub principal: Principal,
    /// Whose tool it is about.
    pub server: ServerName,
    /// What it waits for.
    pub hold: HoldId,
    /// What is needed to run it.
    pub request: TicketRequest,
    /// Where it stands.
    pub state: TicketState,
    /// How many steps it has made.
    pub round: u32,
    /// The latest answer, in the adapter's encoding.
    pub answer: Option<StoredResult>,
    /// Who goes on with it, while it is `continuing`.
    pub owner: Option<Owner>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it made its latest step.
    pub changed_at: Timestamp,
    /// From then on there is no such ticket.
    pub expires_at: Timestamp,
}

/// One step of a ticket. [`Self::from`] and [`Self::to`] are the whole state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TicketStep {
    /// `open` or `continuing` → `answered`.
    Answer {
        /// What to tell whoever asks.
        answer: StoredResult,
        /// How long that is kept.
        expires_at: Timestamp,
    },
    /// `answered` → `continuing`. Durable before the tool sees what the caller said to the answer.
    GoOn {
        /// Who does.
        owner: Owner,
    },
    /// `open` or `answered` → `cancelled`.
    Cancel,
}

impl TicketStep {
    /// The states this step may start from.
    #[must_use]
    pub const fn from(&self) -> &'static [TicketState] {
        match self {
            Self::Answer { .. } => &[TicketState::Open, TicketState::Continuing],
            Self::GoOn { .. } => &[TicketState::Answered],
            Self::Cancel => &[TicketState::Open, TicketState::Answered],
        }
    }

    /// The state it leads to.
    #[must_use]
    pub const fn to(&self) -> TicketState {
        match self {
            Self::Answer { .. } => TicketState::Answered,
            Self::GoOn { .. } => TicketState::Continuing,
            Self::Cancel => TicketState::Cancelled,
        }
    }
}

/// The journal's record of tickets. Every write is durable when it returns.
#[async_trait]
pub trait TicketBook: fmt::Debug + Send + Sync {
    /// Records a ticket as `open`, in round 0. Its number is new, and its hold is in the journal, or nothing is recorded.
    async fn open_ticket(&self, new: NewTicket) -> Result<Ticket, JournalError>;

    /// The ticket of this number, if it is of this principal at this server.
    async fn ticket(
        &self,
        principal: &Principal,
        server: &ServerName,
        id: &TicketId,
    ) -> Result<Option<Ticket>, JournalError>;

    /// Makes one step, if the ticket is in that round and where the step starts ([`TicketStep::from`]).
    async fn advance_ticket(
        &self,
        id: &TicketId,
        round: u32,
        step: TicketStep,
        at: Timestamp,
    ) -> Result<Moved, JournalError>;

    /// Forgets tickets that expired at `now` or before, the oldest first; at most `limit`. Says how many.
    async fn forget_tickets(&self, now: Timestamp, limit: usize) -> Result<u64, JournalError>;
}

impl NewTicket {
    /// As it is once it is opened.
    #[must_use]
    pub fn opened(self) -> Ticket {
        let Self { id, principal, server, hold, request, at, expires_at } = self;
        Ticket {
            id,
            principal,
            server,
            hold,
            request,
            state: TicketState::Open,
            round: 0,
            answer: None,
            owner: None,
            opened_at: at,
            changed_at: at,
            expires_at,
        }
    }

    /// For whoever has to wait for `held`.
    pub(crate) fn of(
        held: &HeldCall,
        id: TicketId,
        request: TicketRequest,
        at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        let identity = &held.identity;
        let (principal, server) = (identity.principal.clone(), identity.server.clone());
        Self { id, principal, server, hold: held.id, request, at, expires_at }
    }
}
