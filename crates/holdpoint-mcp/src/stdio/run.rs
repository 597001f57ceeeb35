//! A call that has its permit: on its way to the server, and its answer back.

use super::{
    call::Outcome,
    outbox::Sent,
    session::{Answered, CallState, Expect, Session, lock},
};
use crate::{
    message::{CallFrame, IdKey},
    more::Questions,
    outcome::outcome_of,
    reply::{self, Ended},
};
use bytes::Bytes;
use holdpoint_core::{Completion, StoredResult, ToolCall};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, oneshot};

/// A server that was told of a cancellation may stay silent; after this its answer counts as lost.
const AFTER_CANCEL: Duration = Duration::from_secs(30);

impl Session {
    /// A call of which no record is kept: its answer passes like everything else.
    pub(super) fn run(&self, frame: &Arc<CallFrame>, call: &ToolCall) -> Outcome {
        if self.begin(&frame.id).is_none() {
            return Outcome::Silence;
        }
        if self.server_is_gone() {
            return Outcome::Ours(reply::ended(frame, &Ended::NotSent));
        }
        match line_of(frame, call) {
            Some(line) => {
                self.owed.one_more();
                self.send_call(frame, &line);
                Outcome::Sent
            }
            None => Outcome::Ours(reply::ended(frame, &Ended::NotSent)),
        }
    }

    /// A call of which a record is kept: what came of it is recorded before the client hears of it.
    pub(super) async fn run_recorded(
        &self,
        frame: &Arc<CallFrame>,
        call: &ToolCall,
        completion: Completion,
        questions: &Questions,
    ) -> Outcome {
        let Some(cancelled) = self.begin(&frame.id) else {
            // Withdrawn in the moment of dispatch.
            let _silence = unsent(frame, completion).await;
            return Outcome::Silence;
        };
        let Some(line) = line_of(frame, call) else {
            return unsent(frame, completion).await;
        };
        let Some(answered) = self.expect(&frame.id) else {
            return unsent(frame, completion).await;
        };
        let ticket = self.send_call(frame, &line);
        let given_up = async {
            // Whether it went out, or how much of it, is found out when the server is gone.
            let _server_may_be_gone = self.server.flush().await;
            cancelled.notified().await;
            tokio::time::sleep(AFTER_CANCEL).await;
        };
        let answered = tokio::select! {
            biased;
            answered = answered => answered.ok(),
            () = given_up => None,
        };
        let line = match answered {
            Some(Answered::Line(line)) => line,
            Some(Answered::TooLong) => return too_long(frame, completion).await,
            Some(Answered::Unsent) => return unsent(frame, completion).await,
            Some(Answered::Lost) => return self.lost(frame, completion).await,
            None if self.server_is_gone() => {
                return match self.server.abandon(ticket) {
                    Sent::Never => unsent(frame, completion).await,
                    Sent::Maybe => self.lost(frame, completion).await,
                };
            }
            None => {
                self.server.give_up(ticket);
                return self.lost(frame, completion).await;
            }
        };
        let told = match std::str::from_utf8(&line) {
            Ok(line) => questions.told(&self.options.guard, line, frame, &completion).await,
            Err(_) => None,
        };
        let line = told.map_or(line, |told| format!("{told}\n").into());
        let outcome = std::str::from_utf8(&line).ok().and_then(|line| outcome_of(line, &completion));
        match outcome {
            Some(outcome) => Outcome::Answer(line, completion.finish(outcome).await),
            None => self.lost(frame, completion).await,
        }
    }

    /// The answer, as it will come; `None`: the server is gone.
    fn expect(&self, id: &IdKey) -> Option<oneshot::Receiver<Answered>> {
        let (runner, answered) = oneshot::channel();
        let mut expected = lock(&self.expected);
        // Looked at with the table in hand: a server that goes empties it after it is marked as gone.
        if self.server_is_gone() {
            return None;
        }
        expected.answers.insert(id.clone(), Expect::Recorded(runner));
        Some(answered)
    }

    async fn lost(&self, frame: &CallFrame, completion: Completion) -> Outcome {
        lock(&self.expected).answers.remove(&frame.id);
        let told = completion.outcome_unknown();
        completion.lose().await;
        Outcome::Ours(reply::rejected(frame, &told))
    }

    /// From here on the server has the call. `None`: it was withdrawn before.
    fn begin(&self, id: &IdKey) -> Option<Arc<Notify>> {
        let cancelled = Arc::new(Notify::new());
        match lock(&self.calls).get_mut(id) {
            Some(CallState::Cancelled) => return None,
            Some(state) => *state = CallState::Running(Arc::clone(&cancelled)),
            // It passes at once: nobody could have withdrawn it.
            None => {}
        }
        Some(cancelled)
    }
}

/// No byte of it went out, for certain.
async fn unsent(frame: &CallFrame, completion: Completion) -> Outcome {
    completion.unsent(StoredResult::new(reply::fragment_of(frame, &Ended::NotSent))).await;
    Outcome::Ours(reply::ended(frame, &Ended::NotSent))
}

/// What the answer said went with it.
async fn too_long(frame: &CallFrame, completion: Completion) -> Outcome {
    let told = reply::fragment_of(frame, &Ended::AnswerTooLarge);
    let mut line = reply::answer(&frame.id_raw, &told);
    line.push(b'\n');
    let delivery = completion.finish(holdpoint_core::Outcome::failed(told)).await;
    Outcome::Answer(line.into(), delivery)
}

/// The frozen arguments in the client's own message, on one line: they may have been frozen on another route, where
/// a line end between two tokens is no line end. Inside strings JSON has none.
fn line_of(frame: &CallFrame, call: &ToolCall) -> Option<Bytes> {
    let line = frame.with_arguments(call.arguments.raw().map(|raw| &**raw))?;
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.len() < line.len() && memchr::memchr2(b'\n', b'\r', text).is_none() {
        return Some(line);
    }
    let mut one: Vec<u8> =
        text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
    one.push(b'\n');
    Some(one.into())
}
