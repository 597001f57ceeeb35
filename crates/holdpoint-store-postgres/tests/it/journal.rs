//! The journal: the suite, and what only a server can do: go away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use holdpoint_core::{
    CallDigest, Ending, HeldCall, Hold, HoldId, HoldState, Identity, Journal, Liveness, Moved, NewHold,
    Opened, Owner, PolicyRevision, Principal, QuestionDigest, ServerName, Step, TaskId, ThreadId, ToolName,
};
use holdpoint_store::conformance::journal::{Processes, run};
use holdpoint_store_postgres::PostgresJournal;
use holdpoint_testkit::{PostgresDatabase, check_journal};
use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Processes that share a database.
#[derive(Debug)]
pub(crate) struct OnServer {
    database: PostgresDatabase,
    running: Mutex<HashMap<Arc<str>, PostgresJournal>>,
}

impl Default for OnServer {
    fn default() -> Self {
        Self { database: PostgresDatabase::create(), running: Mutex::default() }
    }
}

#[async_trait]
impl Processes for OnServer {
    async fn start(&self, owner: &Owner) -> Arc<dyn Journal> {
        let journal = open(&self.database, &owner.0).await;
        self.running.lock().unwrap().insert(Arc::clone(&owner.0), journal.clone());
        Arc::new(journal)
    }

    async fn end(&self, owner: &Owner) {
        let journal = self.running.lock().unwrap().remove(&owner.0).unwrap();
        journal.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance() {
    run(async || OnServer::default()).await;
}

#[test]
fn the_journal_is_its_model() {
    check_journal::<OnServer>(16);
}

async fn open(database: &PostgresDatabase, owner: &str) -> PostgresJournal {
    PostgresJournal::open(&database.url(), Owner(owner.into())).await.unwrap()
}

fn at() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn identity() -> Identity {
    Identity {
        principal: Principal::new("ann"),
        server: ServerName::new("payments"),
        tool: ToolName::new("issue_refund"),
        digest: CallDigest::from_bytes([1; 32]),
    }
}

fn new_hold() -> NewHold {
    NewHold {
        identity: identity(),
        hold: Hold {
            task: TaskId::new("task-1"),
            thread: ThreadId::new("THR-1"),
            binding: "sha256:00 r1".to_owned(),
            review_url: None,
            revision: 0,
        },
        arguments: None,
        definition: None,
        policy: PolicyRevision::new("p1"),
        question: QuestionDigest::from_bytes([8; 32]),
        effect: None,
        at: at(),
    }
}

async fn mine(journal: &PostgresJournal) -> HeldCall {
    match journal.open(new_hold()).await.unwrap() {
        Opened::Mine(hold) => hold,
        Opened::Joined(hold) => panic!("joined {hold:?}"),
        Opened::Spent => panic!("the thread had a hold before"),
    }
}

/// A write that was on its way is an error, whatever came of it; the next one gets a session of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_refuses_and_comes_back() {
    let database = PostgresDatabase::create();
    let journal = open(&database, "one").await;
    let hold = mine(&journal).await;
    let claim = Step::Claim { owner: Owner("one".into()), stale_before: at() };
    assert_eq!(journal.advance(hold.id, claim, at()).await.unwrap(), Moved::Yes);

    let mut raw = PgConnection::connect(&database.url()).await.unwrap();
    let mut blocker = raw.begin().await.unwrap();
    sqlx::query("SELECT id FROM holdpoint.holds FOR UPDATE").execute(&mut *blocker).await.unwrap();
    let dispatching = tokio::spawn({
        let (journal, id) = (journal.clone(), hold.id);
        async move { journal.advance(id, Step::Dispatch { owner: Owner("one".into()) }, at()).await }
    });
    until_blocked(&database).await;
    database.cut_sessions();
    dispatching.await.unwrap().expect_err("what came of it is not known");
    drop(blocker);

    let state = async || journal.get(hold.id).await.map(|hold| hold.unwrap().state);
    // As many sessions as were idle when they were cut may fail once.
    let mut answer = state().await;
    for _ in 0..8 {
        if answer.is_err() {
            answer = state().await;
        }
    }
    assert_eq!(answer.unwrap(), HoldState::Approved, "it was not sent a second time");
}

async fn until_blocked(database: &PostgresDatabase) {
    let mut raw = PgConnection::connect(&database.url()).await.unwrap();
    loop {
        let blocked: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut raw)
        .await
        .unwrap();
        if blocked > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Somebody holds a lock and does not let go: the server's own limit ends the wait, and nothing was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_refuses() {
    let database = PostgresDatabase::create();
    let journal = open(&database, "one").await;
    let hold = mine(&journal).await;
    let mut raw = PgConnection::connect(&database.url()).await.unwrap();
    let mut blocker = raw.begin().await.unwrap();
    sqlx::query("SELECT id FROM holdpoint.holds FOR UPDATE").execute(&mut *blocker).await.unwrap();
    let end = Step::End { ending: Ending::Void, words: None };
    let refused = journal.advance(hold.id, end.clone(), at()).await.unwrap_err();
    let source = std::error::Error::source(&refused).and_then(std::error::Error::source).unwrap().to_string();
    assert!(source.contains("lock timeout"), "{source}");
    blocker.rollback().await.unwrap();
    assert_eq!(journal.advance(hold.id, end, at()).await.unwrap(), Moved::Yes);
}

/// The server ends the session of a process that dies, and with it the lock of its name.
#[tokio::test(flavor = "multi_thread")]
async fn who_died_is_gone_and_who_lost_a_session_comes_back() {
    let database = PostgresDatabase::create();
    let (one, two) = (open(&database, "one").await, open(&database, "two").await);
    let liveness = async |name: &str| one.liveness(&Owner(name.into())).await;
    assert_eq!(liveness("nobody").await.unwrap(), Liveness::Gone);
    assert_eq!(liveness("two").await.unwrap(), Liveness::Alive);
    drop(two);
    while liveness("two").await.unwrap() == Liveness::Alive {
        tokio::task::yield_now().await;
    }
    let three = open(&database, "three").await;
    database.cut_sessions();
    while !matches!(liveness("three").await, Ok(Liveness::Alive)) {
        tokio::task::yield_now().await;
    }
    let namesake = PostgresJournal::open(&database.url(), Owner("three".into())).await;
    assert!(namesake.unwrap_err().to_string().contains("under the name of this one"));
    three.close().await;
    assert_eq!(liveness("three").await.unwrap(), Liveness::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_wait_for_the_disk_whatever_the_default() {
    let database = PostgresDatabase::create();
    let mut raw = PgConnection::connect(&database.url()).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut raw).await.unwrap();
    let careless = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    sqlx::query(sqlx::AssertSqlSafe(careless)).execute(&mut raw).await.unwrap();
    let journal = open(&database, "one").await;
    let hold = mine(&journal).await;
    // Each write notes under which setting it was made.
    sqlx::raw_sql(
        "CREATE TABLE public.seen (setting text);
        CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO public.seen VALUES (current_setting(''synchronous_commit'')); RETURN NEW; END';
        CREATE TRIGGER note AFTER UPDATE ON holdpoint.holds FOR EACH ROW EXECUTE FUNCTION public.note();",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let end = Step::End { ending: Ending::Rejected, words: Some("no \0 way".into()) };
    assert_eq!(journal.advance(hold.id, end, at()).await.unwrap(), Moved::Yes);
    let seen: Vec<String> =
        sqlx::query_scalar("SELECT setting FROM public.seen").fetch_all(&mut raw).await.unwrap();
    assert_eq!(seen, ["on"]);
    let words = journal.get(hold.id).await.unwrap().unwrap().words;
    assert_eq!(words.as_deref(), Some("no \u{fffd} way"), "a reviewer's words keep no hold from ending");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_impossible_rows() {
    let database = PostgresDatabase::create();
    let journal = open(&database, "one").await;
    let hold = mine(&journal).await;
    let mut raw = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO holdpoint.effects (state, name, principal, server, tool, digest, task_id, owner, taken_at, changed_at)
            SELECT 'taken', 'done', 'a', 'b', 'c', digest, 'd', 'e', 1, 1 FROM holdpoint.holds;
        UPDATE holdpoint.effects SET state = 'done'",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    for (sql, why) in [
        ("UPDATE holdpoint.holds SET state = 'approved'", "check constraint"),
        ("UPDATE holdpoint.holds SET state = 'running'", "check constraint"),
        ("UPDATE holdpoint.holds SET result = ''", "check constraint"),
        ("UPDATE holdpoint.holds SET delivered = true", "check constraint"),
        ("UPDATE holdpoint.holds SET words = 'yes'", "check constraint"),
        ("UPDATE holdpoint.holds SET taken_up_by = digest", "check constraint"),
        ("UPDATE holdpoint.holds SET arguments = '{}'", "never changed"),
        ("UPDATE holdpoint.holds SET thread_id = 'THR-2'", "never changed"),
        ("UPDATE holdpoint.holds SET effect = 'refund 1'", "never changed"),
        ("UPDATE holdpoint.effects SET state = 'taken'", "never taken back"),
        ("UPDATE holdpoint.effects SET name = 'other'", "never changed"),
        (
            "INSERT INTO holdpoint.effects (state, name, principal, server, tool, digest, task_id, owner, taken_at,
                changed_at)
            SELECT 'void', 'x', 'a', 'b', 'c', digest, 'd', 'e', 1, 1 FROM holdpoint.holds",
            "taken first",
        ),
    ] {
        let error = sqlx::query(sql).execute(&mut raw).await.expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
    let end = Step::End { ending: Ending::ChangesRequested, words: None };
    assert_eq!(journal.advance(hold.id, end, at()).await.unwrap(), Moved::Yes);
    let taken_up = "UPDATE holdpoint.holds SET taken_up_by = digest";
    sqlx::query(taken_up).execute(&mut raw).await.unwrap();
    for sql in [
        "UPDATE holdpoint.holds SET state = 'pending', taken_up_by = NULL",
        "UPDATE holdpoint.holds SET taken_up_by = question",
        "UPDATE holdpoint.holds SET taken_up_by = NULL",
        "UPDATE holdpoint.holds SET words = 'yes'",
    ] {
        let error = sqlx::query(sql).execute(&mut raw).await.expect_err(sql).to_string();
        assert!(error.contains("stays ended"), "{sql}: {error}");
    }
    assert!(journal.get(HoldId(hold.id.0 + 1)).await.unwrap().is_none());
}

/// A server that takes everything and says nothing: refused, and its session is not used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_refuses() {
    let database = PostgresDatabase::create();
    let relay = Relay::start(&database).await;
    let journal = PostgresJournal::open(&relay.url, Owner("one".into())).await.unwrap();
    let hold = mine(&journal).await;
    relay.hangs.send_replace(true);
    let end = Step::End { ending: Ending::Void, words: None };
    let refused = journal.advance(hold.id, end.clone(), at()).await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap().to_string();
    // The session may have been on its way back when the server fell silent; then no other one is to be had.
    assert!(
        ["the database did not answer in time", "the database cannot be reached"].contains(&source.as_str()),
        "{source}"
    );
    relay.hangs.send_replace(false);
    // A session that was being opened when the server fell silent is given up first: until then there is no place for another.
    for _ in 0..2 {
        match journal.advance(hold.id, end.clone(), at()).await {
            Ok(moved) => return assert_eq!(moved, Moved::Yes),
            Err(refused) => {
                let source = std::error::Error::source(&refused).unwrap().to_string();
                assert_eq!(source, "the database cannot be reached");
            }
        }
    }
    assert_eq!(journal.advance(hold.id, end, at()).await.unwrap(), Moved::Yes);
}

/// Stands between a journal and its server.
struct Relay {
    url: String,
    hangs: watch::Sender<bool>,
}

impl Relay {
    async fn start(database: &PostgresDatabase) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = database.url();
        let (_, behind_user) = url.split_once('@').unwrap();
        let (server, _) = behind_user.split_once('/').unwrap();
        let server = server.to_owned();
        let url = url.replace(&server, &listener.local_addr().unwrap().to_string());
        let (hangs, watched) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, mut watched) = (server.clone(), watched.clone());
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    let hangs = tokio::select! {
                        hangs = watched.wait_for(|hangs| *hangs) => hangs.is_ok(),
                        _closed = tokio::io::copy_bidirectional(&mut client, &mut server) => false,
                    };
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { url, hangs }
    }
}
