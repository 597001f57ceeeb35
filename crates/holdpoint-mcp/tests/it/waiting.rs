//! How calls wait, over stdio and in time that stands still: nothing runs without an approval, and every approval runs once.

use crate::{
    house::{House, REVIEW_URL, code, decision, result_of, status, write_call},
    pipe::Pipes,
};
use holdpoint_core::{HoldState, Principal};
use holdpoint_mcp::{Action, Declined, WaitMode, Waits};
use holdpoint_testkit::Verdict;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const LINKS: &str = r#"{"elicitation":{"url":{}}}"#;

/// A call of the stateless era, with further members of `params` before the usual ones.
pub(crate) fn call(id: &str, capabilities: &str, more: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{{more}"name":"write","arguments":{{"path":"a"}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{capabilities}}}}}}}"#
    )
}

pub(crate) fn with_state(state: &str) -> String {
    format!(r#""requestState":{},"#, Value::from(state))
}

/// What an `input_required` answer holds.
pub(crate) fn asked_again(answer: &str) -> (String, Value) {
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    assert_eq!(answer["result"].get("isError"), None, "{answer}");
    let state = answer["result"]["requestState"].as_str().expect("a state").to_owned();
    (state, answer["result"].get("inputRequests").cloned().unwrap_or_default())
}

async fn leg(pipes: &mut Pipes, id: &str, state: &str) -> String {
    pipes.say(&call(id, "{}", &with_state(state))).await;
    pipes.heard().await
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_in_legs_and_its_own_bytes_run_once() {
    let mut pipes = Pipes::new();
    let began = Instant::now();
    pipes.say(&call("1", "{}", "")).await;
    let (state, requests) = asked_again(&pipes.heard().await);
    assert_eq!((began.elapsed().as_secs(), requests), (45, Value::Null));
    let (second, _) = asked_again(&leg(&mut pipes, "2", &state).await);
    assert_ne!(second, state);
    assert_eq!(began.elapsed().as_secs(), 90);
    pipes.server_saw_nothing().await;
    let comes_back = [(
        r#"{ "jsonrpc":"2.0" ,"id":3,"method":"tools/call","params":{ "name" : "write", "arguments":{"path":"a"} , "_meta": {"io.modelcontextprotocol/protocolVersion":"2026-07-28"}STATE } }"#,
        r#", "inputResponses" : {}, "requestState":"#,
    )];
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    for (frame, before) in comes_back {
        pipes.say(&frame.replace("STATE", &format!("{before}{}", Value::from(second.as_str())))).await;
        assert_eq!(pipes.seen().await, frame.replace("STATE", ""));
    }
    let answer = result_of("3", "done");
    pipes.answer(&answer).await;
    assert_eq!(pipes.heard().await, answer);
    assert_eq!(pipes.house.approver.submitted().len(), 1);
    assert_eq!(pipes.house.journal.states(), [HoldState::Done]);
    pipes.server_saw_nothing().await;
}

/// Wherever our members stand, and however they are spelt, the rest stays as it is.
#[tokio::test(start_paused = true)]
async fn our_members_are_taken_off_and_nothing_else() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", "{}", "")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    let state = Value::from(state).to_string();
    let framed = |first: &str, second: &str, third: &str| {
        format!(
            r#"{{"method":"tools/call","id":2,"params":{{{first}"name":"write",{second} "arguments" :{{"path":"a"}},	"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}{third}}},"jsonrpc":"2.0"}}"#
        )
    };
    pipes
        .say(&framed(
            r#" "inputResponses":{"approval":{"action":"accept"}} , "#,
            &format!(r#" "request\u0053tate" : {state},"#),
            "",
        ))
        .await;
    assert_eq!(pipes.seen().await, framed(" ", "", ""));
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn after_nine_legs_the_agent_is_told_to_call_again_and_then_joins() {
    let mut pipes = Pipes::new();
    let began = Instant::now();
    pipes.say(&call("1", "{}", "")).await;
    let mut answer = pipes.heard().await;
    for id in 2..=9 {
        let (state, _) = asked_again(&answer);
        answer = leg(&mut pipes, &id.to_string(), &state).await;
    }
    assert_eq!(status(&answer), "pending");
    assert_eq!(began.elapsed().as_secs(), 9 * 45);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    pipes.server_saw_nothing().await;
    pipes.say(&call("10", "{}", "")).await;
    assert_eq!(pipes.seen().await, call("10", "{}", ""));
    assert_eq!(pipes.house.approver.submitted().len(), 1);
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn patience_and_leg_are_the_operators() {
    let mut pipes = Pipes::new();
    let waits = Waits {
        patience: Some(Duration::from_secs(5)),
        leg: Some(Duration::from_secs(3)),
        ..Waits::default()
    };
    *pipes.house.actions.waits.lock().unwrap() = waits;
    let began = Instant::now();
    pipes.say(&call("1", "{}", "")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(status(&leg(&mut pipes, "2", &state).await), "pending");
    *pipes.house.actions.waits.lock().unwrap() = Waits { mode: WaitMode::Bounded, ..Waits::default() };
    let began = Instant::now();
    pipes.say(&call("3", "{}", "")).await;
    assert_eq!(status(&pipes.heard().await), "pending");
    assert_eq!(began.elapsed().as_secs(), 50);
    pipes.server_saw_nothing().await;
}

/// An approval runs nothing while nobody waits, and runs once when somebody is back.
#[tokio::test(start_paused = true)]
async fn nothing_runs_between_two_legs() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", "{}", "")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    tokio::time::sleep(Duration::from_hours(3)).await;
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Pending]);
    pipes.say(&call("2", "{}", &with_state(&state))).await;
    assert_eq!(pipes.seen().await, call("2", "{}", ""));
    pipes.answer(&result_of("2", "done")).await;
    assert_eq!(pipes.heard().await, result_of("2", "done"));
    // What was a leg's is no approval of another call.
    pipes.say(&call("3", "{}", &with_state(&state))).await;
    pipes.house.approver.until_submitted(2).await;
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_not_this_calls_is_refused_and_nothing_is_asked() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", "{}", "")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    let waits = pipes.house.approver.waits();
    let (head, seal) = state.rsplit_once('.').unwrap();
    let longer = format!("{state}AAAA");
    let nine = head.replace("AQ", "CQ").replace("Ag", "CQ");
    let forged = [
        format!("{head}.{}", seal.chars().rev().collect::<String>()),
        format!("{head}."),
        head.to_owned(),
        longer,
        format!("{nine}x.{seal}"),
        "dev.holdpoint.1.".to_owned(),
        format!("dev.holdpoint.1.{}", "A".repeat(100_000)),
    ];
    for forged in &forged {
        assert_eq!(code(&leg(&mut pipes, "2", forged).await), -32602, "{forged}");
    }
    // Of another call.
    for other in [r#""name":"write","arguments":{"path":"b"}"#, r#""name":"t","arguments":{"path":"a"}"#] {
        let say =
            call("3", "{}", &with_state(&state)).replace(r#""name":"write","arguments":{"path":"a"}"#, other);
        pipes.say(&say).await;
        assert_eq!(code(&pipes.heard().await), -32602);
    }
    // Too late.
    pipes.house.clock.shift(SignedDuration::from_hours(25));
    assert_eq!(code(&leg(&mut pipes, "4", &state).await), -32602);
    // The same for tools that would pass: whoever carries a state was asked to wait.
    pipes.house.set("write", Action::Pass);
    assert_eq!(code(&leg(&mut pipes, "5", &forged[0]).await), -32602);
    assert_eq!(pipes.house.approver.waits(), waits);
    assert_eq!(pipes.house.approver.submitted().len(), 1);
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_state_is_nobody_elses() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", "{}", "")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    let mut other = Pipes::with(House::new(), |options| options.principal = Principal::new("somebody else"));
    other.house.approver.decide_all(Verdict::Approve);
    assert_eq!(code(&leg(&mut other, "1", &state).await), -32602);
    assert!(other.house.approver.submitted().is_empty());
    other.server_saw_nothing().await;
}

/// What a server asked for itself is a part of the call, as before.
#[tokio::test(start_paused = true)]
async fn a_servers_own_state_passes_and_is_asked_about() {
    let mut pipes = Pipes::new();
    pipes.house.approver.decide_all(Verdict::Approve);
    for (id, more) in
        [("1", ""), ("2", r#""requestState":"theirs","inputResponses":{"k":{"action":"accept"}},"#)]
    {
        let say = call(id, "{}", more);
        pipes.say(&say).await;
        assert_eq!(pipes.seen().await, say);
        pipes.answer(&result_of(id, "x")).await;
        assert_eq!(pipes.heard().await, result_of(id, "x"));
    }
    assert_eq!(pipes.house.approver.submitted().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_opens_links_gets_one_at_once_and_once() {
    let mut pipes = Pipes::new();
    let began = Instant::now();
    pipes.say(&call("1", LINKS, "")).await;
    let (state, requests) = asked_again(&pipes.heard().await);
    assert!(began.elapsed() < Duration::from_secs(1));
    let message = requests["approval"]["params"]["message"].clone();
    assert!(message.as_str().unwrap().contains("`write`"), "{message}");
    let params = json!({ "mode": "url", "url": REVIEW_URL, "message": message });
    assert_eq!(requests, json!({ "approval": { "method": "elicitation/create", "params": params } }));
    assert_eq!(pipes.house.journal.states(), [HoldState::Pending]);
    // Opened: that approves nothing, and nobody is asked to open it again.
    let accepted = format!(r#"{}"inputResponses":{{"approval":{{"action":"accept"}}}},"#, with_state(&state));
    pipes.say(&call("2", LINKS, &accepted)).await;
    let (state, requests) = asked_again(&pipes.heard().await);
    assert_eq!((began.elapsed().as_secs(), requests), (45, Value::Null));
    pipes.server_saw_nothing().await;
    // A later answer about the link is none any more.
    let declined =
        format!(r#"{}"inputResponses":{{"approval":{{"action":"decline"}}}},"#, with_state(&state));
    pipes.say(&call("3", LINKS, &declined)).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, call("3", LINKS, ""));
    assert_eq!(pipes.house.approver.submitted().len(), 1);
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_declined_ends_the_call_and_its_review() {
    for action in ["decline", "cancel"] {
        let mut pipes = Pipes::new();
        pipes.say(&call("1", LINKS, "")).await;
        let (state, _) = asked_again(&pipes.heard().await);
        let answer =
            format!(r#"{}"inputResponses":{{"approval":{{"action":"{action}"}}}},"#, with_state(&state));
        pipes.say(&call("2", LINKS, &answer)).await;
        let told = decision(&pipes.heard().await);
        assert_eq!((&told["status"], &told["retry"]), (&json!("cancelled"), &json!("ask_again")));
        assert_eq!(pipes.house.journal.states(), [HoldState::Cancelled]);
        // It leads nowhere, whatever is decided now and whoever comes back.
        pipes.house.approver.decide("THR-1", Verdict::Approve);
        pipes.server_saw_nothing().await;
        pipes.say(&call("3", "{}", "")).await;
        pipes.house.approver.until_submitted(2).await;
        pipes.server_saw_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_declined_link_leaves_the_review_where_the_operator_says_so() {
    let mut pipes = Pipes::new();
    *pipes.house.actions.waits.lock().unwrap() = Waits { declined: Declined::Leave, ..Waits::default() };
    pipes.say(&call("1", LINKS, "")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    let answer = format!(r#"{}"inputResponses":{{"approval":{{"action":"decline"}}}},"#, with_state(&state));
    pipes.say(&call("2", LINKS, &answer)).await;
    assert_eq!(decision(&pipes.heard().await)["retry"], "same_call");
    assert_eq!(pipes.house.journal.states(), [HoldState::Pending]);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    pipes.server_saw_nothing().await;
    pipes.say(&call("3", "{}", "")).await;
    assert_eq!(pipes.seen().await, call("3", "{}", ""));
    assert_eq!(pipes.house.approver.submitted().len(), 1);
}

/// Somebody else waits for the same call: their review is not for one user to take away.
#[tokio::test(start_paused = true)]
async fn a_review_that_others_wait_for_is_not_withdrawn() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", LINKS, "")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    pipes.say(&call("2", "{}", "")).await;
    pipes.house.approver.until_waiting(1).await;
    let answer = format!(r#"{}"inputResponses":{{"approval":{{"action":"cancel"}}}},"#, with_state(&state));
    pipes.say(&call("3", LINKS, &answer)).await;
    assert_eq!(decision(&pipes.heard().await)["retry"], "same_call");
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, call("2", "{}", ""));
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_leg_that_is_cancelled_withdraws_the_call() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", "{}", "")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    pipes.say(&call("2", "{}", &with_state(&state))).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#).await;
    pipes.house.approver.until_waiting(0).await;
    pipes.client_heard_nothing().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Cancelled]);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    pipes.server_saw_nothing().await;
    // Whoever is back all the same asks anew.
    pipes.say(&call("3", "{}", &with_state(&state))).await;
    pipes.house.approver.until_submitted(2).await;
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_legs() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", "{}", "")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    pipes.house.approver.decide("THR-1", Verdict::Reject(Some("no".into())));
    let answer = leg(&mut pipes, "2", &state).await;
    assert_eq!(status(&answer), "rejected");
    assert!(answer.contains(r#""resultType":"complete""#), "{answer}");
    pipes.server_saw_nothing().await;
}

/// A client that asks again by itself would only find the door closed.
#[tokio::test(start_paused = true)]
async fn who_stops_says_pending() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", "{}", "")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.house.guard.gate.close();
    assert_eq!(status(&pipes.heard().await), "pending");
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_leg_tells_progress_where_the_client_asks_for_it() {
    let mut pipes = Pipes::new();
    let say = call("1", "{}", "").replace(r#""_meta":{"#, r#""_meta":{"progressToken":"p","#);
    pipes.say(&say).await;
    let mut told = 0;
    let answer = loop {
        let heard = pipes.heard().await;
        if !heard.contains("notifications/progress") {
            break heard;
        }
        assert!(heard.contains(REVIEW_URL), "{heard}");
        told += 1;
    };
    asked_again(&answer);
    assert!(told >= 3, "{told}");
}

#[tokio::test(start_paused = true)]
async fn an_older_client_is_held_as_long_as_it_can_be() {
    for (name, token, seconds) in [
        ("claude-code", true, 3_600),
        ("claude-code", false, 50),
        ("claude-ai", true, 50),
        ("codex-mcp-client", true, 50),
        ("gemini-cli-mcp-client", false, 540),
        ("Visual Studio Code", false, 900),
        ("somebody", true, 900),
        ("somebody", false, 50),
    ] {
        let mut pipes = Pipes::new();
        let ask = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{{"elicitation":{{"url":{{}}}}}},"clientInfo":{{"name":"{name}","version":"1"}}}}}}"#
        );
        pipes.say(&ask).await;
        assert_eq!(pipes.seen().await, ask);
        let began = Instant::now();
        let mut say = write_call("1", "a");
        if token {
            say = say.replace(r#""name""#, r#""_meta":{"progressToken":"p"},"name""#);
        }
        pipes.say(&say).await;
        let answer = loop {
            let heard = pipes.heard().await;
            if !heard.contains("notifications/progress") {
                break heard;
            }
        };
        assert_eq!(status(&answer), "pending");
        assert_eq!((name, began.elapsed().as_secs()), (name, seconds));
        pipes.server_saw_nothing().await;
    }
}
