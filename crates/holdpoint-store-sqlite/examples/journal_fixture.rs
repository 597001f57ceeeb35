//! Makes `tests/fixtures/journal-N.db`: a journal as the version with schema N left it, with a hold in every state.
#![expect(clippy::unwrap_used, reason = "a tool for developers")]

use std::borrow::Cow;
use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/journal");

/// State, claim and delivery of the holds in every fixture; hold `n` has digest `nn…` and thread `THR-n`.
const HOLDS: [(&str, bool, bool); 12] = [
    ("pending", false, false),
    ("approved", true, false),
    ("dispatched", true, false),
    ("done", true, false),
    ("done", true, true),
    ("unknown", true, false),
    ("rejected", false, false),
    ("expired", false, false),
    ("cancelled", false, false),
    ("changes_requested", false, false),
    ("void", true, false),
    ("void", false, false),
];

/// What schema 3 added: what had an effect, what was said, what was taken up.
const SINCE_3: &str = "
    INSERT INTO holds (id, version, state, principal, server, tool, digest, task_id, thread_id, revision, binding, policy,
        question, effect, opened_at, changed_at, claim_owner, claimed_at, words, taken_up_by)
    VALUES
        (21, 21, 'dispatched', 'ann', 'payments', 'refund', randomblob(32), 'task-1', 'THR-21', 0, 'b', 'p1',
            zeroblob(32), 'refund 21', 1, 1, 'one', 1, NULL, NULL),
        (22, 22, 'changes_requested', 'ann', 'payments', 'refund', randomblob(32), 'task-1', 'THR-22', 0, 'b', 'p1',
            zeroblob(32), NULL, 1, 1, NULL, NULL, 'smaller, please', zeroblob(32)),
        (23, 23, 'pending', 'ann', 'payments', 'refund', zeroblob(32), 'task-1', 'THR-22', 1, 'b', 'p1',
            zeroblob(32), 'refund 23', 1, 1, NULL, NULL, NULL, NULL);
    INSERT INTO effects (id, state, name, principal, server, tool, digest, task_id, thread_id, hold_id, owner, taken_at,
        changed_at)
    SELECT 1, 'taken', effect, principal, server, tool, digest, task_id, thread_id, id, claim_owner, 1, 1
        FROM holds WHERE id = 21
    UNION ALL SELECT id - 20, 'taken', 'refund ' || (id + 10), 'ann', 'payments', 'refund', digest, 'task-1', NULL, NULL,
        'two', 1, 1 FROM holds WHERE id IN (22, 23);
    UPDATE effects SET state = 'done' WHERE id = 2;
    UPDATE effects SET state = 'unknown' WHERE id = 3;
";

/// Tickets, one of them answered.
const SINCE_4: &str = "
    INSERT INTO tickets (id, state, principal, server, hold_id, request, opened_at, changed_at, expires_at) VALUES
        ('ticket-1', 'open', 'ann', 'payments', 1, x'7b7d', 1, 1, 2000000000000000),
        ('ticket-4', 'open', 'ann', 'payments', 4, x'7b7d', 1, 1, 2000000000000000);
    UPDATE tickets SET state = 'answered', round = 1, answer = x'3432', changed_at = 2 WHERE id = 'ticket-4';
";

/// Operations, one of them with something left to do.
const SINCE_5: &str = "
    INSERT INTO operations (id, principal, task, state, thread, content, owner, opened_at, changed_at, expires_at) VALUES
        ('op_1', 'ann', 'task-1', 'waiting', 'THR-1', x'7b7d', 'one', 1, 1, 2000000000000000),
        ('op_4', 'ann', 'task-1', 'asked', NULL, x'7b7d', NULL, 2, 2, 2000000000000000);
    UPDATE operations SET state = 'answered', round = 1, changed_at = 3 WHERE id = 'op_4';
";

#[tokio::main]
async fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for schema in MIGRATIONS.iter().map(|migration| migration.version) {
        let path = folder.join(format!("journal-{schema}.db"));
        if !path.exists() {
            make(&path, schema).await;
        }
    }
}

async fn make(path: &Path, schema: i64) {
    let migrations: Vec<_> = MIGRATIONS.iter().filter(|known| known.version <= schema).cloned().collect();
    let migrator = Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(1024)
        .journal_mode(SqliteJournalMode::Delete);
    let mut connection = options.connect().await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    for ((state, claimed, delivered), number) in HOLDS.into_iter().zip(1..) {
        hold(&mut connection, number, state, claimed, delivered).await;
    }
    if schema >= 3 {
        sqlx::raw_sql(SINCE_3).execute(&mut connection).await.unwrap();
    }
    if schema >= 4 {
        sqlx::raw_sql(SINCE_4).execute(&mut connection).await.unwrap();
    }
    if schema >= 5 {
        sqlx::raw_sql(SINCE_5).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn hold(connection: &mut SqliteConnection, number: i64, state: &str, claimed: bool, delivered: bool) {
    let claim = if claimed { "'one', 1800000001000000" } else { "NULL, NULL" };
    let result = if state == "done" && !delivered { "x'3432'" } else { "NULL" };
    let delivered = i64::from(delivered);
    let digest = format!("{number:02x}").repeat(32);
    let sql = format!(
        "INSERT INTO holds (id, version, state, principal, server, tool, digest, task_id, thread_id, binding, review_url,
            arguments, definition, policy, opened_at, changed_at, claim_owner, claimed_at, result, delivered)
        VALUES ({number}, {number}, '{state}', 'ann', 'payments', 'issue_refund', x'{digest}', 'task-1', 'THR-{number}',
            'sha256:00 r1', 'http://127.0.0.1/threads/{number}', '{{\"amount\": 1.0}}', zeroblob(32), 'p1',
            1800000000000000, 1800000001000000, {claim}, {result}, {delivered})"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}
