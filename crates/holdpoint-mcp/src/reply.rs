//! The messages that we write ourselves, as raw JSON without a line end. Ids are echoed with their own bytes.

use crate::{
    message::{CallFrame, Object, Refused},
    outcome,
};
use holdpoint_core::{EffectKey, Rejection, StoredResult, Withdrawal};
use serde_json::json;
use std::borrow::Cow;

const DECISION_KEY: &str = "dev.holdpoint/decision";

/// A call that ended here without being put before anybody, or without an answer to pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The arguments do not fit the tool's `inputSchema`.
    InvalidArguments(String),
    /// The tool is not the one that was accepted.
    DefinitionChanged { tool: String },
    /// The tool's definition cannot be worked with.
    DefinitionUnusable(String),
    /// The definition could not be compared with the accepted one, or the like.
    Unavailable(String),
    /// Too many calls at once.
    Busy,
    /// Approved, but the tool server was not reached: nothing was sent.
    NotSent,
    /// Withdrawn before it was sent.
    Cancelled,
    /// The client's user did not want to see where to approve it.
    LinkDeclined(Withdrawal),
    /// It ran, but the answer is larger than we carry.
    AnswerTooLarge,
    /// It ran, and asks for input again and again.
    AskedTooOften,
    /// What the server asked for has been passed on to it before.
    GoneOnWith,
}

impl Ended {
    const fn status(&self) -> &'static str {
        match self {
            Self::InvalidArguments(_) => "invalid_arguments",
            Self::DefinitionChanged { .. } | Self::DefinitionUnusable(_) => "mismatch",
            Self::Unavailable(_) | Self::NotSent => "unavailable",
            Self::Busy => "busy",
            Self::Cancelled | Self::LinkDeclined(_) => "cancelled",
            Self::AnswerTooLarge | Self::AskedTooOften | Self::GoneOnWith => "outcome_unknown",
        }
    }

    const fn retry(&self) -> &'static str {
        match self {
            Self::InvalidArguments(_) => "other_call",
            Self::DefinitionChanged { .. }
            | Self::DefinitionUnusable(_)
            | Self::AnswerTooLarge
            | Self::AskedTooOften
            | Self::GoneOnWith => "no",
            Self::Unavailable(_)
            | Self::NotSent
            | Self::Cancelled
            | Self::LinkDeclined(Withdrawal::Withdrawn) => "ask_again",
            Self::Busy | Self::LinkDeclined(Withdrawal::StaysOpen) => "same_call",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::InvalidArguments(problems) => {
                format!(
                    "The arguments do not fit the tool's input schema: {problems}. The call did not run. Correct the arguments."
                )
            }
            Self::DefinitionChanged { tool } => format!(
                "The definition of the tool `{tool}` is not the one that was accepted here. The call did not run. A person \
                 has to look at the change with `holdpoint tools diff`, and accept it with `holdpoint tools accept`."
            ),
            Self::DefinitionUnusable(problem) => {
                format!(
                    "The tool's definition cannot be used: {problem}. The call did not run. Do not send it again."
                )
            }
            Self::Unavailable(problem) => {
                format!("{problem}. The call did not run. It may be sent again later.")
            }
            Self::Busy => {
                "Too many calls are under way. This one has not run. Send the same call again later.".into()
            }
            Self::NotSent => {
                "The tool server could not be reached. The call did not run. Sending it again asks for a \
                              fresh decision."
                    .into()
            }
            Self::Cancelled => "This call was cancelled. It did not run.".into(),
            Self::LinkDeclined(withdrawal) => {
                let review = match withdrawal {
                    Withdrawal::Withdrawn => "Its review was withdrawn: sending the call again asks anew.",
                    Withdrawal::StaysOpen => "Its review stays open: the same call sent again waits for it.",
                };
                format!(
                    "The user did not want to open the review of this call. The call did not run. {review}"
                )
            }
            Self::AnswerTooLarge => {
                "The tool ran, but its answer is larger than can be passed on. Do not send the \
                                     call again."
                    .into()
            }
            Self::AskedTooOften => {
                "The tool was sent the call, and has asked for input too often. It is not known how far it came. Do not send \
                 the call again."
                    .into()
            }
            Self::GoneOnWith => {
                "What the tool asked for was passed on to it before, or somebody is doing so now. It is not passed on twice. \
                 Do not send the call again."
                    .into()
            }
        }
    }
}

/// The answer to a call that ended here.
pub(crate) fn ended(frame: &CallFrame, ended: &Ended) -> Vec<u8> {
    answer(&frame.id_raw, &fragment_of(frame, ended))
}

/// The `result` member that tells `ended`, in the encoding that is kept in the journal.
pub(crate) fn fragment_of(frame: &CallFrame, ended: &Ended) -> Vec<u8> {
    let decision = json!({ "status": ended.status(), "thread_id": null, "message": null, "url": null, "retry": ended.retry() });
    tool_error(&ended.text(), &decision, frame.modern)
}

/// The answer to a call that the kernel refused.
pub(crate) fn rejected(frame: &CallFrame, rejection: &Rejection) -> Vec<u8> {
    answer(&frame.id_raw, &rejected_fragment(frame, rejection))
}

/// The same as a `result` member.
pub(crate) fn rejected_fragment(frame: &CallFrame, rejection: &Rejection) -> Vec<u8> {
    let mut decision = json!({
        "status": rejection.status(),
        "thread_id": rejection.thread().map(holdpoint_core::ThreadId::as_str),
        "message": rejection.message(),
        "url": rejection.review_url(),
        "retry": rejection.retry().as_str(),
    });
    if let (Some(effect), Some(members)) = (effect_of(rejection), decision.as_object_mut()) {
        members.insert("effect".into(), effect.as_str().into());
    }
    if let (Some(reason), Some(members)) = (rejection.reason(), decision.as_object_mut()) {
        members.insert("reason".into(), reason.into());
    }
    tool_error(&rejection.to_string(), &decision, frame.modern)
}

/// The answer to a call that nobody keeps a record of, and whose answer is lost.
pub(crate) fn lost(frame: &CallFrame) -> Vec<u8> {
    answer(&frame.id_raw, &lost_fragment(frame))
}

/// The same as a `result` member.
pub(crate) fn lost_fragment(frame: &CallFrame) -> Vec<u8> {
    rejected_fragment(frame, &Rejection::OutcomeUnknown { thread: None, effect: None })
}

/// What the call would have done in the world, where that is why it did not run.
const fn effect_of(rejection: &Rejection) -> Option<&EffectKey> {
    match rejection {
        Rejection::AlreadyDone { effect, .. } | Rejection::OutcomeUnknown { effect, .. } => effect.as_ref(),
        Rejection::DeniedByConfig { .. }
        | Rejection::Rejected { .. }
        | Rejection::Expired { .. }
        | Rejection::Pending { .. }
        | Rejection::ChangesRequested { .. }
        | Rejection::Unavailable { .. }
        | Rejection::TokenInvalid { .. }
        | Rejection::Mismatch { .. }
        | Rejection::Cancelled { .. }
        | Rejection::Busy { .. } => None,
    }
}

/// The answer to a call that ran before.
pub(crate) fn replayed(frame: &CallFrame, kept: &StoredResult) -> Vec<u8> {
    answer(&frame.id_raw, &replayed_fragment(frame, kept))
}

/// The same as a `result` or `error` member.
pub(crate) fn replayed_fragment<'a>(frame: &CallFrame, kept: &'a StoredResult) -> Cow<'a, [u8]> {
    in_era(kept.as_bytes(), frame.modern)
}

/// The call that ran and the one that collects its result may be of different eras: the stateless one wants to be told
/// of every result what kind it is. The other one does not mind.
fn in_era(fragment: &[u8], modern: bool) -> Cow<'_, [u8]> {
    let members = fragment.strip_prefix(br#""result":"#).and_then(|result| result.strip_prefix(b"{"));
    let (true, Some(members)) = (modern, members) else {
        return Cow::Borrowed(fragment);
    };
    let result = [b"{", members].concat();
    let result = std::str::from_utf8(&result).ok().and_then(|text| Object::read_leniently(text).ok());
    if result.is_none_or(|result| result.get("resultType").is_some()) {
        return Cow::Borrowed(fragment);
    }
    let separator: &[u8] = if members.trim_ascii_start().starts_with(b"}") { b"" } else { b"," };
    Cow::Owned([br#""result":{"resultType":"complete""#, separator, members].concat())
}

/// An answer whose `result` or `error` member is `fragment`.
pub(crate) fn answer(id_raw: &str, fragment: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(fragment.len().saturating_add(id_raw.len()).saturating_add(32));
    message.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    message.extend_from_slice(id_raw.as_bytes());
    message.push(b',');
    message.extend_from_slice(fragment);
    message.push(b'}');
    message
}

/// A JSON-RPC error.
pub(crate) fn error(id_raw: Option<&str>, code: i32, problem: &str) -> Vec<u8> {
    let error = json!({ "code": code, "message": problem });
    answer(id_raw.unwrap_or("null"), format!(r#""error":{error}"#).as_bytes())
}

/// A JSON-RPC error for a message that was not forwarded.
pub(crate) fn refused(refused: &Refused<'_>) -> Vec<u8> {
    error(refused.id, refused.code, &refused.problem)
}

/// Refusals are results that the model reads, not protocol errors, which clients tend to hide from it.
fn tool_error(text: &str, decision: &serde_json::Value, modern: bool) -> Vec<u8> {
    let mut result = json!({
        "content": [{ "type": "text", "text": text }],
        "isError": true,
        "_meta": { DECISION_KEY: decision },
    });
    if modern && let Some(members) = result.as_object_mut() {
        members.insert("resultType".into(), "complete".into());
    }
    format!(r#""result":{result}"#).into_bytes()
}

/// The part of a tool's answer that is kept: its `result` or `error` member. `None`: it is no answer.
pub(crate) fn fragment_from(message: &str) -> Option<Vec<u8>> {
    outcome::fragment_of(&Object::read_leniently(message).ok()?)
}
