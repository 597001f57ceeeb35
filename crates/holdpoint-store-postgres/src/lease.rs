//! Who is alive: each process that has the journal open holds a lock of its name, in a session of its own.
//!
//! The server lets go of the lock when the session ends, however it ends.

use std::time::Duration;

use holdpoint_core::{Liveness, Owner};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::OpenError;
use crate::error::Failure;
use crate::server::{ANSWER_WITHIN, Server};

/// Between two signs of life, and between two tries to get the session back.
const BEAT: Duration = Duration::from_secs(2);

/// For the lock, at the start. Only a process of the same name can have it.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);
const TRY_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Lease {
    owner: Owner,
    keeper: Mutex<Option<Keeper>>,
}

#[derive(Debug)]
struct Keeper {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lease {
    pub(crate) async fn take(server: &Server, owner: Owner) -> Result<Self, OpenError> {
        let other = |source| OpenError::Other { place: server.place.clone(), source: Box::new(source) };
        let mut session = server.connect().await.map_err(other)?;
        let until = Instant::now() + TAKEN_WITHIN;
        while !lock(&mut session, &owner).await.map_err(other)? {
            if Instant::now() >= until {
                return Err(OpenError::OwnerInUse { place: server.place.clone() });
            }
            sleep(TRY_AGAIN).await;
        }
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(keep(server.clone(), owner.clone(), session, stopped));
        Ok(Self { owner, keeper: Mutex::new(Some(Keeper { stop, task })) })
    }

    pub(crate) async fn liveness(
        &self,
        session: &mut PgConnection,
        owner: &Owner,
    ) -> Result<Liveness, Failure> {
        if *owner == self.owner {
            return Ok(Liveness::Alive);
        }
        let alive = sqlx::query_scalar!(
            r#"SELECT EXISTS (
                SELECT 1 FROM pg_locks, hashtextextended('holdpoint owner ' || $1, 0) AS lock_key
                WHERE locktype = 'advisory' AND objsubid = 1 AND granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND classid::bigint = (lock_key >> 32) & 4294967295 AND objid::bigint = lock_key & 4294967295
            ) AS "alive!""#,
            &*owner.0
        )
        .fetch_one(session)
        .await?;
        Ok(if alive { Liveness::Alive } else { Liveness::Gone })
    }

    /// From now on the owner is gone.
    pub(crate) async fn end(&self) {
        let Some(mut keeper) = self.keeper.lock().await.take() else { return };
        let (unused, _) = oneshot::channel();
        let _ended_by_itself = std::mem::replace(&mut keeper.stop, unused).send(());
        let _joined = (&mut keeper.task).await;
    }
}

/// Holds the session, and gets another one when it is lost.
async fn keep(server: Server, owner: Owner, session: PgConnection, mut stopped: oneshot::Receiver<()>) {
    let mut session = Some(session);
    loop {
        tokio::select! {
            _ended = &mut stopped => break,
            () = sleep(BEAT) => {}
        }
        session = match session.take() {
            Some(mut held) => match timeout(ANSWER_WITHIN, held.ping()).await {
                Ok(Ok(())) => Some(held),
                Ok(Err(_)) | Err(_) => retake(&server, &owner).await,
            },
            None => retake(&server, &owner).await,
        };
    }
    if let Some(mut held) = session {
        // The server lets go of it anyway, a moment later.
        let _sooner = timeout(ANSWER_WITHIN, unlock(&mut held, &owner)).await;
        let _closed = timeout(ANSWER_WITHIN, held.close()).await;
    }
}

/// `None`: the server cannot be reached, or has not noticed yet that our session before is lost.
async fn retake(server: &Server, owner: &Owner) -> Option<PgConnection> {
    let mut session = server.connect().await.ok()?;
    match lock(&mut session, owner).await {
        Ok(true) => Some(session),
        Ok(false) | Err(_) => None,
    }
}

async fn lock(session: &mut PgConnection, owner: &Owner) -> Result<bool, Failure> {
    let locked = sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_lock(hashtextextended('holdpoint owner ' || $1, 0)) AS "locked!""#,
        &*owner.0
    )
    .fetch_one(session);
    timeout(ANSWER_WITHIN, locked).await.map_err(|_| Failure::NoAnswer)?.map_err(Failure::from)
}

async fn unlock(session: &mut PgConnection, owner: &Owner) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_unlock(hashtextextended('holdpoint owner ' || $1, 0))", &*owner.0)
        .fetch_one(session)
        .await?;
    Ok(())
}
