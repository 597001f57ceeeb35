//! What came of a call, as it goes on record: on both routes the same.

use crate::{
    house::{House, code, decision, failure_of, result_of, status, write_call},
    pipe::Pipes,
    web::{Stream, Web, text},
};
use async_trait::async_trait;
use holdpoint_core::{EffectState, HoldState, Principal, Standing, StillThere};
use holdpoint_testkit::{SubmitScript, Verdict};
use http::Method;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What a tool answers, and what the record says then.
fn answers() -> Vec<(String, &'static str, Option<String>)> {
    let secret = "s3cret-value\\nof two lines";
    let far = "x".repeat(190);
    vec![
        (result_of("1", "done"), "Succeeded", Some("done".into())),
        (failure_of("1", "no such file"), "Failed", Some("no such file".into())),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"out of \u202eorder"}}"#.into(),
            "Failed",
            Some(r"out of \u{202e}order".into()),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}"#.into(), "Failed", None),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{}}}"#.into(), "Succeeded", None),
        (result_of("1", &format!("key {secret}!")), "Succeeded", Some("key [redacted]!".into())),
        // Cut first, half of it would be left.
        (result_of("1", &format!("{far}{secret}")), "Succeeded", Some(far + "[redacted]")),
        (result_of("1", &"ä".repeat(300)), "Succeeded", Some("ä".repeat(199) + "…")),
    ]
}

fn assert_recorded(house: &House, ran: &str, excerpt: Option<&str>) {
    let story = house.recorder.story();
    let completed: Vec<_> = story.iter().filter(|step| step.starts_with("Completed")).collect();
    let [completed] = &completed[..] else { panic!("{story:?}") };
    assert!(completed.contains(&format!("ran: {ran}")), "{completed}");
    assert!(completed.contains(&format!("excerpt: {excerpt:?}")), "{completed} {excerpt:?}");
    assert!(completed.contains("thread: Some("), "{completed}");
}

#[tokio::test(start_paused = true)]
async fn what_a_tool_says_of_itself_is_on_record_over_stdio() {
    for (answer, ran, excerpt) in answers() {
        let mut pipes = Pipes::new();
        pipes.house.approver.decide_all(Verdict::Approve);
        pipes.say(&write_call("1", "a")).await;
        pipes.seen().await;
        pipes.answer(&answer).await;
        assert_eq!(pipes.heard().await, answer);
        assert_recorded(&pipes.house, ran, excerpt.as_deref());
        assert_eq!(pipes.house.journal.states(), [HoldState::Done]);
    }
}

#[tokio::test]
async fn what_a_tool_says_of_itself_is_on_record_over_http() {
    for (answer, ran, excerpt) in answers() {
        for streams in [false, true] {
            let web = Web::new().await;
            web.house.approver.decide_all(Verdict::Approve);
            let (heard, ()) = tokio::join!(web.post(write_call("1", "a")), async {
                let asked = web.asked().await;
                if streams {
                    asked.stream().send(format!("data: {answer}\n\n").into()).await.unwrap();
                } else {
                    asked.json(answer.clone());
                }
            });
            assert!(text(heard).await.contains(&answer));
            assert_recorded(&web.house, ran, excerpt.as_deref());
            assert_eq!(web.house.journal.states(), [HoldState::Done]);
        }
    }
}

/// A pipe that broke before the first byte: nothing can have happened, and the next call is asked about anew.
#[tokio::test(start_paused = true)]
async fn a_call_of_which_no_byte_went_out_did_not_run() {
    let mut pipes = Pipes::new();
    pipes.house.rules.effects.store(true, Ordering::Relaxed);
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.budget.store(0, Ordering::Relaxed);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    until_dispatched(&pipes.house).await;
    pipes.close_server().await;
    assert_eq!(status(&pipes.heard().await), "unavailable");
    pipes.server_saw_the_end().await;
    assert_eq!(pipes.house.journal.states(), [HoldState::Void]);
    let mut again = Pipes::with(pipes.house, |_| {});
    again.house.approver.decide("THR-2", Verdict::Approve);
    again.say(&write_call("2", "a")).await;
    assert_eq!(again.seen().await, write_call("2", "a"));
    again.answer(&result_of("2", "x")).await;
    assert_eq!(again.heard().await, result_of("2", "x"));
    assert_eq!(again.house.approver.opened().len(), 2, "a fresh decision");
}

/// One byte is enough for doubt.
#[tokio::test(start_paused = true)]
async fn a_call_of_which_a_byte_went_out_may_have_run() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.budget.store(1, Ordering::Relaxed);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    until_dispatched(&pipes.house).await;
    pipes.close_server().await;
    assert_eq!(status(&pipes.heard().await), "outcome_unknown");
    assert_eq!(pipes.house.journal.states(), [HoldState::Unknown]);
}

/// Withdrawn when it was dispatched already, and not yet sent: it did not run, and its effect is free.
#[tokio::test(start_paused = true)]
async fn a_call_cancelled_in_the_moment_of_dispatch_never_runs() {
    let mut pipes = Pipes::new();
    pipes.house.rules.effects.store(true, Ordering::Relaxed);
    pipes.house.pause.on();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    pipes.house.pause.reached().await;
    pipes.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    pipes.server_saw_nothing().await;
    pipes.house.pause.over();
    while pipes.house.journal.states() != [HoldState::Void] {
        tokio::task::yield_now().await;
    }
    pipes.server_saw_nothing().await;
    pipes.client_heard_nothing().await;
    assert_eq!(pipes.house.journal.runs()[0].state, EffectState::Void);
    // It may be proposed again, and is asked about.
    pipes.say(&write_call("2", "a")).await;
    pipes.house.approver.decide("THR-2", Verdict::Approve);
    assert_eq!(pipes.seen().await, write_call("2", "a"));
}

#[tokio::test]
async fn a_call_cancelled_in_the_moment_of_dispatch_never_runs_over_http() {
    let web = Web::new().await;
    web.house.pause.on();
    web.house.approver.decide_all(Verdict::Approve);
    let session = [("mcp-session-id", "s1")];
    let (answer, ()) = tokio::join!(web.post_with(&session, write_call("1", "a")), async {
        web.house.pause.reached().await;
        let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
        assert_eq!(web.post_with(&session, cancel).await.status(), 202);
        web.house.pause.over();
    });
    assert_eq!(status(&text(answer).await), "cancelled");
    assert_eq!(web.house.journal.states(), [HoldState::Void]);
    web.server_saw_nothing().await;
}

async fn until_dispatched(house: &House) {
    while house.journal.states() != [HoldState::Dispatched] {
        tokio::task::yield_now().await;
    }
    // The relay is up to the write by now: it has nothing else to wait for.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Says no from the second question on.
#[derive(Debug)]
struct KeyRevoked;

#[async_trait]
impl Standing for KeyRevoked {
    async fn is_still(&self, _: &Principal) -> StillThere {
        StillThere::No
    }
}

#[tokio::test]
async fn a_caller_that_lost_its_access_does_not_run_what_was_approved() {
    let mut pipes = Pipes::with(House::new(), |options| options.standing = Some(Arc::new(KeyRevoked)));
    pipes.house.approver.decide_all(Verdict::Approve);
    pipes.say(&write_call("1", "a")).await;
    let answer = pipes.heard().await;
    assert_eq!(status(&answer), "mismatch");
    assert!(answer.contains("access changed"), "{answer}");
    assert_eq!(decision(&answer)["retry"], "no");
    pipes.server_saw_nothing().await;

    let web = Web::with(|options| options.standing = Some(Arc::new(KeyRevoked))).await;
    web.house.approver.decide_all(Verdict::Approve);
    let answer = text(web.post(write_call("1", "a")).await).await;
    assert_eq!((&*status(&answer), &decision(&answer)["retry"]), ("mismatch", &"no".into()));
    web.server_saw_nothing().await;
}

/// Says no once it is told to.
#[derive(Debug, Default)]
struct Revocable(AtomicBool);

#[async_trait]
impl Standing for Revocable {
    async fn is_still(&self, _: &Principal) -> StillThere {
        if self.0.load(Ordering::Acquire) { StillThere::No } else { StillThere::Yes }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_key_that_opened_it() {
    let key = Arc::new(Revocable::default());
    let web = Web::with(|options| options.standing = Some(Arc::clone(&key) as _)).await;
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{}}"#;
    for (method, body) in [(Method::GET, ""), (Method::POST, listen)] {
        key.0.store(false, Ordering::Release);
        let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
        let (answer, server) =
            tokio::join!(web.send(method, &headers, body), async { web.asked().await.stream() });
        let mut stream = Stream::new(answer);
        server.send("data: 1\n\n".into()).await.unwrap();
        assert_eq!(stream.next().await.unwrap(), "data: 1");
        tokio::time::sleep(Duration::from_mins(5)).await;
        server.send("data: 2\n\n".into()).await.unwrap();
        assert_eq!(stream.next().await.unwrap(), "data: 2", "as long as the key is good");
        key.0.store(true, Ordering::Release);
        tokio::time::sleep(Duration::from_secs(11)).await;
        let _nobody_listens = server.send("data: 3\n\n".into()).await;
        assert_eq!(stream.next().await, None, "and no longer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let web = Web::new().await;
    let headers = [("accept", "text/event-stream"), ("x-test-good-for", "60")];
    let (answer, server) =
        tokio::join!(web.send(Method::GET, &headers, ""), async { web.asked().await.stream() });
    let mut stream = Stream::new(answer);
    tokio::time::sleep(Duration::from_secs(59)).await;
    server.send("data: 1\n\n".into()).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), "data: 1");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let _nobody_listens = server.send("data: 2\n\n".into()).await;
    assert_eq!(stream.next().await, None);
}

/// The rules came to say something else of the call while a person thought about it.
#[tokio::test]
async fn rules_that_changed_under_a_call_are_told() {
    let mut pipes = Pipes::new();
    pipes.say(&write_call("1", "a")).await;
    pipes.house.approver.until_waiting(1).await;
    pipes.house.rules.effects.store(true, Ordering::Relaxed);
    pipes.house.approver.decide("THR-1", Verdict::Approve);
    let answer = pipes.heard().await;
    assert_eq!(status(&answer), "mismatch");
    assert!(answer.contains("rules for this call changed"), "{answer}");
    assert_eq!(decision(&answer)["retry"], "ask_again");
    pipes.server_saw_nothing().await;
}

/// What Gate allows by itself and has no effect by name is nobody's to remember: it passes as it comes.
#[tokio::test(start_paused = true)]
async fn an_allowed_call_without_an_effect_is_not_read() {
    let mut pipes = Pipes::new();
    pipes.house.approver.on_submit(SubmitScript::Allow);
    pipes.say(&write_call("1", "a")).await;
    assert_eq!(pipes.seen().await, write_call("1", "a"));
    let odd = r#"{"id":1,"error":{"code":7},"error":{"code":8}}"#;
    pipes.answer(odd).await;
    let heard = pipes.heard().await;
    assert_eq!((&*heard, code(&heard)), (odd, 8));
    assert!(!pipes.house.recorder.steps().contains(&"Completed".to_owned()));
}
