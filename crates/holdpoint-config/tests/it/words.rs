//! What callers say of their calls: where the entry says nothing, and within its limits.

use crate::folder::{Folder, call};
use holdpoint_core::{Ask, CallerWords, Plan, Policy as _, RiskLevel, ToolCall};

const TOOLS: &str = "server: payments
tools:
  - { name: bare, action: gate }
  - { name: masked, action: gate, payload: { card: { at: /card, secret: true } } }
  - name: said
    action: gate
    workflow_name: Ours
    task_label: Our label
    subject: 'Ours: {{ args.amount }}'
    preview: Our preview
    risk_level: critical
    summary: [our point]
";

fn words() -> CallerWords {
    CallerWords {
        workflow_name: Some("Theirs".into()),
        task_label: Some("Their label".into()),
        subject: Some("Their subject".into()),
        preview: Some("Their preview".into()),
        risk_level: Some(RiskLevel::Low),
        summary: vec!["one".into(), "two".into()],
        images: vec!["aGk=".into()],
    }
}

fn with(tool: &str, arguments: &str, words: CallerWords) -> ToolCall {
    let mut call = call(tool, arguments);
    words.add_to(&mut call.extra);
    call
}

fn asked(call: &ToolCall) -> Result<Box<Ask>, String> {
    match Folder::tools(TOOLS).policy().plan(call) {
        Ok(Plan::Gate(ask)) => Ok(ask),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.problem),
    }
}

#[test]
fn they_fill_in_what_an_entry_leaves_open() {
    for tool in ["bare", "unmatched"] {
        let ask = asked(&with(tool, "{}", words())).unwrap();
        assert_eq!((ask.workflow_name.as_str(), ask.task_label.as_str()), ("Theirs", "Their label"));
        assert_eq!((ask.subject.as_str(), ask.preview.as_deref()), ("Their subject", Some("Their preview")));
        assert_eq!((ask.risk_level, ask.summary.len(), ask.images.len()), (Some(RiskLevel::Low), 2, 1));
    }
}

#[test]
fn they_change_nothing_that_an_entry_says() {
    let ask = asked(&with("said", r#"{"amount":5}"#, words())).unwrap();
    assert_eq!((ask.workflow_name.as_str(), ask.task_label.as_str()), ("Ours", "Our label"));
    assert_eq!((ask.subject.as_str(), ask.preview.as_deref()), ("Ours: 5", Some("Our preview")));
    assert_eq!(
        (ask.risk_level, ask.summary.as_slice()),
        (Some(RiskLevel::Critical), &["our point".to_owned()][..])
    );
}

#[test]
fn a_secret_does_not_leave_by_their_way() {
    let said = |text: &str| Some(text.to_owned());
    let card = "4242424242424242";
    let told = CallerWords {
        subject: said(&format!("Card {card}")),
        preview: said(card),
        summary: vec![card.into()],
        task_label: said(card),
        ..CallerWords::default()
    };
    let ask = asked(&with("masked", &format!(r#"{{"card":"{card}"}}"#), told)).unwrap();
    let shown = format!("{ask:?}");
    assert!(!shown.contains(card), "{shown}");
}

#[test]
fn what_could_deceive_is_shown_and_what_is_too_long_is_refused() {
    let said = |text: &str| Some(text.to_owned());
    let odd = CallerWords {
        subject: said("pay \u{202e}x"),
        preview: said("a\n\u{200b}b"),
        ..CallerWords::default()
    };
    let ask = asked(&with("bare", "{}", odd)).unwrap();
    assert_eq!((ask.subject.as_str(), ask.preview.as_deref()), ("pay \\u{202e}x", Some("a\n\\u{200b}b")));
    let long = "x".repeat(5_000);
    for (words, names) in [
        (CallerWords { subject: said("a\nb"), ..CallerWords::default() }, "`subject` is more than one line"),
        (CallerWords { subject: said("  "), ..CallerWords::default() }, "`subject` is empty"),
        (CallerWords { task_label: said(&long), ..CallerWords::default() }, "`task_label`"),
        (CallerWords { preview: said(&long), ..CallerWords::default() }, "`preview`"),
        (CallerWords { summary: vec![long.clone()], ..CallerWords::default() }, "`summary`"),
        (CallerWords { summary: vec!["x".into(); 101], ..CallerWords::default() }, "`summary`"),
        (CallerWords { images: vec!["x".into(); 17], ..CallerWords::default() }, "`images`"),
    ] {
        let problem = asked(&with("bare", "{}", words)).unwrap_err();
        assert!(problem.contains(names), "{problem}");
    }
}
