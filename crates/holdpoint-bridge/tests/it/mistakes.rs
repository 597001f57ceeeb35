//! Requests that are no question: nobody is asked, and nothing is a yes.

use crate::house::{House, With as _, ask, json_request, request};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;

fn raw(kind: &str, body: &str) -> Request<Full<Bytes>> {
    let mut asked = request(Method::POST, "/v1/decisions").header_of("idempotency-key", "k");
    asked.headers_mut().insert("content-type", kind.parse().unwrap());
    *asked.body_mut() = Full::new(Bytes::from(body.to_owned()));
    asked
}

#[tokio::test(start_paused = true)]
async fn what_has_two_readings_or_none_is_refused() {
    let house = House::new();
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let bodies = [
        (json, r#"{"tool_name":"a","tool_name":"b"}"#, 400, "tool_name"),
        (json, r#"{"tool_name":"a","Tool_Name":"b"}"#, 400, "Tool_Name"),
        (json, r#"{"tool_name":"a","payload":{"x":1,"X":2}}"#, 400, "X"),
        (json, r#"["tool_name"]"#, 400, "object"),
        (json, r#"{"tool_name":1}"#, 400, "tool_name"),
        (json, r#"{"subject":"x"}"#, 400, "`tool_name` is missing"),
        (json, r#"{"tool_name":""}"#, 400, "tool_name"),
        (json, r#"{"tool_name":"a","subjekt":"x"}"#, 400, "subjekt"),
        (json, r#"{"tool_name":"a","risk_level":"HIGH"}"#, 400, "risk_level"),
        (json, r#"{"tool_name":"a","payload":[1]}"#, 400, "payload"),
        (json, r#"{"tool_name":"a","payload":{},"payload_json":"{}"}"#, 400, "not both"),
        (json, r#"{"tool_name":"a","payload_json":"{\"x\":1,\"x\":2}"}"#, 400, "payload_json"),
        (json, r#"{"tool_name":"a","payload_json":"x"}"#, 400, "payload_json"),
        (json, r#"{"tool_name":"a","summary":[1]}"#, 400, "summary"),
        (json, r#"{"tool_name":"a","task_id":".."}"#, 400, "task_id"),
        (json, r#"{"tool_name":"a","target":"nowhere"}"#, 404, "target"),
        (json, r#"{"tool_name":"a","callback_url":"https://x.example"}"#, 400, "hosts"),
        (json, "\u{feff}{}", 400, "reading"),
        (json, "", 400, "reading"),
        (form, "tool_name=a&tool_name=b", 400, "twice"),
        (form, "tool_name=a&payload.x=1&payload.x=2", 400, "twice"),
        (form, "tool_name=a&payload.x=1&payload.X=2", 400, "payload"),
        (form, "tool_name=a&payload.x:number=one", 400, "number"),
        (form, "tool_name=a&payload.x:date=1", 400, ":text"),
        (form, "tool_name=a&payload={}", 400, "payload.NAME"),
        (form, "tool_name=%ff", 400, "UTF-8"),
        ("text/plain", "tool_name=a", 415, "application/json"),
        ("application/json; charset=utf-7", "{}", 415, "UTF-8"),
    ];
    for (kind, body, status, names) in bodies {
        let refused = house.send(raw(kind, body)).await;
        assert_eq!(refused.status.as_u16(), status, "{body}: {}", refused.text);
        assert!(refused.text.contains(names), "{body}: {}", refused.text);
        assert_eq!(
            (refused.header("holdpoint-decision"), refused.body["decision"].as_str()),
            ("deny", Some("deny"))
        );
        assert_eq!(refused.header("content-type"), "application/problem+json");
    }
    assert!(house.approver.submitted().is_empty());
    assert!(house.journal.operations().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_question_has_one_name() {
    let house = House::new();
    let body = json!({ "tool_name": "refund", "subject": "x" });
    let nameless = house.send(json_request("/v1/decisions", &body)).await;
    assert_eq!(nameless.status, 400);
    assert!(nameless.text.contains("Idempotency-Key"), "{}", nameless.text);
    let half = json!({ "tool_name": "refund", "subject": "x", "task_id": "job" });
    assert_eq!(house.send(json_request("/v1/decisions", &half)).await.status, 400);
    let twice = ask("a", "", &body).header_of("idempotency-key", "b");
    assert_eq!(house.send(twice).await.status, 400);
    let long = "k".repeat(256);
    for key in ["with space", &*long] {
        assert_eq!(house.send(ask(key, "", &body)).await.status, 400, "{key}");
    }
    for query in ["wait=soon", "wait=-1", "wait=1&wait=2", "wait="] {
        assert_eq!(house.send(ask("k", query, &body)).await.status, 400, "{query}");
    }
    assert!(house.approver.submitted().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_has_a_size() {
    let house = House::new();
    let large = format!(r#"{{"tool_name":"a","subject":"{}"}}"#, "x".repeat(9 * 1024 * 1024));
    let refused = house.send(raw("application/json", &large)).await;
    assert_eq!((refused.status.as_u16(), refused.header("holdpoint-decision")), (413, "deny"));
}

#[tokio::test(start_paused = true)]
async fn paths_and_methods_are_what_they_are() {
    let house = House::new();
    for (method, path, status) in [
        (Method::GET, "/v1/decisions", 405),
        (Method::PUT, "/v1/decisions/op_1", 405),
        (Method::GET, "/v1/nothing", 404),
        (Method::GET, "/v1/decisions/op_1/claim/more", 404),
        (Method::POST, "/api/agent/decisions", 405),
        (Method::GET, "/v1/health", 200),
    ] {
        let said = house.send(request(method.clone(), path)).await;
        assert_eq!(said.status.as_u16(), status, "{method} {path}");
        if status == 405 {
            assert!(!said.header("allow").is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_documents_are_what_is_served() {
    let house = House::new();
    let document = house.get("/v1/openapi.json").await.body;
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in [
        ("/v1/decisions", vec!["post"]),
        ("/v1/decisions/{id}", vec!["get", "delete"]),
        ("/v1/decisions/{id}/claim", vec!["post"]),
        ("/v1/subscriptions", vec!["post"]),
        ("/v1/subscriptions/{id}", vec!["delete"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method]["operationId"].is_string(), "{method} {path}");
        }
    }
    let fields = document["components"]["schemas"]["DecisionRequest"]["properties"].as_object().unwrap();
    // Each field of the document is one that is taken.
    for name in fields.keys() {
        let mut body = json!({ "tool_name": "open" });
        body[name] = match &**name {
            "payload" => json!({}),
            "payload_json" => json!("{}"),
            "summary" | "images" => json!([]),
            "risk_level" => json!("low"),
            "target" | "callback_url" => continue,
            _ => json!("open"),
        };
        let said = house.ask("k", "", body).await;
        assert_eq!(said.words().1, "allow", "{name}: {}", said.text);
    }
    let flat = house.get("/v1/openapi-tools.json").await.body;
    assert_eq!(flat["servers"].as_array().map(Vec::len), Some(1));
    assert!(!flat.to_string().contains("$ref"));
}
