//! What a call does in the world: its name, and how to find out whether it happened.

use crate::{
    fields::{Field, Filling},
    mistake::printable,
    secret::FingerprintKey,
    template::{Condition, Scope, Template},
};
use holdpoint_core::{Effect, EffectKey, Question, Reconcile, ToolName, Verdict, check_unambiguous};
use minijinja::Environment;
use serde_json::{Value, value::RawValue};
use std::{borrow::Cow, sync::Arc, time::Duration};

/// A longer name is data, not a name.
pub(crate) const KEY_BYTES_MAX: usize = 512;

/// How long after a run was lost a read-only tool's answer is final, where nothing is said.
pub(crate) const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// How the name of a call's effect is made.
#[derive(Debug)]
pub(crate) struct EffectMapping {
    pub(crate) key: Template,
    pub(crate) reconcile: Option<ReconcileMapping>,
}

/// How a read-only tool is asked, and how its answer is read.
#[derive(Debug)]
pub(crate) struct ReconcileMapping {
    pub(crate) tool: ToolName,
    pub(crate) arguments: Vec<Field>,
    pub(crate) conditions: Conditions,
    pub(crate) after: Duration,
}

/// What an answer says.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    pub(crate) happened: Condition,
    pub(crate) did_not_happen: Option<Condition>,
}

impl EffectMapping {
    /// The effect of one call, or what is wrong with it, in words without values.
    pub(crate) fn of(
        &self,
        scope: &Scope<'_>,
        engine: &Environment<'static>,
        key: &FingerprintKey,
    ) -> Result<Effect, String> {
        let name = self.key.name(scope, engine).map_err(|problem| format!("`effect` {problem}"))?;
        if let Some(problem) = unusable(&name) {
            return Err(format!("`effect` {problem} for this call"));
        }
        let reconcile = self.reconcile.as_ref().map(|mapping| mapping.of(scope, engine, key)).transpose()?;
        Ok(Effect {
            key: EffectKey::new(name),
            reconcile: reconcile.map(|reconcile| Arc::new(reconcile) as Arc<dyn Reconcile>),
        })
    }
}

/// Why a text cannot be the name of an effect.
pub(crate) fn unusable(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        Some("comes to nothing".to_owned())
    } else if name.len() > KEY_BYTES_MAX {
        Some(format!("comes to more than {KEY_BYTES_MAX} bytes"))
    } else if matches!(printable(name), Cow::Owned(_)) {
        // Two names that look the same would be two effects.
        Some("comes to a name with control or invisible characters in it".to_owned())
    } else {
        None
    }
}

impl ReconcileMapping {
    fn of(
        &self,
        scope: &Scope<'_>,
        engine: &Environment<'static>,
        key: &FingerprintKey,
    ) -> Result<Reconciliation, String> {
        let filling = Filling { noun: "reconcile argument", scope, engine, key };
        let arguments = filling.json(&self.arguments)?;
        let arguments = RawValue::from_string(arguments)
            .map_err(|_| "the arguments of `reconcile` are not valid JSON".to_owned())?;
        Ok(Reconciliation {
            question: Question { tool: self.tool.clone(), arguments },
            conditions: self.conditions.clone(),
            after: self.after,
        })
    }
}

/// How to find out about one call.
#[derive(Debug)]
struct Reconciliation {
    question: Question,
    conditions: Conditions,
    after: Duration,
}

impl Reconcile for Reconciliation {
    fn question(&self) -> Question {
        self.question.clone()
    }

    fn settles_within(&self) -> Duration {
        self.after
    }

    fn verdict(&self, result: &Value) -> Verdict {
        match readings(result).map(|content| content.map(|content| self.conditions.verdict(&content))) {
            [None | Some(Verdict::CannotTell), Some(verdict)]
            | [Some(verdict), None | Some(Verdict::CannotTell)] => verdict,
            [Some(one), Some(other)] if one == other => one,
            [None, None] | [Some(_), Some(_)] => Verdict::CannotTell,
        }
    }
}

impl Conditions {
    fn verdict(&self, content: &Value) -> Verdict {
        let happened = self.happened.holds(content);
        // Only words of its own free an effect: a condition that is false because it compares a number with a text, or
        // because the tool changed its wording, must not buy a second run.
        let did_not = self.did_not_happen.as_ref().map(|condition| condition.holds(content));
        match (happened, did_not) {
            (Some(true), None | Some(Some(false))) => Verdict::Happened,
            (Some(false), Some(Some(true))) => Verdict::DidNotHappen,
            (Some(true), Some(Some(true) | None))
            | (Some(false), None | Some(Some(false) | None))
            | (None, _) => Verdict::CannotTell,
        }
    }
}

/// What conditions see of a tool's answer: its structured content, or else its one text, as JSON if it is JSON. None: it
/// is an error, or there is not one thing to look at. Two: a text such as `true`, which conditions may take for either.
fn readings(result: &Value) -> [Option<Value>; 2] {
    let is_error =
        result.get("isError").is_some_and(|error| !matches!(error, Value::Bool(false) | Value::Null));
    if is_error {
        return [None, None];
    }
    if let Some(structured) = result.get("structuredContent").filter(|content| !content.is_null()) {
        return [Some(structured.clone()), None];
    }
    let Some(text) = only_text(result) else { return [None, None] };
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return [Some(Value::from(text)), None];
    }
    match check_unambiguous(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => [Some(value), None],
        Ok(value) => [Some(value), Some(Value::from(text))],
        Err(_) => [None, None],
    }
}

fn only_text(result: &Value) -> Option<&str> {
    let blocks = result.get("content")?.as_array()?;
    let mut texts = blocks.iter().filter(|block| block.get("type").and_then(Value::as_str) == Some("text"));
    let (text, None) = (texts.next()?.get("text")?.as_str()?, texts.next()) else { return None };
    Some(text)
}
