//! The requests of `/v1`: asking and looking.

use crate::{
    answer::{Answer, Finality, finality},
    asked::Asked,
    bridge::FORGOTTEN_MAX,
    content::{Callback, Content, Mode, Question, Whose},
    desk::{Place, Stage},
    inner::{ATTEMPTS_MAX, Becomes, Inner, Row, packed, unrecordable},
    key::QuestionName,
    own::BY_ANSWER,
    problem::Problem,
    run::hand_out,
};
use holdpoint_core::{
    Admission, Caller, HeldCall, JournalError, Moved, NewOperation, OpenedOperation, OperationChange,
    OperationId, OperationState, Principal, Proposed, Rejection, TaskId, ThreadId, Withdrawal,
};
use http::StatusCode;
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};

/// Asking Gate takes this long at most, whatever the caller says of waiting: the client to Gate gives up before.
const ASKED_WITHIN: Duration = Duration::from_secs(45);
/// Before looking again at what another process does.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a request about an operation came to.
pub(crate) enum Told {
    /// The last word, and whose.
    Answered(Box<Row>, Answer),
    /// The same of a question that is on no record: rules decided it at once.
    AtOnce(Answer),
    /// Nothing is decided yet.
    Pending(Box<Row>),
    /// Gate cannot be asked, or there is no room.
    Trouble(Rejection),
}

/// One question, with its name.
pub(crate) struct Named {
    pub(crate) id: OperationId,
    pub(crate) principal: Principal,
    pub(crate) task: TaskId,
    pub(crate) question: Question,
    pub(crate) callback: Option<Callback>,
    /// Whether the caller is told the number before anything is decided.
    pub(crate) told: bool,
}

impl Inner {
    /// Who asks what, by the name that the caller gave it.
    pub(crate) fn named(
        &self,
        principal: Principal,
        key: Option<&str>,
        asked: &Asked,
    ) -> Result<Named, Problem> {
        self.check(asked)?;
        let name = match (key, &asked.task, &asked.call) {
            (Some(key), _, _) => QuestionName::Key(key.to_owned()),
            (None, Some(task), Some(call)) => QuestionName::Call { task: task.clone(), call: call.clone() },
            (None, _, _) => {
                let detail = "send an `Idempotency-Key` header, or `task_id` and `call_id`: a request that is sent again has to \
                              be known as the same";
                return Err(Problem::bad_request(detail.to_owned()));
            }
        };
        let id = self.key.operation(&principal, &name);
        let callback = asked.callback.as_ref().map(|url| Callback { url: url.clone(), attempts: 0 });
        Ok(Named {
            task: Self::task(asked.task.as_deref(), &id),
            question: Question::new(asked),
            id,
            principal,
            // Only one place is told: a caller that acted on both would act twice.
            told: callback.is_some(),
            callback,
        })
    }

    /// What can be said before anybody is asked.
    pub(crate) fn check(&self, asked: &Asked) -> Result<(), Problem> {
        if let Some(url) = &asked.callback {
            crate::callback::check(url, &self.parts.options.callbacks)?;
        }
        let Some(target) = &asked.target else {
            return Ok(());
        };
        let Some(target) = self.parts.options.targets.get(target) else {
            return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such target (`bridge.targets`)"));
        };
        let Some(tool) = target.tools.get(&asked.tool) else {
            return Err(Problem::new(StatusCode::NOT_FOUND, "the target has no such tool"));
        };
        let fits = target.request(tool, &asked.arguments);
        fits.map(drop).map_err(|problem| Problem::bad_request(format!("`payload` does not do: {problem}")))
    }

    /// Asks, and waits until `until` where a person has to decide.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        named: Box<Named>,
        until: Timestamp,
    ) -> Result<Told, Problem> {
        // Receivers that are away keep those who want to be called back from asking, and nobody else.
        if named.callback.is_some() && self.running.len() >= self.parts.options.driven_max {
            return Err(Problem::too_many_open_here());
        }
        let is_told = named.told;
        let found = Box::pin(self.found(&named.id)).await?;
        // Before anybody is asked: a review that nobody waits for would be left.
        let place = if found.is_none() { Some(self.place(&named.principal)?) } else { None };
        // In a box of its own: what it takes to ask is not kept while a person decides.
        let row = match Box::pin(self.begin(named, found)).await? {
            Proposal::Told(told) => return Ok(*told),
            Proposal::Held(row) => row,
        };
        if is_told {
            self.seat(&row, true, place)?;
            return Ok(Told::Pending(row));
        }
        self.wait(row, until, place).await
    }

    async fn begin(&self, named: Box<Named>, found: Option<Box<Row>>) -> Result<Proposal, Problem> {
        let row = match found {
            Some(row) => Self::same(*row, &named)?,
            None if named.told || matches!(named.question.mode(), Mode::Execute(_)) => {
                Box::pin(self.open(&named, None)).await?
            }
            // Most are decided by rules, and leave no trace here.
            None => return self.at_once(&named).await,
        };
        Ok(Proposal::Held(Box::new(row)))
    }

    /// The row of a question that was asked before, if this is the same.
    fn same(row: Row, named: &Named) -> Result<Row, Problem> {
        let is_same = row.content.question == named.question
            && row.operation.task == named.task
            && row.content.callback.as_ref().map(|callback| &callback.url)
                == named.callback.as_ref().map(|callback| &callback.url);
        if !is_same {
            let detail = "this key was used for another question; a new question needs a new key";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        Ok(row)
    }

    /// Opens the way for the same question once more, as an operation of its own: what was answered is no answer any more.
    /// `No`: somebody else is at it.
    pub(crate) async fn asks_anew(&self, mut first: Row, mut latest: Row) -> Result<Moved, JournalError> {
        if latest.id() != first.id() {
            latest.content.answer = Some(Answer::asked_anew());
            if self.write(&latest, Self::becomes(&latest)).await? == Moved::No {
                return Ok(Moved::No);
            }
        }
        first.content.answer = Some(Answer::asked_anew());
        first.content.asked_anew = first.content.asked_anew.saturating_add(1);
        // It is what the new one is found by.
        let expires_at = self.forget_at(self.decide_by()).max(first.operation.now.expires_at);
        self.write(&first, Becomes { expires_at, ..Self::becomes(&first) }).await
    }

    /// Asks about what its caller would run itself.
    async fn at_once(&self, named: &Named) -> Result<Proposal, Problem> {
        let Named { id, principal, task, question, .. } = named;
        let whose = Whose { principal, task, id };
        let call = self.call(question, whose).ok_or_else(Problem::unrecordable)?;
        let caller = Caller::staying(self.parts.options.expires);
        let told = match Box::pin(self.parts.gate.propose(call.clone(), caller)).await {
            Ok(Proposed::Held(held)) => match Box::pin(self.open(named, Some(&held))).await {
                Ok(row) => return Ok(Proposal::Held(Box::new(row))),
                Err(problem) => {
                    // Nobody would ever hear of it. If others wait for it, it stays.
                    let (Withdrawal::Withdrawn | Withdrawal::StaysOpen) =
                        Box::pin(self.parts.gate.withdraw(call)).await;
                    return Err(problem);
                }
            },
            Ok(Proposed::Admitted(Admission::Run(permitted))) => {
                Told::AtOnce(Box::pin(hand_out(permitted)).await)
            }
            // It was handed out: to somebody who asked at the same time, or so long ago that the row is gone.
            Ok(Proposed::Admitted(Admission::Replay(_result, delivery))) => {
                drop(delivery);
                match self.read(id).await? {
                    Some(row) => return Ok(Proposal::Held(Box::new(row))),
                    None => Told::AtOnce(Answer::used_up()),
                }
            }
            Err(rejection) => match finality(&rejection) {
                Finality::Final => Told::AtOnce(Answer::refused(&rejection)),
                Finality::Passing => Told::Trouble(rejection),
            },
        };
        Ok(Proposal::Told(Box::new(told)))
    }

    /// Puts a question on record; the one that is there, if it is the same.
    pub(crate) async fn open(&self, named: &Named, held: Option<&HeldCall>) -> Result<Row, Problem> {
        let mut content = Content::new(named.question.clone(), self.decide_by());
        content.callback.clone_from(&named.callback);
        content.hold = held.map(|held| held.id.0);
        content.review_url = held.and_then(|held| held.hold.review_url.clone());
        let now = OperationChange {
            state: if named.told { OperationState::Waiting } else { OperationState::Asked },
            thread: held.map(|held| held.hold.thread.clone()),
            content: packed(&content).map_err(|error| unrecordable(&error))?,
            owner: named.told.then(|| self.parts.owner.clone()),
            expires_at: self.forget_at(content.decide_by),
        };
        let (id, principal, task) = (named.id.clone(), named.principal.clone(), named.task.clone());
        let new = NewOperation { id, principal, task, now, at: self.now() };
        let opened = self.opened(new).await.map_err(|error| unrecordable(&error))?;
        match opened {
            OpenedOperation::Mine(operation) => Ok(Row { operation, content }),
            OpenedOperation::There(operation) => {
                let row = self.row(operation).map_err(|error| unrecordable(&error))?;
                Self::same(row.ok_or_else(Problem::unrecordable)?, named)
            }
        }
    }

    async fn opened(&self, new: NewOperation) -> Result<OpenedOperation, JournalError> {
        let journal = &self.parts.journal;
        match journal.open_operation(new.clone()).await? {
            // Over, and not forgotten yet: its name is free.
            OpenedOperation::There(there) if there.now.expires_at <= self.now() => {
                journal.forget_operations(self.now(), FORGOTTEN_MAX).await?;
                journal.open_operation(new).await
            }
            opened @ (OpenedOperation::Mine(_) | OpenedOperation::There(_)) => Ok(opened),
        }
    }

    fn decide_by(&self) -> Timestamp {
        self.after(self.parts.options.expires)
    }

    /// What was decided in the last moment is kept as well.
    fn forget_at(&self, decide_by: Timestamp) -> Timestamp {
        let kept =
            jiff::SignedDuration::try_from(self.parts.options.kept).unwrap_or(jiff::SignedDuration::MAX);
        decide_by.saturating_add(kept).unwrap_or(Timestamp::MAX)
    }

    /// Waits for the last word until `until`; then the caller knows the number, and the question goes on without it. `place` is
    /// what was kept for it.
    ///
    /// Thousands may be here at once: nothing is kept meanwhile but the number, and what is seldom done is in a box.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        mut row: Box<Row>,
        until: Timestamp,
        mut place: Option<Place<'_>>,
    ) -> Result<Told, Problem> {
        let left =
            |until: Timestamp| Duration::try_from(until.duration_since(self.now())).unwrap_or_default();
        loop {
            if row.state() == OperationState::Answered {
                let answer = Box::pin(self.repeat((*row).clone())).await?;
                return Ok(Told::Answered(row, answer));
            }
            if self.parts.gate.is_closed() {
                return Box::pin(self.tell(row)).await;
            }
            let is_known = row.state() == OperationState::Waiting;
            let waiter = self.seat(&row, is_known, place.take())?.attend();
            let id = row.id().clone();
            drop(row);
            let asked = tokio::select! {
                () = waiter.asked(), if !is_known => true,
                () = std::future::ready(()), if is_known => true,
                () = self.parts.clock.sleep(left(until).max(ASKED_WITHIN)) => false,
            };
            let stage = if asked {
                tokio::select! {
                    biased;
                    stage = waiter.over() => Some(stage),
                    () = self.parts.clock.sleep(left(until)) => None,
                }
            } else {
                None
            };
            match stage {
                None => {
                    waiter.seat().tell();
                    let row = Box::pin(self.known(&id)).await?;
                    return Box::pin(self.tell(row)).await;
                }
                Some(Stage::NotYet(Rejection::Pending { .. })) => {
                    row = Box::pin(self.known(&id)).await?;
                }
                Some(Stage::NotYet(rejection)) => {
                    row = Box::pin(self.known(&id)).await?;
                    match row.state() {
                        OperationState::Asked | OperationState::Waiting => {
                            return Ok(Told::Trouble(rejection));
                        }
                        // The refusal says that nothing ran: of what was begun, nobody knows.
                        OperationState::Running => return Ok(Told::Pending(row)),
                        OperationState::Answered => {}
                    }
                }
                Some(Stage::Over | Stage::Asking | Stage::Held | Stage::Running) => {
                    // The row may be with another process.
                    drop(waiter);
                    row = Box::pin(self.known(&id)).await?;
                    if row.state() == OperationState::Running {
                        if left(until).is_zero() {
                            return Ok(Told::Pending(row));
                        }
                        self.parts.clock.sleep(LOOK_AGAIN.min(left(until))).await;
                        row = Box::pin(self.known(&id)).await?;
                    }
                }
            }
        }
    }

    async fn found(&self, id: &OperationId) -> Result<Option<Box<Row>>, Problem> {
        self.read(id).await.map(|row| row.map(Box::new))
    }

    /// The row of a number that was there a moment ago.
    async fn known(&self, id: &OperationId) -> Result<Box<Row>, Problem> {
        self.found(id).await?.ok_or_else(Problem::not_found)
    }

    /// The caller is about to be told the number: that is durable before.
    async fn tell(self: &Arc<Self>, mut row: Box<Row>) -> Result<Told, Problem> {
        for _ in 0..ATTEMPTS_MAX {
            match row.state() {
                OperationState::Answered => {
                    let answer = self.repeat((*row).clone()).await?;
                    return Ok(Told::Answered(row, answer));
                }
                OperationState::Waiting | OperationState::Running => {
                    return Ok(Told::Pending(row));
                }
                OperationState::Asked => {}
            }
            let becomes = Becomes {
                state: OperationState::Waiting,
                owner: Some(self.parts.owner.clone()),
                ..Self::becomes(&row)
            };
            match self.write(&row, becomes).await.map_err(|error| unrecordable(&error))? {
                Moved::Yes => {
                    // The driver may have ended in between, believing that nobody comes back.
                    if !self.parts.gate.is_closed() {
                        self.drive(&row.operation.principal, row.id(), true);
                    }
                    return Ok(Told::Pending(row));
                }
                Moved::No => row = self.known(row.id()).await?,
            }
        }
        Err(Problem::unrecordable())
    }

    /// The answer that is on record, as often as it is given.
    pub(crate) async fn repeat(&self, mut row: Row) -> Result<Answer, Problem> {
        for _ in 0..ATTEMPTS_MAX {
            let answer = row.answer().cloned().ok_or_else(Problem::unrecordable)?;
            // What the bridge ran itself cannot run again for it.
            if !answer.is_allow() || matches!(row.content.question.mode(), Mode::Execute(_)) {
                return Ok(answer);
            }
            let is_taken = row.content.claimed_by.as_deref().is_some_and(|by| by != BY_ANSWER);
            if is_taken || row.content.replays >= self.parts.options.replays_max {
                return Ok(Answer { thread: answer.thread, ..Answer::used_up() });
            }
            row.content.replays = row.content.replays.saturating_add(1);
            match self.write(&row, Self::becomes(&row)).await.map_err(|error| unrecordable(&error))? {
                Moved::Yes => return Ok(answer),
                Moved::No => row = self.read(row.id()).await?.ok_or_else(Problem::not_found)?,
            }
        }
        Err(Problem::unrecordable())
    }

    /// The row of this number, if it is this caller's.
    pub(crate) async fn own(&self, principal: &Principal, id: &OperationId) -> Result<Row, Problem> {
        let row = self.read(id).await?.filter(|row| row.operation.principal == *principal);
        row.ok_or_else(Problem::not_found)
    }
}

enum Proposal {
    Told(Box<Told>),
    Held(Box<Row>),
}

/// The review that a row waits for.
pub(crate) fn thread_of(row: &Row) -> Option<&ThreadId> {
    row.operation.now.thread.as_ref()
}
