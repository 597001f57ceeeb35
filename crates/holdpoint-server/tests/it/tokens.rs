//! One-time approval tokens, contract 8.

use std::time::Duration;

use holdpoint_store::VerdictKind;
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, declaration, post};

fn refused(reason: &str) -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({"valid": false, "reason": reason}))
}

#[tokio::test]
async fn a_token_is_valid_once() {
    let (world, key, _) = World::declared().await;
    let (thread, token) = world.approved(&key, "t").await;
    assert!(token.len() >= 43, "256 bits");
    let first = world.validate(&key, "t", &token).await;
    assert_eq!((first.status, first.json()), (StatusCode::OK, json!({"valid": true})));
    let second = world.validate(&key, "t", &token).await;
    assert_eq!((second.status, second.json()), refused("used"));
    let after = world.poll(&key, &thread).await;
    assert_eq!(after["status"], "approved");
    assert!(after.get("approval_token").is_none() && after.get("token_expires_at").is_none());
}

#[tokio::test]
async fn each_poll_replaces_the_token() {
    let (world, key, _) = World::declared().await;
    let (thread, old) = world.approved(&key, "t").await;
    let new = world.poll(&key, &thread).await;
    let second = world.validate(&key, "t", &old).await;
    assert_eq!((second.status, second.json()), refused("invalid"));
    assert_eq!(
        world.validate(&key, "t", new["approval_token"].as_str().unwrap()).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_token_is_bound_to_agent_and_task() {
    let (world, key, other) = World::declared().await;
    let (_, token) = world.approved(&key, "t").await;
    for (key, task) in [(&other, "t"), (&key, "t2")] {
        let reply = world.validate(key, task, &token).await;
        assert_eq!((reply.status, reply.json()), refused("invalid"));
    }
    for wrong in ["", "x", "sgt_nonsense", &"x".repeat(10_000)] {
        let reply = world.validate(&key, "t", wrong).await;
        assert_eq!((reply.status, reply.json()), refused("invalid"), "{wrong:.20}");
    }
    assert_eq!(world.validate(&key, "t", &token).await.status, StatusCode::OK, "none of that used it up");
}

#[tokio::test]
async fn tokens_expire_from_the_first_delivery_on() {
    let (world, key, _) = World::declared().await;
    let (thread, _) = world.approved(&key, "t").await;
    world.clock.advance(Duration::from_secs(599));
    let late = world.poll(&key, &thread).await;
    assert_eq!(late["token_expires_at"], "2026-11-22T20:10:00Z");
    world.clock.advance(Duration::from_secs(1));
    let reply = world.validate(&key, "t", late["approval_token"].as_str().unwrap()).await;
    assert_eq!((reply.status, reply.json()), refused("expired"));
    let lapsed = world.poll(&key, &thread).await;
    assert_eq!(lapsed["status"], "approved");
    assert!(lapsed.get("approval_token").is_none());
    assert!(lapsed["message"].as_str().unwrap().contains("over"));
}

#[tokio::test]
async fn an_agent_may_have_its_own_ttl_or_no_tokens() {
    let world = World::new().await;
    let mut custom = declaration();
    custom["token_ttl"] = json!("5m");
    custom["agents"][0]["token_ttl"] = json!("30s");
    let keys = world.apply(&custom).await;
    let thread = world.open(&keys[0], "t").await;
    world.decide(&thread, VerdictKind::Approve, "anna").await;
    assert_eq!(world.poll(&keys[0], &thread).await["token_expires_at"], "2026-11-22T20:00:30Z");
    let thread = world.open(&keys[1], "t").await;
    world.decide(&thread, VerdictKind::Approve, "anna").await;
    let plain = world.poll(&keys[1], &thread).await;
    assert_eq!(plain["status"], "approved");
    assert!(plain.get("approval_token").is_none());
}

#[tokio::test]
async fn nothing_but_an_approval_gets_a_token() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    assert!(world.poll(&key, &thread).await.get("approval_token").is_none());
    world.decide(&thread, VerdictKind::Reject, "anna").await;
    let answer = world.poll(&key, &thread).await;
    assert_eq!(answer["status"], "rejected");
    assert!(answer.get("approval_token").is_none());
}

#[tokio::test]
async fn every_error_of_this_endpoint_is_json() {
    let (world, key, _) = World::declared().await;
    let path = "/api/agent/approvals/validate";
    for body in [
        "",
        "{}",
        "[]",
        r#"{"task_id":"t"}"#,
        r#"{"task_id":"t","signature":5}"#,
        r#"{"task_id":"","signature":"x"}"#,
    ] {
        let reply = world.send(post(path).key(&key).bytes(body)).await;
        assert_eq!((reply.status, reply.json()), refused("invalid"), "{body}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    let stranger = world.send(post(path).json(&json!({"task_id": "t", "signature": "x"}))).await;
    assert_eq!((stranger.status, &stranger.json()["valid"]), (StatusCode::UNAUTHORIZED, &json!(false)));
    let large = world.send(post(path).key(&key).bytes(vec![b' '; 9 * 1024 * 1024])).await;
    assert_eq!((large.status, &large.json()["valid"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!(false)));
}

#[tokio::test]
async fn tokens_are_nowhere_in_the_log() {
    let (world, key, _) = World::declared().await;
    let (_, token) = world.approved(&key, "t").await;
    world.validate(&key, "t", &token).await;
    let log =
        holdpoint_store::Decisions::log_after(&*world.store, holdpoint_store::LogSeq(0), 100).await.unwrap();
    let log = format!("{log:?}");
    assert!(!log.contains(&token) && !log.contains(key.expose()));
}
