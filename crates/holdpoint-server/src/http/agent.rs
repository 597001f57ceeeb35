//! The agent API, word for word as the vendor's reference and the contract have it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use holdpoint_api::headers::{GATE_DECISION_FEED, GATE_LONG_POLL, IDEMPOTENCY_KEY};
use holdpoint_api::{DecisionChanges, Limits, RefusedReason, TaskId, ValidateAnswer, paths};
use holdpoint_store::ThreadId;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::caller::Caller;
use crate::gate::{Asked, GateServer, Refusal, Wanted};

type Gate = State<Arc<GateServer>>;

pub(super) fn routes() -> Router<Arc<GateServer>> {
    Router::new()
        .route(paths::EVENTS, post(events))
        .route(paths::REQUESTS, post(requests))
        .route(paths::DECISIONS, get(decisions))
        .route(paths::DECISION_CHANGES, get(changes))
        .route(paths::VALIDATE, post(validate))
        .route_layer(middleware::from_fn(announce))
}

/// Says with every answer what this Gate can beyond the vendor's reference.
async fn announce(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let seconds = HeaderValue::from(Limits::LONG_POLL_SECONDS);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(GATE_LONG_POLL), seconds);
    let version = HeaderValue::from(DecisionChanges::VERSION);
    headers.insert(HeaderName::from_static(GATE_DECISION_FEED), version);
    response
}

async fn events(
    State(gate): Gate,
    caller: Caller,
    task: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refusal> {
    let (task, body) = (read_task(task)?, read_body(body)?);
    gate.take_event(&caller.agent, task, &body).await?;
    Ok(StatusCode::CREATED)
}

async fn requests(
    State(gate): Gate,
    caller: Caller,
    task: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let (task, body) = (read_task(task)?, read_body(body)?);
    let key = read_idempotency_key(&headers)?;
    Ok(match gate.ask(&caller.agent, task, &body, key).await? {
        Asked::Answer(answer) => Json(answer).into_response(),
        Asked::Again(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
    })
}

#[derive(Deserialize)]
struct DecisionQuery {
    thread_id: Option<String>,
    task_id: Option<String>,
    wait: Option<String>,
}

async fn decisions(
    State(gate): Gate,
    caller: Caller,
    query: Result<Query<DecisionQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::BadRequest(error.body_text().into()))?;
    let wait = read_wait(query.wait.as_deref())?;
    let wanted = match (query.thread_id, query.task_id) {
        (Some(thread), _) => Wanted::Thread(ThreadId::new(thread)),
        (None, Some(task)) => Wanted::Task(parse_task(task)?),
        (None, None) => return Err(Refusal::BadRequest("`thread_id` or `task_id` is needed".into())),
    };
    let thread = gate.await_thread(caller.agent.id, &wanted, wait).await?;
    let caller = if wait.is_zero() { caller } else { caller.again(&gate).await? };
    Ok(Json(gate.answer(&caller.agent, thread).await?).into_response())
}

#[derive(Deserialize)]
struct ChangesQuery {
    after: Option<String>,
    wait: Option<String>,
}

async fn changes(
    State(gate): Gate,
    caller: Caller,
    query: Result<Query<ChangesQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::BadRequest(error.body_text().into()))?;
    let wait = read_wait(query.wait.as_deref())?;
    let changes = gate.await_changes(&caller.agent, query.after.as_deref(), wait).await?;
    if !wait.is_zero() {
        // An agent that was paused meanwhile is told nothing more.
        caller.again(&gate).await?;
    }
    Ok(Json(changes).into_response())
}

async fn validate(
    State(gate): Gate,
    caller: Result<Caller, Refusal>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match validate_inner(&gate, caller, body).await {
        Ok(answer @ ValidateAnswer::Valid) => Json(answer).into_response(),
        Ok(answer @ ValidateAnswer::Refused(_)) => (StatusCode::BAD_REQUEST, Json(answer)).into_response(),
        Err(refusal) => refuse_validation(refusal),
    }
}

async fn validate_inner(
    gate: &GateServer,
    caller: Result<Caller, Refusal>,
    body: Result<Bytes, BytesRejection>,
) -> Result<ValidateAnswer, Refusal> {
    let caller = caller?;
    gate.validate(caller.agent.id, &read_body(body)?).await
}

/// Errors of this one endpoint are JSON.
fn refuse_validation(refusal: Refusal) -> Response {
    let reason = match &refusal {
        Refusal::BadRequest(_) | Refusal::NotFound(_) | Refusal::TooLarge(_) => RefusedReason::Invalid,
        Refusal::Unauthorized => RefusedReason::Unknown("unauthorized".to_owned()),
        Refusal::Forbidden(_) => RefusedReason::Unknown("forbidden".to_owned()),
        Refusal::TooMany { .. } | Refusal::Busy | Refusal::Internal => {
            RefusedReason::Unknown("unavailable".to_owned())
        }
    };
    let plain = refusal.into_response();
    let (mut parts, _) = plain.into_parts();
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    (parts, Json(ValidateAnswer::Refused(reason))).into_response()
}

fn read_task(task: Result<Path<String>, PathRejection>) -> Result<TaskId, Refusal> {
    let Path(task) = task.map_err(|_| Refusal::BadRequest("the task id in the path is not UTF-8".into()))?;
    parse_task(task)
}

fn parse_task(task: String) -> Result<TaskId, Refusal> {
    TaskId::parse(task).map_err(|error| Refusal::BadRequest(error.to_string().into()))
}

fn read_body(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    body.map_err(|error| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Refusal::TooLarge("the body is larger than this Gate takes".to_owned())
        } else {
            Refusal::BadRequest("the body could not be read to its end".into())
        }
    })
}

fn read_idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    const WRONG: &str = "`Idempotency-Key` is one header of 1 to 255 visible ASCII characters";
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.as_bytes();
    let usable =
        (1..=Limits::IDEMPOTENCY_KEY_BYTES).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    match (values.next(), value.to_str()) {
        (None, Ok(key)) if usable => Ok(Some(key.to_owned())),
        (Some(_), _) | (None, Ok(_) | Err(_)) => Err(Refusal::BadRequest(WRONG.into())),
    }
}

fn read_wait(wait: Option<&str>) -> Result<Duration, Refusal> {
    let Some(text) = wait else { return Ok(Duration::ZERO) };
    let seconds: u64 =
        text.parse().map_err(|_| Refusal::BadRequest("`wait` is a whole number of seconds".into()))?;
    Ok(Duration::from_secs(seconds.min(Limits::LONG_POLL_SECONDS)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::read_wait;

    #[test]
    fn waits_are_whole_seconds_and_end_after_a_minute() {
        for (text, seconds) in
            [(None, 0), (Some("0"), 0), (Some("7"), 7), (Some("60"), 60), (Some("9999"), 60)]
        {
            assert_eq!(read_wait(text), Ok(Duration::from_secs(seconds)), "{text:?}");
        }
        for wrong in ["", "-1", "1.5", "1m", "99999999999999999999999"] {
            assert!(read_wait(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
