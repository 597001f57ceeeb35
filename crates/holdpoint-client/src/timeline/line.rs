//! What an event says: one sentence for the reviewer, and the details below it.

use super::{Excerpts, story::Receipt};
use crate::LocalKey;
use holdpoint_core::{Facts, Hold, Ran, Rejection, Resolution, Resolver, StoredResult, TaskId, ThreadId};
use serde_json::{Map, Value, json};
use std::time::Duration;

const CALL_DOMAIN: &[u8] = b"holdpoint/timeline/call/v1";
const RESULT_DOMAIN: &[u8] = b"holdpoint/timeline/result/v1";
/// Of a name in a sentence. Names are other people's, and a sentence that is too long is refused.
const NAME_CHARS_MAX: usize = 120;
/// Of a piece of a result.
const EXCERPT_CHARS_MAX: usize = 2000;

/// One event, to be posted.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) task: TaskId,
    pub(super) event_type: &'static str,
    pub(super) summary: String,
    pub(super) payload: Map<String, Value>,
    /// Events before this one that may not have reached Gate, and were not told of yet.
    pub(super) dropped_before: u64,
}

/// What a tool answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered<'a> {
    pub(super) ran: Ran,
    pub(super) took: Duration,
    pub(super) result: &'a StoredResult,
    pub(super) excerpt: Option<&'a str>,
}

/// Puts events into words.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) key: LocalKey,
    pub(super) excerpts: Excerpts,
}

impl Teller {
    pub(super) fn started(&self, facts: &Facts, hold: &Hold) -> Line {
        let summary = "The first call of this task that a person has to decide about.".to_owned();
        self.line("task.started", facts, &hold.thread, summary)
    }

    pub(super) fn requested(&self, facts: &Facts, hold: &Hold) -> Line {
        let summary = match hold.revision {
            0 => format!("The agent wants to call {} and waits for a decision.", tool(facts)),
            _ => format!("The agent proposes another call of {} and waits for a decision.", tool(facts)),
        };
        let line = self.line("tool.requested", facts, &hold.thread, summary);
        line.with("revision", json!(hold.revision))
    }

    pub(super) fn completed(
        &self,
        facts: &Facts,
        thread: &ThreadId,
        receipt: Option<Receipt>,
        answered: Answered<'_>,
    ) -> Line {
        let Answered { ran, took, result, excerpt } = answered;
        let (event_type, summary) = match ran {
            Ran::Succeeded => {
                ("tool.completed", format!("{} ran, and answered after {}.", tool(facts), after(took)))
            }
            Ran::Failed => (
                "tool.failed",
                format!(
                    "{} ran, and said after {} that it failed. It may have had an effect all the same.",
                    tool(facts),
                    after(took)
                ),
            ),
        };
        let line = self.line(event_type, facts, thread, summary).ran(facts, receipt, took);
        let line = line
            .with("result_digest", json!(self.keyed(RESULT_DOMAIN, result.as_bytes())))
            .with("result_bytes", json!(result.as_bytes().len()));
        match (self.excerpts, excerpt) {
            (Excerpts::Told, Some(excerpt)) => {
                let piece: String = excerpt.chars().take(EXCERPT_CHARS_MAX).collect();
                let cut = piece.len() < excerpt.len();
                line.with("result_excerpt", json!(piece)).with("result_excerpt_cut", json!(cut))
            }
            (Excerpts::Told, None) | (Excerpts::Kept, _) => line,
        }
    }

    pub(super) fn outcome_unknown(
        &self,
        facts: &Facts,
        thread: &ThreadId,
        receipt: Option<Receipt>,
        took: Duration,
    ) -> Line {
        let summary = format!(
            "{} was sent, and its answer is lost: it may have run. A person has to check.",
            tool(facts)
        );
        self.line("tool.outcome_unknown", facts, thread, summary).ran(facts, receipt, took)
    }

    pub(super) fn not_run(&self, facts: &Facts, thread: &ThreadId, rejection: &Rejection) -> Line {
        let status = rejection.status();
        let summary = format!(
            "{} did not run after the decision: {status}. Sent again, it is asked about anew.",
            tool(facts)
        );
        self.line("tool.not_run", facts, thread, summary).with("status", json!(status))
    }

    pub(super) fn withdrawn(&self, facts: &Facts, hold: &Hold) -> Line {
        let summary =
            format!("The agent withdrew the call of {}. Nothing runs, whatever is decided.", tool(facts));
        self.line("tool.withdrawn", facts, &hold.thread, summary)
    }

    pub(super) fn too_late(&self, facts: &Facts, hold: &Hold) -> Line {
        let summary =
            format!("The approval came after the call of {} had been withdrawn. Nothing ran.", tool(facts));
        self.line("tool.too_late", facts, &hold.thread, summary)
    }

    /// Names of people of this machine stay here.
    pub(super) fn resolved(
        &self,
        facts: &Facts,
        thread: &ThreadId,
        resolution: Resolution,
        by: Resolver<'_>,
    ) -> Line {
        let (by, who) = match by {
            Resolver::Person(_) => ("person", "A person says"),
            Resolver::Tool(_) => ("tool", "A look with another tool says"),
            Resolver::Adapter => ("adapter", "The proxy knows"),
        };
        let (resolution, what) = match resolution {
            Resolution::Ran => ("ran", "ran"),
            Resolution::DidNotRun => ("did_not_run", "did not run"),
        };
        let summary = format!("{who} that {} {what}.", tool(facts));
        let line = self.line("tool.resolved", facts, thread, summary);
        line.with("resolution", json!(resolution)).with("by", json!(by))
    }

    fn line(&self, event_type: &'static str, facts: &Facts, thread: &ThreadId, summary: String) -> Line {
        let line =
            Line { task: facts.task.clone(), event_type, summary, payload: Map::new(), dropped_before: 0 };
        line.with("thread_id", json!(thread.as_str()))
            .with("server", json!(facts.server.as_str()))
            .with("tool", json!(facts.tool.as_str()))
            .with("digest", json!(self.keyed(CALL_DOMAIN, facts.digest.as_bytes())))
    }

    fn keyed(&self, domain: &[u8], bytes: &[u8]) -> String {
        format!("hmac-sha256:{}", hex::encode(self.key.digest(&[domain, bytes])))
    }
}

impl Line {
    fn with(mut self, name: &str, value: Value) -> Self {
        self.payload.insert(name.to_owned(), value);
        self
    }

    fn ran(self, facts: &Facts, receipt: Option<Receipt>, took: Duration) -> Self {
        let line = self.with("duration_ms", json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
        let Some(Receipt { grounds, at }) = receipt else {
            return line;
        };
        let policy = facts.policy.as_str();
        line.with("receipt", json!({ "grounds": grounds, "at": at.to_string(), "policy": policy }))
    }
}

fn tool(facts: &Facts) -> String {
    format!("`{}` (server `{}`)", short(facts.tool.as_str()), short(facts.server.as_str()))
}

fn short(name: &str) -> String {
    let mut short: String = name.chars().take(NAME_CHARS_MAX).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    short
}

fn after(took: Duration) -> String {
    match took.as_millis() {
        millis @ ..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{:.1} s", took.as_secs_f64()),
        _ => format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60),
    }
}
