//! Everything else over HTTP.

use crate::{
    house::{House, code},
    web::{Stream, Web, server_at, text},
};
use holdpoint_core::{Principal, ServerName, TaskId, ToolName, definition_digest};
use holdpoint_mcp::{
    Action, ServerAddress,
    http::{Authenticated, HttpOptions, HttpProxy},
};
use http::{HeaderValue, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn other_messages_pass_with_their_headers_and_without_credentials() {
    let web = Web::with(|options| {
        let ServerAddress::Http { headers, .. } = &mut options.server else {
            unreachable!();
        };
        headers.insert("authorization", HeaderValue::from_static("Bearer ours"));
    })
    .await;
    let body = " {\"jsonrpc\":\"2.0\",\n\"id\":1.0,\"method\":\"vendor/do\",\"params\":[1]} ";
    let sent = [
        ("authorization", "Bearer theirs"),
        ("cookie", "a=b"),
        ("origin", "http://localhost:5173"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("x-kept", "2"),
        ("mcp-method", "vendor/do"),
        ("mcp-param-region", "eu"),
    ];
    let (answer, ()) = tokio::join!(web.post_with(&sent, body), async {
        let asked = web.asked().await;
        assert_eq!(asked.text(), body);
        assert_eq!(asked.headers["authorization"], "Bearer ours");
        for absent in ["cookie", "origin", "x-hop", "connection"] {
            assert!(!asked.headers.contains_key(absent), "{absent}");
        }
        assert_eq!(asked.headers["x-kept"], "2");
        assert_eq!(asked.headers["mcp-param-region"], "eu");
        asked.answer(200, &[("content-type", "application/json"), ("mcp-session-id", "s")], "{ }");
    });
    assert_eq!(answer.headers()["mcp-session-id"], "s");
    assert_eq!(text(answer).await, "{ }");
}

#[tokio::test]
async fn streams_get_and_delete_pass() {
    let web = Web::new().await;
    let (answer, server) = tokio::join!(web.send(Method::GET, &[("last-event-id", "4")], ""), async {
        let asked = web.asked().await;
        assert_eq!(asked.method, Method::GET);
        assert_eq!(asked.headers["last-event-id"], "4");
        asked.stream()
    });
    let mut stream = Stream::new(answer);
    for event in ["id: 5\ndata: {}", "retry: 3"] {
        server.send(format!("{event}\n\n").into()).await.unwrap();
        assert_eq!(stream.next().await.unwrap(), event);
    }
    let (answer, ()) = tokio::join!(web.send(Method::DELETE, &[("mcp-session-id", "s")], ""), async {
        let asked = web.asked().await;
        assert_eq!(asked.method, Method::DELETE);
        asked.answer(204, &[], "");
    });
    assert_eq!(answer.status(), 204);
    assert_eq!(web.send(Method::PUT, &[], "").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    // Redirects are for the client to see.
    let (answer, ()) = tokio::join!(web.post(r#"{"jsonrpc":"2.0","method":"x"}"#), async {
        web.asked().await.answer(307, &[("location", "http://elsewhere.test/")], "");
    });
    assert_eq!(answer.status(), 307);
}

#[tokio::test]
async fn strange_hosts_and_origins_are_forbidden() {
    let web = Web::with(|options| {
        options.hosts.push("proxy.internal".into());
        options.origins.push("https://app.example".into());
    })
    .await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let forbidden: &[&[(&str, &str)]] = &[
        &[("host", "evil.test")],
        &[("host", "localhost.evil.test")],
        &[("host", "a@localhost")],
        &[("host", "")],
        &[("origin", "https://evil.test")],
        &[("origin", "null")],
        &[("origin", "http://app.example")],
        &[("origin", "file://localhost")],
        &[("origin", "http://localhost"), ("origin", "https://evil.test")],
    ];
    for headers in forbidden {
        assert_eq!(web.post_with(headers, ping).await.status(), StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(web.send(Method::GET, headers, "").await.status(), StatusCode::FORBIDDEN, "{headers:?}");
    }
    web.server_saw_nothing().await;
    for headers in
        [[("host", "proxy.internal:8080")], [("origin", "https://app.example")], [("host", "[::1]:9")]]
    {
        let (answer, ()) = tokio::join!(web.post_with(&headers, ping), async {
            web.asked().await.json("{}");
        });
        assert_eq!(answer.status(), StatusCode::OK, "{headers:?}");
    }
}

#[tokio::test]
async fn bodies_that_others_read_differently_are_refused() {
    let web = Web::new().await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (headers, expected) in [
        (vec![("content-type", "application/json"), ("content-encoding", "gzip")], 415),
        (vec![("content-type", "application/json; charset=utf-7")], 415),
        (vec![("content-type", "text/plain")], 415),
        (vec![("content-type", "application/json"), ("content-type", "text/plain")], 415),
        (vec![], 415),
        (vec![("content-type", "application/json"), ("mcp-method", "tools/call")], 400),
        (vec![("content-type", "application/json"), ("mcp-session-id", "a"), ("mcp-session-id", "b")], 400),
    ] {
        assert_eq!(web.send(Method::POST, &headers, ping).await.status(), expected, "{headers:?}");
    }
    for body in [
        "",
        "nope",
        r#"{"method":"ping","Method":"tools/call"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}},1]"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}},{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
    ] {
        assert_eq!(web.post(body).await.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
    assert_eq!(web.post_with(&[("mcp-protocol-version", "2025-06-18")], batch).await.status(), 400);
    web.server_saw_nothing().await;
    let (answer, ()) = tokio::join!(web.post(batch), async {
        let asked = web.asked().await;
        assert_eq!(asked.text(), batch);
        asked.json("[]");
    });
    assert_eq!(text(answer).await, "[]");
}

#[tokio::test]
async fn headers_and_body_of_a_stateless_call_agree() {
    let web = Web::new().await;
    web.house.set("t", Action::Pass);
    let meta = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let body = |meta: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","_meta":{{{meta}}}}}}}"#
        )
    };
    let whole = body(&format!(r#"{meta},"io.modelcontextprotocol/clientCapabilities":{{}}"#));
    let (method, name, version) =
        (("mcp-method", "tools/call"), ("mcp-name", "t"), ("mcp-protocol-version", "2026-07-28"));
    for headers in [
        vec![name, version],
        vec![method, version],
        vec![method, name],
        vec![("mcp-method", "ping"), name, version],
        vec![method, ("mcp-name", "other"), version],
        vec![method, name, ("mcp-protocol-version", "2025-11-25")],
        vec![method, name, name, version],
        vec![method, ("mcp-name", "=?base64?eA==?="), version],
    ] {
        let answer = web.post_with(&headers, whole.clone()).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{headers:?}");
        assert_eq!(code(&text(answer).await), -32020, "{headers:?}");
    }
    for incomplete in [body(meta), body("")] {
        let answer = web.post_with(&[method, name, version], incomplete).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert_eq!(code(&text(answer).await), -32602);
    }
    web.server_saw_nothing().await;
    for name in ["t", "=?base64?dA==?="] {
        let headers = [method, ("mcp-name", name), version];
        let (answer, ()) = tokio::join!(web.post_with(&headers, whole.clone()), async {
            web.asked().await.json("{}");
        });
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn large_bodies_are_413() {
    let web = Web::new().await;
    let large =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":"{}"}}}}"#, "x".repeat(20 << 20));
    // The answer may come before the body is out.
    let mut client = tokio::net::TcpStream::connect(web.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    client.write_all(format!("{head}content-length: {}\r\n\r\n", large.len()).as_bytes()).await.unwrap();
    let mut status = [0; 12];
    client.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    // Without a length it is counted.
    let mut client = tokio::net::TcpStream::connect(web.address).await.unwrap();
    client.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let (mut reading, mut writing) = client.split();
    let write = async {
        for chunk in large.as_bytes().chunks(1 << 16) {
            let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            if writing.write_all(&framed).await.is_err() {
                return;
            }
        }
    };
    let ((), read) = tokio::join!(write, reading.read_exact(&mut status));
    read.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    web.server_saw_nothing().await;
}

/// Two clients with equal request ids, a thousand calls at once: nobody gets the other's answer.
#[tokio::test]
async fn answers_do_not_cross() {
    let web = Web::new().await;
    web.house.set("read", Action::Pass);
    let call = |n: usize| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"read","arguments":{{"n":{n}}}}}}}"#
        )
    };
    let calls = (0..1_000).map(|n| {
        let web = &web;
        async move {
            let answer = text(web.post(call(n)).await).await;
            assert_eq!(answer, call(n));
        }
    });
    let serve = async {
        for _ in 0..1_000 {
            let asked = web.asked().await;
            let body = asked.body.clone();
            asked.json(body);
        }
    };
    futures_util::future::join(futures_util::future::join_all(calls), serve).await;
}

#[tokio::test]
async fn a_session_belongs_to_who_opened_it() {
    let house = House::new();
    let upstream = server_at("http://127.0.0.1:1/");
    let proxy = HttpProxy::new(HttpOptions::new(house.guard, upstream, TaskId::new("p"))).unwrap();
    let status_for = async |principal: &'static str| {
        let request = http::Request::post("/mcp")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("mcp-session-id", "s")
            .body(http_body_util::Full::from(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#))
            .unwrap();
        proxy.serve(request, Authenticated::standing(Principal::new(principal))).await.status()
    };
    assert_eq!(status_for("a").await, StatusCode::BAD_GATEWAY);
    assert_eq!(status_for("b").await, StatusCode::NOT_FOUND);
    assert_eq!(status_for("a").await, StatusCode::BAD_GATEWAY);
}

/// A tool that the server brings along later is found, and so is a changed one when the agent lists again.
#[tokio::test]
async fn tools_are_read_again_when_they_must_be() {
    let web = Web::new().await;
    web.house.set("late", Action::Pass);
    web.house.set("t", Action::Pass);
    let call = |tool: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
    };
    assert_eq!(code(&text(web.post(call("late")).await).await), -32602);
    *web.tools.lock().unwrap() = r#"[{"name":"late"},{"name":"t"}]"#.into();
    for tool in ["late", "t"] {
        let (answer, ()) = tokio::join!(web.post(call(tool)), async { web.asked().await.json("{}") });
        assert_eq!(text(answer).await, "{}");
    }
    *web.tools.lock().unwrap() = r#"[{"name":"late"},{"name":"t","description":"other"}]"#.into();
    let (_, ()) = tokio::join!(web.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#), async {
        web.asked().await.json("{}");
    });
    let answer = text(web.post(call("t")).await).await;
    assert_eq!(crate::house::status(&answer), "mismatch");
    web.server_saw_nothing().await;
    // A person looks at it and accepts it.
    let accepted = definition_digest(&serde_json::json!({"name": "t", "description": "other"}));
    web.house.pins.accept(ServerName::new("files"), ToolName::new("t"), accepted);
    let (answer, ()) = tokio::join!(web.post(call("t")), async { web.asked().await.json("{}") });
    assert_eq!(text(answer).await, "{}");
}
