//! The stateless era in front of children: one child for all clients.

use crate::{
    family::{Child, Family, META, Stream, id_of, stateless, text},
    house::{code, write_call},
};
use holdpoint_core::HoldState;
use holdpoint_mcp::Action;
use holdpoint_testkit::Verdict;
use serde_json::Value;
use std::{collections::HashSet, sync::Arc, time::Duration};

const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

/// Answers as many calls as there are, the last one first, each with its progress before.
async fn backwards(mut child: Child) {
    let mut seen = HashSet::new();
    loop {
        let mut asked: Vec<Value> = Vec::new();
        while let Ok(line) = tokio::time::timeout(Duration::from_millis(1), child.next()).await {
            let Some(line) = line else {
                return;
            };
            asked.push(serde_json::from_str(&line).unwrap());
        }
        for message in asked.iter().rev() {
            assert!(seen.insert(message["id"].to_string()), "an id twice: {message}");
            let (token, whose) = (&message["params"]["_meta"]["progressToken"], &message["params"]["whose"]);
            child.say(&format!(r#"{{"method":"notifications/progress","params":{{"progressToken":{token},"progress":1,"message":{whose}}}}}"#)).await;
        }
        for message in asked.iter().rev() {
            let (id, whose) = (&message["id"], &message["params"]["whose"]);
            child.say(&format!(r#"{{"id":{id},"result":{{"whose":{whose}}}}}"#)).await;
        }
    }
}

/// Two clients with the same ids and the same tokens, and answers in another order.
#[tokio::test(start_paused = true)]
async fn equal_ids_of_two_clients_never_cross() {
    const ROUNDS: usize = 50;
    const AT_ONCE: usize = 10;
    let family = Arc::new(Family::new());
    let mut clients = tokio::task::JoinSet::new();
    for (client, n) in ["a", "b"].into_iter().flat_map(|client| (0..AT_ONCE).map(move |n| (client, n))) {
        let family = Arc::clone(&family);
        clients.spawn(async move {
            for round in 0..ROUNDS {
                let id = if n % 2 == 0 { format!("{n}.0") } else { format!("\"{n}\"") };
                let whose = format!("{client}-{n}-{round}");
                let body = stateless(&id, "x/y", &format!(r#""whose":"{whose}","#));
                let body = body.replace(r#""test":1"#, r#""test":1,"progressToken":"p""#);
                let mut stream = Stream::new(family.post(&[("mcp-method", "x/y"), VERSION], body).await);
                let progress = format!(r#"{{"method":"notifications/progress","params":{{"progressToken":"p","progress":1,"message":"{whose}"}}}}"#);
                assert_eq!(stream.message().await, progress);
                assert_eq!(stream.message().await, format!(r#"{{"id":{id},"result":{{"whose":"{whose}"}}}}"#));
                assert_eq!(stream.next().await, None);
            }
        });
    }
    let server = tokio::spawn(backwards(family.child().await));
    clients.join_all().await;
    assert!(family.is_childless().await, "one child for all");
    drop(family);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_ids_and_tokens_are_exchanged() {
    let family = Family::new();
    let body = format!(
        "{{ \"params\" : {{\"big\":123456789012345678901234567890, \"_meta\":{{ \"progressToken\" : 1 ,{META}}}, \"id\":5}},\r\"id\" : \"5\\u0041\", \"method\":\"x/y\",\"jsonrpc\":\"2.0\"}}"
    );
    let (answer, ()) = tokio::join!(family.post(&[("mcp-method", "x/y"), VERSION], body.clone()), async {
        let mut child = family.child().await;
        let line = child.heard().await;
        let id = id_of(&line);
        let expected = body.replace('\r', " ").replace("\"5\\u0041\"", &id);
        assert_eq!(line, expected.replace("\"progressToken\" : 1 ", &format!("\"progressToken\" : {id} ")));
        child.say(&format!(r#"{{ "result":{{"n":1.10,"n":2}},  "id" : {id}, "x":0 }}"#)).await;
    });
    assert_eq!(text(answer).await, r#"{ "result":{"n":1.10,"n":2},  "id" : "5\u0041", "x":0 }"#);
}

#[tokio::test(start_paused = true)]
async fn errors_have_the_status_that_the_revision_gives_them() {
    let family = Family::new();
    let mut child = None;
    let half = stateless("1", "x/y", "").replace(r#"clientCapabilities":{}"#, r#"clientCapabilities":5"#);
    for (error, body, status) in [
        (-32020, stateless("1", "x/y", ""), 400),
        (-32021, stateless("1", "x/y", ""), 400),
        (-32022, stateless("1", "x/y", ""), 400),
        (-32601, stateless("1", "x/y", ""), 404),
        (-32602, stateless("1", "x/y", ""), 200),
        (-32602, half, 400),
        (-32603, stateless("1", "x/y", ""), 200),
    ] {
        let (answer, ()) = tokio::join!(family.post(&[("mcp-method", "x/y"), VERSION], body), async {
            if child.is_none() {
                child = Some(family.child().await);
            }
            let child = child.as_mut().unwrap();
            let id = id_of(&child.heard().await);
            child
                .say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{error},"message":"x"}}}}"#))
                .await;
        });
        assert_eq!(answer.status(), status, "{error}");
        assert_eq!(code(&text(answer).await), error);
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_say_something_else_and_members_with_two_readings_are_refused() {
    let family = Family::new();
    let read = stateless("1", "resources/read", r#""uri":"file:///a","#);
    for headers in [
        vec![VERSION],
        vec![VERSION, ("mcp-method", "x/y")],
        vec![VERSION, ("mcp-method", "resources/read")],
        vec![VERSION, ("mcp-method", "resources/read"), ("mcp-name", "file:///b")],
        vec![("mcp-method", "resources/read"), ("mcp-name", "file:///a")],
    ] {
        let answer = family.post(&headers, read.clone()).await;
        assert_eq!(answer.status(), 400, "{headers:?}");
        assert_eq!(code(&text(answer).await), -32020, "{headers:?}");
    }
    for twice in [
        stateless("1", "x/y", &format!(r#""_meta":{{{META},"progressToken":1}},"#)),
        stateless("1", "x/y", "").replace(r#""test":1"#, r#""progressToken":1,"progressToken":2"#),
        stateless("1", "x/y", "").replace(r#""test":1"#, r#""progressToken":1,"ProgressToken":2"#),
    ] {
        let answer = family.post(&[VERSION, ("mcp-method", "x/y")], twice).await;
        assert_eq!(code(&text(answer).await), -32602);
    }
    // What only its sender could mean reaches nobody.
    let cancel = stateless("1", "notifications/cancelled", r#""requestId":1,"#).replace(r#""id":1,"#, "");
    assert_eq!(
        family.post(&[VERSION, ("mcp-method", "notifications/cancelled")], cancel).await.status(),
        202
    );
    assert!(family.is_childless().await);
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_withdraws_its_request_under_the_name_that_the_server_knows() {
    let family = Family::new();
    // While nothing has come, and in the middle of a stream.
    let stream = family.ask("1", "x/y", "").await;
    let mut child = family.child().await;
    let first = id_of(&child.heard().await);
    drop(stream);
    let asking = tokio::time::timeout(Duration::from_millis(10), family.ask("1", "x/y", "")).await;
    assert!(asking.is_err());
    let cancelled = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"the client is gone"}}}}"#
        )
    };
    assert_eq!(child.heard().await, cancelled(&first));
    let second = id_of(&child.heard().await);
    assert_ne!(first, second);
    assert_eq!(child.heard().await, cancelled(&second));
    // A late answer is nobody's.
    child.say(&format!(r#"{{"jsonrpc":"2.0","id":{first},"result":{{}}}}"#)).await;
    let (answer, ()) = tokio::join!(family.ask("1", "x/y", ""), async {
        let id = id_of(&child.heard().await);
        child.say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"n":3}}}}"#)).await;
    });
    assert!(text(answer).await.contains(r#""n":3"#));
}

#[tokio::test(start_paused = true)]
async fn subscriptions_stay_open_and_hear_what_names_them_alone() {
    let family = Family::new();
    let (one, two) = (
        family.ask("1", "subscriptions/listen", "").await,
        family.ask("1", "subscriptions/listen", "").await,
    );
    let (mut one, mut two) = (Stream::new(one), Stream::new(two));
    let mut child = family.child().await;
    let (first, second) = (id_of(&child.heard().await), id_of(&child.heard().await));
    let note = |id: &str, n: i32| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"n":{n},"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
        )
    };
    child.say(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"to nobody"}}"#).await;
    child.say(&note(r#""guess""#, 0)).await;
    child.say(&note(&second, 2)).await;
    child.say(&note(&first, 1)).await;
    assert_eq!(one.message().await, note("1", 1));
    assert_eq!(two.message().await, note("1", 2));
    tokio::time::sleep(Duration::from_hours(1)).await;
    child.say(&note(&first, 3)).await;
    assert_eq!(one.message().await, note("1", 3));
    let end = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
        )
    };
    child.say(&end(&first)).await;
    assert_eq!(one.message().await, end("1"));
    assert_eq!(one.next().await, None);
    drop(two);
    assert!(child.heard().await.contains(&second));
    // Nobody can be asked anything.
    child.say(r#"{"jsonrpc":"2.0","id":"r","method":"roots/list"}"#).await;
    assert_eq!(code(&child.heard().await), -32601);
}

#[tokio::test(start_paused = true)]
async fn a_held_call_runs_once_and_one_whose_client_left_never() {
    let family = Family::new();
    let call = |id: &str, path: &str| {
        write_call(id, path).replace(r#""params":{"#, &format!(r#""params":{{"_meta":{{"test":1,{META}}},"#))
    };
    let headers = [("mcp-method", "tools/call"), ("mcp-name", "write"), VERSION];
    let left = async {
        let stream = family.post(&headers, call("1", "a")).await;
        drop(stream);
        family.house.approver.decide("THR-1", Verdict::Approve);
        let mut stream = Stream::new(family.post(&headers, call("1", "b")).await);
        family.house.approver.decide("THR-2", Verdict::Approve);
        let answer: Value = serde_json::from_str(&stream.message().await).unwrap();
        assert_eq!((&answer["id"], &answer["result"]["ran"]), (&Value::from(1), &Value::from(true)));
        assert_eq!(stream.next().await, None);
    };
    let served = async {
        let mut child = family.child().await;
        let line = child.heard().await;
        let id = id_of(&line);
        assert_eq!(line, call(&id, "b"));
        child.say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"ran":true}}}}"#)).await;
        child
    };
    let ((), mut child) = tokio::join!(left, served);
    assert_eq!(family.house.journal.states(), [HoldState::Cancelled, HoldState::Done]);
    let quiet = tokio::time::timeout(Duration::from_secs(5), child.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

/// It asks more than it reads answers: what waits for it stays within bounds, and it can be talked to again.
#[tokio::test(start_paused = true)]
async fn a_child_that_only_asks_is_not_answered_without_end() {
    const ASKED: usize = 20_000;
    let family = Family::with(|limits| limits.waiting_bytes_max = 64 << 10);
    let (answer, answered) = tokio::join!(family.ask("1", "x/y", ""), async {
        let mut child = family.child().await;
        let id = id_of(&child.heard().await);
        for n in 0..ASKED {
            child.say(&format!(r#"{{"id":{n},"method":"roots/list"}}"#)).await;
        }
        let mut answered = 0;
        while let Ok(line) = tokio::time::timeout(Duration::from_millis(1), child.next()).await {
            assert!(line.unwrap().contains("-32601"));
            answered += 1;
        }
        child.say(r#"{"id":"last","method":"roots/list"}"#).await;
        assert_eq!(id_of(&child.heard().await), r#""last""#);
        child.say(&format!(r#"{{"id":{id},"result":{{}}}}"#)).await;
        answered
    });
    assert_eq!(text(answer).await, r#"{"id":1,"result":{}}"#);
    assert!((1..ASKED / 4).contains(&answered), "{answered} of {ASKED}");
}

/// No header reaches a child, so those that repeat arguments are compared here, of calls that pass as well.
#[tokio::test(start_paused = true)]
async fn what_a_tool_wants_in_headers_is_compared_for_its_child() {
    let family = Family::new();
    family.house.set("read", Action::Pass);
    let call =
        |arguments: &str| stateless("7", "tools/call", &format!(r#""name":"read","arguments":{arguments},"#));
    let with = |region: Option<&'static str>| {
        let region = region.map(|region| ("mcp-param-region", region));
        [[("mcp-method", "tools/call"), ("mcp-name", "read"), VERSION].to_vec(), Vec::from_iter(region)]
            .concat()
    };
    let body = call(r#"{"region":"Zürich"}"#);
    // The first is refused when its tool has been looked up, the others at once.
    let none = with(None);
    let (answer, mut child) = tokio::join!(family.post(&none, body.clone()), async {
        let mut child = family.child().await;
        child.tools = r#"[{"name":"read","inputSchema":{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"}}}}]"#
            .to_owned();
        assert!(tokio::time::timeout(Duration::from_secs(1), child.next()).await.is_err(), "it ran");
        child
    });
    assert_eq!((answer.status(), code(&text(answer).await)), (http::StatusCode::BAD_REQUEST, -32020));
    for (region, body, expected) in [
        (None, body.clone(), -32020),
        (Some("Bern"), body.clone(), -32020),
        (Some("=?base64?WsO8cml!jaA==?="), body.clone(), -32020),
        (Some("Bern"), call("{}"), -32020),
        (Some("Bern"), call(r#"{"region":"Bern","region":"Basel"}"#), -32602),
    ] {
        let answer = family.post(&with(region), body).await;
        let status = answer.status();
        let answer = text(answer).await;
        assert_eq!(status, http::StatusCode::BAD_REQUEST, "{region:?} {answer}");
        assert_eq!(code(&answer), expected, "{region:?}");
    }
    let right = with(Some("=?base64?WsO8cmljaA==?="));
    let (answer, ()) = tokio::join!(family.post(&right, body.clone()), async {
        let line = child.heard().await;
        assert!(line.contains("Zürich"), "{line}");
        child.say(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, id_of(&line))).await;
    });
    assert_eq!(answer.status(), http::StatusCode::OK);
    assert!(tokio::time::timeout(Duration::from_secs(1), child.next()).await.is_err(), "it ran again");
}
