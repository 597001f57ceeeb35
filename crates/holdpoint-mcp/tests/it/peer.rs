//! Our own client and server: what we lean on in rmcp, and both of them with the relay between.

use crate::{house::House, web::Web};
use holdpoint_core::{HoldState, TaskId};
use holdpoint_mcp::{
    Action,
    peer::{Client, serve_notes},
    stdio::{ChildCommand, ExitReason, StdioError, StdioOptions, relay, run},
};
use holdpoint_testkit::Verdict;
use serde_json::{Map, Value, json};
use std::{path::PathBuf, time::Duration};
use tokio::io::{AsyncReadExt as _, duplex, split};

fn arguments(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("not an object: {value}") };
    map
}

/// Client, relay, notes.
async fn notes(house: &House, folder: PathBuf, told: Option<tokio::sync::mpsc::Sender<String>>) -> Client {
    let (client, client_side) = duplex(1 << 16);
    let (server, server_side) = duplex(1 << 16);
    let options = StdioOptions::new(house.guard.clone(), House::principal(), TaskId::new("demo"));
    tokio::spawn(relay(options, split(client_side), split(server_side)));
    tokio::spawn(async move {
        let (input, output) = split(server);
        serve_notes(&folder, input, output).await
    });
    let (output, input) = split(client);
    Client::over_pipe(output, input, told).await.unwrap()
}

#[tokio::test]
async fn four_calls_to_the_notes_server() {
    let (house, folder) = (House::new(), tempfile::tempdir().unwrap());
    let (told, mut progress) = tokio::sync::mpsc::channel(8);
    house.set("read_note", Action::Pass);
    let client = notes(&house, folder.path().to_owned(), Some(told)).await;
    let names: Vec<_> = client.tools().await.unwrap().iter().map(|tool| tool["name"].to_string()).collect();
    assert_eq!(names, [r#""read_note""#, r#""write_note""#, r#""delete_note""#, r#""issue_refund""#]);

    let missing = client.call("read_note", arguments(json!({"name": "a"}))).await.unwrap();
    assert!(missing.is_error && missing.decision.is_none());
    let unfit = client.call("write_note", arguments(json!({"name": "../a", "text": "x"}))).await.unwrap();
    assert_eq!(unfit.decision.unwrap()["status"], "invalid_arguments");

    let (written, ()) =
        tokio::join!(client.call("write_note", arguments(json!({"name": "a", "text": "x"}))), async {
            // rmcp's client asks for progress by itself; this is how the demo shows the link.
            assert!(progress.recv().await.unwrap().contains(crate::house::REVIEW_URL));
            assert!(!folder.path().join("a.txt").exists());
            house.approver.decide("THR-1", Verdict::Approve);
        });
    assert_eq!(written.unwrap().text, "written");
    assert_eq!(std::fs::read_to_string(folder.path().join("a.txt")).unwrap(), "x");
    assert_eq!(client.call("read_note", arguments(json!({"name": "a"}))).await.unwrap().text, "x");

    house.approver.decide_all(Verdict::Reject(Some("too much".into())));
    let refund = json!({"order_id": "7", "amount": 900});
    let refused = client.call("issue_refund", arguments(refund)).await.unwrap();
    assert!(refused.is_error && refused.text.contains("too much"));
    assert_eq!(refused.decision.unwrap()["status"], "rejected");
    assert!(!folder.path().join("refunds.jsonl").exists());
    assert_eq!(house.journal.states(), [HoldState::Done, HoldState::Rejected]);
    client.close().await;
}

/// Numbers cross rmcp with their own text; a server that is built on it sees what was approved.
#[tokio::test]
async fn numbers_keep_their_text_through_rmcp() {
    let (house, folder) = (House::new(), tempfile::tempdir().unwrap());
    house.set("issue_refund", Action::Pass);
    let client = notes(&house, folder.path().to_owned(), None).await;
    let exact = r#"{"order_id":"7","amount":12345678901234567890.10}"#;
    client.call("issue_refund", serde_json::from_str(exact).unwrap()).await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("refunds.jsonl")).unwrap().trim(), exact);
}

#[tokio::test]
async fn our_client_speaks_http() {
    let web = Web::new().await;
    let serve = async {
        loop {
            let asked = web.asked().await;
            let message: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            let id = &message["id"];
            match message["method"].as_str() {
                Some("initialize") => {
                    let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}});
                    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
                    asked.answer(
                        200,
                        &[("content-type", "application/json"), ("mcp-session-id", "s")],
                        answer,
                    );
                }
                Some("tools/call") => {
                    assert_eq!(asked.headers["mcp-session-id"], "s");
                    assert_eq!(asked.headers["mcp-protocol-version"], "2025-11-25");
                    let result = json!({"content": [{"type": "text", "text": "done"}]});
                    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
                    asked.stream().send(format!("data: {answer}\n\n").into()).await.unwrap();
                }
                Some(_) => asked.answer(202, &[], ""),
                None => {
                    asked.answer(204, &[], "");
                    return;
                }
            }
        }
    };
    let talk = async {
        let client = Client::over_http(web.url.parse().unwrap(), http::HeaderMap::new(), None).await.unwrap();
        let call = client.call("write", arguments(json!({"path": "a"})));
        let (done, ()) = tokio::join!(call, async {
            web.house.approver.until_waiting(1).await;
            web.house.approver.decide("THR-1", Verdict::Approve);
        });
        assert_eq!(done.unwrap().text, "done");
        client.close().await;
    };
    tokio::join!(serve, talk);
}

/// A child gets what programs need, what it is configured with, and none of our secrets.
#[tokio::test]
async fn a_child_has_a_clean_environment() {
    let house = House::new();
    let mut command = ChildCommand::new("env", [] as [&str; 0]);
    command.environment.insert("SERVER_TOKEN".into(), "t".into());
    let (_client, client_in) = duplex(64);
    let (client_out, mut heard) = duplex(1 << 16);
    let options = StdioOptions::new(house.guard.clone(), House::principal(), TaskId::new("p"));
    let reason = run(options, &command, client_in, client_out).await.unwrap();
    let ExitReason::ServerEnded { status: Some(status) } = reason else { panic!("{reason:?}") };
    assert!(status.success());
    let mut text = String::new();
    heard.read_to_string(&mut text).await.unwrap();
    let names: Vec<_> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(names.contains(&"SERVER_TOKEN") && names.contains(&"PATH"), "{text}");
    let known = ["PATH", "HOME", "LANG", "TMPDIR", "USER", "SERVER_TOKEN"];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert!(std::env::vars().count() > known.len(), "the test has more than that to hide");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_named() {
    let house = House::new();
    let options = StdioOptions::new(house.guard.clone(), House::principal(), TaskId::new("p"));
    let command = ChildCommand::new("holdpoint-no-such-command", ["; rm -rf /"]);
    let failed = run(options, &command, tokio::io::empty(), tokio::io::sink()).await.unwrap_err();
    let StdioError::Start { .. } = &failed else { panic!("{failed:?}") };
    assert_eq!(failed.to_string(), "`holdpoint-no-such-command` cannot be started");
}

/// A server that does not end by itself is asked, with its children.
#[tokio::test]
async fn a_child_that_stays_is_ended() {
    let house = House::new();
    let mut options = StdioOptions::new(house.guard.clone(), House::principal(), TaskId::new("p"));
    options.grace = Duration::from_millis(50);
    let command = ChildCommand::new("sleep", ["1000"]);
    let reason = run(options, &command, tokio::io::empty(), tokio::io::sink()).await.unwrap();
    assert_eq!(reason, ExitReason::ClientClosed);
}
