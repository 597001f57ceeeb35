use std::sync::Arc;
use std::time::Duration;

use holdpoint_api::declare::{GateDeclaration, ToolDeclaration};

use super::{agent, later, race, secret, start};
use crate::{AgentChange, AgentSettings, AgentState, ApplyOutcome, Change, CreateAgent, NewAgent, Store};

fn new_agent(name: &str, key: &str) -> NewAgent {
    NewAgent {
        name: name.to_owned(),
        key_hash: secret(key),
        key_hint: "abcd".to_owned(),
        settings: AgentSettings { signed_tokens: false, token_ttl: Some(Duration::from_mins(1)) },
        by: "operator".to_owned(),
        now: start(),
    }
}

pub(super) async fn names_are_taken_once(store: Arc<dyn Store>) {
    let outcomes = race(|racer| {
        let store = Arc::clone(&store);
        async move { store.create_agent(new_agent("one", &format!("key {racer}"))).await.unwrap() }
    })
    .await;
    let created = outcomes.iter().filter(|outcome| matches!(outcome, CreateAgent::Created(_))).count();
    assert_eq!(created, 1);
    let all = store.agents().await.unwrap();
    assert_eq!(all.len(), 1);
    let only = all.first().unwrap();
    assert_eq!((only.name.as_str(), only.state, only.created_at), ("one", AgentState::Active, start()));
    assert_eq!(
        only.settings,
        AgentSettings { signed_tokens: false, token_ttl: Some(Duration::from_mins(1)) }
    );
}

pub(super) async fn keys_find_their_agent_at_once(store: Arc<dyn Store>) {
    assert!(store.agent_by_key(secret("one")).await.unwrap().is_none());
    let id = agent(&*store, "one").await;
    assert_eq!(store.agent_by_key(secret("one")).await.unwrap().unwrap().id, id);
    let changed = store.regenerate_key("one", secret("other"), "hint", "operator", later(1)).await.unwrap();
    assert!(matches!(changed, AgentChange::Changed(agent) if agent.key_hint == "hint"));
    assert!(store.agent_by_key(secret("one")).await.unwrap().is_none(), "the old key still works");
    assert_eq!(store.agent_by_key(secret("other")).await.unwrap().unwrap().id, id);
    let nobody = store.regenerate_key("two", secret("x"), "hint", "operator", later(1)).await.unwrap();
    assert_eq!(nobody, AgentChange::NotFound);
}

pub(super) async fn pausing_and_revoking(store: Arc<dyn Store>) {
    agent(&*store, "one").await;
    let mut listener = store.bell().listen();
    let set = async |state| store.set_agent_state("one", state, "operator", later(1)).await.unwrap();
    assert!(matches!(set(AgentState::Paused).await, AgentChange::Changed(_)));
    assert_eq!(listener.next().await, Some(Change::Setup));
    assert_eq!(store.agent_by_key(secret("one")).await.unwrap().unwrap().state, AgentState::Paused);
    assert!(matches!(set(AgentState::Paused).await, AgentChange::Unchanged(_)));
    assert!(matches!(set(AgentState::Active).await, AgentChange::Changed(_)));
    let settings = AgentSettings { signed_tokens: false, token_ttl: Some(Duration::from_secs(5)) };
    let changed = store.set_agent_settings("one", settings.clone(), "operator", later(2)).await.unwrap();
    assert!(matches!(changed, AgentChange::Changed(agent) if agent.settings == settings));
    let again = store.set_agent_settings("one", settings, "operator", later(2)).await.unwrap();
    assert!(matches!(again, AgentChange::Unchanged(_)));
    assert!(matches!(set(AgentState::Revoked).await, AgentChange::Changed(_)));
    assert!(
        matches!(set(AgentState::Active).await, AgentChange::Unchanged(agent) if agent.state == AgentState::Revoked)
    );
    let key = store.regenerate_key("one", secret("x"), "hint", "operator", later(1)).await.unwrap();
    assert!(matches!(key, AgentChange::Unchanged(_)));
    assert_eq!(store.agent_by_key(secret("one")).await.unwrap().unwrap().state, AgentState::Revoked);
}

pub(super) async fn declarations_count_up_only_when_they_differ(store: Arc<dyn Store>) {
    assert!(store.declaration().await.unwrap().is_none());
    let empty = GateDeclaration::default();
    let tools: Vec<ToolDeclaration> = serde_json::from_str(
        r#"[{"name":"issue_refund","rules":[{"type":"upper_limit","parameter":"amount","value":250.50,"action":"review"}]}]"#,
    )
    .unwrap();
    let full = GateDeclaration { tools, ..GateDeclaration::default() };
    let apply = async |declaration| store.apply_declaration(declaration, "operator", later(1)).await.unwrap();
    assert_eq!(apply(&empty).await, ApplyOutcome::Applied(1));
    assert_eq!(apply(&empty).await, ApplyOutcome::Unchanged(1));
    assert_eq!(apply(&full).await, ApplyOutcome::Applied(2));
    assert_eq!(apply(&empty).await, ApplyOutcome::Applied(3));
    assert_eq!(apply(&full).await, ApplyOutcome::Applied(4));
    let applied = store.declaration().await.unwrap().unwrap();
    assert_eq!((applied.revision, &*applied.declaration, applied.by.as_str()), (4, &full, "operator"));
}
