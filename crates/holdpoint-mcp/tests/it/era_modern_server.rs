//! Clients that open with a handshake in front of a server of 2026-07-28.

use crate::{
    era::{event, json_of, modern, parsed, soon},
    house::status,
    web::{Asked, Stream, Web, text},
};
use holdpoint_core::HoldState;
use holdpoint_mcp::{Action, Era};
use holdpoint_testkit::Verdict;
use http::Method;
use serde_json::{Value, json};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

struct Client {
    web: Web,
    session: String,
}

impl Client {
    async fn new(capabilities: Value) -> Self {
        let web = Web::with(|options| options.era = Era::Modern).await;
        web.house.set("t", Action::Pass);
        let (answer, session) = open(&web, "2025-06-18", &capabilities).await;
        assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
        Self { web, session }
    }

    async fn post(&self, message: &str) -> http::Response<hyper::body::Incoming> {
        self.web.post_with(&[("mcp-session-id", &self.session)], message.to_owned()).await
    }

    async fn ask(&self, id: u64, method: &str, params: Value) -> http::Response<hyper::body::Incoming> {
        self.post(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string())
            .await
    }
}

/// Shakes hands; the answer and the session.
async fn open(web: &Web, version: &str, capabilities: &Value) -> (Value, String) {
    let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": capabilities, "clientInfo": { "name": "c", "version": "1.0" } } });
    let (answer, ()) = tokio::join!(web.post(initialize.to_string()), async {
        let asked = web.asked().await;
        let message = parsed(asked.text());
        assert_eq!(
            (message["method"].as_str(), asked.headers["mcp-method"].to_str().unwrap()),
            (Some("server/discover"), "server/discover")
        );
        assert_eq!(asked.headers["mcp-protocol-version"], "2026-07-28");
        assert_eq!(
            message["params"]["_meta"]["io.modelcontextprotocol/clientInfo"],
            json!({ "name": "c", "version": "1.0" })
        );
        finish(
            asked,
            &json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": 1, "cacheScope": "public",
                "capabilities": { "tools": { "listChanged": true }, "resources": { "subscribe": true }, "extensions": { "io.modelcontextprotocol/tasks": {} } },
                "instructions": "be kind", "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "new", "version": "2" } },
            }),
        );
    });
    let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    (json_of(answer).await, session)
}

/// Answers with a result.
fn finish(asked: Asked, result: &Value) {
    let id = parsed(asked.text())["id"].clone();
    asked.json(json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string());
}

fn write(path: &str) -> Value {
    json!({ "name": "write", "arguments": { "path": path } })
}

#[tokio::test]
async fn the_handshake_is_answered_from_what_the_server_says_of_itself() {
    let web = Web::with(|options| options.era = Era::Modern).await;
    for (asked, expected) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let (answer, _) = open(&web, asked, &json!({})).await;
        assert_eq!(
            answer["result"],
            json!({ "protocolVersion": expected, "capabilities": { "tools": { "listChanged": true }, "resources": { "subscribe": true } },
                "serverInfo": { "name": "new", "version": "2" }, "instructions": "be kind" })
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_of_that_era_is_not_taken_for_one() {
    let web = Web::with(|options| options.era = Era::Modern).await;
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
    let (answer, ()) = tokio::join!(web.post(initialize), async {
        web.asked().await.answer(
            400,
            &[("content-type", "application/json")],
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no session"}}"#,
        );
    });
    assert!(!answer.headers().contains_key("mcp-session-id"));
    assert_eq!(json_of(answer).await["error"]["code"], -32603);
}

#[tokio::test]
async fn each_request_says_who_asks_and_the_answer_has_nothing_new_in_it() {
    let client = Client::new(json!({ "roots": {} })).await;
    assert_eq!(json_of(client.ask(1, "ping", json!({})).await).await["result"], json!({}));
    assert_eq!(
        json_of(client.ask(2, "logging/setLevel", json!({ "level": "error" })).await).await["result"],
        json!({})
    );
    let message = r#"{"jsonrpc":"2.0","id":"r","method":"resources/read","params":{"n": 1.10, "uri":"file:///ä","_meta":{"a":1.0}}}"#;
    let (answer, ()) = tokio::join!(client.post(message), async {
        let asked = client.web.asked().await;
        assert!(asked.text().starts_with(r#"{"jsonrpc":"2.0","id":"r","method":"resources/read","params":{"n":1.10,"uri":"file:///ä","_meta":{"a":1.0,"#), "{}", asked.text());
        let meta = parsed(asked.text())["params"]["_meta"].clone();
        assert_eq!(
            (&meta[VERSION], &meta["io.modelcontextprotocol/logLevel"]),
            (&json!("2026-07-28"), &json!("error"))
        );
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({ "roots": {} }));
        assert!(!asked.headers.contains_key("mcp-session-id"));
        assert_eq!(asked.headers["mcp-name"], "=?base64?ZmlsZTovLy/DpA==?=");
        asked.json(r#"{"jsonrpc":"2.0","id":"r","result":{"resultType":"complete","contents":[1.10],"ttlMs":5,"cacheScope":"public","x":1}}"#);
    });
    assert_eq!(text(answer).await, r#"{"jsonrpc":"2.0","id":"r","result":{"contents":[1.10],"x":1}}"#);
    let (missing, ()) = tokio::join!(client.ask(3, "resources/read", json!({ "uri": "file:///x" })), async {
        let asked = client.web.asked().await;
        asked.json(r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"no such resource"}}"#);
    });
    assert_eq!(json_of(missing).await["error"]["code"], -32002);
    let (unknown, ()) = tokio::join!(client.ask(4, "nowhere", json!({})), async {
        client.web.asked().await.answer(
            404,
            &[("content-type", "application/json")],
            r#"{"jsonrpc":"2.0","id":4,"error":{"code":-32601,"message":"x"}}"#,
        );
    });
    assert_eq!(
        (unknown.status().as_u16(), json_of(unknown).await["error"]["code"].clone()),
        (200, json!(-32601))
    );
}

#[tokio::test]
async fn a_session_is_its_principals_until_it_ends() {
    let client = Client::new(json!({})).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let other = [("mcp-session-id", &*client.session), ("x-test-principal", "mallory")];
    assert_eq!(client.web.post_with(&other, ping).await.status(), 404);
    assert_eq!(client.web.post_with(&[("mcp-session-id", "guess")], ping).await.status(), 404);
    assert_eq!(client.web.post(ping).await.status(), 400);
    assert_eq!(client.post(&format!("[{ping}]")).await.status(), 400);
    let end = client.web.send(Method::DELETE, &[("mcp-session-id", &client.session)], "").await;
    assert_eq!(end.status(), 204);
    assert_eq!(client.post(ping).await.status(), 404);
}

#[tokio::test]
async fn an_approved_call_that_asks_for_input_goes_on_with_the_answer_and_a_rejected_one_never_runs() {
    let client = Client::new(json!({ "elicitation": {} })).await;
    client.web.house.approver.decide_all(Verdict::Approve);
    let arguments = r#"{"path":"a" , "n": 1.10}"#;
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"write","arguments":{arguments}}}}}"#
    );
    let (answer, ()) = tokio::join!(client.post(&call), async {
        let asked = client.web.asked().await;
        assert!(asked.text().contains(&format!(r#""arguments":{arguments},"_meta""#)), "{}", asked.text());
        finish(
            asked,
            &json!({ "resultType": "input_required", "requestState": "st\"ate",
            "inputRequests": { "k": { "method": "elicitation/create", "params": { "message": "Which?" } } } }),
        );
    });
    let mut heard = Stream::new(answer);
    let question = parsed(&heard.message().await);
    assert_eq!(
        (question["method"].as_str(), &question["params"]),
        (Some("elicitation/create"), &json!({ "message": "Which?" }))
    );
    let told = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept", "content": { "a": 1 } } });
    assert_eq!(client.post(&told.to_string()).await.status(), 202);
    let again = client.web.asked().await;
    let message = parsed(again.text());
    assert!(again.text().contains(&format!(r#""arguments":{arguments},"_meta""#)), "{}", again.text());
    assert_ne!(message["id"], 7);
    assert_eq!(message["params"]["requestState"], "st\"ate");
    assert_eq!(
        message["params"]["inputResponses"],
        json!({ "k": { "action": "accept", "content": { "a": 1 } } })
    );
    finish(again, &json!({ "resultType": "complete", "content": [] }));
    assert_eq!(
        parsed(&heard.message().await),
        json!({ "jsonrpc": "2.0", "id": 7, "result": { "content": [] } })
    );
    assert_eq!(soon(heard.next()).await, None);
    assert_eq!(client.web.house.journal.states(), [HoldState::Done]);
    // One approval was redeemed, for both legs of the one call.
    assert_eq!(client.web.house.approver.redeemed().len(), 1);

    client.web.house.approver.decide_all(Verdict::Reject(None));
    assert_eq!(status(&text(client.ask(8, "tools/call", write("b")).await).await), "rejected");
    // The next thing that the server hears is something else.
    let (_, ()) = tokio::join!(client.ask(9, "prompts/list", json!({})), async {
        let asked = client.web.asked().await;
        assert_eq!(parsed(asked.text())["method"], "prompts/list");
        finish(asked, &json!({}));
    });
}

#[tokio::test]
async fn a_question_that_the_client_cannot_hear_ends_the_call() {
    let client = Client::new(json!({ "elicitation": {} })).await;
    for (method, params) in [
        ("sampling/createMessage", json!({})),
        ("elicitation/create", json!({ "mode": "url" })),
        ("other", json!({})),
    ] {
        let (answer, ()) = tokio::join!(client.ask(1, "tools/call", json!({ "name": "t" })), async {
            let questions = json!({ "k": { "method": method, "params": params } });
            finish(
                client.web.asked().await,
                &json!({ "resultType": "input_required", "inputRequests": questions }),
            );
        });
        assert_eq!(json_of(answer).await["result"]["isError"], true, "{method}");
    }
}

#[tokio::test]
async fn a_server_that_never_stops_asking_is_given_up() {
    let client = Client::new(json!({})).await;
    tokio::time::pause();
    let asking = async {
        for leg in 0..=10 {
            let asked = client.web.asked().await;
            let state = parsed(asked.text())["params"]["requestState"].clone();
            assert_eq!(state, if leg == 0 { Value::Null } else { json!(format!("{}", leg - 1)) });
            finish(asked, &json!({ "resultType": "input_required", "requestState": leg.to_string() }));
        }
    };
    let (answer, ()) = tokio::join!(client.ask(1, "tools/call", json!({ "name": "t" })), asking);
    assert_eq!(json_of(answer).await["result"]["isError"], true);
}

#[tokio::test]
async fn arguments_are_repeated_in_the_headers_that_the_tool_wants() {
    let client = Client::new(json!({})).await;
    *client.web.tools.lock().unwrap() =
        json!([{ "name": "t", "inputSchema": { "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" },
        "deep": { "type": "object", "properties": { "n": { "type": "integer", "x-mcp-header": "N" } } },
        "none": { "type": "boolean", "x-mcp-header": "None" } } } }])
        .to_string();
    let params =
        json!({ "name": "t", "arguments": { "region": "zürich", "deep": { "n": 12 }, "none": null } });
    let (_, ()) = tokio::join!(client.ask(1, "tools/call", params), async {
        let asked = client.web.asked().await;
        assert_eq!(asked.headers["mcp-name"], "t");
        assert_eq!(asked.headers["mcp-param-region"], "=?base64?esO8cmljaA==?=");
        assert_eq!(asked.headers["mcp-param-n"], "12");
        assert!(!asked.headers.contains_key("mcp-param-none"));
        finish(asked, &json!({ "content": [] }));
    });
}

#[tokio::test]
async fn a_cancelled_request_closes_its_stream_at_the_server() {
    let client = Client::new(json!({})).await;
    let (answer, stream) = tokio::join!(client.ask(5, "tools/call", json!({ "name": "t" })), async {
        client.web.asked().await.stream()
    });
    let cancelled =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 5 } });
    assert_eq!(client.post(&cancelled.to_string()).await.status(), 202);
    soon(stream.closed()).await;
    assert_eq!(soon(Stream::new(answer).next()).await, None);
}

#[tokio::test]
async fn a_lost_connection_cancels_nothing() {
    let client = Client::new(json!({})).await;
    let (answer, stream) = tokio::join!(client.ask(5, "tools/call", json!({ "name": "t" })), async {
        client.web.asked().await.stream()
    });
    drop(answer);
    for _ in 0..20 {
        stream
            .send(event(&json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": {} })))
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    assert!(!stream.is_closed());
}

#[tokio::test]
async fn the_sessions_stream_hears_what_the_server_tells_its_listeners() {
    let client = Client::new(json!({})).await;
    let headers = [("mcp-session-id", &*client.session), ("accept", "text/event-stream")];
    let mut heard = Stream::new(client.web.send(Method::GET, &headers, "").await);
    let asked = client.web.asked().await;
    let listening = parsed(asked.text());
    assert_eq!(
        (listening["method"].as_str(), &listening["params"]["notifications"]),
        (Some("subscriptions/listen"), &json!({ "toolsListChanged": true }))
    );
    let stream = asked.stream();
    let of =
        |method: &str, params: Value| event(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    let meta = json!({ "io.modelcontextprotocol/subscriptionId": listening["id"] });
    stream
        .send(of("notifications/subscriptions/acknowledged", json!({ "_meta": meta, "notifications": {} })))
        .await
        .unwrap();
    stream.send(of("notifications/tools/list_changed", json!({ "_meta": meta }))).await.unwrap();
    assert_eq!(
        parsed(&heard.message().await),
        json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" })
    );
    // A subscription is another stream, which takes the place of the first.
    let (answer, ()) =
        tokio::join!(client.ask(1, "resources/subscribe", json!({ "uri": "file:///a" })), async {
            let asked = client.web.asked().await;
            let listening = parsed(asked.text());
            assert_eq!(
                listening["params"]["notifications"],
                json!({ "toolsListChanged": true, "resourceSubscriptions": ["file:///a"] })
            );
            let stream = asked.stream();
            stream.send(of("notifications/subscriptions/acknowledged", json!({}))).await.unwrap();
            stream.send(of("notifications/resources/updated", json!({ "uri": "file:///a" }))).await.unwrap();
        });
    assert_eq!(json_of(answer).await["result"], json!({}));
    assert_eq!(parsed(&heard.message().await)["params"], json!({ "uri": "file:///a" }));
    soon(stream.closed()).await;
}

#[tokio::test]
async fn a_client_of_the_servers_era_passes_untouched() {
    let web = Web::with(|options| options.era = Era::Modern).await;
    let (answer, ()) = tokio::join!(modern(&web, 1, "prompts/list", json!({})), async {
        let asked = web.asked().await;
        assert!(asked.text().contains(VERSION));
        asked.answer(
            418,
            &[("content-type", "application/json")],
            r#" {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}} "#,
        );
    });
    assert_eq!(answer.status(), 418);
    assert_eq!(text(answer).await, r#" {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}} "#);
}

/// A call that waits at the gate is not under way at the bridge, and its session is not for others to end.
#[tokio::test]
async fn a_flood_of_sessions_does_not_end_that_of_a_call_that_waits() {
    let client = Client::new(json!({})).await;
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
    let flood = async {
        client.web.house.approver.until_waiting(1).await;
        for _ in 0..1_100 {
            let opened = client.web.post_with(&[("x-test-principal", "somebody")], initialize);
            let (opened, ()) = tokio::join!(opened, async {
                let result = json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } });
                finish(client.web.asked().await, &result);
            });
            assert_eq!(opened.status(), 200);
        }
        client.web.house.approver.decide("THR-1", Verdict::Approve);
        finish(client.web.asked().await, &json!({ "resultType": "complete", "content": [] }));
    };
    let (answer, ()) = tokio::join!(client.ask(7, "tools/call", write("a")), flood);
    let answer = text(answer).await;
    assert!(answer.contains(r#""result":{"content":[]}"#), "{answer}");
    assert_eq!(client.web.house.journal.states(), [HoldState::Done]);
}
