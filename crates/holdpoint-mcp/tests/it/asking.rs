//! Servers that ask for input after their call was approved: the approval is good for that, once for each question.

use crate::{
    house::{House, code, decision, status},
    pipe::Pipes,
    waiting::{asked_again, call, with_state},
    web::{Stream, Web, text},
};
use holdpoint_core::{HoldState, Principal, TicketState};
use holdpoint_mcp::{Action, Waits};
use holdpoint_testkit::{Fault, Operation, SubmitScript, Verdict};
use http::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::{sync::atomic::Ordering, time::Duration};

const STATELESS: [(&str, &str); 3] =
    [("mcp-method", "tools/call"), ("mcp-name", "write"), ("mcp-protocol-version", "2026-07-28")];

/// What a server asks, with an order of members of its own.
fn asks(id: &str, state: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"requestState":{},"resultType":"input_required","inputRequests":{{"k":{{"method":"elicitation/create","params":{{"message":"sure?","n":1.0}}}}}}}}}}"#,
        Value::from(state)
    )
}

fn done(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","content":[]}}}}"#)
}

const SAID: &str = r#""inputResponses":{"k":{"action":"accept","content":{"n":1.0}}},"#;

/// What brings the answer to a question.
fn says(id: &str, state: &str) -> String {
    call(id, "{}", &format!("{SAID}{}", with_state(state)))
}

/// What the server is to hear of it.
fn is_leg(sent: &str, id: &Value, state: &str) {
    let sent: Value = serde_json::from_str(sent).unwrap();
    assert_eq!((&sent["id"], &sent["params"]["requestState"]), (id, &json!(state)));
    assert_eq!(
        sent["params"]["inputResponses"],
        json!({ "k": { "action": "accept", "content": { "n": 1.0 } } })
    );
    assert_eq!(
        (&sent["params"]["name"], &sent["params"]["arguments"]),
        (&json!("write"), &json!({ "path": "a" }))
    );
}

/// A call that was approved, and whose server asks for more: the state that the client has.
async fn asked(pipes: &mut Pipes) -> String {
    pipes.say(&call("1", "{}", "")).await;
    pipes.house.approver.until_submitted(1).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(pipes.seen().await, call("1", "{}", ""));
    pipes.answer(&asks("1", "s1")).await;
    let told = pipes.heard().await;
    let (state, requests) = asked_again(&told);
    assert_eq!(requests["k"]["params"]["message"], "sure?");
    assert_eq!(told, asks("1", &state), "nothing else is another");
    assert!(state.starts_with("dev.holdpoint.run.1."), "{state}");
    state
}

#[tokio::test(start_paused = true)]
async fn the_approved_run_goes_on_with_what_the_client_says() {
    let mut pipes = Pipes::new();
    let state = asked(&mut pipes).await;
    assert_eq!(pipes.house.journal.tickets()[0].state, TicketState::Answered);
    pipes.say(&says("2", &state)).await;
    is_leg(&pipes.seen().await, &json!(2), "s1");
    pipes.answer(&asks("2", "s2")).await;
    let (second, _) = asked_again(&pipes.heard().await);
    assert_ne!(second, state);
    pipes.say(&says("3", &second)).await;
    is_leg(&pipes.seen().await, &json!(3), "s2");
    pipes.answer(&done("3")).await;
    assert_eq!(pipes.heard().await, done("3"));
    assert_eq!(pipes.house.approver.submitted().len(), 1, "nobody is asked anew");
    assert_eq!(pipes.house.journal.states(), [HoldState::Done]);
    assert!(pipes.house.journal.holds()[0].delivered);
    assert_eq!(pipes.house.journal.tickets().len(), 1);
    // The same call again is a new one.
    pipes.say(&call("4", "{}", "")).await;
    pipes.house.approver.until_submitted(2).await;
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn each_question_is_answered_once() {
    let mut pipes = Pipes::new();
    let state = asked(&mut pipes).await;
    pipes.say(&says("2", &state)).await;
    is_leg(&pipes.seen().await, &json!(2), "s1");
    // While it runs, and after it.
    pipes.say(&says("3", &state)).await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    pipes.answer(&asks("2", "s2")).await;
    let (second, _) = asked_again(&pipes.heard().await);
    pipes.say(&says("4", &state)).await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    pipes.say(&says("5", &second)).await;
    is_leg(&pipes.seen().await, &json!(5), "s2");
    pipes.answer(&done("5")).await;
    assert_eq!(pipes.heard().await, done("5"));
    for spent in [state, second] {
        pipes.say(&says("6", &spent)).await;
        assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    }
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.approver.submitted().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_this_runs_state_is_refused() {
    let mut pipes = Pipes::new();
    let state = asked(&mut pipes).await;
    let (plain, seal) = state.rsplit_once('.').unwrap();
    let (ticket, round) = plain.rsplit_once('.').unwrap();
    assert_eq!(round, "1");
    let forged = [
        format!("{plain}.{}", seal.chars().rev().collect::<String>()),
        format!("{plain}."),
        plain.to_owned(),
        format!("{ticket}.3.{seal}"),
        format!("{ticket}x.1.{seal}"),
        format!("{}{seal}", state.replace("run.1.", "1.")),
        "dev.holdpoint.run.1.".to_owned(),
        format!("dev.holdpoint.run.1.{}", "A".repeat(100_000)),
    ];
    for forged in &forged {
        pipes.say(&says("2", forged)).await;
        assert_eq!(code(&pipes.heard().await), -32602, "{forged}");
    }
    let ours = r#""name":"write","arguments":{"path":"a"}"#;
    for other in [
        r#""name":"write","arguments":{"path":"b"}"#,
        r#""name":"read","arguments":{"path":"a"}"#,
        r#""name":"write","arguments":{"path":"a"},"more":1"#,
    ] {
        pipes.say(&says("3", &state).replace(ours, other)).await;
        assert_eq!(code(&pipes.heard().await), -32602, "{other}");
    }
    // As long as a person may take to read a question, and no longer.
    pipes.house.clock.shift(jiff::SignedDuration::from_hours(25));
    pipes.say(&says("4", &state)).await;
    assert_eq!(code(&pipes.heard().await), -32602);
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.approver.submitted().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_be_decided_in_another_way_now_does_not_go_on() {
    for action in [Action::Deny, Action::Pass] {
        let mut pipes = Pipes::new();
        let state = asked(&mut pipes).await;
        pipes.house.rules.set("write", action);
        pipes.say(&says("2", &state)).await;
        assert_eq!(status(&pipes.heard().await), "denied_by_config");
        // It was not used up by that.
        pipes.house.rules.set("write", Action::Gate);
        pipes.say(&says("3", &state)).await;
        is_leg(&pipes.seen().await, &json!(3), "s1");
        pipes.server_saw_nothing().await;
    }
    let mut pipes = Pipes::new();
    let state = asked(&mut pipes).await;
    pipes.house.guard.gate.close();
    pipes.say(&says("2", &state)).await;
    assert_eq!(status(&pipes.heard().await), "unavailable");
    pipes.server_saw_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_stop_asking_is_not_gone_on_with() {
    let mut pipes = Pipes::new();
    let mut state = asked(&mut pipes).await;
    for id in 2..=10 {
        pipes.say(&says(&id.to_string(), &state)).await;
        pipes.seen().await;
        pipes.answer(&asks(&id.to_string(), "s")).await;
        state = asked_again(&pipes.heard().await).0;
    }
    pipes.say(&says("11", &state)).await;
    pipes.seen().await;
    pipes.answer(&asks("11", "s")).await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    pipes.say(&says("12", &state)).await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    pipes.server_saw_nothing().await;
}

/// The effect is taken while the tool asks, and had when it is done.
#[tokio::test(start_paused = true)]
async fn an_effect_is_had_when_the_last_leg_says_so() {
    let mut pipes = Pipes::new();
    pipes.house.rules.effects.store(true, Ordering::Relaxed);
    let state = asked(&mut pipes).await;
    // The call itself would be another run.
    pipes.say(&call("2", "{}", "")).await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    pipes.say(&says("3", &state)).await;
    is_leg(&pipes.seen().await, &json!(3), "s1");
    pipes.answer(&done("3")).await;
    assert_eq!(pipes.heard().await, done("3"));
    pipes.say(&call("4", "{}", "")).await;
    assert_eq!(status(&pipes.heard().await), "already_done");
    pipes.server_saw_nothing().await;
}

/// Nobody is told of a question that is not on record.
#[tokio::test(start_paused = true)]
async fn a_question_that_cannot_be_put_on_record_ends_the_call() {
    for operation in [Operation::OpenTicket, Operation::AnswerTicket] {
        let mut pipes = Pipes::new();
        pipes.house.journal.fail(operation, Fault::Refused);
        pipes.say(&call("1", "{}", "")).await;
        pipes.house.approver.until_submitted(1).await;
        pipes.house.approver.decide("THR-1", Verdict::Approve);
        pipes.seen().await;
        pipes.answer(&asks("1", "s1")).await;
        let told = pipes.heard().await;
        assert_eq!((status(&told).as_str(), &decision(&told)["retry"]), ("outcome_unknown", &json!("no")));
        pipes.server_saw_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_continuation_that_cannot_be_put_on_record_is_not_sent() {
    let mut pipes = Pipes::new();
    let state = asked(&mut pipes).await;
    pipes.house.journal.fail(Operation::GoOnWithTicket, Fault::Refused);
    pipes.say(&says("2", &state)).await;
    assert_eq!(status(&pipes.heard().await), "unavailable");
    pipes.server_saw_nothing().await;
    pipes.house.journal.repair();
    pipes.say(&says("3", &state)).await;
    is_leg(&pipes.seen().await, &json!(3), "s1");
}

/// Written, for all that is known: then it may have been sent, and is not sent again.
#[tokio::test(start_paused = true)]
async fn a_continuation_that_may_be_on_record_is_not_sent_at_all() {
    let mut pipes = Pipes::new();
    let state = asked(&mut pipes).await;
    pipes.house.journal.fail(Operation::GoOnWithTicket, Fault::ReplyLost);
    pipes.say(&says("2", &state)).await;
    assert_eq!(status(&pipes.heard().await), "unavailable");
    pipes.say(&says("3", &state)).await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    pipes.server_saw_nothing().await;
}

/// Each wait of the legs ends, and so does the one in which it runs.
#[tokio::test(start_paused = true)]
async fn a_call_that_waited_in_legs_goes_on_as_well() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", "{}", "")).await;
    let (waits, _) = asked_again(&pipes.heard().await);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    pipes.say(&call("2", "{}", &with_state(&waits))).await;
    assert_eq!(pipes.seen().await, call("2", "{}", ""));
    pipes.answer(&asks("2", "s1")).await;
    let (state, _) = asked_again(&pipes.heard().await);
    pipes.say(&says("3", &state)).await;
    is_leg(&pipes.seen().await, &json!(3), "s1");
    pipes.answer(&done("3")).await;
    assert_eq!(pipes.heard().await, done("3"));
    assert_eq!(pipes.house.approver.submitted().len(), 1);
    // One state is not the other.
    pipes.say(&says("4", &waits)).await;
    pipes.house.approver.until_submitted(2).await;
    pipes.server_saw_nothing().await;
}

/// A state alone asks to be called again, without a question; a server without a state has questions alone.
#[tokio::test(start_paused = true)]
async fn questions_and_state_are_each_optional() {
    let mut pipes = Pipes::new();
    pipes.say(&call("1", "{}", "")).await;
    pipes.house.approver.until_submitted(1).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    pipes.seen().await;
    pipes
        .answer(r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"s1"}}"#)
        .await;
    let (state, requests) = asked_again(&pipes.heard().await);
    assert_eq!(requests, Value::Null);
    pipes.say(&call("2", "{}", &with_state(&state))).await;
    let sent: Value = serde_json::from_str(&pipes.seen().await).unwrap();
    assert_eq!((&sent["params"]["requestState"], sent["params"].get("inputResponses")), (&json!("s1"), None));
    pipes
        .answer(
            r#"{"jsonrpc":"2.0","id":2,"result":{"resultType":"input_required","inputRequests":{"k":{}}}}"#,
        )
        .await;
    let (state, requests) = asked_again(&pipes.heard().await);
    assert_eq!(requests, json!({ "k": {} }));
    pipes.say(&says("3", &state)).await;
    let sent: Value = serde_json::from_str(&pipes.seen().await).unwrap();
    assert_eq!(sent["params"].get("requestState"), None, "{sent}");
    pipes.server_saw_nothing().await;
}

/// What Gate's rules allow has no hold; what the server asks then is asked about as any call is.
#[tokio::test(start_paused = true)]
async fn without_a_person_the_servers_own_state_passes() {
    let mut pipes = Pipes::new();
    pipes.house.approver.on_submit(SubmitScript::Allow);
    pipes.say(&call("1", "{}", "")).await;
    pipes.seen().await;
    pipes.answer(&asks("1", "s1")).await;
    assert_eq!(pipes.heard().await, asks("1", "s1"));
    pipes.say(&says("2", "s1")).await;
    pipes.house.approver.until_submitted(2).await;
    pipes.server_saw_nothing().await;
}

/// The process dies with the question out: another one goes on, once. One that dies with the answer on its way leaves a
/// run whose outcome is unknown.
#[tokio::test(start_paused = true)]
async fn a_run_outlives_its_process_and_goes_on_once() {
    let mut pipes = Pipes::new();
    let state = asked(&mut pipes).await;
    let (next, last) = (pipes.house.again("next"), pipes.house.again("last"));
    pipes.house.journal.bury("house");
    let mut pipes = Pipes::with(next, |_| {});
    pipes.say(&says("1", &state)).await;
    is_leg(&pipes.seen().await, &json!(1), "s1");
    pipes.house.journal.bury("next");
    let mut pipes = Pipes::with(last, |_| {});
    pipes.say(&says("1", &state)).await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.approver.submitted().len(), 1);
}

/// The message of an answer; one that took long comes in a stream.
async fn told(response: Response<Incoming>) -> String {
    if response.headers()["content-type"] == "text/event-stream" {
        Stream::new(response).message().await
    } else {
        text(response).await
    }
}

async fn web() -> Web {
    let web = Web::with(|options| options.early = Duration::from_millis(20)).await;
    *web.house.actions.waits.lock().unwrap() = Waits::default();
    web
}

async fn asked_over_http(web: &Web, in_stream: bool) -> String {
    let mut stream = Stream::new(web.post_with(&STATELESS, call("1", "{}", "")).await);
    web.house.approver.decide("THR-1", Verdict::Approve);
    let asked = web.asked().await;
    assert_eq!(asked.text(), call("1", "{}", ""));
    if in_stream {
        let out = asked.stream();
        out.send(format!("data: {}\n\n", asks("1", "s1")).into()).await.unwrap();
    } else {
        asked.json(asks("1", "s1"));
    }
    let told = stream.message().await;
    let (state, _) = asked_again(&told);
    assert_eq!(told, asks("1", &state));
    state
}

#[tokio::test]
async fn over_http_too() {
    for in_stream in [false, true] {
        let web = web().await;
        let state = asked_over_http(&web, in_stream).await;
        let (answer, ()) = tokio::join!(web.post_with(&STATELESS, says("2", &state)), async {
            let asked = web.asked().await;
            is_leg(asked.text(), &json!(2), "s1");
            assert_eq!(asked.headers["content-length"], asked.body.len().to_string().as_str());
            assert_eq!(asked.headers["mcp-name"], "write");
            // Without a stream of ours around it.
            asked.answer(200, &[("content-type", "application/json")], asks("2", "s2"));
        });
        let (second, _) = asked_again(&told(answer).await);
        let (answer, ()) = tokio::join!(web.post_with(&STATELESS, says("3", &second)), async {
            let asked = web.asked().await;
            is_leg(asked.text(), &json!(3), "s2");
            asked.json(done("3"));
        });
        assert_eq!(told(answer).await, done("3"));
        for spent in [&state, &second] {
            let answer = web.post_with(&STATELESS, says("4", spent)).await;
            assert_eq!(status(&told(answer).await), "outcome_unknown");
        }
        web.server_saw_nothing().await;
        assert_eq!(web.house.approver.submitted().len(), 1);
    }
}

#[tokio::test]
async fn a_question_is_for_whoever_asked_alone() {
    let web = web().await;
    let state = asked_over_http(&web, false).await;
    let eve = [&STATELESS[..], &[("x-test-principal", "eve")]].concat();
    let answer = web.post_with(&eve, says("2", &state)).await;
    assert_eq!(code(&text(answer).await), -32602);
    let other = Web::called_by(Principal::new("eve"), web.house.again("other"), |_| {}).await;
    let answer = other.post_with(&STATELESS, says("3", &state)).await;
    assert_eq!(code(&text(answer).await), -32602);
    other.server_saw_nothing().await;
    web.server_saw_nothing().await;
    assert_ne!(House::principal(), Principal::new("eve"));
}

/// Of two that answer the same question at once, one does.
#[tokio::test]
async fn two_answers_to_one_question_are_one() {
    let web = web().await;
    let state = asked_over_http(&web, false).await;
    let replica = Web::in_house(web.house.again("replica"), |_| {}).await;
    let served = async {
        tokio::select! {
            asked = web.asked() => asked.json(done("2")),
            asked = replica.asked() => asked.json(done("2")),
        }
    };
    let (one, two, ()) = tokio::join!(
        async { told(web.post_with(&STATELESS, says("2", &state)).await).await },
        async { told(replica.post_with(&STATELESS, says("2", &state)).await).await },
        served
    );
    let refused: Vec<_> = [one, two].into_iter().filter(|answer| *answer != done("2")).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(status(&refused[0]), "outcome_unknown");
    web.server_saw_nothing().await;
    replica.server_saw_nothing().await;
}
