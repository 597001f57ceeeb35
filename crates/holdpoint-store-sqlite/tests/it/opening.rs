//! Files that cannot be opened, each with a reason and a hint.

use holdpoint_core::Owner;
use holdpoint_store_sqlite::{OpenError, SqliteJournal, SqliteStore};
use tempfile::TempDir;

use crate::gate::raw_connection;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written() {
    for path in ["/proc/gate.db", "/nowhere/at/all/gate.db"] {
        let error = SqliteStore::open(path.as_ref()).await.unwrap_err();
        assert!(matches!(error, OpenError::NotAccessible { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("`{path}` cannot be opened for reading and writing"));
        assert!(error.hint().contains("choose a data folder"));
    }
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("gate.db")).unwrap();
    let error = SqliteStore::open(&folder.path().join("gate.db")).await.unwrap_err();
    assert!(matches!(error, OpenError::NotAccessible { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("gate.db");
    std::fs::write(&path, "dear diary, ".repeat(1000)).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary, ".repeat(1000), "it was left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("gate.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let mut raw = raw_connection(&path).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'later', 1, x'00', 0)",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 9999, .. }), "{error:?}");
    assert!(error.to_string().contains("was written by a newer version"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_not_gates_state() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("gate.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let error = SqliteJournal::open(&path, Owner("one".into())).await.unwrap_err();
    assert!(matches!(error, OpenError::ForeignSchema { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_start_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let mut openers = tokio::task::JoinSet::new();
    for process in 0..8 {
        let (path, owner) = (path.clone(), Owner(process.to_string().into()));
        openers.spawn(async move { SqliteJournal::open(&path, owner).await.map(drop) });
    }
    for opened in openers.join_all().await {
        opened.unwrap();
    }
}
