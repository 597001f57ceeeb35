//! A server that asks for input in the middle of an approved run, told to the client that waits for its answer.
//!
//! ```text
//! permit ─► server ─► `input_required`, a state of its own ─► ticket (durable) ─► client: the questions, a state of ours
//!              ▲                                                 │                   │
//!              └───────── its answers, the server's state ◄──────┴── a permit, once ◄┘
//! ```
//!
//! # Rules
//! 1. The approval of a call is good for what its own server asks on the way: once for each question, for the same principal,
//!    tool and arguments, under the same configuration and definition, and a bounded number of times.
//! 2. What the client carries names a ticket and one round of it, sealed over the call's digest. It is no authority: whether
//!    that round can be gone on with is in the journal, and one conditional write says who does.
//! 3. The ticket is durable before the run's outcome is, and that before the client hears of either. What dies in between
//!    leaves a run whose outcome is unknown, or a question that the same call collects; never two answers to one question.
//! 4. The server's own state stays here, and what a client says to its questions is not kept.
//!
//! # Not guaranteed
//! That a client which lost the answer to what it said hears it later: it is told that the run went on.

use crate::{
    Guard,
    message::{self, CallFrame, Splice},
    random,
    reply::{self, Ended},
    tasks::Latest,
    waiting::{GoesOn, Question},
};
use holdpoint_core::{
    Caller, Completion, Continued, JournalError, Kept, Moved, PermittedCall, Rejection, StoredResult, Ticket,
    TicketId, TicketRequest, TicketState, ToolCall, Unavailable,
};
use std::{sync::Arc, time::Duration};

/// Numbers of tickets start with this: they are no tasks, and no client can ask about them.
const PREFIX: &str = "holdpoint-more-";
/// How long a client has to answer: a person may be reading the question.
const KEPT: Duration = Duration::from_hours(24);
/// A server that asks more often is not going to end.
const QUESTIONS_MAX: u32 = 10;
/// What is kept of a last answer. The client has it.
const OVER: &[u8] = br#""result":{}"#;

/// What becomes of the questions in a server's answer.
#[derive(Clone, Debug)]
pub(crate) enum Questions {
    /// They pass as they are: a task keeps them.
    Pass,
    /// The client hears them, under a state of ours. The run has only begun.
    OfFirst,
    /// The same, of a run that is gone on with.
    OfMore(Arc<Ticket>),
}

/// A run that goes on.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) permitted: PermittedCall,
    /// The client's message with what it said, and the server's own state.
    pub(crate) frame: Arc<CallFrame>,
    pub(crate) questions: Questions,
}

impl Questions {
    /// Of a call that has only begun. A server asks in its answer in the stateless era alone.
    pub(crate) const fn of_first(frame: &CallFrame) -> Self {
        if frame.modern { Self::OfFirst } else { Self::Pass }
    }

    /// What the client is told in the place of `message`, the server's answer. `None`: the answer itself.
    pub(crate) async fn told(
        &self,
        guard: &Guard,
        message: &str,
        frame: &CallFrame,
        completion: &Completion,
    ) -> Option<String> {
        let ticket = match self {
            Self::Pass => return None,
            Self::OfFirst => None,
            Self::OfMore(ticket) => Some(&**ticket),
        };
        let fragment = reply::fragment_from(message)?;
        let Some(asked) = Asked::read(&fragment) else {
            if let Some(ticket) = ticket {
                // Not noted, it would be told as gone on with all the same.
                let _unchanged = note(guard, ticket, OVER.to_vec(), Kept::AsResults).await;
            }
            return None;
        };
        let ended = match ask(guard, ticket, &asked, message, completion).await {
            Ok(asked) => return asked,
            Err(Unasked::TooOften) => reply::ended(frame, &Ended::AskedTooOften),
            Err(Unasked::NotOnRecord) => reply::rejected(frame, &completion.outcome_unknown()),
        };
        String::from_utf8(ended).ok()
    }
}

/// The server's questions under a state of ours; `None`: no person was asked about this call, and they pass.
async fn ask(
    guard: &Guard,
    ticket: Option<&Ticket>,
    asked: &Asked<'_>,
    message: &str,
    completion: &Completion,
) -> Result<Option<String>, Unasked> {
    let opened;
    let ticket = if let Some(ticket) = ticket {
        ticket
    } else {
        let id = random::unguessable().ok_or(Unasked::NotOnRecord)?;
        let id = TicketId::new(format!("{PREFIX}{id}"));
        let request = TicketRequest::new(Vec::new());
        match completion.open_ticket(id, request, KEPT).await.map_err(|error| on_record(&error))? {
            Some(ticket) => {
                opened = ticket;
                &opened
            }
            None => return Ok(None),
        }
    };
    let round = ticket.round.saturating_add(1);
    if round >= QUESTIONS_MAX.saturating_mul(2) {
        let _unchanged = note(guard, ticket, OVER.to_vec(), Kept::AsResults).await;
        return Err(Unasked::TooOften);
    }
    note(guard, ticket, asked.kept(), Kept::AsTicket).await?;
    let question = Question { ticket: ticket.id.clone(), round };
    let digest = completion.digest().ok_or(Unasked::NotOnRecord)?;
    let state = guard.states.seal_question(&question, &digest);
    with_state(message, &state).map(Some).ok_or(Unasked::NotOnRecord)
}

async fn note(guard: &Guard, ticket: &Ticket, answer: Vec<u8>, kept: Kept) -> Result<(), Unasked> {
    let tickets = guard.gate.tickets();
    if answer.len() > tickets.answer_bytes_max() {
        tracing::warn!(
            bytes = answer.len(),
            "the state of a server that asks for input is too large to keep"
        );
        return Err(Unasked::NotOnRecord);
    }
    let noted = tickets.answer(ticket, StoredResult::new(answer), kept).await;
    match noted.map_err(|error| on_record(&error))? {
        Moved::Yes => Ok(()),
        Moved::No => Err(Unasked::NotOnRecord),
    }
}

impl Guard {
    /// Goes on with an approved run whose server asked for what this request brings. The error is the answer to it.
    pub(crate) async fn go_on(
        &self,
        call: ToolCall,
        caller: Caller,
        comeback: &GoesOn,
        frame: &CallFrame,
    ) -> Result<Leg, Vec<u8>> {
        let unsealed =
            |error| reply::error(Some(&frame.id_raw), message::INVALID_PARAMS, &format!("{error}"));
        let Question { ticket: id, round } =
            self.states.open_question(&comeback.state, &call.digest()).map_err(unsealed)?;
        let tickets = self.gate.tickets();
        let found = tickets.find(&call.principal, &call.server, &id).await;
        let found = found.map_err(|error| not_on_record(frame, &error))?;
        // Forgotten, it is as little ours as one that never was.
        let ticket = found.ok_or_else(|| unsealed(crate::waiting::Unsealed))?;
        let gone_on = || reply::ended(frame, &Ended::GoneOnWith);
        let question = open_in(&ticket, round).ok_or_else(gone_on)?;
        let leg = leg_of(frame, comeback, question.state);
        let leg = leg.ok_or_else(|| reply::ended(frame, &Ended::NotSent))?;
        match self.gate.continue_run(&ticket, call, caller).await {
            Ok(Continued::Run(permitted)) => {
                // The call that asked has heard the question. Not noted, the same call collects a question that is answered.
                let _once_more = tickets.collected(&ticket).await;
                let round = round.saturating_add(1);
                let ticket = Ticket { state: TicketState::Continuing, round, ..ticket };
                Ok(Leg { permitted, frame: Arc::new(leg), questions: Questions::OfMore(Arc::new(ticket)) })
            }
            Ok(Continued::ByAnother) => Err(gone_on()),
            Err(rejection) => Err(reply::rejected(frame, &rejection)),
        }
    }
}

/// What a server's answer asks of the client.
struct Asked<'a> {
    /// The server's raw state, if it has one.
    state: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// From a `result` or `error` member. `None`: it asks for nothing.
    fn read(fragment: &'a [u8]) -> Option<Self> {
        match Latest::read(fragment)? {
            Latest::Asks { state, .. } => Some(Self { state }),
            Latest::Result(_) | Latest::Error(_) | Latest::AtServer(_) => None,
        }
    }

    /// What the next leg needs of it: the server's own state.
    fn kept(&self) -> Vec<u8> {
        let state = self.state.map(|state| format!(r#","requestState":{state}"#)).unwrap_or_default();
        format!(r#""result":{{"resultType":"input_required"{state}}}"#).into_bytes()
    }
}

/// Why a question is not put to the client.
enum Unasked {
    TooOften,
    NotOnRecord,
}

fn on_record(error: &JournalError) -> Unasked {
    tracing::error!(%error, "what a server asks for could not be put on record");
    Unasked::NotOnRecord
}

fn not_on_record(frame: &CallFrame, error: &JournalError) -> Vec<u8> {
    tracing::error!(%error, "a run that a server asked to be continued could not be looked up");
    reply::rejected(frame, &Rejection::Unavailable { what: Unavailable::Journal, thread: None })
}

/// The question that `round` asks. `None`: it is answered already.
fn open_in(ticket: &Ticket, round: u32) -> Option<Asked<'_>> {
    if ticket.state != TicketState::Answered || ticket.round != round {
        return None;
    }
    Asked::read(ticket.answer.as_ref()?.as_bytes())
}

/// The answer `message` with our state in the place of the server's.
fn with_state(message: &str, state: &str) -> Option<String> {
    let mut answer = Splice::read_leniently(message).ok()?;
    let result = answer.get("result")?.to_owned();
    let mut result = Splice::read_leniently(&result).ok()?;
    result.set("requestState", serde_json::Value::from(state).to_string());
    answer.set("result", result.to_string());
    Some(answer.to_string())
}

/// The request as the server wants it: our members were taken off, its own are put in their place.
fn leg_of(frame: &CallFrame, comeback: &GoesOn, state: Option<&str>) -> Option<CallFrame> {
    let text = std::str::from_utf8(&frame.bytes).ok()?;
    let line_end = if text.ends_with('\n') { "\n" } else { "" };
    let mut request = Splice::read(text).ok()?;
    let params = request.get("params")?.to_owned();
    let mut params = Splice::read(&params).ok()?;
    if let Some(said) = &comeback.said {
        params.set("inputResponses", &**said);
    }
    if let Some(state) = state {
        params.set("requestState", state);
    }
    request.set("params", params.to_string());
    let bytes: Vec<u8> = format!("{request}{line_end}").into_bytes();
    Some(message::call_in(&bytes)?.frame(bytes.clone().into()))
}
