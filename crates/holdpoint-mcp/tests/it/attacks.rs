//! Attacks that some server's reading of HTTP or JSON would let through: what it could take for a call, or for another one,
//! does not reach it.

use crate::{
    family::id_of,
    house::{code, result_of, write_call},
    pipe::Pipes,
    web::{Web, text},
};
use bytes::Bytes;
use holdpoint_core::Principal;
use holdpoint_mcp::{Action, http::Authenticated};
use holdpoint_testkit::Verdict;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// `tools/call` to a reader of UTF-7, and a method that nobody knows to us.
const IN_UTF_7: &str = r#"{"jsonrpc":"2.0","id":7,"method":"+AHQ-ools/call","params":{"name":"write"}}"#;

/// RFC 2231: parameters in pieces, or with a language. Python's reader of headers puts them together again.
#[tokio::test]
async fn no_spelling_of_a_content_type_names_another_character_set() {
    let web = Web::new().await;
    for parameters in [
        "charset*=utf-7''",
        "charset*=us-ascii'en'utf-7",
        "charset*0=utf-7",
        "charset*0=utf; charset*1=-7",
        "charset*0*=''utf-7",
        "CHARSET*0 = utf-7",
        "charset=utf-8; charset*0=utf-7",
        "charset=utf-8; charset=utf-7",
        "charset='utf-7'",
        r#"charset="utf\-7""#,
        r#"a="; charset=utf-7""#,
    ] {
        let kind = format!("application/json; {parameters}");
        let headers = [("content-type", &*kind), ("accept", "application/json, text/event-stream")];
        let answer = web.send(Method::POST, &headers, IN_UTF_7).await;
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    web.server_saw_nothing().await;
}

const MOVE: &str = r#"[{"name":"move","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]"#;

/// The list of tools that the call is compared with is stale again by the time it is there.
#[tokio::test]
async fn headers_are_compared_with_the_arguments_however_often_the_tools_change() {
    let web = Web::new().await;
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {
        "name": "move", "arguments": { "region": "us" }, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    } })
    .to_string();
    let headers = [
        ("mcp-method", "tools/call"),
        ("mcp-name", "move"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-param-region", "eu"),
    ];
    web.tools.lock().unwrap().clear();
    let (answer, ()) = tokio::join!(web.post_with(&headers, body), async {
        let own = web.asked().await;
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let (listed, ()) = tokio::join!(web.post(list), async { web.asked().await.json("{}") });
        assert_eq!(listed.status(), StatusCode::OK);
        let id = id_of(own.text());
        own.json(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":{MOVE}}}}}"#));
    });
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(code(&text(answer).await), -32020);
    assert_eq!(web.house.approver.submitted().len(), 0);
    web.server_saw_nothing().await;
}

/// In the handshake era nobody has to send these headers. A gateway may go by them all the same.
#[tokio::test]
async fn a_call_of_a_session_sends_no_header_that_contradicts_its_arguments() {
    let web = Web::new().await;
    *web.tools.lock().unwrap() = MOVE.into();
    let body = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"move","arguments":{"region":"us"}}}"#;
    for headers in
        [&[("mcp-param-region", "eu")][..], &[("mcp-param-region", "us"), ("mcp-param-region", "us")]]
    {
        let answer = web.post_with(headers, body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{headers:?}");
        assert_eq!(code(&text(answer).await), -32020);
    }
    assert_eq!(web.house.approver.submitted().len(), 0);
    web.server_saw_nothing().await;
    web.house.approver.decide_all(Verdict::Approve);
    for headers in [&[][..], &[("mcp-param-region", "us")]] {
        let (answer, ()) = tokio::join!(web.post_with(headers, body), async {
            let asked = web.asked().await;
            assert_eq!(asked.text(), body);
            asked.json(result_of("7", "moved"));
        });
        assert_eq!(text(answer).await, result_of("7", "moved"));
    }
}

/// Readers of CGI's kind (WSGI, PHP) take `_` for `-`: to them these are the headers that were compared, or the session that
/// was looked up, with other values.
#[tokio::test]
async fn a_header_that_some_read_as_another_does_not_reach_the_server() {
    let web = Web::new().await;
    let headers = [
        ("mcp_session_id", "somebody-elses"),
        ("mcp_method", "tools/call"),
        ("content_type", "application/json; charset=utf-7"),
        ("x_api_key", "mine"),
        ("x-mine", "passes"),
    ];
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let (answer, ()) = tokio::join!(web.post_with(&headers, ping), async {
        let asked = web.asked().await;
        let odd: Vec<_> = asked.headers.keys().filter(|name| name.as_str().contains('_')).collect();
        assert!(odd.is_empty(), "{odd:?}");
        assert_eq!(asked.headers["x-mine"], "passes");
        asked.json("{}");
    });
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Whose session it is must not be forgotten because somebody else opens others.
#[tokio::test]
async fn a_flood_of_sessions_takes_nobody_elses() {
    const FLOOD: usize = 10_000;
    let web = Web::new().await;
    // Looked up, and refused for what it is: nothing reaches the server.
    let knock = async |principal: &str, session: &str| {
        let request = Request::post("http://localhost/servers/files/mcp").header("mcp-session-id", session);
        let caller = Authenticated::standing(Principal::new(principal));
        web.proxy.serve(request.body(Full::new(Bytes::new())).unwrap(), caller).await.status()
    };
    assert_eq!(knock("a", "of-a").await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(knock("b", "of-a").await, StatusCode::NOT_FOUND);
    for n in 0..FLOOD {
        assert_eq!(knock("b", &n.to_string()).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    assert_eq!(knock("b", "of-a").await, StatusCode::NOT_FOUND);
    // There is a bound all the same: the first of the flood are nobody's any more.
    assert_eq!(knock("a", "0").await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(knock("a", &(FLOOD - 1).to_string()).await, StatusCode::NOT_FOUND);
}

/// It says which server a call is for, of those with one name, and is in the digest: an approval for the one would be good
/// at another.
#[tokio::test]
async fn no_client_says_which_place_its_call_is_for() {
    let web = Web::new().await;
    for (action, key) in [
        (Action::Gate, "dev.holdpoint/place"),
        (Action::Gate, "dev.holdpoint/words"),
        (Action::Once, "dev.holdpoint/place"),
        (Action::Once, "dev.holdpoint/words"),
        (Action::Gate, r"dev.holdpoint\u002fplace"),
    ] {
        web.house.set("write", action);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"write","arguments":{{"path":"a"}},"{key}":"there"}}}}"#
        );
        let answer = text(web.post(body).await).await;
        assert_eq!(code(&answer), -32602, "{answer}");
    }
    assert_eq!(web.house.approver.submitted().len(), 0);
    web.server_saw_nothing().await;
}

/// Wherever two readers could see another end of a message: what the server gets was framed anew, and each call in it was
/// looked at.
#[tokio::test]
async fn no_framing_hides_a_call_behind_another_message() {
    const HOST: &str =
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: */*\r\n";
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let call = write_call("2", "a");
    let whole = |body: &str| format!("{HOST}content-length: {}\r\n\r\n{body}", body.len());
    let chunk = |body: &str| format!("{:x}\r\n{body}\r\n", body.len());
    let (first, second) = (whole(ping), whole(&call));
    let attacks = [
        // Of these the second message is one by itself.
        (1, format!("{first}{second}")),
        (
            1,
            format!(
                "{HOST}transfer-encoding: chunked\r\n\r\n{}0\r\nmcp-method: tools/call\r\n\r\n{second}",
                chunk(ping)
            ),
        ),
        (1, format!("{HOST}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk(&call))),
        // Of these it is none, or the connection ends before it.
        (
            0,
            format!(
                "{HOST}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n{second}",
                chunk(ping)
            ),
        ),
        (0, format!("{HOST}content-length: {}\r\ncontent-length: 5\r\n\r\n{ping}{second}", ping.len())),
        (0, format!("{HOST}content-length: {}\r\n\r\n{ping}{second}", ping.len() + second.len())),
        (0, format!("{HOST}transfer-encoding: xchunked\r\n\r\n{}0\r\n\r\n{second}", chunk(ping))),
        (0, format!("{HOST}transfer-encoding: chunked, identity\r\n\r\n{}0\r\n\r\n{second}", chunk(ping))),
        (0, format!("{HOST}x: y\r\n content-length: 5\r\n\r\n{second}")),
        (0, format!("{HOST}content-length : {}\r\n\r\n{ping}", ping.len())),
        (0, format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{second}")),
        (0, first.replace("POST /", "GET /")),
        (0, second.replace("POST /", "DELETE /")),
        (0, second.replace("POST /", "PUT /")),
        (0, second.replace("POST /", "POST /\u{b}")),
    ];
    for (asked_about, attack) in attacks {
        let web = Web::new().await;
        web.house.approver.decide_all(Verdict::Reject(None));
        let mut client = TcpStream::connect(web.address).await.unwrap();
        client.write_all(attack.as_bytes()).await.unwrap();
        let server = async {
            loop {
                let asked = web.asked().await;
                assert!(!asked.text().contains("tools/call"), "{attack}");
                asked.json("{}");
            }
        };
        let mut told = Vec::new();
        let client = async {
            let mut buffer = [0; 1 << 12];
            while let Ok(Ok(count @ 1..)) =
                tokio::time::timeout(Duration::from_millis(200), client.read(&mut buffer)).await
            {
                told.extend_from_slice(&buffer[..count]);
            }
        };
        tokio::select! {
            () = client => {}
            never = server => never,
        }
        let told = String::from_utf8_lossy(&told);
        assert_eq!(web.house.approver.submitted().len(), asked_about, "{attack}\n{told}");
    }
}

/// What was frozen over HTTP may have line ends between its tokens. On a pipe there would be another message in them.
#[tokio::test]
async fn frozen_arguments_of_another_route_are_one_line_on_a_pipe() {
    let web = Web::with(|options| options.early = Duration::from_millis(20)).await;
    let inner = write_call("2", "b");
    let call = |blank: &str| {
        let arguments = format!(r#"{{"path":"a","more":[{blank}{inner}{blank}]}}"#);
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"write","arguments":{arguments}}}}}"#
        )
    };
    let answer = web.post(call("\r\n")).await;
    web.house.approver.until_waiting(1).await;
    drop(answer);
    web.house.approver.until_waiting(0).await;
    let mut pipes = Pipes::with(web.house.again("other"), |_| {});
    pipes.say(&call("")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, call("  "));
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.approver.submitted().len(), 1);
}
