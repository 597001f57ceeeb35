//! Operations: what the schema refuses, how it keeps them, and a row that cannot be read.

use holdpoint_core::{
    JournalError, NewOperation, OperationBook as _, OperationChange, OperationContent, OperationId,
    OperationOf, OperationState, Owner, Principal, TaskId, ThreadId,
};
use holdpoint_store_sqlite::SqliteJournal;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};
use std::error::Error as _;
use tempfile::TempDir;

use crate::gate::raw_connection;

/// With two operations that wait, as rows 1 and 2.
async fn journal(folder: &TempDir) -> (SqliteJournal, SqliteConnection) {
    let path = folder.path().join("journal.db");
    let journal = SqliteJournal::open(&path, Owner("one".into())).await.unwrap();
    for id in ["o", "p"] {
        let now = OperationChange {
            state: OperationState::Waiting,
            thread: Some(ThreadId::new("THR-1")),
            content: OperationContent::new(&b"{}"[..]),
            owner: Some(Owner("one".into())),
            expires_at: Timestamp::from_second(2_000_000_000).unwrap(),
        };
        let (principal, task) = (Principal::new("ann"), TaskId::new("task-1"));
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        journal
            .open_operation(NewOperation { id: OperationId::new(id), principal, task, now, at })
            .await
            .unwrap();
    }
    let raw = raw_connection(&path).await;
    (journal, raw)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_impossible_operations() {
    let folder = TempDir::new().unwrap();
    let (_journal, mut raw) = journal(&folder).await;
    for (sql, why) in [
        ("UPDATE operations SET round = round + 1, state = 'done'", "CHECK"),
        ("UPDATE operations SET round = round + 1, owner = NULL", "CHECK"),
        ("UPDATE operations SET round = round + 1, state = 'running', owner = NULL", "CHECK"),
        ("UPDATE operations SET round = round + 1, content = NULL", "NOT NULL"),
        ("UPDATE operations SET round = round + 1, content = 'text'", "BLOB"),
        ("UPDATE operations SET round = round + 1, expires_at = NULL", "NOT NULL"),
        ("UPDATE operations SET state = 'answered'", "one round to the next"),
        ("UPDATE operations SET round = round + 2", "one round to the next"),
        ("UPDATE operations SET round = round - 1", "one round to the next"),
        ("UPDATE operations SET round = round + 1, id = 'q' WHERE number = 1", "never changes"),
        ("UPDATE operations SET round = round + 1, number = 9 WHERE number = 1", "never changes"),
        ("UPDATE operations SET round = round + 1, principal = 'bob'", "never changes"),
        ("UPDATE operations SET round = round + 1, task = 'task-2'", "never changes"),
        ("UPDATE operations SET round = round + 1, opened_at = 1", "never changes"),
    ] {
        let error = sqlx::query(sql).execute(&mut raw).await.expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
    for (state, round, owner, why) in [
        ("asked", 1, "NULL", "begins in round 0"),
        ("asked", -1, "NULL", "begins in round 0"),
        ("waiting", 0, "NULL", "CHECK"),
        ("running", 0, "NULL", "CHECK"),
        ("over", 0, "'one'", "CHECK"),
    ] {
        let sql = format!(
            "INSERT INTO operations (id, principal, task, state, round, content, owner, opened_at, changed_at, expires_at)
            VALUES ('q', 'ann', 'task-1', '{state}', {round}, x'7b7d', {owner}, 1, 1, 2)"
        );
        let error =
            sqlx::query(AssertSqlSafe(sql.as_str())).execute(&mut raw).await.expect_err(&sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
}

/// A search by each of what operations are looked for goes through an index, and what is kept there is short.
#[tokio::test(flavor = "multi_thread")]
async fn operations_are_found_by_index() {
    let folder = TempDir::new().unwrap();
    let (_journal, mut raw) = journal(&folder).await;
    for (wanted, index) in [
        ("content FROM operations WHERE id = $1", "sqlite_autoindex_operations_1"),
        (
            "content FROM operations WHERE thread = $1 AND principal = $2 ORDER BY number DESC LIMIT 1",
            "operations_of_thread",
        ),
        (
            "content FROM operations WHERE task = $1 AND principal = $2 ORDER BY number DESC LIMIT 1",
            "operations_of_task",
        ),
        ("id FROM operations WHERE owner = $1 ORDER BY changed_at, number LIMIT $2", "operations_of_owner"),
        ("DISTINCT owner FROM operations WHERE owner IS NOT NULL", "operations_of_owner"),
        (
            "number FROM operations WHERE expires_at <= $1 ORDER BY expires_at, number LIMIT $2",
            "operations_by_expiry",
        ),
    ] {
        let explain = format!("EXPLAIN QUERY PLAN SELECT {wanted}");
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(explain)).fetch_all(&mut raw).await.unwrap();
        let [(.., step)] = &plan[..] else { panic!("{wanted} also sorts: {plan:?}") };
        assert!(step.contains(&format!("INDEX {index}")), "{wanted}: {step}");
    }
    let by_name: bool = sqlx::query_scalar("SELECT wr FROM pragma_table_list('operations')")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    assert!(!by_name, "a table without row numbers has the whole requests in its index");
}

/// Something else wrote to the file. Nothing is guessed, the row is named, and the others are found.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_named() {
    let folder = TempDir::new().unwrap();
    let (journal, mut raw) = journal(&folder).await;
    let damage = "UPDATE operations SET round = round + 1, changed_at = 9223372036854775807 WHERE id = 'p'";
    sqlx::query(damage).execute(&mut raw).await.unwrap();
    let named = |error: JournalError| {
        let source = error.source().unwrap().to_string();
        assert_eq!(source, "table `operations`, row `2`: an instant is out of range");
    };
    named(journal.operation(&OperationId::new("p")).await.unwrap_err());
    let (ann, thread) = (Principal::new("ann"), ThreadId::new("THR-1"));
    named(journal.latest_operation(&ann, OperationOf::Thread(&thread)).await.unwrap_err());
    assert!(journal.operation(&OperationId::new("o")).await.unwrap().is_some());
    let its = journal.operations_of(&Owner("one".into()), 10).await.unwrap();
    assert_eq!(its, [OperationId::new("o"), OperationId::new("p")]);
}
