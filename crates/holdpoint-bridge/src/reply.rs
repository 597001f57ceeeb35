//! What callers read: the same word in the status, in a header and in the body, so that whoever looks at one of them cannot
//! be wrong.

use crate::{
    answer::{Answer, Happened, Word},
    content::Mode,
    inner::Row,
    options::DenyStatus,
    problem::Problem,
};
use bytes::Bytes;
use holdpoint_core::{OperationId, Rejection};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Map, Value, json};

pub(crate) type Reply = Response<Full<Bytes>>;

const DECISION: HeaderName = HeaderName::from_static("holdpoint-decision");
/// When to look again at what waits for a person.
const LOOK_AGAIN_SECONDS: u32 = 5;
/// When to send again what could not be asked.
const SEND_AGAIN_SECONDS: u32 = 5;
/// When to send again what there was no place for: places come free as people decide.
const PLACE_AGAIN_SECONDS: u32 = 30;

/// Which question a reply is about.
pub(crate) struct About<'a> {
    pub(crate) id: &'a OperationId,
    pub(crate) mode: Mode<'a>,
    pub(crate) tool: &'a str,
    pub(crate) task: &'a str,
}

impl<'a> About<'a> {
    pub(crate) fn row(row: &'a Row) -> Self {
        let question = &row.content.question;
        Self { id: row.id(), mode: question.mode(), tool: question.tool(), task: row.operation.task.as_str() }
    }

    fn members(&self, word: Word, status: &str) -> Map<String, Value> {
        let mode = match self.mode {
            Mode::Check => "check",
            Mode::Execute(_) => "execute",
        };
        let mut members = Map::new();
        members.insert("decision".into(), json!(word.as_str()));
        members.insert("status".into(), json!(status));
        members.insert("id".into(), json!(self.id.as_str()));
        members.insert("mode".into(), json!(mode));
        if let Mode::Execute(target) = self.mode {
            members.insert("target".into(), json!(target));
        }
        members.insert("tool_name".into(), json!(self.tool));
        members.insert("task_id".into(), json!(self.task));
        members
    }

    /// The last word, as JSON.
    pub(crate) fn decision(&self, answer: &Answer) -> Value {
        let mut members = self.members(answer.word, &answer.status);
        let texts = [
            ("thread_id", &answer.thread),
            ("reason", &answer.reason),
            ("message", &answer.message),
            ("retry", &answer.retry),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                members.insert(name.into(), json!(text));
            }
        }
        members.insert("detail".into(), json!(answer.detail));
        match answer.happened {
            Some(Happened::Yes) => {
                members.insert("ran".into(), json!(true));
            }
            Some(Happened::No) => {
                members.insert("ran".into(), json!(false));
            }
            // Neither would be true.
            Some(Happened::Unknown) | None => {}
        }
        if let Some(result) = &answer.result {
            members.insert("result".into(), result.clone());
        }
        Value::Object(members)
    }

    /// The last word, as a response.
    pub(crate) fn answered(&self, answer: &Answer, deny_status: DenyStatus) -> Reply {
        let status = match (answer.word, deny_status) {
            (Word::Allow, _) | (Word::Deny | Word::Pending, DenyStatus::Ok) => StatusCode::OK,
            (Word::Deny | Word::Pending, DenyStatus::Forbidden) => StatusCode::FORBIDDEN,
        };
        json_reply(status, answer.word, &self.decision(answer))
    }

    /// Nobody has asked Gate successfully, or there is no place to wait: nothing is decided, and nothing runs.
    pub(crate) fn trouble(&self, rejection: &Rejection) -> Reply {
        let decision = self.decision(&Answer::refused(rejection));
        let mut reply = json_reply(StatusCode::SERVICE_UNAVAILABLE, Word::Deny, &decision);
        reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(SEND_AGAIN_SECONDS));
        reply
    }
}

/// The last word on a row, as JSON; `None`: there is none yet.
pub(crate) fn decision_of(row: &Row) -> Option<Value> {
    Some(About::row(row).decision(row.answer()?))
}

/// There is no last word yet: where to look for it. `location` is where this one is.
pub(crate) fn pending(row: &Row, location: &str) -> Reply {
    let about = About::row(row);
    let is_running = row.state() == holdpoint_core::OperationState::Running;
    let (status, detail) = if is_running {
        ("running", "It was allowed, and is running. Look again for what comes of it.")
    } else {
        ("pending", "A person has to decide about this. It has not run. Look again for the answer.")
    };
    let mut members = about.members(Word::Pending, status);
    if let Some(thread) = &row.operation.now.thread {
        members.insert("thread_id".into(), json!(thread.as_str()));
    }
    if let Some(url) = &row.content.review_url {
        members.insert("review_url".into(), json!(url));
    }
    members.insert("detail".into(), json!(detail));
    members.insert("retry".into(), json!("same_call"));
    let mut reply = json_reply(StatusCode::ACCEPTED, Word::Pending, &Value::Object(members));
    let headers = reply.headers_mut();
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from(LOOK_AGAIN_SECONDS));
    reply
}

/// Too late to withdraw.
pub(crate) fn too_late(row: &Row, location: &str) -> Reply {
    let mut reply = match row.answer() {
        Some(answer) => About::row(row).answered(answer, DenyStatus::Ok),
        None => pending(row, location),
    };
    *reply.status_mut() = StatusCode::CONFLICT;
    reply
}

impl From<Problem> for Reply {
    fn from(Problem { status, detail }: Problem) -> Self {
        let title = status.canonical_reason().unwrap_or("error");
        let body = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "decision": "deny",
        });
        let mut reply = json_reply(status, Word::Deny, &body);
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        send_again(&mut reply);
        reply
    }
}

/// Says when to send again what may be taken then.
pub(crate) fn send_again(reply: &mut Reply) {
    let seconds = match reply.status() {
        StatusCode::SERVICE_UNAVAILABLE => SEND_AGAIN_SECONDS,
        StatusCode::TOO_MANY_REQUESTS => PLACE_AGAIN_SECONDS,
        _ => return,
    };
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
}

fn json_reply(status: StatusCode, word: Word, body: &Value) -> Reply {
    let mut reply = document(status, "application/json", body.to_string());
    let headers = reply.headers_mut();
    headers.insert(DECISION, HeaderValue::from_static(word.as_str()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Any text.
pub(crate) fn document(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(text.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
