//! Long polls, expiry, shutdown.

use std::time::Duration;

use holdpoint_store::{AgentState, ThreadId, VerdictKind};
use http::StatusCode;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::world::{Reply, World, declaration, get, send};

/// Long enough for a poll to be waiting, short enough not to be missed.
const MOMENT: Duration = Duration::from_millis(150);

/// Well below the pause after which a waiting poll reads again by itself.
const AT_ONCE: Duration = Duration::from_secs(3);

fn wait(world: &World, key: &holdpoint_api::ApiKey, query: &str) -> tokio::task::JoinHandle<Reply> {
    let call = get(&format!("/api/agent/decisions?{query}")).key(key);
    tokio::spawn(send(world.router.clone(), call))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_wakes_whoever_waits_for_it() {
    let (world, key, _) = World::declared().await;
    let (mine, others) = (world.open(&key, "mine").await, world.open(&key, "others").await);
    let mut by_thread = wait(&world, &key, &format!("thread_id={mine}&wait=60"));
    let mut by_task = wait(&world, &key, "task_id=mine&wait=60");
    let mut unrelated = wait(&world, &key, &format!("thread_id={others}&wait=60"));
    assert!(timeout(MOMENT, &mut by_thread).await.is_err(), "it holds its answer");
    assert!(timeout(MOMENT, &mut by_task).await.is_err());
    world.decide(&mine, VerdictKind::Approve, "anna").await;
    for poll in [by_thread, by_task] {
        let answer = timeout(AT_ONCE, poll).await.expect("the bell wakes it").unwrap().json();
        assert_eq!(answer["status"], "approved");
        assert!(answer["approval_token"].is_string());
    }
    assert!(timeout(MOMENT, &mut unrelated).await.is_err(), "another thread's decision is no news");
    world.decide(&others, VerdictKind::Reject, "anna").await;
    let answer = timeout(AT_ONCE, unrelated).await.unwrap().unwrap().json();
    assert_eq!((&answer["status"], &answer["message"]), (&json!("rejected"), &json!("anna says so")));
}

#[tokio::test]
async fn a_poll_ends_with_the_last_state() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    for (query, at_least) in [("wait=1", 1), ("wait=0", 0)] {
        let started = Instant::now();
        let path = format!("/api/agent/decisions?thread_id={thread}&{query}");
        let answer = world.send(get(&path).key(&key)).await.json();
        assert_eq!(answer["status"], "pending_review");
        let waited = started.elapsed();
        assert!(waited >= Duration::from_secs(at_least) && waited < AT_ONCE, "{query}: {waited:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_changes_is_told_at_once() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    assert_eq!(world.poll(&key, &thread).await["message"], "", "no words but a reviewer's");
    let mut poll = wait(&world, &key, &format!("thread_id={thread}&wait=60"));
    assert!(timeout(MOMENT, &mut poll).await.is_err());
    let id = ThreadId::new(thread.as_str());
    world
        .gate
        .ask_for_changes(&id, &holdpoint_store::RevisionId::new("initial"), "anna", "Only $400")
        .await
        .unwrap();
    let answer = timeout(AT_ONCE, poll).await.unwrap().unwrap().json();
    assert_eq!((&answer["status"], &answer["message"]), (&json!("pending_review"), &json!("Only $400")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_paused_while_it_waited_gets_no_token() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let mut poll = wait(&world, &key, &format!("thread_id={thread}&wait=60"));
    assert!(timeout(MOMENT, &mut poll).await.is_err());
    world.gate.set_agent_state("support", AgentState::Paused, "tests").await.unwrap();
    world.decide(&thread, VerdictKind::Approve, "anna").await;
    assert_eq!(timeout(AT_ONCE, poll).await.unwrap().unwrap().status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_answers_polls_with_their_last_state() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let mut poll = wait(&world, &key, &format!("thread_id={thread}&wait=60"));
    assert!(timeout(MOMENT, &mut poll).await.is_err());
    world.shutdown.cancel();
    let reply = timeout(AT_ONCE, poll).await.unwrap().unwrap();
    assert_eq!((reply.status, &reply.json()["status"]), (StatusCode::OK, &json!("pending_review")));
}

#[tokio::test]
async fn past_the_limit_polls_are_answered_at_once() {
    let world = World::with(|options| options.limits.waiters_max = 0).await;
    let keys = world.apply(&declaration()).await;
    let thread = world.open(&keys[0], "t").await;
    let poll = wait(&world, &keys[0], &format!("thread_id={thread}&wait=60"));
    assert_eq!(timeout(AT_ONCE, poll).await.unwrap().unwrap().json()["status"], "pending_review");
}

#[tokio::test]
async fn what_nobody_decides_expires_and_says_so() {
    let world = World::new().await;
    let mut with_ttl = declaration();
    with_ttl["review_ttl"] = json!("1h");
    let keys = world.apply(&with_ttl).await;
    let (polled, swept) = (world.open(&keys[0], "a").await, world.open(&keys[0], "b").await);
    world.clock.advance(Duration::from_secs(3599));
    assert_eq!(world.poll(&keys[0], &polled).await["status"], "pending_review");
    world.clock.advance(Duration::from_secs(1));
    let answer = world.poll(&keys[0], &polled).await;
    assert_eq!((&answer["status"], &answer["thread_state"]), (&json!("rejected"), &json!("expired")));
    assert!(answer["message"].as_str().unwrap().contains("xpired") && answer.get("approval_token").is_none());
    world.gate.sweep().await.unwrap();
    assert_eq!(world.poll(&keys[0], &swept).await["thread_state"], "expired");
    assert!(matches!(
        world.decide(&swept, VerdictKind::Approve, "anna").await,
        holdpoint_store::DecideOutcome::AlreadyDecided(_)
    ));
    assert_eq!(world.poll(&keys[0], &swept).await["status"], "rejected");
}

#[tokio::test]
async fn without_a_ttl_nothing_expires() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    world.clock.advance(Duration::from_hours(24 * 365));
    world.gate.sweep().await.unwrap();
    assert_eq!(world.poll(&key, &thread).await["status"], "pending_review");
}
