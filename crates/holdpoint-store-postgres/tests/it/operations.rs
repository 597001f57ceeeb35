//! Operations: what the schema refuses, and a row that cannot be read.

use holdpoint_core::{
    JournalError, NewOperation, OperationBook as _, OperationChange, OperationContent, OperationId,
    OperationOf, OperationState, Owner, Principal, TaskId, ThreadId,
};
use holdpoint_store_postgres::PostgresJournal;
use holdpoint_testkit::PostgresDatabase;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::error::Error as _;

/// With two operations that wait, as rows 1 and 2.
async fn journal(database: &PostgresDatabase) -> (PostgresJournal, PgConnection) {
    let journal = PostgresJournal::open(&database.url(), Owner("one".into())).await.unwrap();
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
    let raw = PgConnection::connect(&database.url()).await.unwrap();
    (journal, raw)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_refuses_impossible_operations() {
    let database = PostgresDatabase::create();
    let (_journal, mut raw) = journal(&database).await;
    for (sql, why) in [
        ("UPDATE holdpoint.operations SET round = round + 1, state = 'done'", "check constraint"),
        ("UPDATE holdpoint.operations SET round = round + 1, owner = NULL", "check constraint"),
        (
            "UPDATE holdpoint.operations SET round = round + 1, state = 'running', owner = NULL",
            "check constraint",
        ),
        ("UPDATE holdpoint.operations SET round = round + 1, content = NULL", "not-null"),
        ("UPDATE holdpoint.operations SET round = round + 1, expires_at = NULL", "not-null"),
        ("UPDATE holdpoint.operations SET state = 'answered'", "one round to the next"),
        ("UPDATE holdpoint.operations SET round = round + 2", "one round to the next"),
        ("UPDATE holdpoint.operations SET round = round - 1", "one round to the next"),
        ("UPDATE holdpoint.operations SET round = round + 1, id = 'q' WHERE number = 1", "never changes"),
        (
            "UPDATE holdpoint.operations SET round = round + 1, number = DEFAULT WHERE number = 1",
            "never changes",
        ),
        ("UPDATE holdpoint.operations SET round = round + 1, principal = 'bob'", "never changes"),
        ("UPDATE holdpoint.operations SET round = round + 1, task = 'task-2'", "never changes"),
        ("UPDATE holdpoint.operations SET round = round + 1, opened_at = 1", "never changes"),
    ] {
        let error = sqlx::query(sql).execute(&mut raw).await.expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
    for (state, round, owner, why) in [
        ("asked", 1, "NULL", "begins in round 0"),
        ("asked", -1, "NULL", "begins in round 0"),
        ("waiting", 0, "NULL", "check constraint"),
        ("running", 0, "NULL", "check constraint"),
        ("over", 0, "'one'", "check constraint"),
    ] {
        let sql = format!(
            "INSERT INTO holdpoint.operations (id, principal, task, state, round, content, owner, opened_at, changed_at, expires_at)
            VALUES ('q', 'ann', 'task-1', '{state}', {round}, '{{}}', {owner}, 1, 1, 2)"
        );
        let error =
            sqlx::query(AssertSqlSafe(sql.as_str())).execute(&mut raw).await.expect_err(&sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
}

/// Something else wrote to the database. Nothing is guessed, the row is named, and the others are found.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_named() {
    let database = PostgresDatabase::create();
    let (journal, mut raw) = journal(&database).await;
    let damage =
        "UPDATE holdpoint.operations SET round = round + 1, changed_at = 9223372036854775807 WHERE id = 'p'";
    sqlx::query(damage).execute(&mut raw).await.unwrap();
    let named = |error: JournalError| {
        let source = error.source().unwrap().to_string();
        assert_eq!(source, "table `operations`, row 2: an instant is out of range");
    };
    named(journal.operation(&OperationId::new("p")).await.unwrap_err());
    let (ann, thread) = (Principal::new("ann"), ThreadId::new("THR-1"));
    named(journal.latest_operation(&ann, OperationOf::Thread(&thread)).await.unwrap_err());
    assert!(journal.operation(&OperationId::new("o")).await.unwrap().is_some());
    let its = journal.operations_of(&Owner("one".into()), 10).await.unwrap();
    assert_eq!(its, [OperationId::new("o"), OperationId::new("p")]);
}
