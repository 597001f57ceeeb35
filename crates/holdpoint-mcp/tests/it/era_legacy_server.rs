//! Clients of 2026-07-28 in front of a server with a handshake.

use crate::{
    era::{Legacy, event, json_of, modern, modern_as, parsed, soon},
    house::status,
    web::{Stream, Web},
};
use holdpoint_core::HoldState;
use holdpoint_mcp::{Action, Era};
use holdpoint_testkit::Verdict;
use serde_json::{Value, json};
use std::time::Duration;

async fn legacy() -> Legacy {
    let web = Web::with(|options| options.era = Era::Legacy).await;
    web.house.set("t", Action::Pass);
    Legacy::new(web)
}

fn call(path: &str) -> Value {
    json!({ "name": "write", "arguments": { "path": path } })
}

#[tokio::test]
async fn what_the_server_is_comes_from_one_handshake() {
    let server = legacy().await;
    let found = json_of(modern(&server.web, 1, "server/discover", json!({})).await).await;
    assert_eq!(
        found["result"],
        json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {
                "extensions": { "io.modelcontextprotocol/tasks": {} },
                "tools": { "listChanged": true },
                "resources": { "subscribe": true, "listChanged": true },
                "logging": {},
            },
            "instructions": "be kind",
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "old", "version": "1.10" } },
        })
    );
    let listed = json_of(modern(&server.web, 2, "tools/list", json!({})).await).await;
    assert_eq!(listed["id"], 2);
    let result = &listed["result"];
    assert_eq!(
        (&result["resultType"], &result["ttlMs"], &result["cacheScope"]),
        (&"complete".into(), &0.into(), &"private".into())
    );
    assert_eq!((server.count("initialize").await, server.count("notifications/initialized").await), (1, 1));
}

#[tokio::test]
async fn each_principal_and_each_kind_of_client_has_a_session_of_its_own() {
    let server = legacy().await;
    let (all, none) = (json!({ "sampling": {} }), json!({}));
    for (principal, capabilities, sessions) in
        [("ann", &all, 1), ("bob", &all, 2), ("ann", &none, 3), ("ann", &all, 3), ("bob", &all, 3)]
    {
        let listing = modern_as(&server.web, principal, capabilities, 1, "tools/list", json!({}));
        assert_eq!(listing.await.status(), 200);
        assert_eq!(server.count("initialize").await, sessions, "{principal} {capabilities}");
    }
}

#[tokio::test]
async fn requests_that_break_their_eras_rules_are_refused_and_not_sent() {
    let server = legacy().await;
    let body = |version: &str| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": { "name": "p", "_meta": {
        "io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {} } } })
    };
    for (headers, version, code) in [
        (vec![("mcp-method", "prompts/get"), ("mcp-name", "p")], "2026-07-28", -32020),
        (vec![("mcp-method", "prompts/get"), ("mcp-protocol-version", "2026-07-28")], "2026-07-28", -32020),
        (
            vec![("mcp-method", "prompts/get"), ("mcp-name", "q"), ("mcp-protocol-version", "2026-07-28")],
            "2026-07-28",
            -32020,
        ),
        (vec![("mcp-name", "p"), ("mcp-protocol-version", "2026-07-28")], "2026-07-28", -32020),
        (
            vec![("mcp-method", "prompts/get"), ("mcp-name", "p"), ("mcp-protocol-version", "2027-01-01")],
            "2027-01-01",
            -32022,
        ),
    ] {
        let refused = server.web.post_with(&headers, body(version).to_string()).await;
        assert_eq!(refused.status(), 400, "{headers:?}");
        assert_eq!(json_of(refused).await["error"]["code"], code, "{headers:?}");
    }
    let headers = [("mcp-method", "prompts/list"), ("mcp-protocol-version", "2026-07-28")];
    let bare = r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list"}"#;
    let refused = server.web.post_with(&headers, bare).await;
    assert_eq!(
        (refused.status().as_u16(), json_of(refused).await["error"]["code"].clone()),
        (400, json!(-32602))
    );
    for method in ["ping", "logging/setLevel", "resources/subscribe", "tasks/get"] {
        let refused = modern(&server.web, 1, method, json!({})).await;
        assert_eq!(
            (refused.status().as_u16(), json_of(refused).await["error"]["code"].clone()),
            (404, json!(-32601))
        );
    }
    assert_eq!(server.count("initialize").await, 0);
}

#[tokio::test]
async fn an_approved_call_runs_once_with_its_own_bytes_and_a_rejected_one_never() {
    let server = legacy().await;
    server.web.house.approver.decide_all(Verdict::Approve);
    let arguments = r#"{"n": 1.10, "path":"a\u0062" , "big":123456789012345678901234567890}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{{"arguments":{arguments},"name":"write","_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"other":1.0}}}}}}"#
    );
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "write"),
        ("mcp-param-x", "1"),
    ];
    let (answer, ()) = tokio::join!(server.web.post_with(&headers, body), async {
        let asked = server.request().await;
        assert!(
            asked.text().contains(&format!(
                r#""params":{{"arguments":{arguments},"name":"write","_meta":{{"other":1.0}}}}"#
            )),
            "{}",
            asked.text()
        );
        assert_eq!(asked.headers["mcp-session-id"], "s-1");
        assert_eq!(asked.headers["mcp-protocol-version"], "2025-06-18");
        assert!(!asked.headers.contains_key("mcp-method") && !asked.headers.contains_key("mcp-param-x"));
        let id = parsed(asked.text())["id"].clone();
        asked.json(json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } }).to_string());
    });
    assert_eq!(
        json_of(answer).await,
        json!({ "jsonrpc": "2.0", "id": "x", "result": { "content": [], "resultType": "complete" } })
    );
    assert_eq!(
        (server.count("tools/call").await, server.web.house.journal.states()),
        (1, vec![HoldState::Done])
    );

    server.web.house.approver.decide_all(Verdict::Reject(None));
    let refused = json_of(modern(&server.web, 2, "tools/call", call("b")).await).await;
    assert_eq!(refused["result"]["isError"], true);
    assert_eq!(server.count("tools/call").await, 1);
}

/// A server that asks in the middle of a call, on the stream of the call.
async fn asks(
    server: &Legacy,
    params: Value,
    principal: &str,
) -> (Value, tokio::sync::mpsc::Sender<bytes::Bytes>, Value) {
    let capabilities = json!({ "elicitation": { "form": {} } });
    let (answer, (stream, id)) =
        tokio::join!(modern_as(&server.web, principal, &capabilities, 1, "tools/call", params), async {
            let asked = server.request().await;
            let id = parsed(asked.text())["id"].clone();
            let stream = asked.stream();
            let question = json!({ "jsonrpc": "2.0", "id": 77, "method": "elicitation/create",
                "params": { "message": "Which?", "requestedSchema": { "type": "object" } } });
            stream.send(event(&question)).await.unwrap();
            (stream, id)
        });
    (json_of(answer).await, stream, id)
}

#[tokio::test]
async fn a_question_in_the_middle_of_a_call_waits_for_the_clients_retry_and_nothing_is_sent_twice() {
    let server = legacy().await;
    let params = json!({ "name": "t", "arguments": { "a": 1 } });
    let (asked, stream, id) = asks(&server, params.clone(), "ann").await;
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required");
    assert_eq!(
        result["inputRequests"],
        json!({ "input-1": { "method": "elicitation/create",
            "params": { "message": "Which?", "requestedSchema": { "type": "object" } } } })
    );
    let handle = result["requestState"].as_str().unwrap();
    let capabilities = json!({ "elicitation": { "form": {} } });
    let retry = |who: &'static str, arguments: Value, state: &str| {
        let params = json!({ "name": "t", "arguments": arguments, "requestState": state,
            "inputResponses": { "input-1": { "action": "accept", "content": { "b": 2 } } } });
        modern_as(&server.web, who, &capabilities, 2, "tools/call", params)
    };
    // Of somebody else, for another call, or with a guess: as if there were nothing.
    for (who, arguments, state) in [
        ("bob", json!({ "a": 1 }), handle),
        ("ann", json!({ "a": 2 }), handle),
        ("ann", json!({ "a": 1 }), "guess"),
    ] {
        assert_eq!(json_of(retry(who, arguments, state).await).await["error"]["code"], -32602);
    }
    let (answer, ()) = tokio::join!(retry("ann", json!({ "a": 1 }), handle), async {
        let told = server.told().await;
        assert_eq!(
            told,
            json!({ "jsonrpc": "2.0", "id": 77, "result": { "action": "accept", "content": { "b": 2 } } })
        );
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [{ "type": "text", "text": "both" }] } });
        stream.send(event(&answer)).await.unwrap();
    });
    let answer = json_of(answer).await;
    assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!(2), &json!("complete")));
    assert_eq!(answer["result"]["content"][0]["text"], "both");
    // Used up.
    assert_eq!(json_of(retry("ann", json!({ "a": 1 }), handle).await).await["error"]["code"], -32602);
    assert_eq!(server.count("tools/call").await, 1);
}

#[tokio::test]
async fn a_question_that_nobody_answers_cancels_the_call_in_the_end() {
    let server = legacy().await;
    let (asked, _stream, id) = asks(&server, json!({ "name": "t" }), "ann").await;
    let state = asked["result"]["requestState"].clone();
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(31)).await;
    tokio::time::resume();
    let told = server.told().await;
    assert_eq!((&told["method"], &told["params"]["requestId"]), (&json!("notifications/cancelled"), &id));
    let params = json!({ "name": "t", "requestState": state, "inputResponses": { "input-1": {} } });
    let able = json!({ "elicitation": { "form": {} } });
    let late = modern_as(&server.web, "ann", &able, 2, "tools/call", params);
    assert_eq!(json_of(late.await).await["error"]["code"], -32602);
    assert_eq!(server.count("tools/call").await, 1);
}

#[tokio::test]
async fn a_client_that_cannot_be_asked_is_not_and_the_server_hears_so() {
    let server = legacy().await;
    let none = json!({});
    let (answer, ()) =
        tokio::join!(modern_as(&server.web, "ann", &none, 1, "tools/call", json!({ "name": "t" })), async {
            let asked = server.request().await;
            let id = parsed(asked.text())["id"].clone();
            let stream = asked.stream();
            stream
                .send(event(
                    &json!({ "jsonrpc": "2.0", "id": 5, "method": "sampling/createMessage", "params": {} }),
                ))
                .await
                .unwrap();
            let told = server.told().await;
            assert_eq!((&told["id"], &told["error"]["code"]), (&json!(5), &json!(-32601)));
            stream
                .send(event(
                    &json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32002, "message": "x" } }),
                ))
                .await
                .unwrap();
        });
    assert_eq!(json_of(answer).await["error"]["code"], -32602);
}

#[tokio::test]
async fn progress_and_log_messages_reach_the_request_that_asked_for_them() {
    let server = legacy().await;
    let params = json!({ "name": "t", "_meta": { "progressToken": "mine", "io.modelcontextprotocol/logLevel": "warning" } });
    let (answer, (stream, id)) = tokio::join!(modern(&server.web, 1, "tools/call", params), async {
        let asked = server.request().await;
        let message = parsed(asked.text());
        assert_eq!(message["params"]["_meta"], json!({ "progressToken": message["id"] }));
        let stream = asked.stream();
        let token = &message["id"];
        for message in [
            json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "no" } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": token, "progress": 1 } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "error", "data": "yes" } }),
        ] {
            stream.send(event(&message)).await.unwrap();
        }
        (stream, message["id"].clone())
    });
    let mut heard = Stream::new(answer);
    assert_eq!(parsed(&heard.message().await)["params"], json!({ "progressToken": "mine", "progress": 1 }));
    assert_eq!(parsed(&heard.message().await)["params"]["data"], "yes");
    stream.send(event(&json!({ "jsonrpc": "2.0", "id": id, "result": {} }))).await.unwrap();
    assert_eq!(parsed(&heard.message().await)["id"], 1);
    assert_eq!(soon(heard.next()).await, None);
    assert_eq!(server.count("logging/setLevel").await, 1);
}

#[tokio::test]
async fn a_client_that_closes_its_stream_cancels_the_call() {
    let server = legacy().await;
    let (answer, (_stream, id)) =
        tokio::join!(modern(&server.web, 1, "tools/call", json!({ "name": "t" })), async {
            let asked = server.request().await;
            let id = parsed(asked.text())["id"].clone();
            (asked.stream(), id)
        });
    drop(answer);
    let told = server.told().await;
    assert_eq!((&told["method"], &told["params"]["requestId"]), (&json!("notifications/cancelled"), &id));
}

#[tokio::test]
async fn a_session_that_ended_is_opened_again_but_no_call_is_sent_again() {
    let server = legacy().await;
    "by hand".clone_into(&mut server.web.tools.lock().unwrap());
    let tools = |asked: crate::web::Asked| {
        let id = parsed(asked.text())["id"].clone();
        asked.json(
            json!({ "jsonrpc": "2.0", "id": id, "result": { "tools": [{ "name": "t" }] } }).to_string(),
        );
    };
    let (listed, ()) = tokio::join!(modern(&server.web, 1, "tools/list", json!({})), async {
        server.request().await.answer(404, &[], "gone");
        let again = server.request().await;
        assert_eq!(again.headers["mcp-session-id"], "s-2");
        tools(again);
    });
    assert_eq!(json_of(listed).await["result"]["tools"][0]["name"], "t");
    let (refused, ()) = tokio::join!(modern(&server.web, 2, "tools/call", json!({ "name": "t" })), async {
        tools(server.request().await);
        let asked = server.request().await;
        assert!(asked.text().contains("tools/call"));
        asked.answer(404, &[], "gone");
    });
    assert_eq!(refused.status(), 502, "nobody knows whether it ran");
    assert_eq!(server.count("tools/call").await, 1);
    let (_, ()) = tokio::join!(modern(&server.web, 3, "tools/list", json!({})), async {
        let asked = server.request().await;
        assert_eq!(asked.headers["mcp-session-id"], "s-3");
        tools(asked);
    });
}

/// By the protocol a 404 means that the session is over and nothing was carried out. A session that was lost in the middle
/// of a call is answered in the same way.
#[tokio::test]
async fn an_approved_call_that_is_answered_with_a_404_may_have_run() {
    let server = legacy().await;
    server.web.house.approver.decide_all(Verdict::Approve);
    let (lost, ()) = tokio::join!(modern(&server.web, 1, "tools/call", call("a")), async {
        server.request().await.answer(404, &[], "gone");
    });
    let again = modern(&server.web, 2, "tools/call", call("a")).await;
    for answer in [lost, again] {
        let told = json_of(answer).await;
        assert_eq!(status(&told.to_string()), "outcome_unknown");
    }
    assert_eq!(server.web.house.journal.states(), [HoldState::Unknown]);
    assert_eq!(server.web.house.approver.submitted().len(), 1);
    assert_eq!(server.count("tools/call").await, 1);
}

#[tokio::test]
async fn what_changes_reaches_those_who_listen_under_the_id_of_their_request() {
    let server = legacy().await;
    let wanted = json!({ "notifications": { "toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["file:///a"] } });
    let mut heard = Stream::new(modern(&server.web, 9, "subscriptions/listen", wanted).await);
    let stream = server.stream().await;
    let own = |message: &Value| message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].clone();
    let acknowledged = parsed(&heard.message().await);
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        acknowledged["params"]["notifications"],
        json!({ "toolsListChanged": true, "resourceSubscriptions": ["file:///a"] })
    );
    assert_eq!(own(&acknowledged), 9);
    for message in [
        json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": "file:///b" } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/prompts/list_changed" }),
        json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }),
        json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": "file:///a" } }),
    ] {
        stream.send(event(&message)).await.unwrap();
    }
    let changed = parsed(&heard.message().await);
    assert_eq!(
        (changed["method"].as_str(), own(&changed)),
        (Some("notifications/tools/list_changed"), json!(9))
    );
    let updated = parsed(&heard.message().await);
    assert_eq!((updated["params"]["uri"].as_str(), own(&updated)), (Some("file:///a"), json!(9)));
    assert_eq!(server.count("resources/subscribe").await, 1);
    drop(heard);
    soon(async {
        while server.count("resources/unsubscribe").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_with_a_handshake_passes_untouched_and_without_the_setting_everybody_does() {
    let server = Web::with(|options| options.era = Era::Legacy).await;
    let plain = Web::new().await;
    let initialize =
        r#"{"jsonrpc":"2.0", "id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    for web in [&server, &plain] {
        let (answer, ()) = tokio::join!(web.post(initialize), async {
            let asked = web.asked().await;
            assert_eq!(asked.text(), initialize);
            asked.answer(418, &[("content-type", "application/json")], " {\"x\": 1} ");
        });
        assert_eq!(answer.status(), 418);
        assert_eq!(crate::web::text(answer).await, " {\"x\": 1} ");
    }
    let (answer, ()) = tokio::join!(modern(&plain, 1, "server/discover", json!({})), async {
        let asked = plain.asked().await;
        assert!(asked.text().contains("io.modelcontextprotocol/protocolVersion"));
        asked.answer(400, &[("content-type", "application/json")], " {\"x\": 1} ");
    });
    assert_eq!(answer.status(), 400);
    assert_eq!(crate::web::text(answer).await, " {\"x\": 1} ");
}

/// Nobody takes the answers: no more of them are kept than there is room for.
#[tokio::test]
async fn a_server_that_only_asks_is_not_answered_without_end() {
    let server = legacy().await;
    assert_eq!(modern(&server.web, 1, "server/discover", json!({})).await.status(), 200);
    let stream = server.stream().await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for n in 0..2_000 {
        let ask = json!({ "jsonrpc": "2.0", "id": format!("s{n}"), "method": "roots/list" });
        stream.send(event(&ask)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let more = tokio::runtime::Handle::current().metrics().num_alive_tasks().saturating_sub(before);
    assert!(more < 1_000, "{more}");
    assert_eq!(server.told().await["error"]["code"], -32601);
}
