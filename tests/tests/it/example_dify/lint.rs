//! `examples/dify/lint.py`: it passes what the example ships, and finds each way in which that could be wrong.

use super::office::example;
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Ran, python};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

pub(super) const FILES: [&str; 5] =
    ["gate-execute.yml", "gate-hold.yml", "gate-poll.yml", "gate-split-act.yml", "gate-split-request.yml"];

fn lint(file: &Path, arguments: &[&str]) -> Result<Ran> {
    let mut command = Command::new(python());
    Ran::to_end(command.arg(example("lint.py")).args(arguments).arg(file))
}

/// Rule and node of each finding.
pub(super) fn findings(file: &Path, arguments: &[&str]) -> Result<Vec<(String, String)>> {
    let ran = lint(file, &[&["--json"], arguments].concat())?;
    ensure!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    let of = |line: &str| -> Result<(String, String)> {
        let finding: Value = serde_json::from_str(line)?;
        let word = |name: &str| finding[name].as_str().map(str::to_owned).context("a word");
        Ok((word("rule")?, word("node")?))
    };
    let found: Vec<_> = ran.stdout.lines().map(of).collect::<Result<_>>()?;
    ensure!(found.is_empty() == (ran.code == Some(0)), "{ran:?}");
    Ok(found)
}

#[test]
fn what_is_shipped_has_no_findings() -> Result<()> {
    for file in FILES {
        assert_eq!(lint(&example(file), &[])?.success()?, "", "{file}");
    }
    let files = std::fs::read_dir(example(""))?.flatten().map(|file| file.file_name());
    let mut files: Vec<_> = files.filter_map(|name| name.into_string().ok()).collect();
    files.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert_eq!(files, FILES);
    Ok(())
}

/// File, what is changed in it, the rule that finds it, and at which node.
type Mistake = (&'static str, &'static str, &'static str, &'static str, &'static str);

const ALLOW_EDGE: &str = "source: branch, sourceHandle: allow, target: act";
const NO_EDGE: &str =
    "{id: e6, type: custom, source: branch, sourceHandle: 'false', target: denied, targetHandle: target}";
const DENIED: &str = "source: branch, sourceHandle: 'false', target: denied";
const FIELD: &str = "          - {key: 'payload.amount:number', type: text, value: '{{#start.amount#}}'}\n";
const RUN: &str = "          - {id: run, variable_selector: [sys, workflow_run_id], comparison_operator: not empty, value: '', varType: string}\n";
const HEADERS: &str = r#""Idempotency-Key:{{#sys.workflow_run_id#}}-refund\nPrefer:wait=110""#;
const OTHER: &str = "    edges:\n    - {id: x1, type: custom, source: act, sourceHandle: source, target: other, targetHandle: target}\n    \
                     - {id: x2, type: custom, source: other, sourceHandle: source, target: done, targetHandle: target}\n";

const MISTAKES: &[Mistake] = &[
    // The document.
    ("gate-hold.yml", "kind: app", "kind: rag", "document", "-"),
    ("gate-hold.yml", "version: 0.6.0", "version: 0.6", "document", "-"),
    ("gate-hold.yml", "version: 0.6.0", "version: 0.7.0", "document", "-"),
    ("gate-hold.yml", "- id: unasked", "- id: denied", "document", "denied"),
    // A key in a file, or in none.
    ("gate-hold.yml", "    value: ''\n", "    value: 'hpc_x'\n", "secret", "-"),
    ("gate-hold.yml", "value_type: secret", "value_type: string", "secret", "-"),
    ("gate-hold.yml", "api_key: '{{#env.BRIDGE_KEY#}}'", "api_key: 'hpc_x'", "secret", "ask"),
    // Edges.
    ("gate-hold.yml", "target: denied, targetHandle", "target: nothing, targetHandle", "edge", "branch"),
    ("gate-hold.yml", "sourceHandle: pending", "sourceHandle: maybe", "edge", "branch"),
    (
        "gate-hold.yml",
        NO_EDGE,
        "{id: e6, type: custom, source: start, sourceHandle: source, target: denied, targetHandle: target}",
        "handle",
        "branch",
    ),
    (
        "gate-hold.yml",
        "source: ask, sourceHandle: fail-branch, target: unasked",
        "source: start, sourceHandle: source, target: unasked",
        "handle",
        "ask",
    ),
    (
        "gate-poll.yml",
        "source: ask, sourceHandle: fail-branch, target: give_up",
        "source: wait_start, sourceHandle: source, target: give_up",
        "handle",
        "ask",
    ),
    // Variables that are not there.
    ("gate-hold.yml", "value: '{{#start.order#}}'", "value: '{{#start.ordre#}}'", "variable", "ask"),
    (
        "gate-hold.yml",
        "value_selector: [ask, error_message]",
        "value_selector: [asked, error_message]",
        "variable",
        "unasked",
    ),
    ("gate-hold.yml", "value_selector: [act, body]", "value_selector: [act, text]", "variable", "done"),
    ("gate-hold.yml", "{{#env.ACTION_URL#}}", "{{#env.ACTION#}}", "variable", "act"),
    // The question.
    (
        "gate-hold.yml",
        "method: post\n        url: '{{#env.BRIDGE_URL#}}",
        "method: get\n        url: '{{#env.BRIDGE_URL#}}",
        "gate",
        "ask",
    ),
    (
        "gate-hold.yml",
        "        error_strategy: fail-branch\n    - id: branch",
        "        error_strategy: default-value\n    - id: branch",
        "gate",
        "ask",
    ),
    ("gate-hold.yml", HEADERS, r#""Prefer:wait=110""#, "key", "ask"),
    ("gate-hold.yml", "{{#sys.workflow_run_id#}}-refund", "refund", "key", "ask"),
    (
        "gate-split-request.yml",
        "{key: 'call_id', type: text, value: 'refund'}",
        "{key: 'preview', type: text, value: 'refund'}",
        "key",
        "ask",
    ),
    (
        "gate-split-act.yml",
        "Idempotency-Key:{{#sys.workflow_run_id#}}",
        "Idempotency-Key:refund",
        "key",
        "claim",
    ),
    ("gate-hold.yml", r"-refund\nPrefer", r"-{{#start.order#}}\nPrefer", "header", "ask"),
    ("gate-hold.yml", "/refunds'", "/refunds/{{#start.order#}}'", "address", "act"),
    ("gate-hold.yml", "/v1/decisions'", "/v1/decisions?wait=9&x={{#start.order#}}'", "address", "ask"),
    ("gate-hold.yml", "{key: 'payload.order'", "{key: 'payload.{{#start.order#}}'", "json", "ask"),
    ("gate-hold.yml", "type: x-www-form-urlencoded", "type: json", "json", "ask"),
    ("gate-hold.yml", "type: x-www-form-urlencoded", "type: raw-text", "json", "ask"),
    ("gate-hold.yml", "read: 120", "read: 60", "time", "ask"),
    ("gate-hold.yml", "wait=110", "wait=400", "time", "ask"),
    ("gate-poll.yml", "loop_count: 18", "loop_count: 40", "time", "ask"),
    // What is required of the answer.
    (
        "gate-hold.yml",
        "comparison_operator: is, value: allow",
        "comparison_operator: contains, value: allow",
        "operator",
        "branch",
    ),
    (
        "gate-hold.yml",
        "variable_selector: [ask, headers, holdpoint-decision]",
        "variable_selector: [ask, body]",
        "operator",
        "branch",
    ),
    (
        "gate-hold.yml",
        "comparison_operator: is, value: allow",
        "comparison_operator: start with, value: allow",
        "ungated",
        "act",
    ),
    (
        "gate-hold.yml",
        "comparison_operator: is, value: allow",
        "comparison_operator: is, value: pending",
        "ungated",
        "act",
    ),
    (
        "gate-hold.yml",
        "comparison_operator: '=', value: '200'",
        "comparison_operator: '≥', value: '200'",
        "ungated",
        "act",
    ),
    (
        "gate-hold.yml",
        "comparison_operator: '=', value: '200'",
        "comparison_operator: '=', value: '202'",
        "ungated",
        "act",
    ),
    (
        "gate-hold.yml",
        "logical_operator: and\n          conditions:\n          - {id: status",
        "logical_operator: or\n          conditions:\n          - {id: status",
        "ungated",
        "act",
    ),
    ("gate-hold.yml", RUN, "", "ungated", "act"),
    // A bridge that is somebody else's, and a header that is.
    (
        "gate-hold.yml",
        "'{{#env.BRIDGE_URL#}}/v1/decisions'",
        "'{{#env.ACTION_URL#}}/v1/decisions'",
        "ungated",
        "ask",
    ),
    (
        "gate-hold.yml",
        "variable_selector: [ask, status_code], comparison_operator: '=', value: '200'",
        "variable_selector: [act, status_code], comparison_operator: '=', value: '200'",
        "ungated",
        "act",
    ),
    ("gate-split-act.yml", "{{#same.headers.location#}}/claim", "{{#hook.run#}}/claim", "ungated", "act"),
    // Ways around it.
    ("gate-hold.yml", ALLOW_EDGE, "source: branch, sourceHandle: pending, target: act", "ungated", "act"),
    ("gate-hold.yml", DENIED, "source: branch, sourceHandle: 'false', target: act", "ungated", "act"),
    (
        "gate-hold.yml",
        "source: ask, sourceHandle: fail-branch, target: unasked",
        "source: ask, sourceHandle: fail-branch, target: act",
        "ungated",
        "act",
    ),
    (
        "gate-hold.yml",
        "source: start, sourceHandle: source, target: ask",
        "source: start, sourceHandle: source, target: act",
        "ungated",
        "act",
    ),
    (
        "gate-hold.yml",
        "- id: unasked\n      type: custom\n      position: {x: 600, y: 400}\n      data:\n        type: end",
        "- id: unasked\n      type: custom\n      position: {x: 600, y: 400}\n      data:\n        type: tool",
        "ungated",
        "unasked",
    ),
    (
        "gate-hold.yml",
        "- id: unasked\n      type: custom\n      position: {x: 600, y: 400}\n      data:\n        type: end",
        "- id: unasked\n      type: custom\n      position: {x: 600, y: 400}\n      data:\n        type: what-comes-next-year",
        "ungated",
        "unasked",
    ),
    // A loop's variable that says yes by itself, or that somebody else sets.
    (
        "gate-poll.yml",
        "value_type: constant, value: pending}",
        "value_type: constant, value: allow}",
        "ungated",
        "act",
    ),
    ("gate-poll.yml", "operation: set, value: unasked", "operation: set, value: allow", "ungated", "act"),
    ("gate-poll.yml", "value: [ask, error_message]", "value: [ask, error_type]", "", ""),
    (
        "gate-poll.yml",
        "value: [ask, headers, holdpoint-decision]",
        "value: [start, reason]",
        "ungated",
        "act",
    ),
    // Once, and what was shown.
    (
        "gate-hold.yml",
        "timeout: {connect: 10, read: 30, write: 10}\n        retry_config: {retry_enabled: false",
        "timeout: {connect: 10, read: 30, write: 10}\n        retry_config: {retry_enabled: true",
        "once",
        "act",
    ),
    ("gate-hold.yml", "    edges:\n", OTHER, "once", "other"),
    (
        "gate-hold.yml",
        "          - {key: 'subject'",
        "          - {key: 'target', type: text, value: 'shop'}\n          - {key: 'subject'",
        "once",
        "act",
    ),
    ("gate-hold.yml", FIELD, "", "bound", "act"),
    (
        "gate-split-act.yml",
        "{key: 'payload.reason', type: text, value: '{{#hook.reason#}}'}",
        "{key: 'preview', type: text, value: 'x'}",
        "",
        "",
    ),
];

#[test]
fn each_mistake_is_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broken = folder.path().join("broken.yml");
    for &(file, old, new, rule, node) in MISTAKES {
        let text = std::fs::read_to_string(example(file))?;
        ensure!(text.contains(old), "{file} has no {old}");
        let mut text = text.replacen(old, new, 1);
        if old == FIELD {
            // The amount is in the subject as well.
            text = text.replacen("Refund {{#start.amount#}} for", "Refund for", 1);
        }
        if new == OTHER {
            text = with_another_action(&text)?;
        }
        std::fs::write(&broken, text)?;
        let found = findings(&broken, &[])?;
        if rule.is_empty() {
            // Controls: what looks like a mistake of these and is none.
            ensure!(found.is_empty(), "{file}: {new}: {found:?}");
        } else {
            ensure!(
                found.iter().any(|found| *found == (rule.to_owned(), node.to_owned())),
                "{file}: {new}: {found:?}"
            );
        }
    }
    Ok(())
}

/// A second action behind the same yes: the first one's copy.
fn with_another_action(text: &str) -> Result<String> {
    let (_, rest) = text.split_once("    - id: act\n").context("an action")?;
    let (action, _) = rest.split_once("    - id: done\n").context("its end")?;
    let copied = format!("    - id: other\n{action}    - id: done\n");
    let text = text.replacen("    - id: done\n", &copied, 1);
    Ok(text.replacen("    edges:", "    - id: failed2\n      type: custom\n      position: {x: 0, y: 0}\n      data: {type: end, title: x, outputs: []}\n    edges:\n    - {id: x3, type: custom, source: other, sourceHandle: fail-branch, target: failed2, targetHandle: target}", 1))
}

#[test]
fn what_is_named_harmless_needs_no_yes_and_is_not_one_too_many() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("two.yml");
    let text = std::fs::read_to_string(example("gate-hold.yml"))?.replacen("    edges:\n", OTHER, 1);
    std::fs::write(&file, with_another_action(&text)?)?;
    assert_eq!(findings(&file, &["--harmless", "other"])?, []);
    let unknown = findings(&file, &["--harmless", "another"])?;
    ensure!(unknown.contains(&("document".to_owned(), "another".to_owned())), "{unknown:?}");
    Ok(())
}

#[test]
fn what_cannot_be_read_is_no_pass() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("x.yml");
    for text in ["a: [", "kind: app\nversion: 0.6.0\nworkflow: {graph: {nodes: [{id: a}]}}", "- 1", ""] {
        std::fs::write(&file, text)?;
        let ran = lint(&file, &[])?;
        ensure!(ran.code != Some(0), "{text}: {ran:?}");
    }
    ensure!(lint(&folder.path().join("none.yml"), &[])?.code == Some(2), "a file that is not there");
    Ok(())
}
