use super::{
    StdioOptions,
    lines::{Line, Lines},
    outbox::Outbox,
    server::ServerSide,
};
use crate::{
    catalog::{Catalog, ListError, Schemas},
    message::{INVALID_REQUEST, IdKey},
    progress::Rising,
    random, reply,
    tasks::Tasks,
    waiting::Client,
};
use bytes::Bytes;
use holdpoint_core::InterestHandle;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, Semaphore, oneshot},
};
use tokio_util::task::TaskTracker;

/// Everything that both directions and the calls under way share.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) options: StdioOptions,
    pub(super) catalog: Arc<Catalog>,
    pub(super) to_client: Outbox,
    pub(super) server: ServerSide,
    /// Tool calls under way that did not pass at once.
    pub(super) calls: Mutex<HashMap<IdKey, CallState>>,
    pub(super) expected: Mutex<Expected>,
    pub(super) tasks: TaskTracker,
    /// Calls whose client does not wait.
    pub(super) deferred: Arc<Tasks>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) owed: Owed,
    /// The revision that client and server agreed on.
    pub(super) revision: Mutex<Option<String>>,
    /// What the client said of itself when it opened the session.
    pub(super) client: Mutex<Option<Client>>,
    server_ended: AtomicBool,
    /// Ids of our own requests start with this; nobody can guess it.
    id_prefix: String,
    id_next: AtomicU64,
}

/// Where a tool call stands.
#[derive(Debug)]
pub(super) enum CallState {
    /// Not decided: the server has not seen it.
    Waiting { handle: InterestHandle, modern: bool },
    /// Given up before the server saw it.
    Cancelled,
    /// The server has it. Notified when the client withdraws it all the same.
    Running(Arc<Notify>),
}

/// What the server is about to say that concerns us.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) answers: HashMap<IdKey, Expect>,
    pub(super) progress: Rising,
}

#[derive(Debug)]
pub(super) enum Expect {
    /// To a request of our own; the client does not see it.
    Own(oneshot::Sender<Result<String, ListError>>),
    /// To a call whose outcome is recorded before it is passed on.
    Recorded(oneshot::Sender<Answered>),
    /// To the client's `initialize`.
    Initialize,
    /// To the client's `server/discover`.
    Discovery,
    /// To the client's `tools/list`, where what it gets is changed.
    Tools,
}

#[derive(Debug)]
pub(super) enum Answered {
    Line(Bytes),
    TooLong,
    /// None will come: no byte of the call went out, for certain.
    Unsent,
    /// None will come, and the server may have read the call.
    Lost,
}

impl Session {
    pub(super) fn new(
        options: StdioOptions,
        client_out: impl AsyncWrite + Send + Unpin + 'static,
        server: ServerSide,
    ) -> Self {
        let catalog = Arc::new(options.guard.catalog(&Arc::new(Schemas::default())));
        let tasks = TaskTracker::new();
        Self {
            catalog,
            to_client: Outbox::new(client_out),
            server,
            calls: Mutex::default(),
            expected: Mutex::default(),
            deferred: Arc::new(Tasks::new(options.guard.clone(), tasks.clone())),
            tasks,
            slots: Arc::new(Semaphore::new(options.calls_max)),
            owed: Owed::default(),
            revision: Mutex::default(),
            client: Mutex::default(),
            server_ended: AtomicBool::new(false),
            id_prefix: format!("holdpoint-{}", random::token()),
            id_next: AtomicU64::new(0),
            options,
        }
    }

    /// Until the client closes its side, or the server cannot be written to.
    pub(super) async fn pump_client(self: &Arc<Self>, reader: impl AsyncRead + Unpin, bytes_max: usize) {
        let mut lines = Lines::new(reader, bytes_max);
        loop {
            // Nothing is written before all that has arrived is looked at.
            let more = lines.fill().await.unwrap_or(false);
            while let Some(line) = lines.next() {
                match line {
                    Line::Whole(line) => self.on_client_line(line),
                    Line::TooLong(id) => {
                        let problem = format!("the message is longer than {bytes_max} bytes");
                        self.to_client.push_message(&reply::error(id.as_deref(), INVALID_REQUEST, &problem));
                    }
                }
            }
            if self.server.ready_for_more().await.is_err() {
                self.server_gone();
                return;
            }
            if self.to_client.flush().await.is_err() || !more {
                return;
            }
        }
    }

    /// Until the server closes its side, or the client cannot be written to.
    pub(super) async fn pump_server(&self, reader: impl AsyncRead + Unpin, bytes_max: usize) {
        let mut lines = Lines::new(reader, bytes_max);
        loop {
            let more = lines.fill().await.unwrap_or(false);
            while let Some(line) = lines.next() {
                match line {
                    Line::Whole(line) => self.on_server_line(line),
                    Line::TooLong(id) => self.too_long_from_server(id.as_deref(), bytes_max),
                }
            }
            if self.to_client.flush().await.is_err() || !more {
                return;
            }
        }
    }

    pub(super) fn own_id(&self) -> String {
        format!("{}-{}", self.id_prefix, self.id_next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn server_is_gone(&self) -> bool {
        self.server_ended.load(Ordering::Acquire)
    }

    /// Nobody waits any more; what is held stays open.
    pub(super) fn client_gone(&self) {
        self.deferred.leave();
        for state in lock(&self.calls).values() {
            if let CallState::Waiting { handle, .. } = state {
                handle.gone();
            }
        }
    }

    /// No answer will come.
    pub(super) fn server_gone(&self) {
        self.server_ended.store(true, Ordering::Release);
        lock(&self.expected).answers.clear();
        self.client_gone();
    }

    /// Resolves when no call is under way.
    pub(super) async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Resolves after somebody wants to stop, and what is under way then has come to its end, or had its time.
    pub(super) async fn stopped(&self) {
        self.options.stop.cancelled().await;
        let quiet = async {
            loop {
                self.settled().await;
                self.owed.until_none().await;
                if self.tasks.is_empty() {
                    return;
                }
            }
        };
        let _patience_over = tokio::time::timeout(self.options.drain, quiet).await;
    }

    pub(super) async fn close_server(&self, grace: Duration) {
        let closed = async {
            if !self.server_is_gone() {
                let _server_may_be_gone = self.server.settle().await;
            }
            self.server.close().await;
        };
        // A server that reads nothing takes no last line either.
        let _patience_over = tokio::time::timeout(grace, closed).await;
    }

    pub(super) async fn close_client(&self, grace: Duration) {
        let closed = async {
            let _client_may_be_gone = self.to_client.settle().await;
            self.to_client.close().await;
        };
        let _patience_over = tokio::time::timeout(grace, closed).await;
    }
}

/// How many requests have passed whose answers have not. Told apart by a glance at each line, so only good for deciding
/// how long to wait at the end.
#[derive(Debug, Default)]
pub(super) struct Owed {
    count: AtomicUsize,
    none: Notify,
}

impl Owed {
    pub(super) fn one_more(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn one_less(&self) {
        let before =
            self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1));
        if before == Ok(1) {
            self.none.notify_one();
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    async fn until_none(&self) {
        while !self.is_none() {
            self.none.notified().await;
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
