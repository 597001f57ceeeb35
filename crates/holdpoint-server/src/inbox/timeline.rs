use std::borrow::Cow;
use std::collections::HashMap;

use holdpoint_store::{AutomaticOutcome, ImageInfo, LogEntry, LogRow, LogSeq, ThreadId};
use jiff::Timestamp;
use serde::Deserialize;

use super::words::{self, When};
use crate::visible::{self, Html};

/// One thing that happened, on a page.
#[derive(Debug)]
pub(super) struct Moment {
    /// For its colour.
    pub(super) class: &'static str,
    pub(super) title: &'static str,
    /// A name or a word that goes with the title.
    pub(super) detail: Option<Html>,
    /// What somebody said.
    pub(super) text: Option<Html>,
    /// What was sent with it, as it was sent.
    pub(super) json: Option<Html>,
    /// Another thread of the task.
    pub(super) elsewhere: Option<String>,
    /// How often it happened in a row.
    pub(super) times: usize,
    pub(super) at: When,
    pub(super) images: Vec<i64>,
}

/// The log of a task as a page shows it.
pub(super) fn moments(
    rows: &[LogRow],
    event_images: &[(LogSeq, Vec<ImageInfo>)],
    thread: &ThreadId,
    now: Timestamp,
) -> Vec<Moment> {
    let images: HashMap<LogSeq, &Vec<ImageInfo>> =
        event_images.iter().map(|(seq, images)| (*seq, images)).collect();
    let mut moments: Vec<Moment> = Vec::with_capacity(rows.len());
    let mut minted_before = false;
    for row in rows {
        // Each poll of an approved thread hands out a token; one line says how often.
        let minted = matches!(row.entry, LogEntry::TokenMinted { .. });
        if minted
            && minted_before
            && let Some(last) = moments.last_mut()
        {
            last.times += 1;
            last.at = When::new(row.at, now);
            continue;
        }
        minted_before = minted;
        let mut moment = describe(&row.entry, When::new(row.at, now));
        let about =
            row.thread_id.as_ref().map(|id| id.as_str().to_owned()).or_else(|| named_thread(&row.entry));
        moment.elsewhere = about.filter(|id| id != thread.as_str());
        if let Some(images) = images.get(&row.seq) {
            moment.images = images.iter().map(|image| image.id.0).collect();
        }
        moments.push(moment);
    }
    moments
}

/// The thread that an agent's event says it is about: a task may have several, and what happened in one must not look as if
/// it had happened in another. Only what can be a thread's id becomes a link.
fn named_thread(entry: &LogEntry) -> Option<String> {
    let LogEntry::Event { payload: Some(payload), .. } = entry else { return None };
    let NamedThread { thread_id } = serde_json::from_str(payload.get()).ok()?;
    let digits = thread_id.strip_prefix("THR-")?;
    let can_be_one = (1..=THREAD_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit));
    can_be_one.then(|| thread_id.into_owned())
}

/// More than the longest id that a Gate makes.
const THREAD_DIGITS_MAX: usize = 64;

#[derive(Deserialize)]
struct NamedThread<'payload> {
    #[serde(borrow)]
    thread_id: Cow<'payload, str>,
}

impl Moment {
    fn new(class: &'static str, title: &'static str, at: When) -> Self {
        Self {
            class,
            title,
            detail: None,
            text: None,
            json: None,
            elsewhere: None,
            times: 1,
            at,
            images: Vec::new(),
        }
    }

    fn detail(mut self, detail: &str) -> Self {
        self.detail = Some(visible::line(detail));
        self
    }

    fn text(mut self, text: Option<&str>) -> Self {
        self.text = text.map(visible::block);
        self
    }

    fn json(mut self, json: Option<&str>) -> Self {
        self.json = json.map(visible::block);
        self
    }
}

fn describe(entry: &LogEntry, at: When) -> Moment {
    match entry {
        LogEntry::Event { event_type, event_summary, payload } => Moment::new("event", "The agent says", at)
            .detail(event_type)
            .text(Some(event_summary))
            .json(payload.as_ref().map(|payload| payload.get())),
        LogEntry::DecidedByRules { outcome, tool_name, subject, payload, .. } => {
            let title = match outcome {
                AutomaticOutcome::Allow => "Allowed by the rules",
                AutomaticOutcome::Reject => "Rejected by the rules",
            };
            Moment::new("rules", title, at)
                .detail(tool_name)
                .text(Some(subject))
                .json(payload.as_ref().map(|payload| payload.get()))
        }
        LogEntry::ThreadOpened { tool_name, subject, .. } => {
            Moment::new("opened", "Put before a person", at).detail(tool_name).text(Some(subject))
        }
        LogEntry::Revised { revision_id, event_summary, .. } => {
            let revised = Moment::new("opened", "The agent changed the request", at);
            revised.detail(revision_id.as_str()).text(Some(event_summary))
        }
        LogEntry::ChangesRequested { by, message, .. } => {
            Moment::new("asked", "Changes asked for by", at).detail(by).text(Some(message))
        }
        LogEntry::Approved { by, note, .. } => {
            Moment::new("approved", "Approved by", at).detail(words::decider(by)).text(note.as_deref())
        }
        LogEntry::Rejected { by, note, .. } => {
            Moment::new("rejected", "Rejected by", at).detail(words::decider(by)).text(note.as_deref())
        }
        LogEntry::Expired {} => Moment::new("expired", "Expired: nobody decided in time", at),
        LogEntry::TokenMinted { .. } => Moment::new("token", "Approval handed to the agent", at),
        LogEntry::TokenRedeemed { .. } => {
            Moment::new("redeemed", "Approval used: what was approved may run, once", at)
        }
        LogEntry::TokenRefused { reason } => {
            Moment::new("refused", "An approval came that is no good any more", at).detail(reason)
        }
        LogEntry::AgentCreated { name, .. } => Moment::new("setup", "Agent made", at).detail(name),
        LogEntry::AgentKeyRegenerated { name, .. } => {
            Moment::new("setup", "Agent got another key", at).detail(name)
        }
        LogEntry::AgentChanged { change, .. } => Moment::new("setup", "Agent changed", at).detail(change),
        LogEntry::DeclarationApplied { revision, .. } => {
            Moment::new("setup", "Rules applied", at).detail(&revision.to_string())
        }
        LogEntry::Access { what, .. } => Moment::new("setup", "Access", at).detail(what),
    }
}
