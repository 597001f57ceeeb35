//! What is done with each line.

use super::session::{Answered, CallState, Expect, Session, lock};
use super::tasks::{About, speaks_of_a_run};
use crate::{
    message::{
        self, Batch, CallMessage, Cancellation, INTERNAL_ERROR, INVALID_REQUEST, IdKey, Message, Object,
        PARSE_ERROR, Refused, Single, text_of,
    },
    protocol::REVISION_WITH_BATCHES,
    reply,
    tasks::RUN_MARK,
    waiting::{Client, Comeback},
};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::sync::Arc;

impl Session {
    pub(super) fn on_client_line(self: &Arc<Self>, line: &[u8]) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.trim_ascii().is_empty() {
            return self.forward(&[], line);
        }
        if memchr::memchr(b'\r', text).is_some() {
            let problem = "the message has a carriage return inside, where some readers end a line";
            return self.to_client.push_message(&reply::error(None, PARSE_ERROR, problem));
        }
        match message::look(text) {
            Err(refused) => self.to_client.push_message(&reply::refused(&refused)),
            Ok(Message::One(Single::Call(call))) => {
                if self.id_is_free(Some(call.id_raw)) {
                    self.any_call(&call, line);
                }
            }
            Ok(Message::One(single)) => {
                if let Single::Other { id, .. } = &single
                    && !self.id_is_free(*id)
                {
                    return;
                }
                if self.is_about_our_task(&single, text) == About::OurTask
                    || self.refuses(std::slice::from_ref(&single))
                    || !self.note(&single)
                {
                    return;
                }
                let changed = Self::without_our_tasks(&single, line);
                let line = changed.as_ref().map_or(line, |changed| changed.as_bytes());
                self.forward(std::slice::from_ref(&single), line);
            }
            Ok(Message::Batch(batch)) => self.batch(&batch, line),
        }
    }

    fn batch(self: &Arc<Self>, batch: &Batch<'_>, line: &[u8]) {
        if lock(&self.revision).as_deref() != Some(REVISION_WITH_BATCHES) {
            return self.to_client.push_message(&no_batches(batch));
        }
        if batch.has_call() {
            return batch.parts().for_each(|(message, raw)| self.one_of_batch(message, raw));
        }
        let free = batch.messages.iter().all(|message| match message {
            Single::Other { id, .. } => self.id_is_free(*id),
            Single::Call(_) | Single::Answer => true,
        });
        if free && !self.refuses(&batch.messages) {
            // A cancellation of a held call in a batch goes on to the server as well, which ignores it.
            for message in &batch.messages {
                self.note(message);
            }
            self.forward(&batch.messages, line);
        }
    }

    /// A message of a batch with calls in it, as if it had come by itself. Its answer comes by itself as well: clients find
    /// it by its id, and in an array it would have to wait for the reviews of its neighbours.
    fn one_of_batch(self: &Arc<Self>, message: &Single<'_>, raw: &str) {
        let line = format!("{raw}\n");
        if !self.id_is_free(message.id_raw()) {
            return;
        }
        match message {
            Single::Call(call) => self.call(call, line.as_bytes()),
            Single::Other { .. } | Single::Answer => {
                if !self.refuses(std::slice::from_ref(message)) && self.note(message) {
                    self.forward(std::slice::from_ref(message), line.as_bytes());
                }
            }
        }
    }

    /// Whether the configuration denies any of `messages`, which then go nowhere.
    fn refuses(&self, messages: &[Single<'_>]) -> bool {
        let Some(denied) = self.options.guard.denied(messages) else {
            return false;
        };
        if let Some(answer) = denied.answer() {
            self.to_client.push_message(&answer);
        }
        true
    }

    /// Two requests under one id, and the answer to one would be taken for the other's.
    fn id_is_free(&self, id: Option<&str>) -> bool {
        let calls = lock(&self.calls);
        let taken = !calls.is_empty() && id.and_then(IdKey::read).is_some_and(|id| calls.contains_key(&id));
        drop(calls);
        if taken {
            let problem = "a tool call with this `id` is under way";
            self.to_client.push_message(&reply::error(id, INVALID_REQUEST, problem));
        }
        !taken
    }

    /// Notes what a message means to us; `false`: it is not for the server.
    fn note(&self, message: &Single<'_>) -> bool {
        let Single::Other { method, id, params } = message else {
            return true;
        };
        if id.is_some() {
            self.owed.one_more();
        }
        match &**method {
            "notifications/cancelled" => params.is_none_or(|params| self.cancel(params)),
            "initialize" => {
                *lock(&self.client) = params.map(Client::of_initialize);
                if let Some(id) = id.and_then(IdKey::read) {
                    lock(&self.expected).answers.insert(id, Expect::Initialize);
                }
                true
            }
            "server/discover" => {
                self.expect_discovery(*id);
                true
            }
            // What the agent reads now may not be what we read before.
            "tools/list" => {
                self.catalog.mark_stale();
                self.expect_lists(message);
                true
            }
            _ => true,
        }
    }

    /// The client withdraws a request; `false`: the server never saw it.
    fn cancel(&self, params: &RawValue) -> bool {
        let Some(Cancellation { request: id, reason }) = Cancellation::read(params.get()) else {
            return true;
        };
        let mut calls = lock(&self.calls);
        let Some(state) = calls.get_mut(&id) else {
            drop(calls);
            // What is withdrawn is not answered any more.
            self.owed.one_less();
            return self.withdraw(&id);
        };
        match state {
            CallState::Waiting { handle, modern } => {
                reason.tell(handle, *modern);
                *state = CallState::Cancelled;
                false
            }
            CallState::Cancelled => false,
            CallState::Running(cancelled) => {
                cancelled.notify_one();
                drop(calls);
                self.withdraw(&id)
            }
        }
    }

    /// A call, or one that a client sends again because we told it to.
    fn any_call(self: &Arc<Self>, call: &CallMessage<'_>, line: &[u8]) {
        let Some((line, comeback)) = Comeback::take_off(call, line) else {
            return self.call(call, line);
        };
        match message::call_in(&line) {
            Some(mut call) => {
                call.comeback = Some(comeback);
                self.call(&call, &line);
            }
            None => self.to_client.push_message(&reply::refused(&Refused::unclear())),
        }
    }

    fn call(self: &Arc<Self>, call: &CallMessage<'_>, line: &[u8]) {
        if !self.call_at_once(call, line) {
            self.call_later(call, line);
        }
    }

    pub(super) fn on_server_line(&self, line: &[u8]) {
        let idle = {
            let expected = lock(&self.expected);
            expected.answers.is_empty() && expected.progress.is_empty()
        };
        let plain = idle
            && memchr::memmem::find(line, b"list_changed").is_none()
            && memchr::memmem::find(line, RUN_MARK).is_none();
        if plain || self.concerns_client(line) {
            self.to_client.push(line);
            if !self.owed.is_none()
                && line.starts_with(b"{")
                && memchr::memmem::find(line, br#""method""#).is_none()
            {
                self.owed.one_less();
            }
        }
    }

    /// Takes what is for us; `false`: the client does not get this line as it is.
    fn concerns_client(&self, line: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(line) else {
            return true;
        };
        let Ok(object) = Object::read_leniently(text) else {
            return !self.lists_in_batch(text);
        };
        match (object.get("method").and_then(text_of), object.get("id")) {
            (Some(method), None) if method == "notifications/tools/list_changed" => {
                self.catalog.mark_stale();
                true
            }
            (Some(_), None) if speaks_of_a_run(None, &object) => false,
            (Some(_), None) => match lock(&self.expected).progress.rebase(text) {
                Some(rebased) => {
                    self.to_client.push(&rebased);
                    false
                }
                None => true,
            },
            (None, Some(id)) => self.answered(id, &object, line),
            (Some(_), Some(_)) | (None, None) => true,
        }
    }

    fn answered(&self, id: &RawValue, object: &Object<'_>, line: &[u8]) -> bool {
        let expect = IdKey::read(id.get()).and_then(|id| lock(&self.expected).answers.remove(&id));
        match expect {
            None => !speaks_of_a_run(Some(id), object),
            Some(Expect::Own(asker)) => {
                let _asker_may_have_given_up = asker.send(Ok(String::from_utf8_lossy(line).into_owned()));
                false
            }
            Some(Expect::Recorded(runner)) => {
                let given_up = runner.send(Answered::Line(Bytes::copy_from_slice(line))).is_err();
                given_up && !speaks_of_a_run(Some(id), object)
            }
            Some(Expect::Discovery) => match Self::discovered(line) {
                Some(changed) => {
                    self.owed.one_less();
                    self.to_client.push(changed.as_bytes());
                    false
                }
                None => true,
            },
            Some(Expect::Tools) => match Self::listed(id, line) {
                Some(changed) => {
                    self.owed.one_less();
                    self.to_client.push(changed.as_bytes());
                    false
                }
                None => true,
            },
            Some(Expect::Initialize) => {
                let result =
                    object.get("result").and_then(|result| Object::read_leniently(result.get()).ok());
                let version = result.and_then(|result| result.get("protocolVersion").and_then(text_of));
                *lock(&self.revision) = version.map(std::borrow::Cow::into_owned);
                true
            }
        }
    }

    pub(super) fn too_long_from_server(&self, id: Option<&str>, bytes_max: usize) {
        tracing::warn!(server = %self.options.guard.server, bytes_max, "a message of the server was too long and was dropped");
        let Some(id_raw) = id else {
            return;
        };
        let expect = IdKey::read(id_raw).and_then(|id| lock(&self.expected).answers.remove(&id));
        match expect {
            // Dropped, the asker learns that there is no list.
            Some(Expect::Own(_)) => {}
            Some(Expect::Recorded(runner)) => {
                let _runner_may_have_given_up = runner.send(Answered::TooLong);
            }
            Some(Expect::Initialize | Expect::Discovery | Expect::Tools) | None => {
                self.owed.one_less();
                let problem = format!("the server's answer is longer than {bytes_max} bytes");
                self.to_client.push_message(&reply::error(Some(id_raw), INTERNAL_ERROR, &problem));
            }
        }
    }
}

/// Every request of a batch that holds calls is answered, so that nobody waits for it.
fn no_batches(batch: &Batch<'_>) -> Vec<u8> {
    let refused = Refused::batches();
    if !batch.has_call() {
        return reply::refused(&refused);
    }
    let answer = |id| reply::error(Some(id), refused.code, &refused.problem);
    let answers: Vec<_> = batch.messages.iter().filter_map(Single::id_raw).map(answer).collect();
    [&b"["[..], &answers.join(&b','), b"]"].concat()
}
