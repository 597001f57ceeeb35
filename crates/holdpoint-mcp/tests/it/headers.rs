//! Headers that say what the body says, or else.

use crate::{
    house::code,
    web::{Web, text},
};
use http::StatusCode;
use serde_json::{Value, json};

const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

fn stateless(method: &str, mut params: Value) -> String {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string()
}

/// What the proxy said, without the server.
async fn refused(web: &Web, headers: &[(&str, &str)], body: &str) -> i64 {
    let answer = web.post_with(headers, body.to_owned()).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{headers:?} {body}");
    let answer = text(answer).await;
    assert!(answer.contains(r#""id":7"#), "{answer}");
    code(&answer)
}

async fn passes(web: &Web, headers: &[(&str, &str)], body: &str) {
    let (answer, ()) = tokio::join!(web.post_with(headers, body.to_owned()), async {
        let asked = web.asked().await;
        assert_eq!(asked.text(), body);
        asked.json("{}");
    });
    assert_eq!(answer.status(), StatusCode::OK, "{headers:?} {body}");
}

#[tokio::test]
async fn a_stateless_request_names_its_method_and_what_it_is_about() {
    let web = Web::new().await;
    let requests = [
        ("prompts/get", json!({ "name": "thing" })),
        ("resources/read", json!({ "uri": "thing" })),
        ("tasks/get", json!({ "taskId": "thing" })),
        ("tasks/update", json!({ "taskId": "thing", "inputResponses": {} })),
        ("tasks/cancel", json!({ "taskId": "thing" })),
    ];
    for (method, params) in requests {
        let body = stateless(method, params);
        let (is, name) = (("mcp-method", method), ("mcp-name", "thing"));
        let wrong: [&[(&str, &str)]; 7] = [
            &[name, VERSION],
            &[is, VERSION],
            &[is, name],
            &[("mcp-method", "tools/list"), name, VERSION],
            &[is, ("mcp-name", "other"), VERSION],
            &[is, name, name, VERSION],
            &[is, name, ("mcp-protocol-version", "2026-07-29")],
        ];
        for headers in wrong {
            assert_eq!(refused(&web, headers, &body).await, -32020, "{headers:?} {body}");
        }
        web.server_saw_nothing().await;
        passes(&web, &[is, name, VERSION], &body).await;
        passes(&web, &[is, ("mcp-name", "=?base64?dGhpbmc=?="), VERSION], &body).await;
    }
}

#[tokio::test]
async fn a_stateless_request_says_in_its_body_what_it_is() {
    let web = Web::new().await;
    let headers = [("mcp-method", "tools/list"), VERSION];
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
    for meta in [version, capabilities, ""] {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{{"_meta":{{{meta}}}}}}}"#);
        assert_eq!(refused(&web, &headers, &body).await, -32602, "{meta}");
    }
    assert_eq!(refused(&web, &headers, r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#).await, -32602);
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn methods_that_nobody_knows_pass_with_whatever_they_name() {
    let web = Web::new().await;
    let body = stateless("vendor/do", json!({ "name": "thing", "what": [1.0] }));
    passes(&web, &[("mcp-method", "vendor/do"), VERSION], &body).await;
    passes(&web, &[("mcp-method", "vendor/do"), ("mcp-name", "anything"), VERSION], &body).await;
}

#[tokio::test]
async fn a_session_need_not_send_headers_but_must_not_send_others() {
    let web = Web::new().await;
    let body = r#"{"jsonrpc":"2.0","id":7,"method":"prompts/get","params":{"name":"thing"}}"#;
    passes(&web, &[("mcp-protocol-version", "2025-11-25")], body).await;
    passes(&web, &[("mcp-name", "thing")], body).await;
    assert_eq!(refused(&web, &[("mcp-name", "other")], body).await, -32020);
    assert_eq!(refused(&web, &[("mcp-method", "prompts/list")], body).await, -32020);
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn what_a_tool_wants_in_headers_is_compared_before_anybody_is_asked() {
    let web = Web::new().await;
    *web.tools.lock().unwrap() = json!([{ "name": "move", "inputSchema": { "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" },
        "count": { "type": "integer", "x-mcp-header": "Count" },
        "deep": { "type": "object", "properties": { "er": { "type": "boolean", "x-mcp-header": "Er" } } },
    } } }])
    .to_string();
    let all = json!({ "region": "Zürich", "count": 7, "deep": { "er": true } });
    let body = stateless("tools/call", json!({ "name": "move", "arguments": all }));
    let (is, name) = (("mcp-method", "tools/call"), ("mcp-name", "move"));
    let (region, count, deeper) =
        (("mcp-param-region", "=?base64?WsO8cmljaA==?="), ("mcp-param-count", "7"), ("mcp-param-er", "true"));
    let wrong: [&[(&str, &str)]; 5] = [
        &[count, deeper],
        &[("mcp-param-region", "=?base64?WsO8cmljaA=?="), count, deeper],
        &[region, ("mcp-param-count", "8"), deeper],
        &[region, count, ("mcp-param-er", "false")],
        &[region, count, count, deeper],
    ];
    for headers in wrong {
        let headers = [&[is, name, VERSION], headers].concat();
        assert_eq!(refused(&web, &headers, &body).await, -32020, "{headers:?}");
    }
    let nothing = stateless("tools/call", json!({ "name": "move", "arguments": {} }));
    assert_eq!(refused(&web, &[is, name, VERSION, region], &nothing).await, -32020);
    web.server_saw_nothing().await;
    assert_eq!(web.house.approver.submitted().len(), 0);
}
