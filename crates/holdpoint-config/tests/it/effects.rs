//! What calls do in the world, by name, and how an answer about it is read.

use crate::folder::{Folder, call, gated};
use holdpoint_config::{Action, PolicySet};
use holdpoint_core::{Ask, Effect, Plan, Policy as _, Reconcile, Verdict};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

fn effect(policy: &PolicySet, tool: &str, arguments: &str) -> Result<Effect, String> {
    match policy.plan(&call(tool, arguments)) {
        Ok(Plan::PassOnce(_, effect)) => Ok(effect),
        Ok(Plan::Gate(ask)) => Ok(ask.effect.unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.problem),
    }
}

fn key(policy: &PolicySet, arguments: &str) -> Result<String, String> {
    effect(policy, "issue_refund", arguments).map(|effect| effect.key.as_str().to_owned())
}

fn once(template: &str) -> PolicySet {
    let tools = format!(
        "server: payments\ntools:\n  - {{ name: issue_refund, action: pass, effect: \"{template}\" }}\n"
    );
    Folder::tools(&tools).policy()
}

#[test]
fn a_tool_that_passes_may_have_an_effect_once() {
    let policy = once("refund:{{ args.order_id }}");
    assert_eq!(policy.action_of("payments", "issue_refund"), Action::Once);
    assert_eq!(key(&policy, r#"{"order_id":"1042"}"#).unwrap(), "refund:1042");
}

#[test]
fn a_gated_tool_asks_with_its_effect() {
    let policy = Folder::tools(&gated("effect: 'refund:{{ args.order_id }}'")).policy();
    assert_eq!(policy.action_of("payments", "issue_refund"), Action::Gate);
    assert_eq!(key(&policy, r#"{"order_id":"1042"}"#).unwrap(), "refund:1042");
}

#[test]
fn a_number_is_one_name_however_it_is_written() {
    let policy = once("refund:{{ args.order_id }}");
    for (written, expected) in [
        ("1042", "refund:1042"),
        ("\"1042\"", "refund:1042"),
        ("1042.0", "refund:1042"),
        ("1.042e3", "refund:1042"),
        ("9007199254740993", "refund:9007199254740993"),
        ("40.50", "refund:40.5"),
        ("true", "refund:true"),
    ] {
        assert_eq!(key(&policy, &format!(r#"{{"order_id":{written}}}"#)).unwrap(), expected);
    }
}

#[test]
fn spaces_around_a_text_make_no_other_name() {
    let policy = once("refund:{{ args.order_id }}");
    for written in ["1042 ", " 1042", "\u{a0}1042\u{2003}", "1042\\t", "1042\\n"] {
        let arguments = format!(r#"{{"order_id":"{written}"}}"#);
        assert_eq!(key(&policy, &arguments).unwrap(), "refund:1042", "{written:?}");
    }
    assert_eq!(key(&policy, r#"{"order_id":"10 42"}"#).unwrap(), "refund:10 42");
}

#[test]
fn a_call_whose_effect_has_no_proper_name_is_refused() {
    let policy = once("refund:{{ args.order_id }}");
    let long = format!("\"{}\"", "x".repeat(506));
    for (order_id, problem) in [
        ("null", "`effect` cannot use the argument `order_id`: it is null"),
        ("\" \"", "`effect` cannot use the argument `order_id`: it is empty"),
        ("[1]", "`effect` cannot use the argument `order_id`: it is neither text nor a number"),
        (r#""a\nb""#, "`effect` comes to a name with control or invisible characters in it for this call"),
        (
            r#""1042\u200b""#,
            "`effect` comes to a name with control or invisible characters in it for this call",
        ),
        (long.as_str(), "`effect` comes to more than 512 bytes for this call"),
    ] {
        let refusal = key(&policy, &format!(r#"{{"order_id":{order_id}}}"#)).unwrap_err();
        assert_eq!(refusal, problem, "{order_id}");
    }
    assert_eq!(
        key(&policy, "{}").unwrap_err(),
        "`effect` needs the argument `order_id`, which the call does not have"
    );
    let exact = format!(r#"{{"order_id":"{}"}}"#, "x".repeat(505));
    assert_eq!(key(&policy, &exact).unwrap().len(), 512);
    let filtered = once("{{ args.order_id | trim }}");
    assert_eq!(key(&filtered, r#"{"order_id":" "}"#).unwrap_err(), "`effect` comes to nothing for this call");
    assert_eq!(key(&filtered, r#"{"order_id":" 7 "}"#).unwrap(), "7");
}

const RECONCILED: &str = "server: payments
tools:
  - name: issue_refund
    action: gate
    payload: { card: { at: /card, secret: true } }
    effect:
      key: 'refund:{{ args.order_id }}'
      reconcile:
        tool: get_refund
        arguments:
          order_id: { at: /order_id }
          kind: { value: [1.50] }
          label: { template: 'Order {{ args.order_id }}' }
          card: { at: /card }
          note: { at: /note, optional: true }
        HAPPENED
        after: 90s
  - { name: get_refund, action: pass }
";

fn reconcile(conditions: &str) -> Arc<dyn Reconcile> {
    let tools = RECONCILED.replace("HAPPENED", &conditions.replace('\n', "\n        "));
    let policy = Folder::tools(&tools).policy();
    let effect = effect(&policy, "issue_refund", r#"{"order_id":1042.0,"card":"4242"}"#).unwrap();
    effect.reconcile.unwrap()
}

#[test]
fn a_read_only_tool_is_asked_with_the_arguments_of_the_call() {
    let reconcile = reconcile("happened: \"result.status == 'refunded'\"");
    let question = reconcile.question();
    assert_eq!(question.tool.as_str(), "get_refund");
    assert_eq!(
        question.arguments.get(),
        r#"{"order_id":1042.0,"kind":[1.50],"label":"Order 1042.0","card":"4242"}"#
    );
    assert_eq!(reconcile.settles_within(), Duration::from_secs(90));
}

#[test]
fn without_a_word_about_it_an_answer_is_final_after_half_a_minute() {
    let tools = "server: payments
tools:
  - { name: pay, action: pass, effect: { key: 'pay:{{ args.id }}', reconcile: { tool: find, happened: result.paid } } }
  - { name: find, action: pass }
";
    let effect = effect(&Folder::tools(tools).policy(), "pay", r#"{"id":1}"#).unwrap();
    let reconcile = effect.reconcile.unwrap();
    assert_eq!(reconcile.settles_within(), Duration::from_secs(30));
    assert_eq!(reconcile.question().arguments.get(), "{}");
    assert_eq!(reconcile.verdict(&json!({ "structuredContent": { "paid": true } })), Verdict::Happened);
}

#[test]
fn a_question_that_cannot_be_made_refuses_the_call() {
    let policy = Folder::tools(&RECONCILED.replace("HAPPENED", "happened: result.done")).policy();
    let refusal = policy.plan(&call("issue_refund", r#"{"order_id":1}"#)).unwrap_err();
    assert_eq!(refusal.problem, "payload `card` needs the argument `/card`, which the call does not have");
    let tools = "server: payments
tools:
  - { name: pay, action: pass, effect: { key: 'pay', reconcile: { tool: find, arguments: { id: { at: /id } }, happened: result.paid } } }
  - { name: find, action: pass }
";
    let refusal = Folder::tools(tools).policy().plan(&call("pay", "{}")).unwrap_err();
    assert_eq!(
        refusal.problem,
        "reconcile argument `id` needs the argument `/id`, which the call does not have"
    );
}

fn structured(content: &Value) -> Value {
    json!({ "content": [{ "type": "text", "text": "elsewhere" }], "structuredContent": content })
}

#[test]
fn one_condition_tells_that_it_happened_and_never_that_it_did_not() {
    let reconcile = reconcile("happened: \"result.status == 'refunded' and result.amount > 0\"");
    for (content, verdict) in [
        (json!({ "status": "refunded", "amount": 4 }), Verdict::Happened),
        (json!({ "status": "open", "amount": 4 }), Verdict::CannotTell),
        (json!({ "status": "open" }), Verdict::CannotTell),
        // Nothing is known of what is not there.
        (json!({ "status": "refunded" }), Verdict::CannotTell),
        (json!({}), Verdict::CannotTell),
        (json!({ "Status": "refunded", "amount": 4 }), Verdict::CannotTell),
        (json!([]), Verdict::CannotTell),
        (json!("refunded"), Verdict::CannotTell),
    ] {
        assert_eq!(reconcile.verdict(&structured(&content)), verdict, "{content}");
    }
}

#[test]
fn two_conditions_must_agree() {
    let reconcile = reconcile(
        "happened: \"result.status == 'refunded'\"\ndid_not_happen: \"result.status in ['open', 'refunded?']\"",
    );
    for (status, verdict) in
        [("refunded", Verdict::Happened), ("open", Verdict::DidNotHappen), ("pending", Verdict::CannotTell)]
    {
        assert_eq!(reconcile.verdict(&structured(&json!({ "status": status }))), verdict, "{status}");
    }
    let both = self::reconcile("happened: result.a\ndid_not_happen: result.b");
    assert_eq!(both.verdict(&structured(&json!({ "a": true, "b": true }))), Verdict::CannotTell);
    assert_eq!(both.verdict(&structured(&json!({ "a": true }))), Verdict::CannotTell);
    assert_eq!(both.verdict(&structured(&json!({ "a": true, "b": false }))), Verdict::Happened);
}

#[test]
fn what_is_neither_true_nor_false_does_not_tell() {
    for (condition, content) in [
        ("result.count", json!({ "count": 1 })),
        ("result.name", json!({ "name": "true" })),
        ("result.gone", json!({ "gone": null })),
        (
            "result.id == 1",
            json!({ "id": serde_json::from_str::<Value>("0.1234567890123456789012345").unwrap() }),
        ),
        ("result.items[3] == 1", json!({ "items": [1] })),
        ("result.gone is defined", json!({})),
        ("result.gone | default(true)", json!({})),
        ("result.items | map(attribute='done') | first", json!({ "items": [{}] })),
        ("range(100000) | sum > 1 and result", json!(true)),
    ] {
        let reconcile = reconcile(&format!("happened: \"{condition}\""));
        assert_eq!(reconcile.verdict(&structured(&content)), Verdict::CannotTell, "{condition}");
    }
    for (condition, content) in [
        ("result.refunds | length > 0", json!({ "refunds": [] })),
        ("result == []", json!([])),
        (
            "result.refunds | selectattr('order', 'equalto', 7) | list | length == 1",
            json!({ "refunds": [{ "order": 8 }] }),
        ),
    ] {
        let both = format!("happened: \"{condition}\"\ndid_not_happen: \"not ({condition})\"");
        let verdict = reconcile(&both).verdict(&structured(&content));
        let expected = if content == json!([]) { Verdict::Happened } else { Verdict::DidNotHappen };
        assert_eq!(verdict, expected, "{condition}");
    }
}

#[test]
fn the_text_of_an_answer_is_read_as_json_if_it_is_json() {
    let text = |text: &str| json!({ "content": [{ "type": "text", "text": text }] });
    let object =
        reconcile("happened: \"result.status == 'refunded'\"\ndid_not_happen: \"result.status == 'open'\"");
    assert_eq!(object.verdict(&text(r#" {"status":"refunded"} "#)), Verdict::Happened);
    assert_eq!(object.verdict(&text(r#"{"status":"open"}"#)), Verdict::DidNotHappen);
    // Two readers could read this differently.
    assert_eq!(object.verdict(&text(r#"{"status":"open","status":"refunded"}"#)), Verdict::CannotTell);
    assert_eq!(object.verdict(&text("refunded")), Verdict::CannotTell);
    let plain = reconcile("happened: \"'refunded' in result\"\ndid_not_happen: \"result == 'no refund'\"");
    assert_eq!(plain.verdict(&text("It was refunded.")), Verdict::Happened);
    assert_eq!(plain.verdict(&text("no refund")), Verdict::DidNotHappen);
    assert_eq!(plain.verdict(&text("Sorry?")), Verdict::CannotTell);
    // Whoever wrote the condition may have meant either; one that says that it happened errs on the safe side.
    let word = reconcile("happened: \"result == 'true'\"\ndid_not_happen: \"result == 'open'\"");
    assert_eq!(word.verdict(&text("true")), Verdict::Happened);
    assert_eq!(word.verdict(&text("open")), Verdict::DidNotHappen);
    let truth = reconcile("happened: result\ndid_not_happen: not result");
    assert_eq!(truth.verdict(&text("true")), Verdict::Happened);
    assert_eq!(truth.verdict(&text("false")), Verdict::DidNotHappen);
    assert_eq!(truth.verdict(&text("\"true\"")), Verdict::CannotTell);
    let block = json!({ "type": "text", "text": "It was refunded." });
    for answer in [
        json!({ "content": [block, block] }),
        json!({ "content": [{ "type": "image", "data": "" }] }),
        json!({ "content": [] }),
        json!({ "content": [block], "isError": true }),
        json!({ "content": [block], "isError": "yes" }),
        json!({}),
        json!(null),
        json!("It was refunded."),
    ] {
        assert_eq!(plain.verdict(&answer), Verdict::CannotTell, "{answer}");
    }
    let beside = json!({ "content": [{ "type": "image", "data": "" }, block], "isError": false });
    assert_eq!(plain.verdict(&beside), Verdict::Happened);
}

#[test]
fn a_payload_may_have_a_text_of_its_own() {
    let policy =
        Folder::tools(&gated("payload:\n  order: { template: 'No. {{ args.id }}\u{202e}' }\n")).policy();
    let Ok(Plan::Gate(ask)) = policy.plan(&call("issue_refund", r#"{"id":"7\n"}"#)) else {
        panic!("not gated")
    };
    assert_eq!(ask.payload.get(), "{\"order\":\"No. 7\\n\u{202e}\"}");
}

fn asked(fields: &str, arguments: &str) -> Box<Ask> {
    match Folder::tools(&gated(fields)).policy().plan(&call("issue_refund", arguments)) {
        Ok(Plan::Gate(ask)) => ask,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_values_that_are_masked_are_told_as_text() {
    let fields = "payload:\n  card: { at: /card, secret: true }\n  pin: { at: /pin, secret: true }\n  order: { at: /order }\n";
    let arguments = r#"{"order":"7777","pin":1234.50,"card":{"number":"4242 4242","more":[12345,null,true,"Ada Lovelace"]}}"#;
    let secrets = asked(fields, arguments).secrets;
    assert_eq!(
        secrets.redact("4242 4242, 12345, Ada Lovelace, 1234.50, 1234.5, null, 7777"),
        "[redacted], [redacted], [redacted], [redacted], 1234.5, null, 7777"
    );
    assert_eq!(asked("risk_level: low", arguments).secrets.redact("4242 4242"), "4242 4242");
}
