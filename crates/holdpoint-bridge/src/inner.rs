//! What all requests share: the kernel, the book of operations, and how its rows are read and changed.

use crate::{
    BridgeOptions, BridgeParts,
    answer::Answer,
    content::{Content, Mode, Question, Whose},
    desk::Desk,
    key::OperationKey,
    options::PrivateAddresses,
    outgoing::{Outgoing, Reach},
    problem::Problem,
    target::{Target, TargetTool},
};
use holdpoint_core::{
    JournalError, Liveness, Moved, Operation, OperationChange, OperationId, OperationState, Owner,
    ServerName, TaskId, ThreadId, ToolCall, ToolName,
};
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Of any number that change one row at once, one does; the others look again, so often.
pub(crate) const ATTEMPTS_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) parts: BridgeParts,
    pub(crate) key: OperationKey,
    pub(crate) desk: Desk,
    pub(crate) running: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) to_targets: Outgoing,
    pub(crate) to_callbacks: Outgoing,
}

/// A row, read.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) operation: Operation,
    pub(crate) content: Content,
}

impl Row {
    pub(crate) fn id(&self) -> &OperationId {
        &self.operation.id
    }

    pub(crate) fn state(&self) -> OperationState {
        self.operation.now.state
    }

    pub(crate) fn answer(&self) -> Option<&Answer> {
        self.content.answer.as_ref()
    }
}

/// What a last word is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// The question. What runs by now, another process runs: the last word is that one's.
    Question,
    /// What was run, by whom it was run, or by whoever finds that nobody runs it any more.
    Run,
}

/// What a row becomes.
pub(crate) struct Becomes {
    pub(crate) state: OperationState,
    pub(crate) owner: Option<Owner>,
    pub(crate) thread: Option<ThreadId>,
    pub(crate) expires_at: Timestamp,
}

impl Inner {
    pub(crate) fn new(parts: BridgeParts) -> Self {
        let reach = match parts.options.callbacks.private_addresses {
            PrivateAddresses::Allowed => Reach::Everywhere,
            PrivateAddresses::Refused => Reach::PublicOnly,
        };
        Self {
            key: OperationKey::new(&parts.key),
            parts,
            desk: Desk::default(),
            running: TaskTracker::new(),
            stop: CancellationToken::new(),
            to_targets: Outgoing::new(Reach::Everywhere),
            to_callbacks: Outgoing::new(reach),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    pub(crate) fn after(&self, duration: Duration) -> Timestamp {
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        self.now().saturating_add(duration).unwrap_or(Timestamp::MAX)
    }

    /// The target and tool of a question that the bridge runs. `None`: there is none, or not any more.
    pub(crate) fn tool_of(&self, question: &Question) -> Option<(&Target, &TargetTool)> {
        let Mode::Execute(target) = question.mode() else {
            return None;
        };
        let target = self.parts.options.targets.get(&ServerName::new(target))?;
        Some((target, target.tools.get(&ToolName::new(question.tool()))?))
    }

    /// The call of a question, as it would run now.
    pub(crate) fn call(&self, question: &Question, whose: Whose<'_>) -> Option<ToolCall> {
        match question.mode() {
            Mode::Check => question.call(whose, None),
            Mode::Execute(_) => {
                let (_target, tool) = self.tool_of(question)?;
                question.call(whose, Some(&tool.place))
            }
        }
    }

    pub(crate) fn call_of(&self, row: &Row) -> Option<ToolCall> {
        let Operation { id, principal, task, .. } = &row.operation;
        self.call(&row.content.question, Whose { principal, task, id })
    }

    /// The row of this number, if it is still good.
    pub(crate) async fn find(&self, id: &OperationId) -> Result<Option<Row>, JournalError> {
        self.parts.journal.operation(id).await?.map_or(Ok(None), |operation| self.row(operation))
    }

    /// The same, for a request.
    pub(crate) async fn read(&self, id: &OperationId) -> Result<Option<Row>, Problem> {
        self.find(id).await.map_err(|error| unrecordable(&error))
    }

    /// `None`: it is not good any more. What cannot be read is not the same as what is not there: the one may have run, and
    /// whoever took it for the other would ask, or run, again.
    pub(crate) fn row(&self, operation: Operation) -> Result<Option<Row>, JournalError> {
        if operation.now.expires_at <= self.now() {
            return Ok(None);
        }
        match Content::of(&operation) {
            Some(content) => Ok(Some(Row { operation, content })),
            None => Err(JournalError(format!("the content of `{}` cannot be read", operation.id).into())),
        }
    }

    /// Makes `row` what it says now, if it is still in its round.
    pub(crate) async fn write(&self, row: &Row, becomes: Becomes) -> Result<Moved, JournalError> {
        let Becomes { state, owner, thread, expires_at } = becomes;
        let content = packed(&row.content)?;
        let change = OperationChange { state, thread, content, owner, expires_at };
        let Operation { id, round, .. } = &row.operation;
        self.parts.journal.advance_operation(id, *round, change, self.now()).await
    }

    /// The same row in another state, or with other content.
    pub(crate) fn becomes(row: &Row) -> Becomes {
        let OperationChange { state, thread, owner, expires_at, .. } = row.operation.now.clone();
        Becomes { state, owner, thread, expires_at }
    }

    /// Writes down the last word, unless there is one, or it is somebody else's to say.
    pub(crate) async fn answer(
        &self,
        id: &OperationId,
        answer: &Answer,
        ends: Ends,
    ) -> Result<(), JournalError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(operation) = self.parts.journal.operation(id).await? else {
                return Ok(());
            };
            let Some(mut row) = self.row(operation)? else {
                return Ok(());
            };
            let told = match (row.state(), ends) {
                (OperationState::Answered, _) | (OperationState::Running, Ends::Question) => return Ok(()),
                (OperationState::Asked, _) => false,
                (OperationState::Waiting, _) | (OperationState::Running, Ends::Run) => true,
            };
            let is_called_back = told && row.content.callback.is_some();
            let BridgeOptions { kept, expires, .. } = self.parts.options;
            // What ran must not run again for a caller that is late: its row stays for as long as any question may be open.
            let kept = match row.content.question.mode() {
                Mode::Check => kept,
                Mode::Execute(_) => kept.max(expires),
            };
            let becomes = Becomes {
                state: OperationState::Answered,
                owner: is_called_back.then(|| self.parts.owner.clone()),
                thread: row.operation.now.thread.clone(),
                expires_at: self.after(kept),
            };
            row.content.answer = Some(answer.clone());
            match self.write(&row, becomes).await? {
                Moved::Yes => return Ok(()),
                Moved::No => {}
            }
        }
        Err(JournalError("an operation was changed by others again and again".into()))
    }

    /// Whether another process, which lives, runs what a row is about.
    pub(crate) async fn runs_elsewhere(&self, row: &Row) -> Result<bool, JournalError> {
        match &row.operation.now.owner {
            Some(owner) if *owner != self.parts.owner => {
                Ok(self.parts.journal.liveness(owner).await? == Liveness::Alive)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// The job of a question whose caller named none.
    pub(crate) fn task(named: Option<&str>, id: &OperationId) -> TaskId {
        TaskId::new(named.unwrap_or(id.as_str()))
    }
}

pub(crate) fn packed(content: &Content) -> Result<holdpoint_core::OperationContent, JournalError> {
    content.packed().ok_or_else(|| JournalError("an operation cannot be written down".into()))
}

pub(crate) fn unrecordable(error: &JournalError) -> Problem {
    tracing::error!(%error, cause = causes(error), "the journal failed");
    Problem::unrecordable()
}

/// What is behind an error of the journal: which row it is about, or what the database said.
pub(crate) fn causes(error: &JournalError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// For `Arc<Inner>` in tasks.
pub(crate) type Shared = Arc<Inner>;
