//! The agent API, as recipes for Gate speak it: the same requests and answers, with a wait in between, and the approval's own
//! token redeemed here. A recipe that points at the bridge instead of Gate changes nothing else.

use crate::{
    answer::Answer,
    ask::{Named, Told, thread_of},
    asked::{Asked, Encoding, Fields, missing},
    content::{Mode, Question},
    http::{Asking, wrong_method},
    inner::{ATTEMPTS_MAX, Inner, Row, unrecordable},
    key::{OperationKey, QuestionName, fingerprint},
    problem::Problem,
    reply::{self, Reply},
};
use bytes::Bytes;
use holdpoint_api::TaskId as ApiTaskId;
use holdpoint_core::{Moved, OperationOf, OperationState, TaskId, ThreadId};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// When to poll again what waits for a person: at once, since a poll waits here.
const POLL_AFTER_SECONDS: u32 = 1;
/// For a proposal to be put into its review.
const REVISED_WITHIN: Duration = Duration::from_secs(45);
/// Who has taken a yes by its token.
const BY_TOKEN: &str = "approval_token";
const REVISION: &str = "revision.";

/// A resource of the agent API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AgentResource<'p> {
    Requests(&'p str),
    Events(&'p str),
    Decisions,
    Validate,
}

impl<'p> AgentResource<'p> {
    pub(crate) fn of(path: &'p str) -> Option<Self> {
        let mut segments = path.strip_prefix("/api/agent/")?.split('/');
        let found = match (segments.next()?, segments.next(), segments.next()) {
            ("decisions", None, _) => Self::Decisions,
            ("approvals", Some("validate"), None) => Self::Validate,
            ("tasks", Some(task), Some("requests")) => Self::Requests(task),
            ("tasks", Some(task), Some("events")) => Self::Events(task),
            _ => return None,
        };
        segments.next().is_none().then_some(found)
    }

    pub(crate) const fn methods(&self) -> &'static str {
        match self {
            Self::Decisions => "GET",
            Self::Requests(_) | Self::Events(_) | Self::Validate => "POST",
        }
    }
}

pub(crate) async fn serve(
    asking: Asking<'_>,
    resource: AgentResource<'_>,
    body: Result<Bytes, Problem>,
) -> Reply {
    let expected = match resource {
        AgentResource::Decisions => Method::GET,
        AgentResource::Requests(_) | AgentResource::Events(_) | AgentResource::Validate => Method::POST,
    };
    if asking.parts.method != expected {
        return wrong_method(resource.methods());
    }
    let body = match body {
        Ok(body) => body,
        Err(problem) => return plain(&problem),
    };
    let replied = match resource {
        AgentResource::Requests(task) => Box::pin(request(asking, task, body)).await,
        AgentResource::Events(task) => Box::pin(event(&asking, task, body)).await,
        AgentResource::Decisions => Box::pin(decision(asking)).await,
        AgentResource::Validate => return Box::pin(validate(&asking, &body)).await,
    };
    replied.unwrap_or_else(|problem| plain(&problem))
}

/// Errors are plain text here.
fn plain(problem: &Problem) -> Reply {
    let said = format!("{}\n", problem.detail);
    let mut reply = reply::document(problem.status, "text/plain; charset=utf-8", said);
    reply::send_again(&mut reply);
    reply
}

fn said(answer: Map<String, Value>) -> Reply {
    reply::document(StatusCode::OK, "application/json", Value::Object(answer).to_string())
}

fn task_of(segment: &str) -> Result<TaskId, Problem> {
    let wrong = || Problem::bad_request("the task id in the path cannot be used".to_owned());
    let text = percent_decoded(segment).ok_or_else(wrong)?;
    let task = ApiTaskId::parse(text).map_err(|_| wrong())?;
    Ok(TaskId::new(task.as_str()))
}

fn percent_decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.extend(hex::decode(digits).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// `POST …/requests`.
async fn request(asking: Asking<'_>, task: &str, body: Bytes) -> Result<Reply, Problem> {
    let task = task_of(task)?;
    let until = asking.until(Some(asking.inner.parts.options.wait))?;
    let mut fields = Fields(Encoding::Json.object(&body)?);
    for required in ["workflow_name", "task_label", "tool_name", "subject"] {
        let text = fields.0.get(required).and_then(Value::as_str).unwrap_or_default();
        if text.is_empty() {
            return Err(missing(required));
        }
    }
    let asked = Asked::read_known(&mut fields)?;
    let key = asking.key()?;
    let is_named = key.is_some();
    let named = named(&asking, &asked, task, key).await?;
    let task = named.task.clone();
    drop((asked, body));
    let inner = asking.read();
    let told = Box::pin(inner.decide(Box::new(named), until)).await?;
    let mut said_of = Map::from_iter([("task_id".to_owned(), json!(task.as_str()))]);
    match told {
        Told::AtOnce(answer) => initial(&mut said_of, &answer, None),
        Told::Answered(row, answer) => {
            let thread = thread_of(&row).cloned();
            let answer = if answer.is_allow() {
                Box::pin(inner.answer_with_yes(*row, answer, is_named)).await?
            } else {
                answer
            };
            initial(&mut said_of, &answer, thread.as_ref().map(ThreadId::as_str));
        }
        Told::Pending(row) => waits(&mut said_of, thread_of(&row), row.content.review_url.as_deref()),
        Told::Trouble(rejection) => {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, rejection.to_string()));
        }
    }
    Ok(said(said_of))
}

/// A question of a recipe. Without a key, the same question of the same job joins while it is open, and is asked anew once it was
/// answered: the answer may have been acted upon.
async fn named(
    asking: &Asking<'_>,
    asked: &Asked,
    task: TaskId,
    key: Option<String>,
) -> Result<Named, Problem> {
    if let Some(call) = key {
        let name = QuestionName::Call { task: task.to_string(), call };
        return Ok(named_as(asking, asked, task, &name));
    }
    let inner = asking.inner;
    let named = |times| unnamed(asking, asked, task.clone(), None, times);
    for _ in 0..ATTEMPTS_MAX {
        let first = named(0);
        let Some(row) = inner.read(&first.id).await? else {
            return Ok(first);
        };
        let named = named(row.content.asked_anew);
        let latest = if named.id == first.id { Some(row.clone()) } else { inner.read(&named.id).await? };
        let Some(latest) = latest.filter(|latest| latest.state() == OperationState::Answered) else {
            return Ok(named);
        };
        let (Moved::Yes | Moved::No) =
            inner.asks_anew(row, latest).await.map_err(|error| unrecordable(&error))?;
    }
    Err(Problem::unrecordable())
}

/// The same question of the same job has the same number, each of the times that it is asked.
fn unnamed(asking: &Asking<'_>, asked: &Asked, task: TaskId, revision: Option<&str>, times: u32) -> Named {
    let text = serde_json::to_string(&Question::new(asked)).unwrap_or_default();
    let digest = fingerprint(&format!("{}\n{text}", revision.unwrap_or_default()));
    let name = QuestionName::Same { task: task.to_string(), digest, times };
    named_as(asking, asked, task, &name)
}

fn named_as(asking: &Asking<'_>, asked: &Asked, task: TaskId, name: &QuestionName) -> Named {
    let principal = asking.caller.principal.clone();
    let id = asking.inner.key.operation(&principal, name);
    Named { id, principal, task, question: Question::new(asked), callback: None, told: false }
}

fn initial(said: &mut Map<String, Value>, answer: &Answer, thread: Option<&str>) {
    if answer.status == "changes_requested" {
        said.insert("status".into(), json!("pending_review"));
        said.insert("recommended_poll_after_seconds".into(), json!(POLL_AFTER_SECONDS));
    } else {
        said.insert("status".into(), json!(if answer.is_allow() { "allow" } else { "reject" }));
    }
    if let Some(thread) = thread.or(answer.thread.as_deref()) {
        said.insert("thread_id".into(), json!(thread));
    }
    said.insert("message".into(), json!(answer.message.as_deref().unwrap_or(&answer.detail)));
}

fn waits(said: &mut Map<String, Value>, thread: Option<&ThreadId>, review_url: Option<&str>) {
    said.insert("status".into(), json!("pending_review"));
    if let Some(thread) = thread {
        said.insert("thread_id".into(), json!(thread.as_str()));
    }
    if let Some(url) = review_url {
        said.insert("review_url".into(), json!(url));
    }
    said.insert("message".into(), json!("A person has to decide about this."));
    said.insert("recommended_poll_after_seconds".into(), json!(POLL_AFTER_SECONDS));
}

/// `GET …/decisions`: waits, and hands a yes out with a one-time token of the bridge's own.
async fn decision(asking: Asking<'_>) -> Result<Reply, Problem> {
    let until = asking.until(Some(asking.inner.parts.options.wait))?;
    let query = asking.query()?;
    let (thread, task) = (query.get("thread_id"), query.get("task_id"));
    let (thread, task) = (thread.map(|id| ThreadId::new(&**id)), task.map(|id| TaskId::new(&**id)));
    let of = match (&thread, &task) {
        (Some(thread), _) => OperationOf::Thread(thread),
        (None, Some(task)) => OperationOf::Task(task),
        (None, None) => return Err(Problem::bad_request("`thread_id` or `task_id` is missing".to_owned())),
    };
    let found = asking.inner.parts.journal.latest_operation(&asking.caller.principal, of).await;
    let row = found.and_then(|found| found.map_or(Ok(None), |operation| asking.inner.row(operation)));
    let row = row.map_err(|error| unrecordable(&error))?;
    let row = Box::new(row.ok_or_else(Problem::not_found)?);
    let inner = asking.read();
    let mut said_of = Map::from_iter([("task_id".to_owned(), json!(row.operation.task.as_str()))]);
    // A yes that was taken by its token stays a yes, without a token.
    if row.content.claimed_by.is_some() && row.answer().is_some_and(Answer::is_allow) {
        said_of.insert("status".into(), json!("approved"));
        said_of.insert("thread_id".into(), json!(thread_of(&row).map(ThreadId::as_str)));
        said_of.insert("message".into(), json!("This was approved, and its token has been used."));
        return Ok(said(said_of));
    }
    let (thread, review_url) = (thread_of(&row).cloned(), row.content.review_url.clone());
    match Box::pin(inner.wait(row, until, None)).await? {
        Told::Answered(row, answer) => last(&inner.key, &mut said_of, &row, &answer),
        Told::Pending(row) => waits(&mut said_of, thread_of(&row), row.content.review_url.as_deref()),
        Told::AtOnce(answer) => initial(&mut said_of, &answer, None),
        Told::Trouble(_) => waits(&mut said_of, thread.as_ref(), review_url.as_deref()),
    }
    Ok(said(said_of))
}

fn last(key: &OperationKey, said: &mut Map<String, Value>, row: &Row, answer: &Answer) {
    let status = match (answer.is_allow(), &*answer.status) {
        (true, _) => "approved",
        (false, "changes_requested") => "pending_review",
        (false, _) => "rejected",
    };
    said.insert("status".into(), json!(status));
    if let Some(thread) = thread_of(row).map(ThreadId::as_str) {
        said.insert("thread_id".into(), json!(thread));
    }
    said.insert("message".into(), json!(answer.message.as_deref().unwrap_or(&answer.detail)));
    if answer.is_allow() {
        said.insert("approval_token".into(), json!(key.token(row.id(), row.operation.opened_at)));
        said.insert("token_expires_at".into(), json!(row.operation.now.expires_at.to_string()));
    }
    if status == "pending_review" {
        said.insert("recommended_poll_after_seconds".into(), json!(POLL_AFTER_SECONDS));
    }
}

/// `POST …/approvals/validate`: of any number with the same token, one is told yes.
async fn validate(asking: &Asking<'_>, body: &[u8]) -> Reply {
    let refused = |reason: &str| {
        let body = json!({ "valid": false, "reason": reason }).to_string();
        reply::document(StatusCode::BAD_REQUEST, "application/json", body)
    };
    match Box::pin(redeem(asking, body)).await {
        Ok(Redeemed::Yes) => {
            reply::document(StatusCode::OK, "application/json", json!({ "valid": true }).to_string())
        }
        Ok(Redeemed::Used) => refused("used"),
        Ok(Redeemed::Invalid) => refused("invalid"),
        Err(problem) if problem.status.is_client_error() => refused("invalid"),
        Err(problem) => plain(&problem),
    }
}

enum Redeemed {
    Yes,
    Used,
    Invalid,
}

async fn redeem(asking: &Asking<'_>, body: &[u8]) -> Result<Redeemed, Problem> {
    let mut fields = Fields(Encoding::Json.object(body)?);
    let task = fields.text("task_id")?.ok_or_else(|| missing("task_id"))?;
    let token = fields.text("signature")?.ok_or_else(|| missing("signature"))?;
    let Some(id) = OperationKey::operation_of(&token) else {
        return Ok(Redeemed::Invalid);
    };
    for _ in 0..ATTEMPTS_MAX {
        let mut row = asking.inner.own(&asking.caller.principal, &id).await?;
        let is_its = row.operation.task.as_str() == task
            && asking.inner.key.is_token(&token, row.id(), row.operation.opened_at);
        let is_allowed = row.answer().is_some_and(Answer::is_allow);
        if !is_its || !is_allowed || row.content.question.mode() != Mode::Check {
            return Ok(Redeemed::Invalid);
        }
        if row.content.claimed_by.is_some() {
            return Ok(Redeemed::Used);
        }
        row.content.claimed_by = Some(BY_TOKEN.to_owned());
        let written = asking.inner.write(&row, Inner::becomes(&row)).await;
        match written.map_err(|error| unrecordable(&error))? {
            Moved::Yes => return Ok(Redeemed::Yes),
            Moved::No => {}
        }
    }
    Err(Problem::unrecordable())
}

/// `POST …/events`: Gate's, as they are, but for a proposal that a reviewer asked for.
async fn event(asking: &Asking<'_>, task: &str, body: Bytes) -> Result<Reply, Problem> {
    let task = task_of(task)?;
    let mut fields = Fields(Encoding::Json.object(&body)?);
    let mut others = fields.0.keys().filter(|name| *name != "event_type");
    if others.any(|name| name.eq_ignore_ascii_case("event_type")) {
        // Gate may read another one of them than is read here.
        return Err(Problem::bad_request("there is more than one `event_type`".to_owned()));
    }
    let kind = fields.text("event_type")?.ok_or_else(|| missing("event_type"))?;
    let thread =
        kind.strip_prefix(REVISION).and_then(|rest| rest.strip_prefix(task.as_str())?.strip_prefix('.'));
    if let Some(thread) = thread {
        revise(asking, &task, &ThreadId::new(thread), fields).await?;
    } else if kind.trim().to_ascii_lowercase().starts_with(REVISION) {
        let detail = "a proposal is `revision.TASK.THREAD`, with the task of the path";
        return Err(Problem::bad_request(detail.to_owned()));
    } else if let Some(agent) = &asking.inner.parts.agent {
        agent.events.post(&task, body).await.map_err(|refused| {
            let status = refused.status.and_then(|status| StatusCode::from_u16(status).ok());
            Problem::new(status.unwrap_or(StatusCode::BAD_GATEWAY), "gate did not take the event")
        })?;
    }
    Ok(reply::document(StatusCode::CREATED, "text/plain", ""))
}

/// Another proposal in the review of the one before.
async fn revise(
    asking: &Asking<'_>,
    task: &TaskId,
    thread: &ThreadId,
    mut fields: Fields,
) -> Result<(), Problem> {
    let book = &asking.inner.parts.journal;
    let found = book.latest_operation(&asking.caller.principal, OperationOf::Thread(thread)).await;
    let row = found.and_then(|found| found.map_or(Ok(None), |operation| asking.inner.row(operation)));
    let row = row.map_err(|error| unrecordable(&error))?;
    let row = row.filter(|row| row.operation.task == *task).ok_or_else(Problem::not_found)?;
    let asks_for_changes = row.answer().is_some_and(|answer| answer.status == "changes_requested");
    let mut payload = Fields(fields.object("payload")?.ok_or_else(|| missing("payload"))?);
    let mut revision = Fields(payload.object("revision")?.ok_or_else(|| missing("payload.revision"))?);
    let id = revision.text("revision_id")?.ok_or_else(|| missing("payload.revision.revision_id"))?;
    if let Some(arguments) = revision.0.shift_remove("request_payload") {
        revision.0.insert("payload".to_owned(), arguments);
    }
    let tool = Value::from(row.content.question.tool());
    revision.0.entry("tool_name").or_insert(tool);
    let asked = Asked::read_known(&mut revision)?;
    let named = Named { told: true, ..unnamed(asking, &asked, task.clone(), Some(&id), 0) };
    let operation = named.id.clone();
    let is_known = asking.inner.read(&operation).await?.is_some();
    if is_known {
        return Ok(());
    }
    if !asks_for_changes {
        let detail = "the reviewer has not asked for changes, or has decided; the review is as it was";
        return Err(Problem::bad_request(detail.to_owned()));
    }
    let _pending = Box::pin(asking.inner.decide(Box::new(named), asking.inner.now())).await?;
    let waiter = asking.inner.drive(&asking.caller.principal, &operation, true).attend();
    tokio::select! {
        () = waiter.asked() => {}
        () = asking.inner.parts.clock.sleep(REVISED_WITHIN) => {}
    }
    match asking.inner.read(&operation).await? {
        Some(row) if row.operation.now.thread.is_some() || row.state() == OperationState::Answered => Ok(()),
        Some(_) | None => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "gate has not taken the proposal yet; it goes on being tried",
        )),
    }
}
