//! Tool calls over stdio: every refusal leaves the server without a call, every approval sends exactly one.

use crate::{
    house::{REVIEW_URL, code, result_of, status, write_call},
    pipe::Pipes,
};
use holdpoint_core::HoldState;
use holdpoint_mcp::{Action, stdio::ExitReason};
use holdpoint_testkit::{SubmitScript, Verdict};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn an_approved_call_runs_once_with_its_own_bytes() {
    let mut pipes = Pipes::new();
    let call = r#" {"params": {"arguments" : { "n":1.0,"path":"ä\/\u0041" }, "name":"write"}, "id":"7/a", "method":"tools\/call","jsonrpc":"2.0"}"#;
    pipes.say(call).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.server_saw_nothing().await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, call);
    // A server may spell the id in another way.
    let answer = result_of(r#""7\/a""#, "done");
    pipes.answer(&answer).await;
    assert_eq!(pipes.heard().await, answer);
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Done]);
    assert!(pipes.house.journal.holds()[0].delivered);
}

#[tokio::test(start_paused = true)]
async fn every_refusal_is_told_and_nothing_runs() {
    let verdicts = [
        (Verdict::Reject(Some("not on a Friday".into())), "rejected"),
        (Verdict::Expire, "expired"),
        (Verdict::RequestChanges(Some("smaller".into())), "changes_requested"),
        (Verdict::OtherPayload, "mismatch"),
        (Verdict::Fail, "unavailable"),
        (Verdict::ApproveWith { token: None, expires_at: None, thread: None }, "token_invalid"),
        (
            Verdict::ApproveWith { token: Some("forged".into()), expires_at: None, thread: None },
            "token_invalid",
        ),
    ];
    for (verdict, expected) in verdicts {
        let mut pipes = Pipes::new();
        pipes.house.approver.decide_all(verdict);
        pipes.say(&write_call("1", "a")).await;
        let answer = pipes.heard().await;
        assert_eq!(status(&answer), expected);
        assert_eq!(answer.contains(r#""reason":"token_"#), expected == "token_invalid", "{answer}");
        assert!(!answer.contains("resultType"), "not in the handshake era: {answer}");
        pipes.server_saw_nothing().await;
    }
    for (script, expected) in [
        (SubmitScript::Reject(Some("no".into())), "rejected"),
        (SubmitScript::Fail, "unavailable"),
        (SubmitScript::ReplyLost, "unavailable"),
    ] {
        let mut pipes = Pipes::new();
        pipes.house.approver.on_submit(script);
        pipes.say(&write_call("1", "a")).await;
        assert_eq!(status(&pipes.heard().await), expected);
        pipes.server_saw_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_reviewers_words_reach_the_model() {
    let mut pipes = Pipes::new();
    pipes.house.approver.decide_all(Verdict::Reject(Some("not on a Friday".into())));
    pipes.say(&write_call("1", "a")).await;
    let answer: serde_json::Value = serde_json::from_str(&pipes.heard().await).unwrap();
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("not on a Friday"), "{text}");
    let decision = &answer["result"]["_meta"]["dev.holdpoint/decision"];
    assert_eq!(decision["thread_id"], "THR-1");
    assert_eq!(decision["message"], "not on a Friday");
    assert_eq!(decision["retry"], "other_call");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_the_stateless_era_gets_its_result_type() {
    let mut pipes = Pipes::new();
    pipes.house.approver.decide_all(Verdict::Expire);
    pipes
        .say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#)
        .await;
    assert!(pipes.heard().await.contains(r#""resultType":"complete""#));
}

#[tokio::test(start_paused = true)]
async fn calls_that_need_nobody_pass_and_those_denied_do_not() {
    let mut pipes = Pipes::new();
    pipes.house.set("read", Action::Pass);
    pipes.house.set("t", Action::Deny);
    for id in ["1", "2"] {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"read","arguments":{{"a":1,"a":2}}}}}}"#
        );
        pipes.say(&call).await;
        assert_eq!(pipes.seen().await, call);
        let answer = result_of(id, "x");
        pipes.answer(&answer).await;
        assert_eq!(pipes.heard().await, answer);
    }
    pipes.say(r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"t"}}"#).await;
    assert_eq!(status(&pipes.heard().await), "denied_by_config");
    pipes.server_saw_nothing().await;
    assert!(pipes.house.approver.submitted().is_empty());
    // Gate allows without a person.
    pipes.house.approver.on_submit(SubmitScript::Allow);
    pipes.say(&write_call("4", "a")).await;
    assert_eq!(pipes.seen().await, write_call("4", "a"));
}

/// The look-up says pass while the kernel has come to say gate: arguments that nobody read are not asked about.
#[tokio::test(start_paused = true)]
async fn unread_arguments_are_never_put_before_anybody() {
    let mut pipes = Pipes::new();
    pipes.house.actions.set("write", Action::Pass);
    pipes.say(&write_call("1", "a")).await;
    assert_eq!(status(&pipes.heard().await), "denied_by_config");
    pipes.say(&write_call("2", "a")).await;
    assert_eq!(status(&pipes.heard().await), "denied_by_config");
    pipes.server_saw_nothing().await;
    assert!(pipes.house.approver.submitted().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_could_not_run_is_never_asked_about() {
    let mut pipes = Pipes::new();
    let cases = [
        (r#"{"name":"nowhere","arguments":{}}"#, Some(-32602), ""),
        (r#"{"name":"write","arguments":{"path":5}}"#, None, "invalid_arguments"),
        (r#"{"name":"write"}"#, None, "invalid_arguments"),
        (r#"{"name":"write","arguments":[1]}"#, None, "invalid_arguments"),
        (r#"{"name":"write","arguments":null}"#, None, "invalid_arguments"),
        (r#"{"name":"write","arguments":{"path":"a","path":"b"}}"#, None, "invalid_arguments"),
        (r#"{"name":"write","arguments":{"path":"a","Path":"b"}}"#, None, "invalid_arguments"),
        (r#"{"name":"write","arguments":{"path":"a"},"task":{"ttl":1,"ttl":2}}"#, Some(-32602), ""),
    ];
    for (params, expected_code, expected_status) in cases {
        pipes.say(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)).await;
        let answer = pipes.heard().await;
        match expected_code {
            Some(expected) => assert_eq!(code(&answer), expected, "{params}"),
            None => assert_eq!(status(&answer), expected_status, "{params}"),
        }
    }
    pipes.server_saw_nothing().await;
    assert!(pipes.house.approver.submitted().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_changed_tool_is_refused_before_and_after_the_question() {
    let mut pipes = Pipes::new();
    pipes.house.approver.decide_all(Verdict::Approve);
    pipes.say(&write_call("1", "a")).await;
    pipes.seen().await;
    pipes.answer(&result_of("1", "x")).await;
    pipes.heard().await;
    let tools = pipes.tools.lock().unwrap().clone();
    *pipes.tools.lock().unwrap() =
        tools.replace(r#""name":"write","#, r#""name":"write","description":"and mails it","#);
    // The server says so, and the agent calls again.
    pipes.answer(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).await;
    pipes.heard().await;
    pipes.say(&write_call("2", "b")).await;
    let answer = pipes.heard().await;
    assert_eq!(status(&answer), "mismatch");
    assert!(answer.contains("holdpoint tools accept"));
    assert_eq!(pipes.house.approver.submitted().len(), 1);
    pipes.server_saw_nothing().await;

    // It changes while a person thinks, and nobody says so.
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    *pipes.tools.lock().unwrap() = tools.replace(r#""required":["path"]"#, r#""required":[]"#);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(status(&pipes.heard().await), "mismatch");
    pipes.server_saw_nothing().await;
    assert!(pipes.house.approver.redeemed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tool_listed_twice_is_nobodys_tool() {
    let mut pipes = Pipes::new();
    *pipes.tools.lock().unwrap() = r#"[{"name":"write"},{"name":"write","description":"b"}]"#.into();
    pipes.say(&write_call("1", "a")).await;
    assert_eq!(status(&pipes.heard().await), "mismatch");
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn patience_over_says_so_and_the_same_call_joins_and_runs_once() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    let answer = pipes.heard().await;
    assert_eq!(status(&answer), "pending");
    assert!(answer.contains(REVIEW_URL));
    pipes.say(&write_call(r#""2""#, "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, write_call(r#""2""#, "a"));
    pipes.answer(&result_of(r#""2""#, "x")).await;
    assert_eq!(pipes.heard().await, result_of(r#""2""#, "x"));
    assert_eq!(pipes.house.approver.opened().len(), 1);
    pipes.server_saw_nothing().await;
}

/// The bytes that were frozen run, in the message of the call that runs; a line end between two tokens, which another
/// route allows, is not one here.
#[tokio::test(start_paused = true)]
async fn a_joined_call_sends_the_frozen_bytes() {
    let mut pipes = Pipes::new();
    let call = |id: u32, arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"write","arguments":{arguments},"_meta":{{"x":{id}}}}}}}"#
        )
    };
    pipes.say(&call(1, r#"{"path":"a", "n":1}"#)).await;
    assert_eq!(status(&pipes.heard().await), "pending");
    pipes.say(&call(2, r#"{"n":1,"path":"a"}"#)).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, call(2, r#"{"path":"a", "n":1}"#));
}

#[tokio::test(start_paused = true)]
async fn identical_calls_at_once_run_once_and_both_are_answered() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.say(&write_call("2", "a")).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    let ran = pipes.seen().await;
    let id = if ran.contains(r#""id":1"#) { "1" } else { "2" };
    pipes.answer(&result_of(id, "x")).await;
    let mut answers = [pipes.heard().await, pipes.heard().await];
    answers.sort();
    assert_eq!(answers, [result_of("1", "x"), result_of("2", "x")]);
    pipes.server_saw_nothing().await;
}

/// One of them is of the stateless era, in which a result without its type is none.
#[tokio::test(start_paused = true)]
async fn a_result_is_handed_out_in_the_collectors_era() {
    for (result, collected) in [
        (r#"{"content":[],"isError":false}"#, r#"{"resultType":"complete","content":[],"isError":false}"#),
        (r"{ }", r#"{"resultType":"complete" }"#),
        (r#"{"content":[],"resultType":"x"}"#, r#"{"content":[],"resultType":"x"}"#),
    ] {
        let mut pipes = Pipes::new();
        pipes.say(&write_call("1", "a")).await;
        pipes.house.approver.until_waiting(1).await;
        let modern = write_call("2", "a").replacen(
            r#""name""#,
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"},"name""#,
            1,
        );
        pipes.say(&modern).await;
        // It is on its way before the decision is.
        pipes.server_saw_nothing().await;
        pipes.house.approver.decide("THR-1", Verdict::Approve);
        pipes.seen().await;
        pipes.answer(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#)).await;
        let mut heard = [pipes.heard().await, pipes.heard().await];
        heard.sort();
        assert_eq!(heard[0], format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#));
        assert_eq!(heard[1], format!(r#"{{"jsonrpc":"2.0","id":2,"result":{collected}}}"#));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_cancelled_while_held_never_runs() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    // The string is not the number.
    let other = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"1"}}"#;
    pipes.say(other).await;
    assert_eq!(pipes.seen().await, other);
    pipes.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    pipes.house.approver.until_waiting(0).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    pipes.server_saw_nothing().await;
    pipes.client_heard_nothing().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Cancelled]);
}

/// Its client's clock ran out: nothing runs and nothing is said, and the same call again goes on with the same review.
#[tokio::test(start_paused = true)]
async fn a_call_whose_client_ran_out_of_time_is_joined_by_the_next() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.say(OUT_OF_TIME).await;
    pipes.house.approver.until_waiting(0).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    pipes.server_saw_nothing().await;
    pipes.client_heard_nothing().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Pending]);
    pipes.say(&write_call("2", "a")).await;
    pipes.seen().await;
    pipes.answer(&result_of("2", "done")).await;
    assert_eq!(pipes.heard().await, result_of("2", "done"));
    assert_eq!(pipes.house.approver.submitted().len(), 1);
    pipes.server_saw_nothing().await;
}

/// In the stateless era giving up is withdrawing, as over HTTP, where a stream is closed without a word.
#[tokio::test(start_paused = true)]
async fn a_stateless_call_whose_client_ran_out_of_time_is_withdrawn() {
    let mut pipes = Pipes::new();
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},"name""#;
    pipes.say(&write_call("1", "a").replacen(r#""name""#, meta, 1)).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.say(OUT_OF_TIME).await;
    pipes.house.approver.until_waiting(0).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    pipes.server_saw_nothing().await;
    pipes.client_heard_nothing().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Cancelled]);
}

const OUT_OF_TIME: &str = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"McpError: MCP error -32001: Request timed out"}}"#;

/// Nobody is asked about it, and yet it waits: for the list of tools.
#[tokio::test(start_paused = true)]
async fn a_passing_call_cancelled_before_it_was_sent_never_runs() {
    let mut pipes = Pipes::new();
    pipes.house.set("read", Action::Pass);
    let tools = std::mem::take(&mut *pipes.tools.lock().unwrap());
    pipes.say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}"#).await;
    let list: serde_json::Value = serde_json::from_str(&pipes.seen().await).unwrap();
    pipes.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    pipes.server_saw_nothing().await;
    pipes.answer(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"tools":{tools}}}}}"#, list["id"])).await;
    pipes.client_heard_nothing().await;
    pipes.server_saw_nothing().await;
    // The next one passes.
    let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read"}}"#;
    pipes.say(call).await;
    assert_eq!(pipes.seen().await, call);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_in_flight_goes_to_the_server() {
    let mut pipes = Pipes::new();
    pipes.house.approver.decide_all(Verdict::Approve);
    pipes.say(&write_call("1", "a")).await;
    pipes.seen().await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    pipes.say(cancel).await;
    assert_eq!(pipes.seen().await, cancel);
    // It stays silent: what came of the call is not known.
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    assert_eq!(pipes.house.journal.states(), [HoldState::Unknown]);
    // And it is not sent again.
    pipes.say(&write_call("2", "a")).await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn progress_rises_before_and_after_the_decision() {
    let mut pipes = Pipes::new();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":"p"}}}"#;
    pipes.say(call).await;
    let mut told = Vec::new();
    for _ in 0..4 {
        let line = pipes.heard().await;
        assert!(line.contains(REVIEW_URL), "{line}");
        told.push(progress(&line));
    }
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, call);
    for value in ["0", "0.5", "0.5"] {
        pipes
            .answer(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"p","progress":{value},"total":1}}}}"#))
            .await;
        told.push(progress(&pipes.heard().await));
    }
    assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
    assert!((told[5] - 0.5).abs() < f64::EPSILON, "what rises passes as it is: {told:?}");
    // Nobody else's token is touched.
    let other =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"q","progress":0}}"#;
    pipes.answer(other).await;
    assert_eq!(pipes.heard().await, other);
}

fn progress(line: &str) -> f64 {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["params"]["progressToken"], "p");
    line["params"]["progress"].as_f64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_every_15_seconds_for_15_minutes() {
    let mut pipes = Pipes::new();
    let start = tokio::time::Instant::now();
    pipes.say(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":1}}}"#).await;
    let mut ticks = 0;
    loop {
        let line = pipes.heard().await;
        if !line.contains("notifications/progress") {
            assert_eq!(status(&line), "pending");
            break;
        }
        ticks += 1;
    }
    assert_eq!(start.elapsed(), Duration::from_mins(15));
    assert!((60..=61).contains(&ticks), "{ticks}");
}

#[tokio::test(start_paused = true)]
async fn held_calls_block_nothing_and_come_in_any_order() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.say(&write_call("2", "b")).await;
    pipes.house.approver.until_waiting(2).await;
    pipes.server_saw_nothing().await;
    pipes.house.approver.decide("THR-2", Verdict::Approve);
    assert_eq!(pipes.seen().await, write_call("2", "b"));
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, write_call("1", "a"));
}

#[tokio::test(start_paused = true)]
async fn two_requests_under_one_id_are_not_mixed_up() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.say(&write_call("1.0", "b")).await;
    assert_eq!(code(&pipes.heard().await), -32600);
    pipes.say(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    assert_eq!(code(&pipes.heard().await), -32600);
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_finds_its_hold_again() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.close_client();
    assert_eq!(pipes.relay.await.unwrap(), ExitReason::ClientClosed);
    assert_eq!(pipes.house.journal.states(), [HoldState::Pending]);
    let mut again = Pipes::with(pipes.house, |_| {});
    again.house.approver.decide("THR-1", Verdict::Approve);
    again.say(&write_call("5", "a")).await;
    assert_eq!(again.seen().await, write_call("5", "a"));
    assert_eq!(again.house.approver.opened().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_in_a_run_leaves_the_outcome_unknown() {
    let mut pipes = Pipes::new();
    pipes.house.approver.decide_all(Verdict::Approve);
    pipes.say(&write_call("1", "a")).await;
    pipes.seen().await;
    pipes.close_server().await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    assert_eq!(pipes.relay.await.unwrap(), ExitReason::ServerEnded { status: None });
    assert_eq!(pipes.house.journal.states(), [HoldState::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_are_turned_away() {
    let mut pipes = Pipes::with(crate::house::House::new(), |options| options.calls_max = 1);
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.say(&write_call("2", "b")).await;
    assert_eq!(status(&pipes.heard().await), "busy");
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_task_is_the_callers_or_the_traces_or_the_processes() {
    let mut pipes = Pipes::new();
    pipes.house.approver.decide_all(Verdict::Reject(None));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for meta in [
        r#"{"dev.holdpoint/task":"refund-7","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#.to_owned(),
        format!(r#"{{"traceparent":"00-{trace}-00f067aa0ba902b7-01"}}"#),
        "{}".to_owned(),
    ] {
        pipes.say(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","_meta":{meta}}}}}"#)).await;
        pipes.heard().await;
    }
    let tasks: Vec<_> = pipes.house.approver.submitted().iter().map(|asked| asked.task.to_string()).collect();
    assert_eq!(tasks, ["refund-7", trace, "process"]);
}
