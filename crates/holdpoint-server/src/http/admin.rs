//! The admin API: for the operator's own command line, on the same machine.

pub mod wire;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use holdpoint_api::declare::GateDeclaration;
use holdpoint_store::{DecideOutcome, RevisionId, ThreadId, VerdictKind};
use http::StatusCode;
use http::request::Parts;

use self::wire::{
    AppliedReport, ApplyBody, CreateAgentBody, CreatedAgent, DecideBody, Decided, LinkBody, OpenThread,
    Problem, SignInLinkReport, ThreadTimeline,
};
use super::caller::bearer;
use crate::gate::{ApplyError, DecideCommand, GateError, GateServer, OPERATOR};

type Gate = State<Arc<GateServer>>;

pub(super) fn routes() -> Router<Arc<GateServer>> {
    Router::new()
        .route("/api/admin/threads", get(open_threads))
        .route("/api/admin/threads/{thread_id}", get(thread))
        .route("/api/admin/threads/{thread_id}/approve", post(approve))
        .route("/api/admin/threads/{thread_id}/reject", post(reject))
        .route("/api/admin/agents", post(create_agent))
        .route("/api/admin/declaration", put(apply))
        .route("/api/admin/sign-in-links", post(sign_in_link))
}

/// Somebody who holds the admin token.
struct Operator;

impl FromRequestParts<Arc<GateServer>> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, gate: &Arc<GateServer>) -> Result<Self, Failure> {
        let token = gate.options.admin_token.as_ref();
        match (token, bearer(&parts.headers)) {
            (Some(token), Some(text)) if token.opens(text) => Ok(Self),
            (Some(_) | None, _) => Err(Failure::Unauthorized),
        }
    }
}

/// Why an operator's call was not done.
#[derive(Debug)]
enum Failure {
    Unauthorized,
    BadRequest(String),
    Mistakes(Vec<holdpoint_api::declare::Mistake>),
    NoThread,
    Decided(Box<Problem>),
    Gate(GateError),
}

impl From<GateError> for Failure {
    fn from(error: GateError) -> Self {
        Self::Gate(error)
    }
}

impl From<JsonRejection> for Failure {
    fn from(error: JsonRejection) -> Self {
        Self::BadRequest(error.body_text())
    }
}

impl From<PathRejection> for Failure {
    fn from(error: PathRejection) -> Self {
        Self::BadRequest(error.body_text())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, problem) = match self {
            Self::Unauthorized => {
                let hint = "send the admin token of this Gate's data folder";
                (StatusCode::UNAUTHORIZED, Problem::new("missing or wrong admin token").hint(hint))
            }
            Self::BadRequest(words) => (StatusCode::BAD_REQUEST, Problem::new(words)),
            Self::Mistakes(mistakes) => (StatusCode::UNPROCESSABLE_ENTITY, Problem::of_mistakes(mistakes)),
            Self::NoThread => {
                let hint = "`holdpoint inbox` lists the threads that wait for a decision";
                (StatusCode::NOT_FOUND, Problem::new("no such thread").hint(hint))
            }
            Self::Decided(problem) => (StatusCode::CONFLICT, *problem),
            Self::Gate(error) => gate_problem(&error),
        };
        (status, Json(problem)).into_response()
    }
}

fn gate_problem(error: &GateError) -> (StatusCode, Problem) {
    let problem = Problem::new(error.to_string());
    match error {
        GateError::Store(store) => {
            tracing::error!(%error, hint = store.hint(), "an operator's call failed");
            (StatusCode::INTERNAL_SERVER_ERROR, problem.hint(store.hint()))
        }
        GateError::Random(_) | GateError::Options(_) | GateError::Declaration => {
            tracing::error!(%error, "an operator's call failed");
            (StatusCode::INTERNAL_SERVER_ERROR, problem)
        }
        GateError::AgentExists(_) => (StatusCode::CONFLICT, problem),
        GateError::AgentName => (StatusCode::BAD_REQUEST, problem),
        GateError::NoSuchAgent(_) | GateError::NoSuchUser(_) => (StatusCode::NOT_FOUND, problem),
    }
}

async fn open_threads(State(gate): Gate, _: Operator) -> Result<Json<Vec<OpenThread>>, Failure> {
    let threads = gate.open_threads().await?;
    Ok(Json(threads.iter().map(|thread| OpenThread::of(thread, &gate.public)).collect()))
}

async fn thread(
    State(gate): Gate,
    _: Operator,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ThreadTimeline>, Failure> {
    let Path(id) = id?;
    let report = gate.report(&ThreadId::new(id)).await?.ok_or(Failure::NoThread)?;
    Ok(Json(ThreadTimeline::of(report, &gate.public)))
}

async fn approve(
    gate: Gate,
    operator: Operator,
    id: Result<Path<String>, PathRejection>,
    body: Result<Json<DecideBody>, JsonRejection>,
) -> Result<Json<Decided>, Failure> {
    decide(gate, operator, id, body, VerdictKind::Approve).await
}

async fn reject(
    gate: Gate,
    operator: Operator,
    id: Result<Path<String>, PathRejection>,
    body: Result<Json<DecideBody>, JsonRejection>,
) -> Result<Json<Decided>, Failure> {
    decide(gate, operator, id, body, VerdictKind::Reject).await
}

async fn decide(
    State(gate): Gate,
    _: Operator,
    id: Result<Path<String>, PathRejection>,
    body: Result<Json<DecideBody>, JsonRejection>,
    kind: VerdictKind,
) -> Result<Json<Decided>, Failure> {
    let (Path(id), Json(body)) = (id?, body?);
    let line_bytes = gate.options.limits.body.line_bytes;
    if body.note.as_ref().is_some_and(|note| note.len() > line_bytes) {
        return Err(Failure::BadRequest(format!("a note has at most {line_bytes} bytes")));
    }
    let command = DecideCommand {
        thread_id: ThreadId::new(id),
        revision_id: body.revision_id.map(RevisionId::new),
        kind,
        by: body.by.filter(|by| !by.trim().is_empty()).unwrap_or_else(|| OPERATOR.to_owned()),
        note: body.note,
    };
    match gate.decide(command).await? {
        DecideOutcome::Won(thread) => Ok(Json(Decided::of(&thread))),
        DecideOutcome::AlreadyDecided(thread) => {
            Err(Failure::Decided(Box::new(Problem::already_decided(&thread))))
        }
        DecideOutcome::Revised(thread) => Err(Failure::Decided(Box::new(Problem::revised(&thread)))),
        DecideOutcome::NotFound => Err(Failure::NoThread),
    }
}

async fn create_agent(
    State(gate): Gate,
    _: Operator,
    body: Result<Json<CreateAgentBody>, JsonRejection>,
) -> Result<(StatusCode, Json<CreatedAgent>), Failure> {
    let Json(CreateAgentBody { name, signed_tokens }) = body?;
    let key = gate.create_agent(&name, signed_tokens, OPERATOR).await?;
    Ok((StatusCode::CREATED, Json(CreatedAgent { name, key: key.expose().to_owned() })))
}

async fn apply(
    State(gate): Gate,
    _: Operator,
    body: Result<Json<ApplyBody>, JsonRejection>,
) -> Result<Json<AppliedReport>, Failure> {
    let Json(ApplyBody { declaration, by }) = body?;
    let declaration: &GateDeclaration = &declaration;
    match gate.apply(declaration, by.as_deref().unwrap_or(OPERATOR)).await {
        Ok(applied) => Ok(Json(AppliedReport::of(applied))),
        Err(ApplyError::Mistakes(mistakes)) => Err(Failure::Mistakes(mistakes)),
        Err(ApplyError::Gate(error)) => Err(error.into()),
    }
}

async fn sign_in_link(
    State(gate): Gate,
    _: Operator,
    body: Result<Json<LinkBody>, JsonRejection>,
) -> Result<Json<SignInLinkReport>, Failure> {
    let Json(LinkBody { user }) = body?;
    let link = gate.sign_in_link(user.as_deref()).await?;
    Ok(Json(SignInLinkReport { url: link.url, user: link.user, expires_at: link.expires_at }))
}
