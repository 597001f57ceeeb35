//! Messages between a client on a pipe and a server that speaks HTTP, tool calls apart.

use crate::{
    house::code,
    linked::{Linked, REVISION},
};
use holdpoint_mcp::{ServerAddress, stdio::ExitReason};
use http::{HeaderMap, Method};
use serde_json::Value;

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

fn request(id: u32, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#)
}

fn answer(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

fn event(data: &str) -> String {
    format!("event: message\ndata: {data}\n\n")
}

#[tokio::test]
async fn the_session_of_the_answer_is_named_from_then_on_and_ended_at_the_end() {
    let mut linked = Linked::with(crate::house::House::new(), |_, server| {
        let ServerAddress::Http { headers, .. } = server else {
            unreachable!();
        };
        headers.insert("authorization", "Bearer of-the-configuration".parse().unwrap());
    })
    .await;
    linked.initialize(Some("s-1")).await;
    let ping = r#"  {"id" : 1.0, "jsonrpc":"2.0","method":"pi\u006eg"}"#;
    linked.say(ping).await;
    let asked = linked.asked().await;
    assert_eq!(asked.text(), ping);
    assert_eq!(header(&asked.headers, "mcp-session-id"), Some("s-1"));
    assert_eq!(header(&asked.headers, "mcp-protocol-version"), Some(REVISION));
    assert_eq!(header(&asked.headers, "accept"), Some("application/json, text/event-stream"));
    assert_eq!(header(&asked.headers, "content-type"), Some("application/json"));
    assert_eq!(header(&asked.headers, "authorization"), Some("Bearer of-the-configuration"));
    asked.json(answer(1));
    assert_eq!(linked.heard().await, answer(1));
    linked.close_client();
    let last = linked.asked().await;
    assert_eq!((&last.method, header(&last.headers, "mcp-session-id")), (&Method::DELETE, Some("s-1")));
    last.answer(200, &[], "");
    assert_eq!(linked.ended().await, ExitReason::ClientClosed);
}

#[tokio::test]
async fn nothing_overtakes_the_handshake() {
    let mut linked = Linked::new().await;
    let initialize =
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    for line in [initialize, initialized, &request(1, "ping")] {
        linked.say(line).await;
    }
    let asked = linked.asked().await;
    assert_eq!(asked.text(), initialize);
    tokio::task::yield_now().await;
    let stream = asked.stream();
    let first = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    let done = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#;
    stream.send(event(first).into()).await.unwrap();
    assert_eq!(linked.heard().await, first);
    stream.send(event(done).into()).await.unwrap();
    assert_eq!(linked.heard().await, done);
    // The answer is there; its stream may stay open.
    let asked = linked.asked().await;
    assert_eq!(asked.text(), initialized);
    assert_eq!(header(&asked.headers, "mcp-session-id"), None);
    assert_eq!(header(&asked.headers, "mcp-protocol-version"), Some("2025-11-25"));
    asked.answer(202, &[], "");
    let mut next = [linked.asked().await, linked.asked().await];
    next.sort_by_key(|asked| asked.method == Method::GET);
    let [ping, listening] = next;
    assert_eq!(ping.text(), request(1, "ping"));
    assert_eq!(listening.method, Method::GET);
    listening.answer(405, &[], "");
    ping.json(answer(1));
    assert_eq!(linked.heard().await, answer(1));
    drop(stream);
}

/// Requests do not wait for each other, and what is large or has line ends inside comes through as one line.
#[tokio::test]
async fn slow_answers_block_nobody() {
    let mut linked = Linked::in_session(None).await;
    linked.say(&request(1, "slow")).await;
    let slow = linked.asked().await;
    for id in 2..20 {
        linked.say(&request(id, "ping")).await;
        let asked = linked.asked().await;
        asked.json(format!(
            "{{\r\n \"jsonrpc\": \"2.0\",\n \"id\":{id},\"result\":{{\"x\":1.10,\n\"é\":\"\\n\"}}}}\n"
        ));
        let line =
            format!("{{   \"jsonrpc\": \"2.0\",  \"id\":{id},\"result\":{{\"x\":1.10, \"é\":\"\\n\"}}}}");
        assert_eq!(linked.heard().await, line);
    }
    let large = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"text":"{}"}}}}"#, "x".repeat(3 << 20));
    slow.json(large.clone());
    assert_eq!(linked.heard().await, large);
}

#[tokio::test]
async fn a_thousand_notifications_keep_their_order() {
    let mut linked = Linked::in_session(Some("s")).await;
    linked.say(&request(1, "work")).await;
    let stream = linked.asked().await.stream();
    let note =
        |at: u32| format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"at":{at}}}}}"#);
    let sending = tokio::spawn(async move {
        let mut text: String = (0..1_000).map(|at| event(&note(at))).collect();
        text.push_str(&event(&answer(1)));
        // In pieces that end anywhere.
        for piece in text.as_bytes().chunks(777) {
            stream.send(piece.to_vec().into()).await.unwrap();
        }
    });
    for at in 0..1_000 {
        assert_eq!(linked.heard().await, note(at));
    }
    assert_eq!(linked.heard().await, answer(1));
    sending.await.unwrap();
}

#[tokio::test]
async fn the_server_may_ask_and_is_answered() {
    let mut linked = Linked::in_session(Some("s")).await;
    linked.say(&request(1, "work")).await;
    let stream = linked.asked().await.stream();
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}"#;
    stream.send(event(ask).into()).await.unwrap();
    assert_eq!(linked.heard().await, ask);
    let said = r#"{"jsonrpc":"2.0","id":1,"result":{"role":"assistant"}}"#;
    linked.say(said).await;
    let asked = linked.asked().await;
    assert_eq!(asked.text(), said);
    assert_eq!(header(&asked.headers, "mcp-session-id"), Some("s"));
    asked.answer(202, &[], "");
    stream.send(event(&answer(1)).into()).await.unwrap();
    assert_eq!(linked.heard().await, answer(1));
}

#[tokio::test]
async fn the_servers_own_stream_is_heard_and_taken_up_again() {
    let mut linked = Linked::new().await;
    let initialize =
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    linked.say(initialize).await;
    let done = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#;
    let json = ("content-type", "application/json");
    linked.asked().await.answer(200, &[json, ("mcp-session-id", "s")], done);
    linked.heard().await;
    linked.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    linked.asked().await.answer(202, &[], "");
    let mut before: Option<String> = None;
    for round in 0..3 {
        let listening = linked.asked().await;
        assert_eq!(listening.method, Method::GET);
        assert_eq!(header(&listening.headers, "accept"), Some("text/event-stream"));
        assert_eq!(header(&listening.headers, "mcp-session-id"), Some("s"));
        assert_eq!(header(&listening.headers, "last-event-id"), before.as_deref());
        let stream = listening.stream();
        if let Some(before) = &before {
            // Some servers begin again with what was said last.
            let again = format!("id: {before}\ndata: {{\"method\":\"again\"}}\n\n");
            stream.send(again.into()).await.unwrap();
        }
        let note = format!(r#"{{"jsonrpc":"2.0","method":"notifications/n","params":{{"round":{round}}}}}"#);
        stream.send(format!("id: e-{round}\nretry: 5\ndata: {note}\n\n").into()).await.unwrap();
        assert_eq!(linked.heard().await, note);
        before = Some(format!("e-{round}"));
    }
    // A server that refuses it once is not asked again.
    linked.asked().await.answer(405, &[], "");
    linked.server_saw_nothing().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_read_on_where_it_stopped() {
    let mut linked = Linked::in_session(Some("s")).await;
    linked.say(&request(1, "work")).await;
    let stream = linked.asked().await.stream();
    stream.send("id: 7\nretry: 5\ndata: \n\n".into()).await.unwrap();
    drop(stream);
    let resumed = linked.asked().await;
    assert_eq!((&resumed.method, header(&resumed.headers, "last-event-id")), (&Method::GET, Some("7")));
    // Not there for a moment.
    resumed.answer(503, &[], "");
    let resumed = linked.asked().await;
    assert_eq!((&resumed.method, header(&resumed.headers, "last-event-id")), (&Method::GET, Some("7")));
    let stream = resumed.stream();
    stream.send(event(&answer(1)).into()).await.unwrap();
    assert_eq!(linked.heard().await, answer(1));
    drop(stream);
    linked.server_saw_nothing().await;
}

/// Status, headers and body of a refusal, and what the client is told.
type Refusal = (u16, &'static [(&'static str, &'static str)], &'static str, &'static str);

/// Whoever asked is told, once, with the status and nothing else that the server said.
#[tokio::test]
async fn refusals_of_the_server_become_answers() {
    let mut linked = Linked::in_session(Some("s")).await;
    let cases: [Refusal; 9] = [
        (401, &[("www-authenticate", "Bearer secret")], "a secret", "HTTP status 401 Unauthorized"),
        (403, &[], "", "HTTP status 403 Forbidden"),
        (404, &[], "secret", "ended the session"),
        (500, &[("content-type", "application/json")], r#"{"error":"secret"}"#, "HTTP status 500"),
        (502, &[("content-type", "text/html")], "<p>secret</p>", "HTTP status 502"),
        (307, &[("location", "http://127.0.0.1:1/secret")], "", "HTTP status 307"),
        (200, &[("content-type", "text/html")], "<p>secret</p>", "not JSON-RPC (HTTP status 200 OK)"),
        (200, &[("content-type", "application/json")], "", "not JSON-RPC"),
        (202, &[], "", "not JSON-RPC (HTTP status 202 Accepted)"),
    ];
    for (status, headers, body, told) in cases {
        linked.say(&request(1, "work")).await;
        linked.asked().await.answer(status, headers, body);
        let heard = linked.heard().await;
        assert_eq!(code(&heard), -32603, "{heard}");
        assert!(heard.contains(told) && !heard.contains("secret"), "{heard}");
        assert_eq!(serde_json::from_str::<Value>(&heard).unwrap()["id"], 1);
    }
    // In words that the client understands, they pass.
    linked.say(&request(2, "work")).await;
    let own = r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32020,"message":"headers"}}"#;
    linked.asked().await.answer(400, &[], own);
    assert_eq!(linked.heard().await, own);
    linked.say(&request(3, "work")).await;
    let unread = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#;
    linked.asked().await.answer(404, &[], unread);
    let heard: Value = serde_json::from_str(&linked.heard().await).unwrap();
    assert_eq!((&heard["id"], &heard["error"]["code"]), (&3.into(), &(-32001).into()));
    linked.server_saw_nothing().await;
}

#[tokio::test]
async fn what_was_not_sent_is_told_apart_from_what_may_have_been() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut linked = Linked::with(crate::house::House::new(), |_, server| {
        *server = crate::web::server_at(&format!("http://{nobody}/"));
    })
    .await;
    linked.say(&request(1, "initialize")).await;
    let heard = linked.heard().await;
    assert!(heard.contains("could not be reached; nothing was sent"), "{heard}");
    assert_eq!(code(&heard), -32603);

    let mut linked = Linked::in_session(None).await;
    linked.say(&request(1, "work")).await;
    drop(linked.asked().await.stream());
    let heard = linked.heard().await;
    assert!(heard.contains("is not known, and the request was not sent again"), "{heard}");
    linked.server_saw_nothing().await;
}

/// The stateless era: headers repeat the body, and a request is withdrawn by closing its stream.
#[tokio::test]
async fn stateless_requests_say_in_headers_what_they_are() {
    let mut linked = Linked::new().await;
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    for (method, params, name) in [
        ("server/discover", String::new(), None),
        ("resources/read", r#""uri":"file:///ä b","#.to_owned(), Some("=?base64?ZmlsZTovLy/DpCBi?=")),
        ("prompts/get", r#""name":"p","#.to_owned(), Some("p")),
        ("tasks/get", r#""taskId":"t-1","#.to_owned(), Some("t-1")),
        ("tools/list", r#""name":"none","#.to_owned(), None),
    ] {
        linked
            .say(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{meta}}}}}"#))
            .await;
        let asked = linked.asked().await;
        assert_eq!(header(&asked.headers, "mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(header(&asked.headers, "mcp-method"), Some(method));
        assert_eq!(header(&asked.headers, "mcp-name"), name);
        assert_eq!(header(&asked.headers, "mcp-session-id"), None);
        asked.json(answer(1));
        assert_eq!(linked.heard().await, answer(1));
    }
    linked.say(&format!(r#"{{"jsonrpc":"2.0","id":2,"method":"work","params":{{{meta}}}}}"#)).await;
    let stream = linked.asked().await.stream();
    stream.send(event(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#).into()).await.unwrap();
    linked.heard().await;
    linked.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#).await;
    stream.closed().await;
    // It is not told in words, and nobody answers what was withdrawn.
    linked.server_saw_nothing().await;
    // A broken stream loses its request, whatever its events were called.
    linked.say(&format!(r#"{{"jsonrpc":"2.0","id":3,"method":"work","params":{{{meta}}}}}"#)).await;
    let stream = linked.asked().await.stream();
    stream.send("id: 7\ndata: \n\n".into()).await.unwrap();
    drop(stream);
    assert!(linked.heard().await.contains("was not sent again"));
    linked.server_saw_nothing().await;
    linked.close_client();
    // There is no session to end.
    assert_eq!(linked.ended().await, ExitReason::ClientClosed);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_told() {
    let mut linked =
        Linked::with(crate::house::House::new(), |options, _| options.line_bytes_max = 1_000).await;
    linked.initialize(None).await;
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"text":"{}"}}}}"#, "x".repeat(2_000));
    linked.say(&request(1, "work")).await;
    linked.asked().await.json(long.clone());
    assert!(linked.heard().await.contains("longer than"));
    linked.say(&request(1, "work")).await;
    let stream = linked.asked().await.stream();
    stream.send(event(&long).into()).await.unwrap();
    assert!(linked.heard().await.contains("longer than"));
    linked.server_saw_nothing().await;
}

/// In the handshake era a cancellation is a message, and never overtakes what it cancels.
#[tokio::test]
async fn a_cancellation_of_the_handshake_era_is_sent_on() {
    let mut linked = Linked::in_session(Some("s")).await;
    for id in 1..20 {
        let cancel = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        );
        linked.say(&request(id, "work")).await;
        let asked = linked.asked().await;
        assert_eq!(asked.text(), request(id, "work"));
        linked.say(&cancel).await;
        let told = linked.asked().await;
        assert_eq!(told.text(), cancel);
        told.answer(202, &[], "");
        asked.json(answer(id));
        assert_eq!(linked.heard().await, answer(id));
    }
    // What is withdrawn in the same breath is not sent at all.
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    linked.say(&format!("{}\n{cancel}", request(1, "work"))).await;
    linked.server_saw_nothing().await;
}

/// More requests than fit: some wait for a place, the last are refused; all are answered.
#[tokio::test]
async fn requests_are_bounded() {
    let mut linked = Linked::in_session(None).await;
    for id in 1..=1_030 {
        linked.say(&request(id, "work")).await;
    }
    for _ in 0..6 {
        assert!(linked.heard().await.contains("too many requests"));
    }
    let mut under_way = Vec::new();
    for _ in 0..256 {
        under_way.push(linked.asked().await);
    }
    // What the server waits for comes through.
    let word = r#"{"jsonrpc":"2.0","id":"x","result":{}}"#;
    linked.say(word).await;
    let asked = linked.asked().await;
    assert_eq!(asked.text(), word);
    asked.answer(202, &[], "");
    let mut left = 1_024;
    while left > 0 {
        let asked = match under_way.pop() {
            Some(asked) => asked,
            None => linked.asked().await,
        };
        let id = serde_json::from_str::<Value>(asked.text()).unwrap()["id"].as_u64().unwrap();
        asked.json(answer(u32::try_from(id).unwrap()));
        linked.heard().await;
        left -= 1;
    }
}
