//! Effects by name: had once, on tools that pass and on tools that are asked about.

use crate::{
    house::{House, decision, failure_of, result_of, status, write_call},
    pipe::Pipes,
    web::{Web, server_at, text},
};
use holdpoint_core::EffectState;
use holdpoint_mcp::Action;
use holdpoint_testkit::SubmitScript;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn states(house: &House) -> Vec<EffectState> {
    house.journal.runs().iter().map(|run| run.state).collect()
}

fn refused(answer: &str, expected: &str) {
    assert_eq!(status(answer), expected, "{answer}");
    let decision = decision(answer);
    assert_eq!((&decision["effect"], &decision["thread_id"]), (&"write:a".into(), &serde_json::Value::Null));
    assert_eq!(decision["retry"], "no");
    assert!(answer.contains("effect `write:a`"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_effect_is_had_once_over_stdio() {
    let mut pipes = Pipes::new();
    pipes.house.set("write", Action::Once);
    pipes.say(&write_call("1", "a")).await;
    assert_eq!(pipes.seen().await, write_call("1", "a"));
    pipes.answer(&result_of("1", "x")).await;
    assert_eq!(pipes.heard().await, result_of("1", "x"));
    assert_eq!(states(&pipes.house), [EffectState::Done]);
    pipes.say(&write_call("2", "a")).await;
    refused(&pipes.heard().await, "already_done");
    pipes.server_saw_nothing().await;
    // Another effect is another matter.
    pipes.say(&write_call("3", "b")).await;
    assert_eq!(pipes.seen().await, write_call("3", "b"));
    assert!(pipes.house.approver.submitted().is_empty(), "nobody is asked");
}

#[tokio::test]
async fn an_effect_is_had_once_over_http() {
    let web = Web::new().await;
    web.house.set("write", Action::Once);
    let (answer, ()) = tokio::join!(web.post(write_call("1", "a")), async {
        let asked = web.asked().await;
        assert_eq!(asked.text(), write_call("1", "a"));
        asked.json(result_of("1", "x"));
    });
    assert_eq!(text(answer).await, result_of("1", "x"));
    assert_eq!(states(&web.house), [EffectState::Done]);
    refused(&text(web.post(write_call("2", "a")).await).await, "already_done");
    web.server_saw_nothing().await;
    assert!(web.house.approver.submitted().is_empty(), "nobody is asked");
}

/// The tool says that it failed, or its answer is too large to be read: the effect may be there all the same.
#[tokio::test(start_paused = true)]
async fn an_effect_of_a_failed_run_is_in_doubt() {
    let large = result_of("1", &"x".repeat(1 << 12));
    for answer in [failure_of("1", "disk full"), large] {
        let mut pipes = Pipes::with(House::new(), |options| options.line_bytes_max = 1 << 11);
        pipes.house.set("write", Action::Once);
        pipes.say(&write_call("1", "a")).await;
        pipes.seen().await;
        pipes.answer(&answer).await;
        pipes.heard().await;
        assert_eq!(states(&pipes.house), [EffectState::Unknown]);
        pipes.say(&write_call("2", "a")).await;
        refused(&pipes.heard().await, "outcome_unknown");
        pipes.server_saw_nothing().await;
    }
    let web = Web::new().await;
    web.house.set("write", Action::Once);
    let (_, ()) = tokio::join!(web.post(write_call("1", "a")), async {
        web.asked().await.json(failure_of("1", "disk full"));
    });
    refused(&text(web.post(write_call("2", "a")).await).await, "outcome_unknown");
    web.server_saw_nothing().await;
}

/// The name of the effect is made from the arguments, so they are read as those that a person is shown.
#[tokio::test(start_paused = true)]
async fn arguments_that_name_an_effect_have_one_reading_and_fit() {
    let bad =
        [r#"{"path":"a","path":"b"}"#, r#"{"path":"a","Path":"b"}"#, r#"{"path":7}"#, r#"{"n":1}"#, "[]"];
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"write","arguments":{arguments}}}}}"#
        )
    };
    let mut pipes = Pipes::new();
    pipes.house.set("write", Action::Once);
    let web = Web::new().await;
    web.house.set("write", Action::Once);
    for arguments in bad {
        pipes.say(&call(arguments)).await;
        assert_eq!(status(&pipes.heard().await), "invalid_arguments", "{arguments}");
        assert_eq!(status(&text(web.post(call(arguments)).await).await), "invalid_arguments", "{arguments}");
    }
    pipes.server_saw_nothing().await;
    web.server_saw_nothing().await;
    assert!(pipes.house.journal.runs().is_empty() && web.house.journal.runs().is_empty());
}

/// The look-up says pass while the kernel has come to say once: arguments that nobody read name nothing.
#[tokio::test(start_paused = true)]
async fn unread_arguments_name_no_effect() {
    let mut pipes = Pipes::new();
    pipes.house.actions.set("write", Action::Pass);
    pipes.house.rules.set("write", Action::Once);
    for id in ["1", "2"] {
        pipes.say(&write_call(id, "a")).await;
        assert_eq!(status(&pipes.heard().await), "denied_by_config");
    }
    pipes.server_saw_nothing().await;
    assert!(pipes.house.journal.runs().is_empty());
}

/// Without arguments there is nothing to be read: it runs once, and its answer is one that can be read here.
#[tokio::test]
async fn a_call_without_arguments_that_comes_to_have_an_effect_has_it_once() {
    let web = Web::new().await;
    web.house.set("t", Action::Pass);
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;
    for action in [Action::Pass, Action::Once] {
        web.house.rules.set("t", action);
        let (answer, ()) = tokio::join!(web.post_with(&[("accept-encoding", "gzip")], call), async {
            let asked = web.asked().await;
            assert!(action == Action::Pass || !asked.headers.contains_key("accept-encoding"));
            asked.json(result_of("1", "x"));
        });
        assert_eq!(text(answer).await, result_of("1", "x"));
    }
    assert_eq!(states(&web.house), [EffectState::Done]);
    assert_eq!(status(&text(web.post(call).await).await), "already_done");
    web.server_saw_nothing().await;
}

/// Gate allows it, and yet it happens once.
#[tokio::test(start_paused = true)]
async fn an_allowed_call_has_its_effect_once() {
    let mut pipes = Pipes::new();
    pipes.house.rules.effects.store(true, Ordering::Relaxed);
    pipes.house.approver.on_submit(SubmitScript::Allow);
    pipes.house.approver.on_submit(SubmitScript::Allow);
    pipes.say(&write_call("1", "a")).await;
    pipes.seen().await;
    pipes.answer(&result_of("1", "x")).await;
    pipes.heard().await;
    pipes.say(&write_call("2", "a")).await;
    refused(&pipes.heard().await, "already_done");
    pipes.server_saw_nothing().await;
    assert_eq!(pipes.house.approver.submitted().len(), 1);
}

/// Nothing was sent: the name is free again.
#[tokio::test]
async fn a_server_that_was_not_reached_leaves_the_effect_free() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    let web = Web::with(|options| options.server = server_at(&format!("http://{closed}/"))).await;
    web.house.set("write", Action::Once);
    let listed = tokio::spawn(async move {
        let page = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"write"}]}}"#;
        let (mut stream, _) = listener.accept().await.unwrap();
        let _request = stream.read(&mut [0; 4096]).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{page}", page.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    for id in ["1", "2"] {
        let answer = text(web.post(write_call(id, "a")).await).await;
        assert_eq!(status(&answer), "unavailable", "{answer}");
        assert_eq!(decision(&answer)["retry"], "ask_again");
    }
    listed.await.unwrap();
    assert_eq!(states(&web.house), [EffectState::Void, EffectState::Void]);
}
