//! Every example of the vendor's reference, word for word, is read and means what it says.

use holdpoint_api::{
    ApprovalToken, DecisionAnswer, DecisionStatus, EventBody, EventTarget, InitialStatus, Limits,
    RefusedReason, RequestAnswer, RequestBody, RevisionPayload, RiskLevel, TaskId, ValidateAnswer,
    ValidateBody, WebhookBody, WebhookDecision, payload_digest,
};

macro_rules! example {
    ($name:literal) => {
        include_bytes!(concat!("reference/", $name, ".json"))
    };
}

fn task(id: &str) -> TaskId {
    TaskId::parse(id).unwrap()
}

#[test]
fn the_first_successful_call() {
    let body = RequestBody::parse(example!("request"), &Limits::DEFAULT).unwrap();
    assert_eq!(body.tool_name, "issue_refund");
    assert_eq!(body.subject, "Issue refund of $500 to customer cus_99");
    assert_eq!(body.risk_level, Some(RiskLevel::High));
    assert_eq!(body.summary.len(), 3);
    assert!(body.payload_text().starts_with("{\n\"amount\": 500,\n"), "{}", body.payload_text());
    assert!(body.extra.is_empty());
}

#[test]
fn the_platform_guides_requests() {
    for example in [&example!("request_copilot")[..], example!("request_dify"), example!("request_rest")] {
        let body = RequestBody::parse(example, &Limits::DEFAULT).unwrap();
        assert!(!body.tool_name.is_empty());
    }
}

#[test]
fn what_a_client_writes_is_what_a_server_reads() {
    let body = RequestBody::parse(example!("request"), &Limits::DEFAULT).unwrap();
    let again = RequestBody::parse(&serde_json::to_vec(&body).unwrap(), &Limits::DEFAULT).unwrap();
    assert_eq!(again.payload_text(), body.payload_text());
    assert_eq!(again.payload_digest(), body.payload_digest());
    assert_eq!(again.summary, body.summary);
}

#[test]
fn an_event() {
    let body = EventBody::parse(example!("event"), &Limits::DEFAULT).unwrap();
    assert_eq!(body.event_type, "task.started");
    assert_eq!(body.images.len(), 1);
    assert_eq!(body.target(&task("task-abc-123")), EventTarget::Timeline);
}

#[test]
fn a_revision() {
    let body = EventBody::parse(example!("revision"), &Limits::DEFAULT).unwrap();
    assert_eq!(body.target(&task("task-abc-123")), EventTarget::Revision { thread_id: "THR-XXXXXXXX" });
    assert_eq!(body.target(&task("task-abc")), EventTarget::Misdirected);
    let revision =
        RevisionPayload::parse(body.payload.as_deref().unwrap(), &Limits::DEFAULT).unwrap().revision;
    assert_eq!(revision.revision_id, "rev-002");
    assert!(revision.payload_text().contains("return_label_scanned"));
    assert_eq!(revision.payload_digest(), payload_digest(revision.payload_text()));
    let written = serde_json::to_string(&RevisionPayload { revision }).unwrap();
    assert!(written.starts_with(r#"{"revision":{"revision_id":"rev-002""#), "{written}");
}

#[test]
fn task_ids_with_dots_keep_their_revisions_apart() {
    let body = EventBody::parse(
        br#"{"event_type":"revision.job.7.THR-1","event_summary":"s","payload":{}}"#,
        &Limits::DEFAULT,
    )
    .unwrap();
    assert_eq!(body.target(&task("job.7")), EventTarget::Revision { thread_id: "THR-1" });
    assert_eq!(body.target(&task("job")), EventTarget::Revision { thread_id: "7.THR-1" });
    assert_eq!(body.target(&task("job.7.THR-1")), EventTarget::Misdirected);
    assert_eq!(EventBody::revision_type(&task("job.7"), "THR-1"), body.event_type);
}

#[test]
fn validations() {
    let body = ValidateBody::parse(example!("validate"), &Limits::DEFAULT).unwrap();
    assert_eq!((body.task_id.as_str(), body.signature.expose()), ("task-abc-123", "APPROVAL_TOKEN"));
    assert!(ValidateBody::parse(example!("validate_rest"), &Limits::DEFAULT).is_ok());
}

#[test]
fn validation_answers_are_read_strictly() {
    let read = |text: &str| serde_json::from_str::<ValidateAnswer>(text);
    assert_eq!(read(r#"{"valid":true}"#).unwrap(), ValidateAnswer::Valid);
    for (word, reason) in [
        ("invalid", RefusedReason::Invalid),
        ("expired", RefusedReason::Expired),
        ("used", RefusedReason::Used),
        ("later", RefusedReason::Unknown("later".to_owned())),
    ] {
        let text = format!(r#"{{"valid":false,"reason":"{word}"}}"#);
        assert_eq!(read(&text).unwrap(), ValidateAnswer::Refused(reason.clone()));
        assert_eq!(serde_json::to_string(&ValidateAnswer::Refused(reason)).unwrap(), text);
    }
    for no in ["{}", r#"{"valid":"true"}"#, r#"{"valid":1}"#, r#"{"valid":true,"valid":true}"#, "[]", "true"]
    {
        assert!(read(no).is_err(), "{no}");
    }
    assert!(read(r#"{"valid":true,"reason":"used"}"#).is_err());
}

#[test]
fn the_webhook_has_exactly_seven_fields() {
    let body: WebhookBody = serde_json::from_slice(example!("webhook")).unwrap();
    assert_eq!(body.decision, WebhookDecision::Approved);
    let written: serde_json::Value = serde_json::to_value(&body).unwrap();
    let reference: serde_json::Value = serde_json::from_slice(example!("webhook")).unwrap();
    assert_eq!(written, reference);
    assert_eq!(written.as_object().unwrap().len(), 7);
}

#[test]
fn statuses_of_one_kind_are_unknown_in_another() {
    let initial = |word: &str| serde_json::from_str::<InitialStatus>(&format!("\"{word}\"")).unwrap();
    let decision = |word: &str| serde_json::from_str::<DecisionStatus>(&format!("\"{word}\"")).unwrap();
    assert_eq!(initial("allow"), InitialStatus::Allow);
    assert_eq!(initial("approved"), InitialStatus::Unknown("approved".to_owned()));
    assert_eq!(decision("approved"), DecisionStatus::Approved);
    assert_eq!(decision("allow"), DecisionStatus::Unknown("allow".to_owned()));
    assert_eq!(decision("Approved"), DecisionStatus::Unknown("Approved".to_owned()));
    assert!(serde_json::from_str::<DecisionStatus>("null").is_err());
}

#[test]
fn answers_of_a_gate_that_says_less_or_more() {
    let bare: RequestAnswer = serde_json::from_str(r#"{"status":"allow","message":null,"later":1}"#).unwrap();
    assert_eq!((bare.status, bare.message.as_str(), bare.task_id), (InitialStatus::Allow, "", None));
    let hints = |hint: &str| {
        let text = format!(r#"{{"status":"pending_review","recommended_poll_after_seconds":{hint}}}"#);
        serde_json::from_str::<DecisionAnswer>(&text).unwrap().recommended_poll_after_seconds
    };
    assert_eq!(hints("5"), Some(5));
    assert_eq!(hints("0.2"), Some(1));
    assert_eq!(hints("null"), None);
    assert_eq!(hints("-1"), None);
    assert_eq!(hints("1e300"), None);
}

#[test]
fn an_approval_carries_its_token_and_expiry() {
    let text = r#"{"status":"approved","thread_id":"THR-4F2A9C1B","task_id":"task-abc-123","message":"ok",
        "approval_token":"tok","token_expires_at":"2026-11-22T20:00:00Z"}"#;
    let answer: DecisionAnswer = serde_json::from_str(text).unwrap();
    assert_eq!(answer.approval_token.as_ref().map(ApprovalToken::expose), Some("tok"));
    assert_eq!(answer.token_expires_at.unwrap().to_string(), "2026-11-22T20:00:00Z");
    assert!(!format!("{answer:?}").contains("tok\""), "{answer:?}");
}

#[test]
fn payload_digest_vectors() {
    assert_eq!(
        payload_digest("null"),
        "sha256:24cf28ce5d38750548aa96edddfca54c573565485d69758c26747feff71a8fce"
    );
    assert_eq!(
        payload_digest(r#"{"amount":9007199254740993}"#),
        "sha256:13c53f18dc36147da80160b46a04e2d1362a3d353ff8799b43a6f9832af7e60f"
    );
    assert_ne!(
        payload_digest(r#"{"amount":9007199254740993}"#),
        payload_digest(r#"{"amount":9007199254740992}"#)
    );
    assert_ne!(payload_digest("1"), payload_digest("1.0"));
    let absent = RequestBody::parse(
        br#"{"workflow_name":"w","task_label":"l","tool_name":"t","subject":"s"}"#,
        &Limits::DEFAULT,
    );
    assert_eq!(absent.unwrap().payload_digest(), payload_digest("null"));
}
