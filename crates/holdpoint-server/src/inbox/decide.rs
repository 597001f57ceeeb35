use std::sync::Arc;

use axum::Form;
use axum::extract::rejection::{FormRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use holdpoint_store::{AskOutcome, DecideOutcome, RevisionId, Thread, ThreadId, ThreadState, VerdictKind};
use http::StatusCode;
use serde::Deserialize;

use super::failure::PageFailure;
use super::page::Message;
use super::thread::{Banner, page};
use super::words::{self, When};
use crate::gate::{DecideCommand, GateServer, Visitor};

#[derive(Deserialize)]
pub(super) struct DecisionForm {
    verdict: VerdictWord,
    /// The revision the page showed.
    revision: String,
    #[serde(default)]
    note: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum VerdictWord {
    Approve,
    Reject,
    Changes,
}

/// What became of a form.
enum Outcome {
    Done(&'static str),
    Second(Box<Thread>),
    Revised,
    NotFound,
    Unsaid,
}

pub(super) async fn decide(
    State(gate): State<Arc<GateServer>>,
    visitor: Visitor,
    id: Result<Path<String>, PathRejection>,
    form: Result<Form<DecisionForm>, FormRejection>,
) -> Result<Response, PageFailure> {
    let Path(id) = id.map_err(|_| PageFailure::NotFound)?;
    let Form(form) = form.map_err(|error| PageFailure::BadForm(error.status(), error.body_text()))?;
    // Browsers send line breaks of a form as two characters.
    let note = form.note.replace("\r\n", "\n").trim().to_owned();
    let line_bytes = gate.options.limits.body.line_bytes;
    let id = ThreadId::new(id);
    if note.len() > line_bytes {
        let words =
            format!("A note has at most {line_bytes} bytes. Nothing was decided; shorten it and try again.");
        let banner = Some(Banner::warning(&words));
        return page(&gate, &visitor, &id, banner, note, StatusCode::PAYLOAD_TOO_LARGE).await;
    }
    let seen = RevisionId::new(form.revision);
    match carry_out(&gate, &visitor, &id, seen, form.verdict, &note).await? {
        Outcome::Done(done) => {
            Ok(Redirect::to(&format!("/threads/{}?done={done}", id.as_str())).into_response())
        }
        Outcome::Second(thread) => Ok(already_decided(&thread, &gate)),
        Outcome::Revised => {
            let banner = Banner::warning(
                "The agent changed the request while you were reading, so nothing was decided. \
                 This is the new version; what changed is marked.",
            );
            page(&gate, &visitor, &id, Some(banner), note, StatusCode::CONFLICT).await
        }
        Outcome::NotFound => Err(PageFailure::NotFound),
        Outcome::Unsaid => {
            let banner = Banner::warning("Say in the note what should change, then send it.");
            page(&gate, &visitor, &id, Some(banner), note, StatusCode::BAD_REQUEST).await
        }
    }
}

async fn carry_out(
    gate: &GateServer,
    visitor: &Visitor,
    id: &ThreadId,
    seen: RevisionId,
    verdict: VerdictWord,
    note: &str,
) -> Result<Outcome, PageFailure> {
    let (kind, done) = match verdict {
        VerdictWord::Approve => (VerdictKind::Approve, "approved"),
        VerdictWord::Reject => (VerdictKind::Reject, "rejected"),
        VerdictWord::Changes => return ask_for_changes(gate, visitor, id, &seen, note).await,
    };
    let command = DecideCommand {
        thread_id: id.clone(),
        revision_id: Some(seen),
        kind,
        by: visitor.name.clone(),
        note: Some(note.to_owned()),
    };
    Ok(match gate.decide(command).await? {
        DecideOutcome::Won(_) => Outcome::Done(done),
        DecideOutcome::AlreadyDecided(thread) => Outcome::Second(thread),
        DecideOutcome::Revised(_) => Outcome::Revised,
        DecideOutcome::NotFound => Outcome::NotFound,
    })
}

async fn ask_for_changes(
    gate: &GateServer,
    visitor: &Visitor,
    id: &ThreadId,
    seen: &RevisionId,
    note: &str,
) -> Result<Outcome, PageFailure> {
    if note.is_empty() {
        return Ok(Outcome::Unsaid);
    }
    Ok(match gate.ask_for_changes(id, seen, &visitor.name, note).await? {
        AskOutcome::Asked(_) => Outcome::Done("changes"),
        AskOutcome::AlreadyDecided(thread) => Outcome::Second(thread),
        AskOutcome::Revised(_) => Outcome::Revised,
        AskOutcome::NotFound => Outcome::NotFound,
    })
}

/// The page of whoever came second.
fn already_decided(thread: &Thread, gate: &GateServer) -> Response {
    let now = gate.now();
    let to = format!("/threads/{}", thread.id.as_str());
    let (state, verdict) = match &thread.state {
        ThreadState::Approved(verdict) => ("approved", verdict),
        ThreadState::Rejected(verdict) => ("rejected", verdict),
        ThreadState::Expired { at } => {
            let at = When::new(*at, now);
            return Message::new("This request expired")
                .say(&format!("Nobody decided in time; it expired {} ({}).", at.age, at.exact))
                .say("Your decision does not count. The agent has to ask again.")
                .link(to, "To the request")
                .answer(StatusCode::CONFLICT);
        }
        ThreadState::Open(_) => {
            return Message::new("That did not work").link(to, "Try again").answer(StatusCode::CONFLICT);
        }
    };
    let at = When::new(verdict.at, now);
    let by = words::decider(&verdict.by);
    let mut message = Message::new("Already decided")
        .say(&format!("Already {state} by {by} at {} ({}).", at.exact, at.age));
    if let Some(note) = &verdict.note {
        message = message.say(&format!("Their note: {note}"));
    }
    message
        .say("The first decision counts; yours was not recorded.")
        .link(to, "To the request")
        .answer(StatusCode::CONFLICT)
}
