//! Requests about tasks, and what they are answered.

use super::{POLL_INTERVAL, PREFIX};
use crate::{
    message::{Object, Single, replaced, text_of},
    progress::what_it_waits_for,
};
use holdpoint_core::{HeldCall, HoldState, Ticket, TicketId};
use serde_json::{Value, json, value::RawValue};
use std::borrow::Cow;

/// What is asked about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `tasks/get`
    Get,
    /// `tasks/update`
    Update,
    /// `tasks/cancel`
    Cancel,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Get, Self::Update, Self::Cancel];

    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Get => "tasks/get",
            Self::Update => "tasks/update",
            Self::Cancel => "tasks/cancel",
        }
    }
}

/// A request about a task of ours.
#[derive(Debug)]
pub(crate) struct TaskRequest<'a> {
    pub(crate) verb: Verb,
    pub(crate) id_raw: &'a str,
    pub(crate) task: Cow<'a, str>,
    pub(super) params: &'a RawValue,
}

impl<'a> TaskRequest<'a> {
    /// `None`: it is something else, or about a task of the server.
    pub(crate) fn read(message: &Single<'a>) -> Option<Self> {
        let Single::Other { method, id: Some(id_raw), params: Some(params) } = message else {
            return None;
        };
        let verb = Verb::ALL.into_iter().find(|verb| verb.method() == &**method)?;
        let object = Object::read(params.get()).ok()?;
        let task = object.get("taskId").and_then(text_of).filter(|task| task.starts_with(PREFIX))?;
        Some(Self { verb, id_raw, task, params })
    }

    pub(super) fn ticket(&self) -> TicketId {
        TicketId::new(&*self.task)
    }

    /// The raw `params` for the server, with its own id of the task.
    pub(super) fn params_for(&self, task: &str) -> Option<String> {
        with_value(self.params.get(), "taskId", &Value::from(task).to_string())
    }
}

/// The JSON object `text` with another value for its member `key`.
pub(super) fn with_value(text: &str, key: &str, value: &str) -> Option<String> {
    replaced(text, Object::read_leniently(text).ok()?.get(key)?.get(), value)
}

/// The JSON object `text` with these members, in the place of its own of those names.
pub(super) fn with_members(text: &str, members: &[(&str, &str)]) -> Option<String> {
    let object = Object::read_leniently(text).ok()?;
    let own = object.into_members().filter(|(key, _)| members.iter().all(|(name, _)| key != name));
    let own = own.map(|(key, value)| format!("{}:{}", Value::from(&*key), value.get()));
    let new = members.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name)));
    Some(format!("{{{}}}", own.chain(new).collect::<Vec<_>>().join(",")))
}

/// Where a task stands, as the protocol has it.
#[derive(Debug)]
pub(super) enum Status<'a> {
    Working(&'a str),
    /// The raw `inputRequests`.
    InputRequired(&'a str),
    /// The raw result.
    Completed(&'a str),
    /// The raw error.
    Failed(&'a str),
    Cancelled,
}

/// `CreateTaskResult`, as a `result` member.
pub(super) fn created(ticket: &Ticket, message: &str) -> Vec<u8> {
    let members = task(ticket, "working", Some(message));
    format!(r#""result":{{"resultType":"task",{members}}}"#).into_bytes()
}

/// `GetTaskResult`, as a `result` member.
pub(super) fn told(ticket: &Ticket, status: &Status<'_>) -> Vec<u8> {
    let (word, message, payload) = match status {
        Status::Working(message) => ("working", Some(*message), String::new()),
        Status::InputRequired(requests) => {
            ("input_required", Some("The tool asks for input."), format!(r#","inputRequests":{requests}"#))
        }
        Status::Completed(result) => ("completed", None, format!(r#","result":{result}"#)),
        Status::Failed(error) => ("failed", None, format!(r#","error":{error}"#)),
        Status::Cancelled => ("cancelled", Some("This call was cancelled. It did not run."), String::new()),
    };
    let members = task(ticket, word, message);
    format!(r#""result":{{"resultType":"complete",{members}{payload}}}"#).into_bytes()
}

/// The empty answer to `tasks/update` and `tasks/cancel`.
pub(super) fn acknowledged() -> Vec<u8> {
    br#""result":{"resultType":"complete"}"#.to_vec()
}

fn task(ticket: &Ticket, status: &str, message: Option<&str>) -> String {
    let lives = ticket.expires_at.duration_since(ticket.opened_at).as_millis();
    let mut task = json!({
        "taskId": ticket.id.as_str(),
        "status": status,
        "createdAt": ticket.opened_at.to_string(),
        "lastUpdatedAt": ticket.changed_at.to_string(),
        "ttlMs": u64::try_from(lives).unwrap_or_default(),
        "pollIntervalMs": u64::try_from(POLL_INTERVAL.as_millis()).unwrap_or_default(),
    });
    if let (Some(message), Some(members)) = (message, task.as_object_mut()) {
        members.insert("statusMessage".into(), message.into());
    }
    let task = task.to_string();
    task.trim_start_matches('{').trim_end_matches('}').to_owned()
}

/// What a task waits for, in words.
pub(super) fn waiting_for(held: &HeldCall) -> String {
    match held.state {
        HoldState::Pending => what_it_waits_for(&held.hold),
        HoldState::Approved
        | HoldState::Dispatched
        | HoldState::Done
        | HoldState::Unknown
        | HoldState::Rejected
        | HoldState::Expired
        | HoldState::Cancelled
        | HoldState::ChangesRequested
        | HoldState::Void => "Decided; the answer is on its way.".to_owned(),
    }
}
