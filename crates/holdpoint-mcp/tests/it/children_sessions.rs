//! The handshake era in front of children: one for each session.

use crate::{
    family::{Family, INITIALIZE, Stream, text},
    house::{House, result_of, status, write_call},
};
use holdpoint_core::{HoldState, Principal};
use holdpoint_mcp::http::Authenticated;
use holdpoint_testkit::Verdict;
use http::{Method, Request};
use http_body_util::Full;
use std::time::Duration;

const NAME: &str = "mcp-session-id";

#[tokio::test(start_paused = true)]
async fn each_session_has_a_child_of_its_own_and_the_messages_are_its_own_bytes() {
    let family = Family::new();
    let (first, mut one) = family.session().await;
    let (second, mut two) = family.session().await;
    assert_ne!(first, second);
    assert!(first.len() >= 32, "{first}");
    // Some end lines at a carriage return, and would see a call in what follows.
    let call = write_call("1", "a");
    let note = format!("{{ \"jsonrpc\":\"2.0\", \"method\":\"notifications/x\", \"params\":[\r{call}\r]}}");
    assert_eq!(family.within(&first, note.clone()).await.status(), 202);
    assert_eq!(one.heard().await, note.replace('\r', " "));
    // The same ids in both, and each gets its own answer.
    for (id, big) in [("7", "123456789012345678901234567890"), (r#""7""#, "1.10")] {
        let ask = format!(
            "{{ \"id\":{id} ,\r\n\"jsonrpc\":\"2.0\",\"method\":\"x/y\",\"params\":{{\"n\":{big}}} }}"
        );
        let answer = |n| format!(r#"{{ "result":{{"n":{big},"c":{n}}}, "id": {id}, "jsonrpc":"2.0" }}"#);
        let answered =
            tokio::join!(family.within(&first, ask.clone()), family.within(&second, ask.clone()), async {
                assert_eq!(one.heard().await, ask.replace(['\r', '\n'], " "));
                assert_eq!(two.heard().await, ask.replace(['\r', '\n'], " "));
                two.say(&answer(2)).await;
                one.say(&answer(1)).await;
            });
        assert_eq!(answered.0.headers()["content-type"], "application/json");
        assert_eq!(text(answered.0).await, answer(1));
        assert_eq!(text(answered.1).await, answer(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_named_opened_and_ended_by_its_owner_alone() {
    let family = Family::new();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(family.post(&[], ping).await.status(), 400);
    assert_eq!(family.post(&[(NAME, "guessed")], ping).await.status(), 404);
    assert_eq!(family.send(Method::DELETE, &[(NAME, "guessed")], "").await.status(), 404);
    assert_eq!(family.send(Method::GET, &[("accept", "text/event-stream")], "").await.status(), 405);
    assert!(family.is_childless().await);
    let (session, mut child) = family.session().await;
    let theirs = Request::delete("http://localhost/").header(NAME, &session);
    let theirs = theirs.body(Full::new(bytes::Bytes::new())).unwrap();
    let mallory = Authenticated::standing(Principal::new("mallory"));
    assert_eq!(family.proxy.serve(theirs, mallory).await.status(), 404);
    assert_eq!(family.send(Method::DELETE, &[(NAME, &session)], "").await.status(), 204);
    assert_eq!(child.next().await, None, "its input is closed");
    assert_eq!(family.within(&session, ping).await.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn a_held_call_runs_once_when_approved_and_never_when_rejected() {
    let family = Family::new();
    let (session, mut child) = family.session().await;
    let serve = async {
        // The list of its tools is asked for and answered on the way.
        let line = child.heard().await;
        assert_eq!(line, write_call("2", "b"));
        child.say(&result_of("2", "written")).await;
        child
    };
    let client = async {
        family.house.approver.decide("THR-1", Verdict::Reject(None));
        let answer = family.within(&session, write_call("1", "a")).await;
        assert_eq!(status(&text(answer).await), "rejected");
        let mut stream = Stream::new(family.within(&session, write_call("2", "b")).await);
        family.house.approver.decide("THR-2", Verdict::Approve);
        assert_eq!(stream.message().await, result_of("2", "written"));
        assert_eq!(stream.next().await, None);
    };
    let ((), mut child) = tokio::join!(client, serve);
    assert_eq!(family.house.journal.states(), [HoldState::Rejected, HoldState::Done]);
    let quiet = tokio::time::timeout(Duration::from_secs(5), child.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_first_decides_the_form_of_the_answer() {
    let family = Family::new();
    let (session, mut child) = family.session().await;
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"_meta":{"progressToken":"p"}}}"#;
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}"#;
    let answer = result_of("1", "x");
    // Something else first.
    let (stream, ()) = tokio::join!(family.within(&session, ask), async {
        child.heard().await;
        child.say(progress).await;
        child.say(&answer).await;
    });
    let mut stream = Stream::new(stream);
    assert_eq!(stream.message().await, progress);
    assert_eq!(stream.message().await, answer);
    assert_eq!(stream.next().await, None);
    // Nothing for a while.
    let mut stream = Stream::new(family.within(&session, ask).await);
    child.heard().await;
    child.say(&answer).await;
    assert_eq!(stream.message().await, answer);
    // A client that takes no stream, or no JSON.
    for (accept, kind) in
        [("application/json", "application/json"), ("text/event-stream", "text/event-stream")]
    {
        let headers = [("content-type", "application/json"), ("accept", accept), (NAME, &*session)];
        let (answered, ()) = tokio::join!(family.send(Method::POST, &headers, ask), async {
            child.heard().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            child.say(&answer).await;
        });
        assert_eq!(answered.headers()["content-type"], kind);
        assert!(text(answered).await.contains(&answer));
    }
    let headers = [("content-type", "application/json"), ("accept", "text/html"), (NAME, &*session)];
    assert_eq!(family.send(Method::POST, &headers, ask).await.status(), 406);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_no_request_waits_for_its_stream_and_answers_get_back() {
    let family = Family::new();
    let (session, mut child) = family.session().await;
    let get = [("accept", "text/event-stream"), (NAME, &*session)];
    let roots = r#"{"jsonrpc":"2.0","id":"r1","method":"roots/list"}"#;
    child.say(roots).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut stream = Stream::new(family.send(Method::GET, &get, "").await);
    assert_eq!(stream.message().await, roots);
    assert_eq!(family.send(Method::GET, &get, "").await.status(), 409);
    let answer = r#"{"jsonrpc":"2.0","id":"r1","result":{"roots":[]}}"#;
    assert_eq!(family.within(&session, answer).await.status(), 202);
    assert_eq!(child.heard().await, answer);
    // With a call under way as well: only its own progress belongs to it.
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"_meta":{"progressToken":7}}}"#;
    let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#;
    let (called, ()) = tokio::join!(family.within(&session, ask), async {
        child.heard().await;
        child.say(log).await;
        child.say(progress).await;
        child.say(&result_of("1", "x")).await;
    });
    let mut called = Stream::new(called);
    assert_eq!(called.message().await, progress);
    assert_eq!(called.message().await, result_of("1", "x"));
    assert_eq!(stream.message().await, log);
    // A client without that stream is asked on the stream of its call.
    drop(stream);
    let (called, ()) = tokio::join!(family.within(&session, ask), async {
        child.heard().await;
        child.say(roots).await;
    });
    let mut called = Stream::new(called);
    assert_eq!(called.message().await, roots);
    assert_eq!(family.send(Method::GET, &get, "").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn batches_pass_where_the_revision_has_them() {
    let family = Family::new();
    let (session, mut child) = family.session().await;
    let headers = [(NAME, &*session), ("mcp-protocol-version", "2025-03-26")];
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"x"}, {"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":"2","method":"y"}]"#;
    let (answer, ()) = tokio::join!(family.post(&headers, batch), async {
        assert_eq!(child.heard().await, batch);
        child.say(&format!("[{}, {}]", result_of(r#""2""#, "b"), result_of("1", "a"))).await;
    });
    let mut stream = Stream::new(answer);
    assert_eq!(stream.message().await, result_of(r#""2""#, "b"));
    assert_eq!(stream.message().await, result_of("1", "a"));
    assert_eq!(stream.next().await, None);
    let twice = r#"[{"jsonrpc":"2.0","id":1,"method":"x"},{"jsonrpc":"2.0","id":1.0,"method":"y"}]"#;
    assert_eq!(family.post(&headers, twice).await.status(), 400);
}

#[tokio::test(start_paused = true)]
async fn one_id_is_under_way_once_and_a_client_that_leaves_withdraws_nothing() {
    let family = Family::new();
    let (session, mut child) = family.session().await;
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"x/y"}"#;
    let stream = family.within(&session, ask).await;
    assert_eq!(family.within(&session, ask).await.status(), 400);
    drop(stream);
    assert_eq!(child.heard().await, ask);
    child.say(&result_of("1", "late")).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (answer, ()) = tokio::join!(family.within(&session, ask), async {
        assert_eq!(child.heard().await, ask, "nothing was told in between");
        child.say(&result_of("1", "now")).await;
    });
    assert_eq!(text(answer).await, result_of("1", "now"));
    // Cancelled in so many words: the server may never answer.
    let mut stream = Stream::new(family.within(&session, ask).await);
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(family.within(&session, cancel).await.status(), 202);
    assert_eq!((child.heard().await, child.heard().await), (ask.to_owned(), cancel.to_owned()));
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn there_are_so_many_sessions_and_idle_ones_end() {
    let idle = Duration::from_mins(10);
    let family = Family::with(|limits| {
        limits.sessions_max = 2;
        limits.idle = idle;
    });
    let (used, mut child) = family.session().await;
    let (_unused, mut unused) = family.session().await;
    assert_eq!(family.post(&[], INITIALIZE).await.status(), 503);
    // A call under way is use.
    let mut stream = Stream::new(family.within(&used, r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#).await);
    tokio::time::sleep(idle * 3).await;
    assert_eq!(unused.next().await, None);
    drop(unused);
    let _third = family.session().await;
    child.heard().await;
    child.say(&result_of("1", "x")).await;
    assert_eq!(stream.message().await, result_of("1", "x"));
    let get = [("accept", "text/event-stream"), (NAME, &*used)];
    let listening = family.send(Method::GET, &get, "").await;
    assert!(tokio::time::timeout(idle * 3, child.next()).await.is_err(), "a stream is use");
    drop(listening);
    assert!(tokio::time::timeout(idle * 3, child.next()).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_call_is_held_is_in_use() {
    let family = Family::with(|limits| limits.idle = Duration::from_secs(5));
    let (session, mut child) = family.session().await;
    let serve = tokio::spawn(async move {
        let line = child.heard().await;
        child.say(&result_of("1", "written")).await;
        (line, child)
    });
    let mut stream = Stream::new(family.within(&session, write_call("1", "a")).await);
    tokio::time::sleep(Duration::from_secs(40)).await;
    family.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(stream.message().await, result_of("1", "written"));
    let (line, mut child) = serve.await.unwrap();
    assert_eq!(line, write_call("1", "a"));
    assert_eq!(child.next().await, None);
}

/// The front forgets sessions where there are too many, and takes whoever comes next for the owner. The children do not.
#[tokio::test(start_paused = true)]
async fn a_session_that_the_front_forgot_is_still_its_owners() {
    let family = Family::new();
    let (session, mut child) = family.session().await;
    let send = async |principal: &Principal, method: &Method, kind: &str, session: &str| {
        let request = Request::builder().method(method).uri("http://localhost/servers/files/mcp");
        let request = request.header("content-type", kind).header("accept", "*/*").header(NAME, session);
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let request = request.body(Full::new(bytes::Bytes::from(ping))).unwrap();
        family.proxy.serve(request, Authenticated::standing(principal.clone())).await
    };
    for n in 0..4_200 {
        // Refused for what it is, after it was looked up whose it is.
        let owner = House::principal();
        assert_eq!(send(&owner, &Method::POST, "text/plain", &n.to_string()).await.status(), 415);
    }
    let mallory = Principal::new("mallory");
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let answer = send(&mallory, &method, "application/json", &session).await;
        assert_eq!(answer.status(), 404, "{method}");
        assert!(text(answer).await.contains("there is no such session"), "it was the front that refused");
    }
    assert!(
        tokio::time::timeout(Duration::from_secs(1), child.next()).await.is_err(),
        "it lives, undisturbed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_is_withdrawn_once_however_often_it_is_said() {
    let family = Family::new();
    let (session, mut child) = family.session().await;
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"x/y"}"#;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let (answer, ()) = tokio::join!(family.within(&session, ask), async {
        assert_eq!(child.heard().await, ask);
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        for _ in 0..500 {
            assert_eq!(family.within(&session, cancel).await.status(), 202);
            assert_eq!(child.heard().await, cancel);
        }
        assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() < before + 100);
        child.say(r#"{"id":1,"result":{}}"#).await;
    });
    assert_eq!(text(answer).await, r#"{"id":1,"result":{}}"#);
}
