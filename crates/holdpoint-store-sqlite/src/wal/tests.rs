use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions, Executor};
use tempfile::TempDir;

use super::*;

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .connect()
        .await
        .unwrap()
}

/// Each commit is told from no commit, and ours from one that fell right behind it.
#[tokio::test]
async fn a_commit_right_behind_ours_is_not_ours() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("watched.db");
    let (mut ours, mut theirs) = (connect(&path).await, connect(&path).await);
    ours.execute("CREATE TABLE t (n INTEGER)").await.unwrap();
    let watch = WalWatch::open(&path).unwrap();
    for round in 0..300 {
        let before = watch.state();
        assert!(before.is_some());
        ours.execute("INSERT INTO t VALUES (1), (2)").await.unwrap();
        let after = watch.state();
        assert_eq!(state_after_commit(before, Written::OneCommit, after), after, "round {round}");
        assert_eq!(
            state_after_commit(before, Written::Nothing, after),
            None,
            "their commit, when we wrote nothing"
        );
        assert_eq!(state_after_commit(before, Written::CannotTell, after), None);
        ours.execute("UPDATE t SET n = 3 WHERE n = 4").await.unwrap();
        assert_eq!(state_after_commit(after, Written::Nothing, watch.state()), after);
        theirs.execute("DELETE FROM t").await.unwrap();
        let behind = watch.state();
        assert_eq!(state_after_commit(before, Written::OneCommit, behind), None, "round {round}");
        if round % 50 == 0 {
            // Starting the log over changes the header without a commit.
            theirs.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
        }
        assert_ne!(after, watch.state());
    }
}
