use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use crate::visible::{self, Html as Safe};

/// What stands around every page of somebody who is signed in.
#[derive(Debug, Clone)]
pub(super) struct Chrome {
    pub(super) visitor: Safe,
    /// How many threads wait.
    pub(super) open: i64,
    pub(super) search: String,
}

impl Chrome {
    pub(super) fn searched(&self) -> Safe {
        visible::line(&self.search)
    }
}

/// Renders a page. A page that fails to render is a 500, never half a page.
pub(super) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "this page could not be made; the log says why")
                .into_response()
        }
    }
}

/// A page that says one thing.
#[derive(Debug, Template)]
#[template(path = "message.html")]
pub(super) struct Message {
    title: &'static str,
    /// Paragraphs.
    words: Vec<Safe>,
    link: Option<(String, &'static str)>,
}

impl Message {
    pub(super) fn new(title: &'static str) -> Self {
        Self { title, words: Vec::new(), link: None }
    }

    pub(super) fn say(mut self, words: &str) -> Self {
        self.words.push(visible::line(words));
        self
    }

    pub(super) fn link(mut self, to: impl Into<String>, words: &'static str) -> Self {
        self.link = Some((to.into(), words));
        self
    }

    pub(super) fn answer(&self, status: StatusCode) -> Response {
        render(status, self)
    }
}
