use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use holdpoint_store::{Folder, FolderCounts, OpenState, Thread, ThreadQuery, ThreadState};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;

use super::failure::PageFailure;
use super::page::{Chrome, render};
use super::words::{self, Badge, Expires, When};
use crate::gate::{GateServer, Visitor};
use crate::visible::{self, Html};

#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    folder: FolderWord,
    #[serde(default)]
    q: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FolderWord {
    #[default]
    Open,
    Approved,
    Rejected,
    Expired,
    All,
}

#[derive(Debug, Template)]
#[template(path = "list.html")]
struct ListPage {
    chrome: Chrome,
    folders: Vec<FolderTab>,
    folder: &'static str,
    sections: Vec<Section>,
    empty: &'static str,
    /// More threads than are shown.
    cut: Option<u32>,
}

#[derive(Debug)]
struct FolderTab {
    word: &'static str,
    words: &'static str,
    count: i64,
    current: bool,
}

#[derive(Debug)]
struct Section {
    title: &'static str,
    class: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    id: String,
    subject: Html,
    preview: Option<Html>,
    tool: Html,
    agent: Html,
    label: Html,
    risk: Badge,
    state: Badge,
    opened: When,
    expires: Option<Expires>,
    revised: Option<i64>,
    changes_asked: bool,
    decided: Option<(Html, When)>,
}

pub(super) async fn show(
    State(gate): State<Arc<GateServer>>,
    visitor: Visitor,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, PageFailure> {
    let Query(ListQuery { folder, q }) =
        query.map_err(|error| PageFailure::BadForm(error.status(), error.body_text()))?;
    let shown = gate.options.limits.threads_shown;
    // One more than is shown tells whether there are more.
    let query = ThreadQuery { folder: folder.query(), search: q.clone(), limit: shown.saturating_add(1) };
    let mut threads = gate.threads(&query).await?;
    let counts = gate.folder_counts().await?;
    let more = threads.len() > usize::try_from(shown).unwrap_or(usize::MAX);
    threads.truncate(usize::try_from(shown).unwrap_or(usize::MAX));
    let page = ListPage {
        chrome: Chrome { visitor: visible::line(&visitor.name), open: counts.open, search: q },
        folders: tabs(folder, counts),
        folder: folder.word(),
        empty: if query.search.is_empty() { folder.empty() } else { "Nothing here matches the search." },
        sections: sections(folder, &threads, gate.now()),
        cut: more.then_some(shown),
    };
    Ok(render(StatusCode::OK, &page))
}

fn tabs(current: FolderWord, counts: FolderCounts) -> Vec<FolderTab> {
    let FolderCounts { open, escalated: _, approved, rejected, expired } = counts;
    let all = open + approved + rejected + expired;
    [
        (FolderWord::Open, "Waiting", open),
        (FolderWord::Approved, "Approved", approved),
        (FolderWord::Rejected, "Rejected", rejected),
        (FolderWord::Expired, "Expired", expired),
        (FolderWord::All, "All", all),
    ]
    .into_iter()
    .map(|(folder, words, count)| FolderTab { word: folder.word(), words, count, current: folder == current })
    .collect()
}

fn sections(folder: FolderWord, threads: &[Thread], now: Timestamp) -> Vec<Section> {
    let rows = |keep: &dyn Fn(&Thread) -> bool| -> Vec<Row> {
        threads.iter().filter(|thread| keep(thread)).map(|thread| Row::new(thread, now)).collect()
    };
    let is_escalated = |thread: &Thread| matches!(thread.state, ThreadState::Open(OpenState::Escalated));
    let sections = match folder {
        FolderWord::Open => vec![
            Section { title: "Escalated", class: "escalated", rows: rows(&is_escalated) },
            Section { title: "New", class: "new", rows: rows(&|thread| !is_escalated(thread)) },
        ],
        FolderWord::Approved | FolderWord::Rejected | FolderWord::Expired | FolderWord::All => {
            vec![Section { title: folder.title(), class: "closed", rows: rows(&|_| true) }]
        }
    };
    sections.into_iter().filter(|section| !section.rows.is_empty()).collect()
}

impl Row {
    fn new(thread: &Thread, now: Timestamp) -> Self {
        let revision = &thread.revision;
        let decided = match &thread.state {
            ThreadState::Open(_) => None,
            ThreadState::Approved(verdict) | ThreadState::Rejected(verdict) => {
                Some((visible::line(words::decider(&verdict.by)), When::new(verdict.at, now)))
            }
            ThreadState::Expired { at } => Some((visible::line("nobody"), When::new(*at, now))),
        };
        let open = matches!(thread.state, ThreadState::Open(_));
        Self {
            id: thread.id.as_str().to_owned(),
            subject: visible::line(&revision.subject),
            preview: revision.preview.as_deref().map(visible::line),
            tool: visible::line(&revision.tool_name),
            agent: visible::line(&thread.agent_name),
            label: visible::line(&revision.task_label),
            risk: words::risk(revision.risk_level),
            state: words::state(&thread.state),
            opened: When::new(thread.opened_at, now),
            expires: thread.expires_at.filter(|_| open).map(|at| Expires::new(at, now)),
            revised: (revision.number > 1).then_some(revision.number),
            changes_asked: open && thread.feedback.is_some(),
            decided,
        }
    }
}

impl FolderWord {
    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::All => "all",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Open => "Waiting",
            Self::Approved => "Approved",
            Self::Rejected => "Rejected",
            Self::Expired => "Expired",
            Self::All => "All",
        }
    }

    fn empty(self) -> &'static str {
        match self {
            Self::Open => "Nothing waits for a decision. New requests appear here by themselves.",
            Self::Approved => "Nothing was approved yet.",
            Self::Rejected => "Nothing was rejected yet.",
            Self::Expired => "Nothing expired.",
            Self::All => "No agent has asked for anything yet.",
        }
    }

    fn query(self) -> Folder {
        match self {
            Self::Open => Folder::Open,
            Self::Approved => Folder::Approved,
            Self::Rejected => Folder::Rejected,
            Self::Expired => Folder::Expired,
            Self::All => Folder::All,
        }
    }
}
