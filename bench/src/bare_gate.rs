//! The floor under a Gate that keeps its word: axum and one `SQLite` insert per request, nothing else.
//!
//! One writer takes whatever queued up while the last commit ran; `synchronous=FULL`, so an answer is on disk before it is given.

use std::path::Path;

use anyhow::{Context as _, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::{mpsc, oneshot};

use crate::serve::{announce, listen};

const QUEUE_MAX: usize = 4096;
const BATCH_MAX: usize = 512;

struct Insert {
    body: Bytes,
    done: oneshot::Sender<()>,
}

/// `bare-gate FOLDER`
pub(crate) async fn serve(arguments: &[String]) -> Result<()> {
    let folder = arguments.first().context("bare-gate FOLDER")?;
    let connection = open(Path::new(folder)).await?;
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(write(connection, receiver));
    let router =
        axum::Router::new().route("/api/agent/tasks/{task}/requests", post(decide)).with_state(sender);
    let listener = listen().await?;
    announce(listener.local_addr().context("no local address")?, "")?;
    axum::serve(listener, router).await.context("cannot serve")
}

async fn decide(State(queue): State<mpsc::Sender<Insert>>, body: Bytes) -> (StatusCode, &'static str) {
    let (done, written) = oneshot::channel();
    let queued = queue.send(Insert { body, done }).await;
    if queued.is_err() || written.await.is_err() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "not written");
    }
    (StatusCode::OK, r#"{"status":"allow"}"#)
}

async fn open(folder: &Path) -> Result<SqliteConnection> {
    let mut connection = SqliteConnectOptions::new()
        .filename(folder.join("bare.sqlite"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await
        .context("cannot open the database")?;
    connection
        .execute("CREATE TABLE IF NOT EXISTS request (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")
        .await
        .context("cannot create the table")?;
    Ok(connection)
}

async fn write(mut connection: SqliteConnection, mut queue: mpsc::Receiver<Insert>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        if let Err(error) = commit(&mut connection, &batch).await {
            // Whoever waits sees its sender dropped.
            eprintln!("error: {error:#}");
            batch.clear();
            continue;
        }
        for insert in batch.drain(..) {
            // A client that went away needs no answer.
            let _gone = insert.done.send(());
        }
    }
}

async fn commit(connection: &mut SqliteConnection, batch: &[Insert]) -> Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for insert in batch {
        sqlx::query("INSERT INTO request (body) VALUES ($1)")
            .bind(insert.body.as_ref())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}
