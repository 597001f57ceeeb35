//! Whom a reconciliation may ask: a tool that runs without being asked about, and has no effect of its own.

use crate::{
    load::Located,
    mistake::{Finding, Findings},
    source::Span,
    written::{ToolEntry, WrittenAction, WrittenEffect},
};

/// What matters of an entry, also of one that has mistakes.
pub(super) struct Stated {
    name: Located<String>,
    action: WrittenAction,
    has_effect: bool,
    asks: Option<Located<String>>,
}

impl Stated {
    pub(super) fn of(entry: &ToolEntry) -> Self {
        let asks = match entry.effect.as_ref().map(|effect| &effect.value) {
            Some(WrittenEffect::Told(effect)) => {
                effect.reconcile.as_ref().map(|told| told.value.tool.clone())
            }
            Some(WrittenEffect::Key(_)) | None => None,
        };
        Self { name: entry.name.clone(), action: entry.action, has_effect: entry.effect.is_some(), asks }
    }
}

/// Entries of one server.
pub(super) fn check(stated: &[Stated], findings: &mut Findings) {
    for asked in stated.iter().filter_map(|entry| entry.asks.as_ref()) {
        let entry = stated.iter().find(|entry| entry.name.value == asked.value);
        if let Some(finding) = refusal(asked, entry) {
            findings.push(finding);
        }
    }
}

fn refusal(asked: &Located<String>, entry: Option<&Stated>) -> Option<Finding> {
    let tool = &asked.value;
    let Some(entry) = entry else {
        let message = format!("`{tool}` has no entry of its own that lets it run without being asked about");
        let hint = format!("add `- {{ name: {tool}, action: pass }}`; it must only read");
        return Some(Finding::at(asked.span, message).hint(&hint));
    };
    let because = |message: &str, hint: &str, place: Span| {
        let finding = Finding::at(asked.span, format!("`{tool}` {message}"));
        Some(finding.hint(hint).related(place, "its entry"))
    };
    let place = entry.name.span;
    let only_read = "name a tool that only reads, with `action: pass`";
    match (entry.action, entry.has_effect) {
        (WrittenAction::Pass, false) => None,
        (WrittenAction::Pass, true) => {
            because("has an effect itself, and finding out must not have one", only_read, place)
        }
        (WrittenAction::Gate, _) => {
            because("is gated: finding out must not run what a person has to decide about", only_read, place)
        }
        (WrittenAction::Deny, _) => because("is denied, so it cannot be asked", only_read, place),
    }
}
