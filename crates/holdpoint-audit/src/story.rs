//! What the log tells of one call.

use crate::{
    FileError,
    body::{Decided, Grounds, Kind, Ran, Redeemed, Resolution, Resolver},
    folder::{CURRENT, Folder, full_name},
    line::{self, LINE_BYTES_MAX, Record},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::File,
    io::{BufRead as _, BufReader, Read},
    path::Path,
    sync::Arc,
};

/// Proposals that are remembered until it shows whether they led to the review.
const PROPOSALS_MAX: usize = 100_000;

/// One record of a story.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file it is in.
    pub file: String,
    /// Its line, counted from 1.
    pub line: u64,
    /// The line itself: JSON.
    pub text: String,
    record: Record,
}

impl Entry {
    /// When it happened.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.record.envelope.at
    }
}

/// Everything that is on record about the review `thread`, in order, with the proposal that led to it. Lines that are no
/// records are passed over: whether the log is sound is for [`crate::verify`] to say.
///
/// # Errors
/// A file cannot be read.
pub fn story(folder: &Path, thread: &str) -> Result<Vec<Entry>, FileError> {
    let folder = Folder::new(folder);
    let locked = folder.lock_for_reading()?;
    let full = folder.full_files()?;
    let current = folder.current_for_reading()?;
    drop(locked);
    let mut teller = Teller { thread, proposals: HashMap::new(), story: Vec::new() };
    for number in full {
        let path = folder.path().join(full_name(number));
        teller.read(&full_name(number), File::open(&path).map_err(FileError::new("open", &path))?)?;
    }
    if let Some((file, bytes)) = current {
        teller.read(CURRENT, file.take(bytes))?;
    }
    Ok(teller.story)
}

struct Teller<'a> {
    thread: &'a str,
    /// The last proposal of each process and digest.
    proposals: HashMap<(Arc<str>, Option<String>), Entry>,
    story: Vec<Entry>,
}

impl Teller<'_> {
    fn read(&mut self, name: &str, file: impl Read) -> Result<(), FileError> {
        let mut reader = BufReader::new(file);
        let mut buffer = Vec::new();
        for number in 1.. {
            buffer.clear();
            let read = (&mut reader).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut buffer);
            read.map_err(FileError::new("read", Path::new(name)))?;
            if buffer.is_empty() {
                break;
            }
            let text = buffer.strip_suffix(b"\n").unwrap_or(&buffer);
            if let Ok(record) = line::read(text) {
                let text = String::from_utf8_lossy(text).into_owned();
                self.take(Entry { file: name.to_owned(), line: number, text, record });
            }
        }
        Ok(())
    }

    fn take(&mut self, entry: Entry) {
        let body = &entry.record.body;
        let call = (entry.record.envelope.owner.clone(), body.digest.clone());
        if body.what == Kind::Proposed {
            if self.proposals.len() < PROPOSALS_MAX {
                self.proposals.insert(call, entry);
            }
            return;
        }
        let proposal = match body.what {
            Kind::Held | Kind::Allowed | Kind::Refused => self.proposals.remove(&call),
            Kind::Begun
            | Kind::Continued
            | Kind::Checkpoint
            | Kind::Torn
            | Kind::Gap
            | Kind::Proposed
            | Kind::Joined
            | Kind::Decided
            | Kind::Redeemed
            | Kind::Dispatching
            | Kind::GoingOn
            | Kind::Completed
            | Kind::OutcomeUnknown
            | Kind::Withdrawn
            | Kind::TooLate
            | Kind::Resolved
            | Kind::CallerCreated
            | Kind::CallerRevoked => None,
        };
        if body.thread.as_deref() == Some(self.thread) {
            self.story.extend(proposal);
            self.story.push(entry);
        }
    }
}

/// A story as text for people. Whatever comes from outside is escaped: nothing in it can move a cursor or hide.
#[must_use]
pub fn render(entries: &[Entry]) -> String {
    let Some(first) = entries.first() else {
        return "nothing is on record about this review\n".to_owned();
    };
    let thread = entries.iter().find_map(|entry| entry.record.body.thread.as_deref()).unwrap_or_default();
    let mut text = format!("review {}\n", visible(thread));
    let mut facts: Vec<String> = Vec::new();
    let mut before = first.at();
    for entry in entries {
        let now = facts_of(entry);
        if now != facts {
            now.iter().filter(|fact| !facts.contains(fact)).for_each(|fact| line_of(&mut text, fact));
            facts = now;
        }
        let passed = entry.at().duration_since(before);
        before = entry.at();
        let said = said(entry);
        line_of(&mut text, &format!("{:<24}  {:>10}  {said}", format!("{:.3}", entry.at()), waited(passed)));
    }
    text
}

fn line_of(text: &mut String, line: &str) {
    let _infallible = writeln!(text, "  {line}");
}

/// Whose call of what.
fn facts_of(entry: &Entry) -> Vec<String> {
    let body = &entry.record.body;
    let facts = [
        ("caller", &body.principal),
        ("server", &body.server),
        ("tool", &body.tool),
        ("task", &body.task),
        ("effect", &body.effect),
        ("call", &body.digest),
        ("policy", &body.policy),
    ];
    let known = facts.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    known.map(|(name, value)| format!("{name:<8}{}", visible(value))).collect()
}

/// What happened, in one line.
fn said(entry: &Entry) -> String {
    let body = &entry.record.body;
    let own = |text: &Option<String>| text.as_deref().map(visible).unwrap_or_default();
    let words = |text: &Option<String>| {
        text.as_deref().map(|text| format!(", saying \"{}\"", visible(text))).unwrap_or_default()
    };
    match body.what {
        Kind::Proposed => "proposed".to_owned(),
        Kind::Held | Kind::Joined => {
            let hold = body.hold.unwrap_or_default();
            let what = if body.what == Kind::Held { "waits for a person" } else { "sent again, and joined" };
            let revision = body.revision.filter(|revision| *revision > 0);
            let revision = revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
            let url =
                body.review_url.as_deref().map(|url| format!(" at {}", visible(url))).unwrap_or_default();
            format!("{what} (hold {hold}{revision}){url}")
        }
        Kind::Allowed => "allowed by the rules".to_owned(),
        Kind::Decided => format!("{}{}", decided(body.decision), words(&body.message)),
        Kind::Redeemed => redeemed(body.redemption).to_owned(),
        Kind::Dispatching => format!("sent to the tool: {}", grounds(body.grounds)),
        Kind::GoingOn => "sent to the tool what it had asked for".to_owned(),
        Kind::Completed => {
            let ran = match body.ran {
                Some(Ran::Succeeded) => "the tool succeeded",
                Some(Ran::Failed) => "the tool failed",
                None => "the tool answered",
            };
            let took = waited(SignedDuration::from_millis(body.took_ms.unwrap_or_default().cast_signed()));
            let bytes = body.result_bytes.unwrap_or_default();
            format!("{ran} after {took}, {bytes} bytes{}", words(&body.excerpt))
        }
        Kind::OutcomeUnknown => "the tool's answer is lost: it may have run".to_owned(),
        Kind::Refused => {
            let reason = body.reason.as_deref().map(|reason| format!(" ({})", visible(reason)));
            format!("refused: {}{}{}", own(&body.status), reason.unwrap_or_default(), words(&body.message))
        }
        Kind::Withdrawn => "withdrawn by the caller".to_owned(),
        Kind::TooLate => "approved after it was withdrawn: nothing ran".to_owned(),
        Kind::Resolved => {
            let who = match body.by {
                Some(Resolver::Person) => format!("`{}` says", own(&body.name)),
                Some(Resolver::Tool) => format!("the tool `{}` says", own(&body.name)),
                Some(Resolver::Adapter) | None => "nothing was sent, so".to_owned(),
            };
            let what = match body.resolution {
                Some(Resolution::Ran) => "it ran",
                Some(Resolution::DidNotRun) => "it did not run",
                None => "nothing",
            };
            format!("{who} {what}")
        }
        // No step of a call.
        Kind::Begun
        | Kind::Continued
        | Kind::Checkpoint
        | Kind::Torn
        | Kind::Gap
        | Kind::CallerCreated
        | Kind::CallerRevoked => String::new(),
    }
}

const fn decided(decision: Option<Decided>) -> &'static str {
    match decision {
        Some(Decided::Approved) => "approved",
        Some(Decided::Rejected) => "rejected",
        Some(Decided::Expired) => "expired: nobody decided in time",
        Some(Decided::ChangesRequested) => "changes requested",
        Some(Decided::OtherPayload) => "decided about something else",
        None => "decided",
    }
}

const fn redeemed(redemption: Option<Redeemed>) -> &'static str {
    match redemption {
        Some(Redeemed::Valid) => "token redeemed",
        Some(Redeemed::Invalid) => "token refused: not valid",
        Some(Redeemed::Expired) => "token refused: expired",
        Some(Redeemed::Used) => "token refused: used before",
        Some(Redeemed::AnswerLost) | None => "token sent to be redeemed, and the answer is lost",
    }
}

const fn grounds(grounds: Option<Grounds>) -> &'static str {
    match grounds {
        Some(Grounds::Passed) => "nobody is asked about it",
        Some(Grounds::Allowed) => "allowed by the rules",
        Some(Grounds::Approved) => "approved, and the token was redeemed",
        Some(Grounds::ApprovedWithoutToken) => "approved; no token is asked for",
        None => "no reason given",
    }
}

/// A duration as people say it: `12 ms`, `3.5 s`, `4 min 10 s`, `2 h 5 min`.
fn waited(duration: SignedDuration) -> String {
    let ms = duration.as_millis();
    let (sign, ms) = if ms < 0 { ("-", -ms) } else { ("", ms) };
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{sign}{ms} ms"),
        1..60 => format!("{sign}{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{sign}{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{sign}{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Text without a character that has no shape of its own, reorders its neighbours or moves the cursor.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // Letters that draw nothing.
        let is_blank = matches!(character, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}');
        match character {
            '\'' => shown.push(character),
            _ if is_blank => shown.extend(character.escape_unicode()),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}
