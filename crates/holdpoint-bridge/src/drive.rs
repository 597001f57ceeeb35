//! From a question to its last word, whether or not its caller waits: one driver of this process for each.

mod begin;

use crate::{
    answer::{Answer, Finality, finality},
    content::Mode,
    desk::{Entered, Seat, Stage},
    inner::{ATTEMPTS_MAX, Becomes, Ends, Inner, Row, Shared, causes},
    run::{hand_out, refused_in, unpacked},
};
use begin::Ran;
use holdpoint_core::{
    Admission, Caller, HeldCall, HoldId, Interest, JournalError, Moved, OperationId, OperationState,
    Principal, Proposed, Rejection, Stance, StillThere, ThreadId, ToolCall, Unavailable, Withdrawal,
};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};

/// Before a question that its caller was told of is gone on with again.
const PAUSE: Duration = Duration::from_secs(10);
/// Writes of a last word that fail are made again, so often, with a pause.
const WRITES_MAX: usize = 5;
const WRITE_PAUSE: Duration = Duration::from_secs(1);

impl Inner {
    /// The driver of an operation; a new one if there is none. `told`: its caller knows its number.
    pub(crate) fn drive(self: &Arc<Self>, principal: &Principal, id: &OperationId, told: bool) -> Arc<Seat> {
        match self.desk.enter(principal, id, told) {
            Entered::Taken(seat) => seat,
            Entered::Driver(seat, interest) => {
                let (shared, id, own) = (Arc::clone(self), id.clone(), Arc::clone(&seat));
                self.running.spawn(async move {
                    let driving = Driving { shared: &shared, id: &id, seat: &own, interest };
                    let last = Box::pin(driving.to_the_end()).await;
                    let is_open = matches!(last, Stage::NotYet(_));
                    shared.desk.leave(&id, &own, last);
                    // Told while this was about to leave, or withdrawn in vain: nobody else goes on with it.
                    if is_open
                        && own.is_told()
                        && !shared.parts.gate.is_closed()
                        && !shared.stop.is_cancelled()
                    {
                        shared.drive(own.principal(), &id, true);
                    }
                    Box::pin(shared.deliver(&id)).await;
                });
                seat
            }
        }
    }
}

struct Driving<'a> {
    shared: &'a Shared,
    id: &'a OperationId,
    seat: &'a Seat,
    interest: Interest,
}

impl Driving<'_> {
    /// As long as somebody wants to know.
    async fn to_the_end(&self) -> Stage {
        loop {
            let stage = match Box::pin(self.once()).await {
                Ok(stage) => stage,
                Err(error) => {
                    tracing::error!(%error, cause = causes(&error), "the journal failed");
                    Stage::NotYet(Rejection::Unavailable { what: Unavailable::Journal, thread: None })
                }
            };
            let is_wanted = self.interest.stance() == Stance::Waiting && self.seat.is_told();
            let goes_on = matches!(stage, Stage::NotYet(_)) && is_wanted;
            if !goes_on || self.shared.parts.gate.is_closed() {
                return stage;
            }
            let mut interest = self.interest.clone();
            tokio::select! {
                () = self.shared.stop.cancelled() => return stage,
                _stance = interest.ended() => {}
                () = self.shared.parts.clock.sleep(PAUSE) => {}
            }
        }
    }

    /// Thousands may be here at once: while a person decides, nothing of the row is kept but what it takes to go on.
    async fn once(&self) -> Result<Stage, JournalError> {
        let found = match Box::pin(self.look()).await? {
            Looked::Found(found) => found,
            Looked::Over(stage) => return Ok(stage),
        };
        let Found { call, hold, about } = *found;
        let admitted = match hold {
            Some(hold) => {
                self.seat.is_at(Stage::Held);
                let caller = self.caller(about.decide_by);
                Box::pin(self.shared.parts.gate.admit_held(call, hold, caller)).await
            }
            // Nobody was asked, so nobody can tell.
            None if about.is_interrupted => Err(Rejection::OutcomeUnknown { thread: None, effect: None }),
            None => match Box::pin(self.ask(call, &about)).await? {
                // From its row, as after a restart.
                Asked::Held => return Box::pin(self.once()).await,
                Asked::Admitted(admitted) => *admitted,
                Asked::ByAnother => return Ok(Stage::Over),
                Asked::ByStranger => {
                    let told = refused_in(about.mode(), Answer::unknown_caller());
                    return Box::pin(self.last_word(told, about.ends())).await;
                }
            },
        };
        Box::pin(self.admitted(admitted, &about)).await
    }

    /// What there is to go on with.
    async fn look(&self) -> Result<Looked, JournalError> {
        let Some(operation) = self.shared.parts.journal.operation(self.id).await? else {
            return Ok(Looked::Over(Stage::Over));
        };
        let Some(row) = self.shared.row(operation)? else {
            return Ok(Looked::Over(Stage::Over));
        };
        let is_interrupted = match row.state() {
            OperationState::Answered => return Ok(Looked::Over(Stage::Over)),
            OperationState::Asked | OperationState::Waiting => false,
            OperationState::Running if self.shared.runs_elsewhere(&row).await? => {
                return Ok(Looked::Over(Stage::Over));
            }
            // Its process is gone; or it is this one, whose driver could not write what came of it.
            OperationState::Running => true,
        };
        let about = About::new(&row, is_interrupted);
        // Nobody was asked, or it is on no record: there is nothing to withdraw.
        let is_withdrawn =
            self.interest.stance() == Stance::Cancelled && row.content.hold().is_none() && !is_interrupted;
        let told = if is_withdrawn {
            Answer::withdrawn()
        } else if let Some(call) = self.shared.call_of(&row) {
            return Ok(Looked::Found(Box::new(Found { call, hold: row.content.hold(), about })));
        } else if is_interrupted {
            Answer::refused(&about.in_doubt())
        } else {
            other_configuration(&row)
        };
        self.last_word(refused_in(about.mode(), told), about.ends()).await.map(Looked::Over)
    }

    /// Does what the kernel says.
    async fn admitted(
        &self,
        admitted: Result<Admission, Rejection>,
        about: &About,
    ) -> Result<Stage, JournalError> {
        let mode = about.mode();
        let answer = match admitted {
            // It was begun once, so it is not begun again.
            Ok(Admission::Run(permitted)) if about.is_interrupted => {
                let (_call, _receipt, completion) = permitted.into_parts();
                let told = Answer::refused(&completion.outcome_unknown());
                completion.lose().await;
                refused_in(mode, told)
            }
            Ok(Admission::Run(permitted)) => match mode {
                Mode::Check => hand_out(permitted).await,
                Mode::Execute(_) => match Box::pin(self.run(permitted)).await? {
                    Ran::Here(answer) => return self.last_word(answer, Ends::Run).await,
                    Ran::Not(answer) => answer,
                    Ran::Elsewhere => return Ok(Stage::Over),
                },
            },
            Ok(Admission::Replay(result, delivery)) => {
                // Kept, for whoever asks again.
                drop(delivery);
                unpacked(&result).unwrap_or_else(Answer::used_up)
            }
            Err(rejection) => match self.refused(rejection, about).await? {
                Refused::Finally(answer) => refused_in(mode, answer),
                Refused::ForNow(rejection) => return Ok(Stage::NotYet(rejection)),
            },
        };
        self.last_word(answer, about.ends()).await
    }

    /// As long as the operation lives.
    fn caller(&self, decide_by: Timestamp) -> Caller {
        let left = decide_by.duration_since(self.shared.now());
        Caller {
            patience: left.try_into().unwrap_or(Duration::ZERO),
            at_most: None,
            interest: self.interest.clone(),
            definitions: None,
            onlooker: None,
            standing: self.shared.parts.standing.clone(),
            probe: None,
        }
    }

    /// Asks Gate. What waits for a person is on record when this returns.
    async fn ask(&self, call: ToolCall, about: &About) -> Result<Asked, JournalError> {
        // Gate may have been away for long. Of what a person decides, the kernel asks this itself.
        if about.is_told
            && let Some(standing) = &self.shared.parts.standing
            && standing.is_still(&call.principal).await == StillThere::No
        {
            return Ok(Asked::ByStranger);
        }
        match self.shared.parts.gate.propose(call, self.caller(about.decide_by)).await {
            Ok(Proposed::Held(held)) => self.note(&held).await,
            Ok(Proposed::Admitted(admission)) => Ok(Asked::Admitted(Box::new(Ok(admission)))),
            Err(rejection) => Ok(Asked::Admitted(Box::new(Err(rejection)))),
        }
    }

    async fn note(&self, held: &HeldCall) -> Result<Asked, JournalError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(operation) = self.shared.parts.journal.operation(self.id).await? else {
                return Ok(Asked::ByAnother);
            };
            let Some(mut row) = self.shared.row(operation)? else {
                return Ok(Asked::ByAnother);
            };
            match row.state() {
                OperationState::Asked | OperationState::Waiting => {}
                OperationState::Running | OperationState::Answered => return Ok(Asked::ByAnother),
            }
            row.content.hold = Some(held.id.0);
            row.content.review_url.clone_from(&held.hold.review_url);
            let becomes = Becomes { thread: Some(held.hold.thread.clone()), ..Inner::becomes(&row) };
            match self.shared.write(&row, becomes).await? {
                Moved::Yes => return Ok(Asked::Held),
                Moved::No => {}
            }
        }
        Ok(Asked::ByAnother)
    }

    async fn refused(&self, rejection: Rejection, about: &About) -> Result<Refused, JournalError> {
        let is_over = about.decide_by <= self.shared.after(Duration::from_secs(1));
        let was_begun = about.is_interrupted;
        Ok(match (finality(&rejection), &rejection) {
            (Finality::Final, _) if was_begun && !says_that_nothing_ran(&rejection) => {
                Refused::Finally(Answer::refused(&about.in_doubt()))
            }
            (Finality::Final, _) => Refused::Finally(Answer::refused(&rejection)),
            (Finality::Passing, Rejection::Pending { .. }) if is_over && was_begun => {
                Refused::Finally(Answer::refused(&about.in_doubt()))
            }
            (Finality::Passing, Rejection::Pending { .. }) if is_over => {
                // An approval that came later would be nobody's. If others wait for it, it stays.
                let operation = self.shared.parts.journal.operation(self.id).await?;
                let row = operation.map_or(Ok(None), |operation| self.shared.row(operation))?;
                if let Some(call) = row.and_then(|row| self.shared.call_of(&row)) {
                    let (Withdrawal::Withdrawn | Withdrawal::StaysOpen) =
                        self.shared.parts.gate.withdraw(call).await;
                }
                Refused::Finally(Answer::expired())
            }
            (Finality::Passing, _) => Refused::ForNow(rejection),
        })
    }

    /// Writes the answer down. What came of a run must not be lost for a moment's trouble.
    async fn last_word(&self, answer: Answer, ends: Ends) -> Result<Stage, JournalError> {
        let mut written = self.shared.answer(self.id, &answer, ends).await;
        for _ in 1..WRITES_MAX {
            if written.is_ok() {
                break;
            }
            self.shared.parts.clock.sleep(WRITE_PAUSE).await;
            written = self.shared.answer(self.id, &answer, ends).await;
        }
        written.map(|()| Stage::Over)
    }
}

/// What it was about is not configured any more.
fn other_configuration(row: &Row) -> Answer {
    let thread = row.operation.now.thread.clone();
    let detail = "What this is about is not configured any more. It did not run.";
    Answer { thread: thread.map(|thread| thread.to_string()), ..Answer::denied("mismatch", detail, "no") }
}

/// Of what was begun: whether the hold itself says so. What the configuration says by now, say, does not undo a run.
const fn says_that_nothing_ran(rejection: &Rejection) -> bool {
    match rejection {
        Rejection::Unavailable { what: Unavailable::Redemption, .. } | Rejection::Cancelled { .. } => true,
        Rejection::Unavailable { .. }
        | Rejection::Pending { .. }
        | Rejection::Busy { .. }
        | Rejection::DeniedByConfig { .. }
        | Rejection::Rejected { .. }
        | Rejection::Expired { .. }
        | Rejection::ChangesRequested { .. }
        | Rejection::TokenInvalid { .. }
        | Rejection::Mismatch { .. }
        | Rejection::OutcomeUnknown { .. }
        | Rejection::AlreadyDone { .. } => false,
    }
}

/// What there is to go on with.
enum Looked {
    Found(Box<Found>),
    /// Nothing.
    Over(Stage),
}

struct Found {
    call: ToolCall,
    hold: Option<HoldId>,
    about: About,
}

/// What is kept of a row while a person decides.
struct About {
    decide_by: Timestamp,
    target: Option<String>,
    thread: Option<ThreadId>,
    /// Whether its caller knows its number.
    is_told: bool,
    /// Whether it was begun, by a process that is gone.
    is_interrupted: bool,
}

impl About {
    fn new(row: &Row, is_interrupted: bool) -> Self {
        let target = match row.content.question.mode() {
            Mode::Check => None,
            Mode::Execute(target) => Some(target.to_owned()),
        };
        Self {
            decide_by: row.content.decide_by,
            target,
            thread: row.operation.now.thread.clone(),
            is_told: row.state() == OperationState::Waiting,
            is_interrupted,
        }
    }

    fn mode(&self) -> Mode<'_> {
        self.target.as_deref().map_or(Mode::Check, Mode::Execute)
    }

    fn ends(&self) -> Ends {
        if self.is_interrupted { Ends::Run } else { Ends::Question }
    }

    /// It was begun, and there is nobody to say what came of it.
    fn in_doubt(&self) -> Rejection {
        Rejection::OutcomeUnknown { thread: self.thread.clone(), effect: None }
    }
}

enum Asked {
    Held,
    Admitted(Box<Result<Admission, Rejection>>),
    ByAnother,
    /// Whoever asked is no caller any more.
    ByStranger,
}

enum Refused {
    Finally(Answer),
    ForNow(Rejection),
}
