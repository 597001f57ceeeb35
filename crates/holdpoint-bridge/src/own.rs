//! What a caller does with a question of its own that is open, or answered: takes it back, or takes the yes for itself.

use crate::{
    answer::Answer,
    ask::Told,
    content::Mode,
    inner::{ATTEMPTS_MAX, Ends, Inner, Row, unrecordable},
    key::fingerprint,
    problem::Problem,
    run::refused_in,
};
use holdpoint_core::{Moved, OperationId, OperationState, Principal};
use http::StatusCode;
use std::{sync::Arc, time::Duration};

/// Who has taken a yes by the answer to its request.
pub(crate) const BY_ANSWER: &str = "answer";
/// For a withdrawal to be noted.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(10);

impl Inner {
    /// Withdraws a question. The row as it is then.
    pub(crate) async fn withdraw(
        self: &Arc<Self>,
        principal: &Principal,
        id: &OperationId,
    ) -> Result<Row, Problem> {
        let row = self.own(principal, id).await?;
        match row.state() {
            OperationState::Answered | OperationState::Running => return Ok(row),
            OperationState::Asked | OperationState::Waiting => {}
        }
        if row.content.hold.is_none() && self.desk.seat(id).is_none() {
            let withdrawn = refused_in(row.content.question.mode(), Answer::withdrawn());
            self.answer(id, &withdrawn, Ends::Question).await.map_err(|error| unrecordable(&error))?;
        } else {
            let seat = self.drive(principal, id, false);
            seat.cancel();
            let waiter = seat.attend();
            tokio::select! {
                _stage = waiter.over() => {}
                () = self.parts.clock.sleep(WITHDRAWN_WITHIN) => {}
            }
        }
        self.own(principal, id).await
    }

    /// Makes the yes that a request is about to be answered with the only one: no token is good for it any more. A request that
    /// `is_named` may come again, and is answered the same.
    pub(crate) async fn answer_with_yes(
        &self,
        mut row: Row,
        answer: Answer,
        is_named: bool,
    ) -> Result<Answer, Problem> {
        for _ in 0..ATTEMPTS_MAX {
            match row.content.claimed_by.as_deref() {
                Some(BY_ANSWER) if is_named => return Ok(answer),
                Some(_) => return Ok(Answer { thread: answer.thread, ..Answer::used_up() }),
                None => row.content.claimed_by = Some(BY_ANSWER.to_owned()),
            }
            match self.write(&row, Self::becomes(&row)).await.map_err(|error| unrecordable(&error))? {
                Moved::Yes => return Ok(answer),
                Moved::No => row = self.read(row.id()).await?.ok_or_else(Problem::not_found)?,
            }
        }
        Err(Problem::unrecordable())
    }

    /// Hands a yes to one of those who want to act on it.
    pub(crate) async fn claim(
        &self,
        principal: &Principal,
        id: &OperationId,
        claimant: &str,
    ) -> Result<Told, Problem> {
        let mut row = self.own(principal, id).await?;
        let claimant = fingerprint(claimant);
        for _ in 0..ATTEMPTS_MAX {
            let Some(answer) = row.answer().cloned() else {
                return Ok(Told::Pending(Box::new(row)));
            };
            if !answer.is_allow() {
                return Ok(Told::Answered(Box::new(row), answer));
            }
            if let Mode::Execute(_) = row.content.question.mode() {
                return Err(Problem::new(
                    StatusCode::CONFLICT,
                    "the bridge ran this itself; there is nothing to claim",
                ));
            }
            match &row.content.claimed_by {
                Some(by) if *by == claimant => return Ok(Told::Answered(Box::new(row), answer)),
                Some(_) => {
                    let used_up = Answer { thread: answer.thread, ..Answer::used_up() };
                    return Ok(Told::Answered(Box::new(row), used_up));
                }
                None => row.content.claimed_by = Some(claimant.clone()),
            }
            match self.write(&row, Self::becomes(&row)).await.map_err(|error| unrecordable(&error))? {
                Moved::Yes => return Ok(Told::Answered(Box::new(row), answer)),
                Moved::No => row = self.own(principal, id).await?,
            }
        }
        Err(Problem::unrecordable())
    }
}
