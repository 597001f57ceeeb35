//! The feed of decisions: every thread that was decided, in order.

use super::state::Answer;
use serde_json::json;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Feed {
    pub(super) announced: bool,
    pub(super) muted: bool,
    told: Vec<String>,
}

type Query = HashMap<String, String>;

impl Feed {
    pub(super) fn tell(&mut self, thread: &str) {
        if !self.muted {
            self.told.push(thread.to_owned());
        }
    }

    /// How much of it the asker knows; `None`: it never asked before, or names a cursor that is none.
    fn known(&self, query: &Query) -> Option<usize> {
        let known = query.get("after")?.strip_prefix("told-")?.parse().ok()?;
        Some(known).filter(|known| *known <= self.told.len())
    }

    pub(super) fn has_nothing(&self, query: &Query) -> bool {
        self.known(query) == Some(self.told.len())
    }

    pub(super) fn answer(&self, query: &Query) -> Answer {
        let known = self.known(query);
        let news = self.told.get(known.unwrap_or(self.told.len())..).unwrap_or_default();
        let cursor = format!("told-{}", self.told.len());
        Answer(200, json!({ "cursor": cursor, "threads": news, "resync": known.is_none() }))
    }
}
