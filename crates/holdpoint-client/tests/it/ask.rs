//! What the first answer may come to, and what it may not.

use crate::setup::{PAYLOAD, TASK, approver, ask, cause, held, repeat, said, submit, task};
use holdpoint_client::ClientError;
use holdpoint_core::{Approver, Submission, TaskId};
use holdpoint_testkit::{Endpoint, Initial, Script, ScriptedGate};
use serde_json::{Value, json};

#[tokio::test]
async fn the_three_statuses_are_three_submissions() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);

    let hold = held(&approver).await;
    assert_eq!(hold.thread.as_str(), "THR-00000001");
    assert_eq!(hold.task.as_str(), TASK);
    assert_eq!(hold.binding, format!("{}#initial", holdpoint_api::payload_digest(PAYLOAD)));
    assert_eq!(hold.review_url.as_deref(), Some("http://127.0.0.1/threads/THR-00000001"));

    gate.set_initial(Initial::Allow);
    let allowed = approver.submit(&ask(), &task(), repeat(1)).await.expect("an answer");
    assert!(matches!(allowed, Submission::Allowed));

    gate.set_initial(Initial::Reject);
    let rejected = approver.submit(&ask(), &task(), repeat(2)).await.expect("an answer");
    assert!(
        matches!(rejected, Submission::Rejected { message: Some(message) } if message == "a rule refuses this")
    );
}

#[tokio::test]
async fn the_request_carries_the_ask_and_the_payloads_own_bytes() {
    let gate = ScriptedGate::start().await;
    held(&approver(&gate)).await;

    let request = gate.recorded_at(Endpoint::Requests).pop().expect("one request");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("authorization"), Some("Bearer sg_scripted"));
    let text = String::from_utf8(request.body.clone()).expect("UTF-8");
    assert!(text.contains(PAYLOAD), "the payload was written anew: {text}");
    let mut fields = request.json();
    fields["payload"].take();
    let expected = json!({
        "workflow_name": "Customer Support", "task_label": "Refund request", "tool_name": "issue_refund",
        "subject": "Issue refund of $500", "preview": "Item never \"arrived\"", "risk_level": "high",
        "summary": ["Order placed 14 days ago"], "payload": null,
    });
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn the_idempotency_key_names_the_question_and_tells_nothing() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    let mut other = ask();
    other.subject.push('!');
    for (ask, task, ended) in [
        (&ask(), task(), 0),
        (&ask(), task(), 0),
        (&ask(), task(), 1),
        (&other, task(), 0),
        (&ask(), TaskId::new("other"), 0),
    ] {
        approver.submit(ask, &task, repeat(ended)).await.expect("an answer");
    }
    let requests = gate.recorded_at(Endpoint::Requests);
    let keys: Vec<&str> = requests.iter().filter_map(|request| request.header("idempotency-key")).collect();
    let [first, again, ended, changed, elsewhere] = keys[..] else { panic!("{keys:?}") };
    assert_eq!(first, again);
    let mut distinct = vec![first, ended, changed, elsewhere];
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 4);
    assert!(!first.contains(&repeat(0).digest.to_string()));
    assert_eq!(gate.threads().len(), 4, "the same question opened one thread");
}

/// A change to an honest answer.
type Edit = fn(&mut Value);

/// Nothing but a clear yes is one, and a doubtful answer is not asked for again.
#[tokio::test]
async fn doubtful_answers_are_errors_after_one_post() {
    let elsewhere = ScriptedGate::start().await;
    let edits: [(&str, Edit); 13] = [
        ("no status", |answer| _ = answer.as_object_mut().map(|fields| fields.remove("status"))),
        ("status null", |answer| answer["status"] = json!(null)),
        ("status true", |answer| answer["status"] = json!(true)),
        ("status a list", |answer| answer["status"] = json!(["allow"])),
        ("status in capitals", |answer| answer["status"] = json!("ALLOW")),
        ("status of a decision", |answer| answer["status"] = json!("approved")),
        ("status empty", |answer| answer["status"] = json!("")),
        ("no thread", |answer| answer["thread_id"] = json!(null)),
        ("empty thread", |answer| answer["thread_id"] = json!("")),
        ("thread a number", |answer| answer["thread_id"] = json!(7)),
        ("other task", |answer| answer["task_id"] = json!("task-of-somebody-else")),
        ("other payload", |answer| answer["payload_digest"] = json!("sha256:00")),
        ("allow for another payload", |answer| {
            answer["status"] = json!("allow");
            answer["payload_digest"] = json!("sha256:00");
        }),
    ];
    let whole = [
        ("HTML", Script::ok("<html>please sign in</html>")),
        ("nothing", Script::ok("")),
        ("a text", Script::ok(r#""allow""#)),
        ("a list", Script::ok(r#"[{"status":"allow"}]"#)),
        ("two statuses", Script::ok(r#"{"status":"reject","status":"allow"}"#)),
        ("two answers", Script::ok(r#"{"status":"allow"}{"status":"reject"}"#)),
        ("no content", Script::status(204, "")),
        ("huge", Script::huge(8192)),
        ("redirect", Script::redirect(&elsewhere.url())),
        ("300", Script::status(300, r#"{"status":"allow"}"#)),
        ("400", Script::status(400, r#"{"status":"allow"}"#)),
        ("401", Script::status(401, r#"{"status":"allow"}"#)),
        ("403", Script::status(403, r#"{"status":"allow"}"#)),
        ("404", Script::status(404, r#"{"status":"allow"}"#)),
        ("413", Script::status(413, r#"{"status":"allow"}"#)),
        ("429", Script::status(429, r#"{"status":"allow"}"#).with_header("retry-after", "1")),
    ];
    let edits = edits.into_iter().map(|(name, edit)| (name, Script::edited(edit)));
    for (name, script) in edits.chain(whole) {
        let gate = ScriptedGate::start().await;
        gate.script(Endpoint::Requests, script);
        let answer = submit(&approver(&gate)).await;
        assert!(answer.is_err(), "{name}: {answer:?}");
        assert_eq!(gate.count(Endpoint::Requests), 1, "{name}");
    }
    assert_eq!(elsewhere.connections(), 0, "a redirect was followed");
}

#[tokio::test]
async fn an_unknown_status_is_named_without_obeying_it() {
    let gate = ScriptedGate::start().await;
    let word = "\u{1b}[2J\u{202e}allowed-for-the-greater-good-of-all-of-mankind";
    gate.script(Endpoint::Requests, Script::edited(move |answer| answer["status"] = json!(word)));
    let error = submit(&approver(&gate)).await.expect_err("an unknown status");
    let said = said(cause(&error));
    assert!(said.contains(r"\u{1b}[2J\u{202e}allowed"), "{said}");
    assert!(!said.contains('\u{1b}') && !said.contains("mankind"), "{said}");
}

#[tokio::test]
async fn a_null_digest_or_task_contradicts_nothing() {
    let gate = ScriptedGate::start().await;
    gate.name_digests(false);
    gate.name_revisions(false);
    gate.script(Endpoint::Requests, Script::edited(|answer| answer["task_id"] = json!(null)));
    let hold = held(&approver(&gate)).await;
    assert_eq!(hold.binding, holdpoint_api::payload_digest(PAYLOAD));
}

#[tokio::test]
async fn a_link_that_is_no_web_page_is_dropped() {
    let gate = ScriptedGate::start().await;
    gate.script(
        Endpoint::Requests,
        Script::edited(|answer| answer["review_url"] = json!("javascript:alert(1)")),
    );
    assert_eq!(held(&approver(&gate)).await.review_url, None);
}

/// With an answer left over on it, a connection must not answer the next question.
#[tokio::test]
async fn an_answer_sent_twice_answers_one_question() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    gate.set_initial(Initial::Allow);
    gate.script(Endpoint::Requests, Script::twice());
    assert!(matches!(submit(&approver).await, Ok(Submission::Allowed)));

    gate.set_initial(Initial::Reject);
    let next = approver.submit(&ask(), &task(), repeat(1)).await;
    assert!(!matches!(next, Ok(Submission::Allowed)), "{next:?}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_sent() {
    let gate = ScriptedGate::start().await;
    let approver = approver(&gate);
    for task in ["", ".", "..", "a\nb", &"x".repeat(257)] {
        let error = approver.submit(&ask(), &TaskId::new(task), repeat(0)).await.expect_err(task);
        assert!(matches!(cause(&error), ClientError::TaskId(_)), "{error:?}");
    }
    let mut large = ask();
    large.preview = Some("x".repeat(8 * 1024 * 1024));
    let error = approver.submit(&large, &task(), repeat(0)).await.expect_err("too large");
    assert!(matches!(cause(&error), ClientError::RequestTooLarge(_)), "{error:?}");
    assert_eq!(gate.connections(), 0);
}

/// Thousands of calls may arrive in one moment; Gate's queue is not theirs to fill.
#[tokio::test]
async fn only_so_many_questions_are_under_way_at_once() {
    const AT_ONCE_MAX: usize = 128;
    let gate = ScriptedGate::start().await;
    gate.script_all(Endpoint::Requests, Some(Script::hang()));
    let approver = std::sync::Arc::new(approver(&gate));
    for ended in 0..160 {
        let approver = std::sync::Arc::clone(&approver);
        tokio::spawn(async move { approver.submit(&ask(), &task(), repeat(ended)).await });
    }
    gate.until_count(Endpoint::Requests, AT_ONCE_MAX).await;
    // The first of them give up after 400 ms; until then nobody takes their places.
    let one_more = gate.until_count(Endpoint::Requests, AT_ONCE_MAX + 1);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), one_more).await.is_err());
    gate.script_all(Endpoint::Requests, None);
    gate.until_threads(160 - AT_ONCE_MAX).await;
}
