//! How children come and go.

use crate::{
    family::{Family, INITIALIZE, Stream, id_of, text},
    house::{House, decision, result_of, status, write_call},
};
use holdpoint_core::{HoldState, TaskId};
use holdpoint_mcp::{
    Action, ChildLimits, ServerAddress,
    http::{HttpOptions, HttpProxy},
    stdio::ChildCommand,
};
use holdpoint_testkit::Verdict;
use http::{Method, Request};
use http_body_util::Full;
use std::{sync::Arc, time::Duration};

const NAME: &str = "mcp-session-id";

#[tokio::test(start_paused = true)]
async fn a_child_that_dies_with_a_call_leaves_it_unknown_and_nothing_is_sent_again() {
    let family = Family::new();
    family.house.approver.decide_all(Verdict::Approve);
    let (session, mut child) = family.session().await;
    let (answer, ()) = tokio::join!(family.within(&session, write_call("1", "a")), async {
        assert_eq!(child.heard().await, write_call("1", "a"));
        drop(child);
    });
    assert_eq!(status(&text(answer).await), "outcome_unknown");
    assert_eq!(family.house.journal.states(), [HoldState::Unknown]);
    // The session went with it; another one has the same call, which is not run again.
    assert_eq!(family.within(&session, write_call("2", "a")).await.status(), 404);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (session, mut child) = family.session().await;
    let answer = tokio::join!(family.within(&session, write_call("3", "a")), async {
        assert!(tokio::time::timeout(Duration::from_secs(1), child.next()).await.is_err());
    });
    assert_eq!(status(&text(answer.0).await), "outcome_unknown");
}

#[tokio::test(start_paused = true)]
async fn an_approved_call_that_finds_no_child_was_not_sent() {
    let family = Family::new();
    let (session, mut child) = family.session().await;
    let listing = tokio::spawn(async move {
        let line = child.next().await;
        (line, child)
    });
    family.house.pause.on();
    family.house.approver.decide_all(Verdict::Approve);
    let (answer, ()) = tokio::join!(family.within(&session, write_call("1", "a")), async {
        // It is about to go out when its child dies.
        family.house.pause.reached().await;
        listing.abort();
        tokio::time::sleep(Duration::from_millis(10)).await;
        family.house.pause.over();
    });
    let told = text(answer).await;
    assert!(told.contains("error") || decision(&told)["status"] == "unavailable", "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_keeps_dying_is_started_again_after_times_that_grow() {
    let family = Family::with(|limits| {
        limits.down_first = Duration::from_secs(1);
        limits.down_max = Duration::from_secs(4);
        limits.stable = Duration::from_mins(1);
    });
    for (longest, shortest) in [(1_000, 499), (2_000, 999), (4_000, 1_999), (4_000, 1_999)] {
        let (answer, ()) = tokio::join!(family.ask("1", "x/y", ""), async {
            let mut child = family.child().await;
            child.heard().await;
        });
        assert_eq!(answer.status(), 502);
        tokio::time::sleep(Duration::from_millis(shortest)).await;
        let before = tokio::time::Instant::now();
        assert_eq!(family.ask("1", "x/y", "").await.status(), 502, "too early");
        assert_eq!(before.elapsed(), Duration::ZERO, "it waited");
        assert!(family.is_childless().await);
        tokio::time::sleep(Duration::from_millis(longest - shortest)).await;
    }
    // One that lasted counts as new.
    let (answer, child) = tokio::join!(family.ask("1", "x/y", ""), async {
        let mut child = family.child().await;
        let id = id_of(&child.heard().await);
        child.say(&result_of(&id, "x")).await;
        child
    });
    assert_eq!(answer.status(), 200);
    tokio::time::sleep(Duration::from_secs(61)).await;
    drop(child);
    tokio::time::sleep(Duration::from_secs(1)).await;
    family.fail(true);
    assert_eq!(family.ask("1", "x/y", "").await.status(), 502);
    family.fail(false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (answer, _child) = tokio::join!(family.ask("1", "x/y", ""), async {
        let mut child = family.child().await;
        let id = id_of(&child.heard().await);
        child.say(&result_of(&id, "again")).await;
        child
    });
    assert_eq!(answer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_tools_of_a_child_that_was_started_again_are_read_again() {
    let family = Family::new();
    family.house.set("read", Action::Pass);
    let call = crate::family::stateless("1", "tools/call", r#""name":"read","#);
    let headers =
        [("mcp-method", "tools/call"), ("mcp-name", "read"), ("mcp-protocol-version", "2026-07-28")];
    for _ in 0..2 {
        let mut lists = 0;
        let (answer, child) = tokio::join!(family.post(&headers, call.clone()), async {
            let mut child = family.child().await;
            child.heard().await;
            lists = child.lists;
            child
        });
        assert_eq!(lists, 1, "its tools were not asked for");
        drop((answer, child));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_is_skipped_and_what_is_too_long_is_told() {
    let family = Family::with(|limits| limits.line_bytes_max = 1_000);
    let (session, mut child) = family.session().await;
    for line in ["", "listening on stdio", "[]", "[1]", "{\"half\":", "\u{1b}[31m"] {
        child.say(line).await;
    }
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#;
    let (answer, ()) = tokio::join!(family.within(&session, ask), async {
        child.heard().await;
        child.say(&result_of("1", &"x".repeat(2_000))).await;
    });
    assert!(text(answer).await.contains("longer than 1000 bytes"));
    let (answer, ()) = tokio::join!(family.within(&session, ask), async {
        child.heard().await;
        child.say(&result_of("1", "x")).await;
    });
    assert_eq!(text(answer).await, result_of("1", "x"));
}

/// A child that reads nothing holds up nobody else, and takes no more than it may.
#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_read_is_given_no_more() {
    let family = Family::with(|limits| limits.waiting_bytes_max = 1 << 20);
    let (session, _deaf) = family.session().await;
    let (other, mut child) = family.session().await;
    let large = format!(r#"{{"jsonrpc":"2.0","method":"n","params":"{}"}}"#, "x".repeat(600_000));
    let mut refused = 0;
    for _ in 0..5 {
        refused += i32::from(family.within(&session, large.clone()).await.status() == 502);
    }
    assert!(refused >= 2, "{refused}");
    let note = r#"{"jsonrpc":"2.0","method":"n"}"#;
    assert_eq!(family.within(&other, note).await.status(), 202);
    assert_eq!(child.heard().await, note);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_loses_its_stream_alone() {
    let family = Family::with(|limits| limits.waiting_bytes_max = 10_000);
    let slow = Stream::new(family.ask("1", "subscriptions/listen", "").await);
    let mut child = family.child().await;
    let id = id_of(&child.heard().await);
    let note = format!(
        r#"{{"jsonrpc":"2.0","method":"n","params":{{"p":"{}","_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#,
        "x".repeat(1_000)
    );
    for _ in 0..20 {
        child.say(&note).await;
    }
    assert!(child.heard().await.contains("notifications/cancelled"));
    let mut slow = slow;
    let mut taken = 0;
    while slow.next().await.is_some() {
        taken += 1;
    }
    assert!((5..20).contains(&taken), "{taken}");
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_fails_leaves_no_child() {
    let family = Family::with(|limits| limits.sessions_max = 1);
    family.fail(true);
    assert_eq!(family.post(&[], INITIALIZE).await.status(), 502);
    family.fail(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The client leaves before the answer.
    let opening = tokio::time::timeout(Duration::from_millis(10), family.post(&[], INITIALIZE)).await;
    assert!(opening.is_err());
    let mut child = family.child().await;
    assert_eq!(child.heard().await, INITIALIZE);
    drop(child);
    tokio::time::sleep(Duration::from_mins(1)).await;
    family.session().await;
}

fn script(script: &str) -> (House, HttpProxy) {
    let house = House::new();
    let launch = Arc::new(ChildCommand::new("sh", ["-c", script]));
    let limits = ChildLimits { grace: Duration::from_millis(300), ..ChildLimits::default() };
    let server = ServerAddress::Command { launch, limits };
    let options = HttpOptions::new(house.guard.clone(), server, TaskId::new("process"));
    let proxy = HttpProxy::new(options).unwrap();
    (house, proxy)
}

async fn post(
    proxy: &HttpProxy,
    headers: &[(&str, &str)],
    body: &'static str,
) -> http::Response<holdpoint_mcp::http::ProxyBody> {
    let mut request = Request::builder().method(Method::POST).uri("http://localhost/");
    for (name, value) in [&[("content-type", "application/json"), ("accept", "*/*")], headers].concat() {
        request = request.header(name, value);
    }
    proxy.serve(request.body(Full::new(bytes::Bytes::from(body))).unwrap(), House::caller()).await
}

fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status
        .rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Two processes of each session: the one that was started, and one that it left behind.
const STUBBORN: &str = r#"sleep 1000 & read line; echo "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"pids\":\"$$ $!\"}}"; cat >/dev/null; wait"#;

#[tokio::test]
async fn no_process_is_left_when_a_session_ends_when_the_proxy_stops_and_when_it_is_dropped() {
    for way in ["delete", "stop", "drop"] {
        let (_house, proxy) = script(STUBBORN);
        let answer = post(&proxy, &[], INITIALIZE).await;
        let session = answer.headers()[NAME].to_str().unwrap().to_owned();
        let told: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
        let pids: Vec<String> =
            told["result"]["pids"].as_str().unwrap().split(' ').map(str::to_owned).collect();
        assert!(pids.iter().all(|pid| is_alive(pid)), "{pids:?}");
        match way {
            "delete" => {
                let request = Request::delete("http://localhost/").header(NAME, session);
                let request = request.body(Full::new(bytes::Bytes::new())).unwrap();
                assert_eq!(proxy.serve(request, House::caller()).await.status(), 204);
            }
            "stop" => {
                proxy.drain().await;
                proxy.stop().await;
                assert!(!pids.iter().any(|pid| is_alive(pid)), "still there after the stop: {pids:?}");
            }
            _ => drop(proxy),
        }
        let gone = async {
            while pids.iter().any(|pid| is_alive(pid)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect(way);
    }
}
