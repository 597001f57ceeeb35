//! The journal: the suite, and what only a file can do: a find that reads nothing, a schema that refuses.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use holdpoint_core::{
    CallDigest, EffectKey, Ending, Found, HeldCall, Hold, Identity, Journal, Liveness, Moved, NewEffect,
    NewHold, Opened, Owner, PolicyRevision, Principal, QuestionDigest, ServerName, Settled, Step, Taken,
    TaskId, ThreadId, ToolName,
};
use holdpoint_store::conformance::journal::{Processes, run};
use holdpoint_store_sqlite::SqliteJournal;
use holdpoint_testkit::check_journal;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use crate::gate::raw_connection;

/// Processes that share a file.
#[derive(Debug)]
pub(crate) struct OnFile {
    folder: TempDir,
    running: Mutex<HashMap<Arc<str>, SqliteJournal>>,
}

impl Default for OnFile {
    fn default() -> Self {
        Self { folder: TempDir::new().unwrap(), running: Mutex::default() }
    }
}

#[async_trait]
impl Processes for OnFile {
    async fn start(&self, owner: &Owner) -> Arc<dyn Journal> {
        let journal =
            SqliteJournal::open(&self.folder.path().join("journal.db"), owner.clone()).await.unwrap();
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
    run(async || OnFile::default()).await;
}

#[test]
fn the_journal_is_its_model() {
    check_journal::<OnFile>(48);
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn identity(which: u8) -> Identity {
    Identity {
        principal: Principal::new("ann"),
        server: ServerName::new("payments"),
        tool: ToolName::new("issue_refund"),
        digest: CallDigest::from_bytes([which; 32]),
    }
}

fn new_hold(which: u8, seconds: i64) -> NewHold {
    NewHold {
        identity: identity(which),
        hold: Hold {
            task: task(),
            thread: ThreadId::new(format!("THR-{which}-{seconds}")),
            binding: "sha256:00 r1".to_owned(),
            review_url: None,
            revision: 0,
        },
        arguments: None,
        definition: None,
        policy: PolicyRevision::new("p1"),
        question: QuestionDigest::from_bytes([8; 32]),
        effect: None,
        at: at(seconds),
    }
}

fn task() -> TaskId {
    TaskId::new("task-1")
}

fn end(ending: Ending) -> Step {
    Step::End { ending, words: None }
}

/// A process of its own.
async fn open(folder: &TempDir) -> SqliteJournal {
    static STARTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let owner = format!("process {}", STARTED.fetch_add(1, Ordering::Relaxed));
    SqliteJournal::open(&folder.path().join("journal.db"), Owner(owner.into())).await.unwrap()
}

async fn found(journal: &SqliteJournal, which: u8) -> Found {
    journal.find(&identity(which), &task()).await.unwrap()
}

async fn mine(journal: &SqliteJournal, which: u8, seconds: i64) -> HeldCall {
    match journal.open(new_hold(which, seconds)).await.unwrap() {
        Opened::Mine(hold) => hold,
        Opened::Joined(hold) => panic!("joined {hold:?}"),
        Opened::Spent => panic!("the thread had a hold before"),
    }
}

#[track_caller]
fn same(one: &HeldCall, two: &HeldCall) {
    assert_eq!(format!("{one:?}"), format!("{two:?}"));
}

/// With its database handles closed a journal can only answer from memory: it does while nothing changed, and refuses
/// as soon as another process committed.
#[tokio::test(flavor = "multi_thread")]
async fn finding_reads_nothing_until_somebody_commits() {
    let folder = TempDir::new().unwrap();
    let (journal, other) = (open(&folder).await, open(&folder).await);
    let hold = mine(&other, 1, 0).await;
    same(&found(&journal, 1).await.live.unwrap(), &hold);
    journal.close().await;
    for _ in 0..1000 {
        same(&found(&journal, 1).await.live.unwrap(), &hold);
    }
    assert_eq!(other.advance(hold.id, end(Ending::Cancelled), at(1)).await.unwrap(), Moved::Yes);
    assert!(journal.find(&identity(1), &task()).await.is_err(), "it told what was true before");
    assert!(journal.open(new_hold(2, 0)).await.is_err());
}

/// Also what a call revises: it is asked for with every call.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_to_revise_is_found_without_reading() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    let hold = mine(&journal, 1, 0).await;
    assert_eq!(journal.advance(hold.id, end(Ending::ChangesRequested), at(1)).await.unwrap(), Moved::Yes);
    let take_up = Step::TakeUp { digest: identity(2).digest };
    assert_eq!(journal.advance(hold.id, take_up, at(2)).await.unwrap(), Moved::Yes);
    journal.close().await;
    assert_eq!(found(&journal, 2).await.revises.map(|hold| hold.id), Some(hold.id));
    assert!(found(&journal, 3).await.revises.is_none());
    assert_eq!(found(&journal, 1).await.ended, 1);
}

/// A crash takes the lock away and leaves the file.
#[tokio::test(flavor = "multi_thread")]
async fn who_died_is_gone() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    let liveness = async |name: &str| journal.liveness(&Owner(name.into())).await.unwrap();
    assert_eq!(liveness("nobody").await, Liveness::Gone);
    assert_eq!(liveness(&"long ".repeat(100)).await, Liveness::Gone);
    assert_eq!(liveness("").await, Liveness::Gone);
    let path = folder.path().join("owners").join("6f74686572");
    let other = std::fs::File::create(&path).unwrap();
    other.lock().unwrap();
    assert_eq!(liveness("other").await, Liveness::Alive);
    let namesake = Owner("other".into());
    SqliteJournal::open(&folder.path().join("journal.db"), namesake).await.expect_err("the name is in use");
    drop(other);
    assert_eq!(liveness("other").await, Liveness::Gone);
    assert!(path.exists());
    drop(open(&folder).await);
    assert!(!path.exists(), "the next process sweeps it");
}

/// While a handle commits all the time, another's commit falls right behind one of its own again and again. It must not
/// be taken for its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_right_behind_our_own_is_seen() {
    const ROUNDS: i64 = 40;
    let folder = TempDir::new().unwrap();
    let (busy, other) = (Arc::new(open(&folder).await), open(&folder).await);
    let done = Arc::new(AtomicBool::new(false));
    let noise = tokio::spawn({
        let (busy, done) = (Arc::clone(&busy), Arc::clone(&done));
        async move {
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                let hold = mine(&busy, 2, round).await;
                let _ = busy.advance(hold.id, end(Ending::Void), at(round)).await.unwrap();
            }
        }
    });
    for round in 0..ROUNDS {
        let hold = mine(&other, 1, round).await;
        let live = found(&busy, 1).await.live;
        assert_eq!(live.map(|live| live.id), Some(hold.id), "round {round}");
        let _ = other.advance(hold.id, end(Ending::Void), at(round)).await.unwrap();
        assert!(found(&busy, 1).await.live.is_none(), "round {round}");
    }
    done.store(true, Ordering::Relaxed);
    noise.await.unwrap();
}

/// A checkpoint that starts the log over rewrites the header without a commit of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_in_between_hides_nothing() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    let mut raw = raw_connection(&folder.path().join("journal.db")).await;
    for round in 0..20_u8 {
        let hold = mine(&journal, round, 0).await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut raw).await.unwrap();
        same(&found(&journal, round).await.live.unwrap(), &hold);
        sqlx::query("UPDATE holds SET state = 'cancelled', version = version + 1000 WHERE id = $1")
            .bind(hold.id.0)
            .execute(&mut raw)
            .await
            .unwrap();
        assert!(found(&journal, round).await.live.is_none(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_impossible_rows() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder).await;
    let hold = mine(&journal, 1, 0).await;
    let (key, owner) = (EffectKey::new("done"), Owner("one".into()));
    let effect = NewEffect { key, identity: identity(1), task: task(), owner, at: at(0) };
    let Taken::Mine(id) = journal.take_effect(effect).await.unwrap() else { panic!("nobody has it") };
    assert_eq!(journal.settle(id, Settled::Done, at(0)).await.unwrap(), Moved::Yes);
    let mut raw = raw_connection(&folder.path().join("journal.db")).await;
    for (sql, why) in [
        ("UPDATE holds SET state = 'approved'", "CHECK"),
        ("UPDATE holds SET state = 'running'", "CHECK"),
        ("UPDATE holds SET result = x'00'", "CHECK"),
        ("UPDATE holds SET delivered = 1", "CHECK"),
        ("UPDATE holds SET arguments = '{}'", "never changed"),
        ("UPDATE holds SET thread_id = 'THR-2'", "never changed"),
        ("UPDATE holds SET effect = 'refund 1'", "never changed"),
        ("UPDATE holds SET words = 'yes'", "CHECK"),
        ("UPDATE holds SET taken_up_by = zeroblob(32)", "CHECK"),
        ("UPDATE effects SET state = 'taken' WHERE name = 'done'", "never taken back"),
        ("UPDATE effects SET name = 'other'", "never changed"),
        (
            "INSERT INTO effects SELECT 9, 'void', 'x', 'a', 'b', 'c', digest, 'd', NULL, NULL, 'e', 1, 1 FROM effects",
            "taken first",
        ),
    ] {
        let error = sqlx::query(sql).execute(&mut raw).await.expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
    let _ = journal.advance(hold.id, end(Ending::ChangesRequested), at(1)).await.unwrap();
    let taken_up = "UPDATE holds SET taken_up_by = zeroblob(32)";
    sqlx::query(taken_up).execute(&mut raw).await.unwrap();
    for sql in [
        "UPDATE holds SET state = 'pending', taken_up_by = NULL",
        "UPDATE holds SET taken_up_by = randomblob(32)",
        "UPDATE holds SET taken_up_by = NULL",
        "UPDATE holds SET words = 'yes'",
    ] {
        let error = sqlx::query(sql).execute(&mut raw).await.expect_err(sql).to_string();
        assert!(error.contains("stays ended"), "{sql}: {error}");
    }
}
