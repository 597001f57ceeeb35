//! Gate's state: the suite every back end passes, and what only files can show.

use std::sync::Arc;
use std::time::Duration;

use holdpoint_api::{SecretHash, TaskId};
use holdpoint_store::{
    AgentSettings, AgentState, Agents, AutomaticDecision, AutomaticOutcome, Change, CreateAgent, Decisions,
    Idempotency, LogEntry, LogSeq, NewAgent, NewThread, OpenOutcome, OpenState, Revision, RevisionId, Store,
    StoreError, ThreadId, Threads,
};
use holdpoint_store_sqlite::SqliteStore;
use jiff::Timestamp;
use tempfile::TempDir;

/// A store whose folder goes with it.
#[derive(Debug)]
struct Fresh {
    store: SqliteStore,
    folder: TempDir,
}

impl Fresh {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::open(&folder.path().join("gate.db")).await.unwrap();
        Self { store, folder }
    }

    /// Another process would have the same: a handle of its own on the same file.
    async fn second(&self) -> SqliteStore {
        SqliteStore::open(&self.folder.path().join("gate.db")).await.unwrap()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn new_agent(name: &str) -> NewAgent {
    NewAgent {
        name: name.to_owned(),
        key_hash: SecretHash::of(name),
        key_hint: "1234".to_owned(),
        settings: AgentSettings { signed_tokens: true, token_ttl: None },
        by: "test".to_owned(),
        now: now(),
    }
}

fn automatic(agent: holdpoint_store::AgentId) -> AutomaticDecision {
    AutomaticDecision {
        agent_id: agent,
        task_id: TaskId::parse("task").unwrap(),
        outcome: AutomaticOutcome::Reject,
        tool_name: "tool".to_owned(),
        subject: "subject".to_owned(),
        payload: None,
        payload_digest: "sha256:00".to_owned(),
        rule_trace: serde_json::value::RawValue::from_string("[]".to_owned()).unwrap(),
        idempotency: None,
        now: now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance() {
    let folders = std::sync::Mutex::new(Vec::new());
    holdpoint_store::conformance::run(async || {
        let Fresh { store, folder } = Fresh::new().await;
        folders.lock().unwrap().push(folder);
        store
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_restart() {
    let fresh = Fresh::new().await;
    let CreateAgent::Created(agent) = fresh.store.create_agent(new_agent("one")).await.unwrap() else {
        panic!("taken")
    };
    fresh.store.record_decision(automatic(agent.id)).await.unwrap();
    fresh.store.close().await;
    assert!(matches!(fresh.store.record_decision(automatic(agent.id)).await, Err(StoreError::Closed)));
    let again = fresh.second().await;
    assert_eq!(*again.agent_by_key(SecretHash::of("one")).await.unwrap().unwrap(), agent);
    let log = again.log_after(LogSeq(0), 10).await.unwrap();
    assert!(matches!(
        log.last().unwrap().entry,
        LogEntry::DecidedByRules { outcome: AutomaticOutcome::Reject, .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_by_another_process_counts_at_once() {
    let fresh = Fresh::new().await;
    let other = fresh.second().await;
    for round in 0..50 {
        let name = format!("agent {round}");
        fresh.store.create_agent(new_agent(&name)).await.unwrap();
        let key = SecretHash::of(&name);
        assert_eq!(other.agent_by_key(key).await.unwrap().unwrap().state, AgentState::Active);
        assert_eq!(fresh.store.agent_by_key(key).await.unwrap().unwrap().state, AgentState::Active);
        other.set_agent_state(&name, AgentState::Paused, "cli", now()).await.unwrap();
        assert_eq!(fresh.store.agent_by_key(key).await.unwrap().unwrap().state, AgentState::Paused);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bell_rings_for_other_processes() {
    let fresh = Fresh::new().await;
    let other = fresh.second().await;
    let mut listener = fresh.store.bell().listen();
    other.create_agent(new_agent("one")).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(10), listener.next()).await.unwrap();
    assert_eq!(heard, Some(Change::Everything));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_side_by_side() {
    const EACH: usize = 200;
    let fresh = Fresh::new().await;
    let CreateAgent::Created(agent) = fresh.store.create_agent(new_agent("one")).await.unwrap() else {
        panic!("taken")
    };
    let stores = [Arc::new(fresh.store.clone()), Arc::new(fresh.second().await)];
    let mut writers = tokio::task::JoinSet::new();
    for at in 0..EACH {
        for store in &stores {
            let store = Arc::clone(store);
            writers.spawn(async move {
                store.record_decision(automatic(agent.id)).await.unwrap();
                // What another process changes in between is seen, whatever else is being written.
                assert!(store.agent_by_key(SecretHash::of("one")).await.unwrap().is_some(), "{at}");
            });
        }
    }
    writers.join_all().await;
    let log = fresh.store.log_after(LogSeq(0), 10_000).await.unwrap();
    let decided = log.iter().filter(|row| matches!(row.entry, LogEntry::DecidedByRules { .. })).count();
    assert_eq!(decided, 2 * EACH);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_job_takes_nobody_along() {
    let fresh = Fresh::new().await;
    let CreateAgent::Created(agent) = fresh.store.create_agent(new_agent("one")).await.unwrap() else {
        panic!("taken")
    };
    let mut jobs = tokio::task::JoinSet::new();
    for at in 0..100 {
        let store = fresh.store.clone();
        jobs.spawn(async move {
            if at % 2 == 0 {
                // The same key as the first agent's: the schema refuses it, after the name was accepted.
                let clash = NewAgent { key_hash: SecretHash::of("one"), ..new_agent(&format!("agent {at}")) };
                assert!(matches!(store.create_agent(clash).await, Err(StoreError::Database { .. })));
            } else {
                store.create_agent(new_agent(&format!("agent {at}"))).await.unwrap();
                store.record_decision(automatic(agent.id)).await.unwrap();
            }
        });
    }
    jobs.join_all().await;
    assert_eq!(fresh.store.agents().await.unwrap().len(), 51);
    let log = fresh.store.log_after(LogSeq(0), 1000).await.unwrap();
    assert_eq!(log.iter().filter(|row| matches!(row.entry, LogEntry::AgentCreated { .. })).count(), 51);
    assert_eq!(log.iter().filter(|row| matches!(row.entry, LogEntry::DecidedByRules { .. })).count(), 50);
}

/// What a job wrote before it was refused is gone, and what the others of its batch wrote is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_refused_half_way_leaves_nothing() {
    let fresh = Fresh::new().await;
    let CreateAgent::Created(agent) = fresh.store.create_agent(new_agent("one")).await.unwrap() else {
        panic!("taken")
    };
    let thread = move |at: usize, digest: &str| NewThread {
        id: ThreadId::new(format!("THR-{at}")),
        agent_id: agent.id,
        task_id: TaskId::parse("task").unwrap(),
        state: OpenState::NeedsReview,
        expires_at: None,
        revision: Revision {
            id: RevisionId::new("r1"),
            number: 1,
            workflow_name: "w".to_owned(),
            task_label: "l".to_owned(),
            tool_name: "t".to_owned(),
            subject: "s".to_owned(),
            preview: None,
            risk_level: None,
            summary: Vec::new(),
            payload: "null".to_owned(),
            payload_digest: digest.to_owned(),
            rule_trace: "[]".to_owned(),
            made_at: now(),
        },
        images: Vec::new(),
        idempotency: Some(Idempotency { key: at.to_string(), body_digest: [1; 32], answer: String::new() }),
        now: now(),
    };
    let mut jobs = tokio::task::JoinSet::new();
    for at in 0..64 {
        let (store, new) =
            (fresh.store.clone(), thread(at, if at % 2 == 0 { "no digest" } else { "sha256:00" }));
        jobs.spawn(async move { (at, store.open_thread(new).await) });
    }
    for (at, opened) in jobs.join_all().await {
        if at % 2 == 0 {
            assert!(opened.is_err(), "{at}: {opened:?}");
            // Neither the id nor the key was used up.
            assert_eq!(fresh.store.open_thread(thread(at, "sha256:00")).await.unwrap(), OpenOutcome::Opened);
        } else {
            assert_eq!(opened.unwrap(), OpenOutcome::Opened, "{at}");
        }
    }
    assert_eq!(fresh.store.folder_counts().await.unwrap().open, 64);
}

/// Impossible rows are refused by the schema, whoever writes them.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_impossible_rows() {
    let fresh = Fresh::new().await;
    fresh.store.create_agent(new_agent("one")).await.unwrap();
    fresh.store.close().await;
    let mut raw = raw_connection(&fresh.folder.path().join("gate.db")).await;
    for (sql, why) in [
        (
            "INSERT INTO threads VALUES (1,'T',1,'t','approved',1,NULL,'r',NULL,2,NULL,NULL,NULL,NULL)",
            "CHECK",
        ),
        (
            "INSERT INTO threads VALUES (1,'T',1,'t','approved',1,NULL,'r',NULL,2,'rules',NULL,NULL,'r')",
            "CHECK",
        ),
        (
            "INSERT INTO threads VALUES (1,'T',1,'t','needs_review',1,NULL,'r',NULL,2,NULL,NULL,NULL,NULL)",
            "CHECK",
        ),
        (
            "INSERT INTO threads VALUES (1,'T',1,'t','rejected',1,NULL,'r',NULL,2,'person',NULL,NULL,'r')",
            "CHECK",
        ),
        ("INSERT INTO threads VALUES (1,'T',1,'t','maybe',1,NULL,'r',NULL,2,NULL,NULL,NULL,NULL)", "CHECK"),
        (
            "INSERT INTO threads VALUES (1,'T',9,'t','needs_review',1,NULL,'r',NULL,NULL,NULL,NULL,NULL,NULL)",
            "FOREIGN KEY",
        ),
        ("INSERT INTO tokens VALUES ('T',x'00',1,2,NULL)", "CHECK"),
        ("UPDATE log SET at = 5", "append-only"),
        ("DELETE FROM log", "append-only"),
        ("UPDATE agents SET state = 'gone'", "CHECK"),
        ("UPDATE agents SET created_at = 'soon'", "cannot store TEXT"),
    ] {
        let error = sqlx::query(sql).execute(&mut raw).await.expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
    sqlx::query("UPDATE agents SET state = 'revoked'").execute(&mut raw).await.unwrap();
    let error =
        sqlx::query("UPDATE agents SET state = 'active'").execute(&mut raw).await.unwrap_err().to_string();
    assert!(error.contains("stays revoked"), "{error}");
}

pub(crate) async fn raw_connection(path: &std::path::Path) -> sqlx::SqliteConnection {
    use sqlx::ConnectOptions;
    sqlx::sqlite::SqliteConnectOptions::new().filename(path).foreign_keys(true).connect().await.unwrap()
}
