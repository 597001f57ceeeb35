//! Declarations, applied through the Gate itself.

use holdpoint_server::{Applied, ApplyError};
use holdpoint_store::AgentState;
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, declaration, refund};

async fn apply(world: &World, declaration: &Value) -> Result<Applied, ApplyError> {
    world.gate.apply(&serde_json::from_str(&declaration.to_string()).unwrap(), "tests").await
}

#[tokio::test]
async fn applying_says_what_changes_and_twice_changes_nothing() {
    let world = World::new().await;
    let first = apply(&world, &declaration()).await.unwrap();
    assert_eq!(
        first.changes,
        [
            "agent `support`: created",
            "agent `plain`: created",
            "tool `issue_refund`: added, allow by default, 3 rules"
        ]
    );
    assert_eq!(first.keys.len(), 2);
    assert!(!format!("{first:?}").contains(first.keys[0].key.expose()));
    let second = apply(&world, &declaration()).await.unwrap();
    assert_eq!((second.revision, second.changes.len(), second.keys.len()), (first.revision, 0, 0));

    let mut changed = declaration();
    changed["agents"][0]["signed_tokens"] = json!(false);
    changed["agents"][1]["paused"] = json!(true);
    changed["agents"].as_array_mut().unwrap().push(json!({"name": "third", "paused": true}));
    changed["tools"][0]["rules"] = json!([]);
    changed["tools"][0]["default_action"] = json!("reject");
    changed["tools"].as_array_mut().unwrap().push(json!({"name": "other"}));
    changed["unregistered"] = json!("reject");
    changed["review_ttl"] = json!("1h");
    changed["users"] = json!([{"name": "anna", "role": "admin"}]);
    let third = apply(&world, &changed).await.unwrap();
    assert_eq!(
        third.changes,
        [
            "agent `support`: signed tokens off",
            "agent `plain`: paused",
            "agent `third`: created, paused",
            "user `anna`: created, admin",
            "tool `issue_refund`: reject by default, was allow",
            "tool `issue_refund`: no rules in place of 3 rules",
            "tool `other`: added, review by default, no rules",
            "unregistered tools: reject now",
            "reviews expire after 1h",
        ]
    );
}

#[tokio::test]
async fn rules_are_in_force_at_once() {
    let (world, key, _) = World::declared().await;
    assert_eq!(world.ask(&key, "t", &refund(100)).await.json()["status"], "allow");
    let mut changed = declaration();
    changed["tools"][0]["default_action"] = json!("reject");
    apply(&world, &changed).await.unwrap();
    assert_eq!(world.ask(&key, "t", &refund(100)).await.json()["status"], "reject");
    changed["tools"] = json!([]);
    apply(&world, &changed).await.unwrap();
    assert_eq!(world.ask(&key, "t", &refund(100)).await.json()["status"], "pending_review");
    changed["unregistered"] = json!("reject");
    apply(&world, &changed).await.unwrap();
    assert_eq!(world.ask(&key, "t", &refund(100)).await.json()["status"], "reject");
}

#[tokio::test]
async fn an_agent_that_is_no_longer_declared_is_paused_and_comes_back() {
    let (world, key, _) = World::declared().await;
    let by_hand = world.gate.create_agent("by-hand", true, "tests").await.unwrap();
    let mut fewer = declaration();
    fewer["agents"] = json!([]);
    let applied = apply(&world, &fewer).await.unwrap();
    assert_eq!(applied.changes.len(), 2, "{:?}", applied.changes);
    assert_eq!(world.ask(&key, "t", &refund(1)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.ask(&by_hand, "t", &refund(1)).await.status, StatusCode::OK);
    let back = apply(&world, &declaration()).await.unwrap();
    assert!(back.changes.contains(&"agent `support`: resumed".to_owned()), "{:?}", back.changes);
    assert_eq!(world.ask(&key, "t", &refund(1)).await.status, StatusCode::OK, "with the key it had");
}

#[tokio::test]
async fn a_revoked_agent_stays_revoked() {
    let (world, key, _) = World::declared().await;
    world.gate.set_agent_state("support", AgentState::Revoked, "tests").await.unwrap();
    let applied = apply(&world, &declaration()).await.unwrap();
    assert!(applied.changes[0].contains("stays so"), "{:?}", applied.changes);
    assert_eq!(world.ask(&key, "t", &refund(1)).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_wrong_declaration_changes_nothing() {
    let (world, key, _) = World::declared().await;
    let mut wrong = declaration();
    wrong["agents"][0]["paused"] = json!(true);
    wrong["tools"][0]["rules"][0] =
        json!({"type": "regex", "parameter": "x", "pattern": "[", "action": "allow"});
    let Err(ApplyError::Mistakes(mistakes)) = apply(&world, &wrong).await else { panic!("it was applied") };
    assert_eq!(mistakes[0].at, "/tools/0/rules/0/pattern");
    assert_eq!(world.ask(&key, "t", &refund(100)).await.json()["status"], "allow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gate_on_the_same_folder_sees_the_change() {
    let (world, key, _) = World::declared().await;
    let options = holdpoint_server::Options::new("http://127.0.0.1:7879".parse().unwrap());
    let (store, clock, shutdown) = (world.store.clone(), world.clock.clone(), world.shutdown.clone());
    let second = holdpoint_server::GateServer::open(store, clock, options, shutdown).await.unwrap();
    let mut stricter = declaration();
    stricter["tools"][0]["default_action"] = json!("reject");
    second.apply(&serde_json::from_str(&stricter.to_string()).unwrap(), "other").await.unwrap();
    assert_eq!(world.ask(&key, "t", &refund(100)).await.json()["status"], "reject");
}
