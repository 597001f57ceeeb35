use std::sync::Arc;
use std::time::Duration;

use super::{agent, decision, later, opened, race, secret, task, thread};
use crate::{AgentId, MintOutcome, NewThread, RedeemOutcome, RevisionId, Store, ThreadId, VerdictKind};

const TTL: Duration = Duration::from_mins(10);

async fn approved(store: &dyn Store, agent: AgentId, id: &str) -> ThreadId {
    let id = opened(store, thread(agent, id)).await;
    store.decide(decision(&id, "r1", VerdictKind::Approve, "ann")).await.unwrap();
    id
}

pub(super) async fn only_approved_threads_have_tokens(store: Arc<dyn Store>) {
    let (one, two) = (agent(&*store, "one").await, agent(&*store, "two").await);
    let open = opened(&*store, thread(one, "THR-1")).await;
    let refused = opened(&*store, thread(one, "THR-2")).await;
    store.decide(decision(&refused, "r1", VerdictKind::Reject, "ann")).await.unwrap();
    let approved = approved(&*store, one, "THR-3").await;
    let mint =
        async |agent, id: &ThreadId| store.mint_token(agent, id, secret("t"), TTL, later(11)).await.unwrap();
    assert_eq!(mint(one, &open).await, MintOutcome::NotApproved);
    assert_eq!(mint(one, &refused).await, MintOutcome::NotApproved);
    assert_eq!(mint(two, &approved).await, MintOutcome::NotApproved);
    assert_eq!(mint(one, &ThreadId::new("THR-9")).await, MintOutcome::NotApproved);
    assert_eq!(mint(one, &approved).await, MintOutcome::Minted { expires_at: later(611) });
}

pub(super) async fn of_many_redemptions_one_is_valid(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = approved(&*store, agent, "THR-1").await;
    store.mint_token(agent, &id, secret("t"), TTL, later(11)).await.unwrap();
    let outcomes = race(|_| {
        let store = Arc::clone(&store);
        async move { store.redeem_token(agent, &task("task-1"), secret("t"), later(12)).await.unwrap() }
    })
    .await;
    let valid = RedeemOutcome::Valid { thread_id: id.clone(), revision_id: RevisionId::new("r1") };
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == valid).count(), 1);
    let used = RedeemOutcome::Used { thread_id: id.clone() };
    assert!(outcomes.iter().all(|outcome| *outcome == valid || *outcome == used));
    let mint = store.mint_token(agent, &id, secret("u"), TTL, later(13)).await.unwrap();
    assert_eq!(mint, MintOutcome::Spent, "an approval is used once");
}

pub(super) async fn a_newer_token_revokes_the_older(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = approved(&*store, agent, "THR-1").await;
    store.mint_token(agent, &id, secret("first"), TTL, later(11)).await.unwrap();
    store.mint_token(agent, &id, secret("second"), TTL, later(12)).await.unwrap();
    let redeem =
        async |token| store.redeem_token(agent, &task("task-1"), secret(token), later(13)).await.unwrap();
    assert_eq!(redeem("first").await, RedeemOutcome::Invalid);
    assert!(matches!(redeem("second").await, RedeemOutcome::Valid { .. }));
}

pub(super) async fn tokens_expire_from_the_first(store: Arc<dyn Store>) {
    let agent = agent(&*store, "one").await;
    let id = approved(&*store, agent, "THR-1").await;
    let mint = async |token, at| store.mint_token(agent, &id, secret(token), TTL, later(at)).await.unwrap();
    assert_eq!(mint("first", 11).await, MintOutcome::Minted { expires_at: later(611) });
    assert_eq!(mint("second", 500).await, MintOutcome::Minted { expires_at: later(611) });
    let late = store.redeem_token(agent, &task("task-1"), secret("second"), later(611)).await.unwrap();
    assert_eq!(late, RedeemOutcome::Expired { thread_id: id.clone() });
    assert_eq!(mint("third", 611).await, MintOutcome::Lapsed);
    let in_time = store.redeem_token(agent, &task("task-1"), secret("second"), later(610)).await.unwrap();
    assert!(matches!(in_time, RedeemOutcome::Valid { .. }));
}

pub(super) async fn tokens_are_bound_to_agent_and_task(store: Arc<dyn Store>) {
    let (one, two) = (agent(&*store, "one").await, agent(&*store, "two").await);
    let id = approved(&*store, one, "THR-1").await;
    opened(&*store, NewThread { task_id: task("task-2"), ..thread(one, "THR-2") }).await;
    store.mint_token(one, &id, secret("t"), TTL, later(11)).await.unwrap();
    let redeem = async |agent, name: &str, token| {
        store.redeem_token(agent, &task(name), secret(token), later(12)).await.unwrap()
    };
    assert_eq!(redeem(two, "task-1", "t").await, RedeemOutcome::Invalid);
    assert_eq!(redeem(one, "task-2", "t").await, RedeemOutcome::Invalid);
    assert_eq!(redeem(one, "task-1", "forged").await, RedeemOutcome::Invalid);
    assert!(
        matches!(redeem(one, "task-1", "t").await, RedeemOutcome::Valid { .. }),
        "the wrong tries burnt it"
    );
}
