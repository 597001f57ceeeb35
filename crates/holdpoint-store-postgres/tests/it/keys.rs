//! Keys that all processes of a journal have.

use holdpoint_core::Owner;
use holdpoint_store_postgres::PostgresJournal;
use holdpoint_testkit::PostgresDatabase;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_first_makes_a_key_for_all() {
    let database = PostgresDatabase::create();
    let open = async |owner: &str| PostgresJournal::open(&database.url(), Owner(owner.into())).await.unwrap();
    let (one, other) = (open("one").await, open("other").await);
    let (first, second) = tokio::join!(one.key("requests", [1; 32]), other.key("requests", [2; 32]));
    let key = first.unwrap();
    assert!(key == [1; 32] || key == [2; 32], "{key:?}");
    assert_eq!(second.unwrap(), key);
    one.close().await;
    other.close().await;
    let later = open("later").await;
    assert_eq!(later.key("requests", [3; 32]).await.unwrap(), key);
    assert_eq!(later.key("operations", [4; 32]).await.unwrap(), [4; 32], "one name is not another");
    later.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_kept() {
    let database = PostgresDatabase::create();
    let journal = PostgresJournal::open(&database.url(), Owner("one".into())).await.unwrap();
    journal.key("requests", [1; 32]).await.unwrap();
    let mut raw = PgConnection::connect(&database.url()).await.unwrap();
    for (sql, said) in [
        ("UPDATE holdpoint.keys SET key = '\\x00'", "made once, and kept"),
        ("DELETE FROM holdpoint.keys", "made once, and kept"),
        ("INSERT INTO holdpoint.keys VALUES ('short', '\\x00')", "check constraint"),
    ] {
        let refused = sqlx::query(AssertSqlSafe(sql)).execute(&mut raw).await.unwrap_err().to_string();
        assert!(refused.contains(said), "{sql}: {refused}");
    }
    assert_eq!(journal.key("requests", [2; 32]).await.unwrap(), [1; 32]);
    journal.close().await;
}
