//! What would be done with a call, and why, for people and for scripts.

use crate::{
    mistake::{printable, printable_lines},
    policy::{EntryPlace, Found},
};
use holdpoint_core::{Ask, Effect, Plan, PlanError, Question, ToolCall};
use serde_json::{Value, json};
use std::fmt;

/// What would be done with a call, and why.
#[derive(Debug)]
pub struct Explanation {
    /// The server that was named.
    pub server: String,
    /// The tool that was named.
    pub tool: String,
    /// What would be done.
    pub outcome: Outcome,
    /// The entry that says so.
    pub entry: String,
    /// Where the entry is written; `None`: nothing is written about this tool.
    pub place: Option<EntryPlace>,
    /// Why it is this entry.
    pub why: String,
    /// What may not be meant.
    pub note: Option<&'static str>,
}

/// What an effect comes to whose name is the same for every call.
pub(crate) const ONE_RUN_EVER: &str =
    "its name is the same for every call, so this tool runs once and never again";

/// What a `pass` that is written for a glob leaves out.
const UNLESS_WARNED: &str =
    "a glob does not let a tool pass whose own definition says that it is destructive";

/// What would be done with a call.
#[derive(Debug)]
pub enum Outcome {
    /// It would run without being asked about.
    Pass,
    /// The same, but at most once for its effect.
    PassOnce(Effect),
    /// It would be refused.
    Deny,
    /// Gate would be asked this.
    Gate(Box<Ask>),
    /// It would be refused, since the entry does not fit it.
    DoesNotFit(PlanError),
}

impl Outcome {
    /// What the call would do in the world, by name.
    #[must_use]
    pub const fn effect(&self) -> Option<&Effect> {
        match self {
            Self::PassOnce(effect) => Some(effect),
            Self::Gate(ask) => ask.effect.as_ref(),
            Self::Pass | Self::Deny | Self::DoesNotFit(_) => None,
        }
    }

    /// The word for it in cases files and JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pass | Self::PassOnce(_) => "pass",
            Self::Deny => "deny",
            Self::Gate(_) => "gate",
            Self::DoesNotFit(_) => "error",
        }
    }
}

impl Explanation {
    pub(crate) fn new(call: &ToolCall, found: &Found<'_>, plan: Result<Plan, PlanError>) -> Self {
        let tool = call.tool.as_str();
        let (entry, why) = match found {
            Found::Exact(entry) => (entry, format!("its name is exactly `{tool}`")),
            Found::Glob(entry) => {
                (entry, format!("`{}` is the most specific glob that matches `{tool}`", entry.pattern))
            }
            Found::Unmatched(entry) => {
                (entry, format!("no entry for server `{}` matches `{tool}`", call.server))
            }
            Found::Lookalike(entry) => {
                (entry, format!("`{tool}` differs only in case from what `{}` stands for", entry.pattern))
            }
        };
        let outcome = match plan {
            Ok(Plan::Pass(_)) => Outcome::Pass,
            Ok(Plan::PassOnce(_, effect)) => Outcome::PassOnce(effect),
            Ok(Plan::Deny(_)) => Outcome::Deny,
            Ok(Plan::Gate(ask)) => Outcome::Gate(ask),
            Err(error) => Outcome::DoesNotFit(error),
        };
        let constant = entry.action.effect().and_then(|effect| effect.key.constant());
        let passes_by_glob =
            matches!((found, &outcome), (Found::Glob(_), Outcome::Pass | Outcome::PassOnce(_)));
        let note = constant.and(outcome.effect()).map(|_| ONE_RUN_EVER);
        let note = note.or(passes_by_glob.then_some(UNLESS_WARNED));
        Self {
            server: call.server.as_str().to_owned(),
            tool: tool.to_owned(),
            outcome,
            entry: entry.name.as_str().to_owned(),
            place: entry.place.clone(),
            why,
            note,
        }
    }

    /// For scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let place = self.place.as_ref();
        let mut json = json!({
            "server": self.server,
            "tool": self.tool,
            "plan": self.outcome.word(),
            "entry": self.entry,
            "file": place.map(|place| place.path.display().to_string()),
            "line": place.map(|place| place.line),
            "why": self.why,
        });
        let detail = match &self.outcome {
            Outcome::Gate(ask) => Some(("request", request(ask))),
            Outcome::DoesNotFit(error) => Some(("error", Value::from(error.to_string()))),
            Outcome::Pass | Outcome::PassOnce(_) | Outcome::Deny => None,
        };
        let effect = self.outcome.effect().map(|effect| ("effect", effect_json(effect)));
        let note = self.note.map(|note| ("note", Value::from(note)));
        if let Some(object) = json.as_object_mut() {
            let more = [detail, effect, note].into_iter().flatten();
            object.extend(more.map(|(key, value)| (key.to_owned(), value)));
        }
        json
    }
}

/// What Gate would be asked, by the names that the agent API uses, and how an approval is taken.
fn request(ask: &Ask) -> Value {
    json!({
        "workflow_name": ask.workflow_name,
        "task_label": ask.task_label,
        "tool_name": ask.tool_name,
        "subject": ask.subject,
        "preview": ask.preview,
        "risk_level": ask.risk_level.map(holdpoint_core::RiskLevel::as_str),
        "summary": ask.summary,
        "payload": ask.payload,
        "token": ask.tokens.as_str(),
        "patience_ms": ask.patience.map(|patience| u64::try_from(patience.as_millis()).unwrap_or(u64::MAX)),
    })
}

fn effect_json(effect: &Effect) -> Value {
    let reconcile = effect.reconcile.as_ref().map(|reconcile| {
        let question = reconcile.question();
        json!({
            "tool": question.tool.as_str(),
            "arguments": question.arguments,
            "after_ms": u64::try_from(reconcile.settles_within().as_millis()).unwrap_or(u64::MAX),
        })
    });
    json!({ "key": effect.key.as_str(), "reconcile": reconcile })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.outcome {
            Outcome::Pass => "passes: it runs without being asked about",
            Outcome::PassOnce(_) => "passes: it runs without being asked about, once",
            Outcome::Deny => "is denied: it never runs",
            Outcome::Gate(_) => "is gated: Gate is asked before it runs",
            Outcome::DoesNotFit(_) => "is refused: its entry does not fit the call",
        };
        writeln!(f, "{} on {} {what}", printable(&self.tool), printable(&self.server))?;
        match &self.place {
            Some(place) => writeln!(f, "  entry    {} ({place})", printable(&self.entry))?,
            None => writeln!(f, "  entry    {}", printable(&self.entry))?,
        }
        write!(f, "  because  {}", printable(&self.why))?;
        if let Some(effect) = self.outcome.effect() {
            write!(f, "\n  effect   {}", printable(effect.key.as_str()))?;
            if let Some(reconcile) = &effect.reconcile {
                let Question { tool, arguments } = reconcile.question();
                let (tool, arguments) = (printable(tool.as_str()), printable(arguments.get()));
                let after = reconcile.settles_within().as_secs_f64();
                write!(f, "\n  in doubt {tool} {arguments} tells, {after} s after a run was lost")?;
            }
        }
        if let Some(note) = self.note {
            write!(f, "\n  note     {note}")?;
        }
        match &self.outcome {
            Outcome::Pass | Outcome::PassOnce(_) | Outcome::Deny => Ok(()),
            Outcome::DoesNotFit(error) => write!(f, "\n  problem  {}", printable(&error.problem)),
            Outcome::Gate(ask) => show(ask, f),
        }
    }
}

fn show(ask: &Ask, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "\n\nGate is asked")?;
    let mut line = |name: &str, text: &str| {
        write!(f, "\n  {name:<14} {}", printable_lines(text).replace('\n', "\n                 "))
    };
    line("workflow_name", &ask.workflow_name)?;
    line("task_label", &ask.task_label)?;
    line("tool_name", &ask.tool_name)?;
    line("subject", &ask.subject)?;
    if let Some(preview) = &ask.preview {
        line("preview", preview)?;
    }
    if let Some(risk) = ask.risk_level {
        line("risk_level", risk.as_str())?;
    }
    for bullet in &ask.summary {
        line("summary", &format!("- {bullet}"))?;
    }
    let payload: Option<Value> = serde_json::from_str(ask.payload.get()).ok();
    let payload = payload.and_then(|payload| serde_json::to_string_pretty(&payload).ok());
    line("payload", &payload.unwrap_or_else(|| ask.payload.get().to_owned()))?;
    line("token", ask.tokens.as_str())?;
    if let Some(patience) = ask.patience {
        line("patience", &format!("{} s", patience.as_secs_f64()))?;
    }
    Ok(())
}
