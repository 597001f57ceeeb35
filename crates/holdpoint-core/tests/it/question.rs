//! The digest of a question covers everything that the reviewer is shown, and on what terms.

use holdpoint_core::{Ask, Effect, EffectKey, EntryName, RiskLevel, Secrets, Tokens};
use serde_json::value::RawValue;
use std::{collections::HashSet, time::Duration};

fn ask() -> Ask {
    Ask {
        entry: EntryName::new("entry"),
        workflow_name: "workflow".into(),
        task_label: "label".into(),
        tool_name: "tool".into(),
        subject: "subject".into(),
        preview: Some("preview".into()),
        risk_level: Some(RiskLevel::Low),
        summary: vec!["one".into(), "two".into()],
        images: Vec::new(),
        payload: RawValue::from_string(r#"{"amount":1}"#.into()).unwrap(),
        tokens: Tokens::Required,
        patience: None,
        effect: Some(Effect { key: EffectKey::new("refund:o1"), reconcile: None }),
        secrets: Secrets::default(),
    }
}

#[test]
fn whatever_is_shown_or_asked_for_makes_another_question() {
    let payload = |text: &str| RawValue::from_string(text.into()).unwrap();
    let effect = |key: &str| Some(Effect { key: EffectKey::new(key), reconcile: None });
    let questions = [
        ask(),
        Ask { workflow_name: "other".into(), ..ask() },
        Ask { task_label: "other".into(), ..ask() },
        Ask { tool_name: "other".into(), ..ask() },
        Ask { subject: "other".into(), ..ask() },
        Ask { preview: None, ..ask() },
        Ask { preview: Some("other".into()), ..ask() },
        Ask { risk_level: None, ..ask() },
        Ask { risk_level: Some(RiskLevel::High), ..ask() },
        Ask { summary: vec!["one".into()], ..ask() },
        Ask { summary: vec!["onetwo".into()], ..ask() },
        Ask { summary: vec!["two".into(), "one".into()], ..ask() },
        Ask { images: vec!["one".into()], ..ask() },
        Ask { images: vec!["two".into()], ..ask() },
        Ask { payload: payload(r#"{"amount":2}"#), ..ask() },
        Ask { payload: payload(r#"{"amount": 1}"#), ..ask() },
        Ask { tokens: Tokens::Optional, ..ask() },
        Ask { tokens: Tokens::Off, ..ask() },
        Ask { effect: None, ..ask() },
        Ask { effect: effect("refund:o2"), ..ask() },
        // What stood in one field must not be taken for what stood in the next.
        Ask { workflow_name: "workflowl".into(), task_label: "abel".into(), ..ask() },
    ];
    let digests: HashSet<_> = questions.iter().map(Ask::digest).collect();
    assert_eq!(digests.len(), questions.len());
}

#[test]
fn what_nobody_is_shown_does_not() {
    for same in [
        ask(),
        Ask { entry: EntryName::new("renamed"), ..ask() },
        Ask { patience: Some(Duration::from_secs(1)), ..ask() },
        Ask { secrets: Secrets::new(vec!["hunter2".to_owned()]), ..ask() },
    ] {
        assert_eq!(same.digest(), ask().digest());
    }
}
