//! A client's pipe on one side; on the other a child process, or a server that answers requests ([`run_at`]).
//!
//! # Rules
//! 1. Every line crosses unchanged and in order, but a tool call, which goes through a permit, and what is answered
//!    here: malformed messages, lines longer than the limit.
//! 2. A line with a carriage return inside is refused: some servers end lines there, and would see another message in
//!    the rest.
//! 3. A held call blocks nothing. Its answer comes when it comes.
//! 4. Batches pass where the session's revision has them (2025-03-26). One with a tool call in it is taken apart: each call
//!    goes through a permit of its own, and the other messages pass one by one, in order.
//! 5. Who wants to stop closes the [`holdpoint_core::Gate`] and cancels [`StdioOptions::stop`]. What is held is told to come
//!    back later, what arrives is refused, what runs has [`StdioOptions::drain`] to end. Then the server's input is closed.
//! 6. When the client closes its side, nobody waits any more: calls that are held stay open for the next time.
//!
//! # Not guaranteed
//! That a server which splits lines at other places, or reads something else than JSON, sees the same messages.

mod call;
mod child;
mod lines;
mod link;
mod lists;
mod outbox;
mod own;
mod process_io;
mod run;
mod server;
mod session;
mod tasks;
mod traffic;

pub use child::ChildCommand;
pub(crate) use child::ServerProcess;
pub(crate) use lines::{Line, Lines};
pub(crate) use outbox::{Outbox, Place, Sent};
pub use process_io::{ProcessInput, ProcessOutput, process_io};

use crate::{
    Era, Guard,
    upstream::{ServerAddress, ServerAddressError, Upstream},
};
use holdpoint_core::{Principal, Standing, TaskId};
use link::Link;
use server::ServerSide;
use session::Session;
use std::{io, pin::Pin, process::ExitStatus, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// For what was told to end, after what runs had its time.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One server over stdio.
#[derive(Clone, Debug)]
pub struct StdioOptions {
    /// Who decides.
    pub guard: Guard,
    /// Whose calls these are.
    pub principal: Principal,
    /// The task of calls that name none.
    pub task: TaskId,
    /// The longest line that is carried.
    pub line_bytes_max: usize,
    /// How many tool calls may be under way that do not pass at once.
    pub calls_max: usize,
    /// How long either side may take to end.
    pub grace: Duration,
    /// How long calls that run may take to end, when the client is gone or somebody wants to stop.
    pub drain: Duration,
    /// Cancelled by whoever wants to stop, after [`holdpoint_core::Gate::close`].
    pub stop: CancellationToken,
    /// Says whether the client may still call; `None`: that cannot change.
    pub standing: Option<Arc<dyn Standing>>,
}

impl StdioOptions {
    /// The usual limits.
    #[must_use]
    pub fn new(guard: Guard, principal: Principal, task: TaskId) -> Self {
        Self {
            guard,
            principal,
            task,
            line_bytes_max: 16 << 20,
            calls_max: 1_024,
            grace: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            stop: CancellationToken::new(),
            standing: None,
        }
    }
}

/// Why the relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// The client closed its side.
    ClientClosed,
    /// Somebody wanted to stop.
    Stopped,
    /// The server did.
    ServerEnded {
        /// How its process ended, where there was one and it did end.
        status: Option<ExitStatus>,
    },
}

/// The relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The server's command cannot be started.
    #[error("`{program}` cannot be started")]
    Start {
        /// What should have been started.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server's address cannot be worked with.
    #[error("the tool server's address cannot be used")]
    Address(#[from] ServerAddressError),
}

/// Starts the server and relays until either side ends.
///
/// # Errors
/// The command cannot be started.
pub async fn run(
    options: StdioOptions,
    command: &ChildCommand,
    client_in: impl AsyncRead + Send + Unpin,
    client_out: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<ExitReason, StdioError> {
    let grace = options.grace;
    let (child, server_in, server_out) = command.start().map_err(|source| StdioError::Start {
        program: command.program.to_string_lossy().into_owned(),
        source,
    })?;
    let reason = relay(options, (client_in, client_out), (server_out, server_in)).await;
    let patience = match reason {
        ExitReason::ClientClosed | ExitReason::ServerEnded { .. } => grace,
        // It has had its time since its input was closed.
        ExitReason::Stopped => LAST_WORDS.min(grace),
    };
    let status = child.stop(patience, grace).await;
    Ok(match reason {
        ended @ (ExitReason::ClientClosed | ExitReason::Stopped) => ended,
        ExitReason::ServerEnded { .. } => ExitReason::ServerEnded { status },
    })
}

/// Relays between a client's pipe and a server at an address, until the client leaves; translates where `era` says so.
///
/// # Errors
/// The address cannot be worked with. A server that cannot be reached is no error here: each request is told.
pub async fn run_at(
    options: StdioOptions,
    server: ServerAddress,
    era: Era,
    client_in: impl AsyncRead + Send + Unpin,
    client_out: impl AsyncWrite + Send + Unpin + 'static,
) -> Result<ExitReason, StdioError> {
    let server = Upstream::new(server, &options.guard.server)?;
    let reason = relay_to(options, (client_in, client_out), server.clone().bridged(era)).await;
    server.stop().await;
    Ok(reason)
}

/// The same, whatever answers requests.
pub(crate) async fn relay_to(
    options: StdioOptions,
    (client_in, client_out): (impl AsyncRead + Send + Unpin, impl AsyncWrite + Send + Unpin + 'static),
    upstream: Upstream,
) -> ExitReason {
    let server = ServerSide::Link(Box::new(Link::new(upstream)));
    let session = Arc::new(Session::new(options, client_out, server));
    between(&session, client_in, Box::pin(session.pump_link())).await
}

/// Relays between two pairs of pipes until either side ends.
pub async fn relay(
    options: StdioOptions,
    (client_in, client_out): (impl AsyncRead + Send + Unpin, impl AsyncWrite + Send + Unpin + 'static),
    (server_out, server_in): (impl AsyncRead + Send + Unpin, impl AsyncWrite + Send + Unpin + 'static),
) -> ExitReason {
    let line_bytes_max = options.line_bytes_max;
    let server = ServerSide::Pipe(Outbox::new(server_in));
    let session = Arc::new(Session::new(options, client_out, server));
    between(&session, client_in, Box::pin(session.pump_server(server_out, line_bytes_max))).await
}

/// `from_server` ends when nothing more comes from there.
async fn between(
    session: &Arc<Session>,
    client_in: impl AsyncRead + Unpin,
    mut from_server: Pin<Box<impl Future<Output = ()>>>,
) -> ExitReason {
    let StdioOptions { line_bytes_max, grace, drain, .. } = session.options;
    // Both in one task: a line that arrives wakes one thread, once. Boxed, so that neither keeps a pipe locked that nobody
    // reads from it any more.
    let mut from_client = Box::pin(session.pump_client(client_in, line_bytes_max));
    let first = tokio::select! {
        () = &mut from_client => ExitReason::ClientClosed,
        () = &mut from_server => ExitReason::ServerEnded { status: None },
        () = session.stopped() => ExitReason::Stopped,
    };
    drop(from_client);
    let patience = match first {
        ExitReason::ClientClosed if session.server_is_gone() => None,
        ExitReason::ClientClosed => Some(drain),
        // What runs has had its time.
        ExitReason::Stopped => Some(LAST_WORDS),
        ExitReason::ServerEnded { .. } => None,
    };
    if let Some(patience) = patience {
        session.client_gone();
        // What is on its way to the server still gets there, and its answers back.
        let settled = async {
            tokio::select! {
                () = session.settled() => false,
                () = &mut from_server => true,
            }
        };
        let server_ended = tokio::time::timeout(patience, settled).await.unwrap_or(false);
        session.close_server(grace).await;
        if !server_ended {
            let _patience_over = tokio::time::timeout(grace, &mut from_server).await;
        }
    }
    drop(from_server);
    session.server_gone();
    let _patience_over = tokio::time::timeout(grace, session.settled()).await;
    session.close_server(grace).await;
    session.end_link(grace).await;
    session.close_client(grace).await;
    first
}
