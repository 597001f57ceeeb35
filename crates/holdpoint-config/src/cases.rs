//! `*.cases.yaml`: calls with the plan and request that are expected of them.

use crate::{
    explain::{Explanation, Outcome},
    load::{Located, decode},
    mistake::Finding,
    policy::PolicySet,
    read::Reader,
    secret::MASK,
    source::Span,
    written::{Case, CasesFile, ExpectedPlan, ExpectedRequest},
};
use holdpoint_core::{Arguments, Ask, Principal, ServerName, TaskId, ToolCall, ToolName, ToolWarning};
use serde_json::{Map, Value};
use std::path::Path;

/// A case that was run: its name, where it is, and what was not as expected.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) failures: Vec<Finding>,
}

/// Reads the file; what is wrong with it is in the reader's findings.
pub(crate) fn read(reader: &mut Reader<'_>, path: &Path, known: Option<&[&str]>) -> Option<CasesFile> {
    let (_, root) = reader.open(path)?;
    let file: CasesFile = decode(&root, &mut reader.findings)?;
    reader.check_server(&file.server, known);
    for case in &file.cases {
        contradictions(&case.value, reader);
    }
    Some(file)
}

/// Expectations that no outcome could meet.
fn contradictions(case: &Case, reader: &mut Reader<'_>) {
    let plan = case.plan.value;
    if let Some(request) = case.request.as_ref().filter(|_| plan != ExpectedPlan::Gate) {
        let finding =
            Finding::at(request.span, "`request` has no use here: only with `plan: gate` is Gate asked");
        reader.findings.push(finding.hint("remove it, or write `plan: gate`"));
    }
    if let Some(effect) = &case.effect {
        match plan {
            ExpectedPlan::Gate | ExpectedPlan::Pass => {}
            ExpectedPlan::Deny | ExpectedPlan::Error => {
                let finding = Finding::at(effect.span, "`effect` has no use here: such a call never runs");
                reader.findings.push(finding.hint("remove it, or write `plan: gate` or `plan: pass`"));
            }
        }
    }
    match (&case.error, plan) {
        (Some(error), ExpectedPlan::Gate | ExpectedPlan::Pass | ExpectedPlan::Deny) => {
            let finding = Finding::at(error.span, "`error` has no use here: it goes with `plan: error`");
            reader.findings.push(finding.hint("remove it, or write `plan: error`"));
        }
        (None, ExpectedPlan::Error) => {
            let finding = Finding::at(case.plan.span, "`plan: error` needs an `error` to expect");
            reader.findings.push(finding.hint("add `error: …` with a part of the reason"));
        }
        (Some(_), ExpectedPlan::Error)
        | (None, ExpectedPlan::Gate | ExpectedPlan::Pass | ExpectedPlan::Deny) => {}
    }
}

/// Runs every case of a file.
pub(crate) fn run(file: &CasesFile, policy: &PolicySet) -> Vec<Ran> {
    let run = |case: &Located<Case>| Ran {
        name: case.value.name.clone(),
        span: case.span,
        failures: failures(&case.value, &file.server.value, policy),
    };
    file.cases.iter().map(run).collect()
}

fn failures(case: &Case, server: &str, policy: &PolicySet) -> Vec<Finding> {
    let arguments = match &case.arguments {
        None => Arguments::absent(),
        Some(written) => match Arguments::parse(written.value.0.to_string()) {
            Ok(arguments) => arguments,
            Err(error) => {
                return vec![
                    Finding::at(written.span, error.to_string()).hint("arguments are a mapping by name"),
                ];
            }
        },
    };
    let call = ToolCall {
        principal: Principal::new("check"),
        server: ServerName::new(server),
        tool: ToolName::new(case.tool.as_str()),
        arguments,
        extra: Map::new(),
        definition: None,
        warning: ToolWarning::None,
        task: TaskId::new(case.task.as_deref().unwrap_or("check")),
    };
    let explanation = policy.explain(&call);
    let mut failures = Vec::new();
    match (&explanation.outcome, case.plan.value) {
        (Outcome::Pass | Outcome::PassOnce(_), ExpectedPlan::Pass) | (Outcome::Deny, ExpectedPlan::Deny) => {}
        (Outcome::Gate(ask), ExpectedPlan::Gate) => {
            if let Some(expected) = &case.request {
                compare(&expected.value, ask, &mut failures);
            }
        }
        (Outcome::DoesNotFit(error), ExpectedPlan::Error) => {
            let expected = case.error.as_ref();
            if let Some(expected) = expected.filter(|expected| !error.problem.contains(&expected.value)) {
                failures.push(differs(expected.span, "error", &expected.value, &error.problem));
            }
        }
        (
            Outcome::Pass | Outcome::PassOnce(_) | Outcome::Deny | Outcome::Gate(_) | Outcome::DoesNotFit(_),
            ExpectedPlan::Pass | ExpectedPlan::Deny | ExpectedPlan::Gate | ExpectedPlan::Error,
        ) => return vec![other_plan(&explanation, case)],
    }
    let got = explanation.outcome.effect().map_or("nothing", |effect| effect.key.as_str());
    if let Some(expected) = case.effect.as_ref().filter(|expected| expected.value != got) {
        failures.push(differs(expected.span, "effect", &expected.value, got));
    }
    failures
}

fn other_plan(explanation: &Explanation, case: &Case) -> Finding {
    let expected = match case.plan.value {
        ExpectedPlan::Gate => "gate",
        ExpectedPlan::Pass => "pass",
        ExpectedPlan::Deny => "deny",
        ExpectedPlan::Error => "error",
    };
    let message = format!("expected plan `{expected}`, got `{}`", explanation.outcome.word());
    let because = match &explanation.outcome {
        Outcome::DoesNotFit(error) => error.problem.clone(),
        Outcome::Pass | Outcome::PassOnce(_) | Outcome::Deny | Outcome::Gate(_) => explanation.why.clone(),
    };
    let place = explanation.place.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
    Finding::at(case.plan.span, message).hint(&format!("entry `{}`{place}: {because}", explanation.entry))
}

fn compare(expected: &ExpectedRequest, ask: &Ask, failures: &mut Vec<Finding>) {
    let texts = [
        ("workflow_name", &expected.workflow_name, Some(&ask.workflow_name)),
        ("task_label", &expected.task_label, Some(&ask.task_label)),
        ("tool_name", &expected.tool_name, Some(&ask.tool_name)),
        ("subject", &expected.subject, Some(&ask.subject)),
        ("preview", &expected.preview, ask.preview.as_ref()),
    ];
    for (name, expected, got) in texts {
        let Some(expected) = expected.as_ref().filter(|expected| Some(&expected.value) != got) else {
            continue;
        };
        failures.push(differs(expected.span, name, &expected.value, got.map_or("nothing", |got| got)));
    }
    if let Some(risk) = &expected.risk_level {
        let got = ask.risk_level.map_or("nothing", holdpoint_core::RiskLevel::as_str);
        let expected = format!("{:?}", risk.value).to_lowercase();
        if expected != got {
            failures.push(differs(risk.span, "risk_level", &expected, got));
        }
    }
    if let Some(summary) = expected.summary.as_ref().filter(|summary| summary.value != ask.summary) {
        failures.push(differs(summary.span, "summary", &summary.value.join(" · "), &ask.summary.join(" · ")));
    }
    if let Some(payload) = &expected.payload {
        let got = serde_json::from_str(ask.payload.get()).unwrap_or_default();
        if let Some((at, expected, got)) = difference(&payload.value.0, &got, String::new()) {
            failures.push(differs(payload.span, &format!("payload `{at}`"), &expected, &got));
        }
    }
}

fn differs(span: Span, what: &str, expected: &str, got: &str) -> Finding {
    Finding::at(span, format!("expected {what} `{expected}`, got `{got}`"))
        .hint("change the tools file or the expectation")
}

/// The first place where `got` is not what `expected` says. Keys that are not named may be anything.
fn difference(expected: &Value, got: &Value, at: String) -> Option<(String, String, String)> {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => expected.iter().find_map(|(key, expected)| {
            let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            match got.get(key) {
                Some(got) => difference(expected, got, at),
                None => Some((at, expected.to_string(), "nothing".to_owned())),
            }
        }),
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
            let mut pairs = expected.iter().zip(got).enumerate();
            pairs.find_map(|(index, (expected, got))| difference(expected, got, format!("{at}/{index}")))
        }
        (Value::String(mask), Value::String(got)) if mask == MASK && got.starts_with(MASK) => None,
        (expected, got) if expected == got => None,
        (expected, got) => Some((at, expected.to_string(), got.to_string())),
    }
}
