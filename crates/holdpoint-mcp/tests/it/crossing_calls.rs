//! Tool calls of a client on a pipe to a server that speaks HTTP.

use crate::{
    house::{House, code, decision, result_of, status, write_call},
    linked::Linked,
};
use holdpoint_core::HoldState;
use holdpoint_mcp::{Action, stdio::ExitReason};
use holdpoint_testkit::Verdict;

#[tokio::test]
async fn an_approved_call_runs_once_and_a_rejected_one_never() {
    let mut linked = Linked::in_session(Some("s")).await;
    linked.say(&write_call("1", "a")).await;
    linked.house.approver.until_waiting(1).await;
    linked.server_saw_nothing().await;
    linked.house.approver.decide("THR-1", Verdict::Approve);
    let asked = linked.asked().await;
    assert_eq!(asked.text(), write_call("1", "a"));
    assert_eq!(asked.headers["mcp-session-id"], "s");
    asked.json(result_of("1", "done"));
    assert_eq!(linked.heard().await, result_of("1", "done"));
    assert_eq!(linked.house.journal.states(), [HoldState::Done]);

    linked.say(&write_call("2", "b")).await;
    linked.house.approver.until_waiting(1).await;
    linked.house.approver.decide("THR-2", Verdict::Reject(Some("no".into())));
    assert_eq!(status(&linked.heard().await), "rejected");
    linked.server_saw_nothing().await;
}

/// However its answer breaks: unknown, told once, and the call is not sent again.
#[tokio::test]
async fn a_lost_answer_is_unknown_and_not_sent_again() {
    let json = ("content-type", "application/json");
    for how in 0..6 {
        let mut linked = Linked::in_session(None).await;
        linked.house.approver.decide_all(Verdict::Approve);
        linked.say(&write_call("1", "a")).await;
        let asked = linked.asked().await;
        match how {
            0 => drop(asked.stream()),
            1 => asked.answer(500, &[], ""),
            2 => asked.answer(404, &[], ""),
            3 => asked.answer(200, &[json], "{"),
            4 => asked.answer(202, &[], ""),
            _ => asked.answer(200, &[json], result_of("2", "another's")),
        }
        let mut first = linked.heard().await;
        if how == 5 {
            // What is no answer to anything passes, as it does on a pipe.
            first = linked.heard().await;
        }
        assert_eq!(status(&first), "outcome_unknown", "{how}");
        assert_eq!(linked.house.journal.states(), [HoldState::Unknown], "{how}");
        linked.say(&write_call("2", "a")).await;
        assert_eq!(decision(&linked.heard().await), decision(&first), "{how}");
        linked.server_saw_nothing().await;
    }
}

#[tokio::test]
async fn a_call_that_reached_nobody_did_not_run() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut linked = Linked::with(House::new(), |_, server| {
        *server = crate::web::server_at(&format!("http://{nobody}/"));
    })
    .await;
    // Without its tools, nobody is asked.
    linked.say(&write_call("1", "a")).await;
    assert_eq!(code(&linked.heard().await), -32603);
    assert_eq!(linked.house.approver.opened().len(), 0);
}

#[tokio::test]
async fn a_call_that_nobody_is_asked_about_passes_and_its_loss_is_told() {
    let mut linked = Linked::in_session(None).await;
    linked.house.set("write", Action::Pass);
    for id in ["1", "2"] {
        linked.say(&write_call(id, "a")).await;
        let asked = linked.asked().await;
        assert_eq!(asked.text(), write_call(id, "a"));
        asked.json(result_of(id, "done"));
        assert_eq!(linked.heard().await, result_of(id, "done"));
    }
    linked.say(&write_call("3", "a")).await;
    drop(linked.asked().await.stream());
    assert_eq!(status(&linked.heard().await), "outcome_unknown");
    linked.say(&write_call("4", "a")).await;
    linked.asked().await.answer(503, &[], "");
    let told = linked.heard().await;
    assert!(told.contains("HTTP status 503") && told.contains("is not known"), "{told}");
    linked.say(&write_call("5", "a")).await;
    linked.asked().await.answer(401, &[], "");
    assert_eq!(code(&linked.heard().await), -32603);
}

/// The stateless era: the headers are those of the frozen body, arguments that the tool wants there among them.
#[tokio::test]
async fn a_stateless_call_repeats_its_arguments_in_headers() {
    let mut linked = Linked::new().await;
    *linked.tools.lock().unwrap() = r#"[{"name":"wrïte","inputSchema":{"type":"object","properties":{
        "path":{"type":"string","x-mcp-header":"Path"},
        "n":{"type":"integer","x-mcp-header":"Count"},
        "deep":{"type":"object","properties":{"on":{"type":"boolean","x-mcp-header":"Deep-On"}}},
        "none":{"type":["string","null"],"x-mcp-header":"None"},
        "odd":{"type":"string","x-mcp-header":"not a name"}}}}]"#
        .to_owned();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wrïte","arguments":{"path":"a é","n":7,"deep":{"on":true},"none":null,"odd":"x"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    linked.house.approver.decide_all(Verdict::Approve);
    linked.say(call).await;
    let asked = linked.asked().await;
    assert_eq!(asked.text(), call);
    let header = |name: &str| asked.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(header("mcp-method"), Some("tools/call"));
    assert_eq!(header("mcp-name"), Some("=?base64?d3LDr3Rl?="));
    assert_eq!(header("mcp-param-path"), Some("=?base64?YSDDqQ==?="));
    assert_eq!(header("mcp-param-count"), Some("7"));
    assert_eq!(header("mcp-param-deep-on"), Some("true"));
    assert_eq!(asked.headers.keys().filter(|name| name.as_str().starts_with("mcp-param-")).count(), 3);
    asked.json(result_of("1", "done"));
    assert_eq!(linked.heard().await, result_of("1", "done"));
}

/// Withdrawn while it runs, its stream is closed: what came of it is not known.
#[tokio::test]
async fn a_stateless_call_that_is_withdrawn_while_it_runs_is_unknown() {
    let mut linked = Linked::new().await;
    linked.house.approver.decide_all(Verdict::Approve);
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"path":"a"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    linked.say(call).await;
    let stream = linked.asked().await.stream();
    linked.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    stream.closed().await;
    assert_eq!(status(&linked.heard().await), "outcome_unknown");
    assert_eq!(linked.house.journal.states(), [HoldState::Unknown]);
    linked.server_saw_nothing().await;
}

/// Its client leaves while it runs: it is seen to its end, and the result is kept.
#[tokio::test]
async fn a_run_is_seen_to_its_end_when_the_client_leaves() {
    let mut linked = Linked::in_session(Some("s")).await;
    linked.house.approver.decide_all(Verdict::Approve);
    linked.say(&write_call("1", "a")).await;
    let asked = linked.asked().await;
    linked.close_client();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    asked.json(result_of("1", "done"));
    let last = linked.asked().await;
    assert_eq!(last.method, http::Method::DELETE);
    last.answer(200, &[], "");
    assert_eq!(linked.heard().await, result_of("1", "done"));
    let journal = std::sync::Arc::clone(&linked.house.journal);
    assert_eq!(linked.ended().await, ExitReason::ClientClosed);
    assert_eq!(journal.states(), [HoldState::Done]);
}
