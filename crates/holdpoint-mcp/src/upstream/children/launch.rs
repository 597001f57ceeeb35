//! How the children of a server come to be, and what they may use.

use crate::stdio::{ChildCommand, ServerProcess};
use std::{fmt, io, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};

/// Starts a server that speaks MCP on its standard input and output.
pub trait Launch: fmt::Debug + Send + Sync {
    /// Starts another one; called within a runtime.
    ///
    /// # Errors
    /// It cannot be started.
    fn launch(&self) -> io::Result<Launched>;
}

/// A server that was started, by its pipes.
pub struct Launched {
    pub(super) input: Box<dyn AsyncWrite + Send + Unpin>,
    pub(super) output: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub(super) process: Option<ServerProcess>,
}

impl Launched {
    /// A server at the other end of two pipes: what it reads, and what it says.
    pub fn at_pipes(
        input: impl AsyncWrite + Send + Unpin + 'static,
        output: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        Self { input: Box::new(input), output: Box::new(output), errors: None, process: None }
    }

    /// What it writes to its standard error as well.
    #[must_use]
    pub fn with_errors(mut self, errors: impl AsyncRead + Send + Unpin + 'static) -> Self {
        self.errors = Some(Box::new(errors));
        self
    }
}

impl fmt::Debug for Launched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launched").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Launch for ChildCommand {
    fn launch(&self) -> io::Result<Launched> {
        let started = self.start_heard()?;
        let errors = started.stderr.map(|stderr| Box::new(stderr) as Box<dyn AsyncRead + Send + Unpin>);
        Ok(Launched {
            input: Box::new(started.stdin),
            output: Box::new(started.stdout),
            errors,
            process: Some(started.process),
        })
    }
}

/// What the children of one server may use.
#[derive(Clone, Debug)]
pub struct ChildLimits {
    /// How many sessions, each with a child of its own, there may be at a time.
    pub sessions_max: usize,
    /// After so long without a request, a call under way or a stream, a session ends.
    pub idle: Duration,
    /// How many requests one child may have before it has answered any.
    pub requests_max: usize,
    /// The longest line that is taken from a child.
    pub line_bytes_max: usize,
    /// So much may wait for a child that does not read, and for a client that does not.
    pub waiting_bytes_max: usize,
    /// A request that is not answered within this gets a stream.
    pub quiet: Duration,
    /// A stream that is silent for this long gets a comment.
    pub heartbeat: Duration,
    /// How long calls may take to end when their child is to end.
    pub drain: Duration,
    /// How long a child may take to end, at each step.
    pub grace: Duration,
    /// How long a child that ended early stays down the first time; twice as long each further time.
    pub down_first: Duration,
    /// How long at most.
    pub down_max: Duration,
    /// A child that lived for this long did not end early.
    pub stable: Duration,
}

impl Default for ChildLimits {
    fn default() -> Self {
        Self {
            sessions_max: 64,
            idle: Duration::from_mins(30),
            requests_max: 1_024,
            line_bytes_max: 16 << 20,
            waiting_bytes_max: 32 << 20,
            quiet: Duration::from_secs(1),
            heartbeat: Duration::from_secs(15),
            drain: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            down_first: Duration::from_millis(500),
            down_max: Duration::from_secs(30),
            stable: Duration::from_mins(1),
        }
    }
}
