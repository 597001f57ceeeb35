//! What `check` and `explain` say of effects, and what may not be meant.

use crate::folder::{Folder, MAIN, call};
use insta::assert_snapshot;

const TOOLS: &str = "server: payments
tools:
  - name: refund
    action: pass
    effect:
      key: 'refund:{{ args.order_id }}'
      reconcile:
        tool: find
        arguments: { id: { at: /order_id } }
        happened: result.done
  - { name: close_books, action: gate, effect: close-books }
  - { name: find, action: pass }
";

#[test]
fn an_explanation_says_what_a_call_does_once() {
    let folder = Folder::tools(TOOLS);
    let policy = folder.policy();
    let explain = |tool: &str| policy.explain(&call(tool, r#"{"order_id":1042}"#));
    assert_snapshot!(folder.plain(&explain("refund").to_string()), @r#"
    refund on payments passes: it runs without being asked about, once
      entry    payments/refund (tools/payments.yaml:3)
      because  its name is exactly `refund`
      effect   refund:1042
      in doubt find {"id":1042} tells, 30 s after a run was lost
    "#);
    assert_snapshot!(folder.plain(&serde_json::to_string_pretty(&explain("refund").to_json()).unwrap()), @r#"
    {
      "server": "payments",
      "tool": "refund",
      "plan": "pass",
      "entry": "payments/refund",
      "file": "tools/payments.yaml",
      "line": 3,
      "why": "its name is exactly `refund`",
      "effect": {
        "key": "refund:1042",
        "reconcile": {
          "tool": "find",
          "arguments": {
            "id": 1042
          },
          "after_ms": 30000
        }
      }
    }
    "#);
    assert_snapshot!(folder.plain(&explain("close_books").to_string()), @r#"
    close_books on payments is gated: Gate is asked before it runs
      entry    payments/close_books (tools/payments.yaml:11)
      because  its name is exactly `close_books`
      effect   close-books
      note     its name is the same for every call, so this tool runs once and never again

    Gate is asked
      workflow_name  Holdpoint
      task_label     close_books on payments
      tool_name      close_books
      subject        Run close_books on payments
      payload        {
                       "order_id": 1042
                     }
      token          required
    "#);
    assert!(explain("close_books").to_json()["note"].is_string());
    assert!(explain("find").to_json().get("effect").is_none());
}

#[test]
fn a_check_notes_what_may_not_be_meant() {
    let main = format!(
        "gate: {{ url: 'https://g.example', api_key: '${{K}}', webhook: {{ path: /hooks }} }}\n{MAIN}"
    );
    let folder = Folder::new(&[("holdpoint.yaml", &main), ("tools/payments.yaml", TOOLS)]).env("K", "sg_x");
    let report = folder.check();
    assert!(report.is_clean(), "a note is no mistake");
    assert_snapshot!(folder.plain(&report.to_string()), @r#"
    note: these webhooks are not signed: anybody who reaches the address can make Gate be asked, though nothing that they say is believed
     --> holdpoint.yaml:1:61
      |
    1 | gate: { url: 'https://g.example', api_key: '${K}', webhook: { path: /hooks } }
      |                                                             ^^^^^^^^^^^^^^^^
      = hint: add `secret: ${NAME}` with the secret that Gate shows

    note: `effect`: its name is the same for every call, so this tool runs once and never again
      --> tools/payments.yaml:11:48
       |
    11 |   - { name: close_books, action: gate, effect: close-books }
       |                                                ^^^^^^^^^^^
       = hint: name an argument that tells effects apart, as in `refund:{{ args.order_id }}`

    2 files: 0 mistakes, no cases
    "#);
}

#[test]
fn a_case_may_expect_an_effect() {
    let cases = "server: payments
cases:
  - { name: named, tool: refund, arguments: { order_id: 7 }, plan: pass, effect: 'refund:7' }
  - { name: another, tool: refund, arguments: { order_id: 7 }, plan: pass, effect: 'refund:8' }
  - { name: asked, tool: close_books, plan: gate, effect: close-books }
  - { name: none, tool: find, plan: pass, effect: find }
  - { name: whatever, tool: refund, arguments: { order_id: 7 }, plan: pass }
";
    let files =
        [("holdpoint.yaml", MAIN), ("tools/payments.yaml", TOOLS), ("tools/payments.cases.yaml", cases)];
    let folder = Folder::new(&files);
    let report = folder.check();
    let failed = report.cases.iter().filter(|case| !case.failures.is_empty());
    assert_eq!(failed.map(|case| case.name.as_str()).collect::<Vec<_>>(), ["another", "none"]);
    let told: Vec<String> = report
        .cases
        .iter()
        .flat_map(|case| &case.failures)
        .map(|failure| folder.plain(&failure.to_string()))
        .collect();
    assert_snapshot!(told.join("\n\n"), @r#"
    error: expected effect `refund:8`, got `refund:7`
     --> tools/payments.cases.yaml:4:84
      |
    4 |   - { name: another, tool: refund, arguments: { order_id: 7 }, plan: pass, effect: 'refund:8' }
      |                                                                                    ^^^^^^^^^^
      = hint: change the tools file or the expectation

    error: expected effect `find`, got `nothing`
     --> tools/payments.cases.yaml:6:51
      |
    6 |   - { name: none, tool: find, plan: pass, effect: find }
      |                                                   ^^^^
      = hint: change the tools file or the expectation
    "#);
}

#[test]
fn a_case_expects_no_effect_of_what_does_not_run() {
    let cases = "server: payments\ncases:\n  - { name: a, tool: refund, plan: error, error: order, effect: 'refund:7' }\n";
    let files =
        [("holdpoint.yaml", MAIN), ("tools/payments.yaml", TOOLS), ("tools/payments.cases.yaml", cases)];
    let folder = Folder::new(&files);
    let told: Vec<String> =
        folder.check().mistakes.iter().map(|mistake| folder.plain(&mistake.to_string())).collect();
    assert_snapshot!(told.join("\n"), @r#"
    error: `effect` has no use here: such a call never runs
     --> tools/payments.cases.yaml:3:65
      |
    3 |   - { name: a, tool: refund, plan: error, error: order, effect: 'refund:7' }
      |                                                                 ^^^^^^^^^^
      = hint: remove it, or write `plan: gate` or `plan: pass`
    "#);
}
