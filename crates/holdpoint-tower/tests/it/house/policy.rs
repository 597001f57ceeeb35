//! A configuration that tests can change while calls wait.

use holdpoint_core::{
    Ask, Effect, EffectKey, EntryName, Plan, PlanError, Policy, PolicyRevision, Probe, Question, Reconcile,
    Secrets, ServerName, Tokens, ToolCall, ToolName, Verdict,
};
use serde_json::{Value, json, value::RawValue};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What the configuration says of every call, whatever its entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// As the entries say.
    AsWritten,
    /// No.
    Deny,
    /// Yes, to everything.
    Pass,
    /// Yes, once per effect.
    PassOnce,
    /// It does not fit.
    Misfit,
}

/// What can be edited.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) says: Says,
    pub(crate) tokens: Tokens,
    pub(crate) patience: Option<Duration>,
    pub(crate) subject: String,
    pub(crate) revision: String,
    /// What effects are called; `None`: no tool has one.
    pub(crate) effect_named: Option<&'static str>,
    /// How long a run takes to settle; `None`: no tool can tell what happened.
    pub(crate) settles_within: Option<Duration>,
}

/// `balance` passes, `wipe` is denied, `misfit` does not fit, everything else is gated. `refund`, and `mark`, which
/// passes, have the effect `refund:ORDER`. The value of `card` is a secret.
#[derive(Debug)]
pub(crate) struct HousePolicy(Mutex<Terms>);

impl HousePolicy {
    pub(crate) fn new(tokens: Tokens, patience: Option<Duration>) -> Self {
        Self(Mutex::new(Terms {
            says: Says::AsWritten,
            tokens,
            patience,
            subject: "subject".into(),
            revision: "r1".into(),
            effect_named: Some("refund"),
            settles_within: None,
        }))
    }

    pub(crate) fn terms(&self) -> Terms {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Terms)) {
        edit(&mut self.0.lock().unwrap());
    }
}

impl Policy for HousePolicy {
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError> {
        let terms = self.terms();
        let entry = EntryName::new("entry");
        let effect = effect(&terms, call);
        let misfit = PlanError { entry: entry.clone(), problem: "argument `amount` is missing".into() };
        match (terms.says, call.tool.as_str()) {
            (Says::Deny, _) | (Says::AsWritten, "wipe") => Ok(Plan::Deny(entry)),
            (Says::Misfit, _) | (Says::AsWritten, "misfit") => Err(misfit),
            (Says::Pass, _) | (Says::AsWritten, "balance") => Ok(Plan::Pass(entry)),
            (Says::PassOnce, _) | (Says::AsWritten, "mark") => {
                effect.map(|effect| Plan::PassOnce(entry, effect)).ok_or(misfit)
            }
            (Says::AsWritten, tool) => Ok(Plan::Gate(Box::new(Ask {
                entry,
                workflow_name: "House".into(),
                task_label: "label".into(),
                tool_name: tool.into(),
                subject: terms.subject,
                preview: None,
                risk_level: None,
                summary: vec![],
                images: Vec::new(),
                payload: RawValue::from_string(
                    call.arguments.raw().map_or("{}".into(), std::string::ToString::to_string),
                )
                .unwrap(),
                tokens: terms.tokens,
                patience: terms.patience,
                effect,
                secrets: Secrets::new(text_of(call, "card").into_iter().collect::<Vec<_>>()),
            }))),
        }
    }

    fn revision(&self) -> PolicyRevision {
        PolicyRevision::new(self.terms().revision)
    }
}

fn effect(terms: &Terms, call: &ToolCall) -> Option<Effect> {
    let name = terms.effect_named.filter(|_| matches!(call.tool.as_str(), "refund" | "mark"))?;
    // A name may be made without the arguments: then nobody would have read them.
    let order = if call.arguments.is_unread() { "unread".to_owned() } else { text_of(call, "order")? };
    let reconcile = terms.settles_within.map(|settles_within| {
        Arc::new(Lookup { order: order.clone(), settles_within }) as Arc<dyn Reconcile>
    });
    Some(Effect { key: EffectKey::new(format!("{name}:{order}")), reconcile })
}

fn text_of(call: &ToolCall, name: &str) -> Option<String> {
    Some(call.arguments.as_map()?.get(name)?.as_str()?.to_owned())
}

#[derive(Debug)]
struct Lookup {
    order: String,
    settles_within: Duration,
}

impl Reconcile for Lookup {
    fn question(&self) -> Question {
        let arguments = RawValue::from_string(json!({ "order": self.order }).to_string()).unwrap();
        Question { tool: ToolName::new("lookup"), arguments }
    }

    fn settles_within(&self) -> Duration {
        self.settles_within
    }

    fn verdict(&self, result: &Value) -> Verdict {
        match result.as_str() {
            Some("happened") => Verdict::Happened,
            Some("did not happen") => Verdict::DidNotHappen,
            Some(_) | None => Verdict::CannotTell,
        }
    }
}

/// A read-only tool that says what it is told to.
#[derive(Debug, Default)]
pub(crate) struct ScriptedProbe {
    answer: Mutex<Option<Value>>,
    asked: AtomicUsize,
}

impl ScriptedProbe {
    pub(crate) fn saying(answer: Option<&str>) -> Arc<Self> {
        let probe = Self::default();
        probe.say(answer);
        Arc::new(probe)
    }

    pub(crate) fn say(&self, answer: Option<&str>) {
        *self.answer.lock().unwrap() = answer.map(Value::from);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl Probe for ScriptedProbe {
    async fn ask(&self, server: &ServerName, question: Question) -> Option<Value> {
        assert_eq!((server.as_str(), question.tool.as_str()), ("bank", "lookup"));
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answer.lock().unwrap().clone()
    }
}
