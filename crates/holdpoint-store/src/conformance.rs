//! What every back end has to do, as tests any back end's own tests call.
//!
//! ```ignore
//! #[tokio::test(flavor = "multi_thread")]
//! async fn conformance() {
//!     holdpoint_store::conformance::run(async || open_an_empty_store().await).await;
//! }
//! ```
//!
//! Each case gets an empty store of its own and panics where the store does not do what the traits say.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite fails by panicking"
)]

mod agents;
pub mod journal;
mod people;
mod records;
mod threads;
mod tokens;

use std::sync::Arc;

use holdpoint_api::{SecretHash, TaskId, payload_digest};
use jiff::{SignedDuration, Timestamp};

use crate::{
    AgentId, AgentSettings, CreateAgent, Decision, NewAgent, NewRevision, NewThread, OpenOutcome, OpenState,
    Revision, RevisionId, Store, ThreadId, VerdictKind,
};

/// Racers in every race.
const RACERS: usize = 64;

/// Runs every case, each on a store of its own that `make` makes.
pub async fn run<S: Store + 'static>(make: impl AsyncFn() -> S) {
    macro_rules! cases {
        ($($case:path),* $(,)?) => {
            $(
                let store: Arc<dyn Store> = Arc::new(make().await);
                $case(store).await;
            )*
        };
    }
    cases![
        agents::names_are_taken_once,
        agents::keys_find_their_agent_at_once,
        agents::pausing_and_revoking,
        agents::declarations_count_up_only_when_they_differ,
        records::automatic_decisions_are_on_record,
        records::an_idempotency_key_answers_once,
        records::racing_idempotency_keys,
        records::events_keep_their_payload_and_images,
        threads::what_was_opened_is_read_back,
        threads::ids_are_taken_once,
        threads::repeated_requests_open_one_thread,
        threads::other_agents_see_nothing,
        threads::one_of_many_deciders_wins,
        threads::a_decision_is_on_the_revision_seen,
        threads::revisions_supersede,
        threads::a_revision_the_rules_refuse_closes_the_thread,
        threads::asking_for_changes,
        threads::what_is_overdue_expires,
        threads::folders_search_and_order,
        threads::the_timeline_tells_the_story,
        threads::the_bell_rings_after_the_commit,
        threads::an_agent_hears_of_its_news_and_reads_it,
        tokens::only_approved_threads_have_tokens,
        tokens::of_many_redemptions_one_is_valid,
        tokens::a_newer_token_revokes_the_older,
        tokens::tokens_expire_from_the_first,
        tokens::tokens_are_bound_to_agent_and_task,
        people::names_and_sessions,
        people::a_link_signs_in_once,
    ];
}

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a valid instant")
}

fn later(seconds: i64) -> Timestamp {
    start().checked_add(SignedDuration::from_secs(seconds)).expect("a valid instant")
}

fn task(text: &str) -> TaskId {
    TaskId::parse(text).expect("a usable task id")
}

fn secret(text: &str) -> SecretHash {
    SecretHash::of(text)
}

async fn agent(store: &dyn Store, name: &str) -> AgentId {
    let new = NewAgent {
        name: name.to_owned(),
        key_hash: secret(name),
        key_hint: "1234".to_owned(),
        settings: AgentSettings { signed_tokens: true, token_ttl: None },
        by: "test".to_owned(),
        now: start(),
    };
    match store.create_agent(new).await.expect("the store works") {
        CreateAgent::Created(agent) => agent.id,
        CreateAgent::NameTaken => panic!("`{name}` is taken"),
    }
}

fn revision(id: &str, payload: &str) -> NewRevision {
    Revision {
        id: RevisionId::new(id),
        number: 1,
        workflow_name: "Customer Support".to_owned(),
        task_label: "Refund request - Order #8821".to_owned(),
        tool_name: "issue_refund".to_owned(),
        subject: "Issue refund of $500".to_owned(),
        preview: Some("Item never arrived".to_owned()),
        risk_level: Some(holdpoint_api::RiskLevel::High),
        summary: vec!["one".to_owned(), "two \u{202e}".to_owned()],
        payload: payload.to_owned(),
        payload_digest: payload_digest(payload),
        rule_trace: "[]".to_owned(),
        made_at: start(),
    }
}

fn thread(agent: AgentId, id: &str) -> NewThread {
    NewThread {
        id: ThreadId::new(id),
        agent_id: agent,
        task_id: task("task-1"),
        state: OpenState::NeedsReview,
        expires_at: None,
        revision: revision("r1", r#"{"amount": 500}"#),
        images: Vec::new(),
        idempotency: None,
        now: start(),
    }
}

async fn opened(store: &dyn Store, new: NewThread) -> ThreadId {
    let id = new.id.clone();
    assert_eq!(store.open_thread(new).await.expect("the store works"), OpenOutcome::Opened);
    id
}

fn decision(thread: &ThreadId, revision: &str, kind: VerdictKind, by: &str) -> Decision {
    Decision {
        thread_id: thread.clone(),
        revision_id: RevisionId::new(revision),
        kind,
        by: by.to_owned(),
        note: Some(format!("{by} says so")),
        now: later(10),
    }
}

/// Runs the same thing many times at once, and collects what came out.
async fn race<T: Send + 'static, Fut: Future<Output = T> + Send + 'static>(
    run: impl Fn(usize) -> Fut,
) -> Vec<T> {
    let barrier = Arc::new(tokio::sync::Barrier::new(RACERS));
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..RACERS {
        let (barrier, run) = (Arc::clone(&barrier), run(racer));
        racers.spawn(async move {
            barrier.wait().await;
            run.await
        });
    }
    racers.join_all().await
}
