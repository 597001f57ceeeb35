use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use holdpoint_store::{Folder, ImageId, ImageInfo, Revision, RevisionId, ThreadId, ThreadQuery, ThreadState};
use http::{HeaderName, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;

use super::failure::PageFailure;
use super::page::{Chrome, render};
use super::payload::{Change, PayloadView, ValueView};
use super::timeline::{Moment, moments};
use super::words::{self, Badge, Expires, When};
use crate::gate::{GateServer, ThreadReport, TimelineStart, Visitor};
use crate::rules::Trace;
use crate::visible::{self, Html};

#[derive(Deserialize)]
pub(super) struct ThreadParameters {
    done: Option<Done>,
}

/// What the visitor just did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Done {
    Approved,
    Rejected,
    Changes,
}

/// Something said on top of a thread's page.
#[derive(Debug)]
pub(super) struct Banner {
    class: &'static str,
    words: Html,
}

#[derive(Debug, Template)]
#[template(path = "thread.html")]
struct ThreadPage {
    chrome: Chrome,
    banner: Option<Banner>,
    next: Option<String>,
    id: String,
    /// Changes whenever the decision panel has to be made anew.
    panel: String,
    open: bool,
    what: &'static str,
    subject: Html,
    state: Badge,
    risk: Badge,
    tool: Html,
    agent: Html,
    task: Html,
    workflow: Html,
    label: Html,
    opened: When,
    expires: Option<Expires>,
    revision: RevisionView,
    earlier: Vec<RevisionView>,
    feedback: Option<Html>,
    decided: Option<DecidedView>,
    why: Option<Why>,
    moments: Vec<Moment>,
    moments_cut: bool,
    /// What the visitor had written before the page changed under them.
    note: String,
}

#[derive(Debug)]
struct RevisionView {
    id: String,
    shown_id: Html,
    number: i64,
    subject: Html,
    preview: Option<Html>,
    summary: Vec<Html>,
    payload: PayloadView,
    digest: String,
    made: When,
    unknown: Option<Html>,
    images: Vec<i64>,
}

#[derive(Debug)]
struct DecidedView {
    words: &'static str,
    by: Option<Html>,
    at: When,
    note: Option<Html>,
}

#[derive(Debug)]
struct Why {
    sentence: Html,
    rules: Vec<(Html, &'static str, Html)>,
}

pub(super) async fn show(
    State(gate): State<Arc<GateServer>>,
    visitor: Visitor,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<ThreadParameters>, QueryRejection>,
) -> Result<Response, PageFailure> {
    let Path(id) = id.map_err(|_| PageFailure::NotFound)?;
    let done = query.ok().and_then(|Query(parameters)| parameters.done);
    let banner = done.map(|done| match done {
        Done::Approved => Banner::good("You approved this. The agent may run it, once."),
        Done::Rejected => Banner::good("You rejected this. The agent is told, with your note."),
        Done::Changes => {
            Banner::good("The agent is told what you want changed. This still waits for a decision.")
        }
    });
    page(&gate, &visitor, &ThreadId::new(id), banner, String::new(), StatusCode::OK).await
}

impl Banner {
    fn good(words: &str) -> Self {
        Self { class: "good", words: visible::line(words) }
    }

    pub(super) fn warning(words: &str) -> Self {
        Self { class: "warning", words: visible::line(words) }
    }
}

/// A thread's page, with something said on top of it.
pub(super) async fn page(
    gate: &GateServer,
    visitor: &Visitor,
    id: &ThreadId,
    banner: Option<Banner>,
    note: String,
    status: StatusCode,
) -> Result<Response, PageFailure> {
    let report = gate.report(id).await?.ok_or(PageFailure::NotFound)?;
    let counts = gate.folder_counts().await?;
    let chrome = Chrome { visitor: visible::line(&visitor.name), open: counts.open, search: String::new() };
    let next = next_waiting(gate, id).await?;
    let page = ThreadPage::new(&report, chrome, banner, next, note, gate.now());
    Ok(render(status, &page))
}

/// Where to go on after this one.
async fn next_waiting(gate: &GateServer, id: &ThreadId) -> Result<Option<String>, PageFailure> {
    let query = ThreadQuery { folder: Folder::Open, search: String::new(), limit: 2 };
    let waiting = gate.threads(&query).await?;
    Ok(waiting.into_iter().find(|thread| thread.id != *id).map(|thread| thread.id.as_str().to_owned()))
}

impl ThreadPage {
    fn new(
        report: &ThreadReport,
        chrome: Chrome,
        banner: Option<Banner>,
        next: Option<String>,
        note: String,
        now: Timestamp,
    ) -> Self {
        let ThreadReport { thread, revisions, images, timeline, event_images, timeline_starts } = report;
        let open = matches!(thread.state, ThreadState::Open(_));
        let mut views: Vec<RevisionView> = Vec::with_capacity(revisions.len());
        let mut before: Option<&str> = None;
        for revision in revisions {
            views.push(RevisionView::new(revision, images, before, now));
            before = Some(&revision.payload);
        }
        // The last one is the current one; a store that lists none still has the thread's own.
        let revision = views.pop().unwrap_or_else(|| RevisionView::new(&thread.revision, images, None, now));
        views.reverse();
        Self {
            chrome,
            banner,
            next,
            id: thread.id.as_str().to_owned(),
            panel: format!("{} {} {}", thread.state.as_str(), revision.number, thread.feedback.is_some()),
            open,
            what: what(&thread.state),
            subject: visible::line(&thread.revision.subject),
            state: words::state(&thread.state),
            risk: words::risk(thread.revision.risk_level),
            tool: visible::line(&thread.revision.tool_name),
            agent: visible::line(&thread.agent_name),
            task: visible::line(thread.task_id.as_str()),
            workflow: visible::line(&thread.revision.workflow_name),
            label: visible::line(&thread.revision.task_label),
            opened: When::new(thread.opened_at, now),
            expires: thread.expires_at.filter(|_| open).map(|at| Expires::new(at, now)),
            revision,
            earlier: views,
            feedback: thread.feedback.as_deref().filter(|_| open).map(visible::block),
            decided: DecidedView::new(&thread.state, now),
            why: Why::new(&thread.revision.rule_trace),
            moments: moments(timeline, event_images, &thread.id, now),
            moments_cut: *timeline_starts == TimelineStart::Later,
            note,
        }
    }
}

fn what(state: &ThreadState) -> &'static str {
    match state {
        ThreadState::Open(_) => "What will run",
        ThreadState::Approved(_) => "What was approved",
        ThreadState::Rejected(_) | ThreadState::Expired { .. } => "What was asked for",
    }
}

impl RevisionView {
    fn new(
        revision: &Revision,
        images: &[(RevisionId, Vec<ImageInfo>)],
        before: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let images = images.iter().filter(|(id, _)| *id == revision.id).flat_map(|(_, images)| images);
        let unknown = serde_json::from_str::<Trace<'_>>(&revision.rule_trace)
            .ok()
            .and_then(|trace| trace.unknown_fields)
            .map(|fields| visible::block(fields.get()));
        Self {
            id: revision.id.as_str().to_owned(),
            shown_id: visible::line(revision.id.as_str()),
            number: revision.number,
            subject: visible::line(&revision.subject),
            preview: revision.preview.as_deref().map(visible::block),
            summary: revision.summary.iter().map(|bullet| visible::block(bullet)).collect(),
            payload: PayloadView::new(&revision.payload, before),
            digest: revision.payload_digest.clone(),
            made: When::new(revision.made_at, now),
            unknown,
            images: images.map(|image| image.id.0).collect(),
        }
    }
}

impl DecidedView {
    fn new(state: &ThreadState, now: Timestamp) -> Option<Self> {
        let (words, verdict) = match state {
            ThreadState::Open(_) => return None,
            ThreadState::Expired { at } => {
                let words = "Expired: nobody decided in time";
                return Some(Self { words, by: None, at: When::new(*at, now), note: None });
            }
            ThreadState::Approved(verdict) => ("Approved by", verdict),
            ThreadState::Rejected(verdict) => ("Rejected by", verdict),
        };
        Some(Self {
            words,
            by: Some(visible::line(words::decider(&verdict.by))),
            at: When::new(verdict.at, now),
            note: verdict.note.as_deref().map(visible::block),
        })
    }
}

impl Why {
    fn new(rule_trace: &str) -> Option<Self> {
        let trace: Trace<'_> = serde_json::from_str(rule_trace).ok()?;
        let rules = trace
            .rules
            .iter()
            .map(|rule| (visible::with_code(&rule.rule), rule.action.as_str(), visible::line(&rule.finding)));
        Some(Self { sentence: visible::with_code(&trace.sentence()), rules: rules.collect() })
    }
}

/// An image, alone: whatever a browser makes of its bytes, it is nobody's page.
pub(super) async fn image(
    State(gate): State<Arc<GateServer>>,
    _: Visitor,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Response, PageFailure> {
    let Path(id) = id.map_err(|_| PageFailure::NotFound)?;
    let image = gate.image(ImageId(id)).await?.ok_or(PageFailure::NotFound)?;
    let headers = [
        (header::CONTENT_TYPE, image.image_type.media_type()),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (header::CONTENT_DISPOSITION, "inline"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    Ok((headers, image.bytes).into_response())
}
