//! What Gate has on record about the demonstration's task.

use super::view::line;
use anyhow::{Context, Result};
use holdpoint_config::printable_lines;
use holdpoint_core::TaskId;
use holdpoint_store::{Agents as _, AutomaticOutcome, Decider, LogEntry, LogRow, Threads as _};
use holdpoint_store_sqlite::SqliteStore;

/// More than four calls leave behind.
const LINES_MAX: u32 = 100;

pub(crate) async fn print(store: &SqliteStore, agent: &str, task: &TaskId) -> Result<()> {
    let agents = store.agents().await?;
    let agent =
        agents.iter().find(|known| known.name == agent).context("the demonstration's agent is gone")?;
    let task =
        holdpoint_api::TaskId::parse(task.as_str()).context("the demonstration's task has a strange name")?;
    line("");
    line("Gate's record:");
    for row in store.timeline(agent.id, &task, LINES_MAX).await? {
        line(&printable_lines(&format!("  {}  {}", row.at.strftime("%H:%M:%S"), words(&row))));
    }
    Ok(())
}

fn words(row: &LogRow) -> String {
    let thread = row.thread_id.as_ref().map(|id| format!("{}: ", id.as_str())).unwrap_or_default();
    let noted = |note: &Option<String>| note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    let what = match &row.entry {
        LogEntry::DecidedByRules { outcome, subject, .. } => {
            let word = match outcome {
                AutomaticOutcome::Allow => "allowed",
                AutomaticOutcome::Reject => "rejected",
            };
            format!("a rule {word} \"{subject}\"")
        }
        LogEntry::ThreadOpened { subject, .. } => format!("review opened: \"{subject}\""),
        LogEntry::Approved { by, note, .. } => format!("approved by {}{}", decider(by), noted(note)),
        LogEntry::Rejected { by, note, .. } => format!("rejected by {}{}", decider(by), noted(note)),
        LogEntry::Expired {} => "expired".to_owned(),
        LogEntry::TokenMinted { .. } => "one-time token handed out".to_owned(),
        LogEntry::TokenRedeemed { .. } => "one-time token used up".to_owned(),
        LogEntry::TokenRefused { reason } => format!("token refused: {reason}"),
        LogEntry::Event { event_summary, .. } => event_summary.clone(),
        LogEntry::Revised { event_summary, .. } => format!("revised: {event_summary}"),
        LogEntry::ChangesRequested { by, message, .. } => format!("{by} asks for changes: {message}"),
        LogEntry::AgentCreated { .. }
        | LogEntry::AgentKeyRegenerated { .. }
        | LogEntry::AgentChanged { .. }
        | LogEntry::DeclarationApplied { .. }
        | LogEntry::Access { .. } => row.entry.kind().to_owned(),
    };
    format!("{thread}{what}")
}

fn decider(by: &Decider) -> &str {
    match by {
        Decider::Person(name) => name,
        Decider::Rules => "a rule",
    }
}
