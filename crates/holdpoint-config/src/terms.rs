//! What an entry says, apart from how it is written: the same terms decide the same.

use crate::{
    compile::{own_hold, tokens},
    load::{Entries, Located},
    settings::WaitSettings,
    written::{PayloadField, Reconcile, Risk, ToolEntry, WrittenAction, WrittenEffect},
};
use holdpoint_api::declare::HumaneDuration;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Names of keys and what they say, without those that say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms(Vec<(&'static str, String)>);

impl Terms {
    pub(crate) fn new(terms: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Self {
        Self(terms.into_iter().filter_map(|(name, said)| Some((name, said?))).collect())
    }

    /// `schema`: the content of the payload's schema.
    pub(crate) fn of(entry: &ToolEntry, schema: Option<String>) -> Self {
        let text = |written: &Option<Located<String>>| written.as_ref().map(|text| text.value.clone());
        let approval = entry.approval.as_ref().map(|approval| &approval.value);
        let summary = |summary: &Located<Vec<Located<String>>>| {
            json!(summary.value.iter().map(|point| &point.value).collect::<Vec<_>>()).to_string()
        };
        Self::new([
            ("action", Some(action(entry.action).to_owned())),
            ("workflow_name", text(&entry.workflow_name)),
            ("task_label", text(&entry.task_label)),
            ("subject", text(&entry.subject)),
            ("preview", text(&entry.preview)),
            ("risk_level", entry.risk_level.as_ref().map(|risk| level(risk.value).to_owned())),
            ("summary", entry.summary.as_ref().map(summary)),
            ("payload", entry.payload.as_ref().map(|payload| fields(&payload.value).to_string())),
            ("payload_schema", schema),
            (
                "approval.token",
                approval.and_then(|approval| approval.token).map(|rule| tokens(rule).as_str().to_owned()),
            ),
            ("approval.patience", approval.and_then(|approval| approval.patience).map(length)),
            ("effect", entry.effect.as_ref().map(|effect| self::effect(&effect.value).to_string())),
        ])
        .and(entry.hold.iter().flat_map(|hold| waits(own_hold(Some(&hold.value)))))
    }

    /// With more of them.
    pub(crate) fn and(mut self, more: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Self {
        self.0.extend(more.into_iter().filter_map(|(name, said)| Some((name, said?))));
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, said)| said.as_str())
    }

    /// The keys that say something else in `other`.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let ours = self.0.iter().map(|(name, _)| *name);
        let theirs = other.0.iter().map(|(name, _)| *name).filter(|name| self.get(name).is_none());
        ours.chain(theirs).filter(|name| self.get(name) != other.get(name)).collect()
    }

    pub(crate) fn hash_into(&self, hash: &mut Sha256) {
        hash.update((self.0.len() as u64).to_be_bytes());
        for (name, said) in &self.0 {
            text_into(name, hash);
            text_into(said, hash);
        }
    }
}

pub(crate) fn text_into(text: &str, hash: &mut Sha256) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

/// By the names of the keys.
pub(crate) fn waits(said: WaitSettings) -> [(&'static str, Option<String>); 4] {
    [
        ("hold.mode", said.mode.map(|mode| mode.as_str().to_owned())),
        ("hold.patience", said.patience.map(seconds)),
        ("hold.leg", said.leg.map(seconds)),
        ("hold.declined", said.declined.map(|declined| declined.as_str().to_owned())),
    ]
}

const fn action(action: WrittenAction) -> &'static str {
    match action {
        WrittenAction::Gate => "gate",
        WrittenAction::Pass => "pass",
        WrittenAction::Deny => "deny",
    }
}

const fn level(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "high",
        Risk::Critical => "critical",
    }
}

fn length(length: HumaneDuration) -> String {
    seconds(length.get())
}

pub(crate) fn seconds(length: Duration) -> String {
    format!("{} s", length.as_secs_f64())
}

fn effect(written: &WrittenEffect) -> Value {
    match written {
        WrittenEffect::Key(key) => json!([key, null]),
        WrittenEffect::Told(effect) => {
            json!([effect.key.value, effect.reconcile.as_ref().map(|told| reconcile(&told.value))])
        }
    }
}

fn reconcile(written: &Reconcile) -> Value {
    json!([
        written.tool.value,
        written.arguments.as_ref().map(|arguments| fields(&arguments.value)),
        written.happened.value,
        written.did_not_happen.as_ref().map(|condition| &condition.value),
        written.after.map(length),
    ])
}

/// In the order written, which is the order that they are shown in.
fn fields(written: &Entries<Located<PayloadField>>) -> Value {
    let one = |(name, field): &(Located<String>, Located<PayloadField>)| {
        let PayloadField { at, secret, optional, value, template } = &field.value;
        let flag = |flag: &Option<Located<bool>>| flag.as_ref().is_some_and(|flag| flag.value);
        json!([
            name.value,
            at.as_ref().map(|at| &at.value),
            flag(secret),
            flag(optional),
            value.as_ref().map(|value| [&value.0]),
            template.as_ref().map(|template| &template.value),
        ])
    };
    Value::Array(written.0.iter().map(one).collect())
}
