//! Answers that get lost on the way back: unknown once, told in the same words, and never run again.

use crate::{
    house::{House, result_of, status, write_call},
    pipe::Pipes,
    web::{Web, server_at, text},
};
use holdpoint_core::{EffectState, HoldState};
use holdpoint_mcp::{Action, stdio::ExitReason};
use holdpoint_testkit::Verdict;
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Where a server falls silent, by what it still says.
const CUTS: [&str; 9] = [
    "",
    "HTTP/1.1 200 OK\r\ncontent-",
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 60\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 60\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":",
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n27\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":1}}\r\n",
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"resu",
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n8\r\ndata: {\"",
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\ndata: {",
];

/// A server that lists its tools, and ends the connection after `cut` where a tool is called. How often one was.
async fn cutting(cut: &'static str) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, cut, Arc::clone(&counted)));
        }
    });
    (address, runs)
}

async fn serve(mut stream: TcpStream, cut: &'static str, runs: Arc<AtomicUsize>) {
    while let Some(body) = request(&mut stream).await {
        if body["method"] == "tools/list" {
            let page = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"tools":[{{"name":"write"}}]}}}}"#,
                body["id"]
            );
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            let answer = format!("{head}content-length: {}\r\n\r\n{page}", page.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        } else {
            runs.fetch_add(1, Ordering::SeqCst);
            stream.write_all(cut.as_bytes()).await.unwrap();
            return;
        }
    }
}

async fn request(stream: &mut TcpStream) -> Option<Value> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            let (start, length) = (head.len() + 4, length.parse::<usize>().unwrap());
            if read.len() >= start + length {
                return serde_json::from_slice(&read[start..]).ok();
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await.ok()? {
            0 => return None,
            count => read.extend_from_slice(&chunk[..count]),
        }
    }
}

/// The refusal without the id that it answers to, in a JSON body or at the end of a stream.
fn told(body: &str) -> Value {
    let last = body
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("data: ").filter(|data| data.contains("isError")));
    let message = last.unwrap_or(body);
    assert_eq!(status(message), "outcome_unknown", "{body}");
    let mut message: Value = serde_json::from_str(message).unwrap();
    message["result"].take()
}

fn unknowns(house: &House) -> usize {
    house.recorder.steps().iter().filter(|step| *step == "OutcomeUnknown").count()
}

#[tokio::test]
async fn an_answer_cut_off_anywhere_is_unknown_once() {
    for cut in CUTS {
        for early in [Duration::ZERO, Duration::from_mins(1)] {
            let (server, runs) = cutting(cut).await;
            let web = Web::with(|options| {
                options.server = server_at(&format!("http://{server}/"));
                options.early = early;
            })
            .await;
            web.house.approver.decide_all(Verdict::Approve);
            let first = told(&text(web.post(write_call("1", "a")).await).await);
            assert_eq!(web.house.journal.states(), [HoldState::Unknown], "{cut}");
            let second = told(&text(web.post(write_call("2", "a")).await).await);
            assert_eq!(first, second, "{cut}");
            assert_eq!(runs.load(Ordering::SeqCst), 1, "{cut}");
            assert_eq!(unknowns(&web.house), 1, "{cut}");
            assert_eq!(web.house.approver.opened().len(), 1, "{cut}");
        }
    }
}

#[tokio::test]
async fn an_effect_whose_answer_is_cut_off_is_unknown_once() {
    for cut in CUTS {
        let (server, runs) = cutting(cut).await;
        let web = Web::with(|options| options.server = server_at(&format!("http://{server}/"))).await;
        web.house.set("write", Action::Once);
        let first = told(&text(web.post(write_call("1", "a")).await).await);
        assert_eq!(web.house.journal.runs()[0].state, EffectState::Unknown, "{cut}");
        let second = told(&text(web.post(write_call("2", "a")).await).await);
        assert_eq!(first, second, "{cut}");
        assert_eq!((runs.load(Ordering::SeqCst), unknowns(&web.house)), (1, 1), "{cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_with_the_call_in_hand_leaves_it_unknown() {
    for action in [Action::Gate, Action::Once] {
        let mut pipes = Pipes::new();
        pipes.house.set("write", action);
        pipes.house.approver.decide_all(Verdict::Approve);
        pipes.say(&write_call("1", "a")).await;
        assert_eq!(pipes.seen().await, write_call("1", "a"));
        pipes.close_server().await;
        let first = told(&pipes.heard().await);
        assert_eq!(pipes.relay.await.unwrap(), ExitReason::ServerEnded { status: None });
        // Its successor is not asked to do it again.
        let mut again = Pipes::with(pipes.house, |_| {});
        again.say(&write_call("2", "a")).await;
        assert_eq!(told(&again.heard().await), first);
        again.server_saw_nothing().await;
        assert_eq!(unknowns(&again.house), 1);
    }
}

/// The client is killed while the tool runs: the answer is kept, and the same call gets it.
#[tokio::test(start_paused = true)]
async fn a_client_that_dies_in_a_run_finds_the_result_later() {
    let mut pipes = Pipes::new();
    pipes.house.approver.decide_all(Verdict::Approve);
    pipes.say(&write_call("1", "a")).await;
    pipes.seen().await;
    pipes.kill_client().await;
    // Longer than it takes to end a server, shorter than what a run is given.
    tokio::time::sleep(Duration::from_secs(8)).await;
    pipes.server_is_kept();
    pipes.answer(&result_of("1", "done")).await;
    assert_eq!(pipes.relay.await.unwrap(), ExitReason::ClientClosed);
    let holds = pipes.house.journal.holds();
    assert_eq!((holds[0].state, holds[0].delivered), (HoldState::Done, false));
    let mut again = Pipes::with(pipes.house, |_| {});
    again.say(&write_call("2", "a")).await;
    assert_eq!(again.heard().await, result_of("2", "done"));
    again.server_saw_nothing().await;
    assert_eq!(again.house.approver.opened().len(), 1);
}
