//! From a permit to the target: once, of all who were permitted, and not if it was withdrawn on the way.

use super::Driving;
use crate::{
    answer::{Answer, Happened},
    desk::Stage,
    inner::{ATTEMPTS_MAX, Becomes, Inner},
    run::{Run, unsent},
};
use holdpoint_core::{JournalError, Moved, OperationState, PermittedCall, Stance};

/// What became of what was permitted.
pub(super) enum Ran {
    /// It was sent, from here.
    Here(Answer),
    /// It was not, and will not be.
    Not(Answer),
    /// Somebody else sends it, or did, or it was withdrawn.
    Elsewhere,
}

enum Begun {
    Here,
    Elsewhere,
}

impl Driving<'_> {
    /// Runs what was permitted, unless it is not to be run any more.
    pub(super) async fn run(&self, permitted: PermittedCall) -> Result<Ran, JournalError> {
        let Some(operation) = self.shared.parts.journal.operation(self.id).await? else {
            unsent(permitted, &Answer::withdrawn().happened(Happened::No)).await;
            return Ok(Ran::Elsewhere);
        };
        let Some(row) = self.shared.row(operation)? else {
            unsent(permitted, &Answer::expired().happened(Happened::No)).await;
            return Ok(Ran::Elsewhere);
        };
        let Some((target, tool)) = self.shared.tool_of(&row.content.question) else {
            let told =
                Answer::denied("mismatch", "The target is not configured any more. It did not run.", "no");
            let told = told.happened(Happened::No);
            unsent(permitted, &told).await;
            return Ok(Ran::Not(told));
        };
        let run = Run { target, tool, id: self.id };
        let prepared = tokio::select! {
            biased;
            () = self.withdrawn() => Err(Answer::withdrawn().happened(Happened::No)),
            prepared = run.prepare(&self.shared.to_targets, permitted.call()) => prepared,
        };
        let (request, connection) = match prepared {
            Ok(prepared) => prepared,
            Err(told) => {
                unsent(permitted, &told).await;
                return Ok(Ran::Not(told));
            }
        };
        // Durable before the target sees a byte: of all who were permitted, for whatever reason, one sends.
        match self.begin().await {
            Ok(Begun::Here) => {
                self.seat.is_at(Stage::Running);
                // Whoever waits: what comes of it is written down by this process, or by none while it lives.
                self.seat.tell();
                Ok(Ran::Here(run.send(permitted, request, connection).await))
            }
            Ok(Begun::Elsewhere) => {
                let told = Answer::denied("already_done", "Another request runs this, or ran it.", "no");
                unsent(permitted, &told.happened(Happened::No)).await;
                Ok(Ran::Elsewhere)
            }
            Err(error) => {
                let told = Answer::denied(
                    "unavailable",
                    "The call could not be recorded. It did not run.",
                    "ask_again",
                );
                unsent(permitted, &told.happened(Happened::No)).await;
                Err(error)
            }
        }
    }

    /// Resolves when the caller withdraws. One that is lost may come back.
    async fn withdrawn(&self) {
        if self.interest.clone().ended().await != Stance::Cancelled {
            std::future::pending::<()>().await;
        }
    }

    async fn begin(&self) -> Result<Begun, JournalError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(row) = self.shared.find(self.id).await? else {
                return Ok(Begun::Elsewhere);
            };
            match row.state() {
                OperationState::Asked | OperationState::Waiting => {}
                OperationState::Running | OperationState::Answered => return Ok(Begun::Elsewhere),
            }
            let becomes = Becomes {
                state: OperationState::Running,
                owner: Some(self.shared.parts.owner.clone()),
                ..Inner::becomes(&row)
            };
            match self.shared.write(&row, becomes).await? {
                Moved::Yes => return Ok(Begun::Here),
                Moved::No => {}
            }
        }
        Ok(Begun::Elsewhere)
    }
}
