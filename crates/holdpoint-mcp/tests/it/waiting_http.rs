//! How calls wait, over HTTP.

use crate::{
    house::{REVIEW_URL, code, result_of, status, write_call},
    waiting::{LINKS, asked_again, call, with_state},
    web::{Stream, Web, text},
};
use holdpoint_core::HoldState;
use holdpoint_mcp::Waits;
use holdpoint_testkit::Verdict;
use http::StatusCode;
use std::time::{Duration, Instant};

const STATELESS: [(&str, &str); 3] =
    [("mcp-method", "tools/call"), ("mcp-name", "write"), ("mcp-protocol-version", "2026-07-28")];

/// Legs of a second, and a stream in no time.
async fn web() -> Web {
    let web = Web::with(|options| options.early = Duration::from_millis(20)).await;
    *web.house.actions.waits.lock().unwrap() =
        Waits { leg: Some(Duration::from_secs(1)), ..Waits::default() };
    web
}

#[tokio::test]
async fn a_leg_is_a_stream_that_ends_and_the_last_one_runs_once() {
    let web = web().await;
    let mut stream = Stream::new(web.post_with(&STATELESS, call("1", "{}", "")).await);
    let (state, _) = asked_again(&stream.message().await);
    assert_eq!(stream.next().await, None);
    assert_eq!(web.house.journal.states(), [HoldState::Pending]);
    // Nobody waits between two legs.
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.server_saw_nothing().await;
    let (answer, ()) = tokio::join!(web.post_with(&STATELESS, call("2", "{}", &with_state(&state))), async {
        let asked = web.asked().await;
        assert_eq!(asked.text(), call("2", "{}", ""));
        assert_eq!(asked.headers["content-length"], call("2", "{}", "").len().to_string().as_str());
        asked.json(result_of("2", "x"));
    });
    assert_eq!(text(answer).await, result_of("2", "x"));
    assert_eq!(web.house.approver.submitted().len(), 1);
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn a_client_without_streams_waits_in_legs_as_well() {
    let web = web().await;
    let headers =
        [&STATELESS[..], &[("content-type", "application/json"), ("accept", "application/json")]].concat();
    let answer = web.send(http::Method::POST, &headers, call("1", "{}", "")).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let (state, _) = asked_again(&text(answer).await);
    web.house.approver.decide("THR-1", Verdict::Reject(None));
    let answer = web.send(http::Method::POST, &headers, call("2", "{}", &with_state(&state))).await;
    assert_eq!(status(&text(answer).await), "rejected");
    web.server_saw_nothing().await;
}

#[tokio::test]
async fn a_link_comes_within_a_second() {
    let web = Web::new().await;
    let began = Instant::now();
    let answer = web.post_with(&STATELESS, call("1", LINKS, "")).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let (state, requests) = asked_again(&text(answer).await);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(requests["approval"]["params"]["url"], REVIEW_URL);
    let declined =
        format!(r#"{}"inputResponses":{{"approval":{{"action":"decline"}}}},"#, with_state(&state));
    let answer = web.post_with(&STATELESS, call("2", LINKS, &declined)).await;
    assert_eq!(status(&text(answer).await), "cancelled");
    assert_eq!(web.house.journal.states(), [HoldState::Cancelled]);
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.server_saw_nothing().await;
}

/// By the protocol a closed stream withdraws the call, in a leg as elsewhere. A leg that has ended is no stream any more.
#[tokio::test]
async fn a_leg_whose_stream_is_closed_withdraws_the_call() {
    let web = web().await;
    let mut stream = Stream::new(web.post_with(&STATELESS, call("1", "{}", "")).await);
    let (state, _) = asked_again(&stream.message().await);
    drop(stream);
    assert_eq!(web.house.journal.states(), [HoldState::Pending]);
    *web.house.actions.waits.lock().unwrap() = Waits::default();
    let stream = Stream::new(web.post_with(&STATELESS, call("2", "{}", &with_state(&state))).await);
    web.house.approver.until_waiting(1).await;
    drop(stream);
    web.house.approver.until_waiting(0).await;
    tokio::time::timeout(Duration::from_secs(20), async {
        while web.house.journal.states() != [HoldState::Cancelled] {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is not withdrawn");
    web.house.approver.decide("THR-1", Verdict::Approve);
    web.server_saw_nothing().await;
}

/// Whatever owes a 4xx is answered before a stream is opened, and before anybody is asked.
#[tokio::test]
async fn what_is_wrong_with_the_request_is_said_before_it_waits() {
    let web = web().await;
    let good = call("1", "{}", "");
    let mut stream = Stream::new(web.post_with(&STATELESS, good.clone()).await);
    let (state, _) = asked_again(&stream.message().await);
    let comes_back = call("2", "{}", &with_state(&state));
    let other_name = [STATELESS[0], ("mcp-name", "read"), STATELESS[2]];
    let other_version = [STATELESS[0], STATELESS[1], ("mcp-protocol-version", "2025-11-25")];
    for message in [good, comes_back] {
        let incomplete = message.replace(r#","io.modelcontextprotocol/clientCapabilities":{}"#, "");
        let unknown = message.replace(r#""name":"write""#, r#""name":"wipe""#);
        let wipe = [STATELESS[0], ("mcp-name", "wipe"), STATELESS[2]];
        for (headers, message, status, expected) in [
            (&other_name, &message, 400, -32020),
            (&other_version, &message, 400, -32020),
            (&STATELESS, &incomplete, 400, -32602),
            (&wipe, &unknown, 200, -32602),
        ] {
            let answer = web.post_with(headers, message.clone()).await;
            assert_eq!(answer.status(), StatusCode::from_u16(status).unwrap());
            assert_eq!(answer.headers()["content-type"], "application/json");
            assert_eq!(code(&text(answer).await), expected);
        }
    }
    let forged = with_state(&format!("{state}x"));
    let answer = web.post_with(&STATELESS, call("3", "{}", &forged)).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(code(&text(answer).await), -32602);
    assert_eq!(web.house.approver.submitted().len(), 1);
    web.server_saw_nothing().await;
}

/// What the client said when it opened the session is known to its calls, and to nobody else's.
#[tokio::test]
async fn a_session_remembers_its_client() {
    let web = Web::with(|options| options.early = Duration::from_millis(20)).await;
    *web.house.actions.waits.lock().unwrap() = Waits::default();
    let open = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"Visual Studio Code","version":"1"}}}"#;
    let (answer, ()) = tokio::join!(web.post(open), async {
        let asked = web.asked().await;
        asked.answer(
            200,
            &[("content-type", "application/json"), ("mcp-session-id", "s1")],
            r#"{"jsonrpc":"2.0","id":0,"result":{}}"#,
        );
    });
    assert_eq!(answer.status(), StatusCode::OK);
    // Told to wait no longer than their clients can: no test waits for that, but the kernel was told.
    drop(web.post_with(&[("mcp-session-id", "s1")], write_call("1", "a")).await);
    drop(web.post_with(&[("mcp-session-id", "s2")], write_call("1", "b")).await);
    let patience = web.house.patiences();
    assert_eq!(patience, [Duration::from_mins(15), Duration::from_secs(50)]);
}
