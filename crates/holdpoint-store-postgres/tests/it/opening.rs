//! Databases that cannot be opened, each with a reason and a hint, and never with the password.

use holdpoint_core::Owner;
use holdpoint_store_postgres::{OpenError, PostgresJournal};
use holdpoint_testkit::PostgresDatabase;
use sqlx::{Connection as _, PgConnection};

/// Everything that may be shown of an error.
fn all_of(error: &OpenError) -> String {
    let mut all = format!("{error} {error:?} {}", error.hint());
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        all.push_str(&next.to_string());
        cause = next.source();
    }
    all
}

async fn refused(url: &str) -> OpenError {
    PostgresJournal::open(url, Owner("one".into())).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_address() {
    for url in [
        "",
        "mysql://ann:hunter2@localhost/db",
        "postgres://ann:hunter2@localhost:port/db",
        "postgres://ann:hunter2@localhost/db?sslmode=hunter2",
    ] {
        let error = refused(url).await;
        assert!(matches!(error, OpenError::NotAUrl { .. }), "{url}: {error:?}");
        assert!(!all_of(&error).contains("hunter2"), "{}", all_of(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_or_the_wrong_password() {
    let database = PostgresDatabase::create();
    let wrong = database.url().replace(database.password(), "hunter2");
    for url in [wrong.as_str(), "postgres://ann:hunter2@127.0.0.1:1/db"] {
        let error = refused(url).await;
        assert!(matches!(error, OpenError::NotReachable { .. }), "{error:?}");
        assert!(!all_of(&error).contains("hunter2"), "{}", all_of(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_shows_no_password() {
    let database = PostgresDatabase::create();
    let journal = PostgresJournal::open(&database.url(), Owner("one".into())).await.unwrap();
    assert!(!format!("{journal:?}").contains(database.password()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_left_alone() {
    let database = PostgresDatabase::create();
    PostgresJournal::open(&database.url(), Owner("one".into())).await.unwrap().close().await;
    let mut raw = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::query(
        "INSERT INTO holdpoint.journal_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'later', true, '', 0)",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    let error = refused(&database.url()).await;
    assert!(matches!(error, OpenError::NewerSchema { found: 9999, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_somebody_else_is_left_alone() {
    let database = PostgresDatabase::create();
    let mut raw = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::raw_sql("CREATE SCHEMA holdpoint; CREATE TABLE holdpoint.holds (id int)")
        .execute(&mut raw)
        .await
        .unwrap();
    let error = refused(&database.url()).await;
    assert!(matches!(error, OpenError::ForeignSchema { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_start_at_once() {
    let database = PostgresDatabase::create();
    let mut openers = tokio::task::JoinSet::new();
    for process in 0..8 {
        let url = database.url();
        openers.spawn(async move {
            PostgresJournal::open(&url, Owner(process.to_string().into())).await.map(drop)
        });
    }
    for opened in openers.join_all().await {
        opened.unwrap();
    }
}
