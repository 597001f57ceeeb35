//! What is refused at the edge, and with which words.

use holdpoint_api::{BodyError, EventBody, JsonProblem, Limits, RequestBody, RevisionPayload, TaskId, paths};
use proptest::prelude::*;

fn request(extra: &str) -> Result<RequestBody, BodyError> {
    let body = format!(r#"{{"workflow_name":"w","task_label":"l","tool_name":"t","subject":"s"{extra}}}"#);
    RequestBody::parse(body.as_bytes(), &Limits::DEFAULT)
}

fn words(result: Result<RequestBody, BodyError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn missing_and_empty_fields_are_named() {
    let missing =
        RequestBody::parse(br#"{"workflow_name":"w","task_label":"l","subject":"s"}"#, &Limits::DEFAULT);
    assert!(words(missing).starts_with("missing field `tool_name`"));
    let empty = RequestBody::parse(
        br#"{"workflow_name":"w","task_label":"l","tool_name":" ","subject":"s"}"#,
        &Limits::DEFAULT,
    );
    assert_eq!(words(empty), "`tool_name` cannot be empty");
    assert!(words(request(r#","risk_level":"huge""#)).contains("`risk_level`: unknown variant"));
    assert!(words(request(r#","summary":"one""#)).contains("`summary`: invalid type"));
    assert!(words(RequestBody::parse(b"[]", &Limits::DEFAULT)).contains("expected a JSON object"));
    assert!(words(RequestBody::parse(b"{", &Limits::DEFAULT)).contains("EOF"));
    assert!(EventBody::parse(br#"{"event_type":"a"}"#, &Limits::DEFAULT).is_err());
}

#[test]
fn null_counts_as_absent_for_optional_fields_only() {
    let body =
        request(r#","preview":null,"risk_level":null,"summary":null,"payload":null,"images":null"#).unwrap();
    assert!(body.preview.is_none() && body.risk_level.is_none() && body.payload.is_none());
    let null = RequestBody::parse(
        br#"{"workflow_name":"w","task_label":"l","tool_name":null,"subject":"s"}"#,
        &Limits::DEFAULT,
    );
    assert!(null.is_err());
}

#[test]
fn duplicate_keys_are_refused_at_every_depth() {
    assert!(words(request(r#","subject":"other""#)).contains("`subject` appears twice"));
    assert!(words(request(r#","payload":{"amount":1,"amount":500}"#)).contains("`amount` appears twice"));
    assert!(words(request(r#","payload":{"a":[{"b":{"k":1,"\u006b":2}}]}"#)).contains("`k` appears twice"));
    assert!(request(r#","payload":{"a":{"k":1},"b":{"k":1},"k":["k","k"]}"#).is_ok());
}

#[test]
fn keys_that_would_be_read_as_numbers_are_refused() {
    let result = request(r#","payload":{"amount":{"$serde_json::private::Number":"5"}}"#);
    assert!(matches!(result, Err(BodyError::Ambiguous(JsonProblem::ReservedKey(_)))));
    let escaped = request(r#","payload":{"amount":{"\u0024serde_json::private::Number":"5"}}"#);
    assert!(matches!(escaped, Err(BodyError::Ambiguous(JsonProblem::ReservedKey(_)))));
}

#[test]
fn every_limit_holds_at_its_edge() {
    let nested = |depth: usize| format!(r#","payload":{}{}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(request(&nested(63)).is_ok());
    assert_eq!(words(request(&nested(64))), "JSON is nested deeper than 64 levels");
    assert!(request(&nested(100_000)).is_err());

    let preview = |bytes: usize| format!(r#","preview":"{}""#, "x".repeat(bytes));
    assert!(request(&preview(4096)).is_ok());
    assert_eq!(words(request(&preview(4097))), "`preview` is longer than 4096 bytes");

    let list = |name: &str, count: usize| format!(r#","{name}":[{}]"#, vec![r#""x""#; count].join(","));
    assert!(request(&list("summary", 100)).is_ok());
    assert_eq!(words(request(&list("summary", 101))), "`summary` has more than 100 entries");
    assert!(request(&list("images", 16)).is_ok());
    assert_eq!(words(request(&list("images", 17))), "`images` has more than 16 entries");

    let unknown = |count: usize| {
        let fields: Vec<String> = (0..count).map(|n| format!(r#","x{n}":1"#)).collect();
        fields.concat()
    };
    let large = vec![b' '; Limits::DEFAULT.body_bytes + 1];
    assert!(matches!(RequestBody::parse(&large, &Limits::DEFAULT), Err(BodyError::TooLarge(_))));

    assert!(request(&unknown(60)).is_ok());
    assert!(words(request(&unknown(61))).contains("more than 64 fields"));
}

#[test]
fn unknown_fields_are_kept_as_they_were_sent() {
    let body = request(r#","later":{"n":1.0},"more":[ 1e5 ]"#).unwrap();
    let extra: Vec<_> = body.extra.iter().map(|field| (field.name.as_str(), field.value.get())).collect();
    assert_eq!(extra, [("later", r#"{"n":1.0}"#), ("more", "[ 1e5 ]")]);
    assert!(serde_json::to_string(&body).unwrap().ends_with(r#""later":{"n":1.0},"more":[ 1e5 ]}"#));
}

#[test]
fn a_revision_needs_its_id_and_its_payload() {
    let read = |text: &str| {
        let raw = serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
        RevisionPayload::parse(&raw, &Limits::DEFAULT)
    };
    assert!(read(r#"{"revision":{"revision_id":"r","request_payload":{}}}"#).is_ok());
    assert_eq!(
        read(r#"{"revision":{"revision_id":"r","request_payload":null}}"#).unwrap().revision.payload_text(),
        "null"
    );
    assert!(read(r#"{"revision":{"revision_id":"r"}}"#).is_err());
    assert!(read(r#"{"revision":{"request_payload":{}}}"#).is_err());
    assert!(read(r#"{"revision":{"revision_id":"","request_payload":{}}}"#).is_err());
    assert!(read("{}").is_err());
}

#[test]
fn task_ids_that_urls_would_fold_away_are_refused() {
    for no in ["", ".", "..", "a\nb", "\u{85}", &"x".repeat(257)] {
        assert!(TaskId::parse(no).is_err(), "{no:?}");
    }
    let task = TaskId::parse("job 1/../a?b#c.ü").unwrap();
    assert_eq!(paths::requests(&task), "/api/agent/tasks/job%201%2F..%2Fa%3Fb%23c.%C3%BC/requests");
    assert_eq!(
        paths::decision_of_thread("THR-1&x", Some(60)),
        "/api/agent/decisions?thread_id=THR-1%26x&wait=60"
    );
}

proptest! {
    /// Whatever bytes come, the door answers and does not panic; what it lets in it lets in again.
    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = RequestBody::parse(&body, &Limits::DEFAULT);
        let _ = EventBody::parse(&body, &Limits::DEFAULT);
    }

    /// The payload leaves as it came, byte for byte.
    #[test]
    fn payload_text_survives(text in r#"\{"n": ?-?[1-9][0-9]{0,40}(\.[0-9]{1,20})?(e-?[0-9]{1,3})? ?\}"#) {
        let body = request(&format!(r#","payload":  {text}  "#)).unwrap();
        prop_assert_eq!(body.payload_text(), &text);
        let again = RequestBody::parse(&serde_json::to_vec(&body).unwrap(), &Limits::DEFAULT).unwrap();
        prop_assert_eq!(again.payload_text(), &text);
    }
}
