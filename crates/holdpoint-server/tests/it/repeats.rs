//! `Idempotency-Key`.

use holdpoint_store::{Decisions, LogSeq, VerdictKind};
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{Reply, World, declaration, post, refund};

async fn ask(world: &World, key: &holdpoint_api::ApiKey, task: &str, name: &str, body: &Value) -> Reply {
    let path = format!("/api/agent/tasks/{task}/requests");
    world.send(post(&path).key(key).header("idempotency-key", name).json(body)).await
}

#[tokio::test]
async fn the_same_request_gets_the_same_thread() {
    let (world, key, other) = World::declared().await;
    let first = ask(&world, &key, "t", "k1", &refund(500)).await;
    let again = ask(&world, &key, "t", "k1", &refund(500)).await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, first.json()));
    assert_eq!(world.gate.open_threads().await.unwrap().len(), 1);
    for (task, body) in [("t", refund(501)), ("t2", refund(500)), ("t", refund(1))] {
        let conflict = ask(&world, &key, task, "k1", &body).await;
        assert_eq!(conflict.status, StatusCode::BAD_REQUEST, "{task} {body}");
    }
    // Keys belong to their agent.
    let theirs = ask(&world, &other, "t", "k1", &refund(500)).await.json();
    assert_ne!(theirs["thread_id"], first.json()["thread_id"]);
    assert_ne!(
        ask(&world, &key, "t", "k2", &refund(500)).await.json()["thread_id"],
        first.json()["thread_id"]
    );
}

#[tokio::test]
async fn a_closed_thread_is_still_the_answer() {
    let (world, key, _) = World::declared().await;
    let first = ask(&world, &key, "t", "k1", &refund(500)).await.json();
    world.decide(first["thread_id"].as_str().unwrap(), VerdictKind::Reject, "anna").await;
    assert_eq!(ask(&world, &key, "t", "k1", &refund(500)).await.json(), first);
}

#[tokio::test]
async fn a_changed_rule_beats_an_old_answer_but_not_a_thread() {
    let (world, key, _) = World::declared().await;
    let log = async || world.store.log_after(LogSeq(0), 1000).await.unwrap().len();
    let before = log().await;
    assert_eq!(ask(&world, &key, "t", "auto", &refund(100)).await.json()["status"], "allow");
    assert_eq!(ask(&world, &key, "t", "auto", &refund(100)).await.json()["status"], "allow");
    assert_eq!(log().await, before + 2, "each automatic answer is one row");
    let held = ask(&world, &key, "t", "held", &refund(500)).await.json();
    assert_eq!(held["status"], "pending_review");

    let mut stricter = declaration();
    stricter["tools"][0]["rules"] =
        json!([{"type": "lower_limit", "parameter": "amount", "value": 200, "action": "reject"}]);
    world.apply(&stricter).await;
    assert_eq!(ask(&world, &key, "t", "auto", &refund(100)).await.json()["status"], "reject");
    // The rules would allow it now, but a person has it.
    assert_eq!(ask(&world, &key, "t", "held", &refund(500)).await.json(), held);
    world.decide(held["thread_id"].as_str().unwrap(), VerdictKind::Reject, "anna").await;
    assert_eq!(ask(&world, &key, "t", "held", &refund(500)).await.json()["status"], "pending_review");
    assert_eq!(ask(&world, &key, "t", "held", &refund(600)).await.status, StatusCode::BAD_REQUEST);

    stricter["tools"][0]["rules"] = json!([]);
    stricter["tools"][0]["default_action"] = json!("review");
    world.apply(&stricter).await;
    let opened = ask(&world, &key, "t", "auto", &refund(100)).await.json();
    assert_eq!(opened["status"], "pending_review");
    assert_eq!(ask(&world, &key, "t", "auto", &refund(100)).await.json(), opened);
    stricter["tools"][0]["default_action"] = json!("allow");
    world.apply(&stricter).await;
    assert_eq!(ask(&world, &key, "t", "auto", &refund(100)).await.json(), opened);
}

#[tokio::test]
async fn a_revised_thread_is_known_by_its_first_request() {
    let (world, key, _) = World::declared().await;
    let held = ask(&world, &key, "t", "held", &refund(500)).await.json();
    let thread = held["thread_id"].as_str().unwrap();
    let revision = json!({
        "event_type": format!("revision.t.{thread}"), "event_summary": "less",
        "payload": {"revision": {"revision_id": "rev-002", "request_payload": {"amount": 400}}},
    });
    assert_eq!(world.send(post("/api/agent/tasks/t/events").key(&key).json(&revision)).await.status, 201);
    let mut milder = declaration();
    milder["tools"][0]["rules"] = json!([]);
    world.apply(&milder).await;
    assert_eq!(ask(&world, &key, "t", "held", &refund(500)).await.json()["thread_id"], thread);
    assert_eq!(ask(&world, &key, "t", "held", &refund(501)).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_many_times_at_once_opens_one_thread() {
    let (world, key, _) = World::declared().await;
    let body = refund(500);
    let replies = futures_util::future::join_all((0..64).map(|_| ask(&world, &key, "t", "k", &body))).await;
    let threads: std::collections::HashSet<String> =
        replies.iter().map(|reply| reply.json()["thread_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((threads.len(), world.gate.open_threads().await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn keys_that_cannot_be_kept_are_refused() {
    let (world, key, _) = World::declared().await;
    for name in ["", "a b", &"k".repeat(256)] {
        assert_eq!(
            ask(&world, &key, "t", name, &refund(1)).await.status,
            StatusCode::BAD_REQUEST,
            "{name:?}"
        );
    }
    assert_eq!(ask(&world, &key, "t", &"k".repeat(255), &refund(1)).await.status, StatusCode::OK);
    let two = post("/api/agent/tasks/t/requests").key(&key).header("idempotency-key", "a");
    assert_eq!(
        world.send(two.header("idempotency-key", "b").json(&refund(1))).await.status,
        StatusCode::BAD_REQUEST
    );
}
