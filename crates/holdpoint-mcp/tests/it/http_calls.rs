//! Tool calls over HTTP. The time is real here, since sockets are; nothing waits for it but the early stream.

use crate::{
    house::{House, REVIEW_URL, code, result_of, status, write_call},
    web::{Stream, Web, server_at, text},
};
use holdpoint_core::HoldState;
use holdpoint_mcp::{Action, http::Authenticated};
use holdpoint_testkit::{SubmitScript, Verdict};
use http::StatusCode;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SHORT: Duration = Duration::from_millis(20);

async fn impatient() -> Web {
    Web::with(|options| options.early = SHORT).await
}

#[tokio::test]
async fn a_quick_decision_passes_the_answer_untouched() {
    let web = Web::new().await;
    web.house.set("read", Action::Pass);
    web.house.approver.on_submit(SubmitScript::Allow);
    web.house.approver.decide_all(Verdict::Approve);
    let read = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read"}}"#.to_owned();
    // Allowed by a rule, approved by a person, and asked of nobody: the same to the client.
    for call in [write_call("1", "a"), write_call("1", "b"), read] {
        let (answer, ()) = tokio::join!(web.post_with(&[("x-trace", "7")], call.clone()), async {
            let asked = web.asked().await;
            assert_eq!(asked.text(), call);
            assert_eq!(asked.headers["x-trace"], "7");
            asked.answer(
                418,
                &[("content-type", "application/json; v=1"), ("x-server", "a"), ("x-server", "b")],
                r#" {"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}} "#,
            );
        });
        assert_eq!(answer.status(), 418);
        assert_eq!(answer.headers()["content-type"], "application/json; v=1");
        assert_eq!(answer.headers().get_all("x-server").iter().count(), 2);
        assert_eq!(text(answer).await, r#" {"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}} "#);
    }
}

#[tokio::test]
async fn every_refusal_is_told_and_nothing_runs() {
    for (verdict, expected) in [
        (Verdict::Reject(Some("no".into())), "rejected"),
        (Verdict::Expire, "expired"),
        (Verdict::Fail, "unavailable"),
        (Verdict::ApproveWith { token: None, expires_at: None, thread: None }, "token_invalid"),
        (
            Verdict::ApproveWith { token: Some("forged".into()), expires_at: None, thread: None },
            "token_invalid",
        ),
    ] {
        let web = Web::new().await;
        web.house.approver.decide_all(verdict);
        let answer = web.post(write_call("1", "a")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(status(&text(answer).await), expected);
        web.server_saw_nothing().await;
    }
}

#[tokio::test]
async fn what_could_not_run_is_never_asked_about() {
    let web = Web::new().await;
    let unknown = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"nowhere"}}"#;
    assert_eq!(code(&text(web.post(unknown).await).await), -32602);
    let unfit =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"path":1}}}"#;
    assert_eq!(status(&text(web.post(unfit).await).await), "invalid_arguments");
    web.server_saw_nothing().await;
    assert!(web.house.approver.submitted().is_empty());
}

#[tokio::test]
async fn a_call_that_waits_gets_its_stream_within_two_seconds() {
    let web = Web::new().await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":"p"}}}"#;
    let start = Instant::now();
    let answer = web.post(call).await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let mut stream = Stream::new(answer);
    assert!(stream.next().await.unwrap().starts_with(':'), "a comment at once");
    assert!(stream.message().await.contains(REVIEW_URL));
    assert!(start.elapsed() < Duration::from_secs(2));
    web.server_saw_nothing().await;
    web.house.approver.decide("THR-1", Verdict::Approve);
    let asked = web.asked().await;
    assert_eq!(asked.text(), call);
    // A JSON answer on several lines is one message of the stream.
    asked.json("{\"jsonrpc\":\"2.0\",\n\"id\":1,\r\n\"result\":{}}");
    let answer: serde_json::Value = serde_json::from_str(&stream.message().await).unwrap();
    assert_eq!(answer, serde_json::json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    assert_eq!(stream.next().await, None);
    assert_eq!(web.house.journal.states(), [HoldState::Done]);
}

#[tokio::test]
async fn a_servers_stream_goes_on_in_ours_and_progress_rises() {
    let web = impatient().await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":"p"}}}"#;
    let mut stream = Stream::new(web.post(call).await);
    let ours: serde_json::Value = serde_json::from_str(&stream.message().await).unwrap();
    web.house.approver.decide("THR-1", Verdict::Approve);
    let server = web.asked().await.stream();
    server.send("id: 7\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":\"p\",\"progress\":0}}\n\n".into()).await.unwrap();
    let event = loop {
        let event = stream.next().await.unwrap();
        if event.contains("id: 7") {
            break event;
        }
    };
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let theirs: serde_json::Value = serde_json::from_str(data).unwrap();
    assert!(theirs["params"]["progress"].as_f64() > ours["params"]["progress"].as_f64(), "{ours} {theirs}");
    server.send(": still here\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,".into()).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), ": still here");
    server.send("\"result\":{\"a\":1}}\n\n".into()).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), r#"data: {"jsonrpc":"2.0","id":1,"result":{"a":1}}"#);
    drop(server);
    assert_eq!(stream.next().await, None);
    assert_eq!(web.house.journal.states(), [HoldState::Done]);
}

#[tokio::test]
async fn a_refusal_comes_through_the_stream() {
    let web = impatient().await;
    let mut stream = Stream::new(web.post(write_call("1", "a")).await);
    stream.next().await;
    web.house.approver.decide("THR-1", Verdict::Reject(Some("no".into())));
    assert_eq!(status(&stream.message().await), "rejected");
    assert_eq!(stream.next().await, None);
    web.server_saw_nothing().await;
}

/// The stateless era: a closed stream withdraws the call. The handshake era: it does not.
#[tokio::test]
async fn a_closed_stream_means_what_its_era_says() {
    let modern = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let stateless = [("mcp-method", "tools/call"), ("mcp-name", "t"), ("mcp-protocol-version", "2026-07-28")];
    let web = impatient().await;
    drop(web.post_with(&stateless, modern).await);
    web.house.approver.until_waiting(0).await;
    ended(&web, HoldState::Cancelled).await;
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.server_saw_nothing().await;

    let web = impatient().await;
    drop(web.post(write_call("1", "a")).await);
    web.house.approver.until_waiting(0).await;
    assert_eq!(web.house.journal.states(), [HoldState::Pending]);
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.server_saw_nothing().await;
    let (answer, ()) = tokio::join!(web.post(write_call("2", "a")), async {
        web.asked().await.json(result_of("2", "x"));
    });
    assert_eq!(text(answer).await, result_of("2", "x"));
}

/// The same before any stream was opened.
#[tokio::test]
async fn a_connection_closed_before_the_stream_withdraws_a_stateless_call() {
    let web = Web::with(|options| options.early = Duration::from_mins(5)).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let mut client = tokio::net::TcpStream::connect(web.address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: text/event-stream\r\nmcp-method: tools/call\r\nmcp-name: t\r\nmcp-protocol-version: 2026-07-28\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(body.as_bytes()).await.unwrap();
    web.house.approver.until_waiting(1).await;
    drop(client);
    web.house.approver.until_waiting(0).await;
    ended(&web, HoldState::Cancelled).await;
    web.server_saw_nothing().await;
}

async fn ended(web: &Web, state: HoldState) {
    until(|| web.house.journal.states() == [state]).await;
}

/// The proxy does it by itself, soon.
async fn until(reached: impl Fn() -> bool) {
    let waited = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect("it does not happen");
}

#[tokio::test]
async fn a_cancelled_call_never_runs() {
    let web = impatient().await;
    let session = [("mcp-session-id", "s1")];
    let mut stream = Stream::new(web.post_with(&session, write_call("1", "a")).await);
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    // Another session's call has the same id.
    let (answer, ()) = tokio::join!(web.post_with(&[("mcp-session-id", "s2")], cancel), async {
        let asked = web.asked().await;
        assert_eq!(asked.text(), cancel);
        asked.answer(202, &[], "");
    });
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer = web.post_with(&session, cancel).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(status(&stream.message().await), "cancelled");
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.server_saw_nothing().await;
    assert_eq!(web.house.journal.states(), [HoldState::Cancelled]);
}

/// Its client's clock ran out, though its stream is still open: nothing runs for it, and the same call again goes on with the
/// same review.
#[tokio::test]
async fn a_call_whose_client_ran_out_of_time_is_joined_by_the_next() {
    let web = impatient().await;
    let session = [("mcp-session-id", "s1")];
    let mut stream = Stream::new(web.post_with(&session, write_call("1", "a")).await);
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"McpError: MCP error -32001: Request timed out"}}"#;
    assert_eq!(web.post_with(&session, cancel).await.status(), StatusCode::ACCEPTED);
    assert_eq!(status(&stream.message().await), "pending");
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.server_saw_nothing().await;
    assert_eq!(web.house.journal.states(), [HoldState::Pending]);
    let (answer, ()) = tokio::join!(web.post_with(&session, write_call("2", "a")), async {
        web.asked().await.json(result_of("2", "done"));
    });
    assert!(text(answer).await.contains(&result_of("2", "done")));
    assert_eq!(web.house.approver.submitted().len(), 1);
    web.server_saw_nothing().await;
}

/// Neither a `DELETE` that the server refuses nor a crowd of other sessions makes a cancellation miss its call.
#[tokio::test]
async fn a_call_can_be_cancelled_whatever_became_of_its_session() {
    let web = impatient().await;
    let session = [("mcp-session-id", "s1")];
    let mut stream = Stream::new(web.post_with(&session, write_call("1", "a")).await);
    let (answer, ()) = tokio::join!(web.send(http::Method::DELETE, &session, ""), async {
        web.asked().await.answer(405, &[], "");
    });
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    for other in 0..4_200 {
        // Refused after its session was looked up.
        let other = format!("other-{other}");
        let refused = web.send(http::Method::POST, &[("mcp-session-id", &other)], "").await;
        assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let cancelled = tokio::time::timeout(Duration::from_secs(20), web.post_with(&session, cancel)).await;
    assert_eq!(cancelled.expect("answered here").status(), StatusCode::ACCEPTED);
    assert_eq!(status(&stream.message().await), "cancelled");
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.server_saw_nothing().await;
    assert_eq!(web.house.journal.states(), [HoldState::Cancelled]);
}

/// The client leaves when the tool has the call: what comes of it is recorded, and collected by the same call.
#[tokio::test]
async fn a_result_that_nobody_waited_for_is_collected_later() {
    let web = impatient().await;
    let stream = Stream::new(web.post(write_call("1", "a")).await);
    web.house.approver.decide("THR-1", Verdict::Approve);
    let asked = web.asked().await;
    drop(stream);
    asked.json(result_of("1", "done"));
    ended(&web, HoldState::Done).await;
    assert!(!web.house.journal.holds()[0].delivered);
    let answer = text(web.post(write_call(r#""again""#, "a")).await).await;
    assert_eq!(answer, result_of(r#""again""#, "done"));
    until(|| web.house.journal.holds()[0].delivered).await;
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_outcome_unknown() {
    let answers: [(u16, &str, &str); 5] = [
        (500, "text/html", "<h1>oops</h1>"),
        (200, "application/json", r#"{"jsonrpc":"2.0","id":99,"result":{}}"#),
        (200, "application/json", ""),
        (202, "text/plain", ""),
        (200, "text/event-stream", ": nothing else\n\n"),
    ];
    for (code, kind, body) in answers {
        let web = Web::new().await;
        web.house.approver.decide_all(Verdict::Approve);
        let (answer, ()) = tokio::join!(web.post(write_call("1", "a")), async {
            web.asked().await.answer(code, &[("content-type", kind)], body);
        });
        let answer = text(answer).await;
        let told = answer.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&answer);
        assert_eq!(status(told), "outcome_unknown", "{body}");
        assert_eq!(web.house.journal.states(), [HoldState::Unknown]);
        assert_eq!(status(&text(web.post(write_call("2", "a")).await).await), "outcome_unknown");
        web.server_saw_nothing().await;
    }
}

/// No connection, no byte: the call did not run, and asking again is no risk.
#[tokio::test]
async fn a_server_that_is_gone_was_not_sent_anything() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    let web = Web::with(|options| options.server = server_at(&format!("http://{closed}/"))).await;
    // It lists its tools, and then it is gone.
    let listed = tokio::spawn(async move {
        let page = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"write"}]}}"#;
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            let _request = stream.read(&mut buffer).await.unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    web.house.approver.decide_all(Verdict::Approve);
    let answer = text(web.post(write_call("1", "a")).await).await;
    listed.await.unwrap();
    assert_eq!(status(&answer), "unavailable");
    let holds = web.house.journal.holds();
    assert_eq!((holds[0].state, holds[0].delivered), (HoldState::Void, false));
}

/// A session that the server has ended is a 404 of the server, before anybody is asked.
#[tokio::test]
async fn an_ended_session_is_the_servers_404() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let web = Web::with(|options| options.server = server_at(&format!("http://{address}/"))).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 4096];
        let _request = stream.read(&mut buffer).await.unwrap();
        let answer = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let answer = web.post_with(&[("mcp-session-id", "gone")], write_call("1", "a")).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(web.house.approver.submitted().is_empty());
}

#[tokio::test]
async fn a_joined_call_sends_the_frozen_bytes() {
    let web = impatient().await;
    let call = |id: u32, arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"write","arguments":{arguments}}}}}"#
        )
    };
    drop(web.post(call(1, r#"{"path":"a", "n":1}"#)).await);
    web.house.approver.until_waiting(0).await;
    let mut stream = Stream::new(web.post(call(2, r#"{"n":1,"path":"a"}"#)).await);
    web.house.approver.until_waiting(1).await;
    web.house.approver.decide("THR-1", Verdict::Approve);
    let asked = web.asked().await;
    assert_eq!(asked.text(), call(2, r#"{"path":"a", "n":1}"#));
    asked.json(result_of("2", "x"));
    assert_eq!(stream.message().await, result_of("2", "x"));
}

#[tokio::test]
async fn the_task_is_the_callers_or_the_sessions_but_never_the_sessions_key() {
    let web = Web::new().await;
    web.house.approver.decide_all(Verdict::Reject(None));
    web.post_with(&[("holdpoint-task-id", "refund-7"), ("mcp-session-id", "secret")], write_call("1", "a"))
        .await;
    web.post_with(&[("mcp-session-id", "secret")], write_call("1", "b")).await;
    web.post(write_call("1", "c")).await;
    let refused = web.post_with(&[("holdpoint-task-id", "")], write_call("1", "d")).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let tasks: Vec<_> = web.house.approver.submitted().iter().map(|asked| asked.task.to_string()).collect();
    assert_eq!((&*tasks[0], &*tasks[2]), ("refund-7", "process"));
    assert!(tasks[1].starts_with("session-") && !tasks[1].contains("secret"));
}

/// A token that expires while a person thinks about the call ends the wait, not the hold: whoever comes back with a fresh
/// one finds it.
#[tokio::test]
async fn nobody_waits_longer_than_their_token_is_good_for() {
    let web = Web::new().await;
    let send = async |id: &str, caller: Authenticated| {
        let request = http::Request::post("/mcp").header("host", "localhost");
        let request = request.header("content-type", "application/json");
        let call = http_body_util::Full::<bytes::Bytes>::from(write_call(id, "a"));
        let answer = web.proxy.serve(request.body(call).unwrap(), caller).await;
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        String::from_utf8(body.into()).unwrap()
    };
    let token = || Authenticated::expiring(House::principal(), SHORT);
    assert_eq!(status(&send("1", token()).await), "pending");
    assert_eq!(web.house.journal.states(), [HoldState::Pending]);
    web.house.approver.decide("THR-1", Verdict::Approve);
    let fresh = Authenticated::expiring(House::principal(), Duration::from_mins(1));
    let (answer, ()) = tokio::join!(send("2", fresh), async {
        web.asked().await.json(r#"{"jsonrpc":"2.0","id":2,"result":{"content":[]}}"#);
    });
    assert_eq!(answer, r#"{"jsonrpc":"2.0","id":2,"result":{"content":[]}}"#);
    web.server_saw_nothing().await;
}
