use serde::{Deserialize, Serialize};

/// Ours: an answer of the feed, `GET /api/agent/decisions/changes?after=CURSOR&wait=SECONDS`. It is a bunch of
/// doorbells: it says *that* something happened to threads of the asking agent, never what. Decisions and their tokens
/// are read by thread, as ever.
///
/// A Gate that has the feed announces it with [`GATE_DECISION_FEED`](crate::headers::GATE_DECISION_FEED) in every
/// answer of its agent API. Rules of the feed:
///
/// 1. What happens to a thread after the answer with a cursor was made is named by an answer after that cursor: decided,
///    expired, changes asked for, revised. Opening a thread and using a token is no news.
/// 2. Cursors are kept by the reader alone, so that several may read the feed of one agent. They outlive a restart of
///    Gate. Each belongs to one agent.
/// 3. Without `after` the answer comes at once, with a cursor to go on from and [`resync`](Self::resync).
/// 4. With `wait` (whole seconds, at most [`Limits::LONG_POLL_SECONDS`](crate::Limits::LONG_POLL_SECONDS)) the answer
///    comes as soon as there is one, else when the time is over, with no threads.
/// 5. An answer names at most [`Limits::FEED_THREADS`](crate::Limits::FEED_THREADS); more come with the next at once.
/// 6. A paused or revoked agent gets 403, an unknown key 401, as for polls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionChanges {
    /// What to ask after next. Opaque.
    pub cursor: String,
    /// Threads that something happened to, each once.
    #[serde(default)]
    pub threads: Vec<String>,
    /// What came before `cursor` is not known to be complete: read every thread you wait for once more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

impl DecisionChanges {
    /// What [`GATE_DECISION_FEED`](crate::headers::GATE_DECISION_FEED) says.
    pub const VERSION: u64 = 1;
}
