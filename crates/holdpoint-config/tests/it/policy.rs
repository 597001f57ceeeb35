//! What the policy makes of calls.

use crate::folder::{Folder, MAIN, call, gated};
use holdpoint_config::{Action, FingerprintKey, Outcome, PolicySet, ServerCompat};
use holdpoint_core::{Arguments, Ask, Plan, PlanError, Policy as _, ToolCall, ToolWarning};

fn ask(policy: &PolicySet, call: &ToolCall) -> Box<Ask> {
    match policy.plan(call) {
        Ok(Plan::Gate(ask)) => ask,
        other => panic!("{other:?}"),
    }
}

fn refused(policy: &PolicySet, call: &ToolCall) -> PlanError {
    policy.plan(call).unwrap_err()
}

const RANKED: &str = "server: payments
tools:
  - { name: '*', action: deny }
  - { name: 'get_*', action: pass }
  - { name: 'get_secret_*', action: deny }
  - { name: get_secret_santa, action: gate }
  - { name: '*_card', action: gate }
";

#[test]
fn the_most_specific_entry_wins_whatever_the_order() {
    let policy = Folder::tools(RANKED).policy();
    for (tool, action) in [
        ("get_secret_santa", Action::Gate),
        ("get_secret_key", Action::Deny),
        ("get_order", Action::PassUnlessWarned),
        ("get_card", Action::Gate),
        ("pay", Action::Deny),
    ] {
        assert_eq!(policy.action_of("payments", tool), action, "{tool}");
        let plan = policy.plan(&call(tool, "{}")).unwrap();
        let same = matches!(
            (plan, action),
            (Plan::Pass(_), Action::PassUnlessWarned)
                | (Plan::Deny(_), Action::Deny)
                | (Plan::Gate(_), Action::Gate)
        );
        assert!(same, "{tool}");
    }
}

/// What a server says of its tools makes a decision stricter, and never laxer.
#[test]
fn a_glob_lets_nothing_pass_that_warns_of_itself() {
    let tools = "server: payments
tools:
  - { name: 'get_*', action: pass }
  - { name: 'once_*', action: pass, effect: once }
  - { name: 'get_card_*', action: gate, subject: Look at a card }
  - { name: 'get_key_*', action: deny }
  - { name: get_and_delete, action: pass }
  - { name: wipe, action: deny }
";
    let below = "  - { name: '*', action: gate, subject: Anything else }\n";
    let of = |policy: &PolicySet, tool: &str, warning| {
        let plan = policy.plan(&ToolCall { warning, ..call(tool, "{}") }).unwrap();
        match plan {
            Plan::Pass(_) => "pass".to_owned(),
            Plan::PassOnce(..) => "once".to_owned(),
            Plan::Deny(_) => "deny".to_owned(),
            Plan::Gate(ask) => ask.subject,
        }
    };
    for (text, unmatched) in
        [(tools.to_owned(), "Run TOOL on payments"), (format!("{tools}{below}"), "Anything else")]
    {
        let policy = Folder::tools(&text).policy();
        for (tool, unwarned, warned) in [
            ("get_order", "pass", unmatched),
            ("once_a", "once", unmatched),
            ("get_card_x", "Look at a card", "Look at a card"),
            ("get_key_x", "deny", "deny"),
            // Whoever wrote this name knew the tool.
            ("get_and_delete", "pass", "pass"),
            ("wipe", "deny", "deny"),
        ] {
            assert_eq!(of(&policy, tool, ToolWarning::None), unwarned, "{tool}");
            assert_eq!(of(&policy, tool, ToolWarning::Destructive), warned.replace("TOOL", tool), "{tool}");
        }
    }
    let denying = format!("{MAIN}unmatched: deny\n");
    let refuses = Folder::new(&[("holdpoint.yaml", &denying), ("tools/payments.yaml", tools)]).policy();
    assert_eq!(of(&refuses, "get_order", ToolWarning::None), "pass");
    assert_eq!(of(&refuses, "get_order", ToolWarning::Destructive), "deny");
}

#[test]
fn a_name_in_another_case_gets_nothing() {
    let policy = Folder::tools("server: payments\ntools:\n  - { name: '*', action: pass }\n  - { name: delete_all, action: deny }\n  - { name: 'Wipe*', action: deny }\n").policy();
    for tool in ["Delete_All", "DELETE_ALL", "wipe_disk", "WIPE", "delete_aLl"] {
        assert_eq!(policy.action_of("payments", tool), Action::Deny, "{tool}");
        let refusal = refused(&policy, &call(tool, "{}"));
        assert!(refusal.problem.contains("only in case"), "{refusal}");
    }
    // Folds to `delete_all`: U+017F is another way to write `s`, U+212A of `k`.
    let policy = Folder::tools(
        "server: payments\ntools:\n  - { name: '*', action: pass }\n  - { name: task, action: deny }\n",
    )
    .policy();
    assert_eq!(policy.action_of("payments", "ta\u{17f}k"), Action::Deny);
    assert_eq!(policy.action_of("payments", "Other"), Action::PassUnlessWarned);
}

#[test]
fn a_tool_that_no_entry_matches_is_asked_about_with_all_it_has() {
    let policy = Folder::tools("server: payments\ntools: []\n").policy();
    let raw = r#" { "b": 1.10, "a": [1e2, 9007199254740993] } "#;
    let ask = ask(&policy, &call("pay", raw));
    assert_eq!(ask.subject, "Run pay on payments");
    assert_eq!(ask.task_label, "pay on payments");
    assert_eq!(ask.workflow_name, "Holdpoint");
    assert_eq!(ask.payload.get(), raw.trim());
}

#[test]
fn without_any_configuration_everything_is_asked_about() {
    let policy = PolicySet::gate_everything("payments", FingerprintKey::new([1; 32]));
    assert_eq!(policy.action_of("payments", "read"), Action::Gate);
    let mut absent = call("read", "{}");
    absent.arguments = Arguments::absent();
    assert_eq!(ask(&policy, &absent).payload.get(), "{}");
    let other = PolicySet::gate_everything("elsewhere", FingerprintKey::new([1; 32]));
    assert_eq!(other.action_of("payments", "read"), Action::Gate);
}

#[test]
fn the_payload_is_what_the_mapping_says_and_numbers_keep_their_text() {
    let fields = "payload:
  amount: { at: /amount }
  'odd \"key\"': { value: { a: [1.50, null, true], b: \"x\\n\" } }
  nothing: { value: null }
  deep: { at: /a~1b/0/c }
  gone: { at: /gone, optional: true }
";
    let policy = Folder::tools(&gated(fields)).policy();
    let ask = ask(&policy, &call("issue_refund", r#"{"amount":40.10,"a/b":[{"c":1E400}],"rest":1}"#));
    assert_eq!(
        ask.payload.get(),
        r#"{"amount":40.10,"odd \"key\"":{"a":[1.50,null,true],"b":"x\n"},"nothing":null,"deep":1e+400}"#
    );
}

#[test]
fn a_payload_field_without_its_argument_refuses_the_call() {
    let policy = Folder::tools(&gated("payload:\n  amount: { at: /amount }\n")).policy();
    let refusal = refused(&policy, &call("issue_refund", r#"{"amounts":1}"#));
    assert_eq!(refusal.entry.as_str(), "payments/issue_refund");
    assert_eq!(
        refusal.problem,
        "payload `amount` needs the argument `/amount`, which the call does not have"
    );
}

#[test]
fn an_optional_argument_cannot_hide_behind_its_case() {
    let policy = Folder::tools(&gated("payload:\n  limit: { at: /to/limit, optional: true }\n")).policy();
    for arguments in ["{}", r#"{"to":{}}"#, r#"{"to":[1]}"#, r#"{"TO":{"other":1}}"#] {
        assert_eq!(ask(&policy, &call("issue_refund", arguments)).payload.get(), "{}", "{arguments}");
    }
    for arguments in [r#"{"to":{"Limit":1}}"#, r#"{"To":{"limit":1}}"#] {
        let refusal = refused(&policy, &call("issue_refund", arguments));
        assert_eq!(refusal.problem, "an argument of the call differs from `/to/limit` only in case");
    }
}

const SECRET: &str = "subject: 'Charge {{ args.holder }}'
payload:
  card: { at: /card/number, secret: true }
  order: { at: /card }
  inner: { at: /card/number }
  name: { at: /holder }
";

#[test]
fn a_secret_leaves_only_as_a_keyed_fingerprint() {
    let folder = Folder::tools(&gated(SECRET));
    let arguments = r#"{"holder":"Ada","card":{"number":"4242424242424242","cvc":"x"}}"#;
    let first = ask(&folder.policy(), &call("issue_refund", arguments));
    let shown = format!("{first:?}");
    assert!(!shown.contains("4242"), "{shown}");
    let payload: serde_json::Value = serde_json::from_str(first.payload.get()).unwrap();
    let mask = payload["card"].as_str().unwrap();
    let digits = mask.strip_prefix("•••• (hmac ").unwrap().strip_suffix(')').unwrap();
    assert_eq!(digits.len(), 16, "64 bits");
    assert_eq!(payload["order"]["number"], mask);
    assert_eq!(payload["order"]["cvc"], "x");
    assert_eq!(payload["inner"], mask);

    // The same card is told as the same, another one and another key are not.
    let again = ask(&folder.policy(), &call("issue_refund", arguments));
    assert_eq!(first.payload.get(), again.payload.get());
    let other = ask(&folder.policy(), &call("issue_refund", &arguments.replace("4242\"", "4243\"")));
    assert_ne!(first.payload.get(), other.payload.get());
    let other_key = folder.load().policy(FingerprintKey::new([8; 32]));
    assert_ne!(first.payload.get(), ask(&other_key, &call("issue_refund", arguments)).payload.get());
    // Text and number are different values.
    let number = ask(
        &folder.policy(),
        &call("issue_refund", &arguments.replace("\"4242424242424242\"", "4242424242424242")),
    );
    assert_ne!(first.payload.get(), number.payload.get());
}

#[test]
fn a_template_that_gets_at_a_secret_by_detour_sees_its_mask() {
    // `args` is a name of the template's own here, so that it cannot be told from the text what is read.
    let fields = "preview: '{% set args = args %}{% for key in args.card %}{{ args.card[key] }},{% endfor %}'
payload:
  card: { at: /card/number, secret: true }
";
    let policy = Folder::tools(&gated(fields)).policy();
    let ask = ask(&policy, &call("issue_refund", r#"{"card":{"number":"4242424242424242","cvc":"x"}}"#));
    let preview = ask.preview.unwrap();
    assert!(
        !preview.contains("4242") && preview.contains("•••• (hmac ") && preview.contains(",x,"),
        "{preview}"
    );
}

#[test]
fn a_payload_must_fit_its_schema_and_the_refusal_holds_no_value() {
    let schema = r#"{"type":"object","properties":{"card":{"type":"string","pattern":"^[0-9]{4}$"},"amount":{"maximum":100}}}"#;
    let fields = "payload_schema: s/refund.json\npayload:\n  amount: { at: /amount }\n  card: { at: /card, secret: true }\n";
    let folder = Folder::new(&[
        ("holdpoint.yaml", crate::folder::MAIN),
        ("tools/payments.yaml", &gated(fields)),
        ("tools/s/refund.json", schema),
    ]);
    let policy = folder.policy();
    ask(&policy, &call("issue_refund", r#"{"amount":100,"card":"1234"}"#));
    let refusal = refused(&policy, &call("issue_refund", r#"{"amount":777,"card":"sesame"}"#));
    assert!(refusal.problem.contains("`/amount`") && refusal.problem.contains("`/card`"), "{refusal}");
    assert!(!refusal.problem.contains("sesame") && !refusal.problem.contains("777"), "{refusal}");
}

#[test]
fn an_explanation_names_the_entry_and_its_line() {
    let folder = Folder::tools(&gated(
        "subject: 'Refund {{ args.amount }}'\nrisk_level: high\nsummary: [Check the order]\napproval: { patience: 15m }\n",
    ));
    let policy = folder.policy();
    let explanation = policy.explain(&call("issue_refund", r#"{"amount":40.50}"#));
    insta::assert_snapshot!(folder.plain(&explanation.to_string()), @r#"
    issue_refund on payments is gated: Gate is asked before it runs
      entry    payments/issue_refund (tools/payments.yaml:3)
      because  its name is exactly `issue_refund`

    Gate is asked
      workflow_name  Holdpoint
      task_label     issue_refund on payments
      tool_name      issue_refund
      subject        Refund 40.50
      risk_level     high
      summary        - Check the order
      payload        {
                       "amount": 40.50
                     }
      token          required
      patience       900 s
    "#);
    insta::assert_snapshot!(folder.plain(&serde_json::to_string_pretty(&explanation.to_json()).unwrap()), @r#"
    {
      "server": "payments",
      "tool": "issue_refund",
      "plan": "gate",
      "entry": "payments/issue_refund",
      "file": "tools/payments.yaml",
      "line": 3,
      "why": "its name is exactly `issue_refund`",
      "request": {
        "workflow_name": "Holdpoint",
        "task_label": "issue_refund on payments",
        "tool_name": "issue_refund",
        "subject": "Refund 40.50",
        "preview": null,
        "risk_level": "high",
        "summary": [
          "Check the order"
        ],
        "payload": {
          "amount": 40.50
        },
        "token": "required",
        "patience_ms": 900000
      }
    }
    "#);
    let refusal = policy.explain(&call("issue_refund", "{}"));
    assert!(matches!(refusal.outcome, Outcome::DoesNotFit(_)));
    insta::assert_snapshot!(folder.plain(&refusal.to_string()), @r#"
    issue_refund on payments is refused: its entry does not fit the call
      entry    payments/issue_refund (tools/payments.yaml:3)
      because  its name is exactly `issue_refund`
      problem  `subject` needs the argument `amount`, which the call does not have
    "#);
    insta::assert_snapshot!(folder.plain(&policy.explain(&call("Issue_refund", "{}")).to_string()), @r#"
    Issue_refund on payments is refused: its entry does not fit the call
      entry    payments/issue_refund (tools/payments.yaml:3)
      because  `Issue_refund` differs only in case from what `issue_refund` stands for
      problem  the tool's name differs from it only in case
    "#);
    insta::assert_snapshot!(folder.plain(&policy.explain(&call("other\u{202e}", "{}")).to_string()), @r#"
    other\u{202e} on payments is gated: Gate is asked before it runs
      entry    unmatched
      because  no entry for server `payments` matches `other\u{202e}`

    Gate is asked
      workflow_name  Holdpoint
      task_label     other\u{202e} on payments
      tool_name      other\u{202e}
      subject        Run other\u{202e} on payments
      payload        {}
      token          required
    "#);
}

#[test]
fn lists_of_tools_are_written_for_the_clients_that_a_server_names() {
    let main = "servers:
  crm: { url: https://tools.example.com/mcp, compat: copilot-studio }
  shop: { command: [shop], compat: copilot_studio }
  files: { url: https://files.example.com/mcp }
";
    let policy = Folder::new(&[("holdpoint.yaml", main)]).policy();
    for (server, compat) in [
        ("crm", Some(ServerCompat::CopilotStudio)),
        ("shop", Some(ServerCompat::CopilotStudio)),
        ("files", None),
    ] {
        assert_eq!(policy.compat_of(server), compat, "{server}");
    }
    let without = Folder::new(&[("holdpoint.yaml", &main.replace(", compat: copilot-studio", ""))]).policy();
    assert_eq!(policy.revision(), without.revision(), "it decides about no call");
}

#[test]
fn methods_are_denied_by_server_whatever_their_case() {
    let main = "servers:
  payments: { url: https://tools.example.com/mcp, methods: { deny: [resources/read, 'prompts/*'] } }
  files: { url: https://files.example.com/mcp }
";
    let policy = Folder::new(&[("holdpoint.yaml", main)]).policy();
    for (server, method, denied) in [
        ("payments", "resources/read", true),
        ("payments", "Resources/READ", true),
        ("payments", "prompts/get", true),
        ("payments", "resources/list", false),
        ("files", "resources/read", false),
    ] {
        assert_eq!(policy.denies_method(server, method), denied, "{server} {method}");
    }
    let less = Folder::new(&[("holdpoint.yaml", &main.replace(", 'prompts/*'", ""))]).policy();
    assert_ne!(policy.revision(), less.revision(), "it is another configuration");
}
