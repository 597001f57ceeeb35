//! Stopping in order: what is held is told so, what runs comes to its end, and nobody is left behind.

use crate::{
    house::{House, result_of, status, write_call},
    pipe::Pipes,
    web::{Stream, Web, text},
};
use futures_util::FutureExt as _;
use holdpoint_core::{HoldState, TaskId};
use holdpoint_mcp::{
    Action,
    stdio::{ChildCommand, ExitReason, StdioOptions, run},
};
use holdpoint_testkit::Verdict;
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, duplex},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

const READ: &str = r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"read"}}"#;

fn stoppable() -> (Pipes, CancellationToken) {
    let stop = CancellationToken::new();
    let token = stop.clone();
    (Pipes::with(House::new(), |options| options.stop = token), stop)
}

#[tokio::test(start_paused = true)]
async fn held_calls_are_told_to_come_back_and_new_ones_are_refused() {
    let (mut pipes, stop) = stoppable();
    pipes.house.set("read", Action::Pass);
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    let start = Instant::now();
    pipes.house.guard.gate.close();
    assert_eq!(status(&pipes.heard().await), "pending");
    for call in [write_call("2", "b"), READ.to_owned()] {
        pipes.say(&call).await;
        let answer = pipes.heard().await;
        assert_eq!(status(&answer), "unavailable");
        assert!(answer.contains("about to stop"), "{answer}");
    }
    stop.cancel();
    pipes.server_saw_the_end().await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    pipes.close_server().await;
    assert_eq!(pipes.relay.await.unwrap(), ExitReason::Stopped);
    assert_eq!(pipes.house.journal.states(), [HoldState::Pending]);
}

/// The answer that the stop itself brings about is delivered too.
#[tokio::test(start_paused = true)]
async fn a_held_call_is_answered_when_both_come_at_once() {
    let (mut pipes, stop) = stoppable();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.house.guard.gate.close();
    stop.cancel();
    assert_eq!(status(&pipes.heard().await), "pending");
    pipes.server_saw_the_end().await;
    assert_eq!(pipes.relay.await.unwrap(), ExitReason::Stopped);
}

#[tokio::test(start_paused = true)]
async fn what_runs_comes_to_its_end() {
    let (mut pipes, stop) = stoppable();
    pipes.house.set("read", Action::Pass);
    pipes.house.approver.decide_all(Verdict::Approve);
    pipes.say(&write_call("1", "a")).await;
    assert_eq!(pipes.seen().await, write_call("1", "a"));
    pipes.say(READ).await;
    assert_eq!(pipes.seen().await, READ);
    pipes.house.guard.gate.close();
    stop.cancel();
    tokio::time::sleep(Duration::from_secs(4)).await;
    pipes.answer(&result_of("1", "x")).await;
    assert_eq!(pipes.heard().await, result_of("1", "x"));
    // Nobody keeps a record of this one, and it is waited for all the same.
    tokio::time::sleep(Duration::from_secs(4)).await;
    pipes.server_is_kept();
    pipes.answer(&result_of("9", "y")).await;
    assert_eq!(pipes.heard().await, result_of("9", "y"));
    pipes.server_saw_the_end().await;
    assert_eq!(pipes.relay.await.unwrap(), ExitReason::Stopped);
    let holds = pipes.house.journal.holds();
    assert_eq!((holds[0].state, holds[0].delivered), (HoldState::Done, true));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_unknown() {
    let (mut pipes, stop) = stoppable();
    pipes.house.approver.decide_all(Verdict::Approve);
    pipes.say(&write_call("1", "a")).await;
    pipes.seen().await;
    let start = Instant::now();
    pipes.house.guard.gate.close();
    stop.cancel();
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    assert!((10..=20).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(pipes.relay.await.unwrap(), ExitReason::Stopped);
    assert_eq!(pipes.house.journal.states(), [HoldState::Unknown]);
}

/// What a peer owes and was excused from is not waited for.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_was_withdrawn() {
    let (mut pipes, stop) = stoppable();
    pipes.house.set("read", Action::Pass);
    pipes.say(READ).await;
    pipes.seen().await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#;
    pipes.say(cancel).await;
    assert_eq!(pipes.seen().await, cancel);
    let start = Instant::now();
    stop.cancel();
    pipes.server_saw_the_end().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

/// A launcher ends with its input, and leaves behind what it launched.
#[tokio::test]
async fn what_a_server_started_ends_with_it() {
    for script in ["sleep 1000 & echo $!; cat >/dev/null", "trap '' TERM; sleep 1000 & echo $!; wait"] {
        let house = House::new();
        let mut options = StdioOptions::new(house.guard.clone(), House::principal(), TaskId::new("p"));
        options.grace = Duration::from_millis(200);
        let stop = options.stop.clone();
        let (_client, client_in) = duplex(64);
        let (client_out, heard) = duplex(1 << 10);
        let command = ChildCommand::new("sh", ["-c", script]);
        let running = tokio::spawn(async move { run(options, &command, client_in, client_out).await });
        let mut pid = String::new();
        BufReader::new(heard).read_line(&mut pid).await.unwrap();
        assert!(is_alive(pid.trim()), "{pid}");
        stop.cancel();
        assert_eq!(running.await.unwrap().unwrap(), ExitReason::Stopped);
        until_gone(pid.trim()).await;
    }
}

/// A relay that is dropped half-way ends its server as well.
#[tokio::test]
async fn a_relay_that_is_dropped_leaves_nobody_behind() {
    let house = House::new();
    let options = StdioOptions::new(house.guard.clone(), House::principal(), TaskId::new("p"));
    let (_client, client_in) = duplex(64);
    let (client_out, heard) = duplex(1 << 10);
    let command = ChildCommand::new("sh", ["-c", "sleep 1000 & echo $!; wait"]);
    let running = tokio::spawn(async move { run(options, &command, client_in, client_out).await });
    let mut pid = String::new();
    BufReader::new(heard).read_line(&mut pid).await.unwrap();
    assert!(is_alive(pid.trim()), "{pid}");
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    until_gone(pid.trim()).await;
}

/// A process that was killed may be seen for a moment longer.
async fn until_gone(pid: &str) {
    let gone = async {
        while is_alive(pid) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it is killed");
}

/// Whether the process runs; one that has ended and that nobody has noticed yet does not.
fn is_alive(pid: &str) -> bool {
    let listed = std::process::Command::new("ps").args(["-o", "stat=", "-p", pid]).output().unwrap();
    let state = String::from_utf8(listed.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

#[tokio::test]
async fn over_http_held_calls_are_told_and_then_nothing_is_under_way() {
    let web = Web::with(|options| options.early = Duration::from_millis(20)).await;
    web.house.set("read", Action::Pass);
    let mut stream = Stream::new(web.post(write_call("1", "a")).await);
    assert!(stream.next().await.unwrap().starts_with(':'));
    assert!(web.proxy.drain().now_or_never().is_none(), "it is held");
    web.house.guard.gate.close();
    assert_eq!(status(&stream.message().await), "pending");
    assert_eq!(stream.next().await, None);
    assert_eq!(status(&text(web.post(READ).await).await), "unavailable");
    drained(&web).await;
    web.server_saw_nothing().await;
    assert_eq!(web.house.journal.states(), [HoldState::Pending]);
}

#[tokio::test]
async fn over_http_what_runs_comes_to_its_end() {
    for action in [Action::Gate, Action::Pass] {
        let web = Web::new().await;
        web.house.set("write", action);
        web.house.approver.decide_all(Verdict::Approve);
        let (answer, ()) = tokio::join!(web.post(write_call("1", "a")), async {
            let asked = web.asked().await;
            web.house.guard.gate.close();
            assert!(web.proxy.drain().now_or_never().is_none(), "it runs");
            asked.json(result_of("1", "x"));
        });
        assert_eq!(text(answer).await, result_of("1", "x"));
        drained(&web).await;
        let delivered: Vec<_> = web.house.journal.holds().iter().map(|hold| hold.delivered).collect();
        assert_eq!(delivered, if action == Action::Gate { vec![true] } else { vec![] });
    }
}

/// An answer that is still being given is under way, whoever was asked.
#[tokio::test]
async fn over_http_an_answer_is_under_way_until_it_is_out() {
    for action in [Action::Gate, Action::Pass] {
        let web = Web::new().await;
        web.house.set("write", action);
        web.house.approver.decide_all(Verdict::Approve);
        let (answer, server) =
            tokio::join!(web.post(write_call("1", "a")), async { web.asked().await.stream() });
        let mut stream = Stream::new(answer);
        web.house.guard.gate.close();
        let early = tokio::time::timeout(Duration::from_millis(300), web.proxy.drain()).await;
        assert!(early.is_err(), "it is being answered");
        server.send(format!("data: {}\n\n", result_of("1", "x")).into()).await.unwrap();
        drop(server);
        assert_eq!(stream.message().await, result_of("1", "x"));
        assert_eq!(stream.next().await, None);
        drained(&web).await;
    }
}

/// The client has left; what the tool says is recorded before the process ends.
#[tokio::test]
async fn over_http_a_run_that_nobody_waits_for_is_recorded() {
    let web = Web::with(|options| options.early = Duration::from_millis(20)).await;
    let stream = Stream::new(web.post(write_call("1", "a")).await);
    web.house.approver.decide("THR-1", Verdict::Approve);
    let asked = web.asked().await;
    drop(stream);
    web.house.guard.gate.close();
    // Long enough for everybody to notice that the client is gone.
    let early = tokio::time::timeout(Duration::from_millis(300), web.proxy.drain()).await;
    assert!(early.is_err(), "it runs");
    asked.json(result_of("1", "x"));
    drained(&web).await;
    let holds = web.house.journal.holds();
    assert_eq!((holds[0].state, holds[0].delivered), (HoldState::Done, false));
}

async fn drained(web: &Web) {
    tokio::time::timeout(Duration::from_secs(20), web.proxy.drain()).await.expect("nothing is under way");
}
