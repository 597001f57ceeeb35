//! Bodies of the admin API, for the server and for the command line that calls it.

use holdpoint_api::RiskLevel;
use holdpoint_api::declare::{GateDeclaration, Mistake};
use holdpoint_store::{Decider, LogEntry, Thread, ThreadState, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::gate::{Applied, ThreadReport};
use crate::options::PublicUrl;

/// A thread as the command line lists it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenThread {
    /// Which.
    pub thread_id: String,
    /// The agent's task.
    pub task_id: String,
    /// Who asks.
    pub agent: String,
    /// What is to be used.
    pub tool_name: String,
    /// The title.
    pub subject: String,
    /// Short text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// As the agent says.
    pub risk_level: Option<RiskLevel>,
    /// `needs_review`, `escalated`, `approved`, `rejected` or `expired`.
    pub state: String,
    /// As the agent says.
    pub summary: Vec<String>,
    /// Exactly as sent; `null` when there is none.
    pub payload: Box<RawValue>,
    /// What a decision is bound to.
    pub payload_digest: String,
    /// Which revision this is.
    pub revision_id: String,
    /// When it was opened.
    pub created_at: Timestamp,
    /// Where to look at it.
    pub url: String,
}

impl OpenThread {
    pub(crate) fn of(thread: &Thread, public: &PublicUrl) -> Self {
        let revision = &thread.revision;
        Self {
            thread_id: thread.id.as_str().to_owned(),
            task_id: thread.task_id.as_str().to_owned(),
            agent: thread.agent_name.clone(),
            tool_name: revision.tool_name.clone(),
            subject: revision.subject.clone(),
            preview: revision.preview.clone(),
            risk_level: revision.risk_level,
            state: thread.state.as_str().to_owned(),
            summary: revision.summary.clone(),
            payload: RawValue::from_string(revision.payload.clone()).unwrap_or_default(),
            payload_digest: revision.payload_digest.clone(),
            revision_id: revision.id.as_str().to_owned(),
            created_at: thread.opened_at,
            url: public.thread(thread.id.as_str()),
        }
    }
}

/// A thread and what happened in its task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThreadTimeline {
    /// The thread.
    pub thread: OpenThread,
    /// How it was decided, if it was.
    pub decision: Option<Decided>,
    /// The oldest first.
    pub timeline: Vec<TimelineLine>,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TimelineLine {
    /// When.
    pub at: Timestamp,
    /// On which thread, if on one.
    pub thread_id: Option<String>,
    /// What.
    pub entry: LogEntry,
}

impl ThreadTimeline {
    pub(crate) fn of(report: ThreadReport, public: &PublicUrl) -> Self {
        let timeline = report.timeline.into_iter().map(|row| TimelineLine {
            at: row.at,
            thread_id: row.thread_id.map(|id| id.as_str().to_owned()),
            entry: row.entry,
        });
        let decision = match &report.thread.state {
            ThreadState::Open(_) => None,
            ThreadState::Approved(_) | ThreadState::Rejected(_) | ThreadState::Expired { .. } => {
                Some(Decided::of(&report.thread))
            }
        };
        Self { thread: OpenThread::of(&report.thread, public), decision, timeline: timeline.collect() }
    }
}

/// A decision to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideBody {
    /// What to say.
    #[serde(default)]
    pub note: Option<String>,
    /// Who decides; absent: the operator.
    #[serde(default)]
    pub by: Option<String>,
    /// The revision they saw; absent: the one that is up now.
    #[serde(default)]
    pub revision_id: Option<String>,
}

/// A decision that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Which thread.
    pub thread_id: String,
    /// How it stands now.
    pub state: String,
    /// Who decided; absent when it expired.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// What they said.
    pub note: Option<String>,
}

impl Decided {
    /// How a thread stands.
    #[must_use]
    pub fn of(thread: &Thread) -> Self {
        let (by, at, note) = match &thread.state {
            ThreadState::Open(_) => (None, None, None),
            ThreadState::Approved(verdict) | ThreadState::Rejected(verdict) => {
                let Verdict { by, at, note, revision_id: _ } = verdict;
                (Some(name_of(by)), Some(*at), note.clone())
            }
            ThreadState::Expired { at } => (None, Some(*at), None),
        };
        Self {
            thread_id: thread.id.as_str().to_owned(),
            state: thread.state.as_str().to_owned(),
            decided_by: by,
            decided_at: at,
            note,
        }
    }
}

fn name_of(decider: &Decider) -> String {
    match decider {
        Decider::Person(name) => name.clone(),
        Decider::Rules => "the rules".to_owned(),
    }
}

/// An agent to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateAgentBody {
    /// Its name.
    pub name: String,
    /// Whether its approvals come with one-time tokens.
    #[serde(default = "yes")]
    pub signed_tokens: bool,
}

fn yes() -> bool {
    true
}

/// An agent that was made. `Debug` hides the key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedAgent {
    /// Its name.
    pub name: String,
    /// Shown this one time.
    pub key: String,
}

impl std::fmt::Debug for CreatedAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedAgent").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A declaration to put in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyBody {
    /// What to make so.
    pub declaration: Box<GateDeclaration>,
    /// Who says so; absent: the operator.
    #[serde(default)]
    pub by: Option<String>,
}

/// What putting a declaration in force changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedReport {
    /// Counts from 1.
    pub revision: i64,
    /// In words; empty when all was so already.
    pub changes: Vec<String>,
    /// Agents that were made, with their keys.
    pub agents: Vec<CreatedAgent>,
}

impl AppliedReport {
    /// The report of what was applied.
    #[must_use]
    pub fn of(applied: Applied) -> Self {
        let Applied { revision, changes, keys } = applied;
        let agents =
            keys.into_iter().map(|new| CreatedAgent { name: new.agent, key: new.key.expose().to_owned() });
        Self { revision, changes, agents: agents.collect() }
    }
}

/// Whom to make a sign-in link for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkBody {
    /// Absent: the operator.
    #[serde(default)]
    pub user: Option<String>,
}

/// A sign-in link. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInLinkReport {
    /// The link.
    pub url: String,
    /// Whom it signs in.
    pub user: String,
    /// Until when.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for SignInLinkReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignInLinkReport").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a call was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How the thread stands, when somebody decided before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
    /// The revision that is up, when it is not the one that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_id: Option<String>,
    /// Everything wrong with a declaration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<MistakeLine>,
}

/// One mistake in a declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MistakeLine {
    /// Where, as a JSON Pointer.
    pub at: String,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), hint: None, decided: None, revision_id: None, mistakes: Vec::new() }
    }

    pub(crate) fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }

    pub(crate) fn of_mistakes(mistakes: Vec<Mistake>) -> Self {
        let mut problem = Self::new("the declaration has mistakes; nothing was changed");
        problem.mistakes =
            mistakes.into_iter().map(|Mistake { at, message }| MistakeLine { at, message }).collect();
        problem
    }

    pub(crate) fn already_decided(thread: &Thread) -> Self {
        let decided = Decided::of(thread);
        let mut problem = Self::new(match (&decided.decided_by, decided.decided_at) {
            (Some(by), Some(at)) => format!("already {} by {by} at {at}", decided.state),
            (None, Some(at)) => format!("it expired at {at}"),
            (Some(_) | None, None) => format!("it is {}", decided.state),
        });
        problem.decided = Some(decided);
        problem
    }

    pub(crate) fn revised(thread: &Thread) -> Self {
        let mut problem = Self::new("the agent sent a newer revision than the one that was seen");
        problem.revision_id = Some(thread.revision.id.as_str().to_owned());
        problem.hint("look at the new revision, then decide again")
    }
}
